//! The workload: a publisher with confirms and dense message ids, behind no fault.
//!
//! Owns what is published and what is known of it. A confirm that failed or never came leaves the
//! message's fate unknown, never failed, and the message is not published again.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use gauntlet_judge::history::What;
use gauntlet_judge::scenario::Workload;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::backstage;
use crate::recorder::Recorder;

/// Confirms awaited at a time.
const WINDOW: usize = 256;
/// Between two tries to reach a broker that is away.
const RETRY: Duration = Duration::from_millis(20);
/// An attempt that takes longer is given up, and another made.
const ATTEMPT: Duration = Duration::from_secs(5);
/// A confirm that takes longer is given up; the message's fate is unknown.
const CONFIRM: Duration = Duration::from_secs(15);
/// Without a broker for so long, the publisher gives up; what it did not publish is not published.
const PATIENCE: Duration = Duration::from_secs(60);

/// A publisher at work.
#[must_use = "a publisher is stopped by `stop`"]
pub struct Publisher {
    pace: watch::Sender<Pace>,
    state: watch::Receiver<Doing>,
    tasks: JoinSet<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// The backlog, as fast as it is confirmed; then a pause.
    Fill,
    Pause,
    /// At the workload's rate, but for the reserve; then a pause.
    Go,
    Hurry,
    Stop,
}

/// What the publisher does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Publishing, or about to.
    Publishing,
    /// Paused, with no confirm awaited.
    Paused,
    /// Everything is published, with no confirm awaited; or it gave up or was stopped.
    Finished,
}

impl Publisher {
    /// A publisher of `workload` into `queue`, which pauses after the backlog. Its messages are `persistent` where the
    /// broker goes down and must keep them; elsewhere they are not, for RabbitMQ then confirms at once and not when
    /// it has flushed. The last `reserve` messages are kept until it hurries: where a broker takes its time to go down,
    /// there is something left to handle when it is back.
    pub fn start(
        url: &str,
        queue: &str,
        workload: &Workload,
        (persistent, reserve): (bool, u32),
        recorder: &Recorder,
    ) -> Publisher {
        let (pace, paces) = watch::channel(Pace::Fill);
        let (states, state) = watch::channel(Doing::Publishing);
        let body = vec![b'x'; workload.body as usize];
        let interval = workload.rate.map(|r| Duration::from_secs_f64(1.0 / r));
        let (url, queue) = (url.to_owned(), queue.to_owned());
        let work = Work {
            url,
            queue,
            body,
            interval,
            messages: workload.messages,
            backlog: workload.backlog,
            reserve,
            delivery_mode: if persistent { 2 } else { 1 },
            recorder: recorder.clone(),
            pace: paces,
            state: states,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(work.run());
        Publisher { pace, state, tasks }
    }

    /// Waits until the backlog is in the queue; false when that took longer than `bound`.
    pub async fn filled(&mut self, bound: Duration) -> bool {
        self.reach(bound, |doing| doing != Doing::Publishing).await
    }

    /// Publishes on.
    pub fn go(&self) {
        self.pace.send_replace(Pace::Go);
    }

    /// Publishes what is left as fast as it is confirmed, whatever the workload's rate.
    pub fn hurry(&self) {
        self.pace.send_replace(Pace::Hurry);
    }

    /// Pauses; returns when nothing more is in flight to the broker. False when that took longer than `bound`.
    pub async fn pause(&mut self, bound: Duration) -> bool {
        self.pace.send_replace(Pace::Pause);
        self.reach(bound, |doing| doing != Doing::Publishing).await
    }

    /// Waits until everything is published and its fate known; false when that took longer than `bound`.
    pub async fn finished(&mut self, bound: Duration) -> bool {
        self.reach(bound, |doing| doing == Doing::Finished).await
    }

    async fn reach(&mut self, bound: Duration, wanted: impl Fn(Doing) -> bool) -> bool {
        let reached = self.state.wait_for(|doing| wanted(*doing));
        matches!(tokio::time::timeout(bound, reached).await, Ok(Ok(_)))
    }

    /// Stops; what is not published by now is not published.
    pub async fn stop(mut self) {
        self.pace.send_replace(Pace::Stop);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(Duration::from_secs(5), ended).await;
    }
}

struct Work {
    url: String,
    queue: String,
    body: Vec<u8>,
    interval: Option<Duration>,
    messages: u32,
    backlog: u32,
    reserve: u32,
    delivery_mode: u8,
    recorder: Recorder,
    pace: watch::Receiver<Pace>,
    state: watch::Sender<Doing>,
}

type Confirm = Result<lapin::Result<Confirmation>, tokio::time::error::Elapsed>;
type Confirming = Pin<Box<dyn Future<Output = Confirm> + Send>>;
type Awaited = VecDeque<(u32, Confirming)>;

impl Work {
    async fn run(mut self) {
        let mut next = 0;
        let mut session: Option<(Connection, Channel)> = None;
        let mut awaited: Awaited = VecDeque::new();
        let mut due = Instant::now();
        while next < self.messages {
            let pace = *self.pace.borrow_and_update();
            match pace {
                Pace::Stop => break,
                Pace::Hurry => {}
                Pace::Go if next + self.reserve < self.messages => {}
                Pace::Fill if next < self.backlog => {}
                Pace::Fill | Pace::Pause | Pace::Go => {
                    self.settle(&mut awaited, 0).await;
                    self.state.send_replace(Doing::Paused);
                    if self.pace.changed().await.is_err() {
                        break;
                    }
                    self.state.send_replace(Doing::Publishing);
                    due = Instant::now();
                    continue;
                }
            }
            if session.as_ref().is_none_or(|(c, _)| !c.status().connected()) {
                self.settle(&mut awaited, 0).await;
                session = self.connect().await;
            }
            let Some((_, channel)) = &session else { break };
            let id = next;
            next += 1;
            match self.publish(channel, id).await {
                Ok(confirm) => awaited.push_back((id, confirm)),
                Err(e) => self.unknown(id, e.to_string()),
            }
            self.settle(&mut awaited, WINDOW).await;
            if pace == Pace::Go {
                self.wait_for_due(&mut due, &mut awaited).await;
            }
        }
        self.settle(&mut awaited, 0).await;
        self.state.send_replace(Doing::Finished);
        if let Some((connection, _)) = session {
            let _ = connection.close(200, "done".into()).await;
        }
    }

