//! Reads the arguments that matter out of a payload. Total: whatever the bytes, it returns.
//!
//! Field layouts: AMQP 0-9-1, section 4.2 (wire format) and the method reference. Bits that follow
//! each other share a byte, lowest first.

use super::{Args, FrameName};

/// A reader that runs out instead of panicking.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A byte of bits, as a question: is bit `n` set?
    fn bits(&mut self) -> Option<impl Fn(u8) -> bool + use<>> {
        let byte = self.u8()?;
        Some(move |n: u8| byte & (1 << n) != 0)
    }

    /// A short string; bytes that are not UTF-8 are replaced, for a trace is for reading.
    fn short(&mut self) -> Option<String> {
        let length = usize::from(self.u8()?);
        Some(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    fn table(&mut self) -> Option<Reader<'a>> {
        let length = usize::try_from(self.u32()?).ok()?;
        self.take(length).map(Reader)
    }
}

/// A method frame's payload: its name and arguments.
pub(super) fn method(payload: &[u8]) -> (FrameName, Args) {
    let mut reader = Reader(payload);
    let (Some(class), Some(method)) = (reader.u16(), reader.u16()) else {
        return (FrameName::method(0, 0), Args::Malformed);
    };
    (FrameName::method(class, method), args(class, method, reader).unwrap_or(Args::Malformed))
}

fn args(class: u16, method: u16, mut r: Reader<'_>) -> Option<Args> {
    match (class, method) {
        (10, method) => connection(method, r),
        (20, 20 | 21) => Some(Args::Flow { active: r.bits()?(0) }),
        (20, 40) => close(r),
        (50, method) => queue(method, r),
        (60, method) => basic(method, r),
        _ => Some(Args::None),
    }
}

fn connection(method: u16, mut r: Reader<'_>) -> Option<Args> {
    Some(match method {
        11 => {
            let properties = r.table()?;
            let authentication_failure_close =
                capability(properties, b"authentication_failure_close");
            Args::StartOk { mechanism: r.short()?, authentication_failure_close }
        }
        30 => Args::Tune { channel_max: r.u16()?, frame_max: r.u32()?, heartbeat: r.u16()? },
        31 => Args::TuneOk { channel_max: r.u16()?, frame_max: r.u32()?, heartbeat: r.u16()? },
        40 => Args::Open { vhost: r.short()? },
        50 => close(r)?,
        60 => Args::Blocked { reason: r.short()? },
        _ => Args::None,
    })
}

fn close(mut r: Reader<'_>) -> Option<Args> {
    Some(Args::Close { code: r.u16()?, text: r.short()?, class: r.u16()?, method: r.u16()? })
}

/// Whether `name` stands as a true boolean in the table, at any depth. Field values are not walked:
/// a field is its name's length, its name, its type and its value, and that is looked for.
fn capability(table: Reader<'_>, name: &[u8]) -> bool {
    let mut field = vec![u8::try_from(name.len()).unwrap_or(u8::MAX)];
    field.extend_from_slice(name);
    field.extend_from_slice(&[b't', 1]);
    table.0.windows(field.len()).any(|window| window == field)
}

fn queue(method: u16, mut r: Reader<'_>) -> Option<Args> {
    Some(match method {
        10 => {
            r.u16()?;
            let queue = r.short()?;
            let bit = r.bits()?;
            Args::Declare { queue, passive: bit(0), durable: bit(1), exclusive: bit(2) }
        }
        11 => Args::DeclareOk { queue: r.short()?, messages: r.u32()?, consumers: r.u32()? },
        20 => {
            r.u16()?;
            Args::Bind { queue: r.short()?, exchange: r.short()?, routing_key: r.short()? }
        }
        _ => Args::None,
    })
}

fn basic(method: u16, mut r: Reader<'_>) -> Option<Args> {
    Some(match method {
        10 => {
            r.u32()?;
            Args::Qos { prefetch_count: r.u16()?, global: r.bits()?(0) }
        }
        20 => {
            r.u16()?;
            let (queue, consumer_tag, bit) = (r.short()?, r.short()?, r.bits()?);
            Args::Consume { queue, consumer_tag, no_ack: bit(1), exclusive: bit(2) }
        }
        21 => Args::ConsumeOk { consumer_tag: r.short()? },
        30 => Args::Cancel { consumer_tag: r.short()? },
        31 => Args::CancelOk { consumer_tag: r.short()? },
        40 => {
            r.u16()?;
            Args::Publish { exchange: r.short()?, routing_key: r.short()?, mandatory: r.bits()?(0) }
        }
        50 => Args::Return {
            code: r.u16()?,
            text: r.short()?,
            exchange: r.short()?,
            routing_key: r.short()?,
        },
        60 => Args::Deliver {
            consumer_tag: r.short()?,
            delivery_tag: r.u64()?,
            redelivered: r.bits()?(0),
            exchange: r.short()?,
            routing_key: r.short()?,
        },
        70 => {
            r.u16()?;
            Args::Get { queue: r.short()?, no_ack: r.bits()?(0) }
        }
        71 => Args::GetOk {
            delivery_tag: r.u64()?,
            redelivered: r.bits()?(0),
            exchange: r.short()?,
            routing_key: r.short()?,
            messages: r.u32()?,
        },
        80 => Args::Ack { delivery_tag: r.u64()?, multiple: r.bits()?(0) },
        90 => Args::Reject { delivery_tag: r.u64()?, requeue: r.bits()?(0) },
        100 | 110 => Args::Recover { requeue: r.bits()?(0) },
        120 => {
            let (delivery_tag, bit) = (r.u64()?, r.bits()?);
            Args::Nack { delivery_tag, multiple: bit(0), requeue: bit(1) }
        }
        _ => Args::None,
    })
}

/// A content header's payload.
pub(super) fn header(payload: &[u8]) -> Args {
    properties(Reader(payload)).unwrap_or(Args::Malformed)
}

/// Section 4.2.6.1: flags from the highest bit down, one for each property in the order of the
/// reference; the lowest bit says that more flags follow, which class basic never needs.
fn properties(mut r: Reader<'_>) -> Option<Args> {
    let (_class, _weight, body_size, flags) = (r.u16()?, r.u16()?, r.u64()?, r.u16()?);
    let has = |bit: u16| flags & (1 << bit) != 0;
    for text in [15, 14] {
        if has(text) {
            r.short()?; // content-type, content-encoding
        }
    }
    if has(13) {
        r.table()?; // headers
    }
    let delivery_mode = if has(12) { Some(r.u8()?) } else { None };
    if has(11) {
        r.u8()?; // priority
    }
    for text in [10, 9, 8] {
        if has(text) {
            r.short()?; // correlation-id, reply-to, expiration
        }
    }
    let message_id = if has(7) { Some(r.short()?) } else { None };
    Some(Args::Header { body_size, message_id, delivery_mode })
}
