//! The task of one connection: reads, lets the core act, writes what there is in one go.

use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use socket2::SockRef;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use crate::core::{Batch, ConnectionId, How};

/// Bytes read at a time, at most.
const READ: usize = 64 << 10;
/// Pieces written at a time, at most.
const PIECES: usize = 64;

/// Serves a connection until either side ends it.
pub(super) async fn serve(
    mut stream: TcpStream,
    id: ConnectionId,
    waker: Arc<Notify>,
    shared: Arc<Shared>,
    over: CancellationToken,
) {
    let how = tokio::select! {
        how = talk(&mut stream, id, &waker, &shared) => how,
        () = over.cancelled() => How::Rst,
    };
    shared.gone(id);
    match how {
        // Without lingering a close is a reset.
        How::Rst => _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO)),
        How::Fin => _ = stream.shutdown().await,
    }
}

async fn talk(stream: &mut TcpStream, id: ConnectionId, waker: &Notify, shared: &Shared) -> How {
    let mut input = BytesMut::with_capacity(READ);
    let mut batch = Batch::default();
    loop {
        let step = shared.step(id, &mut input, &mut batch);
        if !batch.is_empty() && !write(stream, &mut batch) {
            return How::Fin;
        }
        if batch.is_empty() {
            if let Some(how) = step.end {
                return how;
            }
            if step.more {
                // A peer that takes all it is given must not keep the others from their turn.
                tokio::task::yield_now().await;
                continue;
            }
        }
        tokio::select! {
            ready = stream.readable(), if step.read => {
                if ready.is_err() {
                    return How::Fin;
                }
                if input.capacity() - input.len() < READ / 4 {
                    input.reserve(READ);
                }
                match stream.try_read_buf(&mut input) {
                    Ok(0) => return How::Fin,
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => return How::Fin,
                }
            }
            ready = stream.writable(), if !batch.is_empty() => {
                if ready.is_err() {
                    return How::Fin;
                }
            }
            () = waker.notified() => {}
        }
    }
}

/// Writes what the socket takes. Whether the peer is still there.
fn write(stream: &TcpStream, batch: &mut Batch) -> bool {
    while !batch.is_empty() {
        let mut slices = [IoSlice::new(&[]); PIECES];
        let used = batch.slices(&mut slices);
        match stream.try_write_vectored(&slices[..used]) {
            Ok(written) => batch.advance(written),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Err(_) => return false,
        }
    }
    true
}