    /// Waits for the next message's turn, taking confirms as they come.
    async fn wait_for_due(&self, due: &mut Instant, awaited: &mut Awaited) {
        let Some(interval) = self.interval else { return };
        // A publisher that fell behind (the broker was away) does not make up for it in a burst.
        *due = (*due + interval).max(Instant::now() - interval);
        while let Some((id, confirm)) = awaited.front_mut() {
            match tokio::time::timeout_at(*due, confirm).await {
                Ok(outcome) => {
                    let id = *id;
                    awaited.pop_front();
                    self.confirmed(id, outcome);
                }
                Err(_) => return,
            }
        }
        tokio::time::sleep_until(*due).await;
    }

    async fn connect(&mut self) -> Option<(Connection, Channel)> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && *self.pace.borrow() != Pace::Stop {
            // One that goes down or comes up may take a connection and never answer on it.
            let session = tokio::time::timeout(ATTEMPT, self.session()).await;
            if let Ok(Some(session)) = session {
                return Some(session);
            }
            // A broker that restarts is waited for; each try is cheap and goes to this machine.
            let _ = tokio::time::timeout(RETRY, self.pace.wait_for(|p| *p == Pace::Stop)).await;
        }
        None
    }

    async fn session(&self) -> Option<(Connection, Channel)> {
        let connection = backstage::connect(&self.url).await.ok()?;
        let channel = connection.create_channel().await.ok()?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.ok()?;
        Some((connection, channel))
    }

    async fn publish(&self, channel: &Channel, id: u32) -> lapin::Result<Confirming> {
        self.recorder.record(What::Published { id });
        let message_id = format!("m{id}");
        let properties = BasicProperties::default()
            .with_delivery_mode(self.delivery_mode)
            .with_message_id(message_id.as_str().into());
        let queue = self.queue.as_str().into();
        let options = BasicPublishOptions::default();
        let confirm =
            channel.basic_publish("".into(), queue, options, &self.body, properties).await?;
        Ok(Box::pin(tokio::time::timeout(CONFIRM, confirm)))
    }

    /// Takes confirms until at most `most` are awaited.
    async fn settle(&self, awaited: &mut Awaited, most: usize) {
        while awaited.len() > most {
            let Some((id, confirm)) = awaited.pop_front() else { return };
            self.confirmed(id, confirm.await);
        }
    }

    fn confirmed(&self, id: u32, outcome: Confirm) {
        match outcome {
            Ok(Ok(Confirmation::Ack(_))) => self.recorder.record(What::Confirmed { id }),
            Ok(Ok(other)) => self.unknown(id, format!("the broker answered {other:?}")),
            Ok(Err(e)) => self.unknown(id, e.to_string()),
            Err(_) => self.unknown(id, format!("no confirm within {} s", CONFIRM.as_secs())),
        }
    }

    fn unknown(&self, id: u32, why: String) {
        self.recorder.record(What::PublishUnknown { id, why });
    }
}
