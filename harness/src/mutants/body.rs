//! The consumer that every mutant is made of: small, plain, and correct when its defect is `None`.
//!
//! It dials with a deadline; has a channel for each worker; handles one message after the other and
//! acks it when it is handled, once for each message id; goes back to dialing, with a backoff, when
//! anything at all ends its work; and on a stop finishes what it has begun and closes in order. Whether
//! a connection, a channel or a consumer was lost makes no difference to it: all of them mean a new
//! connection, once the handlers have ended. The questions after `defect` are the mutants' only
//! difference; see [`Defect`].

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer, ErrorKind};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::defect::Defect;
use super::line::{Line, within};
use super::{ack_multiple, deaf_heartbeats, left_behind, odd, resurrects, silence_unnoticed};
use crate::subject::{BackoffPromise, Jitter, Job, Running};

/// How long connecting, setting up a consumer, and each step of closing may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// The first delay; it doubles.
const BASE: Duration = Duration::from_millis(50);
/// Messages after which one that wedges does.
const WEDGED_AFTER: usize = 150;
/// Channels of each worker of one that multiplies its prefetch.
const CHANNELS: u16 = 5;
/// What one with a prefetch of its own asks for.
const OWN_PREFETCH: u16 = 3;
/// The longest delay.
const CAP: Duration = Duration::from_millis(400);

/// How it spaces its attempts.
pub(super) fn backoff() -> BackoffPromise {
    BackoffPromise {
        first_at_once: true,
        base: BASE,
        factor: 2.0,
        cap: CAP,
        jitter: Jitter::Full,
        max_attempts: None,
    }
}

/// Consumes until told to stop.
pub(super) fn run(job: Job, defect: Defect) -> Running {
    Box::pin(async move {
        let _ghost = (defect == Defect::Resurrects).then(|| resurrects::Ghost::new(&job.url));
        let body = Arc::new(Body::new(job, defect));
        let twin = async {
            body.lost.cancelled().await;
            body.connections().await
        };
        tokio::select! {
            biased;
            () = body.job.abort.cancelled(), if defect != Defect::SecondStopIgnored => Ok(()),
            () = body.job.stop.cancelled(), if defect == Defect::DropsInFlight => Ok(()),
            (one, other) = async { tokio::join!(body.connections(), twin) },
                if defect == Defect::ReconnectsTwice => one.and(other),
            ended = body.connections(), if defect != Defect::ReconnectsTwice => ended,
        }
    })
}

/// What lives as long as the consumer.
pub(super) struct Body {
    /// Its orders.
    pub(super) job: Job,
    /// What is wrong with it.
    pub(super) defect: Defect,
    /// Ids of the messages whose handling succeeded.
    done: Mutex<HashSet<String>>,
    /// Cancelled when a connection was lost for the first time.
    lost: CancellationToken,
    /// By worker: the tag it acked last on the first connection.
    acked: Mutex<BTreeMap<u16, u64>>,
    /// What lost connections leave behind.
    attic: left_behind::Attic,
}

/// One worker on one connection.
#[derive(Clone)]
pub(super) struct Worker {
    body: Arc<Body>,
    line: Arc<Line>,
    number: u16,
    /// Stop taking messages: a stop, or another worker of the connection came to an end.
    leave: CancellationToken,
    /// The connection is over: an answer from it will never come.
    gone: CancellationToken,
    /// Whether a worker of this connection ever consumed.
    consumed: Arc<AtomicBool>,
}

impl Body {
    fn new(job: Job, defect: Defect) -> Body {
        Body {
            job,
            defect,
            done: Mutex::default(),
            lost: CancellationToken::new(),
            acked: Mutex::default(),
            attic: left_behind::Attic::default(),
        }
    }

    /// Whether it has had enough, for a reason of its own.
    fn wedged(&self) -> bool {
        let done = || self.done.lock().unwrap_or_else(PoisonError::into_inner).len();
        self.defect == Defect::Wedges && done() >= WEDGED_AFTER
    }

    /// One connection after the other, until a stop or a refusal.
    async fn connections(self: &Arc<Self>) -> Result<(), String> {
        let mut failures = 0;
        loop {
            if !self.pause(failures).await {
                return Ok(());
            }
            self.job.attempt(failures);
            let dialed = tokio::select! {
                () = self.job.stop.cancelled(), if self.defect != Defect::StopHangs => return Ok(()),
                dialed = self.dial() => dialed,
            };
            let line = match dialed {
                Ok(line) => line,
                Err(e) if refused(&e) && self.defect != Defect::AuthRetry => {
                    return Err(e.to_string());
                }
                Err(e) if self.defect == Defect::TransientFatal => return Err(e.to_string()),
                Err(_) => {
                    failures += 1;
                    continue;
                }
            };
            let consumed = self.serve(line).await;
            if self.job.stop.is_cancelled() {
                return Ok(());
            }
            self.lost.cancel();
            match self.defect {
                Defect::NeverReconnects => {
                    self.job.stop.cancelled().await;
                    return Ok(());
                }
                Defect::PanicsOnLoss => panic!("the connection was lost"),
                _ => failures = if consumed { 0 } else { failures + 1 },
            }
        }
    }

