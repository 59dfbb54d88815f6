//! The methods a client sends, read from a method frame's payload.

use std::borrow::Cow;

use super::name::MethodId;
use super::read::{Malformed, Reader};
use super::table::Table;
use super::text::from_bytes;

/// A method from a client. Text borrows from the frame.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are AMQP 0-9-1's own, named as there")]
pub enum Method<'a> {
    ConnectionStartOk {
        properties: Table,
        mechanism: Cow<'a, str>,
        response: &'a [u8],
        locale: Cow<'a, str>,
    },
    ConnectionSecureOk {
        response: &'a [u8],
    },
    ConnectionTuneOk {
        channel_max: u16,
        frame_max: u32,
        heartbeat: u16,
    },
    ConnectionOpen {
        vhost: Cow<'a, str>,
    },
    ConnectionClose {
        code: u16,
        text: Cow<'a, str>,
    },
    ConnectionCloseOk,
    ConnectionUpdateSecret {
        secret: &'a [u8],
        reason: Cow<'a, str>,
    },
    ChannelOpen,
    ChannelFlow {
        active: bool,
    },
    ChannelFlowOk,
    ChannelClose {
        code: u16,
        text: Cow<'a, str>,
    },
    ChannelCloseOk,
    AccessRequest,
    ExchangeDeclare(ExchangeDeclare<'a>),
    ExchangeDelete {
        exchange: Cow<'a, str>,
        if_unused: bool,
        nowait: bool,
    },
    ExchangeBind(Bind<'a>),
    ExchangeUnbind(Bind<'a>),
    QueueDeclare(QueueDeclare<'a>),
    QueueBind(Bind<'a>),
    QueueUnbind(Bind<'a>),
    QueuePurge {
        queue: Cow<'a, str>,
        nowait: bool,
    },
    QueueDelete {
        queue: Cow<'a, str>,
        if_unused: bool,
        if_empty: bool,
        nowait: bool,
    },
    BasicQos {
        size: u32,
        count: u16,
        global: bool,
    },
    BasicConsume(Consume<'a>),
    BasicCancel {
        tag: Cow<'a, str>,
        nowait: bool,
    },
    BasicPublish {
        exchange: Cow<'a, str>,
        routing_key: Cow<'a, str>,
        mandatory: bool,
        immediate: bool,
    },
    BasicGet {
        queue: Cow<'a, str>,
        no_ack: bool,
    },
    BasicAck {
        tag: u64,
        multiple: bool,
    },
    BasicReject {
        tag: u64,
        requeue: bool,
    },
    BasicNack {
        tag: u64,
        multiple: bool,
        requeue: bool,
    },
    BasicRecoverAsync {
        requeue: bool,
    },
    BasicRecover {
        requeue: bool,
    },
    ConfirmSelect {
        nowait: bool,
    },
    TxSelect,
    TxCommit,
    TxRollback,
    /// A method that only a broker sends, well-formed or not.
    Servers,
}

/// `exchange.declare`.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are AMQP 0-9-1's own, named as there")]
pub struct ExchangeDeclare<'a> {
    pub exchange: Cow<'a, str>,
    pub kind: Cow<'a, str>,
    pub passive: bool,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub nowait: bool,
    pub arguments: Table,
}

/// `queue.declare`.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are AMQP 0-9-1's own, named as there")]
pub struct QueueDeclare<'a> {
    pub queue: Cow<'a, str>,
    pub passive: bool,
    pub durable: bool,
    pub exclusive: bool,
    pub auto_delete: bool,
    pub nowait: bool,
    pub arguments: Table,
}

/// `queue.bind`, `queue.unbind`, `exchange.bind` and `exchange.unbind`: the destination is a queue or an exchange.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are AMQP 0-9-1's own, named as there")]
pub struct Bind<'a> {
    pub destination: Cow<'a, str>,
    pub source: Cow<'a, str>,
    pub routing_key: Cow<'a, str>,
    pub nowait: bool,
    pub arguments: Table,
}

/// `basic.consume`.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are AMQP 0-9-1's own, named as there")]
pub struct Consume<'a> {
    pub queue: Cow<'a, str>,
    pub tag: Cow<'a, str>,
    pub no_ack: bool,
    pub exclusive: bool,
    pub nowait: bool,
    pub arguments: Table,
}

/// The class and index at the front of a method frame's payload.
pub fn id(payload: &[u8]) -> Option<MethodId> {
    let bytes = payload.first_chunk::<4>()?;
    Some(MethodId::of(
        u16::from_be_bytes([bytes[0], bytes[1]]),
        u16::from_be_bytes([bytes[2], bytes[3]]),
    ))
}

/// Reads the fields of method `id`.
pub fn read(id: MethodId, fields: &[u8]) -> Result<Method<'_>, Malformed> {
    let mut r = Reader::new(fields);
    let method = match (id.class, id.method) {
        (10, _) => connection(id.method, &mut r)?,
        (20, _) => channel(id.method, &mut r)?,
        (30, 10) => {
            r.shortstr()?;
            r.byte()?;
            Method::AccessRequest
        }
        (40, _) => exchange(id.method, &mut r)?,
        (50, _) => queue(id.method, &mut r)?,
        (60, _) => basic(id.method, &mut r)?,
        (85, 10) => Method::ConfirmSelect { nowait: bit(r.byte()?, 0) },
        (90, 10) => Method::TxSelect,
        (90, 20) => Method::TxCommit,
        (90, 30) => Method::TxRollback,
        _ => return Ok(Method::Servers),
    };
    if method != Method::Servers {
        r.done()?;
    }
    Ok(method)
}

const fn bit(byte: u8, at: u8) -> bool {
    byte & (1 << at) != 0
}

fn connection<'a>(method: u16, r: &mut Reader<'a>) -> Result<Method<'a>, Malformed> {
    Ok(match method {
        11 => Method::ConnectionStartOk {
            properties: r.table()?,
            mechanism: r.shortstr()?,
            response: r.longstr()?,
            locale: r.shortstr()?,
        },
        21 => Method::ConnectionSecureOk { response: r.longstr()? },
        31 => Method::ConnectionTuneOk {
            channel_max: r.short()?,
            frame_max: r.long()?,
            heartbeat: r.short()?,
        },
        40 => {
            let vhost = r.shortstr()?;
            r.shortstr()?;
            r.byte()?;
            Method::ConnectionOpen { vhost }
        }
        50 => {
            let (code, text) = close(r)?;
            Method::ConnectionClose { code, text }
        }
        51 => Method::ConnectionCloseOk,
        70 => Method::ConnectionUpdateSecret { secret: r.longstr()?, reason: r.shortstr()? },
        _ => Method::Servers,
    })
}

