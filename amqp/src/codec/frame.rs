//! Splitting bytes into frames, with what RabbitMQ says when it cannot.

use std::fmt::Write as _;

use super::error::{AmqpError, Code};

/// Type, channel and size.
pub const HEADER: usize = 7;
/// What a frame costs beyond its payload: the header and the end byte.
pub const OVERHEAD: usize = HEADER + 1;
/// The last byte of every frame.
pub const END: u8 = 0xCE;
/// A heartbeat, whole.
pub const HEARTBEAT: [u8; OVERHEAD] = [8, 0, 0, 0, 0, 0, 0, END];
/// Before `tune-ok`, and the least that may be negotiated.
pub const FRAME_MIN: u32 = 4096;

/// The type byte of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 1.
    Method,
    /// 2.
    Header,
    /// 3.
    Body,
    /// 8.
    Heartbeat,
    /// Any other.
    Unknown(u8),
}

impl Kind {
    /// The byte on the wire.
    pub const fn byte(self) -> u8 {
        match self {
            Kind::Method => 1,
            Kind::Header => 2,
            Kind::Body => 3,
            Kind::Heartbeat => 8,
            Kind::Unknown(byte) => byte,
        }
    }

    const fn of(byte: u8) -> Kind {
        match byte {
            1 => Kind::Method,
            2 => Kind::Header,
            3 => Kind::Body,
            8 => Kind::Heartbeat,
            other => Kind::Unknown(other),
        }
    }
}

/// What the front of a buffer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Split {
    /// Not yet a frame; this many bytes make the next decision possible.
    Need(usize),
    /// A frame with this much payload.
    Frame {
        /// Its type.
        kind: Kind,
        /// Its channel.
        channel: u16,
        /// The bytes of its payload; the whole is [`OVERHEAD`] longer.
        payload: usize,
    },
    /// The stream is out of step: nothing after it can be trusted.
    Lost(AmqpError),
}

/// Looks at the front of `bytes`. `frame_max` 0 means no limit was agreed.
pub fn split(bytes: &[u8], frame_max: u32) -> Split {
    let Some(header) = bytes.first_chunk::<HEADER>() else { return Split::Need(HEADER) };
    let kind = Kind::of(header[0]);
    let channel = u16::from_be_bytes([header[1], header[2]]);
    let size = u32::from_be_bytes([header[3], header[4], header[5], header[6]]);
    // RabbitMQ allows a frame to be too large by one empty frame: many clients miscount.
    if frame_max != 0 && size > frame_max {
        let most = frame_max.saturating_sub(OVERHEAD as u32);
        let reason = format!("{{frame_too_large,{size},{most}}}");
        return Split::Lost(frame_error(kind, &[], &reason));
    }
    let payload = size as usize;
    match bytes.get(HEADER + payload) {
        None => Split::Need(payload.saturating_add(OVERHEAD)),
        Some(&END) => Split::Frame { kind, channel, payload },
        Some(&other) => {
            let reason = format!("{{invalid_frame_end_marker,{other}}}");
            Split::Lost(frame_error(kind, &bytes[HEADER..HEADER + payload], &reason))
        }
    }
}

/// 501, with the first bytes of the payload.
pub fn frame_error(kind: Kind, payload: &[u8], reason: &str) -> AmqpError {
    AmqpError::new(Code::FrameError, format!("{}: {reason}", snippet(kind, payload)))
}

/// 505, with the first bytes of the payload.
pub fn unexpected(kind: Kind, payload: &[u8]) -> AmqpError {
    AmqpError::new(Code::UnexpectedFrame, snippet(kind, payload))
}

fn snippet(kind: Kind, payload: &[u8]) -> String {
    let (which, shown) =
        if payload.len() <= 16 { ("all", payload) } else { ("first 16", &payload[..16]) };
    let shown = super::erlang::pretty(shown);
    // RabbitMQ's words.
    format!("type {}, {which} octets = {shown}", kind.byte())
}

/// Bytes as Erlang writes a binary: `<<0,20,0,10>>`.
pub fn binary(bytes: &[u8]) -> String {
    let mut text = String::from("<<");
    for (at, byte) in bytes.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}{byte}");
    }
    text.push_str(">>");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expect: Split) {
        assert_eq!(split(bytes, 131_072), expect);
    }

    fn lost(text: &str) -> Split {
        Split::Lost(AmqpError::new(Code::FrameError, text))
    }

    #[test]
    fn frames_split() {
        check(&[], Split::Need(7));
        check(&[8, 0, 0, 0, 0, 0], Split::Need(7));
        check(&[8, 0, 0, 0, 0, 0, 0], Split::Need(8));
        check(&HEARTBEAT, Split::Frame { kind: Kind::Heartbeat, channel: 0, payload: 0 });
        check(
            &[7, 0, 3, 0, 0, 0, 1, 9, END],
            Split::Frame { kind: Kind::Unknown(7), channel: 3, payload: 1 },
        );
    }

    #[test]
    fn a_bad_end_is_said_as_rabbitmq_says_it() {
        check(
            &[1, 0, 1, 0, 0, 0, 5, 0, 20, 0, 10, 0, 0],
            lost("type 1, all octets = <<0,20,0,10,0>>: {invalid_frame_end_marker,0}"),
        );
    }

    #[test]
    fn the_size_may_be_over_by_an_empty_frame() {
        check(&[1, 0, 1, 0, 2, 0, 0], Split::Need(131_072 + OVERHEAD));
        check(
            &[1, 0, 1, 0, 2, 0, 1],
            lost("type 1, all octets = <<>>: {frame_too_large,131073,131064}"),
        );
    }
}
