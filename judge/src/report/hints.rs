//! What a first run with one's own program stumbles over: seen on the wire, and said with what to change.

use std::collections::BTreeSet;

use gauntlet_amqp::Args;
use gauntlet_faults::{Direction, End};

use super::busy::busy;
use crate::history::{SubjectEnd, What};
use crate::outcome::{Played, RunOutcome, RunReport};
use crate::scenario::Ends;
use crate::verdict::{Outcome, Verdict};

/// connection.close codes by which a login or a virtual host is refused.
const LOGIN: [u16; 2] = [403, 530];
/// queue.declare, as connection.close and channel.close name what they refuse.
const DECLARE: (u16, u16) = (50, 10);

/// What would help, once each and with the number of scenarios it was seen in, the most frequent first. Nothing about
/// scenarios that passed, or whose point is that the subject is refused.
pub fn hints<'a>(reports: impl IntoIterator<Item = &'a RunReport>) -> Vec<String> {
    let mut all: Vec<(String, usize)> = Vec::new();
    let reports: Vec<&RunReport> = reports.into_iter().collect();
    for report in &reports {
        let RunOutcome::Judged(played) = &report.outcome else { continue };
        for hint in of(played) {
            match all.iter_mut().find(|(known, _)| *known == hint) {
                Some((_, times)) => *times += 1,
                None => all.push((hint, 1)),
            }
        }
    }
    all.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    let counted = |(hint, times)| match times {
        1 => hint,
        times => format!("{hint} (seen in {times} scenarios)"),
    };
    busy(&reports).into_iter().chain(all.into_iter().map(counted)).collect()
}

fn of(played: &Played) -> Vec<String> {
    let Played { plan, history, judgement } = played;
    if judgement.verdict == Verdict::Pass || plan.scenario.expect.outcome == Ends::Refused {
        return Vec::new();
    }
    let Some(command) = &plan.command else { return Vec::new() };
    let mut seen = Seen::default();
    history.of_subject().events().iter().for_each(|event| seen.note(&event.what));
    let failed = |id: &str, outcome: Outcome| {
        judgement.findings.iter().find(|f| f.checker == id && f.outcome == outcome)
    };
    let fails = |id: &str| failed(id, Outcome::Fail).is_some();
    let mut hints: Vec<String> = Vec::new();
    match (seen.connected, &seen.died) {
        _ if seen.unstarted => hints.push(
            "the command cannot be executed: a script needs a first line (#!) with an interpreter that is there, and the right to execute it (chmod +x); or name the interpreter: -- python3 worker.py".into(),
        ),
        (false, Some(how)) => hints.push(format!(
            "it ended before it connected ({how}): its last words say why. Its broker is what AMQP_URL names"
        )),
        (false, None) => hints.push(
            "nothing ever connected: the program is to take its broker from AMQP_URL (or RABBITMQ_URL), and is given no other".into(),
        ),
        (true, _) if seen.opened && !seen.asked && seen.declared.is_none() => hints.push(
            "it connected, and never asked for messages: no basic.consume was seen".into(),
        ),
        _ => {}
    }
    if !seen.consumed.is_empty() && !seen.consumed.contains(&plan.queue) {
        let other: Vec<&str> = seen.consumed.iter().map(String::as_str).collect();
        hints.push(format!(
            "it consumes the queue `{}`, and the messages are in `{}`: GAUNTLET_QUEUE says which",
            other.join("`, `"),
            plan.queue
        ));
    }
    if let Some(text) = seen.refused.as_ref().filter(|_| !seen.opened) {
        hints.push(format!(
            "the broker refuses its login ({text}): user, password and virtual host are in AMQP_URL too"
        ));
    }
    if let Some(text) = &seen.declared {
        hints.push(format!(
            "it declares a queue that is there, with other arguments ({text}): declare it passively, or not at all"
        ));
    }
    let told = plan.scenario.subject.prefetch;
    if let Some(own) = seen.prefetch.filter(|own| fails("I8") && *own != told) {
        hints.push(format!(
            "it asks for a prefetch of {own}, and was told another by GAUNTLET_PREFETCH; if it is to choose its own, do not promise to keep to it (`--prefetch`)"
        ));
    }
    if fails("I5") && seen.no_ack {
        hints.push(
            "it consumes with no_ack (auto_ack): turn that off and ack when the work is done, or promise no more: --at-most-once".into(),
        );
    } else if fails("I5") && plan.promises.reports_when_seen {
        hints.push(
            "a report counts when it is read: print `handled ID` before the ack, and flush it"
                .into(),
        );
    }
    if seen.left_behind && seen.died.is_some() {
        hints.push("it ended, and what it had started went on: run it in the foreground".into());
    }
    let shell = command.split_whitespace().next().and_then(|word| word.rsplit('/').next());
    if seen.terminated && shell.is_some_and(|name| ["sh", "bash", "dash", "zsh"].contains(&name)) {
        hints.push(
            "SIGTERM goes to the shell, and ends it alone: have it `exec` the program".into(),
        );
    }
    hints.extend(failed("reports", Outcome::Unknown).map(|finding| finding.summary.clone()));
    hints
}

