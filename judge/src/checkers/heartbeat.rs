//! I15, heartbeat: fails when the subject is silent to the broker for longer than half the heartbeat and slack.
//!
//! Judges what the subject's own end saw of it, connection by connection, from connection.open-ok
//! to the connection's end. Where the link itself did not read, its tap was blind: Unknown.

use gauntlet_amqp::Args;
use gauntlet_faults::{Direction, End, Fault};

use super::turns::{Kept, Timed};
use super::{Case, Checker, Decision};
use crate::history::What;
use crate::history::ledger::{Connection, Mark};
use crate::scenario::SubjectFault;

/// The entry in the catalogue.
pub const CHECKER: Checker = Checker {
    id: "I15",
    name: "heartbeat",
    fails_when: "the subject is silent to the broker for longer than half the heartbeat and slack",
    decide,
};

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

/// What a busy machine and a timer of whole seconds may add to a bound made of heartbeats:
/// half a second, or a quarter of the heartbeat where that is more.
pub(super) fn slack(heartbeat: u16) -> u64 {
    (u64::from(heartbeat) * SECOND / 4).max(SECOND / 2)
}

/// The longest silence allowed, in nanoseconds.
fn allowed(heartbeat: u16) -> u64 {
    u64::from(heartbeat) * SECOND / 2 + slack(heartbeat)
}

/// A time in milliseconds, as summaries give it.
pub(super) fn ms(ns: u64) -> String {
    format!("{:.0} ms", ns as f64 / 1e6)
}

/// A time without a frame from the subject.
struct Silence {
    conn: u64,
    from: Mark,
    to: Mark,
    allowed: u64,
}

impl Silence {
    fn ns(&self) -> u64 {
        self.to.ns.saturating_sub(self.from.ns)
    }

    fn timed(&self, case: &Case<'_>) -> Timed {
        Timed::of(case, self.from.ns, self.to.ns, self.allowed)
    }

    /// Takes the place of one that is a smaller share of what is allowed.
    fn worse_than(self, other: &mut Option<Silence>) {
        let worse = other.as_ref().is_none_or(|o| {
            u128::from(self.ns()) * u128::from(o.allowed)
                > u128::from(o.ns()) * u128::from(self.allowed)
        });
        if worse {
            *other = Some(self);
        }
    }
}

fn decide(case: &Case<'_>) -> Decision {
    let told = case.plan.scenario.subject.heartbeat;
    if !case.plan.promises.heartbeats {
        return Decision::not_applicable(
            "the subject does not promise to keep to the heartbeat it is told",
        );
    }
    if told == 0 {
        return Decision::not_applicable("the scenario tells the subject to do without heartbeats");
    }
    let (mut worst, mut late): (Option<Silence>, Option<Silence>) = (None, None);
    let (mut watched, mut unsure) = (0, None);
    for (conn, connection) in &case.ledger.connections {
        if let Some(heartbeat) = connection.heartbeat.filter(|h| *h == 0 || *h > told) {
            return wrong(case, *conn, heartbeat, told);
        }
        let Some(opened) = connection.opened else { continue };
        let Some(heartbeat) = connection.heartbeat else {
            let why = format!("connection {conn} opened without a tune-ok that could be read");
            unsure = Some(Decision::unknown(why));
            continue;
        };
        let Some(end) = end(case, connection) else { continue };
        let allowed = allowed(heartbeat);
        watched += u32::from(end.ns.saturating_sub(opened.ns) > allowed);
        for silence in silences(*conn, connection, opened, end, allowed) {
            if frozen(case, &silence) {
                continue;
            }
            let timed = silence.timed(case);
            match timed.kept {
                Kept::InTime => silence.worse_than(&mut worst),
                _ if blind(case, &silence) => {
                    unsure = Some(Decision::unknown(format!(
                        "connection {conn}: the link did not read from the subject for {}",
                        ms(silence.ns())
                    )));
                }
                Kept::Late => silence.worse_than(&mut late),
                Kept::TooBusy => {
                    let words = format!("connection {conn} was silent for {}", ms(silence.ns()));
                    unsure = Some(timed.decision(words, Vec::new()));
                }
            }
        }
    }
    if let Some(late) = late {
        return fail(case, &late);
    }
    match (worst, unsure) {
        _ if !case.history.complete() => {
            Decision::unknown("the history stops before the end of the run")
        }
        (_, Some(unsure)) => unsure,
        (Some(w), _) if watched > 0 => Decision::pass(format!(
            "longest silence {} of {} allowed, on connection {}; {watched} connections were open long enough to tell",
            ms(w.ns()),
            ms(w.allowed),
            w.conn
        )),
        _ => Decision::not_applicable(format!(
            "no connection was open for longer than the {} of silence allowed",
            ms(allowed(told))
        )),
    }
}

