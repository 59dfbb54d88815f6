//! Histories for the checkers' tests, told in a few words: both sides of every bound through one `HistoryBuilder`.

use std::time::Duration;

use gauntlet_amqp::{Args, Frame, FrameName};
use gauntlet_faults::{Direction, End, Seed};

use super::{Case, Checker, Decision};
use crate::history::ledger::Ledger;
use crate::history::{Ending, Event, History, Phase, SubjectEnd, What};
use crate::plan::Plan;
use crate::promises::Promises;
use crate::scenario::{self, Scenario};
use crate::verdict::Outcome;

/// A history under construction: `at` sets the time, everything after happens 1 us apart.
pub struct HistoryBuilder {
    /// The scenario; change it freely before judging.
    pub scenario: Scenario,
    /// What the subject promises; change it freely before judging.
    pub promises: Promises,
    ns: u64,
    events: Vec<Event>,
}

impl HistoryBuilder {
    /// A tale of a scenario with no step.
    pub fn new() -> HistoryBuilder {
        let scenario = scenario::parse("tale", "# A tale.\ntitle = \"tale\"\ndecides = []\n");
        let scenario = scenario.expect("the smallest scenario is valid");
        HistoryBuilder { scenario, promises: Promises::all(), ns: 0, events: Vec::new() }
    }

    /// Sets the time, in milliseconds since the run began.
    pub fn at(&mut self, ms: f64) -> &mut HistoryBuilder {
        self.ns = Duration::from_secs_f64(ms / 1e3).as_nanos() as u64;
        self
    }

    /// Any event.
    pub fn what(&mut self, what: What) -> &mut HistoryBuilder {
        self.events.push(Event { seq: self.events.len() as u64, ns: self.ns, what });
        self.ns += 1000;
        self
    }

    /// A phase begins.
    pub fn phase(&mut self, phase: Phase) -> &mut HistoryBuilder {
        self.what(What::Phase { phase })
    }

    /// A frame at one tap only.
    pub fn frame(
        &mut self,
        conn: u64,
        end: End,
        way: Direction,
        channel: u16,
        name: &'static str,
        args: Args,
    ) -> &mut HistoryBuilder {
        let name = FrameName::parse(name).expect("a frame that exists");
        let frame = Frame { channel, name, size: 10, args };
        self.what(What::Wire { conn, end, way, frame })
    }

    /// A frame that passes from one end to the other.
    pub fn passes(
        &mut self,
        conn: u64,
        way: Direction,
        channel: u16,
        name: &'static str,
        args: Args,
    ) -> &mut HistoryBuilder {
        let (near, far) = match way {
            Direction::ToBroker => (End::Client, End::Broker),
            Direction::ToClient => (End::Broker, End::Client),
        };
        self.frame(conn, near, way, channel, name, args.clone())
            .frame(conn, far, way, channel, name, args)
    }

    /// A connection up to connection.open-ok, with this heartbeat (seconds).
    pub fn connect(&mut self, conn: u64, heartbeat: u16) -> &mut HistoryBuilder {
        let (channel_max, frame_max) = (2047, 131_072);
        self.what(What::Accepted { conn })
            .what(What::Dialed { conn })
            .passes(conn, Direction::ToBroker, 0, "protocol-header", Args::None)
            .passes(conn, Direction::ToClient, 0, "connection.start", Args::None)
            .passes(conn, Direction::ToBroker, 0, "connection.start-ok", Args::None)
            .passes(
                conn,
                Direction::ToClient,
                0,
                "connection.tune",
                Args::Tune { channel_max, frame_max, heartbeat: 60 },
            )
            .passes(
                conn,
                Direction::ToBroker,
                0,
                "connection.tune-ok",
                Args::TuneOk { channel_max, frame_max, heartbeat },
            )
            .passes(
                conn,
                Direction::ToBroker,
                0,
                "connection.open",
                Args::Open { vhost: "/".into() },
            )
            .passes(conn, Direction::ToClient, 0, "connection.open-ok", Args::None)
    }

    /// A channel with a prefetch and a consumer "c<channel>" with manual ack.
    pub fn consume(&mut self, conn: u64, channel: u16, prefetch: u16) -> &mut HistoryBuilder {
        let tag = format!("c{channel}");
        let ask = Args::Consume {
            queue: "work".into(),
            consumer_tag: tag.clone(),
            no_ack: false,
            exclusive: false,
        };
        self.passes(conn, Direction::ToBroker, channel, "channel.open", Args::None)
            .passes(conn, Direction::ToClient, channel, "channel.open-ok", Args::None)
            .passes(
                conn,
                Direction::ToBroker,
                channel,
                "basic.qos",
                Args::Qos { prefetch_count: prefetch, global: false },
            )
            .passes(conn, Direction::ToClient, channel, "basic.qos-ok", Args::None)
            .passes(conn, Direction::ToBroker, channel, "basic.consume", ask)
            .passes(
                conn,
                Direction::ToClient,
                channel,
                "basic.consume-ok",
                Args::ConsumeOk { consumer_tag: tag },
            )
    }

