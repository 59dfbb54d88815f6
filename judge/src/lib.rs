//! From what happened to a verdict: scenarios, plans, histories, checkers and reports, without a socket or a runtime.
//!
//! In reading order: what a subject promises ([`mod@promises`]), what may happen to a broker ([`mod@broker_fault`]), a
//! [`scenario`], the [`plan`] it becomes with a seed, the [`history`] of a run, the [`checkers`] that decide from plan
//! and history alone, their [`verdict`], the [`judgement`] of a run, a run read back from its directory ([`saved`]), what
//! came of each run of a suite ([`outcome`]), and what people read ([`report`]).
//!
//! Nothing here plays anything: `gauntlet-harness` does, and writes the history.

pub mod promises;

pub mod promised;

pub mod broker_fault;

pub mod scenario;

pub mod plan;

pub mod history;

pub mod checkers;

pub mod verdict;

pub mod judgement;

pub mod preflight;

pub mod saved;

pub mod outcome;

pub mod report;

pub use judgement::{Judgement, judge};
pub use plan::Plan;
pub use promises::Promises;
pub use scenario::Scenario;
pub use verdict::Verdict;
