//! Another client of Rust, amqprs, over a real socket: confirms, a delivery and its ack, a refusal, a cancel by the server.

use std::time::Duration;

use amqprs::BasicProperties;
use amqprs::channel::{
    BasicAckArguments, BasicConsumeArguments, BasicGetArguments, BasicPublishArguments,
    ConfirmSelectArguments, ExchangeDeclareArguments, QueueBindArguments, QueueDeclareArguments,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use gauntlet_broker::{Broker, Config};

/// Everything here is quick; what hangs is a bug that should say so.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let deadline = Duration::from_secs(20);
    tokio::time::timeout(deadline, future).await.unwrap_or_else(|_| panic!("{what} took too long"))
}

async fn connect(broker: &Broker) -> Connection {
    let arguments =
        OpenConnectionArguments::new("127.0.0.1", broker.addr().port(), "guest", "guest");
    soon("connecting", Connection::open(&arguments)).await.expect("the broker is up")
}

#[tokio::test]
async fn from_connect_to_ack() {
    let broker = Broker::start(Config::default()).expect("loopback has a port");
    let connection = connect(&broker).await;
    let channel = connection.open_channel(None).await.expect("a channel");
    channel.confirm_select(ConfirmSelectArguments::default()).await.expect("confirms");
    let exchange = ExchangeDeclareArguments::new("x", "topic");
    channel.exchange_declare(exchange).await.expect("an exchange");
    let declared = channel.queue_declare(QueueDeclareArguments::durable_client_named("q")).await;
    let (name, messages, consumers) = declared.expect("a queue").expect("it is told");
    assert_eq!((&*name, messages, consumers), ("q", 0, 0));
    channel.queue_bind(QueueBindArguments::new("q", "x", "a.*")).await.expect("a binding");

    let consume = BasicConsumeArguments::new("q", "c");
    let (tag, mut deliveries) = channel.basic_consume_rx(consume).await.expect("a consumer");
    assert_eq!(tag, "c");
    let properties = BasicProperties::default().with_message_id("m").finish();
    let publish = BasicPublishArguments::new("x", "a.b");
    channel.basic_publish(properties, b"body".to_vec(), publish).await.expect("it is sent");
    let delivery = soon("a delivery", deliveries.recv()).await.expect("the channel is open");
    assert_eq!(delivery.content.as_deref(), Some(&b"body"[..]));
    let properties = delivery.basic_properties.expect("it has some");
    assert_eq!(properties.message_id().map(|id| &**id), Some("m"));
    let deliver = delivery.deliver.expect("it is one");
    assert_eq!((&**deliver.exchange(), &**deliver.routing_key()), ("x", "a.b"));
    let ack = BasicAckArguments::new(deliver.delivery_tag(), false);
    channel.basic_ack(ack).await.expect("it is sent");
    let settled = broker.until(|core| core.look().queues[0].unacked == 0);
    soon("the ack", settled).await;
    let got = channel.basic_get(BasicGetArguments::new("q")).await.expect("it is answered");
    assert!(got.is_none(), "nothing is left");

    // Its default callbacks take note of the server's cancel, and it goes on.
    assert!(broker.with(|core| core.remove_queue("/", "q")));
    // A refusal closes the channel alone.
    let refused = channel
        .queue_declare(QueueDeclareArguments::default().queue("q".into()).passive(true).finish());
    assert!(soon("a refusal", refused).await.is_err());
    let other = connection.open_channel(None).await.expect("the connection is open");
    other.close().await.expect("in order");
    connection.close().await.expect("in order");
    broker.stop().await;
}