    /// Waits before an attempt; false when a stop came first.
    async fn pause(&self, failures: u32) -> bool {
        let longest = match failures {
            0 => Duration::ZERO,
            _ => (BASE * 2_u32.saturating_pow(failures.min(8) - 1)).min(CAP),
        };
        let delay = match self.defect {
            Defect::HotLoop => Duration::ZERO,
            _ => longest.mul_f64(rand::random_range(0.0..=1.0)),
        };
        tokio::select! {
            biased;
            () = self.job.stop.cancelled(), if self.defect != Defect::StopHangs => false,
            () = sleep_until(Instant::now() + delay) => true,
        }
    }

    async fn dial(&self) -> Result<Line, lapin::Error> {
        let limit = (self.defect != Defect::NoHandshakeDeadline).then_some(DEADLINE);
        let asked = format!("heartbeat={}", self.job.heartbeat);
        let url = match self.defect {
            Defect::HeartbeatsOff => self.job.url.replace(&asked, "heartbeat=0"),
            Defect::SilenceUnnoticed => {
                let (url, relay) = silence_unnoticed::Relay::start(&self.job).await?;
                self.attic.keep_relay(relay);
                url
            }
            _ => self.job.url.clone(),
        };
        Line::dial(&url, limit).await
    }

    /// Works on a connection until a stop or until something of it ends; says whether it ever consumed.
    async fn serve(self: &Arc<Self>, line: Line) -> bool {
        let (line, consumed) = (Arc::new(line), Arc::new(AtomicBool::new(false)));
        let (leave, gone) = (self.job.stop.child_token(), CancellationToken::new());
        let missing = u16::from(self.defect == Defect::ForgetsWorker && self.lost.is_cancelled());
        let mut workers = JoinSet::new();
        let channels = if self.defect == Defect::MultipliesPrefetch { CHANNELS } else { 1 };
        for number in missing..self.job.workers * channels {
            let (body, line, consumed) = (self.clone(), line.clone(), consumed.clone());
            let (leave, gone) = (leave.clone(), gone.clone());
            workers.spawn(Worker { body, line, number, leave, gone, consumed }.work());
        }
        while !workers.is_empty() {
            tokio::select! {
                () = line.lost(), if !gone.is_cancelled() => gone.cancel(),
                _ = workers.join_next() => {}
            }
            // Whoever ends first takes the others along.
            leave.cancel();
        }
        let stopped = self.job.stop.is_cancelled();
        if !stopped && self.attic.keeps(self.defect, &self.job, &line).await {
            return consumed.load(Ordering::Relaxed);
        }
        line.close(DEADLINE).await;
        consumed.load(Ordering::Relaxed)
    }
}

impl Worker {
    async fn work(self) {
        if let Err(error) = self.consume().await {
            tracing::debug!(%error, worker = self.number, "a worker of a mutant ended");
        }
    }

    /// Its habit.
    pub(super) fn defect(&self) -> Defect {
        self.body.defect
    }

    /// Its orders.
    pub(super) fn job(&self) -> &Job {
        &self.body.job
    }

    /// A new channel.
    pub(super) async fn channel(&self) -> Result<Channel, lapin::Error> {
        self.line.connection.create_channel().await
    }

    /// Whether it is to take no more messages.
    pub(super) fn leaves(&self) -> bool {
        self.leave.is_cancelled()
    }

    /// Waits until it is to take no more.
    pub(super) async fn left(&self) {
        self.leave.cancelled().await;
    }

    /// The broker answers: the connection is one that works.
    pub(super) fn has_consumed(&self) {
        self.consumed.store(true, Ordering::Relaxed);
    }

    async fn consume(&self) -> Result<(), lapin::Error> {
        if self.body.defect == Defect::Polls {
            return odd::poll(self).await;
        }
        let (channel, mut consumer, control) = tokio::select! {
            biased;
            () = self.leave.cancelled() => return Ok(()),
            opened = self.step(self.open()) => opened?,
        };
        self.has_consumed();
        tokio::select! {
            worked = self.work_on(&channel, &mut consumer) => worked,
            () = odd::listen(control) => Ok(()),
        }
    }

    async fn work_on(
        &self,
        channel: &Channel,
        consumer: &mut Consumer,
    ) -> Result<(), lapin::Error> {
        if self.body.defect == Defect::AckMultiple {
            ack_multiple::consume(self, channel, consumer).await?;
        } else {
            while let Some(delivery) = self.next(consumer).await {
                self.take(channel, delivery?).await?;
            }
        }
        if !self.leave.is_cancelled() {
            // The consumer is gone, and the connection goes with it.
            return Ok(());
        }
        while self.body.defect == Defect::LosesPrefetched
            && let Some(Some(Ok(delivery))) = consumer.next().now_or_never()
        {
            self.ack(channel, delivery.delivery_tag).await?;
        }
        // Unsettled deliveries go back to the queue as the channel closes.
        self.step(channel.basic_cancel(consumer.tag(), BasicCancelOptions::default())).await?;
        self.step(channel.close(200, "done".into())).await
    }

