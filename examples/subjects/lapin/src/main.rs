//! A consumer on lapin with the library's own recovery, as its documentation has it: `enable_auto_recover`
//! reconnects and brings channels, prefetch and consumers back; `wait_for_recovery` waits for that.
//!
//! At least once: an ack whose connection is gone is lost, and the message comes again.
//! SIGTERM: cancel, finish what has begun, ack it, close, exit 0. A second one ends it at once.

mod health;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use futures_util::future::join_all;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, Consumer};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// From the request to stop to the end.
const DRAIN: Duration = Duration::from_secs(15);
/// For cancel-ok and close-ok: a dead peer never sends them.
const CLOSE: Duration = Duration::from_secs(2);

fn number(name: &str, otherwise: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text:?} is no number")),
        Err(_) => Ok(otherwise),
    }
}

struct Service {
    queue: String,
    prefetch: u16,
    handler_time: Duration,
    health: Arc<Health>,
}

/// The channels that consume; none before they do, and none after the request to stop.
#[derive(Default)]
struct Health(Mutex<Vec<Channel>>);

impl Health {
    fn set(&self, channels: Vec<Channel>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = channels;
    }

    /// An idle consumer is not told of a lost connection: only the channels' status has it.
    fn consuming(&self) -> bool {
        let channels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !channels.is_empty() && channels.iter().all(|channel| channel.status().connected())
    }
}

impl Service {
    async fn consumer(&self, connection: &Connection, worker: u64) -> Result<(Channel, Consumer)> {
        let channel = connection.create_channel().await?;
        channel.basic_qos(self.prefetch, BasicQosOptions::default()).await?;
        let (queue, tag) = (self.queue.as_str().into(), format!("worker-{worker}").into());
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(queue, tag, options, FieldTable::default()).await?;
        Ok((channel, consumer))
    }

    /// Handles what is delivered until `stop`; what is not begun then goes back to the queue with the channel.
    async fn work(
        &self,
        channel: &Channel,
        mut consumer: Consumer,
        stop: &CancellationToken,
    ) -> Result<()> {
        loop {
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                next = consumer.next() => next,
            };
            let ended = match next {
                Some(Ok(delivery)) => {
                    let id = delivery.properties.message_id().as_ref();
                    self.handle(id.map_or("", |id| id.as_str())).await;
                    delivery.ack(BasicAckOptions::default()).await.err()
                }
                Some(Err(error)) => Some(error),
                None => bail!("the consumer {} was cancelled by the broker", consumer.tag()),
            };
            if let Some(error) = ended {
                eprintln!("waiting for recovery: {error}");
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    recovered = channel.wait_for_recovery(error) => recovered?,
                }
            }
        }
    }

    /// The work. It returns when its effect is committed.
    async fn handle(&self, id: &str) {
        tokio::time::sleep(self.handler_time).await;
        println!("handled {id}");
    }
}

async fn serve(service: Service, stop: CancellationToken) -> Result<()> {
    let url = std::env::var("AMQP_URL").context("AMQP_URL is not set")?;
    let base = Duration::from_millis(number("BACKOFF_BASE_MS", 1000)?);
    let cap = Duration::from_millis(number("BACKOFF_CAP_MS", 30_000)?);
    // By default there are 16 attempts without jitter, and then it gives up.
    let properties = ConnectionProperties::default().enable_auto_recover().configure_backoff(|b| {
        b.with_min_delay(base).with_max_delay(cap).with_jitter().without_max_times()
    });
    let connection = tokio::select! {
        connection = Connection::connect(&url, properties) => connection.context("connect")?,
        () = stop.cancelled() => return Ok(()),
    };
    let mut consumers = Vec::new();
    for worker in 0..number("GAUNTLET_WORKERS", 1)? {
        consumers.push(service.consumer(&connection, worker).await?);
    }
    service.health.set(consumers.iter().map(|(channel, _)| channel.clone()).collect());
    eprintln!("consuming {}", service.queue);

    let work = consumers.iter().map(async |(channel, consumer)| {
        let worked = service.work(channel, consumer.clone(), &stop).await;
        stop.cancel(); // one that failed takes the service down; the others finish what they have begun
        worked
    });
    let cancel = async {
        stop.cancelled().await;
        service.health.set(Vec::new());
        for (channel, consumer) in &consumers {
            let cancelled = channel.basic_cancel(consumer.tag(), BasicCancelOptions::default());
            let _ = timeout(CLOSE, cancelled).await;
        }
    };
    let (worked, ()) = tokio::join!(join_all(work), cancel);
    let _ = timeout(CLOSE, connection.close(200, "bye".into())).await;
    worked.into_iter().collect()
}

async fn run() -> Result<()> {
    let health = Arc::new(Health::default());
    if let Ok(address) = std::env::var("GAUNTLET_HEALTH") {
        let listener = tokio::net::TcpListener::bind(&address).await;
        let listener = listener.with_context(|| format!("cannot serve health on {address:?}"))?;
        let health = health.clone();
        tokio::spawn(health::serve(listener, Arc::new(move || health.consuming())));
    }
    let service = Service {
        queue: std::env::var("GAUNTLET_QUEUE").context("GAUNTLET_QUEUE is not set")?,
        prefetch: u16::try_from(number("GAUNTLET_PREFETCH", 10)?).context("GAUNTLET_PREFETCH")?,
        handler_time: Duration::from_millis(number("GAUNTLET_HANDLER_TIME_MS", 0)?),
        health,
    };
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let served = serve(service, stop.clone());
    tokio::pin!(served);
    tokio::select! {
        ended = &mut served => return ended,
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    eprintln!("asked to stop: finishing what has begun");
    stop.cancel();
    tokio::select! {
        ended = &mut served => ended,
        _ = term.recv() => bail!("asked again: ending at once"),
        () = tokio::time::sleep(DRAIN) => bail!("work was left unfinished after {DRAIN:?}"),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
