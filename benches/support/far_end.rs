//! The far end of a measured path: a server on loopback, one connection at a time unless it is to have
//! many.
//!
//! It uses blocking sockets on purpose: beside it, what a proxy costs shows undiluted.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// Bytes of a small frame, its header and end included.
pub const SMALL: usize = 64;
/// Bytes of a large frame.
pub const LARGE: usize = 4096;
/// Bytes that [`Serve::Sink`] answers with one [`HEARTBEAT`]: whole frames of either size.
pub const BLOCK: usize = 1 << 20;
/// The shortest frame there is.
pub const HEARTBEAT: [u8; 8] = [8, 0, 0, 0, 0, 0, 0, 0xCE];

/// A body frame of so many bytes in all.
pub fn body_frame(bytes: usize) -> Vec<u8> {
    let payload = bytes - HEARTBEAT.len();
    let size = u32::try_from(payload).expect("frames are small");
    let mut frame = vec![3, 0, 1];
    frame.extend_from_slice(&size.to_be_bytes());
    frame.resize(frame.len() + payload, b'x');
    frame.push(0xCE);
    frame
}

/// What it does with what it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serve {
    /// Sends it back.
    Echo,
    /// Sends one small frame back, and closes.
    Once,
    /// Throws it away, and answers each block; many connections at a time.
    Sink,
    /// Sends one small frame back and keeps the connection; many at a time.
    Hold,
}

/// A running server. Dropping it ends it; the connections to it must have ended.
pub struct FarEnd {
    pub addr: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl FarEnd {
    pub fn start(serve: Serve) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let addr = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("far-end".to_owned()).spawn(move || {
            // A connection that breaks is the near end's to report: it misses the answer.
            let mut held = Vec::new();
            thread::scope(|scope| {
                for stream in listener.incoming() {
                    if stopped.load(Ordering::Relaxed) {
                        break;
                    }
                    match (serve, stream) {
                        (Serve::Sink, Ok(stream)) => {
                            scope.spawn(move || serve_one(stream, serve));
                        }
                        (Serve::Hold, Ok(stream)) => held.extend(hold(stream)),
                        (_, stream) => {
                            let _ = stream.and_then(|stream| serve_one(stream, serve));
                        }
                    }
                }
            });
        })?;
        Ok(Self { addr, stop, thread: Some(thread) })
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It waits in accept: this is what it accepts last.
        let woken = TcpStream::connect(self.addr).is_ok();
        if let (true, Some(thread)) = (woken, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

/// Answers one small frame; the connection then.
fn hold(mut stream: TcpStream) -> io::Result<TcpStream> {
    let mut frame = [0; SMALL];
    stream.read_exact(&mut frame)?;
    stream.write_all(&frame)?;
    Ok(stream)
}

fn serve_one(mut stream: TcpStream, serve: Serve) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 64 * 1024];
    let (mut taken, mut answered) = (0, 0);
    loop {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        taken += n;
        match serve {
            Serve::Echo | Serve::Hold => stream.write_all(&buffer[..n])?,
            Serve::Once => {
                stream.write_all(&buffer[..n])?;
                if taken >= SMALL {
                    return Ok(());
                }
            }
            Serve::Sink => {
                while answered < taken / BLOCK {
                    stream.write_all(&HEARTBEAT)?;
                    answered += 1;
                }
            }
        }
    }
}