fn close<'a>(r: &mut Reader<'a>) -> Result<(u16, Cow<'a, str>), Malformed> {
    let (code, text) = (r.short()?, r.shortstr()?);
    r.long()?;
    Ok((code, text))
}

fn channel<'a>(method: u16, r: &mut Reader<'a>) -> Result<Method<'a>, Malformed> {
    Ok(match method {
        10 => {
            r.shortstr()?;
            Method::ChannelOpen
        }
        20 => Method::ChannelFlow { active: bit(r.byte()?, 0) },
        21 => {
            r.byte()?;
            Method::ChannelFlowOk
        }
        40 => {
            let (code, text) = close(r)?;
            Method::ChannelClose { code, text }
        }
        41 => Method::ChannelCloseOk,
        _ => Method::Servers,
    })
}

fn exchange<'a>(method: u16, r: &mut Reader<'a>) -> Result<Method<'a>, Malformed> {
    if !matches!(method, 10 | 20 | 30 | 40) {
        return Ok(Method::Servers);
    }
    r.short()?;
    Ok(match method {
        10 => {
            let (exchange, kind, bits) = (r.shortstr()?, r.shortstr()?, r.byte()?);
            Method::ExchangeDeclare(ExchangeDeclare {
                exchange,
                kind,
                passive: bit(bits, 0),
                durable: bit(bits, 1),
                auto_delete: bit(bits, 2),
                internal: bit(bits, 3),
                nowait: bit(bits, 4),
                arguments: r.table()?,
            })
        }
        20 => {
            let (exchange, bits) = (r.shortstr()?, r.byte()?);
            Method::ExchangeDelete { exchange, if_unused: bit(bits, 0), nowait: bit(bits, 1) }
        }
        30 => Method::ExchangeBind(bind(r, true)?),
        _ => Method::ExchangeUnbind(bind(r, true)?),
    })
}

