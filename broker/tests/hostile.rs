//! Clients that take and do not give, over real sockets: whoever else is connected does not notice.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use gauntlet_broker::model::message::Message;
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
/// Published and consumed in a round, and pairs of rounds at most.
const MESSAGES: usize = 500;
const PAIRS: usize = 30;
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

    /// How long a round takes.
    async fn round(&mut self) -> Result<Duration, lapin::Error> {
        let began = Instant::now();
        let mut confirms = Vec::with_capacity(MESSAGES);
        for _ in 0..MESSAGES {
            let options = BasicPublishOptions::default();
            let props = BasicProperties::default();
            let publish =
                self.channel.basic_publish("amq.fanout".into(), "".into(), options, &BODY, props);
            confirms.push(publish.await?);
        }
        for confirm in confirms {
            assert!(confirm.await?.is_ack());
        }
        for _ in 0..MESSAGES {
            let delivery = self.consumer.next().await.expect("the consumer is not cancelled")?;
            assert_eq!(delivery.data, BODY);
        }
        Ok(began.elapsed())
    }
}

/// Whether the honest one is served alike with and without the hostile one beside it. Load on this machine may slow
/// down any one round, so rounds with and without take turns until a pair of them agrees; harm would spoil all of them.
async fn is_unharmed(beside: &mut Honest, apart: &mut Honest) -> Result<bool, lapin::Error> {
    for _ in 0..PAIRS {
        let without = apart.round().await?;
        // Every message has a second queue to go to; more than that would be harm.
        if beside.round().await? < without * 3 {
            return Ok(true);
        }
    }
    Ok(false)
}

#[tokio::test]
async fn all_channels_with_a_consumer_each_and_never_reading_harm_nobody() {
    let broker = Broker::start(Config::default()).expect("loopback has a port");
    let other = Broker::start(Config::default()).expect("loopback has a port");
    let mut honest = Vec::new();
    for broker in [&broker, &other] {
        let connected = timeout(PATIENCE, Honest::connect(broker)).await.expect("it is quick");
        honest.push(connected.expect("the broker is up"));
    }
    let [beside, apart] = &mut honest[..] else { panic!("there are two") };

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
    // Until its connection is full.
    let full = async {
        while broker.with(|core| core.look().queues.iter().all(|it| it.ready == 0)) {
            beside.round().await.expect("no error");
        }
    };
    timeout(PATIENCE, full)
        .await
        .expect("as the peer does not read, its queue keeps what it is sent");

    let unharmed = timeout(PATIENCE * 3, is_unharmed(beside, apart)).await.expect("in time");
    assert!(unharmed.expect("no error"), "{PAIRS} rounds took three times those without it, each");
    let look = broker.with(|core| core.look());
    assert!(look.connections.iter().any(|connection| connection.channels == 2047));
    timeout(PATIENCE, broker.stop()).await.expect("nobody who does not read is waited for");
    timeout(PATIENCE, other.stop()).await.expect("the broker stops");
}

/// What was left in the queue while the peer did not read is sent as soon as it does, by nothing but its reading.
#[tokio::test]
async fn who_reads_late_gets_everything() {
    const MANY: usize = 400;
    // Larger than what the system's buffers and the broker's hold together.
    const LARGE: usize = 32 << 10;
    let broker = Broker::start(Config::default()).expect("loopback has a port");
    let mut late = TcpStream::connect(broker.addr()).await.expect("the broker listens");
    let mut all = handshake();
    all.extend(method(1, 20, 10, &[0]));
    all.extend(method(1, 50, 10, b"\0\0\x04late\0\0\0\0\0"));
    all.extend(method(1, 60, 20, b"\0\0\x04late\x01c\x02\0\0\0\0"));
    late.write_all(&all).await.expect("the broker reads");
    let consuming = broker.until(|core| core.look().consumers.len() == 1);
    timeout(PATIENCE, consuming).await.expect("it consumes");
    broker.with(|core| {
        for _ in 0..MANY {
            let (props, body) = (Bytes::from_static(&[0, 0]), Bytes::from(vec![b'm'; LARGE]));
            let message = Message::published("".into(), "late".into(), props, body);
            core.put_message("/", message.expect("it is well-formed")).expect("the queue is there");
        }
    });
    assert!(broker.with(|core| core.look().queues[0].ready) > 0, "more than is kept for a peer");
    let mut octets = 0;
    let mut input = vec![0; 1 << 20];
    while octets < MANY * LARGE {
        let read = timeout(PATIENCE, late.read(&mut input)).await;
        octets +=
            read.unwrap_or_else(|_| panic!("nothing more after {octets}")).expect("it is open");
    }
    timeout(PATIENCE, broker.stop()).await.expect("the broker stops");
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
        // Without the setting it would be ten seconds.
        assert!(cut < Duration::from_secs(8), "{cut:?} is too late");
    }
    // Who is quick about it is not.
    let mut honest = Honest::connect(&broker).await.expect("the broker is up");
    timeout(PATIENCE, honest.round()).await.expect("in time").expect("no error");
    timeout(PATIENCE, broker.stop()).await.expect("the broker stops");
}
