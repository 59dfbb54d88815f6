//! Consumers broken on purpose: for each class of bug one that has it, to prove that a checker
//! catches it.
//!
//! Owns the catalogue: each mutant with its habit, the real bugs it stands for, and the scenario and
//! checker that must catch it. In reading order: the consumer they are all made of, correct without a
//! defect ([`body`], the [`control`]), its connection ([`line`]), the defects ([`defect`]), and the
//! habits that take more than a line; and [`INNOCENTS`], whose habits are [`odd`] and right. A mutant differs from the control in one habit, so that its catch
//! is not luck. No checker knows a mutant.

mod ack_multiple;
mod body;
mod deaf_heartbeats;
mod defect;
mod left_behind;
mod line;
mod odd;
mod resurrects;
mod silence_unnoticed;

use crate::subject::{Promises, SubjectSpec};
use defect::Defect;

/// A consumer with one bad habit.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// Its name.
    pub name: &'static str,
    /// What it does wrong, in one sentence.
    pub habit: &'static str,
    /// Reports of real consumers that did the same.
    pub seen_in: &'static str,
    /// The scenario that must catch it.
    pub scenario: &'static str,
    /// The checker that must fail it there.
    pub checker: &'static str,
    /// Makes it.
    pub make: fn() -> SubjectSpec,
}

/// The consumer without a bad habit. Nothing may be found wrong with it.
pub fn control() -> SubjectSpec {
    subject_spec("control", Defect::None)
}

/// A consumer that is odd, and right.
#[derive(Clone, Copy, Debug)]
pub struct Innocent {
    /// Its name.
    pub name: &'static str,
    /// What is odd about it, in one sentence.
    pub habit: &'static str,
    /// Makes it.
    pub make: fn() -> SubjectSpec,
}

/// Consumers that do things in another way than most, and lose nothing by it. Nothing may be found wrong with them.
pub const INNOCENTS: &[Innocent] = &[
    Innocent {
        name: "retries-by-copy",
        habit: "publishes what failed to the same queue again, and acks when that is confirmed",
        make: || subject_spec("retries-by-copy", Defect::RetriesByCopy),
    },
    Innocent {
        name: "delays-by-copy",
        habit: "the same, by way of a queue that gives it back after a while",
        make: || subject_spec("delays-by-copy", Defect::DelaysByCopy),
    },
    Innocent {
        name: "sets-aside",
        habit: "publishes what failed to a queue of its own, and acks when that is confirmed",
        make: || subject_spec("sets-aside", Defect::SetsAside),
    },
    Innocent {
        name: "rejects",
        habit: "rejects what failed, which goes to the dead-letter queue",
        make: || subject_spec("rejects", Defect::Rejects),
    },
    Innocent {
        name: "polls",
        habit: "polls with basic.get instead of subscribing",
        make: || subject_spec("polls", Defect::Polls),
    },
    Innocent {
        name: "listens-to-control",
        habit: "listens to an exclusive queue of its own without acknowledgements, beside the work",
        make: || subject_spec("listens-to-control", Defect::ListensToControl),
    },
    Innocent {
        name: "own-prefetch",
        habit: "asks for another prefetch than it is told, and does not promise to keep to that",
        make: || {
            let subject_spec = subject_spec("own-prefetch", Defect::OwnPrefetch);
            let promises = Promises { prefetch: false, ..subject_spec.promises.clone() };
            SubjectSpec { promises, ..subject_spec }
        },
    },
];

/// The mutant of this name.
pub fn find(name: &str) -> Option<&'static Mutant> {
    MUTANTS.iter().find(|m| m.name == name)
}

/// All mutants promise what the control promises.
fn subject_spec(name: &str, defect: Defect) -> SubjectSpec {
    let promises =
        Promises { reports_attempts: true, backoff: Some(body::backoff()), ..Promises::all() };
    SubjectSpec::new(name, promises, move |job| body::run(job, defect))
}

