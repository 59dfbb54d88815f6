//! I14, herd: fails when many copies of a consumer that lost the broker at once come back as one wave, again and again.
//!
//! An attempt is a connection the link accepted. The first, at once, is everybody's, and is left out; after it
//! delays with jitter spread what fixed delays keep together. What shows a schedule is the silence between waves: of
//! the time in which `n` copies try `r` times each, the `r - 1` longest pauses take up a share of `(1 + ln n) / n` where
//! they try at random (exponential gaps), and all of it where they try as one. A machine that is busy widens the
//! waves; the pauses are longer than that.

use gauntlet_faults::Fault;

use super::turns::Timed;
use super::{Case, Checker, Decision};
use crate::history::What;
use crate::history::ledger::Mark;
use crate::promises::Jitter;

/// Attempts within so much of the loss are the first ones.
const AT_ONCE: u64 = 300_000_000;
/// Fewer copies make no herd.
const COPIES: usize = 4;

/// The entry in the catalogue.
pub const CHECKER: Checker = Checker {
    id: "I14",
    name: "herd",
    fails_when: "most copies of it come back at the same moments, again and again",
    decide,
};

fn decide(case: &Case<'_>) -> Decision {
    let copies = usize::from(case.plan.scenario.subject.copies);
    if copies < COPIES {
        return Decision::not_applicable(format!("{copies} copies of the subject are no herd"));
    }
    if case.plan.promises.backoff.as_ref().is_some_and(|b| b.jitter == Jitter::None) {
        return Decision::not_applicable("the subject promises delays without jitter");
    }
    let seen = |i: usize| {
        let step = case.plan.steps.get(i);
        step.is_some_and(|s| matches!(s.fault, Some(Fault::AcceptThenClose { .. })))
    };
    let outage = case.ledger.steps.iter().find(|(i, s)| seen(**i) && s.injected.is_some());
    let Some((_, step)) = outage else {
        return Decision::not_applicable("no outage in which attempts can be seen was planned");
    };
    let began = step.injected.map_or(0, |m| m.ns) + AT_ONCE;
    let stop = case.ledger.stop_requested.map_or(u64::MAX, |m| m.ns);
    let attempts: Vec<Mark> = case
        .history
        .events()
        .iter()
        .filter(|e| matches!(e.what, What::Accepted { .. }) && e.ns > began && e.ns < stop)
        .map(Mark::from)
        .collect();
    if attempts.len() < copies {
        return Decision::unknown(format!(
            "{} attempts of {copies} copies after the first ones are too few to tell",
            attempts.len()
        ));
    }
    let (waves, silent) = waves(&attempts, copies);
    // Four of five, rounded up.
    let most = (copies * 4).div_ceil(5);
    let full: Vec<&[Mark]> = waves.into_iter().filter(|wave| wave.len() >= most).collect();
    let chance = (1.0 + (copies as f64).ln()) / copies as f64;
    let percent = |share: f64| (share * 100.0).round();
    match &full[..] {
        // Half-way from chance to one wave.
        [first, second, ..] if silent > f64::midpoint(chance, 1.0) => {
            let words = format!(
                "{} times at least {most} of {copies} copies tried again together, first at {:.1} ms, and {} % of the time none did: delays without jitter",
                full.len(),
                first[0].ns as f64 / 1e6,
                percent(silent)
            );
            let seqs = first.iter().chain(second.iter()).map(|m| m.seq).take(12).collect();
            // A busy link accepts in waves what was spread out.
            let last = attempts.last().map_or(0, |m| m.ns);
            Timed::mostly(case, attempts[0].ns, last).decision(words, seqs)
        }
        _ if !case.history.complete() => {
            Decision::unknown("the history stops before the end of the run")
        }
        _ => Decision::pass(format!(
            "{} attempts of {copies} copies after the first ones, with pauses of {} % of the time; {} % are chance, and 100 % one wave",
            attempts.len(),
            percent(silent),
            percent(chance)
        )),
    }
}

/// The attempts, parted by the longest pauses between as many rounds as they are; and the share of the time that
/// those pauses take up.
fn waves(attempts: &[Mark], copies: usize) -> (Vec<&[Mark]>, f64) {
    let rounds = attempts.len().div_ceil(copies);
    let pause = |i: usize| attempts[i].ns - attempts[i - 1].ns;
    let mut parted: Vec<usize> = (1..attempts.len()).collect();
    parted.sort_by_key(|i| std::cmp::Reverse(pause(*i)));
    parted.truncate(rounds.saturating_sub(1));
    let silent: u64 = parted.iter().map(|i| pause(*i)).sum();
    parted.sort_unstable();
    let ends = parted.iter().copied().chain([attempts.len()]);
    let starts = std::iter::once(0).chain(parted.iter().copied());
    let waves = starts.zip(ends).map(|(from, to)| &attempts[from..to]).collect();
    let all = attempts.last().map_or(0, |last| last.ns - attempts[0].ns);
    (waves, silent as f64 / all.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::HistoryBuilder;
    use crate::verdict::Outcome::{self, Fail, NotApplicable, Pass, Unknown};

    /// Five copies lose the broker at 1 s; in each round they try again this far apart (ms).
    fn told(rounds: &[f64]) -> HistoryBuilder {
        let mut tale = HistoryBuilder::new();
        let text = "# A.\ntitle = \"t\"\ndecides = []\n[subject]\ncopies = 5\n[[step]]\nwhen = \"idle\"\nfault = { kind = \"accept_then_close\" }\n";
        tale.scenario = crate::scenario::parse("herd", text).expect("valid");
        tale.at(1000.0).what(What::Injected { step: 0, fault: "closed".into() });
        let mut conn = 0;
        let mut attempts = |tale: &mut HistoryBuilder, from: f64, apart: f64| {
            for n in 0..5 {
                conn += 1;
                tale.at(from + apart * f64::from(n)).what(What::Accepted { conn });
            }
        };
        // At once, all of them: nobody's fault.
        attempts(&mut tale, 1001.0, 1.0);
        for (round, apart) in rounds.iter().enumerate() {
            attempts(&mut tale, 2000.0 + 1000.0 * round as f64, *apart);
        }
        tale
    }

    #[track_caller]
    fn check(rounds: &[f64], outcome: Outcome) {
        told(rounds).expect(&CHECKER, outcome);
    }

    #[test]
    fn one_wave_is_chance_and_two_are_a_schedule() {
        check(&[1.0], Pass);
        check(&[1.0, 1.0], Fail);
        check(&[200.0, 200.0], Pass);
        // What came late to a wave, and one who missed it.
        check(&[1.0, 1.0, 100.0], Fail);
        check(&[200.0, 200.0, 1.0, 200.0], Pass);
        let decision = told(&[1.0, 1.0]).expect(&CHECKER, Fail);
        assert_eq!(decision.evidence.len(), 10, "both waves");
    }

    #[test]
    fn both_sides_of_the_silence_between_waves() {
        // Of five by chance 52 %, so 76 % are a schedule. From 2 s to 3 s and four gaps of the second wave, the
        // pause is 1 s less four gaps of the first.
        check(&[33.0, 33.0], Fail);
        check(&[36.0, 36.0], Pass);
    }

    #[test]
    fn not_at_stake_or_too_few() {
        check(&[], Unknown);
        let mut tale = told(&[1.0, 1.0]);
        tale.scenario.subject.copies = 3;
        tale.expect(&CHECKER, NotApplicable);
        let mut tale = told(&[1.0, 1.0]);
        tale.scenario.steps.clear();
        tale.expect(&CHECKER, NotApplicable);
    }
}
