//! The consumer against a real broker, when `GAUNTLET_TEST_AMQP_URL` names one, and against a peer
//! of its own (`a_stop_*`, `*_prefetch_*`), always; the harness's suites do the rest through a broken network.
//!
//! | test | proves |
//! |---|---|
//! | `consumes_and_stops` | every message handled once, queue empty, clean and orderly |
//! | `reset_is_recovered_fast` | a reset connection is replaced; median time printed; no loss |
//! | `nothing_is_left` | threads and descriptors are the same after many resets |
//! | `a_panicking_handler_is_a_failure` | the worker lives on, the message is rejected |
//! | `two_workers_never_share_a_message` | a redelivery waits for the first run's outcome |
//! | `a_stop_during_setup_closes_in_order` | connection.close comes, answered setup or not |
//! | `a_stop_during_a_reopening_closes_in_order` | the same while other workers consume |
//! | `as_much_as_the_prefetch_is_handled` | a full window is no violation |
//! | `more_than_the_prefetch_ends_the_connection` | a flood is cut off, said so, and backed off from |

#![expect(clippy::print_stderr, reason = "figures for whoever runs them by hand")]

mod broker;
mod peer;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use broker::{Forwarder, Queue, census, until};
use gauntlet_consumer::{
    Builder, ConsumeError, Consumer, Deadlines, Event, HandlerError, Message, Retry, Shutdown,
};
use peer::{ACK, CHANNEL_OPEN, CLOSE, CONSUME, Hold, Method, Peer, QOS};
use tokio::time::Instant;

type Handled = Arc<Mutex<HashMap<String, usize>>>;

fn record(handled: &Handled, message: &Message) {
    *handled.lock().expect("unpoisoned").entry(message.label()).or_default() += 1;
}

fn quick(url: &str, queue: &Queue) -> Builder {
    Consumer::builder(url).queue(queue.name()).stable_after(Duration::ZERO)
}

/// The broker's URL, or the test is skipped.
macro_rules! url {
    () => {
        match std::env::var("GAUNTLET_TEST_AMQP_URL") {
            Ok(url) => url,
            Err(_) => return,
        }
    };
}

#[tokio::test]
async fn consumes_and_stops() {
    let queue = Queue::declare(&url!(), "consumes").await;
    queue.publish(0..200).await;
    let handled = Handled::default();
    let (seen, shutdown) = (handled.clone(), Shutdown::new());
    let consumer = quick(queue.url(), &queue).workers(3).build().expect("valid");
    let handler = move |message: Arc<Message>| {
        record(&seen, &message);
        std::future::ready(Ok::<(), HandlerError>(()))
    };
    let (summary, ()) = tokio::join!(consumer.run(handler, shutdown.clone()), async {
        until("200 acks", || consumer.metrics().acks == 200).await;
        assert!(consumer.health().borrow().whole());
        shutdown.stop.cancel();
    });
    let summary = summary.expect("stops");
    assert!(summary.clean && summary.orderly, "{summary:?}");
    assert_eq!(handled.lock().expect("unpoisoned").values().filter(|n| **n == 1).count(), 200);
    assert_eq!(queue.ready().await, 0);
}

#[tokio::test]
async fn reset_is_recovered_fast() {
    let queue = Queue::declare(&url!(), "reset").await;
    let forwarder = Forwarder::start(queue.url()).await;
    let consuming = Arc::new(AtomicUsize::new(0));
    let (count, shutdown) = (consuming.clone(), Shutdown::new());
    let consumer = quick(&forwarder.url(), &queue)
        .workers(4)
        .observe(move |event: &Event| {
            if let Event::Consuming { .. } = event {
                count.fetch_add(1, Ordering::SeqCst);
            }
        })
        .build()
        .expect("valid");
    let handler = |_: Arc<Message>| std::future::ready(Ok::<(), HandlerError>(()));
    let (summary, ()) = tokio::join!(consumer.run(handler, shutdown.clone()), async {
        until("4 workers", || consuming.load(Ordering::SeqCst) == 4).await;
        let mut took = Vec::new();
        for round in 2..=41 {
            queue.publish(round * 10..round * 10 + 2).await;
            let since = Instant::now();
            forwarder.reset();
            until("4 workers again", || consuming.load(Ordering::SeqCst) == round * 4).await;
            took.push(since.elapsed());
        }
        took.sort();
        eprintln!("reset to consuming, 4 workers: median {:?}, worst {:?}", took[20], took[39]);
        until("80 handled", || consumer.metrics().handled_ok >= 80).await;
        until("nothing ready", || consumer.metrics().acks >= 80).await;
        shutdown.stop.cancel();
    });
    assert!(summary.expect("stops").clean);
    assert_eq!(queue.ready().await, 0);
}