/// When the connection was over as far as heartbeats go: closed by either side, or the subject gone.
fn end(case: &Case<'_>, connection: &Connection) -> Option<Mark> {
    let closing = connection.close.as_ref().map(|(_, _, _, at)| *at);
    let last = case.history.events().last().map(Mark::from);
    [connection.client_over, closing, case.ledger.subject_ended, last].into_iter().flatten().min()
}

fn silences(conn: u64, c: &Connection, opened: Mark, end: Mark, allowed: u64) -> Vec<Silence> {
    let spoke = c.spoke.iter().copied().filter(|m| *m > opened && *m < end);
    let marks: Vec<Mark> = std::iter::once(opened).chain(spoke).chain([end]).collect();
    let silence = |w: &[Mark]| Silence { conn, from: w[0], to: w[1], allowed };
    marks.windows(2).map(silence).collect()
}

/// Whether the subject was stopped in its tracks meanwhile: it cannot say anything then.
fn frozen(case: &Case<'_>, silence: &Silence) -> bool {
    case.ledger.steps.iter().any(|(i, step)| {
        let pause = case.plan.steps.get(*i).is_some_and(|s| s.subject == Some(SubjectFault::Pause));
        let since = step.fired.first().is_some_and(|m| *m < silence.to);
        pause && since && step.usable.first().is_none_or(|m| *m > silence.from)
    })
}

/// Whether a fault that keeps the link from reading what the subject writes was in force meanwhile.
fn blind(case: &Case<'_>, silence: &Silence) -> bool {
    case.ledger.steps.iter().any(|(i, step)| {
        let unread =
            case.plan.steps.get(*i).and_then(|s| s.fault.as_ref()).is_some_and(leaves_unread);
        let from = step.injected.or(step.fired.first().copied());
        let since = from.is_some_and(|m| m < silence.to);
        unread && since && step.lifted.is_none_or(|m| m > silence.from)
    })
}

fn leaves_unread(fault: &Fault) -> bool {
    match fault {
        Fault::Stall { way }
        | Fault::Blackhole { way, resume: true }
        | Fault::Bandwidth { way, .. }
        | Fault::Slice { way, .. } => *way != Some(Direction::ToClient),
        Fault::Hold { .. } => true,
        _ => false,
    }
}

fn wrong(case: &Case<'_>, conn: u64, heartbeat: u16, told: u16) -> Decision {
    let tuned = case.history.events().iter().filter(|e| {
        matches!(&e.what, What::Wire { conn: c, end: End::Client, way: Direction::ToBroker, frame }
            if *c == conn && matches!(frame.args, Args::TuneOk { .. }))
    });
    let agreed = if heartbeat == 0 {
        "no heartbeats".into()
    } else {
        format!("a heartbeat of {heartbeat} s")
    };
    Decision::fail(
        format!("connection {conn} settled on {agreed} though the subject was told {told} s"),
        tuned.map(|e| e.seq).collect(),
    )
}

fn fail(case: &Case<'_>, worst: &Silence) -> Decision {
    let during = |m: Option<Mark>| m.is_some_and(|m| m < worst.to);
    let handling = case.ledger.messages.values().flat_map(|m| &m.handlings);
    let busy = handling
        .into_iter()
        .any(|h| h.start <= worst.from && h.end.is_none_or(|(m, _)| m >= worst.to));
    let when = match (during(case.ledger.stop_requested), busy) {
        (true, _) => " while it was stopping",
        (_, true) => " while a handler ran",
        _ => "",
    };
    let summary = format!(
        "the subject was silent on connection {} for {}{when}; {} allowed (half the heartbeat, and slack)",
        worst.conn,
        ms(worst.ns()),
        ms(worst.allowed)
    );
    Decision::fail(summary, vec![worst.from.seq, worst.to.seq])
}

#[cfg(test)]
mod tests {
    use super::super::fired::aid::{cited, steps, unfinished};
    use super::super::testing::HistoryBuilder;
    use super::*;
    use crate::verdict::Outcome::{Fail, NotApplicable, Pass, Unknown};

    /// A heartbeat at each of these times, then a reset at the last.
    fn told(heartbeat: u16, beats: &[f64]) -> HistoryBuilder {
        let mut tale = HistoryBuilder::new();
        tale.scenario.subject.heartbeat = 2;
        tale.connect(1, heartbeat);
        for (i, at) in beats.iter().enumerate() {
            tale.at(*at);
            if i + 1 < beats.len() {
                tale.passes(1, Direction::ToBroker, 0, "heartbeat", Args::None);
            }
        }
        tale.rst(1);
        tale
    }

