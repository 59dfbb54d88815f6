//! What can happen in a run, as one line of the history.
//!
//! Owns the event types and their file format (JSONL, version in the plan beside it). It does not
//! own what they mean: [`ledger`](super::ledger) folds them, the checkers judge them.

use gauntlet_amqp::Frame;
use gauntlet_faults::{Direction, End};
use serde::{Deserialize, Serialize};

use super::load::Waiter;

/// One event of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the file, from 0, dense. Findings cite events by it.
    pub seq: u64,
    /// Nanoseconds since the run began, on one monotonic clock.
    pub ns: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

impl Event {
    /// Milliseconds since the run began.
    pub fn ms(&self) -> f64 {
        self.ns as f64 / 1e6
    }
}

/// A phase of a run, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The subject starts, until it consumes.
    Start,
    /// Traffic flows, no fault.
    Steady,
    /// The schedule plays.
    Faults,
    /// Every fault is lifted, verified by read-back.
    Heal,
    /// Until caught up, or why not.
    Drain,
    /// The subject is asked to go.
    Stop,
    /// The broker forgets it.
    Settle,
    /// What is left is counted.
    Close,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Phase::Start => "start",
            Phase::Steady => "steady",
            Phase::Faults => "faults",
            Phase::Heal => "heal",
            Phase::Drain => "drain",
            Phase::Stop => "stop",
            Phase::Settle => "settle",
            Phase::Close => "close",
        })
    }
}

/// How one end of a connection came to an end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// An orderly close.
    Fin,
    /// A reset.
    Rst,
    /// Any other error, as the system words it.
    Error(String),
}

/// Who holds the socket at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// The subject.
    Subject {
        /// The process.
        pid: u32,
        /// Which copy, where the subject is a command and the copy is known.
        copy: Option<u32>,
    },
    /// A process that is not known to be the subject's.
    Other {
        /// The process.
        pid: u32,
        /// Its command line, shortened.
        name: String,
    },
    /// The client had closed the socket before anybody could look.
    Gone,
    /// It cannot be told: another network namespace, no permission, or no `/proc`.
    Unknown,
}

