//! Helpers: a queue on a real broker, a TCP forwarder that resets, and a census of this process.

use std::{fs, net::SocketAddr, ops::Range, time::Duration};

use gauntlet_consumer::Endpoint;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::broadcast,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

/// Wait for a condition; the deadline's error says what was missing.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let poll = async {
        while !condition() {
            sleep_until(Instant::now() + Duration::from_micros(200)).await;
        }
    };
    timeout(Duration::from_secs(20), poll)
        .await
        .unwrap_or_else(|_| panic!("still missing: {what}"));
}

/// A queue of this test's own.
pub struct Queue {
    url: String,
    name: String,
    channel: Channel,
    _connection: Connection,
}

impl Queue {
    pub async fn declare(url: &str, test: &str) -> Self {
        let connection =
            Connection::connect(url, ConnectionProperties::default()).await.expect("a broker");
        let channel = connection.create_channel().await.expect("a channel");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        let name = format!("gauntlet-consumer-{test}-{}", std::process::id());
        let queue = Self { url: url.to_owned(), name, channel, _connection: connection };
        let delete = QueueDeleteOptions::default();
        queue.channel.queue_delete(queue.name().into(), delete).await.expect("deleted");
        queue.ready().await;
        queue
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Messages ready; declares the queue if it is not there.
    pub async fn ready(&self) -> u32 {
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        let declared =
            self.channel.queue_declare(self.name().into(), options, FieldTable::default());
        declared.await.expect("declared").message_count()
    }

    pub async fn publish(&self, ids: Range<usize>) {
        for id in ids {
            let properties = BasicProperties::default().with_message_id(format!("m{id}").into());
            let options = BasicPublishOptions::default();
            let publish = self.channel.basic_publish(
                "".into(),
                self.name().into(),
                options,
                b"hello",
                properties,
            );
            publish.await.expect("published").await.expect("confirmed");
        }
    }
}

/// Forwards connections, and resets all of them at once.
pub struct Forwarder {
    address: SocketAddr,
    userinfo: String,
    resets: broadcast::Sender<()>,
    _tasks: JoinSet<()>,
}

impl Forwarder {
    pub async fn start(url: &str) -> Self {
        let upstream = Endpoint::parse(url).expect("a URL").address();
        let userinfo = url
            .split_once("://")
            .and_then(|(_, rest)| rest.rsplit_once('@'))
            .map(|(userinfo, _)| format!("{userinfo}@"))
            .unwrap_or_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (resets, _) = broadcast::channel(16);
        let (mut tasks, told) = (JoinSet::new(), resets.clone());
        tasks.spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((down, _)) = listener.accept().await {
                let up = TcpStream::connect(&upstream).await.expect("the broker");
                links.spawn(forward(down, up, told.subscribe()));
            }
        });
        Self { address, userinfo, resets, _tasks: tasks }
    }

    pub fn url(&self) -> String {
        format!("amqp://{}{}/%2f", self.userinfo, self.address)
    }

    pub fn reset(&self) {
        // Nobody listens when no connection is open.
        let _ = self.resets.send(());
    }
}

async fn forward(mut down: TcpStream, mut up: TcpStream, mut reset: broadcast::Receiver<()>) {
    down.set_nodelay(true).expect("a socket");
    up.set_nodelay(true).expect("a socket");
    tokio::select! {
        _ = copy_bidirectional(&mut down, &mut up) => {}
        _ = reset.recv() => {
            for stream in [&down, &up] {
                socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("a socket");
            }
        }
    }
}

/// What this process holds.
#[derive(Debug)]
pub struct Census {
    pub threads: usize,
    pub descriptors: usize,
    /// Threads of consumers.
    pub engines: usize,
}

pub fn census() -> Census {
    let entries = |path: &str| fs::read_dir(path).expect("linux").flatten();
    let names: Vec<String> = entries("/proc/self/task")
        .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok())
        .collect();
    Census {
        threads: names.len(),
        descriptors: entries("/proc/self/fd").count(),
        engines: names.iter().filter(|name| name.starts_with("gauntlet-engin")).count(),
    }
}
