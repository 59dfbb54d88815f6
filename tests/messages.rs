//! What becomes of messages that are easily lost: the reference consumer as a library, on a broker of each kind.
//!
//! Messages that share an id, messages that lapin cannot parse, settings at the end of their range.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gauntlet_consumer::{Builder, Consumer, Event, HandlerError, Message, Shutdown};
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};
use rstest::rstest;

use crate::support::queue::{QUEUE, Queue, open};
use crate::support::raw::{Raw, long, short};
use crate::support::until::{until, when};
use crate::support::{RUNTIME, broker};

const PATIENCE: Duration = Duration::from_secs(15);

type Seen = Arc<Mutex<Vec<Message>>>;

fn on_queue(kind: &str, name: &str, test: impl AsyncFnOnce(&mut Queue)) {
    let Some(broker) = broker(kind) else { return };
    RUNTIME.block_on(Box::pin(async {
        let mut queue = Queue::declare(&broker, name).await;
        test(&mut queue).await;
        queue.delete().await;
    }));
}

fn builder(queue: &Queue) -> Builder {
    Consumer::builder(queue.broker.url(&queue.vhost)).queue(QUEUE)
}

/// Runs the consumer until `enough`; the messages its handler saw.
async fn consume(
    consumer: &Consumer,
    answer: impl Fn(&Message) -> Result<(), HandlerError> + Send + Sync + 'static,
    enough: impl Fn(&Consumer) -> bool,
) -> Vec<Message> {
    let (seen, shutdown) = (Seen::default(), Shutdown::new());
    let saw = seen.clone();
    let handler = move |message: Arc<Message>| {
        saw.lock().unwrap_or_else(PoisonError::into_inner).push((*message).clone());
        std::future::ready(answer(&message))
    };
    let (summary, ()) = tokio::join!(consumer.run(handler, shutdown.clone()), async {
        until("enough is settled", PATIENCE, async || {
            when(enough(consumer), || format!("{:?}", consumer.metrics()))
        })
        .await;
        shutdown.stop.cancel();
    });
    let summary = summary.expect("it stops");
    assert!(summary.clean && summary.orderly, "{summary:?}");
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.clone()
}

async fn publish(channel: &Channel, id: &str, body: &[u8]) {
    let properties = BasicProperties::default().with_message_id(id.into());
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish("".into(), QUEUE.into(), options, body, properties);
    sent.await.expect("published").await.expect("confirmed");
}

#[rstest]
#[case::by_default(false)]
#[case::though_duplicates_are_suppressed(true)]
fn ten_messages_that_share_an_id_are_ten_effects(
    #[case] suppressed: bool,
    #[values("embedded", "local")] kind: &str,
) {
    on_queue(kind, "same-id", async |queue| {
        let (_connection, channel) =
            open(&queue.broker, &queue.vhost).await.expect("the broker is there");
        for body in 0..10_u8 {
            publish(&channel, "same", &[body]).await;
        }
        let mut builder = builder(queue).workers(2).concurrency(2);
        if suppressed {
            builder = builder.suppress_by_message_id();
        }
        let consumer = builder.build().expect("valid");
        let seen = consume(&consumer, |_| Ok(()), |it| it.metrics().acks == 10).await;
        let bodies: BTreeSet<_> = seen.iter().map(|message| message.body.clone()).collect();
        assert_eq!((seen.len(), bodies.len()), (10, 10), "{seen:?}");
        assert_eq!(consumer.metrics().duplicates, 0);
    });
}

/// One message is returned by a channel that closes after the consumer had handled another of the same id.
#[rstest]
#[case::by_default(false, 2, 0)]
#[case::when_asked_for(true, 1, 1)]
fn a_redelivery_is_suppressed_only_when_asked_for(
    #[case] suppressed: bool,
    #[case] effects: usize,
    #[case] duplicates: u64,
    #[values("embedded", "local")] kind: &str,
) {
    on_queue(kind, "redelivered", async |queue| {
        let (_connection, channel) =
            open(&queue.broker, &queue.vhost).await.expect("the broker is there");
        let mut builder = builder(queue);
        if suppressed {
            builder = builder.suppress_by(|message| Some(format!("order {:?}", message.body)));
        }
        let consumer = builder.build().expect("valid");
        publish(&channel, "first", b"7").await;
        let mut seen = consume(&consumer, |_| Ok(()), |it| it.metrics().acks == 1).await;
        publish(&channel, "second", b"7").await;
        let taken = channel.basic_get(QUEUE.into(), Default::default()).await.expect("a queue");
        let nack = lapin::options::BasicNackOptions { requeue: true, multiple: false };
        taken.expect("a message").delivery.acker.nack(nack).await.expect("it can be returned");
        seen.extend(consume(&consumer, |_| Ok(()), |it| it.metrics().acks == 2).await);
        assert_eq!((seen.len(), consumer.metrics().duplicates), (effects, duplicates), "{seen:?}");
    });
}