fn bind<'a>(r: &mut Reader<'a>, has_nowait: bool) -> Result<Bind<'a>, Malformed> {
    let (destination, source, routing_key) = (r.shortstr()?, r.shortstr()?, r.shortstr()?);
    let nowait = has_nowait && bit(r.byte()?, 0);
    Ok(Bind { destination, source, routing_key, nowait, arguments: r.table()? })
}

fn queue<'a>(method: u16, r: &mut Reader<'a>) -> Result<Method<'a>, Malformed> {
    if !matches!(method, 10 | 20 | 30 | 40 | 50) {
        return Ok(Method::Servers);
    }
    r.short()?;
    Ok(match method {
        10 => {
            let (queue, bits) = (r.shortstr()?, r.byte()?);
            Method::QueueDeclare(QueueDeclare {
                queue,
                passive: bit(bits, 0),
                durable: bit(bits, 1),
                exclusive: bit(bits, 2),
                auto_delete: bit(bits, 3),
                nowait: bit(bits, 4),
                arguments: r.table()?,
            })
        }
        20 => Method::QueueBind(bind(r, true)?),
        30 => Method::QueuePurge { queue: r.shortstr()?, nowait: bit(r.byte()?, 0) },
        40 => {
            let (queue, bits) = (r.shortstr()?, r.byte()?);
            Method::QueueDelete {
                queue,
                if_unused: bit(bits, 0),
                if_empty: bit(bits, 1),
                nowait: bit(bits, 2),
            }
        }
        _ => Method::QueueUnbind(bind(r, false)?),
    })
}

fn basic<'a>(method: u16, r: &mut Reader<'a>) -> Result<Method<'a>, Malformed> {
    Ok(match method {
        10 => Method::BasicQos { size: r.long()?, count: r.short()?, global: bit(r.byte()?, 0) },
        20 => {
            r.short()?;
            let (queue, tag, bits) = (r.shortstr()?, r.shortstr()?, r.byte()?);
            Method::BasicConsume(Consume {
                queue,
                tag,
                no_ack: bit(bits, 1),
                exclusive: bit(bits, 2),
                nowait: bit(bits, 3),
                arguments: r.table()?,
            })
        }
        30 => Method::BasicCancel { tag: r.shortstr()?, nowait: bit(r.byte()?, 0) },
        40 => {
            r.short()?;
            // For speed RabbitMQ does not look whether these are UTF-8.
            let (exchange, routing_key) = (r.shortstr_bytes()?, r.shortstr_bytes()?);
            let bits = r.byte()?;
            Method::BasicPublish {
                exchange: from_bytes(exchange),
                routing_key: from_bytes(routing_key),
                mandatory: bit(bits, 0),
                immediate: bit(bits, 1),
            }
        }
        70 => {
            r.short()?;
            Method::BasicGet { queue: r.shortstr()?, no_ack: bit(r.byte()?, 0) }
        }
        80 => Method::BasicAck { tag: r.longlong()?, multiple: bit(r.byte()?, 0) },
        90 => Method::BasicReject { tag: r.longlong()?, requeue: bit(r.byte()?, 0) },
        100 => Method::BasicRecoverAsync { requeue: bit(r.byte()?, 0) },
        110 => Method::BasicRecover { requeue: bit(r.byte()?, 0) },
        120 => {
            let (tag, bits) = (r.longlong()?, r.byte()?);
            Method::BasicNack { tag, multiple: bit(bits, 0), requeue: bit(bits, 1) }
        }
        _ => Method::Servers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: (u16, u16), fields: &[u8], expect: Result<Method<'_>, Malformed>) {
        assert_eq!(read(MethodId::of(id.0, id.1), fields), expect);
    }

    #[test]
    fn methods_read() {
        let ack = [0, 0, 0, 0, 0, 0, 0, 7, 1];
        check((60, 80), &ack, Ok(Method::BasicAck { tag: 7, multiple: true }));
        check((90, 20), &[], Ok(Method::TxCommit));
        check((20, 11), &[1, 2, 3], Ok(Method::Servers));
    }

    #[test]
    fn too_little_and_too_much_are_malformed() {
        check((60, 80), &[0, 0], Err(Malformed::Shape));
        check((90, 20), &[0], Err(Malformed::Shape));
        check((50, 30), &[0, 0, 2, 0xFF, 0xFE, 0], Err(Malformed::Utf8));
    }
}
