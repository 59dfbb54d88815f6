//! The habits of `leaks-connection`, `leaks-tasks`, `leaks-threads` and `leaks-sockets`: what a lost
//! connection leaves behind.
//!
//! They stand for NServiceBus.RabbitMQ#1115 (the previous connection stays open), streamdal/rabbit#27
//! and march_hare#64 (tasks, threads), bunny#115 and haigha#95 (sockets). Everything left behind is
//! gone when the mutant itself is.

use std::sync::{Arc, Mutex, PoisonError};

use lapin::uri::AMQPUri;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::defect::Defect;
use super::line::Line;
use super::silence_unnoticed::Relay;
use crate::subject::Job;

/// What nobody will ever look at again.
#[derive(Default)]
pub(super) struct Attic {
    lines: Mutex<Vec<Arc<Line>>>,
    sockets: Mutex<Vec<TcpStream>>,
    tasks: Mutex<JoinSet<()>>,
    relay: Mutex<Option<Relay>>,
}

impl Attic {
    /// Leaves behind what the defect leaves of a lost connection; true when the connection itself must
    /// not be closed.
    pub(super) async fn keeps(&self, defect: Defect, job: &Job, line: &Arc<Line>) -> bool {
        match defect {
            Defect::LeaksConnection | Defect::LeaksThreads => {
                let alive = line.connected();
                if alive == (defect == Defect::LeaksConnection) {
                    self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line.clone());
                }
                alive && defect == Defect::LeaksConnection
            }
            Defect::LeaksTasks => {
                let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
                tasks.spawn(std::future::pending());
                false
            }
            Defect::LeaksSockets => {
                // "Is the broker back?", asked by a connect that nobody closes.
                if let Some(socket) = probe(&job.url).await {
                    self.sockets.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
                }
                false
            }
            _ => false,
        }
    }

    /// Keeps the relay of the connection that is being dialed, in place of the one before.
    pub(super) fn keep_relay(&self, relay: Relay) {
        *self.relay.lock().unwrap_or_else(PoisonError::into_inner) = Some(relay);
    }
}

async fn probe(url: &str) -> Option<TcpStream> {
    let uri: AMQPUri = url.parse().ok()?;
    TcpStream::connect((uri.authority.host.as_str(), uri.authority.port)).await.ok()
}
