//! I14, herd: fails when many copies of a consumer that lost the broker at once come back as one wave, again.
//!
//! An attempt is a connection the link accepted. The first, at once, is everybody's, and is left out; after it
//! delays with jitter spread what fixed delays keep together. One wave may be chance; two that hold most attempts are a
//! schedule.

use gauntlet_network::Fault;

use super::{Case, Checker, Decision};
use crate::history::What;
use crate::history::ledger::Mark;
use crate::subject::Jitter;

/// Attempts within so much of the loss are the first ones.
const AT_ONCE: u64 = 300_000_000;
/// A wave breaks within this.
const WAVE: u64 = 100_000_000;
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
        return Decision::not_at_stake(format!("{copies} copies of the subject are no herd"));
    }
    if case.plan.promises.backoff.as_ref().is_some_and(|b| b.jitter == Jitter::None) {
        return Decision::not_at_stake("the subject promises delays without jitter");
    }
    let seen = |i: usize| {
        let step = case.plan.steps.get(i);
        step.is_some_and(|s| matches!(s.fault, Some(Fault::AcceptThenClose { .. })))
    };
    let outage = case.ledger.steps.iter().find(|(i, s)| seen(**i) && s.injected.is_some());
    let Some((_, step)) = outage else {
        return Decision::not_at_stake("no outage in which attempts can be seen was planned");
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
    // Four of five, rounded up.
    let most = (copies * 4).div_ceil(5);
    let waves = waves(&attempts, most);
    let together: usize = waves.iter().map(|wave| wave.len()).sum();
    // What a busy machine wakes at once is a wave too, now and then; a schedule makes waves of most attempts.
    let schedule = together * 3 >= attempts.len() * 2;
    match &waves[..] {
        [first, second, ..] if schedule => Decision::fail(
            format!(
                "{} times at least {most} of {copies} copies tried again within {} ms of each other, first at {:.1} ms: delays without jitter",
                waves.len(),
                WAVE / 1_000_000,
                first[0].ns as f64 / 1e6
            ),
            first.iter().chain(second.iter()).map(|m| m.seq).take(12).collect(),
        ),
        _ if !case.history.complete() => {
            Decision::unknown("the history stops before the end of the run")
        }
        waves => Decision::pass(format!(
            "{} attempts of {copies} copies after the first ones, {} of {most} or more within {} ms",
            attempts.len(),
            match waves.len() {
                0 => "never".to_owned(),
                1 => "once".to_owned(),
                n => format!("{n} times"),
            },
            WAVE / 1_000_000
        )),
    }
}

/// Disjoint runs of at least `most` attempts within a wave's time.
fn waves(attempts: &[Mark], most: usize) -> Vec<&[Mark]> {
    let (mut waves, mut from) = (Vec::new(), 0);
    while from < attempts.len() {
        let limit = attempts[from].ns + WAVE;
        let to = attempts.partition_point(|m| m.ns <= limit);
        if to - from >= most {
            waves.push(&attempts[from..to]);
            from = to;
        } else {
            from += 1;
        }
    }
    waves
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::Tale;
    use crate::verdict::Outcome::{self, Fail, NotAtStake, Pass, Unknown};

    /// Five copies lose the broker at 1 s; in each round they try again this far apart (ms).
    fn told(rounds: &[f64]) -> Tale {
        let mut tale = Tale::new();
        let text = "# A.\ntitle = \"t\"\ndecides = []\n[subject]\ncopies = 5\n[[step]]\nwhen = \"idle\"\nfault = { kind = \"accept_then_close\" }\n";
        tale.scenario = crate::scenario::parse("herd", text).expect("valid");
        tale.at(1000.0).what(What::Injected { step: 0, fault: "closed".into() });
        let mut conn = 0;
        let mut attempts = |tale: &mut Tale, from: f64, apart: f64| {
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
        check(&[1.0, 200.0], Pass);
        check(&[1.0, 1.0], Fail);
        check(&[200.0, 200.0], Pass);
        // Two thirds of the attempts, and less.
        check(&[1.0, 1.0, 200.0], Fail);
        check(&[1.0, 1.0, 200.0, 200.0], Pass);
        let decision = told(&[1.0, 1.0]).expect(&CHECKER, Fail);
        assert_eq!(decision.evidence.len(), 10, "both waves");
    }

    #[test]
    fn both_sides_of_a_waves_width() {
        // Four of five make a wave: three gaps.
        check(&[33.0, 33.0], Fail);
        check(&[34.0, 34.0], Pass);
    }

    #[test]
    fn not_at_stake_or_too_few() {
        check(&[], Unknown);
        let mut tale = told(&[1.0, 1.0]);
        tale.scenario.subject.copies = 3;
        tale.expect(&CHECKER, NotAtStake);
        let mut tale = told(&[1.0, 1.0]);
        tale.scenario.steps.clear();
        tale.expect(&CHECKER, NotAtStake);
    }
}
