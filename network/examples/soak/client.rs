//! One client: it sends what it can tell byte by byte, reads it back, and knows what it should be.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use gauntlet_network::Seed;
use rand::RngExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream, tcp},
    time::{sleep_until, timeout},
};

use super::taken::Taken;

/// Without a byte for so long, a connection that no fault took is wedged.
const WEDGED: Duration = Duration::from_secs(60);
/// How long to listen before asking whether a fault took it.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes sent at once, and in all over one connection.
const PIECE: usize = 16 * 1024;
const WHOLE: usize = 400_000;
/// Between two pieces.
const BREATH: Duration = Duration::from_millis(10);

/// What came of one connection.
pub enum Came {
    /// It was not to be had; a port may refuse.
    Refused,
    /// All of it came back.
    Whole(u64),
    /// A fault took it after so many bytes, which were right.
    Taken(u64),
    /// What must not be.
    Wrong(String),
}

/// The byte at an offset of a connection's stream.
pub fn byte(id: u64, offset: u64) -> u8 {
    let mut mixed = (id << 40) ^ (offset >> 3).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed ^ (mixed >> 27)).to_be_bytes()[(offset & 7) as usize]
}

/// A client's own address. A port alone tells nothing: it can be somebody else's before its last owner has
/// read to the end.
pub fn address(client: usize) -> Ipv4Addr {
    let byte = |n: usize| u8::try_from(n % 250).unwrap_or(0) + 1;
    Ipv4Addr::new(127, byte(client / 62_500), byte(client / 250), byte(client))
}

async fn connect(from: Ipv4Addr, link: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // Where loopback is one address only, it has to do.
    let _ = socket.bind((from, 0).into());
    socket.connect(link).await
}

/// Connects once, and sends and reads to the end.
pub async fn once(from: Ipv4Addr, id: u64, link: SocketAddr, seed: Seed, taken: &Taken) -> Came {
    let Ok(Ok(stream)) = timeout(WEDGED, connect(from, link)).await else {
        return Came::Refused;
    };
    let Ok(here) = stream.local_addr() else { return Came::Refused };
    let (mut reader, mut writer) = stream.into_split();
    let mut chance = seed.stream(&format!("client-{id}"));
    let whole = chance.random_range(1..WHOLE as u64);
    let send = send(&mut writer, id, whole, seed);
    let read = read(&mut reader, id, here, taken);
    let mut came = None;
    let (right, why) = tokio::select! {
        // Sending ends with FIN, or by an error that reading learns of too.
        _ = async { let _ = send.await; std::future::pending::<()>().await } => unreachable!("it never ends"),
        read = read => read,
    };
    if let Some(why) = why {
        came = Some(why);
    } else if right != whole {
        came = Some(format!("ended after {right} of {whole} bytes"));
    }
    let (was_taken, story) = (taken.took(here), taken.story(here));
    drop((reader, writer));
    taken.forget(here);
    match came {
        None => Came::Whole(right),
        Some(why) if why.starts_with("octet") => Came::Wrong(format!("connection {id}: {why}")),
        Some(_) if was_taken => Came::Taken(right),
        Some(why) => Came::Wrong(format!("connection {id}: {why}{story}")),
    }
}

async fn send(writer: &mut tcp::OwnedWriteHalf, id: u64, whole: u64, seed: Seed) -> io::Result<()> {
    let mut chance = seed.stream(&format!("pieces-{id}"));
    let mut sent = 0;
    while sent < whole {
        let piece = chance.random_range(1..=PIECE as u64).min(whole - sent);
        let bytes: Vec<u8> = (sent..sent + piece).map(|offset| byte(id, offset)).collect();
        writer.write_all(&bytes).await?;
        sent += piece;
        if chance.random::<bool>() {
            let breath = BREATH.mul_f64(chance.random());
            sleep_until((Instant::now() + breath).into()).await;
        }
    }
    writer.shutdown().await
}

/// How many bytes were right until the end, and what was not.
async fn read(
    reader: &mut tcp::OwnedReadHalf,
    id: u64,
    here: SocketAddr,
    taken: &Taken,
) -> (u64, Option<String>) {
    let (mut right, mut buffer) = (0, vec![0; PIECE]);
    let mut heard = Instant::now();
    loop {
        match timeout(PATIENCE, reader.read(&mut buffer)).await {
            Ok(Ok(0)) => return (right, None),
            Ok(Ok(n)) => {
                for given in &buffer[..n] {
                    if *given != byte(id, right) {
                        return (right, Some(format!("byte {right} is not what was sent")));
                    }
                    right += 1;
                }
                heard = Instant::now();
            }
            Ok(Err(error)) => return (right, Some(format!("{error} after {right} bytes"))),
            Err(_) if taken.surely_took(here) => {
                return (right, Some("silent, and taken".to_owned()));
            }
            Err(_) if heard.elapsed() > WEDGED => {
                return (right, Some(format!("wedged after {right} bytes")));
            }
            Err(_) => {}
        }
    }
}
