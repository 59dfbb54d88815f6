//! I18, process leak: fails when threads, descriptors, tasks, sockets or memory grow with every recovery.
//!
//! A slope by least squares over the samples after recoveries, the first third left out as
//! warm-up. A slope that one sample alone makes decides nothing. What other work in the process
//! may have grown (threads, descriptors, memory) counts only where the subject was alone.

use super::turns::Timed;
use super::{Case, Checker, Decision};
use crate::history::{Moment, What};

/// The entry in the catalogue.
pub const CHECKER: Checker = Checker {
    id: "I18",
    name: "process leak",
    fails_when: "threads, descriptors, tasks, sockets or memory grow with every recovery",
    decide,
};

/// Fewer recoveries than these show no trend.
const RECOVERIES: usize = 5;
/// Fewer than these show none in memory.
const RECOVERIES_MEMORY: usize = 20;
/// Tasks, sockets, threads or descriptors that may be gained per recovery.
const EACH: f64 = 0.2;
/// KiB of resident memory that may be gained per recovery.
const EACH_KIB: f64 = 64.0;
/// KiB that an allocator keeps or gives back as it pleases: a connection's two buffers of 1 MiB come and go.
const IDLY_KIB: f64 = 2048.0;

/// One thing that can leak.
struct Kind {
    name: &'static str,
    limit: f64,
    /// Gained in all, so much is no leak.
    idly: f64,
    /// Whether other work in the process counts into it.
    shared: bool,
    samples: usize,
    read: fn(&What) -> Option<u64>,
}

const KINDS: &[Kind] = &[
    Kind { name: "tasks", limit: EACH, idly: 0.0, shared: false, samples: RECOVERIES, read: tasks },
    Kind {
        name: "sockets",
        limit: EACH,
        idly: 0.0,
        shared: false,
        samples: RECOVERIES,
        read: sockets,
    },
    Kind {
        name: "threads",
        limit: EACH,
        idly: 0.0,
        shared: true,
        samples: RECOVERIES,
        read: threads,
    },
    Kind { name: "fds", limit: EACH, idly: 0.0, shared: true, samples: RECOVERIES, read: fds },
    Kind {
        name: "KiB of memory",
        limit: EACH_KIB,
        idly: IDLY_KIB,
        shared: true,
        samples: RECOVERIES_MEMORY,
        read: rss,
    },
];

/// A sample after the n-th recovery.
struct Point<'a> {
    seq: u64,
    n: u32,
    alone: bool,
    what: &'a What,
}

enum Trend {
    Flat,
    Leaks(f64, f64, f64),
    Unsure(f64),
    NotJudged(&'static str),
}

fn decide(case: &Case<'_>) -> Decision {
    if let Some(fail) = after(case) {
        return fail;
    }
    let points = points(case);
    if points.len() < RECOVERIES {
        return Decision::not_applicable(format!(
            "what it holds was counted after {} recoveries, and fewer than {RECOVERIES} show no trend",
            points.len()
        ));
    }
    let (mut flat, mut left_out, mut unsure) = (Vec::new(), Vec::new(), None);
    for kind in KINDS {
        match trend(kind, &points) {
            Trend::Leaks(slope, first, last) => {
                let summary = format!(
                    "{:.1} {} gained per recovery ({first} to {last} over {} recoveries); {} allowed",
                    slope,
                    kind.name,
                    points.len(),
                    kind.limit
                );
                let warm = points.len() / 3;
                let step = (points.len() - warm).div_ceil(12);
                return Decision::fail(
                    summary,
                    points[warm..].iter().step_by(step).map(|p| p.seq).collect(),
                );
            }
            Trend::Flat => flat.push(kind.name),
            Trend::Unsure(slope) => {
                unsure = Some(format!(
                    "{} grew by {slope:.1} per recovery, but one sample alone makes it so",
                    kind.name
                ))
            }
            Trend::NotJudged(why) => left_out.push(format!("{} ({why})", kind.name)),
        }
    }
    let left_out = if left_out.is_empty() {
        String::new()
    } else {
        format!("; left out: {}", left_out.join(", "))
    };
    match unsure {
        _ if !case.history.complete() => {
            Decision::unknown("the history stops before the end of the run")
        }
        Some(why) => Decision::unknown(format!("{why}{left_out}")),
        None if flat.is_empty() => Decision::unknown(format!("nothing was counted{left_out}")),
        None if !sampled_after(case) => {
            Decision::unknown("nothing was counted after the subject ended")
        }
        None => Decision::pass(format!(
            "no growth over {} recoveries in {}{left_out}",
            points.len(),
            flat.join(", ")
        )),
    }
}

/// Processes, tasks or sockets that outlived the subject.
fn after(case: &Case<'_>) -> Option<Decision> {
    let left = case.history.events().iter().find_map(|e| match &e.what {
        What::LeftBehind { processes } => Some((e.seq, processes)),
        _ => None,
    });
    if let Some((seq, processes)) = left {
        let ended = case.ledger.subject_ended.map(|m| m.seq);
        let words =
            format!("{} processes outlived the subject: {}", processes.len(), processes.join("; "));
        return Some(Decision::fail(words, ended.into_iter().chain([seq]).collect()));
    }
    let sample = case.history.events().iter().rfind(|e| is_after(&e.what))?;
    let held = |read: fn(&What) -> Option<u64>| read(&sample.what).unwrap_or(0);
    let (tasks, sockets) = (held(tasks), held(sockets));
    let left = format!("{tasks} tasks and {sockets} sockets outlived the subject");
    let ended = case.ledger.subject_ended;
    let evidence = ended.map(|m| m.seq).into_iter().chain([sample.seq]).collect();
    let timed = Timed::mostly(case, ended.map_or(0, |m| m.ns), sample.ns);
    (tasks + sockets > 0).then(|| timed.decision(left, evidence))
}

fn sampled_after(case: &Case<'_>) -> bool {
    case.history
        .events()
        .iter()
        .any(|e| is_after(&e.what) && (tasks(&e.what).or(sockets(&e.what))).is_some())
}

fn is_after(what: &What) -> bool {
    matches!(what, What::Sample { at: Moment::After, .. })
}

/// The samples after recoveries, the last of each, in their order.
fn points<'a>(case: &Case<'a>) -> Vec<Point<'a>> {
    let mut points: Vec<Point<'_>> = Vec::new();
    for event in case.history.events() {
        if let What::Sample { at: Moment::Recovered(n), alone, .. } = event.what {
            points.retain(|p| p.n != n);
            points.push(Point { seq: event.seq, n, alone, what: &event.what });
        }
    }
    points.sort_by_key(|p| p.n);
    points
}