/// What the raw publisher sends beside the message id, and the name of what is altered then.
fn unreadable() -> Vec<(&'static str, u16, Vec<u8>)> {
    let text = short(b"caf\xe9");
    let headers = |pairs: &[&[u8]]| long(&pairs.concat());
    let array = |content: &[u8]| [&b"A"[..], &long(content)].concat();
    let deep = (0..60).fold(Vec::new(), |inner, _| array(&inner));
    let key = [&text[..], b"t\x01"].concat();
    let nested = [&b"\x01hF"[..], &long(&key)].concat();
    let listed = [&b"\x01h"[..], &array(&[&b"F"[..], &long(&key)].concat())].concat();
    let large = [&b"\x01hS"[..], &long(&[b'x'; 100_000])].concat();
    vec![
        ("content_type", 1 << 15, text.clone()),
        ("content_encoding", 1 << 14, text.clone()),
        ("headers", 1 << 13, headers(&[&key])),
        ("headers", 1 << 13, headers(&[&nested])),
        ("headers", 1 << 13, headers(&[&listed])),
        ("headers", 1 << 13, headers(&[&[&b"\x01h"[..], &deep].concat()])),
        ("headers", 1 << 13, headers(&[&large])),
        ("correlation_id", 1 << 10, text.clone()),
        ("reply_to", 1 << 9, text.clone()),
        ("message_id", 1 << 7, text.clone()),
        ("type", 1 << 5, text.clone()),
        ("app_id", 1 << 3, text),
    ]
}

#[rstest]
fn a_message_that_is_not_utf_8_does_not_stop_the_queue(
    #[values(false, true)] rejected: bool,
    #[values("embedded", "local")] kind: &str,
) {
    on_queue(kind, "unreadable", async |queue| {
        let (_connection, channel) =
            open(&queue.broker, &queue.vhost).await.expect("the broker is there");
        let mut arguments = FieldTable::default();
        arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
        arguments.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString("dead".into()));
        let options = lapin::options::QueueDeclareOptions::default();
        channel
            .queue_declare("dead".into(), options, FieldTable::default())
            .await
            .expect("declared");
        channel.queue_delete(QUEUE.into(), Default::default()).await.expect("deleted");
        channel.queue_declare(QUEUE.into(), options, arguments).await.expect("declared");
        let (user, password) = queue.broker.credentials();
        let addr = queue.broker.addr();
        let mut raw = Raw::connect(addr, &user, &password, &queue.vhost);
        let cases = unreadable();
        for (_, flags, properties) in &cases {
            raw.publish(b"", QUEUE.as_bytes(), *flags, properties);
        }
        raw.bind_all(b"all", QUEUE.as_bytes());
        raw.publish(b"all", b"caf\xe9", 0, b"");
        publish(&channel, "last", b"x").await;
        let names: Vec<_> = cases.iter().map(|(name, ..)| *name).chain(["routing_key"]).collect();
        let all = u64::try_from(names.len()).expect("few") + 1;

        let consumer = builder(queue).suppress_by_message_id().build().expect("valid");
        let answer = move |message: &Message| match message.altered.is_empty() {
            false if rejected => Err(HandlerError::reject("not as it was published")),
            _ => Ok(()),
        };
        let enough = |it: &Consumer| it.metrics().acks + it.metrics().rejected == all;
        let seen = consume(&consumer, answer, enough).await;
        let altered: Vec<_> = seen.iter().map(|message| message.altered.clone()).collect();
        let mut expect: Vec<_> = names.iter().map(|name| vec![*name]).collect();
        expect.push(Vec::new());
        assert_eq!(altered, expect);
        assert!(seen.iter().all(|message| message.body == b"x"), "{seen:?}");
        assert_eq!(seen[9].id.as_deref(), Some("caf?"));
        let metrics = consumer.metrics();
        assert_eq!(metrics.connections, 1, "one connection was enough");
        assert_eq!(metrics.altered, all - 1);
        assert_eq!(metrics.rejected, if rejected { all - 1 } else { 0 });
        // RabbitMQ dead-letters when it comes to it.
        let options = lapin::options::QueueDeclareOptions { passive: true, ..options };
        until("what was rejected is dead-lettered", Duration::from_secs(10), async || {
            let dead = channel.queue_declare("dead".into(), options, FieldTable::default());
            let dead = u64::from(dead.await.expect("there").message_count());
            assert!(dead <= metrics.rejected, "{dead} of {}", metrics.rejected);
            when(dead == metrics.rejected, || format!("{dead} of {}", metrics.rejected))
        })
        .await;
    });
}

#[rstest]
fn the_longest_durations_are_no_panic(#[values("embedded")] kind: &str) {
    on_queue(kind, "longest", async |queue| {
        queue.publish(1).await;
        let longest = Duration::from_secs(u64::MAX);
        let backoff =
            gauntlet_consumer::Backoff { base: longest, cap: longest, ..Default::default() };
        let deadlines = gauntlet_consumer::Deadlines {
            tcp: longest,
            tls: longest,
            handshake: longest,
            channel: longest,
            qos: longest,
            consume: longest,
            ack: longest,
            close: longest,
            drain: longest,
        };
        let events = Arc::new(Mutex::new(Vec::new()));
        let told = events.clone();
        let consumer = builder(queue)
            .backoff(backoff)
            .channel_backoff(backoff)
            .retry(gauntlet_consumer::Retry { attempts: 2, backoff })
            .stable_after(longest)
            .handler_deadline(Some(longest))
            .deadlines(deadlines)
            .observe(move |event: &Event| {
                told.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
            })
            .build()
            .expect("valid");
        // The first run fails, and is followed by a wait without an end, which only the stop ends.
        let failed = |_: &Message| Err(HandlerError::retry("busy"));
        let seen = consume(&consumer, failed, |it| it.metrics().handled_failed == 1).await;
        assert_eq!(seen.len(), 1);
        let events = events.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(matches!(events.last(), Some(Event::Stopped { clean: true, .. })), "{events:?}");
    });
}