    #[test]
    fn both_sides_of_the_bound() {
        // H = 2 s: 1000 ms and 500 ms of slack.
        told(2, &[1000.0, 2499.0, 3000.0]).expect(&CHECKER, Pass);
        let mut tale = told(2, &[1000.0, 2502.0, 3000.0]);
        let decision = tale.expect(&CHECKER, Fail);
        assert_eq!(
            decision.summary,
            "the subject was silent on connection 1 for 1502 ms; 1500 ms allowed (half the heartbeat, and slack)"
        );
        assert_eq!(
            cited(&mut tale, &decision),
            ["> subject c1 ch0 heartbeat", "> subject c1 ch0 heartbeat"]
        );
    }

    #[test]
    fn the_first_and_the_last_silence_count() {
        told(2, &[1502.0, 2000.0]).expect(&CHECKER, Fail);
        let mut tale = told(2, &[1000.0, 2600.0]);
        let decision = tale.expect(&CHECKER, Fail);
        assert_eq!(cited(&mut tale, &decision)[1], "- link c1 closed towards the subject: RST");
    }

    #[test]
    fn the_slack_grows_with_the_heartbeat() {
        assert_eq!(
            [slack(1), slack(2), slack(3), slack(60)],
            [SECOND / 2, SECOND / 2, SECOND * 3 / 4, SECOND * 15]
        );
    }

    #[test]
    fn what_kept_it_from_speaking_is_said() {
        let mut tale = told(2, &[1000.0]);
        tale.at(10.0).what(What::HandlerStarted { id: 0, redelivered: false });
        tale.at(4000.0).connect(2, 2).at(9000.0).rst(2);
        assert!(tale.expect(&CHECKER, Fail).summary.contains("while a handler ran"));
        tale = told(2, &[1000.0]);
        tale.at(4000.0).connect(2, 2).what(What::StopRequested).at(9000.0).rst(2);
        assert!(tale.expect(&CHECKER, Fail).summary.contains("while it was stopping"));
    }

    #[test]
    fn heartbeats_off_or_slower_than_told_is_a_failure_that_cites_tune_ok() {
        for (settled, words) in [(0, "no heartbeats"), (60, "a heartbeat of 60 s")] {
            let mut tale = told(settled, &[10.0]);
            let decision = tale.expect(&CHECKER, Fail);
            assert_eq!(
                decision.summary,
                format!("connection 1 settled on {words} though the subject was told 2 s")
            );
            assert!(
                cited(&mut tale, &decision)[0].starts_with("> subject c1 ch0 connection.tune-ok")
            );
        }
        told(1, &[400.0, 900.0, 1500.0]).expect(&CHECKER, Pass);
    }

    #[test]
    fn nothing_at_stake() {
        told(2, &[1400.0]).expect(&CHECKER, NotApplicable);
        HistoryBuilder::new().expect(&CHECKER, NotApplicable);
        let mut tale = told(2, &[5000.0]);
        tale.promises.heartbeats = false;
        tale.expect(&CHECKER, NotApplicable);
        let mut tale = told(0, &[5000.0]);
        tale.scenario.subject.heartbeat = 0;
        tale.expect(&CHECKER, NotApplicable);
    }

    #[test]
    fn a_closed_or_ended_connection_owes_no_heartbeat() {
        let mut tale = told(2, &[1000.0, 1400.0, 1700.0]);
        tale.connect(2, 2).at(2000.0).close(2).at(90_000.0).phase(crate::history::Phase::Close);
        tale.expect(&CHECKER, Pass);
    }

    #[test]
    fn a_blind_tap_makes_it_unknown_only_while_it_was_blind_and_that_way() {
        for (fault, expect) in [
            ("{ kind = \"stall\" }", Unknown),
            ("{ kind = \"stall\", way = \"to_client\" }", Fail),
            ("{ kind = \"blackhole\", resume = true }", Unknown),
            ("{ kind = \"blackhole\", resume = false }", Fail),
        ] {
            let mut tale = told(2, &[1000.0]);
            steps(&mut tale, &format!("[[step]]\nwhen = \"idle\"\nfault = {fault}\n"));
            tale.connect(2, 2).at(2500.0).what(What::Injected { step: 0, fault: "it".into() });
            tale.at(9000.0).what(What::Lifted { step: 0 }).rst(2);
            tale.expect(&CHECKER, expect);
        }
        let mut tale = told(2, &[1000.0]);
        steps(&mut tale, "[[step]]\nwhen = \"idle\"\nfault = { kind = \"stall\" }\n");
        tale.what(What::Injected { step: 0, fault: "it".into() }).what(What::Lifted { step: 0 });
        tale.at(1100.0).connect(2, 2).at(5000.0).rst(2);
        tale.expect(&CHECKER, Fail);
    }

    #[test]
    fn a_history_cut_short_proves_silence_but_not_its_absence() {
        let mut tale = told(2, &[1000.0, 2000.0, 3000.0]);
        assert_eq!(unfinished(&mut tale, &CHECKER).outcome, Unknown);
        let mut tale = told(2, &[1000.0, 3000.0]);
        assert_eq!(unfinished(&mut tale, &CHECKER).outcome, Fail);
    }
}