fn trend(kind: &Kind, points: &[Point<'_>]) -> Trend {
    if kind.shared && !points.iter().all(|p| p.alone) {
        return Trend::NotJudged("not alone in the process");
    }
    if points.len() < kind.samples {
        return Trend::NotJudged("too few recoveries");
    }
    let value = |p: &Point<'_>| Some((f64::from(p.n), (kind.read)(p.what)? as f64));
    let Some(all) = points.iter().map(value).collect::<Option<Vec<_>>>() else {
        return Trend::NotJudged("not counted");
    };
    let warm = &all[all.len() / 3..];
    let grown = slope(warm);
    let without = |i: usize| slope(&[&warm[..i], &warm[i + 1..]].concat());
    let in_all = grown * (warm[warm.len() - 1].0 - warm[0].0);
    if grown <= kind.limit || in_all <= kind.idly {
        Trend::Flat
    } else if (0..warm.len()).all(|i| without(i) > kind.limit) {
        Trend::Leaks(grown, warm[0].1, warm[warm.len() - 1].1)
    } else {
        Trend::Unsure(grown)
    }
}

/// Least squares; 0 where there is no spread.
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let spread: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    let joint: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    if spread > 0.0 { joint / spread } else { 0.0 }
}

fn tasks(what: &What) -> Option<u64> {
    if let What::Sample { tasks, .. } = what { tasks.map(u64::from) } else { None }
}

fn sockets(what: &What) -> Option<u64> {
    if let What::Sample { sockets, .. } = what { sockets.map(u64::from) } else { None }
}

fn threads(what: &What) -> Option<u64> {
    if let What::Sample { threads, .. } = what { threads.map(u64::from) } else { None }
}

fn fds(what: &What) -> Option<u64> {
    if let What::Sample { fds, .. } = what { fds.map(u64::from) } else { None }
}

fn rss(what: &What) -> Option<u64> {
    if let What::Sample { rss_kib, .. } = what { *rss_kib } else { None }
}

#[cfg(test)]
mod tests {
    use super::super::fired::aid::{cited, unfinished};
    use super::super::testing::HistoryBuilder;
    use super::*;
    use crate::verdict::Outcome::{Fail, NotApplicable, Pass, Unknown};

    #[derive(Clone, Copy)]
    struct Holds {
        tasks: u32,
        sockets: u32,
        threads: u32,
        fds: u32,
        rss: u64,
        alone: bool,
    }

    const STEADY: Holds =
        Holds { tasks: 5, sockets: 1, threads: 9, fds: 20, rss: 9000, alone: true };

    fn sample(at: Moment, h: Holds) -> What {
        let (tasks, sockets, threads, fds) =
            (Some(h.tasks), Some(h.sockets), Some(h.threads), Some(h.fds));
        What::Sample { at, tasks, threads, fds, sockets, rss_kib: Some(h.rss), alone: h.alone }
    }

