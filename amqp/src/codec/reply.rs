//! The methods a broker sends, written as whole frames.

use bytes::{BufMut, BytesMut};

use super::error::AmqpError;
use super::frame::{self, Kind};
use super::name::MethodId;
use super::table::Table;
use super::write::{longstr, shortstr, sized};

/// A method to a client, without content. What carries content is written by [`Content`].
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are AMQP 0-9-1's own, named as there")]
pub enum Reply<'a> {
    ConnectionStart { properties: &'a Table, mechanisms: &'a str },
    ConnectionTune { channel_max: u16, frame_max: u32, heartbeat: u16 },
    ConnectionOpenOk,
    ConnectionClose { error: &'a AmqpError },
    ConnectionCloseOk,
    ConnectionBlocked { reason: &'a str },
    ConnectionUnblocked,
    ConnectionUpdateSecretOk,
    ChannelOpenOk,
    ChannelFlowOk { active: bool },
    ChannelClose { error: &'a AmqpError },
    ChannelCloseOk,
    AccessRequestOk,
    ExchangeDeclareOk,
    ExchangeDeleteOk,
    ExchangeBindOk,
    ExchangeUnbindOk,
    QueueDeclareOk { queue: &'a str, messages: u32, consumers: u32 },
    QueueBindOk,
    QueueUnbindOk,
    QueuePurgeOk { messages: u32 },
    QueueDeleteOk { messages: u32 },
    BasicQosOk,
    BasicConsumeOk { tag: &'a str },
    BasicCancel { tag: &'a str },
    BasicCancelOk { tag: &'a str },
    BasicGetEmpty,
    BasicAck { tag: u64, multiple: bool },
    BasicNack { tag: u64, multiple: bool },
    BasicRecoverOk,
    ConfirmSelectOk,
    TxSelectOk,
    TxCommitOk,
    TxRollbackOk,
}

impl Reply<'_> {
    /// Which method it is.
    pub const fn id(&self) -> MethodId {
        let (class, method) = match self {
            Reply::ConnectionStart { .. } => (10, 10),
            Reply::ConnectionTune { .. } => (10, 30),
            Reply::ConnectionOpenOk => (10, 41),
            Reply::ConnectionClose { .. } => (10, 50),
            Reply::ConnectionCloseOk => (10, 51),
            Reply::ConnectionBlocked { .. } => (10, 60),
            Reply::ConnectionUnblocked => (10, 61),
            Reply::ConnectionUpdateSecretOk => (10, 71),
            Reply::ChannelOpenOk => (20, 11),
            Reply::ChannelFlowOk { .. } => (20, 21),
            Reply::ChannelClose { .. } => (20, 40),
            Reply::ChannelCloseOk => (20, 41),
            Reply::AccessRequestOk => (30, 11),
            Reply::ExchangeDeclareOk => (40, 11),
            Reply::ExchangeDeleteOk => (40, 21),
            Reply::ExchangeBindOk => (40, 31),
            Reply::ExchangeUnbindOk => (40, 51),
            Reply::QueueDeclareOk { .. } => (50, 11),
            Reply::QueueBindOk => (50, 21),
            Reply::QueuePurgeOk { .. } => (50, 31),
            Reply::QueueDeleteOk { .. } => (50, 41),
            Reply::QueueUnbindOk => (50, 51),
            Reply::BasicQosOk => (60, 11),
            Reply::BasicConsumeOk { .. } => (60, 21),
            Reply::BasicCancel { .. } => (60, 30),
            Reply::BasicCancelOk { .. } => (60, 31),
            Reply::BasicGetEmpty => (60, 72),
            Reply::BasicAck { .. } => (60, 80),
            Reply::BasicRecoverOk => (60, 111),
            Reply::BasicNack { .. } => (60, 120),
            Reply::ConfirmSelectOk => (85, 11),
            Reply::TxSelectOk => (90, 11),
            Reply::TxCommitOk => (90, 21),
            Reply::TxRollbackOk => (90, 31),
        };
        MethodId::of(class, method)
    }

    /// The whole frame.
    pub fn write(&self, channel: u16, out: &mut BytesMut) {
        method_frame(channel, self.id(), out, |out| self.fields(out));
    }

    fn fields(&self, out: &mut BytesMut) {
        match self {
            Reply::ConnectionStart { properties, mechanisms } => {
                out.put_slice(&[0, 9]);
                properties.write(out);
                longstr(mechanisms.as_bytes(), out);
                longstr(b"en_US", out);
            }
            Reply::ConnectionTune { channel_max, frame_max, heartbeat } => {
                out.put_u16(*channel_max);
                out.put_u32(*frame_max);
                out.put_u16(*heartbeat);
            }
            Reply::ConnectionOpenOk => out.put_u8(0),
            Reply::ConnectionClose { error } | Reply::ChannelClose { error } => {
                out.put_u16(error.code.number());
                shortstr(&error.text(), out);
                out.put_u16(error.method.class);
                out.put_u16(error.method.method);
            }
            Reply::ConnectionBlocked { reason } => shortstr(reason, out),
            Reply::ChannelOpenOk => out.put_u32(0),
            Reply::ChannelFlowOk { active } => out.put_u8(u8::from(*active)),
            Reply::AccessRequestOk => out.put_u16(1),
            Reply::QueueDeclareOk { queue, messages, consumers } => {
                shortstr(queue, out);
                out.put_u32(*messages);
                out.put_u32(*consumers);
            }
            Reply::QueuePurgeOk { messages } | Reply::QueueDeleteOk { messages } => {
                out.put_u32(*messages);
            }
            Reply::BasicConsumeOk { tag } | Reply::BasicCancelOk { tag } => shortstr(tag, out),
            // The broker cancels without waiting for an answer.
            Reply::BasicCancel { tag } => {
                shortstr(tag, out);
                out.put_u8(1);
            }
            Reply::BasicGetEmpty => out.put_u8(0),
            Reply::BasicAck { tag, multiple } | Reply::BasicNack { tag, multiple } => {
                out.put_u64(*tag);
                out.put_u8(u8::from(*multiple));
            }
            _ => {}
        }
    }
}

fn method_frame(
    channel: u16,
    id: MethodId,
    out: &mut BytesMut,
    fields: impl FnOnce(&mut BytesMut),
) {
    out.put_u8(Kind::Method.byte());
    out.put_u16(channel);
    sized(out, |out| {
        out.put_u16(id.class);
        out.put_u16(id.method);
        fields(out);
    });
    out.put_u8(frame::END);
}

/// A method that carries content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are AMQP 0-9-1's own, named as there")]
pub enum Content<'a> {
    Return {
        code: super::Code,
        exchange: &'a str,
        routing_key: &'a str,
    },
    Deliver {
        consumer: &'a str,
        tag: u64,
        redelivered: bool,
        exchange: &'a str,
        routing_key: &'a str,
    },
    GetOk {
        tag: u64,
        redelivered: bool,
        exchange: &'a str,
        routing_key: &'a str,
        messages: u32,
    },
}

impl Content<'_> {
    /// Which method it is.
    pub const fn id(&self) -> MethodId {
        match self {
            Content::Return { .. } => MethodId::of(60, 50),
            Content::Deliver { .. } => MethodId::of(60, 60),
            Content::GetOk { .. } => MethodId::of(60, 71),
        }
    }

    /// The method's frame and the header's; `props` is the property flags and list, forwarded as they are.
    pub fn write(&self, channel: u16, props: &[u8], body: u64, out: &mut BytesMut) {
        method_frame(channel, self.id(), out, |out| match *self {
            Content::Return { code, exchange, routing_key } => {
                out.put_u16(code.number());
                shortstr(code.name(), out);
                shortstr(exchange, out);
                shortstr(routing_key, out);
            }
            Content::Deliver { consumer, tag, redelivered, exchange, routing_key } => {
                shortstr(consumer, out);
                out.put_u64(tag);
                out.put_u8(u8::from(redelivered));
                shortstr(exchange, out);
                shortstr(routing_key, out);
            }
            Content::GetOk { tag, redelivered, exchange, routing_key, messages } => {
                out.put_u64(tag);
                out.put_u8(u8::from(redelivered));
                shortstr(exchange, out);
                shortstr(routing_key, out);
                out.put_u32(messages);
            }
        });
        out.put_u8(Kind::Header.byte());
        out.put_u16(channel);
        out.put_u32(12 + props.len() as u32);
        out.put_u16(60);
        out.put_u16(0);
        out.put_u64(body);
        out.put_slice(props);
        out.put_u8(frame::END);
    }
}

/// The front of a body frame.
pub fn body_front(channel: u16, size: usize, out: &mut BytesMut) {
    out.put_u8(Kind::Body.byte());
    out.put_u16(channel);
    out.put_u32(size as u32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Code;

    fn check(reply: &Reply<'_>, expect: &[u8]) {
        let mut out = BytesMut::new();
        reply.write(3, &mut out);
        assert_eq!(&out[..], expect);
    }

    #[test]
    fn replies_are_frames() {
        check(&Reply::TxCommitOk, &[1, 0, 3, 0, 0, 0, 4, 0, 90, 0, 21, 0xCE]);
        check(
            &Reply::BasicAck { tag: 2, multiple: true },
            &[1, 0, 3, 0, 0, 0, 13, 0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0xCE],
        );
        let error = AmqpError::new(Code::NotFound, "x").of(MethodId::of(50, 10));
        let mut expect = vec![1, 0, 3, 0, 0, 0, 24, 0, 20, 0, 40, 1, 148, 13];
        expect.extend(b"NOT_FOUND - x");
        expect.extend([0, 50, 0, 10, 0xCE]);
        check(&Reply::ChannelClose { error: &error }, &expect);
    }
}