#[tokio::test]
async fn nothing_is_left() {
    let queue = Queue::declare(&url!(), "left").await;
    let forwarder = Forwarder::start(queue.url()).await;
    let shutdown = Shutdown::new();
    let consumer = quick(&forwarder.url(), &queue).workers(2).build().expect("valid");
    let handler = |_: Arc<Message>| std::future::ready(Ok::<(), HandlerError>(()));
    let before = census();
    let (summary, ()) = tokio::join!(consumer.run(handler, shutdown.clone()), async {
        for round in 0..30 {
            until("a connection", || consumer.metrics().connections == round + 1).await;
            until("consuming", || consumer.health().borrow().whole()).await;
            forwarder.reset();
        }
        until("the last connection", || consumer.metrics().connections == 31).await;
        shutdown.stop.cancel();
    });
    assert!(summary.expect("stops").clean);
    until("the engine's threads to go", || census().engines <= before.engines).await;
    let after = census();
    eprintln!("threads {} -> {}", before.threads, after.threads);
    eprintln!("descriptors {} -> {}", before.descriptors, after.descriptors);
}

#[tokio::test]
async fn a_panicking_handler_is_a_failure() {
    let queue = Queue::declare(&url!(), "panics").await;
    queue.publish(0..10).await;
    let shutdown = Shutdown::new();
    let once = Retry { attempts: 1, ..Retry::default() };
    let consumer = quick(queue.url(), &queue).retry(once).build().expect("valid");
    let handler = |message: Arc<Message>| async move {
        assert!(!message.label().ends_with('3'), "poison");
        Ok::<(), HandlerError>(())
    };
    let (summary, ()) = tokio::join!(consumer.run(handler, shutdown.clone()), async {
        until("9 acks", || consumer.metrics().acks == 9).await;
        until("1 rejection", || consumer.metrics().rejected == 1).await;
        shutdown.stop.cancel();
    });
    assert!(summary.expect("stops").clean);
    assert_eq!(queue.ready().await, 0);
}

#[tokio::test]
async fn two_workers_never_share_a_message() {
    let queue = Queue::declare(&url!(), "share").await;
    let forwarder = Forwarder::start(queue.url()).await;
    queue.publish(0..1).await;
    let handled = Handled::default();
    let (seen, shutdown) = (handled.clone(), Shutdown::new());
    let consumer =
        quick(&forwarder.url(), &queue).workers(3).suppress_by_message_id().build().expect("valid");
    let handler = move |message: Arc<Message>| {
        let seen = seen.clone();
        async move {
            tokio::time::sleep_until(Instant::now() + Duration::from_millis(500)).await;
            record(&seen, &message);
            Ok::<(), HandlerError>(())
        }
    };
    let (summary, ()) = tokio::join!(consumer.run(handler, shutdown.clone()), async {
        for connections in 1..4 {
            until("consuming", || {
                consumer.metrics().connections == connections && consumer.health().borrow().whole()
            })
            .await;
            forwarder.reset();
        }
        until("1 ack", || consumer.metrics().acks == 1).await;
        shutdown.stop.cancel();
    });
    assert!(summary.expect("stops").clean);
    assert_eq!(handled.lock().expect("unpoisoned").values().copied().collect::<Vec<_>>(), [1]);
    assert_eq!(queue.ready().await, 0);
}