/// What happened. Messages are named by their dense id: message `17` carries `message_id` "m17".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    // --- the run -------------------------------------------------------------------------------
    /// The first event of a history that is kept: which plan it was made with.
    Began {
        /// [`digest`](crate::plan::digest) of the plan beside it.
        plan: String,
    },
    /// A phase began.
    Phase {
        /// Which.
        phase: Phase,
    },
    /// A phase reached its bound; what was still missing.
    PhaseOverran {
        /// Which.
        phase: Phase,
        /// The condition that did not come true.
        missing: String,
    },
    /// The run was ended before it was over: it reached its upper bound.
    CutShort {
        /// In words.
        why: String,
    },
    /// The history file itself is complete: nothing follows.
    End,

    // --- the workload --------------------------------------------------------------------------
    /// A message was handed to the publisher's connection.
    Published {
        /// Its dense id.
        id: u32,
    },
    /// The broker confirmed it.
    Confirmed {
        /// Its dense id.
        id: u32,
    },
    /// Its fate is unknown to the publisher: it may or may not be in the queue.
    PublishUnknown {
        /// Its dense id.
        id: u32,
        /// Why.
        why: String,
    },
    /// After everything was over, the harness found it still in a queue.
    Remaining {
        /// Its dense id.
        id: u32,
        /// Which queue.
        queue: String,
        /// Whether the broker marks it as maybe seen.
        redelivered: bool,
    },
    /// The count of what the harness found in a queue after everything was over.
    QueueCounted {
        /// Which queue.
        queue: String,
        /// How many messages were ready, all of them then recorded as `Remaining`.
        ready: u32,
    },

    /// The subject published copies of messages to this queue, and there is none of that name.
    QueueAbsent {
        /// Which queue.
        queue: String,
    },

    // --- the network ---------------------------------------------------------------------------
    /// The virtual host the subject was told to use. It belongs to this run alone, so a client that opens it is the
    /// subject, no matter which process holds the socket.
    VhostTold {
        /// Its name.
        vhost: String,
    },
    /// Whose socket is at the other end of a connection the link is about to accept; comes before its `Accepted`.
    /// Histories without it hold connections of the subject only.
    Peer {
        /// The connection's number on this link.
        conn: u64,
        /// Who holds the socket.
        owner: Owner,
    },
    /// The link accepted a connection.
    Accepted {
        /// The connection's number on this link, from 0.
        conn: u64,
    },
    /// The link reached the broker for it.
    Dialed {
        /// Connection.
        conn: u64,
    },
    /// The link could not reach the broker for it.
    DialFailed {
        /// Connection.
        conn: u64,
        /// Why.
        error: String,
    },
    /// A whole frame passed a tap.
    Wire {
        /// Connection.
        conn: u64,
        /// Which tap: the subject's (`client`) or the broker's end.
        end: End,
        /// The direction it travels.
        way: Direction,
        /// The frame.
        frame: Frame,
    },
    /// Bytes passed a tap that are not AMQP 0-9-1.
    Garbage {
        /// Connection.
        conn: u64,
        /// Which tap.
        end: End,
        /// The direction.
        way: Direction,
        /// How many bytes.
        bytes: u64,
        /// What is wrong with them.
        why: String,
    },
    /// The peer at `end` closed its side.
    Ended {
        /// Connection.
        conn: u64,
        /// Which peer.
        end: End,
        /// How.
        how: Ending,
    },
    /// The link closed towards `end` (a fault did, or it passed on what the other side did).
    Cut {
        /// Connection.
        conn: u64,
        /// Towards whom.
        end: End,
        /// How.
        how: Ending,
    },
    /// The link is done with the connection.
    Closed {
        /// Connection.
        conn: u64,
    },

    // --- the schedule --------------------------------------------------------------------------
    /// A step's trigger was met or armed on the network; its fault is in force or waits for its point.
    Injected {
        /// Index of the step in the plan.
        step: usize,
        /// The fault in words.
        fault: String,
    },
    /// The step's fault touched something. Without one of these a step proves nothing.
    Fired {
        /// Index of the step in the plan.
        step: usize,
        /// On which connection, when on one.
        conn: Option<u64>,
        /// On what.
        note: String,
    },
    /// The step's fault was lifted.
    Lifted {
        /// Index of the step in the plan.
        step: usize,
    },
    /// From here on a new connection through the link reaches a broker that answers.
    PathUsable {
        /// The step whose fault had made it unusable.
        step: usize,
    },
    /// A condition the schedule waited for did not come true in time; the step was not played.
    StepMissed {
        /// Index of the step in the plan.
        step: usize,
        /// What was still missing.
        missing: String,
    },

    // --- the broker ----------------------------------------------------------------------------
    /// What the broker said it holds for the subject's virtual host, the harness's own connections left out.
    BrokerHolds {
        /// Connections.
        connections: u32,
        /// Channels.
        channels: u32,
        /// Consumers.
        consumers: u32,
        /// Delivered and not settled, when the broker can say so.
        unacked: Option<u32>,
        /// At which point of the run this was asked.
        at: Moment,
    },

    // --- the subject ---------------------------------------------------------------------------
    /// The subject was started; times of one subject only.
    SubjectStarted {
        /// Its name.
        name: String,
    },
    /// A handler began a message.
    HandlerStarted {
        /// Message.
        id: u32,
        /// The redelivered flag the handler saw.
        redelivered: bool,
    },
    /// A handler ended.
    HandlerEnded {
        /// Message.
        id: u32,
        /// Whether it succeeded.
        ok: bool,
    },
    /// The side effect of handling the message was committed.
    Effect {
        /// Message.
        id: u32,
    },
    /// The subject says it tries to connect (also visible where the network shows nothing: a refused port).
    Attempt {
        /// How many tries without success before this one, from 0.
        failures: u32,
    },
    /// The subject says something a reader should know.
    Said {
        /// What.
        text: String,
    },
    /// The subject was asked to stop (SIGTERM, or its equivalent).
    StopRequested,
    /// The subject was asked a second time: stop at once.
    AbortRequested,
    /// The subject came to an end.
    SubjectEnded {
        /// How.
        how: SubjectEnd,
    },
    /// A process of the subject was started; only where the subject is a command.
    ProcessStarted {
        /// Which of its copies, from 1; a copy that is started again has a new number.
        copy: u32,
        /// Its process, the leader of a group of its own.
        pid: u32,
    },
    /// A process of the subject came to an end.
    ProcessEnded {
        /// Which.
        copy: u32,
        /// Its exit code or signal, in words.
        how: String,
        /// Whether the run had brought it about: asked it to stop, or killed it.
        asked: bool,
    },
    /// Processes of the subject ran on after it had ended; they were killed.
    LeftBehind {
        /// Pid and command line of each.
        processes: Vec<String>,
    },
    /// The subject reported something that cannot be read.
    Nonsense {
        /// What it said.
        text: String,
    },
    /// The subject reported more than can have been; from here on the excess is counted and not recorded.
    Flood {
        /// How many, of how many deliveries.
        text: String,
    },
    /// What the subject's health endpoint answered; recorded when it differs from the answer before.
    Health {
        /// Which of its copies.
        copy: u32,
        /// The HTTP status, where there was an answer.
        status: Option<u16>,
        /// Why there was none.
        why: Option<String>,
    },
    /// Somebody else listens on the port that a copy was given for its health: what answers there is not asked.
    HealthTaken {
        /// Which of its copies.
        copy: u32,
        /// Who listens.
        by: String,
    },
    /// The last lines the subject wrote, reports left out.
    LogTail {
        /// In order.
        lines: Vec<String>,
    },
    /// Some thread waited for a CPU, or the harness was late: the machine was busy.
    Starved {
        /// What waited.
        #[serde(default)]
        who: Waiter,
        /// The nanoseconds before this event in which it waited.
        over: u64,
        /// How many of them.
        waited: u64,
    },
    /// What the subject and its process hold.
    Sample {
        /// At which point of the run.
        at: Moment,
        /// Tasks alive on the subject's runtime.
        tasks: Option<u32>,
        /// Threads of the process the subject runs in.
        threads: Option<u32>,
        /// File descriptors of the process the subject runs in.
        fds: Option<u32>,
        /// Sockets of the process that lead to the link, in any state.
        sockets: Option<u32>,
        /// Resident memory of the process, KiB.
        rss_kib: Option<u64>,
        /// Whether nothing else ran in the process, so that `threads`, `fds` and `rss_kib` are the subject's.
        alone: bool,
    },
}

