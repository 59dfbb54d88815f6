//! Gauntlet's harness: what plays a scenario against a consumer and says, with evidence, what came of it.
//!
//! One run is a straight line: a [`scenario`] and a seed become a [`plan`]; a [`broker`] and a link
//! of `gauntlet-network` are its environment; the [`subject`] consumes; everything that happens is one
//! [`history`]; the [`checkers`] decide from plan and history alone.

pub mod scenario;
pub mod plan;
pub mod broker;
mod backstage;
mod workload;
pub mod subject;
pub mod history;
mod tap;
mod probe;
mod conductor;
pub mod run;
pub mod checkers;
pub mod verdict;
pub mod judge;
pub mod suite;
pub mod report;
pub mod mutants;
