//! A real client over a real socket: what it does from connect to ack works, also over a restart.

use std::time::Duration;

use futures_util::StreamExt as _;
use gauntlet_broker::{Broker, Config};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};

async fn connect(broker: &Broker) -> Connection {
    let url = broker.url("/");
    Connection::connect(&url, ConnectionProperties::default()).await.expect("the broker is up")
}

/// Everything here is quick; what hangs is a bug that should say so.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let deadline = Duration::from_secs(10);
    tokio::time::timeout(deadline, future).await.unwrap_or_else(|_| panic!("{what} took too long"))
}

#[tokio::test]
async fn from_connect_to_ack() {
    let broker = Broker::start(Config::default()).expect("loopback has a port");
    let connection = soon("connecting", connect(&broker)).await;
    let channel = connection.create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("q".into(), durable, FieldTable::default()).await.expect("a queue");
    let mut consumer = channel
        .basic_consume(
            "q".into(),
            "c".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .expect("a consumer");
    for n in 0..100u32 {
        let confirm = channel
            .basic_publish(
                "".into(),
                "q".into(),
                BasicPublishOptions::default(),
                &n.to_be_bytes(),
                BasicProperties::default().with_delivery_mode(2),
            )
            .await
            .expect("published");
        assert!(soon("a confirm", confirm).await.expect("confirmed").is_ack());
    }
    for n in 0..100u32 {
        let delivery = soon("a delivery", consumer.next()).await.expect("open").expect("delivered");
        assert_eq!(delivery.data, n.to_be_bytes());
        assert!(!delivery.redelivered);
        delivery.ack(BasicAckOptions::default()).await.expect("acked");
    }
    soon("closing", connection.close(200, "bye".into())).await.expect("closed in order");
    let look = broker.with(|core| core.look());
    assert_eq!((look.queues[0].ready, look.queues[0].unacked), (0, 0));
    soon("stopping", broker.stop()).await;
}

#[tokio::test]
async fn a_crash_keeps_what_is_durable() {
    let broker = Broker::start(Config::default()).expect("loopback has a port");
    let connection = soon("connecting", connect(&broker)).await;
    let channel = connection.create_channel().await.expect("a channel");
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("kept".into(), durable, FieldTable::default()).await.expect("a queue");
    let fleeting = QueueDeclareOptions::default();
    channel.queue_declare("lost".into(), fleeting, FieldTable::default()).await.expect("a queue");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    for mode in [1, 2] {
        let props = BasicProperties::default().with_delivery_mode(mode);
        let options = BasicPublishOptions::default();
        let body = [mode];
        let confirm = channel.basic_publish("".into(), "kept".into(), options, &body, props);
        let confirm = confirm.await.expect("published");
        soon("a confirm", confirm).await.expect("confirmed");
    }
    soon("going down", broker.crash()).await;
    assert!(tokio::net::TcpStream::connect(broker.addr()).await.is_err(), "the port refuses");
    soon("coming up", broker.up()).await;
    let connection = soon("connecting", connect(&broker)).await;
    let channel = connection.create_channel().await.expect("a channel");
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let kept = channel.queue_declare("kept".into(), passive, FieldTable::default()).await;
    assert_eq!(kept.expect("it is durable").message_count(), 1);
    let lost = channel.queue_declare("lost".into(), passive, FieldTable::default()).await;
    assert!(lost.expect_err("it was not durable").to_string().contains("NOT_FOUND"));
    soon("stopping", broker.stop()).await;
}

#[tokio::test]
async fn starting_takes_no_time() {
    let mut brokers = Vec::new();
    let mut quickest = Duration::MAX;
    for _ in 0..20 {
        let began = std::time::Instant::now();
        brokers.push(Broker::start(Config::default()).expect("loopback has a port"));
        quickest = quickest.min(began.elapsed());
    }
    for broker in brokers {
        soon("stopping", broker.stop()).await;
    }
    assert!(quickest < Duration::from_millis(1), "{quickest:?}");
}

#[tokio::test]
async fn a_trigger_takes_the_broker_down_at_its_point() {
    use gauntlet_broker::{Action, Direction, Edge, Trigger};
    let broker = Broker::start(Config::default()).expect("loopback has a port");
    let connection = soon("connecting", connect(&broker)).await;
    let channel = connection.create_channel().await.expect("a channel");
    broker.with(|core| {
        core.listen();
        core.arm(Trigger {
            way: Direction::In,
            method: "queue.declare".parse().expect("a method"),
            nth: 2,
            edge: Edge::After,
            action: Action::Crash,
        });
    });
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    for (queue, is_there) in [("a", true), ("b", false)] {
        let declared = channel.queue_declare(queue.into(), durable, FieldTable::default());
        let declared = soon("an answer", declared).await;
        // The second one is answered, and the answer may or may not be read before the reset.
        assert!(declared.is_ok() || !is_there, "{queue}: {declared:?}");
    }
    soon("going down", broker.went_down()).await;
    let (events, lost) = soon("events", broker.next_events()).await;
    assert!(events.iter().any(|(_, event)| *event == gauntlet_broker::Event::Down));
    assert_eq!(lost, 0);
    soon("coming up", broker.up()).await;
    assert_eq!(broker.with(|core| core.look().queues.len()), 2);
    soon("stopping", broker.stop()).await;
}
