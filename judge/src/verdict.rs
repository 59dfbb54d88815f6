//! The three values a run can end with, and what a checker says about one invariant.
//!
//! Owns how verdicts merge and which exit code they become. It does not decide anything itself:
//! that is the checkers' work.

use serde::{Deserialize, Serialize};

/// `Pass < Unknown < Fail`; verdicts merge by `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Decided, and the invariant held.
    Pass,
    /// Could not be decided; never counted as a pass.
    Unknown,
    /// Decided, and the invariant was violated.
    Fail,
}

impl Verdict {
    /// The worst of all: nothing at all is `Unknown`, for a check that passes on nothing proves nothing.
    pub fn merge(verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
        verdicts.into_iter().max().unwrap_or(Verdict::Unknown)
    }

    /// The process exit code of a run that ends with this verdict.
    pub fn exit_code(self) -> u8 {
        match self {
            Verdict::Pass => 0,
            Verdict::Fail => 1,
            Verdict::Unknown => 2,
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Verdict::Pass => "pass",
            Verdict::Unknown => "unknown",
            Verdict::Fail => "fail",
        })
    }
}

/// What one checker concluded about one invariant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The checker's id, as in the catalogue: `I1`, `I12`...
    pub checker: String,
    /// What it decided.
    pub outcome: Outcome,
    /// One line for a reader: what was violated, what held and on how much, or what was missing.
    pub summary: String,
    /// Sequence numbers of the events that prove it, in the order they should be read.
    pub evidence: Vec<u64>,
    /// Whether it is unknown because the machine was too busy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub busy: bool,
}

/// A checker's decision. Distinct from [`Verdict`] only in that an invariant may not apply at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The invariant held, and there was something for it to hold on.
    Pass,
    /// It could not be decided.
    Unknown,
    /// It was violated.
    Fail,
    /// Nothing in this run makes it apply, or the subject does not promise it.
    #[serde(alias = "not_at_stake")]
    NotApplicable,
}

impl Outcome {
    /// The verdict it contributes; `None` when the invariant was not applicable.
    pub fn verdict(self) -> Option<Verdict> {
        match self {
            Outcome::Pass => Some(Verdict::Pass),
            Outcome::Unknown => Some(Verdict::Unknown),
            Outcome::Fail => Some(Verdict::Fail),
            Outcome::NotApplicable => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_merge_by_max_and_nothing_is_unknown() {
        assert_eq!(Verdict::merge([]), Verdict::Unknown);
        assert_eq!(Verdict::merge([Verdict::Pass, Verdict::Pass]), Verdict::Pass);
        assert_eq!(Verdict::merge([Verdict::Pass, Verdict::Unknown]), Verdict::Unknown);
        assert_eq!(Verdict::merge([Verdict::Fail, Verdict::Unknown]), Verdict::Fail);
    }

    #[test]
    fn a_verdict_saved_under_the_old_name_is_read() {
        let read = |text| serde_json::from_str::<Outcome>(text).expect("an outcome");
        assert_eq!(read("\"not_at_stake\""), Outcome::NotApplicable);
        assert_eq!(read("\"not_applicable\""), Outcome::NotApplicable);
    }

    #[test]
    fn exit_codes_are_the_documented_ones() {
        assert_eq!(
            [Verdict::Pass, Verdict::Fail, Verdict::Unknown].map(Verdict::exit_code),
            [0, 1, 2]
        );
    }
}