impl What {
    /// The connection this is about, where it is about one.
    pub fn conn(&self) -> Option<u64> {
        match self {
            What::Peer { conn, .. }
            | What::Accepted { conn }
            | What::Dialed { conn }
            | What::DialFailed { conn, .. }
            | What::Wire { conn, .. }
            | What::Garbage { conn, .. }
            | What::Ended { conn, .. }
            | What::Cut { conn, .. }
            | What::Closed { conn } => Some(*conn),
            What::Fired { conn, .. } => *conn,
            _ => None,
        }
    }
}

/// The points of a run at which resources are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// Before the subject started.
    Before,
    /// In steady state, before any fault.
    Steady,
    /// After the n-th recovery (from 1), caught up and idle.
    Recovered(u32),
    /// At no point in particular: every few seconds.
    Running,
    /// After everything was handled, before the stop.
    Drained,
    /// After the subject ended.
    After,
}

/// How the subject ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectEnd {
    /// It returned without an error.
    Clean,
    /// It gave up, with its reason.
    Failed(String),
    /// It panicked.
    Panicked(String),
    /// It was asked to stop, and ended by that signal or with the exit code that stands for it (143): in order, if it
    /// had closed its connections.
    Terminated(String),
    /// It did not end within the bound and was torn down.
    Overran,
}
