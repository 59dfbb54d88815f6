//! A broker's half of the protocol, just enough to consume nothing: it answers every method but the
//! one it is told to hold, and keeps the order of what it heard.

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
        let _ = converse(&mut stream, fails, hold, held, &mut heard).await;
        heard
    }
}

async fn converse(
    stream: &mut TcpStream,
    fails: usize,
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
        if method == CONSUME && heard.iter().filter(|m| **m == CONSUME).count() == fails {
            closing = Some(channel);
            // 541, no text, no cause.
            write(stream, channel, (20, 40), b"\x02\x1d\0\0\0\0\0").await?;
        }
    }
}

async fn write(
    stream: &mut TcpStream,
    channel: u16,
    method: Method,
    args: &[u8],
) -> io::Result<()> {
    let mut frame = vec![1];
    frame.extend(channel.to_be_bytes());
    frame.extend(u32::try_from(args.len() + 4).expect("small").to_be_bytes());
    frame.extend(method.0.to_be_bytes());
    frame.extend(method.1.to_be_bytes());
    frame.extend(args);
    frame.push(0xce);
    stream.write_all(&frame).await
}
