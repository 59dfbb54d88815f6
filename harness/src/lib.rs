//! Gauntlet's harness: what plays a scenario against a consumer and records what happens.
//!
//! One run is a straight line: a scenario and a seed become a [plan](gauntlet_judge::plan); a [`broker`] and a link of
//! `gauntlet-network` are its environment; the [`subject`] consumes; everything that happens is one
//! [history](gauntlet_judge::history); `gauntlet-judge` decides from plan and history alone.

mod backstage;
pub mod broker;
mod conductor;
pub mod limits;
pub mod mutants;
pub mod network;
mod on_subject;
mod probe;
mod recorder;
pub mod run;
pub mod starvation;
pub mod subject;
pub mod suite;
mod tap;
mod whose;
mod workload;
