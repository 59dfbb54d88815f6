//! A slice of a history as a trace for people: one line an event, the evidence marked.
//!
//! Owns how an event is worded and which are left out. It judges nothing and prints nothing.

use gauntlet_amqp::Frame;
use gauntlet_faults::{Direction, End};

use crate::history::{Ending, Event, History, Moment, Owner, SubjectEnd, What};

/// The longest run of frames that is recognised at the other end, and folded.
const FOLD: usize = 16;

/// The events of `seqs`, marked with `*`, with `around` lines of context on either side of each;
/// what lies between is counted. With no evidence, all of it.
///
/// `>` goes to the broker, `<` to the subject; then comes which end's tap saw it (`both`: the same
/// frames at both ends and nothing between), the connection, and the frame.
pub fn render(history: &History, seqs: &[u64], around: usize) -> String {
    let events: Vec<&Event> = history.events().iter().filter(|e| is_told(&e.what)).collect();
    let lines = fold(&events);
    let cited: Vec<bool> = lines.iter().map(|l| l.seqs().any(|s| seqs.contains(&s))).collect();
    let mut shown = vec![seqs.is_empty(); lines.len()];
    for at in (0..lines.len()).filter(|i| cited[*i]) {
        let last = at.saturating_add(around).min(lines.len() - 1);
        shown[at.saturating_sub(around)..=last].fill(true);
    }
    let mut out = String::new();
    let mut left_out = 0;
    for (i, line) in lines.iter().enumerate() {
        if shown[i] {
            elide(&mut out, std::mem::take(&mut left_out));
            let mark = if cited[i] { '*' } else { ' ' };
            out.push_str(&format!("{mark}{}\n", line.text()));
        } else {
            left_out += line.seqs().count();
        }
    }
    elide(&mut out, left_out);
    for seq in seqs.iter().filter(|s| history.get(**s).is_none()) {
        out.push_str(&format!("* event {seq} is not in this history\n"));
    }
    out
}

fn elide(out: &mut String, left_out: usize) {
    match left_out {
        0 => {}
        1 => out.push_str("               ... 1 more event\n"),
        n => out.push_str(&format!("               ... {n} more events\n")),
    }
}

/// One event in words, without its time.
pub fn words(event: &Event) -> String {
    let (who, conn, text) = parts(&event.what);
    let conn = conn.map(|c| format!(" c{c}")).unwrap_or_default();
    format!("{who}{conn} {text}")
}

/// One line: an event, or a frame seen at one end (`event`) and then at the other (`again`).
struct Line<'a> {
    event: &'a Event,
    again: Option<&'a Event>,
}

impl Line<'_> {
    fn seqs(&self) -> impl Iterator<Item = u64> {
        std::iter::once(self.event.seq).chain(self.again.map(|e| e.seq))
    }

    fn text(&self) -> String {
        let (who, conn, text) = parts(&self.event.what);
        let who = if self.again.is_some() { format!("{} both", &who[..1]) } else { who };
        let conn = conn.map(|c| format!("c{c}")).unwrap_or_default();
        format!("{:>12.3}  {who:<10} {conn:<4} {text}", self.event.ms())
    }
}

/// A connection of the subject's only process, and the name of its virtual host, go without saying.
fn is_told(what: &What) -> bool {
    let usual =
        matches!(what, What::Peer { owner: Owner::Subject { copy: None | Some(1), .. }, .. });
    !usual && !matches!(what, What::VhostTold { .. })
}

/// Folds a run of frames at one end with the same run at the other, where nothing lies between.
fn fold<'a>(events: &[&'a Event]) -> Vec<Line<'a>> {
    let mut lines = Vec::with_capacity(events.len());
    let mut at = 0;
    while at < events.len() {
        let rest = &events[at..];
        let run =
            (1..=FOLD.min(rest.len() / 2)).find(|n| (0..*n).all(|i| same(rest[i], rest[n + i])));
        // Without a twin the event stands alone.
        for i in 0..run.unwrap_or(1) {
            lines.push(Line { event: rest[i], again: run.map(|n| rest[n + i]) });
        }
        at += run.map_or(1, |n| 2 * n);
    }
    lines
}

