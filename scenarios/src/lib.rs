//! Gauntlet's scenario suites: one TOML file per scenario, and the table that lists them.
//!
//! The files are compiled in, so that the binary needs nothing beside it. A scenario's failure story
//! is the comment on top of its file.

use gauntlet_judge::scenario::{Scenario, ScenarioError, nearest, parse};

/// A suite: a name, and its scenarios in the order they are reported.
pub struct Suite {
    /// Its name.
    pub name: &'static str,
    /// One line.
    pub about: &'static str,
    files: &'static [(&'static str, &'static str)],
}

macro_rules! files {
    ($suite:literal: $($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../", $suite, "/", $name, ".toml")))),+]
    };
}

/// Calls a macro with the scenarios of the suite `core`: after what else it is to be given, an identifier and the name of
/// each. (`gauntlet::suite!` makes tests of them.)
#[macro_export]
macro_rules! core_scenarios {
    ([$($callback:tt)+] [$($given:tt)*]) => {
        $($callback)+! { [$($given)*]
            steady "steady"
            rst_idle "rst-idle"
            rst_load "rst-load"
            cut_deliver_ack "cut-deliver-ack"
            ack_then_rst "ack-then-rst"
            held_work "held-work"
            cut_frame_header "cut-frame-header"
            latency "latency"
            bandwidth "bandwidth"
            blackhole "blackhole"
            blackhole_to_client "blackhole-to-client"
            forgotten_flow "forgotten-flow"
            refuse "refuse"
            accept_then_close "accept-then-close"
            silent_start "silent-start"
            five_rsts "five-rsts"
            broker_restart "broker-restart"
            broker_closes_connections "broker-closes-connections"
            queue_redeclared "queue-redeclared"
            wrong_password "wrong-password"
            wrong_vhost "wrong-vhost"
            stop_in_flight "stop-in-flight"
            stop_disconnected "stop-disconnected"
            second_stop "second-stop"
            leaks "leaks"
            slow_handler "slow-handler"
        }
    };
}

macro_rules! core_files {
    ([] $($test:ident $name:literal)+) => { files!["core": $($name),+] };
}

/// All suites.
pub const SUITES: &[Suite] = &[CORE, BROKER, PROCESS, HAZARDS];

/// What a command meets beside the core suite.
const PROCESS: Suite = Suite {
    name: "process",
    about: "what happens to processes: killed, frozen, replaced, one of many; their signals and their health",
    files: files!["process":
        "kill-before-ack",
        "kill-under-load",
        "pause",
        "stop-in-blackhole",
        "rolling",
        "canary",
        "herd",
        "health-outage",
        "slow-work",
        "second-term",
    ],
};

/// Known hazards.
const HAZARDS: Suite = Suite {
    name: "hazards",
    about: "known hazards, shown: they pass when they show, and say what to do",
    files: files!["hazards":
        "auto-ack",
        "delivery-limit",
    ],
};

const CORE: Suite = Suite {
    name: "core",
    about: "what every consumer meets sooner or later",
    files: core_scenarios!([core_files] []),
};

const BROKER: Suite = Suite {
    name: "broker",
    about: "what a broker does to its consumers, at exact points of the protocol",
    files: files!["broker":
        "killed-after-ack",
        "restart-at-deliver",
        "memory-alarm",
        "consumer-timeout",
        "consume-unanswered",
        "handshake-silence",
        "cancelled",
        "queue-away",
    ],
};

/// A name that is neither a suite nor a scenario.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// No such suite or scenario.
    #[error("no suite or scenario is named `{name}`{hint}; `gauntlet list` shows them all")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The nearest name.
        hint: String,
    },
    /// A compiled-in file is not valid: a defect of Gauntlet.
    #[error(transparent)]
    Invalid(#[from] ScenarioError),
}

impl Suite {
    /// The names of its scenarios.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.files.iter().map(|(name, _)| *name)
    }

    /// Its scenarios, parsed.
    pub fn scenarios(&self) -> Result<Vec<Scenario>, ScenarioError> {
        self.files.iter().map(|(name, text)| parse(name, text)).collect()
    }
}

/// The scenario of this name, whichever suite it is in.
pub fn scenario(name: &str) -> Result<Scenario, SelectError> {
    select(&[name.to_owned()])?.pop().ok_or_else(|| unknown(name))
}

/// Suites and scenarios by name, in the order of the suites, none twice. No name means `core`.
pub fn select(names: &[String]) -> Result<Vec<Scenario>, SelectError> {
    let default = ["core".to_owned()];
    let names = if names.is_empty() { &default } else { names };
    for name in names {
        if !all_names().any(|n| n == name) {
            return Err(unknown(name));
        }
    }
    let mut selected = Vec::new();
    for suite in SUITES {
        for (file, text) in suite.files {
            if names.iter().any(|n| n == suite.name || n == file) {
                selected.push(parse(file, text)?);
            }
        }
    }
    Ok(selected)
}

fn all_names() -> impl Iterator<Item = &'static str> {
    SUITES.iter().flat_map(|s| std::iter::once(s.name).chain(s.names()))
}

fn unknown(name: &str) -> SelectError {
    let hint =
        nearest(name, all_names()).map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default();
    SelectError::Unknown { name: name.to_owned(), hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_parses_and_every_file_in_the_directory_is_in_the_table() {
        for suite in SUITES {
            let scenarios = suite.scenarios().expect("compiled-in scenarios are valid");
            assert!(scenarios.iter().all(|s| !s.story.is_empty() && !s.decides.is_empty()));
            let mut listed: Vec<String> =
                scenarios.into_iter().map(|s| format!("{}.toml", s.name)).collect();
            let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(suite.name);
            let mut there: Vec<String> = std::fs::read_dir(dir)
                .expect("the suite's directory")
                .map(|f| f.expect("readable").file_name().to_string_lossy().into_owned())
                .collect();
            listed.sort();
            there.sort();
            assert_eq!(listed, there);
        }
    }

    #[test]
    fn selection_is_by_suite_or_scenario_and_quotes_what_it_does_not_know() {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(select(&names(&["steady", "steady"])).expect("known").len(), 1);
        assert_eq!(
            select(&[]).expect("core").len(),
            select(&names(&["core"])).expect("core").len()
        );
        let error = select(&names(&["rst-idel"])).expect_err("unknown").to_string();
        assert!(
            error.contains("`rst-idel`") && error.contains("did you mean `rst-idle`?"),
            "{error}"
        );
    }
}
