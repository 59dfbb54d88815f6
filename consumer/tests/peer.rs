//! A broker's half of the protocol, just enough to consume nothing: it answers every method but the
//! one it is told to hold, and keeps the order of what it heard. Or enough to flood a consumer.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep_until},
};

/// Class and method.
pub type Method = (u16, u16);

pub const CLOSE: Method = (10, 50);
pub const CHANNEL_OPEN: Method = (20, 10);
pub const QOS: Method = (60, 10);
pub const CONSUME: Method = (60, 20);
pub const ACK: Method = (60, 80);

/// How one method is treated.
#[derive(Debug, Clone, Copy)]
pub struct Hold {
    pub method: Method,
    /// On which occurrence, from 1.
    pub nth: usize,
    /// Answer this late; `None` is never.
    pub late: Option<Duration>,
}

pub struct Peer {
    listener: TcpListener,
}

impl Peer {
    pub async fn bind() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.expect("a port") }
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("bound")
    }

    /// Serve one connection to its end: close the channel of the `fails`th basic.consume, call `held`
    /// when the method to hold has come.
    pub async fn serve(&self, fails: usize, hold: Hold, held: impl Fn()) -> Vec<Method> {
        let (mut stream, _) = self.listener.accept().await.expect("a connection");
        let mut heard = Vec::new();
        // The end, however it comes, ends the record.
        let _ = converse(&mut stream, fails, 0, hold, held, &mut heard).await;
        heard
    }

    /// Serve one connection to its end: send so many messages of 1 kB to a consumer, whatever its prefetch.
    pub async fn flood(&self, deliveries: u64) -> Vec<Method> {
        let (mut stream, _) = self.listener.accept().await.expect("a connection");
        let mut heard = Vec::new();
        let none = Hold { method: (0, 0), nth: 1, late: None };
        let _ = converse(&mut stream, 0, deliveries, none, || {}, &mut heard).await;
        heard
    }
}

async fn converse(
    stream: &mut TcpStream,
    fails: usize,
    deliveries: u64,
    hold: Hold,
    held: impl Fn(),
    heard: &mut Vec<Method>,
) -> io::Result<()> {
    // Closed by this side: nothing but close-ok counts on it.
    let mut closing = None;
    stream.set_nodelay(true)?;
    stream.read_exact(&mut [0; 8]).await?;
    // Version 0-9, no properties, PLAIN, en_US.
    let start = b"\0\x09\0\0\0\0\0\0\0\x05PLAIN\0\0\0\x05en_US";
    write(stream, 0, (10, 10), start).await?;
    loop {
        let mut head = [0; 7];
        stream.read_exact(&mut head).await?;
        let channel = u16::from_be_bytes([head[1], head[2]]);
        let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
        let mut body = vec![0; usize::try_from(size).expect("small") + 1];
        stream.read_exact(&mut body).await?;
        if head[0] != 1 {
            continue;
        }
        let number = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
        let method = (number(0), number(2));
        heard.push(method);
        if closing == Some(channel) {
            if method == (20, 41) {
                closing = None;
            }
            if method != (20, 40) {
                continue;
            }
        }
        if method == hold.method && heard.iter().filter(|m| **m == method).count() == hold.nth {
            held();
            match hold.late {
                Some(late) => sleep_until(Instant::now() + late).await,
                None => continue,
            }
        }
        let short = |at: usize| &body[at..=at + usize::from(body[at])];
        let answer = match method {
            // 2047 channels, 128 KiB frames, no heartbeat.
            (10, 11) => ((10, 30), &b"\x07\xff\0\x02\0\0\0\0"[..]),
            (10, 40) => ((10, 41), &b"\0"[..]),
            CLOSE => ((10, 51), &b""[..]),
            CHANNEL_OPEN => ((20, 11), &b"\0\0\0\0"[..]),
            (20, 40) => ((20, 41), &b""[..]),
            QOS => ((60, 11), &b""[..]),
            CONSUME => ((60, 21), short(6 + short(6).len())),
            (60, 30) => ((60, 31), short(4)),
            _ => continue,
        };
        write(stream, channel, answer.0, answer.1).await?;
        if method == CONSUME {
            for tag in 1..=deliveries {
                deliver(stream, channel, answer.1, tag).await?;
            }
        }
        if method == CONSUME && heard.iter().filter(|m| **m == CONSUME).count() == fails {
            closing = Some(channel);
            // 541, no text, no cause.
            write(stream, channel, (20, 40), b"\x02\x1d\0\0\0\0\0").await?;
        }
    }
}

/// basic.deliver, a header without properties, and the body.
async fn deliver(
    stream: &mut TcpStream,
    channel: u16,
    consumer: &[u8],
    tag: u64,
) -> io::Result<()> {
    // Not redelivered, from the default exchange, no routing key.
    let deliver = [consumer, &tag.to_be_bytes(), b"\0\0\0"].concat();
    write(stream, channel, (60, 60), &deliver).await?;
    let body = [b'x'; 1024];
    let header = [&b"\0\x3c\0\0"[..], &1024_u64.to_be_bytes(), b"\0\0"].concat();
    frame(stream, 2, channel, &header).await?;
    frame(stream, 3, channel, &body).await
}

async fn write(
    stream: &mut TcpStream,
    channel: u16,
    method: Method,
    args: &[u8],
) -> io::Result<()> {
    let payload = [&method.0.to_be_bytes()[..], &method.1.to_be_bytes(), args].concat();
    frame(stream, 1, channel, &payload).await
}

async fn frame(stream: &mut TcpStream, kind: u8, channel: u16, payload: &[u8]) -> io::Result<()> {
    let mut frame = vec![kind];
    frame.extend(channel.to_be_bytes());
    frame.extend(u32::try_from(payload.len()).expect("small").to_be_bytes());
    frame.extend(payload);
    frame.push(0xce);
    stream.write_all(&frame).await
}