/// Whether `near` is a frame read at its source and `far` the same frame written at the other end.
fn same(near: &Event, far: &Event) -> bool {
    match (frame(near), frame(far)) {
        (Some((c1, e1, w1, f1)), Some((c2, e2, w2, f2))) => {
            (c1, w1, f1) == (c2, w2, f2) && e1 != e2 && e1 == w1.source()
        }
        _ => false,
    }
}

fn frame(event: &Event) -> Option<(u64, End, Direction, &Frame)> {
    match &event.what {
        What::Wire { conn, end, way, frame } => Some((*conn, *end, *way, frame)),
        _ => None,
    }
}

/// Who holds the socket at the other end.
fn peer(owner: &Owner) -> String {
    match owner {
        Owner::Subject { pid, copy: Some(copy) } => format!("from copy {copy}, process {pid}"),
        Owner::Subject { pid, copy: None } => format!("from process {pid}"),
        Owner::Other { pid, name } => {
            format!("from process {pid}, which is not the subject's: {name}")
        }
        Owner::Gone => "from a client that was gone at once".into(),
        Owner::Unknown => "from a process that cannot be told".into(),
    }
}

/// Who, on which connection, what.
fn parts(what: &What) -> (String, Option<u64>, String) {
    let (who, conn, text) = match what {
        What::Began { plan } => ("- run", None, format!("began, plan {plan}")),
        What::Phase { phase } => ("- run", None, format!("phase {phase}")),
        What::PhaseOverran { phase, missing } => {
            ("- run", None, format!("phase {phase} overran: {missing}"))
        }
        What::CutShort { why } => ("- run", None, format!("cut short: {why}")),
        What::End => ("- run", None, "end".into()),
        What::Published { id } => ("- publish", None, format!("m{id}")),
        What::Confirmed { id } => ("- publish", None, format!("m{id} confirmed")),
        What::PublishUnknown { id, why } => ("- publish", None, format!("m{id} unknown: {why}")),
        What::Remaining { id, queue, redelivered } => {
            let again = if *redelivered { ", redelivered" } else { "" };
            ("- broker", None, format!("m{id} is left in {queue}{again}"))
        }
        What::QueueCounted { queue, ready } => {
            ("- broker", None, format!("{ready} messages are left in {queue}"))
        }
        What::QueueAbsent { queue } => {
            ("- broker", None, format!("there is no queue {queue}, to which copies went"))
        }
        What::Wire { conn, end, way, frame } => {
            return (format!("{way} {}", tap(*end)), Some(*conn), frame.to_string());
        }
        What::Garbage { conn, end, way, bytes, why } => {
            let text = format!("{bytes} bytes that are not AMQP: {why}");
            return (format!("{way} {}", tap(*end)), Some(*conn), text);
        }
        What::VhostTold { vhost } => {
            ("- run", None, format!("the subject is told the virtual host {vhost}"))
        }
        What::Peer { conn, owner } => ("- link", Some(*conn), peer(owner)),
        What::Accepted { conn } => ("- link", Some(*conn), "accepted".into()),
        What::Dialed { conn } => ("- link", Some(*conn), "reached the broker".into()),
        What::DialFailed { conn, error } => {
            ("- link", Some(*conn), format!("did not reach the broker: {error}"))
        }
        What::Ended { conn, end, how } => {
            ("- link", Some(*conn), format!("the {} closed: {}", tap(*end), ending(how)))
        }
        What::Cut { conn, end, how } => {
            ("- link", Some(*conn), format!("closed towards the {}: {}", tap(*end), ending(how)))
        }
        What::Closed { conn } => ("- link", Some(*conn), "done with it".into()),
        What::Injected { step, fault } => {
            ("- fault", None, format!("step {} injected: {fault}", step + 1))
        }
        What::Fired { step, conn, note } => {
            ("- fault", *conn, format!("step {} fired: {note}", step + 1))
        }
        What::Lifted { step } => ("- fault", None, format!("step {} lifted", step + 1)),
        What::PathUsable { step } => {
            ("- fault", None, format!("the path is usable after step {}", step + 1))
        }
        What::StepMissed { step, missing } => {
            ("- fault", None, format!("step {} missed: {missing}", step + 1))
        }
        What::BrokerHolds { connections, channels, consumers, unacked, at } => {
            let unacked = unacked.map(|n| format!(", {n} unacked")).unwrap_or_default();
            let at = moment(*at);
            let text = format!(
                "holds {connections} connections, {channels} channels, {consumers} consumers{unacked} ({at})"
            );
            ("- broker", None, text)
        }
        What::SubjectStarted { name } => ("- subject", None, format!("{name} started")),
        What::HandlerStarted { id, redelivered } => {
            let again = if *redelivered { ", redelivered" } else { "" };
            ("- subject", None, format!("handler began m{id}{again}"))
        }
        What::HandlerEnded { id, ok } => (
            "- subject",
            None,
            format!("handler ended m{id}: {}", if *ok { "ok" } else { "failed" }),
        ),
        What::Effect { id } => ("- subject", None, format!("effect of m{id}")),
        What::Attempt { failures } => {
            ("- subject", None, format!("tries to connect, after {failures} failures"))
        }
        What::Said { text } => ("- subject", None, format!("says: {text}")),
        What::Starved { who, over, waited } => {
            let ms = |ns: &u64| *ns as f64 / 1e6;
            let (waited, over) = (ms(waited), ms(over));
            ("- run", None, format!("the {who} waited {waited:.0} of {over:.0} ms for a CPU"))
        }
        What::ProcessStarted { copy, pid } => {
            ("- subject", None, format!("copy {copy} started as process {pid}"))
        }
        What::ProcessEnded { copy, how, asked } => {
            let unasked = if *asked { "" } else { ", unasked" };
            ("- subject", None, format!("copy {copy} ended{unasked}: {how}"))
        }
        What::LeftBehind { processes } => {
            ("- subject", None, format!("left behind: {}", processes.join("; ")))
        }
        What::Flood { text } => ("- subject", None, format!("reports too much: {text}")),
        What::Nonsense { text } => ("- subject", None, format!("reports nonsense: {text}")),
        What::HealthTaken { copy, by } => {
            ("- subject", None, format!("the health port of copy {copy} is held by {by}"))
        }
        What::Health { copy, status, why } => {
            let answer = status.map_or_else(
                || why.clone().unwrap_or_else(|| "no answer".into()),
                |status| status.to_string(),
            );
            ("- health", None, format!("copy {copy}: {answer}"))
        }
        What::LogTail { lines } => {
            ("- subject", None, format!("its last lines: {}", lines.join(" | ")))
        }
        What::StopRequested => ("- run", None, "asks the subject to stop".into()),
        What::AbortRequested => ("- run", None, "asks the subject to stop at once".into()),
        What::SubjectEnded { how } => ("- subject", None, subject_end(how)),
        What::Sample { at, tasks, threads, fds, sockets, rss_kib, alone } => {
            let counts =
                [("tasks", tasks), ("threads", threads), ("fds", fds), ("sockets", sockets)];
            let counts = counts.iter().filter_map(|(name, n)| n.map(|n| format!("{n} {name}")));
            let rss = rss_kib.map(|n| format!("{n} KiB"));
            let shared = (!alone).then(|| "not alone".to_owned());
            let held: Vec<String> = counts.chain(rss).chain(shared).collect();
            ("- subject", None, format!("holds {} ({})", held.join(", "), moment(*at)))
        }
    };
    (who.to_owned(), conn, text)
}

