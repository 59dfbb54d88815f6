//! Gauntlet's harness: what plays a scenario against a consumer and says, with evidence, what came of it.
//!
//! One run is a straight line: a [`scenario`] and a seed become a [`plan`]; a [`broker`] and a link
//! of `gauntlet-network` are its environment; the [`subject`] consumes; everything that happens is one
//! [`history`]; the [`checkers`] decide from plan and history alone.

mod backstage;
pub mod broker;
pub mod checkers;
mod conductor;
pub mod history;
pub mod judge;
pub mod limits;
pub mod mutants;
pub mod network;
mod on_subject;
pub mod plan;
pub mod preflight;
mod probe;
pub mod report;
pub mod run;
pub mod saved;
pub mod scenario;
pub mod starvation;
pub mod subject;
pub mod suite;
mod tap;
pub mod verdict;
mod whose;
mod workload;
