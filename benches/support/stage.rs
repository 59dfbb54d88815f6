//! Where recoveries are measured: a RabbitMQ of its own, a link to it, and the reference consumer behind
//! the link. And how one is measured.
//!
//! Before each fault the consumer has one message in hand and another one waits in the queue. The one in
//! hand is done when the fault has struck, so its redelivery is a duplicate; that the other one reaches the
//! handler is the end of the recovery. Nothing is published meanwhile, and nothing has to be.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use gauntlet_consumer::{Backoff, Consumer, Event, HandlerError, Message, Shutdown, Summary};
use gauntlet_harness::{
    broker::{Broker, BrokerSpec, RunId},
    subject::AmqpUrl,
};
use gauntlet_network::Link;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::FieldTable,
};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
    time::timeout,
};

use super::{
    outage::Outage,
    wire::{LEGS, Wire},
};

/// As in `harness/src/subject/reference.rs`: what scenarios measure recoveries with.
const BACKOFF: Backoff = Backoff {
    base: Duration::from_millis(50),
    factor: 2.0,
    cap: Duration::from_millis(400),
    jitter: 1.0,
    max_attempts: None,
};
const QUEUE: &str = "bench";
const HEARTBEAT: u16 = 10;
/// Anything the bench waits for takes a fraction of this.
const PATIENCE: Duration = Duration::from_secs(30);

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What the consumer and its handler tell.
#[derive(Debug)]
enum SuiteEvent {
    /// A message reached the handler.
    Reached(String, Instant),
    Acked(String),
    GaveUp(String),
}

/// How one recovery went.
#[derive(Debug)]
pub struct Recovery {
    pub took: Duration,
    pub legs: Option<[Duration; LEGS.len()]>,
    /// Line by line.
    pub story: String,
}

/// A running environment. [`Stage::stop`] is the path; what it started does not outlive the process.
pub struct Stage {
    pub broker: Broker,
    pub vhost: String,
    pub link: Link,
    pub wire: Arc<Wire>,
    publisher: Option<(Connection, Channel)>,
    news: mpsc::UnboundedReceiver<SuiteEvent>,
    /// Lets the message in hand go.
    gate: Arc<Notify>,
    shutdown: Shutdown,
    consumer: JoinSet<std::result::Result<Summary, gauntlet_consumer::Error>>,
    rounds: u64,
}

impl Stage {
    pub async fn start(spec: &BrokerSpec) -> Result<Self> {
        let run = RunId::new();
        let broker = Box::pin(Broker::start(spec, &run)).await?;
        let vhost = format!("bench-{run}");
        broker.create_vhost(&vhost).await?;
        let wire = Arc::new(Wire::default());
        let link = Link::builder("bench").upstream(broker.addr()).tap(wire.clone()).start().await?;
        let (tell, news) = mpsc::unbounded_channel();
        let (user, password) = broker.credentials();
        let url = AmqpUrl {
            user: &user,
            password: &password,
            addr: link.addr(),
            vhost: &vhost,
            heartbeat: HEARTBEAT,
        };
        let (told, story) = (tell.clone(), wire.clone());
        let consumer = Consumer::builder(url.to_string())
            .queue(QUEUE)
            .prefetch(1)
            .backoff(BACKOFF)
            .channel_backoff(BACKOFF)
            .start_attempts(None)
            .stable_after(Duration::ZERO)
            .suppress_by_message_id()
            .observe(move |event: &Event| {
                story.tell(Instant::now(), format!("consumer: {event:?}"));
                // The stage listens for as long as the consumer runs.
                let _ = match event {
                    Event::Acked { id } => told.send(SuiteEvent::Acked(id.clone())),
                    Event::GaveUp { reason } => told.send(SuiteEvent::GaveUp(reason.clone())),
                    _ => Ok(()),
                };
            })
            .build()?;
        let mut stage = Self {
            broker,
            vhost,
            link,
            wire,
            publisher: None,
            news,
            gate: Arc::new(Notify::new()),
            shutdown: Shutdown::new(),
            consumer: JoinSet::new(),
            rounds: 0,
        };
        stage.publisher().await?;
        let (gate, shutdown) = (stage.gate.clone(), stage.shutdown.clone());
        let handler = move |message: Arc<Message>| {
            let (tell, gate) = (tell.clone(), gate.clone());
            async move {
                let id = message.label();
                let in_hand = id.starts_with("hand");
                let told = tell.send(SuiteEvent::Reached(id, Instant::now()));
                if in_hand {
                    gate.notified().await;
                }
                told.map_err(|_| HandlerError::reject("the bench has ended"))
            }
        };
        stage.consumer.spawn(async move { consumer.run(handler, shutdown).await });
        Ok(stage)
    }

