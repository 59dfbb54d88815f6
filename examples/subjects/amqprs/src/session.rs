//! One connection, from dialling to its end: a channel for each worker, which acks where it was delivered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use amqprs::callbacks::{ChannelCallback, ConnectionCallback};
use amqprs::channel::{
    BasicAckArguments, BasicCancelArguments, BasicConsumeArguments, BasicQosArguments, Channel,
    ConsumerMessage,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::{Ack, BasicProperties, Cancel, Close, CloseChannel, Nack, Return};
use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Deadline of all steps from TCP to consume-ok together; amqprs has none of its own.
const SETUP: Duration = Duration::from_secs(3);
/// For cancel-ok and close-ok: a dead peer never sends them.
const CLOSE: Duration = Duration::from_secs(2);

/// What a session needs, and what it tells.
pub struct Session {
    pub url: String,
    pub queue: String,
    pub prefetch: u16,
    pub workers: u64,
    pub handler_time: Duration,
    /// For health: the broker has confirmed every consumer, on a connection that is up.
    pub consuming: Arc<AtomicBool>,
    /// A message was handled.
    pub progress: AtomicBool,
}

struct Consumer {
    channel: Channel,
    tag: String,
    deliveries: UnboundedReceiver<ConsumerMessage>,
}

/// Whether the broker does not want us, so that trying again will not help. amqprs gives it as text only.
pub fn is_refusal(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}");
    ["ACCESS_REFUSED", "NOT_ALLOWED"].iter().any(|code| text.contains(code))
}

impl Session {
    /// Consumes until `stop` (`Ok`: what had begun is finished and acked) or until the session is lost.
    pub async fn run(&self, stop: &CancellationToken) -> Result<()> {
        let mut arguments = OpenConnectionArguments::try_from(self.url.as_str())?;
        if arguments.get_virtual_host().eq_ignore_ascii_case("%2f") {
            arguments.virtual_host("/"); // amqprs does not decode it
        }
        let lost = CancellationToken::new();
        let connection =
            timeout(SETUP, Connection::open(&arguments)).await.context("connect")??;
        let consumers = timeout(SETUP, self.consumers(&connection, &lost)).await;
        let ended = match consumers.context("channels and consumers") {
            Ok(Ok(consumers)) => self.consume(&connection, consumers, stop, &lost).await,
            Ok(Err(error)) | Err(error) => Err(error),
        };
        let _ = timeout(CLOSE, connection.close()).await;
        ended
    }

    async fn consumers(
        &self,
        connection: &Connection,
        lost: &CancellationToken,
    ) -> Result<Vec<Consumer>> {
        connection.register_callback(Tell(lost.clone())).await?;
        let mut consumers = Vec::new();
        for worker in 0..self.workers {
            let channel = connection.open_channel(None).await?;
            channel.register_callback(Tell(lost.clone())).await?;
            channel.basic_qos(BasicQosArguments::new(0, self.prefetch, false)).await?;
            let arguments = BasicConsumeArguments::new(&self.queue, &format!("worker-{worker}"));
            let (tag, deliveries) = channel.basic_consume_rx(arguments).await?;
            consumers.push(Consumer { channel, tag, deliveries });
        }
        Ok(consumers)
    }

    async fn consume(
        &self,
        connection: &Connection,
        mut consumers: Vec<Consumer>,
        stop: &CancellationToken,
        lost: &CancellationToken,
    ) -> Result<()> {
        self.consuming.store(true, Ordering::Relaxed);
        eprintln!("consuming {}", self.queue);
        let cancels: Vec<_> =
            consumers.iter().map(|c| (c.channel.clone(), c.tag.clone())).collect();

        // Ends the workers once they have finished what they have begun.
        let end = stop.child_token();
        let work = join_all(consumers.iter_mut().map(|consumer| self.work(consumer, &end)));
        tokio::pin!(work);
        let reason = tokio::select! {
            _ = &mut work => "the deliveries ended",
            () = stop.cancelled() => "asked to stop",
            () = lost.cancelled() => "closed or cancelled by the broker",
            _ = connection.listen_network_io_failure() => "the connection is lost",
        };
        self.consuming.store(false, Ordering::Relaxed);
        end.cancel();
        if !stop.is_cancelled() {
            work.await;
            bail!(reason);
        }
        let cancel = async {
            for (channel, tag) in &cancels {
                let _ = channel.basic_cancel(BasicCancelArguments::new(tag)).await;
            }
        };
        let _ = tokio::join!(timeout(CLOSE, cancel), work);
        // Before the connection: amqprs drops its socket without connection.close when the answer to a channel's
        // close comes while it is about to send that.
        let close = join_all(cancels.into_iter().map(|(channel, _)| channel.close()));
        let _ = timeout(CLOSE, close).await;
        Ok(())
    }

    /// Handles what is delivered until `end`; what is not begun then goes back to the queue with the channel.
    async fn work(&self, consumer: &mut Consumer, end: &CancellationToken) {
        loop {
            let message = tokio::select! {
                biased;
                () = end.cancelled() => return,
                message = consumer.deliveries.recv() => message,
            };
            let Some(ConsumerMessage { deliver: Some(deliver), basic_properties, .. }) = message
            else {
                return end.cancel(); // the channel is gone, and with it the session
            };
            let id = basic_properties.as_ref().and_then(BasicProperties::message_id);
            self.handle(id.map_or("", String::as_str)).await;
            self.progress.store(true, Ordering::Relaxed);
            let ack = BasicAckArguments::new(deliver.delivery_tag(), false);
            if let Err(error) = consumer.channel.basic_ack(ack).await {
                eprintln!("handled, but its channel is gone ({error}): it will come again");
            }
        }
    }

    /// The work. It returns when its effect is committed.
    async fn handle(&self, id: &str) {
        tokio::time::sleep(self.handler_time).await;
        println!("handled {id}");
    }
}

/// Callbacks that end the session.
struct Tell(CancellationToken);

#[async_trait]
impl ConnectionCallback for Tell {
    async fn close(&mut self, _: &Connection, close: Close) -> Result<(), amqprs::error::Error> {
        eprintln!("the broker closes the connection: {close}");
        self.0.cancel();
        Ok(())
    }
    async fn blocked(&mut self, _: &Connection, reason: String) {
        eprintln!("the broker blocks publishers: {reason}");
    }
    async fn unblocked(&mut self, _: &Connection) {}
    async fn secret_updated(&mut self, _: &Connection) {}
}

#[async_trait]
impl ChannelCallback for Tell {
    async fn close(
        &mut self,
        _: &Channel,
        close: CloseChannel,
    ) -> Result<(), amqprs::error::Error> {
        eprintln!("the broker closes a channel: {close}");
        self.0.cancel();
        Ok(())
    }
    async fn cancel(&mut self, _: &Channel, cancel: Cancel) -> Result<(), amqprs::error::Error> {
        eprintln!("the broker cancels consumer {}", cancel.consumer_tag());
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
