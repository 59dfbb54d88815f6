//! A scenario: workload, schedule of faults, expectations and deadlines, as one TOML file.
//!
//! Owns the file format and its validation; everything that can be refused is refused here, before
//! any I/O. It does not play anything: [`crate::plan`] resolves it, the harness plays it.

mod file;
mod words;

use std::time::Duration;

use gauntlet_faults::{Direction, Edge, Fault, duration};
use serde::{Deserialize, Serialize};

use crate::broker_fault::BrokerKind;

pub use crate::broker_fault::BrokerFault;
pub use file::{ScenarioError, nearest, nearest_hint, parse};
pub use words::describe;

/// One scenario, as its file says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The file's name without `.toml`.
    #[serde(default)]
    pub name: String,
    /// The failure story: the comment on top of the file.
    #[serde(default)]
    pub story: String,
    /// One line.
    pub title: String,
    /// Checkers that must decide it; one of them not deciding makes the run Unknown.
    pub decides: Vec<String>,
    /// Runs alone in the process, so that threads, descriptors and memory are the subject's.
    #[serde(default)]
    pub exclusive: bool,
    /// Needs a broker of its own (it restarts or stops it).
    #[serde(default)]
    pub own_broker: bool,
    /// What is published.
    #[serde(default)]
    pub workload: Workload,
    /// What the subject is told.
    #[serde(default)]
    pub subject: Settings,
    /// What goes wrong, in order.
    #[serde(default, rename = "step")]
    pub steps: Vec<Step>,
    /// What must come of it.
    #[serde(default)]
    pub expect: Expect,
    /// The queue it is about.
    #[serde(default)]
    pub queue: Queue,
    /// It shows a known hazard rather than a defect of the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hazard: Option<Hazard>,
}

/// A known hazard: what happens to anyone who does this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hazard {
    /// The checkers whose failures show it, the one that tells most first.
    pub shows: Vec<String>,
    /// What it is, and what to do about it.
    pub words: String,
    /// The built-in consumer that shows it, where not every consumer does.
    pub consumer: Option<String>,
}

/// The queue that is consumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// A quorum queue; else a classic one.
    pub quorum: bool,
    /// What is rejected or dropped goes to another queue.
    pub dead_letters: bool,
}

impl Default for Queue {
    fn default() -> Self {
        Queue { quorum: false, dead_letters: true }
    }
}

impl Scenario {
    /// Why it cannot be played on such a broker, if that is so.
    pub fn refused_by(&self, broker: BrokerKind) -> Option<String> {
        self.steps.iter().filter_map(|s| s.broker.as_ref()?.refused_by(broker)).next()
    }

    /// What in it only a subject with processes of its own can play, in words.
    pub fn needs_processes(&self) -> Option<&'static str> {
        let of_step = |s: &Step| match s.subject {
            Some(SubjectFault::Kill) => Some("killing it"),
            Some(SubjectFault::Pause) => Some("stopping it in its tracks"),
            Some(SubjectFault::Replace) => Some("replacing it"),
            _ => None,
        };
        let several = (self.subject.copies > 1).then_some("running several copies of it");
        self.steps.iter().find_map(of_step).or(several)
    }
}

/// What is published, by a publisher with confirms that no fault touches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workload {
    /// Messages, with the dense ids 0.. .
    pub messages: u32,
    /// So many of them are in the queue before the subject starts.
    pub backlog: u32,
    /// Messages per second until the faults are healed; without it, and from then on, as fast as they are
    /// confirmed.
    pub rate: Option<f64>,
    /// Bytes of each body.
    pub body: u32,
}

impl Default for Workload {
    fn default() -> Self {
        Workload { messages: 300, backlog: 0, rate: Some(500.0), body: 64 }
    }
}

