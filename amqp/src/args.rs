//! The arguments of frames that decide anything about a consumer, and how a trace shows them.
//!
//! Not kept: bodies, tables, and whatever a client authenticates with.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a frame's arguments say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "fields carry the names AMQP 0-9-1 gives them")]
pub enum Args {
    /// None, or none that matter.
    #[default]
    None,
    /// Longer than [`super::scanner::KEPT`], so not read.
    Unread,
    /// They cannot be read as what the frame says it is.
    Malformed,
    /// `connection.start-ok`. The response (the password) is never looked at.
    StartOk { mechanism: String, authentication_failure_close: bool },
    /// `connection.tune`.
    Tune { channel_max: u16, frame_max: u32, heartbeat: u16 },
    /// `connection.tune-ok`.
    TuneOk { channel_max: u16, frame_max: u32, heartbeat: u16 },
    /// `connection.open`.
    Open { vhost: String },
    /// `connection.close` and `channel.close`.
    Close { code: u16, text: String, class: u16, method: u16 },
    /// `connection.blocked`.
    Blocked { reason: String },
    /// `channel.flow` and `channel.flow-ok`.
    Flow { active: bool },
    /// `queue.declare`.
    Declare { queue: String, passive: bool, durable: bool, exclusive: bool },
    /// `queue.declare-ok`.
    DeclareOk { queue: String, messages: u32, consumers: u32 },
    /// `queue.bind`.
    Bind { queue: String, exchange: String, routing_key: String },
    /// `basic.qos`.
    Qos { prefetch_count: u16, global: bool },
    /// `basic.consume`.
    Consume { queue: String, consumer_tag: String, no_ack: bool, exclusive: bool },
    /// `basic.consume-ok`.
    ConsumeOk { consumer_tag: String },
    /// `basic.cancel`, from either side.
    Cancel { consumer_tag: String },
    /// `basic.cancel-ok`.
    CancelOk { consumer_tag: String },
    /// `basic.publish`.
    Publish { exchange: String, routing_key: String, mandatory: bool },
    /// `basic.return`.
    Return { code: u16, text: String, exchange: String, routing_key: String },
    /// `basic.deliver`.
    Deliver {
        consumer_tag: String,
        delivery_tag: u64,
        redelivered: bool,
        exchange: String,
        routing_key: String,
    },
    /// `basic.get`.
    Get { queue: String, no_ack: bool },
    /// `basic.get-ok`.
    GetOk {
        delivery_tag: u64,
        redelivered: bool,
        exchange: String,
        routing_key: String,
        messages: u32,
    },
    /// `basic.ack`, from a consumer or as a publisher confirm.
    Ack { delivery_tag: u64, multiple: bool },
    /// `basic.nack`.
    Nack { delivery_tag: u64, multiple: bool, requeue: bool },
    /// `basic.reject`.
    Reject { delivery_tag: u64, requeue: bool },
    /// `basic.recover` and `basic.recover-async`.
    Recover { requeue: bool },
    /// A content header.
    Header { body_size: u64, message_id: Option<String>, delivery_mode: Option<u8> },
}

impl Args {
    /// Whether there is nothing to say.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// Writes ` flag` for each that is set.
fn flags(f: &mut fmt::Formatter<'_>, flags: &[(&str, bool)]) -> fmt::Result {
    flags.iter().filter(|(_, set)| *set).try_for_each(|(name, _)| write!(f, " {name}"))
}

impl fmt::Display for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Unread => f.write_str(" (arguments too long to read)"),
            Self::Malformed => f.write_str(" (malformed)"),
            Self::StartOk { mechanism, authentication_failure_close } => {
                write!(f, " mechanism={mechanism:?}")?;
                flags(f, &[("authentication_failure_close", *authentication_failure_close)])
            }
            Self::Tune { channel_max, frame_max, heartbeat }
            | Self::TuneOk { channel_max, frame_max, heartbeat } => {
                write!(f, " channels={channel_max} frame={frame_max} heartbeat={heartbeat}")
            }
            Self::Open { vhost } => write!(f, " vhost={vhost:?}"),
            Self::Close { code, text, class, method } => {
                write!(f, " code={code} text={text:?} class={class} method={method}")
            }
            Self::Blocked { reason } => write!(f, " reason={reason:?}"),
            Self::Flow { active } => write!(f, " active={active}"),
            Self::Declare { queue, passive, durable, exclusive } => {
                write!(f, " queue={queue:?}")?;
                let set = [("passive", *passive), ("durable", *durable), ("exclusive", *exclusive)];
                flags(f, &set)
            }
            Self::DeclareOk { queue, messages, consumers } => {
                write!(f, " queue={queue:?} messages={messages} consumers={consumers}")
            }
            Self::Bind { queue, exchange, routing_key } => {
                write!(f, " queue={queue:?} exchange={exchange:?} key={routing_key:?}")
            }
            Self::Qos { prefetch_count, global } => {
                write!(f, " prefetch={prefetch_count}")?;
                flags(f, &[("global", *global)])
            }
            Self::Consume { queue, consumer_tag, no_ack, exclusive } => {
                write!(f, " queue={queue:?} ctag={consumer_tag:?}")?;
                flags(f, &[("no_ack", *no_ack), ("exclusive", *exclusive)])
            }
            Self::ConsumeOk { consumer_tag }
            | Self::Cancel { consumer_tag }
            | Self::CancelOk { consumer_tag } => write!(f, " ctag={consumer_tag:?}"),
            Self::Publish { exchange, routing_key, mandatory } => {
                write!(f, " exchange={exchange:?} key={routing_key:?}")?;
                flags(f, &[("mandatory", *mandatory)])
            }
            Self::Return { code, text, exchange, routing_key } => {
                write!(f, " code={code} text={text:?} exchange={exchange:?} key={routing_key:?}")
            }
            Self::Deliver { consumer_tag, delivery_tag, redelivered, exchange, routing_key } => {
                write!(f, " tag={delivery_tag}")?;
                flags(f, &[("redelivered", *redelivered)])?;
                write!(f, " ctag={consumer_tag:?} exchange={exchange:?} key={routing_key:?}")
            }
            Self::Get { queue, no_ack } => {
                write!(f, " queue={queue:?}")?;
                flags(f, &[("no_ack", *no_ack)])
            }
            Self::GetOk { delivery_tag, redelivered, exchange, routing_key, messages } => {
                write!(f, " tag={delivery_tag}")?;
                flags(f, &[("redelivered", *redelivered)])?;
                write!(f, " exchange={exchange:?} key={routing_key:?} messages={messages}")
            }
            Self::Ack { delivery_tag, multiple } => {
                write!(f, " tag={delivery_tag}")?;
                flags(f, &[("multiple", *multiple)])
            }
            Self::Nack { delivery_tag, multiple, requeue } => {
                write!(f, " tag={delivery_tag}")?;
                flags(f, &[("multiple", *multiple), ("requeue", *requeue)])
            }
            Self::Reject { delivery_tag, requeue } => {
                write!(f, " tag={delivery_tag}")?;
                flags(f, &[("requeue", *requeue)])
            }
            Self::Recover { requeue } => flags(f, &[("requeue", *requeue)]),
            Self::Header { body_size, message_id, delivery_mode } => {
                write!(f, " body={body_size}")?;
                if let Some(id) = message_id {
                    write!(f, " id={id:?}")?;
                }
                delivery_mode.map_or(Ok(()), |mode| write!(f, " mode={mode}"))
            }
        }
    }
}
