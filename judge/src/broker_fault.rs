//! What can happen to a broker: one table, and which brokers each can be played on.
//!
//! It makes nothing happen: the harness does.

use std::time::Duration;

use gauntlet_amqp::codec::MethodId;
use gauntlet_faults::duration;
use serde::{Deserialize, Serialize};

/// One thing that happens to a broker. The step of a scenario says how long it lasts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BrokerFault {
    /// The application stops and starts within its node (connections get CONNECTION_FORCED).
    RestartApp,
    /// The node stops and starts.
    Restart,
    /// The node is killed and starts.
    Kill,
    /// The broker closes all the subject's connections.
    CloseConnections,
    /// The broker cancels the queue's consumers; the queue stays.
    CancelConsumers,
    /// The queue is deleted and redeclared; what was in it is published again by nobody.
    RedeclareQueue,
    /// The queue is deleted, and redeclared when this is over.
    DeleteQueue,
    /// The memory alarm: who publishes is blocked.
    MemoryAlarm,
    /// A delivery that is not settled for so long closes its channel (406), from before the start until healing.
    ConsumerTimeout(#[serde(with = "duration")] Duration),
    /// Replies of one method are held back, with whatever their channel would say after them.
    Withhold {
        /// Which: `basic.consume-ok`.
        reply: String,
        /// So many pass first.
        #[serde(default)]
        skip: u64,
        /// So many are held back; all without.
        #[serde(default)]
        count: Option<u64>,
    },
    /// New connections are accepted and not answered until this is over.
    Silence,
}

/// The kinds of broker a scenario is played on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BrokerKind {
    /// The model of RabbitMQ in the process of the harness.
    Embedded,
    /// RabbitMQ in a container that the harness started.
    Container,
    /// RabbitMQ as a process that the harness started.
    Local,
    /// Somebody's own.
    External,
}

/// What it takes to play a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Any broker with a management API.
    Access,
    /// A broker that is ours alone: it concerns all who use it.
    Control,
    /// The embedded broker: RabbitMQ cannot be told to.
    Model,
}

/// A row of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// As in files.
    pub name: &'static str,
    /// Which brokers can.
    pub needs: Needs,
    /// Whether it stays in force until it is lifted.
    pub lasts: bool,
    /// Whether it can be anchored to a point of the protocol.
    pub at_frame: bool,
    /// In a line.
    pub summary: &'static str,
}

macro_rules! catalogue {
    ($($name:literal $needs:ident [$($flag:ident),*] $summary:literal;)*) => {
        &[$(About {
            name: $name,
            needs: Needs::$needs,
            lasts: flag!(lasts $($flag)*),
            at_frame: flag!(at_frame $($flag)*),
            summary: $summary,
        }),*]
    };
}

macro_rules! flag {
    (lasts lasts $($rest:ident)*) => { true };
    (at_frame at_frame $($rest:ident)*) => { true };
    ($wanted:ident $other:ident $($rest:ident)*) => { flag!($wanted $($rest)*) };
    ($wanted:ident) => { false };
}

/// Every fault, in the order of the enum.
#[rustfmt::skip]
pub const CATALOGUE: &[About] = catalogue! {
    "restart_app" Control [at_frame] "the application stops (connection.close 320) and starts within its node";
    "restart" Control [at_frame] "the node stops (connection.close 320) and starts; durable queues stay";
    "kill" Control [at_frame] "the node is killed and starts; what was on disk stays";
    "close_connections" Access [at_frame] "every connection of the subject gets connection.close 320";
    "cancel_consumers" Model [at_frame] "every consumer gets basic.cancel, and the queue stays";
    "redeclare_queue" Access [at_frame] "the queue is deleted (basic.cancel) and redeclared at once";
    "delete_queue" Access [lasts, at_frame] "the queue is deleted (basic.cancel), and redeclared in the end";
    "memory_alarm" Control [lasts, at_frame] "the memory alarm: connections that publish are blocked";
    "consumer_timeout" Control [] "a delivery unsettled for so long closes its channel (406); before the start";
    "withhold" Model [lasts] "a reply is held back: `withhold = { reply = \"basic.consume-ok\", skip = 0, count = 1 }`";
    "silence" Model [lasts] "new connections are accepted and not answered";
};

impl BrokerFault {
    /// Its row of the [`CATALOGUE`].
    pub fn about(&self) -> &'static About {
        let row = match self {
            Self::RestartApp => 0,
            Self::Restart => 1,
            Self::Kill => 2,
            Self::CloseConnections => 3,
            Self::CancelConsumers => 4,
            Self::RedeclareQueue => 5,
            Self::DeleteQueue => 6,
            Self::MemoryAlarm => 7,
            Self::ConsumerTimeout(_) => 8,
            Self::Withhold { .. } => 9,
            Self::Silence => 10,
        };
        &CATALOGUE[row]
    }

    /// Refuses values that make no sense, quoting them.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::ConsumerTimeout(timeout) if timeout.is_zero() => {
                Err("has `consumer_timeout` \"0s\": above 0".into())
            }
            Self::Withhold { reply, .. } => {
                let known = reply.parse::<MethodId>().map(drop);
                known.map_err(|e| format!("has `withhold.reply`: {e}"))
            }
            _ => Ok(()),
        }
    }

    /// Why it cannot be played on such a broker, if that is so.
    pub fn refused_by(&self, broker: BrokerKind) -> Option<String> {
        let About { name, needs, .. } = self.about();
        match (needs, broker) {
            (Needs::Model, BrokerKind::Container | BrokerKind::Local | BrokerKind::External) => {
                Some(format!("RabbitMQ cannot be told to `{name}`; use --broker embedded"))
            }
            (Needs::Control, BrokerKind::External) => Some(format!(
                "`{name}` concerns the whole broker, and this one is not ours; use --broker embedded, container or local"
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_in_the_catalogue_under_its_own_name() {
        let faults = [
            BrokerFault::RestartApp,
            BrokerFault::Restart,
            BrokerFault::Kill,
            BrokerFault::CloseConnections,
            BrokerFault::CancelConsumers,
            BrokerFault::RedeclareQueue,
            BrokerFault::DeleteQueue,
            BrokerFault::MemoryAlarm,
            BrokerFault::ConsumerTimeout(Duration::from_secs(1)),
            BrokerFault::Withhold { reply: "basic.qos-ok".into(), skip: 0, count: None },
            BrokerFault::Silence,
        ];
        assert_eq!(faults.len(), CATALOGUE.len());
        for fault in faults {
            let written = serde_json::to_value(&fault).expect("it can be written");
            let name = match &written {
                serde_json::Value::String(name) => name.clone(),
                table => table.as_object().expect("a table").keys().next().expect("a key").clone(),
            };
            assert_eq!(fault.about().name, name);
        }
    }

    #[test]
    fn what_only_the_model_can_do_is_refused_elsewhere_and_what_is_not_ours_is_left_alone() {
        let refused = |fault: BrokerFault, kind| fault.refused_by(kind).is_some();
        assert!(!refused(BrokerFault::CancelConsumers, BrokerKind::Embedded));
        assert!(refused(BrokerFault::CancelConsumers, BrokerKind::Container));
        assert!(!refused(BrokerFault::MemoryAlarm, BrokerKind::Local));
        assert!(refused(BrokerFault::MemoryAlarm, BrokerKind::External));
        assert!(!refused(BrokerFault::CloseConnections, BrokerKind::External));
    }
}
