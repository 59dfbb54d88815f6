//! `gauntlet list`: the catalogues.

use gauntlet_harness::mutants::{INNOCENTS, MUTANTS};
use gauntlet_judge::broker_fault::{self, Needs};
use gauntlet_judge::checkers::CHECKERS;
use gauntlet_network::fault::CATALOGUE;
use gauntlet_scenarios::{SUITES, Suite};

use super::{Failure, say};
use crate::args::{List, Listed};

/// Prints a suite and its scenarios.
pub(super) fn suite(suite: &Suite) -> Result<(), Failure> {
    say(format!("suite {} - {}", suite.name, suite.about));
    for scenario in suite.scenarios().map_err(Failure::usage)? {
        say(format!("  {:<26} {}", scenario.name, scenario.title));
    }
    Ok(())
}

/// Prints what was asked for, or everything.
pub fn execute(list: &List) -> Result<u8, Failure> {
    let wanted = |what| list.what.is_none_or(|w| w == what);
    if wanted(Listed::Scenarios) {
        SUITES.iter().try_for_each(suite)?;
    }
    if wanted(Listed::Checkers) {
        say("checkers - each fails when");
        for checker in CHECKERS {
            say(format!("  {:<6} {:<22} {}", checker.id, checker.name, checker.fails_when));
        }
    }
    if wanted(Listed::Faults) {
        say("faults of the network");
        for fault in CATALOGUE {
            say(format!("  {:<22} {}", fault.name, fault.summary));
        }
    }
    if wanted(Listed::Toxics) {
        say("toxics of `gauntlet proxy`; those marked + are not Toxiproxy's");
        for toxic in gauntlet_network::toxiproxy::TOXICS {
            let mark = if toxic.is_toxiproxys() { ' ' } else { '+' };
            say(format!("{mark} {:<22} {}", toxic.name, toxic.summary));
        }
    }
    if wanted(Listed::Faults) {
        say("faults of the broker");
        for fault in broker_fault::CATALOGUE {
            let only = match fault.needs {
                Needs::Access => "",
                Needs::Control => " (a broker of our own)",
                Needs::Model => " (embedded only)",
            };
            say(format!("  {:<22} {}{only}", fault.name, fault.summary));
        }
    }
    if wanted(Listed::Mutants) {
        say("mutants - consumers broken on purpose");
        for mutant in MUTANTS {
            say(format!(
                "  {:<24} {} ({} by {})",
                mutant.name, mutant.habit, mutant.scenario, mutant.checker
            ));
        }
        say(
            "innocents - consumers that are odd and right; `--subject NAME` plays one, as it does mutants",
        );
        for innocent in INNOCENTS {
            say(format!("  {:<24} {}", innocent.name, innocent.habit));
        }
    }
    Ok(0)
}