    fn recoveries(n: u32, holds: impl Fn(u32) -> Holds) -> HistoryBuilder {
        let mut tale = HistoryBuilder::new();
        for i in 1..=n {
            tale.what(sample(Moment::Recovered(i), holds(i)));
        }
        tale.what(sample(Moment::After, Holds { tasks: 0, sockets: 0, ..STEADY }));
        tale
    }

    #[test]
    fn flat_passes_and_says_what_was_left_out() {
        let said = recoveries(5, |_| STEADY).expect(&CHECKER, Pass).summary;
        assert_eq!(
            said,
            "no growth over 5 recoveries in tasks, sockets, threads, fds; left out: KiB of memory (too few recoveries)"
        );
        let said =
            recoveries(20, |_| Holds { alone: false, ..STEADY }).expect(&CHECKER, Pass).summary;
        assert!(
            said.starts_with(
                "no growth over 20 recoveries in tasks, sockets; left out: threads (not alone"
            ),
            "{said}"
        );
    }

    #[test]
    fn growth_fails_with_the_samples() {
        let mut tale = recoveries(6, |i| Holds { tasks: 5 + i, ..STEADY });
        let decision = tale.expect(&CHECKER, Fail);
        assert_eq!(
            decision.summary,
            "1.0 tasks gained per recovery (8 to 11 over 6 recoveries); 0.2 allowed"
        );
        assert_eq!(decision.evidence, [2, 3, 4, 5]);
        assert!(cited(&mut tale, &decision)[0].ends_with("(recovery 3)"));
        recoveries(6, |i| Holds { sockets: i, ..STEADY }).expect(&CHECKER, Fail);
    }

    #[test]
    fn both_sides_of_the_bound() {
        recoveries(60, |i| Holds { tasks: i / 5, ..STEADY }).expect(&CHECKER, Pass);
        recoveries(60, |i| Holds { tasks: i / 4, ..STEADY }).expect(&CHECKER, Fail);
        let gains = |kib, i| Holds { rss: 9000 + u64::from(i) * kib, ..STEADY };
        recoveries(60, |i| gains(64, i)).expect(&CHECKER, Pass);
        recoveries(60, |i| gains(65, i)).expect(&CHECKER, Fail);
        // 13 of 20 are after the warm-up.
        recoveries(20, |i| gains(2048 / 13, i)).expect(&CHECKER, Pass);
        recoveries(20, |i| gains(2048 / 13 + 1, i)).expect(&CHECKER, Fail);
        recoveries(19, |i| gains(900, i)).expect(&CHECKER, Pass);
    }

    #[test]
    fn what_others_share_counts_only_alone() {
        for (alone, expect) in [(true, Fail), (false, Pass)] {
            recoveries(20, |i| Holds { fds: 20 + i, alone, ..STEADY }).expect(&CHECKER, expect);
            recoveries(20, |i| Holds { threads: 9 + i, alone, ..STEADY }).expect(&CHECKER, expect);
            recoveries(20, |i| Holds { rss: 9000 + 900 * u64::from(i), alone, ..STEADY })
                .expect(&CHECKER, expect);
        }
    }

    #[test]
    fn warming_up_is_no_leak_and_one_odd_sample_is_unknown() {
        recoveries(9, |i| Holds { tasks: 5 + i.min(4), ..STEADY }).expect(&CHECKER, Pass);
        recoveries(6, |i| Holds { tasks: 5 + u32::from(i == 6), ..STEADY })
            .expect(&CHECKER, Unknown);
    }

    #[test]
    fn what_outlives_the_subject_fails_even_without_recoveries() {
        for (tasks, sockets) in [(1, 0), (0, 1)] {
            let mut tale = HistoryBuilder::new();
            tale.what(sample(Moment::After, Holds { tasks, sockets, ..STEADY }));
            let decision = tale.expect(&CHECKER, Fail);
            assert_eq!(
                decision.summary,
                format!("{tasks} tasks and {sockets} sockets outlived the subject")
            );
            assert_eq!(decision.evidence, [0]);
        }
    }

    #[test]
    fn too_little_to_tell() {
        recoveries(4, |i| Holds { tasks: i, ..STEADY }).expect(&CHECKER, NotApplicable);
        let mut tale = HistoryBuilder::new();
        for i in 1..=5 {
            tale.what(sample(Moment::Recovered(i), STEADY));
        }
        tale.expect(&CHECKER, Unknown);
        assert_eq!(unfinished(&mut recoveries(9, |_| STEADY), &CHECKER).outcome, Unknown);
        assert_eq!(
            unfinished(&mut recoveries(9, |i| Holds { tasks: i, ..STEADY }), &CHECKER).outcome,
            Fail
        );
    }
}
