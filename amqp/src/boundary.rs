//! Where frames begin and end: a position in a stream of frames, moved on by any split of it.
//!
//! It holds at most the bytes of one frame header, reads nothing of payloads, and once the stream
//! turns out not to be AMQP it says so for ever: there is no way back into step.

/// Bytes of a frame header: type, channel, size.
pub const HEADER: usize = 7;
/// The byte every frame ends with.
const END: u8 = 0xCE;
/// Bytes of a protocol header.
const PROTOCOL: usize = 8;

/// A frame's header, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// `AMQP` and four bytes of version.
    Protocol,
    /// Type (1 method, 2 header, 3 body, 8 heartbeat), channel, bytes of payload.
    Frame {
        /// Its type.
        kind: u8,
        /// Its channel.
        channel: u16,
        /// Bytes of payload.
        size: u32,
    },
}

impl Head {
    /// Reads the head of a frame from its first bytes: `Ok(None)` while there are too few.
    pub fn read(first: &[u8]) -> Result<Option<Self>, &'static str> {
        match first {
            [] => Ok(None),
            [b'A', ..] => {
                let magic = &first[..first.len().min(4)];
                if !b"AMQP".starts_with(magic) {
                    return Err("no frame type and no protocol header");
                }
                Ok((magic.len() == 4).then_some(Self::Protocol))
            }
            [kind @ (1 | 2 | 3 | 8), c0, c1, s0, s1, s2, s3, ..] => Ok(Some(Self::Frame {
                kind: *kind,
                channel: u16::from_be_bytes([*c0, *c1]),
                size: u32::from_be_bytes([*s0, *s1, *s2, *s3]),
            })),
            [1 | 2 | 3 | 8, ..] => Ok(None),
            _ => Err("no frame type and no protocol header"),
        }
    }

    /// Bytes of the whole frame, from its first to its end byte.
    pub fn total(self) -> u64 {
        match self {
            Self::Protocol => PROTOCOL as u64,
            Self::Frame { size, .. } => HEADER as u64 + u64::from(size) + 1,
        }
    }
}

/// What [`Boundary::feed`] reports, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// A frame that was there whole, and its payload; instead of the next three.
    Whole(Head, &'a [u8]),
    /// The head of a frame is complete.
    Begin(Head),
    /// Some of its payload, never empty (of a protocol header: the version).
    Payload(&'a [u8]),
    /// Its last byte passed.
    End,
    /// So many bytes that belong to no frame, and why.
    Garbage(u64, &'static str),
}

/// A position in a stream of frames.
#[derive(Debug, Default)]
pub struct Boundary {
    head: [u8; HEADER],
    /// Bytes of `head` in use.
    have: usize,
    /// The frame being passed, and what is left of it.
    inside: Option<(Head, u64)>,
    lost: Option<&'static str>,
}

impl Boundary {
    /// Whether the next byte begins a frame.
    pub fn at_start(&self) -> bool {
        self.have == 0 && self.inside.is_none() && self.lost.is_none()
    }

    /// Bytes left of the frame being passed; `None` between frames and within a header.
    pub fn left(&self) -> Option<u64> {
        self.inside.map(|(_, left)| left)
    }

    /// Whether the stream is known not to be AMQP.
    pub fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// Moves on by `bytes`.
    pub fn feed<'a>(&mut self, mut bytes: &'a [u8], mut report: impl FnMut(Part<'a>)) {
        while !bytes.is_empty() {
            if let Some(why) = self.lost {
                return report(Part::Garbage(bytes.len() as u64, why));
            }
            bytes = match self.inside {
                None if self.have == 0 => match whole(bytes) {
                    Some((head, payload, rest)) => {
                        report(Part::Whole(head, payload));
                        rest
                    }
                    None => self.begin(bytes, &mut report),
                },
                None => self.begin(bytes, &mut report),
                Some((head, left)) => self.pass(head, left, bytes, &mut report),
            };
        }
    }

    /// Takes a frame's head that is there whole, else one byte towards it.
    fn begin<'a>(&mut self, bytes: &'a [u8], report: &mut impl FnMut(Part<'a>)) -> &'a [u8] {
        if self.have == 0
            && let Ok(Some(head @ Head::Frame { .. })) = Head::read(bytes)
        {
            self.inside = Some((head, head.total() - HEADER as u64));
            report(Part::Begin(head));
            return &bytes[HEADER..];
        }
        self.head[self.have] = bytes[0];
        self.have += 1;
        match Head::read(&self.head[..self.have]) {
            Ok(None) => {}
            Ok(Some(head)) => {
                self.inside = Some((head, head.total() - self.have as u64));
                self.have = 0;
                report(Part::Begin(head));
            }
            Err(why) => {
                self.lost = Some(why);
                report(Part::Garbage(self.have as u64, why));
            }
        }
        &bytes[1..]
    }

    /// Takes what there is of the payload and the end byte of one frame.
    fn pass<'a>(
        &mut self,
        head: Head,
        left: u64,
        bytes: &'a [u8],
        report: &mut impl FnMut(Part<'a>),
    ) -> &'a [u8] {
        let closing = u64::from(head != Head::Protocol);
        let payload = usize::try_from(left - closing).unwrap_or(usize::MAX).min(bytes.len());
        let (payload, mut rest) = bytes.split_at(payload);
        let mut left = left - payload.len() as u64;
        if !payload.is_empty() {
            report(Part::Payload(payload));
        }
        if left == 1
            && closing == 1
            && let Some((end, after)) = rest.split_first()
        {
            if *end != END {
                self.lost = Some("a frame does not end with 0xCE");
                return rest;
            }
            (left, rest) = (0, after);
        }
        self.inside = (left > 0).then_some((head, left));
        if left == 0 {
            report(Part::End);
        }
        rest
    }
}

/// A frame that `bytes` begins with, if it is all there and all right: head, payload, and what follows.
#[inline]
fn whole(bytes: &[u8]) -> Option<(Head, &[u8], &[u8])> {
    let (&[kind @ (1 | 2 | 3 | 8), c0, c1, s0, s1, s2, s3], after) = bytes.split_first_chunk()?
    else {
        return None;
    };
    let size = u32::from_be_bytes([s0, s1, s2, s3]);
    let (payload, after) = after.split_at_checked(usize::try_from(size).ok()?)?;
    let (&END, rest) = after.split_first()? else { return None };
    let channel = u16::from_be_bytes([c0, c1]);
    Some((Head::Frame { kind, channel, size }, payload, rest))
}