    /// A step of the protocol, which ends with the connection; lapin may keep waiting for its answer.
    pub(super) async fn step<T>(
        &self,
        step: impl Future<Output = Result<T, lapin::Error>>,
    ) -> Result<T, lapin::Error> {
        tokio::select! {
            biased;
            done = within(DEADLINE, step) => done,
            () = self.gone.cancelled() => Err(io::Error::from(io::ErrorKind::NotConnected).into()),
        }
    }

    async fn open(&self) -> Result<(Channel, Consumer, Option<Consumer>), lapin::Error> {
        let Body { job, defect, lost, acked, .. } = &*self.body;
        let channel = self.line.connection.create_channel().await?;
        if *defect != Defect::QosForgotten || !lost.is_cancelled() {
            let own = *defect == Defect::OwnPrefetch;
            let prefetch = if own { OWN_PREFETCH } else { job.prefetch };
            channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        }
        let control = odd::open(self, &channel).await?;
        let options =
            BasicConsumeOptions { no_ack: *defect == Defect::AutoAck, ..Default::default() };
        let (queue, tag) = (job.queue.as_str().into(), format!("worker-{}", self.number).into());
        let consumer = channel.basic_consume(queue, tag, options, FieldTable::default()).await?;
        let acked = || acked.lock().unwrap_or_else(PoisonError::into_inner);
        let stale = acked().get(&self.number).copied();
        if let Some(tag) = stale.filter(|_| *defect == Defect::StaleTag && lost.is_cancelled()) {
            channel.basic_ack(tag, BasicAckOptions::default()).await?;
            acked().remove(&self.number);
        }
        Ok((channel, consumer, control))
    }

    /// The next delivery; `None` when there will be none.
    pub(super) async fn next(
        &self,
        consumer: &mut Consumer,
    ) -> Option<Result<Delivery, lapin::Error>> {
        let goes_on = self.body.defect == Defect::KeepsConsuming;
        if self.body.wedged() {
            self.leave.cancelled().await;
        }
        let next = tokio::select! {
            biased;
            () = self.leave.cancelled() => match goes_on {
                true => timeout(BASE, consumer.next()).await.ok().flatten(),
                false => None,
            },
            delivery = consumer.next() => delivery,
        };
        if next.is_none()
            && self.body.defect == Defect::ServerCancelIgnored
            && self.line.connected()
        {
            self.leave.cancelled().await;
        }
        next
    }

    /// Handles a message unless it was handled before, then acks it.
    pub(super) async fn take(
        &self,
        channel: &Channel,
        delivery: Delivery,
    ) -> Result<(), lapin::Error> {
        let defect = self.body.defect;
        if odd::take(self, channel, &delivery).await? {
            return Ok(());
        }
        let tag = delivery.delivery_tag;
        if defect == Defect::EarlyAck {
            self.ack(channel, tag).await?;
        }
        let handled = self.handle(&delivery).await;
        match handled {
            Ok(()) if defect == Defect::EarlyAck => Ok(()),
            Ok(()) => self.ack(channel, tag).await,
            Err(_) => {
                let options = BasicRejectOptions { requeue: false };
                self.step(channel.basic_reject(tag, options)).await
            }
        }
    }

    /// Handles a message unless it was handled before.
    pub(super) async fn handle(&self, delivery: &Delivery) -> Result<(), String> {
        let Body { job, defect, done, .. } = &*self.body;
        let id = delivery.properties.message_id().as_ref().map(|id| id.as_str().to_owned());
        let seen = match (*defect, &id) {
            (Defect::NoDedup, _) => false,
            (Defect::SkipsRedelivered, _) if delivery.redelivered => true,
            (_, Some(id)) => done.lock().unwrap_or_else(PoisonError::into_inner).contains(id),
            (_, None) => false,
        };
        if seen {
            return Ok(());
        }
        let _deaf =
            (*defect == Defect::DeafHeartbeats).then(|| deaf_heartbeats::Deaf::new(&self.line));
        job.handle(id.as_deref(), delivery.redelivered).await?;
        done.lock().unwrap_or_else(PoisonError::into_inner).extend(id);
        Ok(())
    }

    async fn ack(&self, channel: &Channel, tag: u64) -> Result<(), lapin::Error> {
        let times = match self.body.defect {
            Defect::AutoAck => 0,
            Defect::ForgetsAck if tag.is_multiple_of(40) => 0,
            Defect::DoubleAck => 2,
            _ => 1,
        };
        if !self.body.lost.is_cancelled() {
            let mut acked = self.body.acked.lock().unwrap_or_else(PoisonError::into_inner);
            acked.insert(self.number, tag);
        }
        for _ in 0..times {
            self.step(channel.basic_ack(tag, BasicAckOptions::default())).await?;
        }
        Ok(())
    }
}

/// Whether the broker refused it: wrong password, no permission, or no such virtual host.
fn refused(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(e) if matches!(e.get_id(), 403 | 530))
}