    /// A message published and confirmed.
    pub fn publish(&mut self, id: u32) -> &mut HistoryBuilder {
        self.what(What::Published { id }).what(What::Confirmed { id })
    }

    /// A delivery complete at one end only.
    pub fn deliver_at(
        &mut self,
        end: End,
        conn: u64,
        channel: u16,
        tag: u64,
        id: u32,
        redelivered: bool,
    ) -> &mut HistoryBuilder {
        let args = Args::Deliver {
            consumer_tag: format!("c{channel}"),
            delivery_tag: tag,
            redelivered,
            exchange: String::new(),
            routing_key: "work".into(),
        };
        let header = Args::Header {
            body_size: 10,
            message_id: Some(format!("m{id}")),
            delivery_mode: Some(2),
        };
        self.frame(conn, end, Direction::ToClient, channel, "basic.deliver", args)
            .frame(conn, end, Direction::ToClient, channel, "header", header)
            .frame(conn, end, Direction::ToClient, channel, "body", Args::None)
    }

    /// A delivery that arrives.
    pub fn deliver(&mut self, conn: u64, channel: u16, tag: u64, id: u32) -> &mut HistoryBuilder {
        self.deliver_at(End::Broker, conn, channel, tag, id, false).deliver_at(
            End::Client,
            conn,
            channel,
            tag,
            id,
            false,
        )
    }

    /// A redelivery that arrives.
    pub fn redeliver(&mut self, conn: u64, channel: u16, tag: u64, id: u32) -> &mut HistoryBuilder {
        self.deliver_at(End::Broker, conn, channel, tag, id, true).deliver_at(
            End::Client,
            conn,
            channel,
            tag,
            id,
            true,
        )
    }

    /// A handling with its effect, `ok` or not.
    pub fn handle(&mut self, id: u32, ok: bool) -> &mut HistoryBuilder {
        self.what(What::HandlerStarted { id, redelivered: false });
        if ok {
            self.what(What::Effect { id });
        }
        self.what(What::HandlerEnded { id, ok })
    }

    /// An ack that reaches the broker.
    pub fn ack(&mut self, conn: u64, channel: u16, tag: u64) -> &mut HistoryBuilder {
        let args = Args::Ack { delivery_tag: tag, multiple: false };
        self.passes(conn, Direction::ToBroker, channel, "basic.ack", args)
    }

    /// A reset towards both ends.
    pub fn rst(&mut self, conn: u64) -> &mut HistoryBuilder {
        self.what(What::Cut { conn, end: End::Client, how: Ending::Rst })
            .what(What::Cut { conn, end: End::Broker, how: Ending::Rst })
            .what(What::Closed { conn })
    }

    /// A message's whole happy path on (conn, channel): published, delivered as `tag`, handled, acked.
    pub fn served(&mut self, conn: u64, channel: u16, tag: u64, id: u32) -> &mut HistoryBuilder {
        self.publish(id).deliver(conn, channel, tag, id).handle(id, true).ack(conn, channel, tag)
    }

    /// An orderly close of a connection: every ack before it is proven received.
    pub fn close(&mut self, conn: u64) -> &mut HistoryBuilder {
        let args = Args::Close { code: 200, text: "bye".into(), class: 0, method: 0 };
        self.passes(conn, Direction::ToBroker, 0, "connection.close", args)
            .passes(conn, Direction::ToClient, 0, "connection.close-ok", Args::None)
            .what(What::Ended { conn, end: End::Client, how: Ending::Fin })
            .what(What::Closed { conn })
    }

    /// The subject is asked to stop and ends cleanly.
    pub fn stops(&mut self, conn: u64) -> &mut HistoryBuilder {
        self.what(What::StopRequested)
            .close(conn)
            .what(What::SubjectEnded { how: SubjectEnd::Clean })
    }

    /// The history is complete; with its plan.
    pub fn told(&mut self) -> (Plan, History) {
        if self.events.last().is_none_or(|e| e.what != What::End) {
            self.what(What::End);
        }
        let plan = Plan::resolve(&self.scenario, Seed(1), "tale", &self.promises, "none");
        (plan, History::new(self.events.clone()))
    }

    /// What the checker says of the history, complete.
    pub fn judge(&mut self, checker: &Checker) -> Decision {
        let (plan, history) = self.told();
        let ledger = Ledger::of(history.events());
        (checker.decide)(&Case { plan: &plan, history: &history, ledger: &ledger })
    }

    /// The one assertion of the checkers' tests.
    #[track_caller]
    pub fn expect(&mut self, checker: &Checker, outcome: Outcome) -> Decision {
        let decision = self.judge(checker);
        assert_eq!(decision.outcome, outcome, "{}: {}", checker.id, decision.summary);
        decision
    }
}
