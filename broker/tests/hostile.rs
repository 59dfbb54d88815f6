//! Clients that take and do not give, over real sockets: whoever else is connected does not notice.

use std::io::ErrorKind;
use std::time::Duration;

use futures_util::StreamExt as _;
use gauntlet_broker::{Broker, Config};
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// As many channels as the broker allows.
const CHANNELS: u16 = 2047;
/// Published and consumed in a round, and rounds of which the best counts.
const MESSAGES: usize = 500;
const ROUNDS: usize = 5;
const BODY: [u8; 4096] = [b'm'; 4096];
/// What hangs is a bug that should say so.
const PATIENCE: Duration = Duration::from_secs(20);

/// `start-ok`, `tune-ok` and `open` behind the protocol header.
fn handshake() -> Vec<u8> {
    let mut all = b"AMQP\x00\x00\x09\x01".to_vec();
    all.extend(method(0, 10, 11, b"\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US"));
    all.extend(method(0, 10, 31, &[7, 255, 0, 2, 0, 0, 0, 0]));
    all.extend(method(0, 10, 40, b"\x01/\0\0"));
    all
}

fn method(channel: u16, class: u16, id: u16, fields: &[u8]) -> Vec<u8> {
    let mut frame = vec![1];
    frame.extend(channel.to_be_bytes());
    frame.extend((fields.len() as u32 + 4).to_be_bytes());
    frame.extend(class.to_be_bytes());
    frame.extend(id.to_be_bytes());
    frame.extend(fields);
    frame.push(0xCE);
    frame
}

/// An honest client: a queue of its own behind `amq.fanout`, and confirms.
struct Honest {
    channel: Channel,
    consumer: Consumer,
}

impl Honest {
    async fn connect(broker: &Broker) -> Result<Honest, lapin::Error> {
        let url = broker.url("/");
        let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let none = FieldTable::default;
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        channel.queue_declare("own".into(), options, none()).await?;
        let options = QueueBindOptions::default();
        channel.queue_bind("own".into(), "amq.fanout".into(), "".into(), options, none()).await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let consumer = channel.basic_consume("own".into(), "c".into(), options, none()).await?;
        Ok(Honest { channel, consumer })
    }

    /// How long the best of some rounds takes.
    async fn best(&mut self) -> Result<Duration, lapin::Error> {
        let mut best = Duration::MAX;
        for _ in 0..ROUNDS {
            let began = Instant::now();
            let mut confirms = Vec::with_capacity(MESSAGES);
            for _ in 0..MESSAGES {
                let options = BasicPublishOptions::default();
                let props = BasicProperties::default();
                let publish = self.channel.basic_publish(
                    "amq.fanout".into(),
                    "".into(),
                    options,
                    &BODY,
                    props,
                );
                confirms.push(publish.await?);
            }
            for confirm in confirms {
                assert!(confirm.await?.is_ack());
            }
            for _ in 0..MESSAGES {
                let delivery =
                    self.consumer.next().await.expect("the consumer is not cancelled")?;
                assert_eq!(delivery.data, BODY);
            }
            best = best.min(began.elapsed());
        }
        Ok(best)
    }
}

#[tokio::test]
async fn all_channels_with_a_consumer_each_and_never_reading_harm_nobody() {
    let broker = Broker::start(Config::default()).expect("loopback has a port");
    let honest = timeout(PATIENCE, Honest::connect(&broker)).await.expect("connecting is quick");
    let mut honest = honest.expect("the broker is up");
    let before = timeout(PATIENCE, honest.best()).await.expect("in time").expect("no error");

    // What the honest one publishes goes to the queue of all these consumers, too.
    let mut hostile = TcpStream::connect(broker.addr()).await.expect("the broker listens");
    let mut all = handshake();
    for channel in 1..=CHANNELS {
        all.extend(method(channel, 20, 10, &[0]));
        if channel == 1 {
            all.extend(method(1, 50, 10, b"\0\0\x04trap\0\0\0\0\0"));
            all.extend(method(1, 50, 20, b"\0\0\x04trap\x0aamq.fanout\0\0\0\0\0\0"));
        }
        all.extend(method(channel, 60, 20, b"\0\0\x04trap\x01c\x02\0\0\0\0"));
    }
    hostile.write_all(&all).await.expect("the broker reads");
    let consumers = usize::from(CHANNELS) + 1;
    let consuming = broker.until(|core| core.look().consumers.len() == consumers);
    timeout(PATIENCE, consuming).await.expect("its consumers are there");

    let after = timeout(PATIENCE, honest.best()).await.expect("in time").expect("no error");
    let look = broker.with(|core| core.look());
    let trap = look.queues.iter().find(|queue| queue.name == "trap").expect("it is there");
    assert!(trap.ready > 0, "as the peer does not read, its queue keeps what it is sent");
    assert!(look.connections.iter().any(|connection| connection.channels == 2047));
    // Every message has a second queue to go to now; more than that would be harm.
    assert!(after < before * 4 + Duration::from_millis(20), "{before:?} before, {after:?} after");
    timeout(PATIENCE, broker.stop()).await.expect("nobody who does not read is waited for");
}

/// Sends one octet after the other, and says when it is cut off.
async fn trickle(broker: &Broker, octets: &[u8]) -> Duration {
    let mut stream = TcpStream::connect(broker.addr()).await.expect("the broker listens");
    let began = Instant::now();
    let mut pace = interval(Duration::from_millis(40));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut octets = octets.iter();
    let mut answers = [0; 1024];
    loop {
        tokio::select! {
            _ = pace.tick() => {
                if let Some(octet) = octets.next() {
                    // A write that fails is told by the read, too.
                    let _ = stream.write_all(&[*octet]).await;
                }
            }
            read = stream.read(&mut answers) => match read {
                Ok(0) => return began.elapsed(),
                Ok(_) => {}
                // An end with octets on their way is a reset.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return began.elapsed(),
                Err(error) => panic!("{error}"),
            },
        }
    }
}

#[tokio::test]
async fn a_handshake_that_trickles_is_cut_off() {
    let handshake_timeout = Duration::from_millis(300);
    let config = Config { handshake_timeout, ..Config::default() };
    let broker = Broker::start(config).expect("loopback has a port");
    let mut endless = handshake();
    // A `start-ok` as large as may be, of which every octet is awaited.
    endless.splice(8.., [1, 0, 0, 0, 0, 15, 160]);
    endless.extend([0; 4000]);
    for octets in [&handshake()[..8], &endless] {
        let cut = timeout(PATIENCE, trickle(&broker, octets)).await.expect("it is cut off");
        assert!(cut >= handshake_timeout, "{cut:?} is too early");
        assert!(cut < handshake_timeout + Duration::from_secs(2), "{cut:?} is too late");
    }
    // Who is quick about it is not.
    let mut honest = Honest::connect(&broker).await.expect("the broker is up");
    timeout(PATIENCE, honest.best()).await.expect("in time").expect("no error");
    timeout(PATIENCE, broker.stop()).await.expect("the broker stops");
}