fn tap(end: End) -> &'static str {
    match end {
        End::Client => "subject",
        End::Broker => "broker",
    }
}

fn ending(how: &Ending) -> &str {
    match how {
        Ending::Fin => "FIN",
        Ending::Rst => "RST",
        Ending::Error(why) => why,
    }
}

fn moment(at: Moment) -> String {
    match at {
        Moment::Before => "before".into(),
        Moment::Steady => "steady".into(),
        Moment::Recovered(n) => format!("recovery {n}"),
        Moment::Running => "running".into(),
        Moment::Drained => "drained".into(),
        Moment::After => "after".into(),
    }
}

fn subject_end(how: &SubjectEnd) -> String {
    match how {
        SubjectEnd::Clean => "ended".into(),
        SubjectEnd::Failed(why) => format!("gave up: {why}"),
        SubjectEnd::Terminated(how) => format!("ended as asked: {how}"),
        SubjectEnd::Panicked(why) => format!("panicked: {why}"),
        SubjectEnd::Overran => "did not end in time".into(),
    }
}

#[cfg(test)]
mod tests {
    use gauntlet_amqp::{Args, FrameName};

    use super::*;
    use crate::history::Phase;

    struct Made(Vec<Event>);

    impl Made {
        fn what(mut self, ms: u64, what: What) -> Made {
            self.0.push(Event { seq: self.0.len() as u64, ns: ms * 1_000_000, what });
            self
        }