/// What the wire shows of how the subject is set up.
#[derive(Default)]
struct Seen {
    connected: bool,
    opened: bool,
    asked: bool,
    no_ack: bool,
    /// How the first process that ended unasked did.
    died: Option<String>,
    /// A process was ended by SIGTERM.
    terminated: bool,
    left_behind: bool,
    started: bool,
    /// It ended, and no process of it had ever started.
    unstarted: bool,
    consumed: BTreeSet<String>,
    /// What the broker said to its declaring a queue.
    declared: Option<String>,
    /// What the broker said when it refused its login.
    refused: Option<String>,
    prefetch: Option<u16>,
}

impl Seen {
    fn note(&mut self, what: &What) {
        match what {
            What::Accepted { .. } => self.connected = true,
            What::LeftBehind { .. } => self.left_behind = true,
            What::ProcessStarted { .. } => self.started = true,
            What::SubjectEnded { how: SubjectEnd::Failed(_) } => self.unstarted = !self.started,
            What::ProcessEnded { how, asked, .. } => {
                self.terminated |= how.starts_with("killed by signal 15");
                if !asked {
                    self.died.get_or_insert_with(|| how.clone());
                }
            }
            _ => {}
        }
        let What::Wire { end: End::Client, way, frame, .. } = what else { return };
        match (way, &frame.args) {
            (Direction::ToClient, _) if &*frame.name == "connection.open-ok" => self.opened = true,
            (Direction::ToBroker, Args::Consume { queue, .. } | Args::Get { queue, .. }) => {
                self.asked = true;
                self.no_ack |= matches!(frame.args, Args::Consume { no_ack: true, .. });
                // An empty name is the queue declared last on the channel.
                if !queue.is_empty() {
                    self.consumed.insert(queue.clone());
                }
            }
            (Direction::ToBroker, Args::Qos { prefetch_count, .. }) => {
                self.prefetch = Some(*prefetch_count)
            }
            (Direction::ToClient, Args::Close { code, text, .. })
                if LOGIN.contains(code) && &*frame.name == "connection.close" =>
            {
                self.refused.get_or_insert_with(|| text.clone());
            }
            (Direction::ToClient, Args::Close { code: 406, text, class, method })
                if (*class, *method) == DECLARE =>
            {
                // The rest says where, and what it is instead.
                let what = text.split(" in vhost ").next().unwrap_or(text);
                self.declared.get_or_insert_with(|| what.to_owned());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::HistoryBuilder;
    use crate::judgement::judge;
    use crate::promises::Promises;

    /// What is said of a command whose run was this.
    fn said(tale: &mut HistoryBuilder) -> Vec<String> {
        tale.promises = Promises { prefetch: true, ..Promises::of_a_process() };
        let (plan, history) = tale.told();
        let plan = crate::plan::Plan { command: Some("worker".into()), ..plan };
        let judgement = judge(&plan, &history);
        of(&Played { plan, history, judgement })
    }

    #[track_caller]
    fn only(tale: &mut HistoryBuilder, words: &str) {
        let said = said(tale);
        assert!(matches!(&*said, [hint] if hint.contains(words)), "{said:?}");
    }

    fn consumes(queue: &str) -> Args {
        let (queue, consumer_tag) = (queue.to_owned(), "c".to_owned());
        Args::Consume { queue, consumer_tag, no_ack: false, exclusive: false }
    }

    #[test]
    fn how_far_a_subject_came_that_did_not_work() {
        only(&mut HistoryBuilder::new(), "nothing ever connected");
        only(HistoryBuilder::new().publish(0).connect(1, 10), "no basic.consume was seen");
        let mut tale = HistoryBuilder::new();
        tale.publish(0).connect(1, 10);
        tale.passes(1, Direction::ToBroker, 1, "basic.consume", consumes("orders"));
        only(&mut tale, "it consumes the queue `orders`, and the messages are in `work`");
        let mut tale = HistoryBuilder::new();
        tale.publish(0).connect(1, 10).passes(
            1,
            Direction::ToBroker,
            1,
            "basic.consume",
            consumes(""),
        );
        assert_eq!(said(&mut tale), [""; 0]);
    }

    #[test]
    fn a_command_that_cannot_be_executed() {
        let how = SubjectEnd::Failed("it cannot be executed: Exec format error".into());
        only(HistoryBuilder::new().what(What::SubjectEnded { how }), "(chmod +x)");
    }

    #[test]
    fn a_login_that_is_refused() {
        let mut tale = HistoryBuilder::new();
        let text = "ACCESS_REFUSED - Login was refused";
        let refused = Args::Close { code: 403, text: text.into(), class: 0, method: 0 };
        tale.publish(0).what(What::Accepted { conn: 1 });
        tale.passes(1, Direction::ToClient, 0, "connection.close", refused);
        only(&mut tale, &format!("the broker refuses its login ({text})"));
    }

    #[test]
    fn a_declare_refused_for_its_arguments() {
        let mut tale = HistoryBuilder::new();
        let text =
            "PRECONDITION_FAILED - inequivalent arg 'x-dead-letter-exchange' for queue 'work'";
        let said = format!("{text} in vhost 'gauntlet-0': received none but current is the value");
        let refused = Args::Close { code: 406, text: said, class: 50, method: 10 };
        tale.publish(0).connect(1, 10).consume(1, 1, 8);
        tale.passes(1, Direction::ToClient, 2, "channel.close", refused);
        only(&mut tale, &format!("({text})"));
        let mut tale = HistoryBuilder::new();
        let refused = Args::Close { code: 406, text: text.into(), class: 50, method: 10 };
        tale.publish(0).connect(1, 10).passes(1, Direction::ToClient, 1, "channel.close", refused);
        only(&mut tale, text);
    }

    #[test]
    fn a_prefetch_of_its_own_and_reports_that_come_late() {
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10).consume(1, 1, 100).served(1, 1, 1, 0);
        only(&mut tale, "a prefetch of 100");
        let mut tale = HistoryBuilder::new();
        tale.what(What::ProcessStarted { copy: 1, pid: 7 }).connect(1, 10).consume(1, 1, 8);
        tale.publish(0).deliver(1, 1, 1, 0).ack(1, 1, 1).handle(0, true);
        only(&mut tale, "print `handled ID` before the ack, and flush it");
    }

    #[test]
    fn how_it_ended_and_what_it_left() {
        let ended = |asked, how: &str| What::ProcessEnded { copy: 1, how: how.into(), asked };
        only(
            HistoryBuilder::new().what(ended(false, "exit code 1")),
            "it ended before it connected (exit code 1)",
        );
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10).consume(1, 1, 8).served(1, 1, 1, 0).what(ended(false, "exit code 0"));
        only(
            tale.what(What::LeftBehind { processes: vec!["7".into()] }),
            "run it in the foreground",
        );
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10).consume(1, 1, 8).served(1, 1, 1, 0);
        tale.what(ended(true, "killed by signal 15 (SIGTERM)"));
        assert_eq!(said(&mut tale), [""; 0]);
        tale.promises = Promises::of_a_process();
        let (plan, history) = tale.told();
        let plan = crate::plan::Plan { command: Some("/bin/sh -c worker".into()), ..plan };
        let judgement = judge(&plan, &history);
        let hints = of(&Played { plan, history, judgement });
        assert!(
            matches!(&*hints, [hint] if hint.contains("have it `exec` the program")),
            "{hints:?}"
        );
    }