/// The catalogue.
pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "never-reconnects",
        habit: "after a lost connection it sits there until it is stopped",
        seen_in: "lapin#222, go-rabbitmq#47, watermill-amqp#30",
        scenario: "rst-idle",
        checker: "I12",
        make: || subject_spec("never-reconnects", Defect::NeverReconnects),
    },
    Mutant {
        name: "reconnects-twice",
        habit: "after a lost connection two parties dial, each with all its consumers",
        seen_in: "amqplib#25, amqplib#271, lyra#75",
        scenario: "rst-load",
        checker: "I17",
        make: || subject_spec("reconnects-twice", Defect::ReconnectsTwice),
    },
    Mutant {
        name: "panics-on-loss",
        habit: "a lost connection is a panic",
        seen_in: "amqplib#557, amqplib#338, go-rabbitmq#5",
        scenario: "rst-idle",
        checker: "I20",
        make: || subject_spec("panics-on-loss", Defect::PanicsOnLoss),
    },
    Mutant {
        name: "transient-fatal",
        habit: "an attempt that fails is the end, whatever the reason",
        seen_in: "spring-amqp#2027, bunny#740, lyra#28",
        scenario: "refuse",
        checker: "I22",
        make: || subject_spec("transient-fatal", Defect::TransientFatal),
    },
    Mutant {
        name: "auth-retry",
        habit: "a refused login is tried again for ever",
        seen_in: "EasyNetQ#1621",
        scenario: "wrong-password",
        checker: "I22",
        make: || subject_spec("auth-retry", Defect::AuthRetry),
    },
    Mutant {
        name: "hot-loop",
        habit: "no delay between attempts to connect",
        seen_in: "opencti#13763, pika#233",
        scenario: "accept-then-close",
        checker: "I13",
        make: || subject_spec("hot-loop", Defect::HotLoop),
    },
    Mutant {
        name: "no-handshake-deadline",
        habit: "waits for connection.start for ever",
        seen_in: "java#65, bunny#745, py-amqp#398",
        scenario: "silent-start",
        checker: "I12",
        make: || subject_spec("no-handshake-deadline", Defect::NoHandshakeDeadline),
    },
    Mutant {
        name: "heartbeats-off",
        habit: "asks for no heartbeat, and gets the broker's minute",
        seen_in: "pika#1046, php-amqplib#1029",
        scenario: "slow-handler",
        checker: "I15",
        make: || subject_spec("heartbeats-off", Defect::HeartbeatsOff),
    },
    Mutant {
        name: "deaf-heartbeats",
        habit: "its heartbeats stop while a handler runs",
        seen_in: "pika#93, php-amqplib#725",
        scenario: "slow-handler",
        checker: "I15",
        make: || subject_spec("deaf-heartbeats", Defect::DeafHeartbeats),
    },
    Mutant {
        name: "silence-unnoticed",
        habit: "sends its heartbeats and never misses the broker's",
        seen_in: "php-amqplib#762, php-amqplib#792",
        scenario: "blackhole-to-client",
        checker: "I16",
        make: || subject_spec("silence-unnoticed", Defect::SilenceUnnoticed),
    },
    Mutant {
        name: "qos-forgotten",
        habit: "no basic.qos on connections after the first",
        seen_in: "smallrye-reactive-messaging#2084",
        scenario: "rst-load",
        checker: "I8",
        make: || subject_spec("qos-forgotten", Defect::QosForgotten),
    },
    Mutant {
        name: "multiplies-prefetch",
        habit: "each worker consumes on several channels, with the whole prefetch on each",
        seen_in: "no report in BUGS: basic.qos is of a consumer, and taken for one of the connection",
        scenario: "stop-in-flight",
        checker: "I8",
        make: || subject_spec("multiplies-prefetch", Defect::MultipliesPrefetch),
    },
    Mutant {
        name: "forgets-worker",
        habit: "one worker fewer consumes on connections after the first",
        seen_in: "spring-amqp#637, go-rabbitmq#137",
        scenario: "rst-load",
        checker: "I17",
        make: || subject_spec("forgets-worker", Defect::ForgetsWorker),
    },
    Mutant {
        name: "server-cancel-ignored",
        habit: "does not notice that the broker cancelled its consumers",
        seen_in: "aio-pika#334, amqplib#736",
        scenario: "queue-redeclared",
        checker: "I12",
        make: || subject_spec("server-cancel-ignored", Defect::ServerCancelIgnored),
    },
    Mutant {
        name: "wedges",
        habit: "after a while it handles nothing more, stays connected, and keeps what it has received",
        seen_in: "MassTransit#2072",
        scenario: "steady",
        checker: "I7",
        make: || subject_spec("wedges", Defect::Wedges),
    },
    Mutant {
        name: "no-dedup",
        habit: "handles again what it has handled",
        seen_in: "broadway_rabbitmq#6, celery#4671",
        scenario: "cut-deliver-ack",
        checker: "I11",
        make: || subject_spec("no-dedup", Defect::NoDedup),
    },
    Mutant {
        name: "skips-redelivered",
        habit: "takes a redelivered message for one it has handled, and acks it",
        seen_in: "no report in BUGS: the flag only says that it may have been seen",
        scenario: "cut-frame-header",
        checker: "I11",
        make: || subject_spec("skips-redelivered", Defect::SkipsRedelivered),
    },
    Mutant {
        name: "auto-ack",
        habit: "consumes with no_ack: what it has received and not handled is gone when it stops",
        seen_in: "ruby-amqp/amqp#187",
        scenario: "stop-in-flight",
        checker: "I1",
        make: || subject_spec("auto-ack", Defect::AutoAck),
    },
    Mutant {
        name: "early-ack",
        habit: "acks before it handles",
        seen_in: "ruby-amqp/amqp#187, enqueue-dev#1165",
        scenario: "steady",
        checker: "I5",
        make: || subject_spec("early-ack", Defect::EarlyAck),
    },
    Mutant {
        name: "double-ack",
        habit: "acks twice",
        seen_in: "bunny#681, node-amqp-connection-manager#294 (what a 406 then sets off)",
        scenario: "steady",
        checker: "I4",
        make: || subject_spec("double-ack", Defect::DoubleAck),
    },
    Mutant {
        name: "forgets-ack",
        habit: "does not ack every fortieth message it has handled",
        seen_in: "rabbot#174, MassTransit#2072",
        scenario: "steady",
        checker: "I7",
        make: || subject_spec("forgets-ack", Defect::ForgetsAck),
    },
    Mutant {
        name: "ack-multiple",
        habit: "acks everything up to the message just handled, while others before it are being handled",
        seen_in: "rabbot#174 and its opposite",
        scenario: "steady",
        checker: "I6",
        make: || subject_spec("ack-multiple", Defect::AckMultiple),
    },
    Mutant {
        name: "stale-tag",
        habit: "repeats the last ack of the old connection, with its old tag, on the new channel",
        seen_in: "bunny#142, dotnet#200, EasyNetQ#1329, amqpextra#74",
        scenario: "cut-deliver-ack",
        checker: "I3",
        make: || subject_spec("stale-tag", Defect::StaleTag),
    },
    Mutant {
        name: "leaks-connection",
        habit: "dials anew when its consumer ends, and leaves the old connection open",
        seen_in: "NServiceBus.RabbitMQ#1115, dart_amqp#87",
        scenario: "queue-redeclared",
        checker: "I17",
        make: || subject_spec("leaks-connection", Defect::LeaksConnection),
    },
    Mutant {
        name: "leaks-tasks",
        habit: "leaves a task behind for each lost connection",
        seen_in: "streamdal/rabbit#27, lapin#283",
        scenario: "leaks",
        checker: "I18",
        make: || subject_spec("leaks-tasks", Defect::LeaksTasks),
    },
    Mutant {
        name: "leaks-threads",
        habit: "leaves a thread behind for each lost connection",
        seen_in: "march_hare#64",
        scenario: "leaks",
        checker: "I18",
        make: || subject_spec("leaks-threads", Defect::LeaksThreads),
    },
    Mutant {
        name: "leaks-sockets",
        habit: "leaves a socket behind for each lost connection",
        seen_in: "bunny#115, haigha#95",
        scenario: "leaks",
        checker: "I18",
        make: || subject_spec("leaks-sockets", Defect::LeaksSockets),
    },
    Mutant {
        name: "drops-in-flight",
        habit: "on a stop it drops its handlers and its connection as they are",
        seen_in: "nsweeting/rabbit#102",
        scenario: "stop-in-flight",
        checker: "I19",
        make: || subject_spec("drops-in-flight", Defect::DropsInFlight),
    },
    Mutant {
        name: "loses-prefetched",
        habit: "on a stop it acks what it has received and not begun",
        seen_in: "ruby-amqp/amqp#187",
        scenario: "stop-in-flight",
        checker: "I1",
        make: || subject_spec("loses-prefetched", Defect::LosesPrefetched),
    },
    Mutant {
        name: "keeps-consuming",
        habit: "on a stop it goes on as long as messages come",
        seen_in: "nsweeting/rabbit#102",
        scenario: "stop-in-flight",
        checker: "I19",
        make: || subject_spec("keeps-consuming", Defect::KeepsConsuming),
    },
    Mutant {
        name: "stop-hangs",
        habit: "asked to stop while disconnected it waits for the connection to come back",
        seen_in: "lapin#400, bunny#353, rascal#126",
        scenario: "stop-disconnected",
        checker: "I19",
        make: || subject_spec("stop-hangs", Defect::StopHangs),
    },
    Mutant {
        name: "second-stop-ignored",
        habit: "does not listen to a second request to stop",
        seen_in: "rascal#126",
        scenario: "second-stop",
        checker: "I20",
        make: || subject_spec("second-stop-ignored", Defect::SecondStopIgnored),
    },
    Mutant {
        name: "resurrects",
        habit: "a leftover thread dials once more after the consumer has ended",
        seen_in: "bunny#376, lyra#75",
        scenario: "steady",
        checker: "I32",
        make: || subject_spec("resurrects", Defect::Resurrects),
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use gauntlet_judge::checkers::CHECKERS;

    use super::*;

    #[test]
    fn names_are_unique_and_lead_to_their_mutants() {
        let names: BTreeSet<&str> = MUTANTS.iter().map(|m| m.name).collect();
        assert_eq!(names.len(), MUTANTS.len());
        assert!(INNOCENTS.iter().all(|i| (i.make)().name == i.name && !names.contains(i.name)));
        for mutant in MUTANTS {
            assert_eq!((mutant.make)().name, mutant.name);
            assert_eq!(find(mutant.name).map(|m| m.name), Some(mutant.name));
        }
        assert!(find("control").is_none());
    }

    #[test]
    fn every_checker_named_exists() {
        for mutant in MUTANTS {
            assert!(CHECKERS.iter().any(|c| c.id == mutant.checker), "{}", mutant.name);
        }
    }

    #[test]
    fn a_mutant_is_held_to_what_the_control_promises() {
        let control = control().promises;
        assert!(MUTANTS.iter().all(|m| (m.make)().promises == control));
    }
}
