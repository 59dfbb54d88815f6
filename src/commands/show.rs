//! `gauntlet show`: one scenario, a suite or a checker in words.

use std::time::Duration;

use gauntlet_harness::run::upper_bound;
use gauntlet_harness::subject::Promises;
use gauntlet_judge::checkers::CHECKERS;
use gauntlet_judge::plan::Plan;
use gauntlet_judge::scenario::{Scenario, describe};
use gauntlet_network::Seed;

use super::{Failure, list, rounded, say};
use crate::args::Show;

/// Prints the story, the schedule and what is decided.
pub fn execute(show: &Show) -> Result<u8, Failure> {
    if let Some(suite) = gauntlet_scenarios::SUITES.iter().find(|s| s.name == show.scenario) {
        return list::suite(suite).map(|()| 0);
    }
    if let Some(checker) = CHECKERS.iter().find(|c| c.id.eq_ignore_ascii_case(&show.scenario)) {
        say(format!("{} {}: fails when {}", checker.id, checker.name, checker.fails_when));
        return Ok(0);
    }
    let s = gauntlet_scenarios::scenario(&show.scenario).map_err(Failure::usage)?;
    say(format!("{} - {}\n", s.name, s.title));
    for line in s.story.lines() {
        say(format!("  {line}"));
    }
    let rate = s.workload.rate.map_or("as fast as confirmed".into(), |r| format!("{r} a second"));
    let backlog = match s.workload.backlog {
        0 => String::new(),
        there => format!(", {there} of them before the subject starts"),
    };
    let told = &s.subject;
    say(format!(
        "\nworkload   {} messages of {} bytes{backlog}, {rate}",
        s.workload.messages, s.workload.body
    ));
    say(format!(
        "subject    {} workers, prefetch {}, heartbeat {} s, {} a message",
        told.workers,
        told.prefetch,
        told.heartbeat,
        humantime_of(told.handler_time)
    ));
    if let Some(slow) = &told.slow {
        say(format!("           message {} takes {}", slow.message, humantime_of(slow.time)));
    }
    for (i, step) in s.steps.iter().enumerate() {
        let head = if i == 0 { "schedule" } else { "" };
        say(format!("{head:<10} {}. {}", i + 1, describe(step)));
    }
    say(format!(
        "expect     recovered within {}, drained within {}, stopped within {}",
        humantime_of(s.expect.recovers_within),
        humantime_of(s.expect.drains_within),
        humantime_of(s.expect.stops_within)
    ));
    let usual = Promises::of_a_process();
    let longer = [
        ("recovered", "--recovers-within", usual.recovers_within, s.expect.recovers_within),
        ("stopped", "--stops-within", usual.stops_within, s.expect.stops_within),
    ];
    let longer: Vec<String> = longer
        .into_iter()
        .filter_map(|(what, flag, usual, bound)| {
            let usual = usual.filter(|usual| *usual > bound)?;
            Some(format!("{what} within {} ({flag})", humantime_of(usual)))
        })
        .collect();
    if !longer.is_empty() {
        say(format!("           of a command, unless it says otherwise: {}", longer.join(", ")));
    }
    say(format!(
        "at most    {} against a consumer in this process",
        rounded(longest(&s, &Promises::all(), None))
    ));
    say(format!(
        "           {} against a command, unless it says otherwise",
        rounded(longest(&s, &usual, Some("command")))
    ));
    for (i, id) in s.decides.iter().enumerate() {
        let head = if i == 0 { "decides" } else { "" };
        let checker = CHECKERS.iter().find(|c| c.id == id);
        let words =
            checker.map_or(String::new(), |c| format!("{}: fails when {}", c.name, c.fails_when));
        say(format!("{head:<10} {id:<4} {words}"));
    }
    say("           and every other checker whose invariant applies (gauntlet list checkers)");
    Ok(0)
}

/// No run of it takes longer.
fn longest(scenario: &Scenario, promises: &Promises, command: Option<&str>) -> Duration {
    let mut plan = Plan::resolve(scenario, Seed(0), "", promises, "");
    plan.command = command.map(str::to_owned);
    upper_bound(&plan)
}

fn humantime_of(duration: std::time::Duration) -> String {
    format!("{duration:?}")
}
