//! Frames from bytes, however they were cut up on the way.

use serde::{Deserialize, Serialize};

use super::{
    Args, Frame, FrameName,
    boundary::{Boundary, Head, Part},
    decode, name,
};

/// Bytes of a method's or content header's payload that are kept to be decoded. Arguments beyond
/// it are [`Args::Unread`]: a table that large is nobody's ordinary business.
pub const KEPT: usize = 16 * 1024;

/// What a scanner finds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// A frame whose last byte passed.
    Frame(Frame),
    /// Bytes that belong to no frame. Once a stream is garbage it stays so; each piece fed to the
    /// scanner is reported with its own count.
    Garbage {
        /// How many.
        bytes: u64,
        /// Why they are no frame.
        why: String,
    },
}

/// An incremental scanner of one direction of an AMQP connection. It keeps at most [`KEPT`] bytes.
#[derive(Debug, Default)]
pub struct Scanner {
    boundary: Boundary,
    head: Option<Head>,
    kept: Vec<u8>,
}

impl Scanner {
    /// A scanner at the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads on, and calls `found` for each frame completed and each run of garbage.
    #[inline]
    pub fn feed(&mut self, bytes: &[u8], mut found: impl FnMut(Item)) {
        let Self { boundary, head, kept } = self;
        boundary.feed(bytes, |part| match part {
            Part::Whole(head, payload) => {
                let kept = &payload[..payload.len().min(KEPT)];
                found(Item::Frame(frame(Some(head), kept)));
            }
            Part::Begin(begun) => {
                *head = Some(begun);
                kept.clear();
            }
            Part::Payload(payload) if wanted(*head) => {
                kept.extend_from_slice(&payload[..payload.len().min(KEPT - kept.len())]);
            }
            Part::Payload(_) => {}
            Part::End => found(Item::Frame(frame(head.take(), kept))),
            Part::Garbage(bytes, why) => found(Item::Garbage { bytes, why: why.to_owned() }),
        });
    }
}

/// Whether the payload is worth keeping: methods' and content headers' is.
fn wanted(head: Option<Head>) -> bool {
    matches!(head, Some(Head::Frame { kind: 1 | 2, .. }))
}

#[inline]
fn frame(head: Option<Head>, kept: &[u8]) -> Frame {
    // Most of what passes, and there is nothing in it to be read.
    if let Some(Head::Frame { kind: 3, channel, size }) = head {
        return Frame { channel, name: FrameName::known(name::BODY), size, args: Args::None };
    }
    told(head, kept)
}

fn told(head: Option<Head>, kept: &[u8]) -> Frame {
    let Some(Head::Frame { kind, channel, size }) = head else {
        return Frame {
            channel: 0,
            name: FrameName::known(name::PROTOCOL_HEADER),
            size: 8,
            args: Args::None,
        };
    };
    let (name, args) = match kind {
        1 => decode::method(kept),
        2 => (FrameName::known(name::HEADER), decode::header(kept)),
        _ => (FrameName::known(name::HEARTBEAT), Args::None),
    };
    let cut = matches!(args, Args::Malformed) && size as usize > KEPT;
    Frame { channel, name, size, args: if cut { Args::Unread } else { args } }
}

