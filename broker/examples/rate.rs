//! How many messages a second go through publish, confirm, deliver and ack: of the embedded broker, and of others whose
//! `host:port` are given. `cargo run --release -p gauntlet-broker --example rate -- 127.0.0.1:5672`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use gauntlet_broker::{Broker, Config};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const MESSAGES: u64 = 200_000;
/// Published and not yet confirmed, at most.
const WINDOW: u64 = 1_000;
const BODY: usize = 100;
const PREFETCH: u16 = 1_000;

struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    at: usize,
}

impl Client {
    fn connect(addr: SocketAddr) -> Result<Client> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        let mut client = Client { stream, input: Vec::new(), at: 0 };
        client.stream.write_all(b"AMQP\x00\x00\x09\x01")?;
        let mut start_ok = vec![0, 0, 0, 0, 5];
        start_ok.extend(b"PLAIN\x00\x00\x00\x0c\x00guest\x00guest\x05en_US");
        client.method(0, 10, 11, &start_ok)?;
        client.method(0, 10, 31, &[7, 255, 0, 2, 0, 0, 0, 0])?;
        client.method(0, 10, 40, b"\x01/\x00\x00")?;
        client.method(1, 20, 10, &[0])?;
        client.wait(20, 11)?;
        Ok(client)
    }

    fn method(&mut self, channel: u16, class: u16, id: u16, fields: &[u8]) -> Result<()> {
        let mut out = Vec::new();
        write_method(&mut out, channel, class, id, fields);
        self.stream.write_all(&out)?;
        Ok(())
    }

    /// The next frame's type and payload.
    fn frame(&mut self) -> Result<(u8, std::ops::Range<usize>)> {
        loop {
            let have = &self.input[self.at..];
            if let [kind, _, _, a, b, c, d, ..] = *have {
                let size = u32::from_be_bytes([a, b, c, d]) as usize;
                if have.len() >= size + 8 {
                    let from = self.at + 7;
                    self.at += size + 8;
                    return Ok((kind, from..from + size));
                }
            }
            self.input.drain(..self.at);
            self.at = 0;
            let mut more = [0; 65_536];
            let got = self.stream.read(&mut more)?;
            if got == 0 {
                return Err("the broker has closed the connection".into());
            }
            self.input.extend_from_slice(&more[..got]);
        }
    }

    /// Whether a frame waits already.
    fn has_frame(&self) -> bool {
        self.at < self.input.len()
    }

    fn wait(&mut self, class: u8, id: u8) -> Result<()> {
        loop {
            let (kind, range) = self.frame()?;
            if kind == 1 && self.input[range.start..][..4] == [0, class, 0, id] {
                return Ok(());
            }
        }
    }
}

fn write_method(out: &mut Vec<u8>, channel: u16, class: u16, id: u16, fields: &[u8]) {
    out.push(1);
    out.extend(channel.to_be_bytes());
    out.extend((fields.len() as u32 + 4).to_be_bytes());
    out.extend(class.to_be_bytes());
    out.extend(id.to_be_bytes());
    out.extend(fields);
    out.push(0xCE);
}

fn publish(addr: SocketAddr) -> Result<()> {
    let mut client = Client::connect(addr)?;
    client.method(1, 85, 10, &[0])?;
    client.wait(85, 11)?;
    let mut one = Vec::new();
    write_method(&mut one, 1, 60, 40, b"\x00\x00\x00\x04rate\x00");
    one.extend([2, 0, 1, 0, 0, 0, 15, 0, 60, 0, 0]);
    one.extend((BODY as u64).to_be_bytes());
    one.extend([0x10, 0, 2, 0xCE, 3, 0, 1]);
    one.extend((BODY as u32).to_be_bytes());
    one.extend([b'm'; BODY]);
    one.push(0xCE);
    let (mut sent, mut confirmed) = (0, 0);
    let mut out = Vec::new();
    while confirmed < MESSAGES {
        let room = (confirmed + WINDOW - sent).min(MESSAGES - sent).min(100);
        if room > 0 {
            out.clear();
            (0..room).for_each(|_| out.extend_from_slice(&one));
            client.stream.write_all(&out)?;
            sent += room;
            if sent < confirmed + WINDOW && sent < MESSAGES {
                continue;
            }
        }
        let (_, range) = client.frame()?;
        let payload = &client.input[range];
        if let [0, 60, 0, 80, tag @ .., multiple] = payload {
            let tag = u64::from_be_bytes(tag.try_into()?);
            confirmed = if *multiple == 1 { tag } else { confirmed + 1 };
        }
    }
    Ok(())
}

fn consume(addr: SocketAddr) -> Result<()> {
    let mut client = Client::connect(addr)?;
    let [high, low] = PREFETCH.to_be_bytes();
    client.method(1, 60, 10, &[0, 0, 0, 0, high, low, 0])?;
    client.method(1, 60, 20, b"\x00\x00\x04rate\x01c\x00\x00\x00\x00\x00")?;
    let mut left = MESSAGES;
    let mut acks = Vec::new();
    while left > 0 {
        let (kind, range) = client.frame()?;
        if kind == 1 && client.input[range.start..][..4] == [0, 60, 0, 60] {
            let tag = client.input[range.start + 6..][..8].to_vec();
            write_method(&mut acks, 1, 60, 80, &[&tag[..], &[0]].concat());
            left -= 1;
        }
        if !client.has_frame() || left == 0 {
            client.stream.write_all(&acks)?;
            acks.clear();
        }
    }
    // The last acks have arrived when this is answered.
    client.method(1, 20, 40, &[0, 200, 0, 0, 0, 0, 0])?;
    client.wait(20, 41)
}

fn rate(addr: SocketAddr) -> Result<f64> {
    let mut client = Client::connect(addr)?;
    client.method(1, 50, 10, b"\x00\x00\x04rate\x02\x00\x00\x00\x00")?;
    client.wait(50, 11)?;
    let began = Instant::now();
    let consumer = std::thread::spawn(move || consume(addr));
    publish(addr)?;
    consumer.join().map_err(|_| "the consumer panicked")??;
    let rate = MESSAGES as f64 / began.elapsed().as_secs_f64();
    client.method(1, 50, 40, b"\x00\x00\x04rate\x00")?;
    client.wait(50, 41)?;
    Ok(rate)
}

fn main() -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let broker = runtime.block_on(async { Broker::start(Config::default()) })?;
    let mut brokers = vec![("embedded".to_owned(), broker.addr())];
    for arg in std::env::args().skip(1) {
        brokers.push((arg.clone(), arg.parse()?));
    }
    for (name, addr) in brokers {
        let rate = rate(addr)?;
        #[expect(clippy::print_stdout, reason = "the figures are what the example is for")]
        {
            println!("{name}: {rate:.0} messages/s");
        }
    }
    runtime.block_on(broker.stop());
    Ok(())
}