    #[test]
    fn acks_that_are_not_asked_for() {
        let mut tale = HistoryBuilder::new();
        let (queue, consumer_tag) = ("work".to_owned(), "c".to_owned());
        let consume = Args::Consume { queue, consumer_tag, no_ack: true, exclusive: false };
        tale.publish(0).connect(1, 10).passes(
            1,
            Direction::ToBroker,
            1,
            "channel.open",
            Args::None,
        );
        tale.passes(1, Direction::ToClient, 1, "channel.open-ok", Args::None);
        tale.passes(1, Direction::ToBroker, 1, "basic.consume", consume);
        let ok = Args::ConsumeOk { consumer_tag: "c".into() };
        tale.passes(1, Direction::ToClient, 1, "basic.consume-ok", ok).deliver(1, 1, 1, 0);
        only(&mut tale, "--at-most-once");
    }

    #[test]
    fn nothing_of_what_passed_and_each_hint_once() {
        let mut tale = HistoryBuilder::new();
        tale.what(What::ProcessStarted { copy: 1, pid: 7 }).connect(1, 10).consume(1, 1, 8);
        tale.served(1, 1, 1, 0).stops(1);
        tale.promises = Promises::of_a_process();
        let (plan, history) = tale.told();
        let mut judgement = judge(&plan, &history);
        judgement.verdict = Verdict::Pass;
        assert_eq!(of(&Played { plan, history, judgement }), [""; 0]);
        let (plan, history) = HistoryBuilder::new().told();
        let plan = crate::plan::Plan { command: Some("worker".into()), ..plan };
        let judgement = judge(&plan, &history);
        let played = Played { plan, history, judgement };
        let report = RunReport {
            scenario: "tale".into(),
            title: String::new(),
            subject: "worker".into(),
            dir: None,
            took: std::time::Duration::ZERO,
            outcome: RunOutcome::Judged(Box::new(played)),
        };
        let hints = hints([&report, &report, &report]);
        assert!(matches!(&*hints, [hint] if hint.ends_with("(seen in 3 scenarios)")), "{hints:?}");
    }
}
