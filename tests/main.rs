//! The workspace's tests, one binary. Table of contents:
//!
//! - `alone`: scenarios that take the broker down, against the reference consumer.
//! - `tidy`: the rules of the source tree (floors, `//!`, sizes), held by a test.
//! - `scenarios`: every other scenario against the reference consumer, on every broker there is.
//! - `mutants`: every consumer broken on purpose, caught by the checker meant for it; and the control passes.
//! - `check`: saved runs decided again, sound or damaged.
//! - `cli`: what the command prints and returns, wrong input of every kind above all.
//! - `bounded`: a verdict comes in bounded time, whatever the subject does; the preflight of a command.
//! - `brokers`: what brokers promise: isolation, restarts, nothing left behind.
//! - `clients`: client libraries of other languages, on the embedded broker and on RabbitMQ.
//! - `external`: somebody else's broker, with its management API and its login there elsewhere.
//! - `examples`: the example consumers in Python: the good pass, the naive one fails.
//! - `interrupts`: runs that are told to end, or killed; nothing of them is left.
//! - `limits`: descriptors: the limit is raised, given back to what is started, and dials come before accepts.
//! - `processes`: commands as subjects, abusive ones above all; hazards; leagues.
//! - `messages`: what becomes of messages that are easily lost, with the reference consumer as a library.
//! - `networks`: a Toxiproxy behind the link: in a container before RabbitMQ, and our own before the model.
//! - `secrets`: no password is printed or saved.
//! - `signals`: the reference consumer's binary under real signals.
//! - `strangers`: others at the ports of a run; the subject is not judged by them.
//! - `toxiproxy`: `gauntlet proxy` as a program, and Toxiproxy's clients at work on it.
//! - `traces`: what people read, as snapshots.
//!
//! What needs Docker, rabbitmq-server or Python runs when they are there and says, one line, when it was
//! skipped and why; with `GAUNTLET_REQUIRE=all` nothing may skip.

mod support;

mod alone;
mod bounded;
mod brokers;
mod check;
mod cli;
mod clients;
mod examples;
mod external;
mod interrupts;
mod limits;
mod messages;
mod mutants;
mod networks;
mod processes;
mod scenarios;
mod secrets;
mod signals;
#[cfg(target_os = "linux")]
mod strangers;
mod tidy;
mod toxiproxy;
mod traces;