/// Stop when `method` comes for the `nth` time, answer it `late`: the consumer closes in order. The
/// fourth is the last of 3 workers reopening its channel.
async fn stop_at(method: Method, nth: usize, late: Option<Duration>, deadlines: Deadlines) {
    // Only then is there a fourth of anything.
    let fails = if nth > 3 { 3 } else { 0 };
    let (peer, shutdown) = (Peer::bind().await, Shutdown::new());
    let consumer = Consumer::builder(format!("amqp://{}/%2f", peer.address()))
        .queue("q")
        .workers(3)
        .deadlines(deadlines)
        .build()
        .expect("valid");
    let handler = |_: Arc<Message>| std::future::ready(Ok::<(), HandlerError>(()));
    let hold = Hold { method, nth, late };
    let (summary, heard) = tokio::join!(
        consumer.run(handler, shutdown.clone()),
        peer.serve(fails, hold, || shutdown.stop.cancel())
    );
    let summary = summary.expect("stops");
    assert!(summary.clean && summary.orderly, "{hold:?}: {summary:?}, heard {heard:?}");
    assert_eq!(heard.last(), Some(&CLOSE), "{hold:?}: {heard:?}");
    let since = heard.iter().position(|m| *m == method).expect("heard");
    let consumes = heard[since..].iter().filter(|m| **m == CONSUME).count();
    assert!(nth > 1 || method == CONSUME || consumes == 0, "{hold:?}: {heard:?}");
}

#[tokio::test]
async fn a_stop_during_setup_closes_in_order() {
    let short = Duration::from_millis(200);
    // The stop's patience ends first, or the step's own deadline does.
    let patience = Deadlines { close: short, ..Deadlines::default() };
    let step = Deadlines { channel: short, qos: short, consume: short, ..Deadlines::default() };
    for method in [CHANNEL_OPEN, QOS, CONSUME] {
        for nth in [1, 3] {
            stop_at(method, nth, Some(Duration::ZERO), Deadlines::default()).await;
            stop_at(method, nth, Some(short), Deadlines::default()).await;
            stop_at(method, nth, None, patience).await;
            stop_at(method, nth, None, step).await;
        }
    }
}

#[tokio::test]
async fn a_stop_during_a_reopening_closes_in_order() {
    let short = Duration::from_millis(200);
    let patience = Deadlines { close: short, ..Deadlines::default() };
    for method in [CHANNEL_OPEN, QOS, CONSUME] {
        stop_at(method, 4, Some(short), Deadlines::default()).await;
        stop_at(method, 4, None, patience).await;
    }
}

#[tokio::test]
async fn as_much_as_the_prefetch_is_handled() {
    let (peer, shutdown) = (Peer::bind().await, Shutdown::new());
    let consumer = Consumer::builder(format!("amqp://{}/%2f", peer.address()))
        .queue("q")
        .prefetch(4)
        .build()
        .expect("valid");
    let handler = |_: Arc<Message>| std::future::ready(Ok::<(), HandlerError>(()));
    let (summary, heard, ()) =
        tokio::join!(consumer.run(handler, shutdown.clone()), peer.flood(4), async {
            until("4 acks", || consumer.metrics().acks == 4).await;
            shutdown.stop.cancel();
        });
    let summary = summary.expect("stops");
    assert!(summary.clean && summary.orderly, "{summary:?}");
    assert_eq!(heard.iter().filter(|m| **m == ACK).count(), 4, "{heard:?}");
}

#[tokio::test]
async fn more_than_the_prefetch_ends_the_connection() {
    for deliveries in [5, 100_000] {
        let (peer, shutdown) = (Peer::bind().await, Shutdown::new());
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = events.clone();
        let consumer = Consumer::builder(format!("amqp://{}/%2f", peer.address()))
            .queue("q")
            .prefetch(4)
            .observe(move |event: &Event| seen.lock().expect("unpoisoned").push(event.clone()))
            .build()
            .expect("valid");
        // Nothing is settled.
        let handler = |_: Arc<Message>| std::future::pending::<Result<(), HandlerError>>();
        let (summary, ()) = tokio::join!(consumer.run(handler, shutdown.clone()), async {
            for _ in 0..3 {
                let heard = peer.flood(deliveries);
                let heard = tokio::time::timeout(Duration::from_secs(20), heard).await;
                let heard = heard.expect("the consumer ends the connection");
                assert!(!heard.contains(&ACK), "{heard:?}");
            }
            shutdown.abort.cancel();
        });
        assert!(summary.expect("stops").aborted);
        let events = events.lock().expect("unpoisoned");
        let overrun = ConsumeError::Overrun { prefetch: 4 };
        let lost = |event: &&Event| matches!(event, Event::ConnectionLost { reason, .. } if *reason == overrun);
        assert!(events.iter().filter(lost).count() >= 2, "{events:#?}");
        assert!(events.iter().any(|event| matches!(event, Event::Backoff { .. })), "{events:#?}");
    }
}