        fn frame(self, ms: u64, end: End, way: Direction, name: &'static str) -> Made {
            let frame = Frame {
                channel: 1,
                name: FrameName::parse(name).expect("known"),
                size: 10,
                args: Args::None,
            };
            self.what(ms, What::Wire { conn: 1, end, way, frame })
        }

        fn render(self, seqs: &[u64], around: usize) -> String {
            render(&History::new(self.0), seqs, around)
        }
    }

    fn many(n: u32) -> Made {
        (0..n).fold(Made(Vec::new()), |made, id| made.what(id.into(), What::Published { id }))
    }

    #[test]
    fn a_frame_at_both_ends_is_one_line_and_a_lost_one_shows_where_it_was_seen() {
        let trace = Made(Vec::new())
            .what(0, What::Phase { phase: Phase::Faults })
            .what(1, What::Accepted { conn: 1 })
            .frame(2, End::Client, Direction::ToBroker, "channel.open")
            .frame(2, End::Broker, Direction::ToBroker, "channel.open")
            .frame(3, End::Broker, Direction::ToClient, "channel.open-ok")
            .what(12, What::Fired { step: 0, conn: Some(1), note: "rst".into() })
            .frame(13, End::Client, Direction::ToClient, "channel.open-ok")
            .what(1234, What::HandlerEnded { id: 7, ok: false })
            .render(&[5], 99);
        insta::assert_snapshot!(trace, @r"
                0.000  - run           phase faults
                1.000  - link     c1   accepted
                2.000  > both     c1   ch1 channel.open
                3.000  < broker   c1   ch1 channel.open-ok
        *      12.000  - fault    c1   step 1 fired: rst
               13.000  < subject  c1   ch1 channel.open-ok
             1234.000  - subject       handler ended m7: failed
        ");
    }

    #[test]
    fn a_run_of_frames_folds_with_the_same_run_at_the_other_end_only() {
        let run = |made: Made, end, names: [&'static str; 3]| {
            names.into_iter().fold(made, |m, name| m.frame(1, end, Direction::ToClient, name))
        };
        let names = ["basic.deliver", "header", "body"];
        let made = run(run(Made(Vec::new()), End::Broker, names), End::Client, names);
        let trace = made.render(&[4], 9);
        assert_eq!(trace.lines().count(), 3, "{trace}");
        assert!(
            trace.lines().nth(1).is_some_and(|l| l.starts_with('*') && l.contains("< both")),
            "{trace}"
        );
        let made = run(run(Made(Vec::new()), End::Client, names), End::Broker, names);
        assert_eq!(
            made.render(&[], 0).lines().count(),
            6,
            "nothing goes from the subject to the subject"
        );
    }

    #[test]
    fn what_is_left_out_is_counted_in_events() {
        let trace = many(300).render(&[40, 255], 1);
        insta::assert_snapshot!(trace, @r"
                       ... 39 more events
               39.000  - publish       m39
        *      40.000  - publish       m40
               41.000  - publish       m41
                       ... 212 more events
              254.000  - publish       m254
        *     255.000  - publish       m255
              256.000  - publish       m256
                       ... 43 more events
        ");
    }

    #[test]
    fn the_edges_of_the_history_bound_the_context() {
        assert_eq!(many(2).render(&[0], 1).lines().count(), 2);
        assert_eq!(many(3).render(&[0], 1).lines().last(), Some("               ... 1 more event"));
        assert_eq!(many(3).render(&[], 0).lines().count(), 3);
        assert!(many(1).render(&[9], 1).ends_with("* event 9 is not in this history\n"));
    }
}