/// What a frame is, told from its first bytes (11 at most): its name and its bytes in all.
pub fn identify(first: &[u8]) -> Result<Option<(FrameName, u16, u64)>, &'static str> {
    let Some(head) = Head::read(first)? else { return Ok(None) };
    let (name, channel) = match head {
        Head::Protocol => (FrameName::known(name::PROTOCOL_HEADER), 0),
        Head::Frame { kind: 1, channel, size } => match first.get(7..11) {
            _ if size < 4 => return Err("a method frame too short for a method"),
            Some([c0, c1, m0, m1]) => {
                let ids = (u16::from_be_bytes([*c0, *c1]), u16::from_be_bytes([*m0, *m1]));
                (FrameName::method(ids.0, ids.1), channel)
            }
            _ => return Ok(None),
        },
        Head::Frame { kind: 2, channel, .. } => (FrameName::known(name::HEADER), channel),
        Head::Frame { kind: 3, channel, .. } => (FrameName::known(name::BODY), channel),
        Head::Frame { channel, .. } => (FrameName::known(name::HEARTBEAT), channel),
    };
    Ok(Some((name, channel, head.total())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Frame>, u64) {
        let (mut scanner, mut frames, mut garbage) = (Scanner::new(), Vec::new(), 0);
        for piece in pieces {
            scanner.feed(piece, |item| match item {
                Item::Frame(frame) => frames.push(frame),
                Item::Garbage { bytes, .. } => garbage += bytes,
            });
            assert!(scanner.kept.len() <= KEPT);
        }
        (frames, garbage)
    }

    fn raw(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
        let mut raw = vec![kind];
        raw.extend_from_slice(&channel.to_be_bytes());
        raw.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        raw.extend_from_slice(payload);
        raw.push(0xCE);
        raw
    }

    fn line(kind: u8, payload: &[u8]) -> String {
        scan([raw(kind, 1, payload).as_slice()]).0[0].to_string()
    }

    #[test]
    fn traces_read_like_this() {
        let deliver = b"\0\x3c\0\x3c\x01w\0\0\0\0\0\0\0\x11\x01\0\x04jobs";
        assert_eq!(
            line(1, deliver),
            r#"ch1 basic.deliver tag=17 redelivered ctag="w" exchange="" key="jobs""#
        );
        assert_eq!(
            line(1, b"\0\x3c\0\x78\0\0\0\0\0\0\0\x05\x03"),
            "ch1 basic.nack tag=5 multiple requeue"
        );
        assert_eq!(
            line(1, b"\0\x0a\0\x32\x01\x40\x02hi\0\0\0\0"),
            r#"ch1 connection.close code=320 text="hi" class=0 method=0"#
        );
        assert_eq!(line(1, b"\0\x3c\0\x50\0"), "ch1 basic.ack (malformed)");
        assert_eq!(line(1, b"\0\x3c\0\x63"), "ch1 class60.method99");
        assert_eq!(line(3, b"abc"), "ch1 body size=3");
        let header = b"\0\x3c\0\0\0\0\0\0\0\0\0\x03\x30\x80\0\0\0\x02ab\x02\x04m-17";
        assert_eq!(line(2, header), r#"ch1 header body=3 id="m-17" mode=2"#);
        let start_ok = b"\0\x0a\0\x0b\0\0\0\x1f\x1cauthentication_failure_closet\x01\x05PLAIN\0\0\0\x08\0me\0secret";
        let shown = line(1, start_ok);
        assert_eq!(
            shown,
            r#"ch1 connection.start-ok mechanism="PLAIN" authentication_failure_close"#
        );
    }

    #[test]
    fn arguments_beyond_what_is_kept_are_unread_and_an_oversized_body_is_not_kept() {
        let mut open = vec![0, 10, 0, 11];
        open.extend_from_slice(&(KEPT as u32).to_be_bytes());
        open.resize(KEPT + 100, 0);
        assert_eq!(scan([raw(1, 0, &open).as_slice()]).0[0].args, Args::Unread);
        let mut scanner = Scanner::new();
        scanner.feed(&[3, 0, 1, 0xff, 0xff, 0xff, 0xff], |_| panic!("no frame yet"));
        for _ in 0..64 {
            scanner.feed(&[0; 1 << 16], |_| panic!("no frame yet"));
        }
        assert!(scanner.kept.is_empty());
    }

    fn frames() -> impl Strategy<Value = Vec<u8>> {
        let payload = prop::collection::vec(any::<u8>(), 0..200);
        let known = (prop::sample::select(vec![10_u16, 20, 50, 60]), 0_u16..130, payload.clone())
            .prop_map(|(class, method, rest)| {
                [&class.to_be_bytes()[..], &method.to_be_bytes(), &rest].concat()
            });
        let frame = prop_oneof![
            (Just(1_u8), known),
            (Just(2_u8), payload.clone()),
            (Just(3_u8), payload.clone()),
            (Just(8_u8), Just(vec![])),
        ];
        prop::collection::vec((frame, any::<u16>()), 1..12).prop_map(|frames| {
            frames.into_iter().flat_map(|((kind, payload), ch)| raw(kind, ch, &payload)).collect()
        })
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_frames(
            stream in frames(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
            header in any::<bool>(),
            tail in prop::collection::vec(any::<u8>(), 0..30),
        ) {
            let opening: &[u8] = if header { b"AMQP\0\0\x09\x01" } else { b"" };
            let stream = [opening, &stream, &tail].concat();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let whole = scan([stream.as_slice()]);
            prop_assert_eq!(&whole, &scan(cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]])));
            prop_assert_eq!(&whole, &scan(stream.chunks(1)));
            let text = serde_json::to_string(&whole.0).expect("frames are plain data");
            prop_assert_eq!(serde_json::from_str::<Vec<Frame>>(&text).expect("its own"), whole.0);
        }

        #[test]
        fn garbage_is_counted_and_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let (frames, garbage) = scan(bytes.chunks(7));
            let framed: u64 = frames.iter().map(|frame| u64::from(frame.size)).sum();
            prop_assert!(framed + garbage <= bytes.len() as u64);
        }
    }
}
