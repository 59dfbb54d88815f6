//! A consumer on amqprs that reconnects: one connection, a channel for each worker.
//!
//! At least once: an ack whose connection is gone is dropped, and the message comes again. Asked to stop it finishes
//! what it has begun, acks it, cancels and closes.

use std::time::Duration;

use amqprs::callbacks::{ChannelCallback, ConnectionCallback};
use amqprs::channel::{
    BasicAckArguments, BasicCancelArguments, BasicConsumeArguments, BasicQosArguments, Channel,
    ConsumerMessage,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::{Ack, BasicProperties, Cancel, Close, CloseChannel, Nack, Return};
use gauntlet::Job;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Why a session ended.
type Error = Box<dyn std::error::Error + Send + Sync>;

/// Deadline for everything from dialing to consume-ok; amqprs has none.
const SETUP: Duration = Duration::from_secs(2);
/// Deadline for cancel-ok and close-ok: a dead peer never sends them.
const CLOSE: Duration = Duration::from_secs(2);
/// The first wait between two attempts, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(800));

/// Consumes until it is asked to stop, or to stop at once.
pub async fn my_consumer(job: Job) -> Result<(), Error> {
    tokio::select! {
        ended = sessions(&job) => ended,
        () = job.abort.cancelled() => Err("stopped at once; what was not acked comes again".into()),
    }
}

/// One session after the other, whatever ends them, until it is asked to stop.
async fn sessions(job: &Job) -> Result<(), Error> {
    let mut failures = 0;
    while !job.stop.is_cancelled() {
        let Err(error) = session(job, &mut failures).await else { continue };
        if refused(&error) {
            return Err(error);
        }
        job.said(format!("not consuming: {error}"));
        // Nothing at first, then anything up to a ceiling that doubles.
        let (base, cap) = BACKOFF;
        let ceiling = base.saturating_mul(1 << failures.min(8)).min(cap);
        let wait = if failures == 0 { Duration::ZERO } else { ceiling.mul_f64(fastrand::f64()) };
        failures += 1;
        let _ = timeout(wait, job.stop.cancelled()).await;
    }
    Ok(())
}

/// Whether the broker does not want this consumer: trying again does not help. amqprs has it as text only.
fn refused(error: &Error) -> bool {
    let text = error.to_string();
    ["ACCESS_REFUSED", "NOT_ALLOWED"].iter().any(|code| text.contains(code))
}

/// One connection, from dialing to its end. `Ok`: it was asked to stop, and everything begun is acked.
async fn session(job: &Job, failures: &mut u32) -> Result<(), Error> {
    let mut arguments = OpenConnectionArguments::try_from(job.url.as_str())?;
    arguments.heartbeat(job.heartbeat);
    let lost = CancellationToken::new();
    let connection = timeout(SETUP, Connection::open(&arguments)).await??;
    let ended = match timeout(SETUP, consumers(&connection, job, &lost)).await {
        Ok(Ok(consumers)) => {
            *failures = 0;
            consume(&connection, consumers, job, &lost).await
        }
        Ok(Err(error)) => Err(error),
        Err(late) => Err(late.into()),
    };
    let _ = timeout(CLOSE, connection.close()).await;
    ended
}

struct Consumer {
    channel: Channel,
    tag: String,
    deliveries: UnboundedReceiver<ConsumerMessage>,
}

async fn consumers(
    connection: &Connection,
    job: &Job,
    lost: &CancellationToken,
) -> Result<Vec<Consumer>, Error> {
    connection.register_callback(Tell(lost.clone())).await?;
    let mut consumers = Vec::new();
    for worker in 0..job.workers {
        let channel = connection.open_channel(None).await?;
        channel.register_callback(Tell(lost.clone())).await?;
        channel.basic_qos(BasicQosArguments::new(0, job.prefetch, false)).await?;
        let arguments = BasicConsumeArguments::new(&job.queue, &format!("worker-{worker}"));
        let (tag, deliveries) = channel.basic_consume_rx(arguments).await?;
        consumers.push(Consumer { channel, tag, deliveries });
    }
    Ok(consumers)
}

async fn consume(
    connection: &Connection,
    consumers: Vec<Consumer>,
    job: &Job,
    lost: &CancellationToken,
) -> Result<(), Error> {
    let channels: Vec<_> = consumers.iter().map(|c| (c.channel.clone(), c.tag.clone())).collect();
    // Ends the workers once they have finished what they have begun.
    let end = job.stop.child_token();
    let mut workers = JoinSet::new();
    for consumer in consumers {
        workers.spawn(work(consumer, job.clone(), end.clone()));
    }
    let reason = tokio::select! {
        () = job.stop.cancelled() => "asked to stop",
        () = end.cancelled() => "a channel is gone",
        () = lost.cancelled() => "closed or cancelled by the broker",
        _ = connection.listen_network_io_failure() => "the connection is lost",
    };
    end.cancel();
    let stops = job.stop.is_cancelled();
    if stops {
        let cancel = async {
            for (channel, tag) in &channels {
                let _ = channel.basic_cancel(BasicCancelArguments::new(tag)).await;
            }
        };
        let _ = timeout(CLOSE, cancel).await;
    }
    while workers.join_next().await.is_some() {}
    // Before the connection: amqprs may drop its socket while the answer to a channel's close is on its way.
    for (channel, _) in channels {
        // A channel that is dropped while it seems open closes itself in a task. If its request meets the end of a lost
        // connection's reader, that task waits for ever.
        let over = async {
            while channel.is_open() && !connection.is_open() {
                tokio::task::yield_now().await;
            }
        };
        let _ = timeout(CLOSE, over).await;
        let _ = timeout(CLOSE, channel.close()).await;
    }
    if stops { Ok(()) } else { Err(reason.into()) }
}

/// Handles what is delivered until `end`; the rest goes back to the queue with the channel.
async fn work(mut consumer: Consumer, job: Job, end: CancellationToken) {
    loop {
        let message = tokio::select! {
            biased;
            () = end.cancelled() => return,
            message = consumer.deliveries.recv() => message,
        };
        let Some(ConsumerMessage { deliver: Some(deliver), basic_properties, .. }) = message else {
            return end.cancel(); // the channel is gone, and with it the session
        };
        let id = basic_properties.as_ref().and_then(BasicProperties::message_id);
        // The work of a real one goes here.
        let handled = job.handle(id.map(String::as_str), deliver.redelivered()).await;
        if handled.is_ok() {
            let ack = BasicAckArguments::new(deliver.delivery_tag(), false);
            let _ = consumer.channel.basic_ack(ack).await;
        }
    }
}

/// Callbacks that end the session.
struct Tell(CancellationToken);

#[async_trait::async_trait]
impl ConnectionCallback for Tell {
    async fn close(&mut self, _: &Connection, _: Close) -> Result<(), amqprs::error::Error> {
        self.0.cancel();
        Ok(())
    }
    async fn blocked(&mut self, _: &Connection, _: String) {}
    async fn unblocked(&mut self, _: &Connection) {}
    async fn secret_updated(&mut self, _: &Connection) {}
}

#[async_trait::async_trait]
impl ChannelCallback for Tell {
    async fn close(&mut self, _: &Channel, _: CloseChannel) -> Result<(), amqprs::error::Error> {
        self.0.cancel();
        Ok(())
    }
    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), amqprs::error::Error> {
        self.0.cancel();
        Ok(())
    }
    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, amqprs::error::Error> {
        Ok(active)
    }
    async fn publish_ack(&mut self, _: &Channel, _: Ack) {}
    async fn publish_nack(&mut self, _: &Channel, _: Nack) {}
    async fn publish_return(&mut self, _: &Channel, _: Return, _: BasicProperties, _: Vec<u8>) {}
}