    /// One fault, and the recovery from it.
    pub async fn recover(&mut self, outage: Outage) -> Result<Recovery> {
        self.rounds += 1;
        let (hand, next) = (format!("hand-{}", self.rounds), format!("next-{}", self.rounds));
        self.publish([&hand, &next]).await?;
        self.heard(|news| matches!(news, SuiteEvent::Reached(id, _) if *id == hand)).await?;
        if outage.closes_every_connection() {
            self.close_publisher().await;
        }
        self.wire.clear();
        let usable = Box::pin(outage.strike(self)).await?;
        let reached =
            self.heard(|news| matches!(news, SuiteEvent::Reached(id, _) if *id == next)).await?;
        let SuiteEvent::Reached(_, handled) = reached else { return Err("no such news".into()) };
        self.heard(|news| matches!(news, SuiteEvent::Acked(id) if *id == next)).await?;
        let took = handled.saturating_duration_since(usable);
        let (legs, story) = (self.wire.instants().legs(usable, handled), self.wire.story(usable));
        Ok(Recovery { took, legs, story })
    }

    /// The handler finishes the message in hand.
    pub fn let_go(&self) {
        self.gate.notify_one();
    }

    /// Takes everything down; nothing is left.
    pub async fn stop(mut self) -> Result<()> {
        self.shutdown.stop.cancel();
        while let Some(ended) = self.consumer.join_next().await {
            ended??;
        }
        self.close_publisher().await;
        self.link.stop().await;
        Box::pin(self.broker.stop()).await?;
        Ok(())
    }

    async fn heard(&mut self, wanted: impl Fn(&SuiteEvent) -> bool) -> Result<SuiteEvent> {
        let heard = async {
            loop {
                match self.news.recv().await {
                    Some(news) if wanted(&news) => return Ok(news),
                    Some(SuiteEvent::GaveUp(reason)) => {
                        return Err(format!("the consumer gave up: {reason}"));
                    }
                    Some(_) => {}
                    None => return Err("the consumer has ended".to_owned()),
                }
            }
        };
        let late = || format!("no sign of the message for {} s", PATIENCE.as_secs());
        Ok(timeout(PATIENCE, heard).await.unwrap_or_else(|_| Err(late()))?)
    }

    async fn publish(&mut self, ids: [&str; 2]) -> Result<()> {
        let channel = self.publisher().await?;
        for id in ids {
            let properties =
                BasicProperties::default().with_delivery_mode(2).with_message_id(id.into());
            let options = BasicPublishOptions::default();
            let confirm = channel.basic_publish("".into(), QUEUE.into(), options, b"x", properties);
            confirm.await?.await?;
        }
        Ok(())
    }

    /// Straight to the broker, behind no fault.
    async fn publisher(&mut self) -> Result<&Channel> {
        if self.publisher.is_none() {
            let url = self.broker.url(&self.vhost);
            let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let options = QueueDeclareOptions::durable();
            channel.queue_declare(QUEUE.into(), options, FieldTable::default()).await?;
            self.publisher = Some((connection, channel));
        }
        self.publisher.as_ref().map(|(_, channel)| channel).ok_or_else(|| "no publisher".into())
    }

    async fn close_publisher(&mut self) {
        if let Some((connection, _)) = self.publisher.take() {
            // Every message is confirmed: nothing hangs on how this ends.
            let _ = connection.close(200, "done".into()).await;
        }
    }
}