/// What the subject is told: its environment, and how long its handler takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Workers, each with a channel of its own.
    pub workers: u16,
    /// Unsettled deliveries a worker may hold.
    pub prefetch: u16,
    /// Seconds; in the URL the subject gets.
    pub heartbeat: u16,
    /// How long handling a message takes.
    #[serde(with = "duration")]
    pub handler_time: Duration,
    /// How many copies of it run at a time, each with its own connection and workers.
    pub copies: u16,
    /// One message whose handling takes longer.
    pub slow: Option<Slow>,
    /// A password other than the right one.
    pub password: Option<String>,
    /// A virtual host other than the right one.
    pub vhost: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            workers: 2,
            prefetch: 8,
            heartbeat: 10,
            handler_time: Duration::from_millis(1),
            copies: 1,
            slow: None,
            password: None,
            vhost: None,
        }
    }
}

/// One message whose handling takes longer than the others'.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slow {
    /// Its id.
    pub message: u32,
    /// How long it takes.
    #[serde(with = "duration")]
    pub time: Duration,
}

/// One thing that goes wrong, and when. Exactly one of `fault`, `broker` and `subject` is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// When.
    pub when: Trigger,
    /// A fault of the network.
    pub fault: Option<Fault>,
    /// A fault of the broker.
    pub broker: Option<BrokerFault>,
    /// A fault of the subject, or a request to it.
    pub subject: Option<SubjectFault>,
    /// How long it lasts; without it, a fault with a duration lasts until the schedule is through.
    #[serde(with = "duration::option", default, skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Duration>,
    /// Only the next so many new connections feel it.
    pub connections: Option<u32>,
    /// Once the fault is in force, the live connections are reset, so that new ones must meet it.
    #[serde(default)]
    pub resets: bool,
    /// How many times the step is played (each time waiting for its trigger anew).
    #[serde(default = "once")]
    pub repeat: u32,
}

fn once() -> u32 {
    1
}

/// When a step is played.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Trigger {
    /// Before the subject starts.
    Start,
    /// When everything published so far was handled and settled; the publisher pauses until the step was played.
    Idle,
    /// So many distinct messages were handled.
    Handled(u32),
    /// A random count of handled messages, drawn from the seed, at least `from` and below `to`.
    HandledBetween {
        /// Lowest.
        from: u32,
        /// Highest, not reached.
        to: u32,
    },
    /// So long after the step before it.
    After(#[serde(with = "duration")] Duration),
    /// At a point in the protocol, counted over all the subject's connections from when the step is reached.
    Frame {
        /// Direction.
        way: Direction,
        /// Method name, `header`, `body`, `heartbeat` or `*`.
        name: String,
        /// Which one, from 1.
        #[serde(default = "once")]
        nth: u32,
        /// Before it, after it, or `{ inside = n }` bytes into it.
        edge: Edge,
    },
}

/// What can happen to a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SubjectFault {
    /// It is asked to stop: SIGTERM, or its equivalent in-process. The run goes on to the stop phase.
    Stop,
    /// It is asked a second time, and must end at once.
    Abort,
    /// Its oldest copy is killed (SIGKILL) and another one started.
    Kill,
    /// Its copies are stopped in their tracks (SIGSTOP) and go on after `lasts`.
    Pause,
    /// Its oldest copy is asked to stop while another one starts.
    Replace,
}

/// What must come of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// From the path being usable again to the first handled message.
    #[serde(with = "duration")]
    pub recovers_within: Duration,
    /// From healing to everything handled.
    #[serde(with = "duration")]
    pub drains_within: Duration,
    /// From the request to stop to its end.
    #[serde(with = "duration")]
    pub stops_within: Duration,
    /// How the subject ends.
    pub outcome: Ends,
    /// Frames that must have been on the wire, else the run is Unknown: `< basic.cancel`, `< connection.close 320`.
    pub sees: Vec<String>,
    /// Messages may be dropped with the queue that held them (the scenario deletes it).
    pub queue_is_deleted: bool,
}

impl Default for Expect {
    fn default() -> Self {
        Expect {
            recovers_within: Duration::from_secs(2),
            drains_within: Duration::from_secs(15),
            stops_within: Duration::from_secs(5),
            outcome: Ends::Stopped,
            sees: Vec::new(),
            queue_is_deleted: false,
        }
    }
}

/// How the subject ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ends {
    /// It stops when asked.
    Stopped,
    /// It is refused by the broker: gives up with a reason, or keeps trying slowly, as it promises.
    Refused,
}
