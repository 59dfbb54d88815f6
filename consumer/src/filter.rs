//! What stands between the socket and lapin: frame by frame, it takes out or makes readable what lapin cannot bear.
//!
//! - `connection.blocked` and `connection.unblocked` are taken out (`blocked.rs`).
//! - Strings and headers that lapin's parser refuses are made readable (`readable.rs`), and told with their delivery.
//!
//! Sans-IO: bytes in, bytes out. Methods that may hold such words and content headers wait until they are whole;
//! everything else, bodies above all, is forwarded as it comes, malformed or not.

use std::collections::HashMap;

use crate::{
    blocked,
    readable::{self, Fields, LONGEST_METHOD},
};

/// Something a stream of frames told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The broker pauses publishers, for this reason.
    Blocked(String),
    /// The pause is over.
    Unblocked,
    /// A delivery is not as it was published.
    Altered {
        /// The channel's number on the wire.
        channel: u16,
        /// Its delivery tag there.
        tag: u64,
        /// What is not.
        fields: Fields,
    },
}

const METHOD: u8 = 1;
const HEADER: u8 = 2;
/// Type, channel, size.
const HEAD: usize = 7;
const FRAME_END: u8 = 0xce;
/// The smallest frame size a peer may insist on.
const SMALLEST_FRAME_MAX: usize = 4096;
/// Headers have no bound but the publisher's frame; larger ones are left to lapin, which ends the connection.
const LONGEST_HEADER: usize = 16 * 1024 * 1024;
/// What a buffer keeps once it is empty.
const KEPT: usize = 64 * 1024;

/// Filters one connection's incoming bytes.
#[derive(Debug)]
pub(crate) struct Filter {
    /// The start of a frame that waits until it is whole.
    held: Vec<u8>,
    /// Bytes of the current frame still to be forwarded.
    rest: usize,
    /// The largest frame lapin takes.
    frame_max: usize,
    /// By channel: the delivery whose content header comes next.
    deliveries: HashMap<u16, (u64, Fields)>,
}

impl Filter {
    /// A filter for a connection that asks for frames of so many bytes.
    pub(crate) fn new(frame_max: u32) -> Self {
        let frame_max = usize::try_from(frame_max).unwrap_or(usize::MAX).max(SMALLEST_FRAME_MAX);
        Self { held: Vec::new(), rest: 0, frame_max, deliveries: HashMap::new() }
    }

    /// Forward to `out` what lapin is to read; return what there is to tell.
    pub(crate) fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Vec<Notice> {
        let mut notices = Vec::new();
        while !bytes.is_empty() {
            if self.rest > 0 {
                let (now, later) = bytes.split_at(self.rest.min(bytes.len()));
                out.extend_from_slice(now);
                self.rest -= now.len();
                bytes = later;
                continue;
            }
            let (now, later) = bytes.split_at(self.missing().min(bytes.len()));
            self.held.extend_from_slice(now);
            bytes = later;
            notices.extend(self.judge(out));
        }
        notices
    }

    /// What is held when the stream ends.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
    }

    fn size(&self) -> Option<usize> {
        let size = self.held.get(3..HEAD)?.try_into().ok().map(u32::from_be_bytes)?;
        usize::try_from(size).ok()
    }

    /// How many bytes it takes to go on: the head, or the frame.
    fn missing(&self) -> usize {
        let whole = self.size().map_or(HEAD, |size| size.saturating_add(HEAD + 1));
        whole - self.held.len()
    }

    fn judge(&mut self, out: &mut Vec<u8>) -> Option<Notice> {
        let size = self.size()?;
        let waits = match self.held[0] {
            METHOD => size <= LONGEST_METHOD,
            HEADER => size <= LONGEST_HEADER,
            _ => false,
        };
        if waits && self.missing() > 0 {
            return None;
        }
        self.rest = self.missing();
        let notice = if waits { self.whole() } else { None };
        out.append(&mut self.held);
        self.held.shrink_to(KEPT);
        notice
    }

    /// A whole frame: leave in `held` what is to be forwarded.
    fn whole(&mut self) -> Option<Notice> {
        if self.held.last() != Some(&FRAME_END) {
            return None;
        }
        let (kind, channel) = (self.held[0], u16::from_be_bytes([self.held[1], self.held[2]]));
        let mut payload = self.held[HEAD..self.held.len() - 1].to_vec();
        let notice = if kind == METHOD {
            if let Some(notice) = blocked::notice(channel, &payload) {
                self.held.clear();
                return Some(notice);
            }
            self.method(channel, &mut payload);
            None
        } else {
            self.header(channel, &mut payload)
        };
        self.held.truncate(3);
        self.held.extend(u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.held.append(&mut payload);
        self.held.push(FRAME_END);
        notice
    }

    fn method(&mut self, channel: u16, payload: &mut Vec<u8>) {
        if channel == 0 {
            self.tuned(payload);
        }
        let fields = readable::method(payload);
        // Class, method, consumer tag, then the delivery tag.
        let tag = payload.strip_prefix(&[0, 60, 0, 60]).and_then(|arguments| {
            let after = 1 + usize::from(*arguments.first()?);
            arguments.get(after..after + 8)?.try_into().ok().map(u64::from_be_bytes)
        });
        if let Some(tag) = tag {
            self.deliveries.insert(channel, (tag, fields));
        }
    }

    fn header(&mut self, channel: u16, payload: &mut Vec<u8>) -> Option<Notice> {
        // A frame is eight bytes longer than its payload.
        let more = readable::header(payload, self.frame_max - HEAD - 1);
        let (tag, mut fields) = self.deliveries.remove(&channel)?;
        fields.extend(more);
        (!fields.is_empty()).then_some(Notice::Altered { channel, tag, fields })
    }

    /// The broker's connection.tune: its frame size, if it is the smaller one, is what lapin takes.
    fn tuned(&mut self, payload: &[u8]) {
        if let &[0, 10, 0, 30, _, _, a, b, c, d, ..] = payload
            && let Ok(offered @ 1..) = usize::try_from(u32::from_be_bytes([a, b, c, d]))
        {
            self.frame_max = self.frame_max.min(offered).max(SMALLEST_FRAME_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
        let size = u32::try_from(payload.len()).expect("small");
        let mut frame = vec![kind];
        frame.extend(channel.to_be_bytes());
        frame.extend(size.to_be_bytes());
        frame.extend(payload);
        frame.push(0xce);
        frame
    }

    fn stream() -> (Vec<u8>, Vec<u8>) {
        let deliver = frame(1, 1, &[0, 60, 0, 60, 1, 2, 3, 4, 5]);
        let close = frame(1, 0, &[0, 10, 0, 50, 0, 0]);
        let body = frame(3, 1, &[1, 0, 0, 0, 0, 0, 0, 10, 0, 60]);
        let blocked = frame(1, 0, &[0, 10, 0, 60, 3, b'm', b'e', b'm']);
        let unblocked = frame(1, 0, &[0, 10, 0, 61]);
        let beat = frame(8, 0, &[]);
        let all = [&deliver, &blocked, &beat, &body, &unblocked, &close, &beat];
        let kept = [&deliver, &beat, &body, &close, &beat];
        (all.map(Vec::clone).concat(), kept.map(Vec::clone).concat())
    }

    #[test]
    fn notices_go_and_everything_else_stays_however_it_is_cut() {
        let (all, kept) = stream();
        for size in 1..=all.len() {
            let (mut filter, mut out, mut notices) =
                (Filter::new(32 * 1024), Vec::new(), Vec::new());
            for chunk in all.chunks(size) {
                notices.extend(filter.push(chunk, &mut out));
            }
            filter.flush(&mut out);
            assert_eq!(out, kept, "in chunks of {size}");
            assert_eq!(notices, [Notice::Blocked("mem".to_owned()), Notice::Unblocked]);
        }
    }

    #[test]
    fn a_partial_frame_at_the_end_is_not_lost() {
        let (all, _) = stream();
        let (mut filter, mut out) = (Filter::new(32 * 1024), Vec::new());
        filter.push(&all[..5], &mut out);
        filter.flush(&mut out);
        assert_eq!(out, all[..5]);
    }

    #[test]
    fn nonsense_passes() {
        let nonsense = [b"AMQP\x00\x00\x09\x01".as_slice(), &[0xff; 40]].concat();
        let (mut filter, mut out) = (Filter::new(32 * 1024), Vec::new());
        assert!(filter.push(&nonsense, &mut out).is_empty());
        filter.flush(&mut out);
        assert_eq!(out, nonsense);
    }

    /// basic.deliver with this delivery tag and routing key, and its content header with these properties.
    fn delivery(channel: u16, tag: u64, key: &[u8], flags: u16, properties: &[u8]) -> Vec<u8> {
        let short = |text: &[u8]| [&[u8::try_from(text.len()).expect("short")], text].concat();
        let deliver = [
            &[0, 60, 0, 60][..],
            &short(b"ctag"),
            &tag.to_be_bytes(),
            &[0],
            &short(b""),
            &short(key),
        ];
        let header = [&[0, 60, 0, 0][..], &5_u64.to_be_bytes(), &flags.to_be_bytes(), properties];
        [frame(METHOD, channel, &deliver.concat()), frame(HEADER, channel, &header.concat())]
            .concat()
    }

    #[test]
    fn an_altered_delivery_is_told_with_its_channel_and_tag_however_it_is_cut() {
        // Bit 7 is message_id.
        let bad = delivery(3, 7, b"k\xff", 1 << 7, b"\x02m\xfe");
        let good = delivery(3, 8, b"key", 1 << 7, b"\x02m8");
        let stream = [bad, good.clone()].concat();
        let fields = vec!["routing_key", "message_id"];
        for size in 1..=stream.len() {
            let (mut filter, mut out, mut notices) = (Filter::new(4096), Vec::new(), Vec::new());
            for chunk in stream.chunks(size) {
                notices.extend(filter.push(chunk, &mut out));
            }
            let told = Notice::Altered { channel: 3, tag: 7, fields: fields.clone() };
            assert_eq!(notices, [told], "in chunks of {size}");
            let expect = [delivery(3, 7, b"k?", 1 << 7, b"\x02m?"), good.clone()].concat();
            assert_eq!(out, expect, "in chunks of {size}");
        }
    }

    /// Headers of one byte array of so many bytes, and the message id `m`.
    fn large(bytes: usize) -> Vec<u8> {
        let array =
            [&b"\x01hx"[..], &u32::try_from(bytes).expect("small").to_be_bytes(), &vec![0; bytes]];
        let array = array.concat();
        let length = u32::try_from(array.len()).expect("small").to_be_bytes();
        let properties = [&length[..], &array, b"\x01m"].concat();
        delivery(1, 1, b"k", 1 << 13 | 1 << 7, &properties)
    }

    /// What comes out of it behind a connection.tune that offers this frame size.
    fn tuned(ours: u32, offered: u32, stream: &[u8]) -> (Vec<u8>, Vec<Notice>) {
        let (mut filter, mut out) = (Filter::new(ours), Vec::new());
        let tune = [&[0, 10, 0, 30, 0, 9][..], &offered.to_be_bytes(), &[0, 9]].concat();
        assert!(filter.push(&frame(METHOD, 0, &tune), &mut out).is_empty());
        out.clear();
        let notices = filter.push(stream, &mut out);
        (out, notices)
    }

    #[test]
    fn headers_larger_than_a_frame_are_left_out() {
        let without = delivery(1, 1, b"k", 1 << 7, b"\x01m");
        let told = Notice::Altered { channel: 1, tag: 1, fields: vec!["headers"] };
        // 31 bytes beside the array fill the frame: the frame's own 8, 14 of the header, 7 of the entry, 2 of the id.
        let besides = 8 + 14 + 4 + 7 + 2;
        for (ours, offered, limit) in [(8192, 0, 8192), (8192, 131_072, 8192), (32_768, 8192, 8192)]
        {
            let (out, notices) = tuned(ours, offered, &large(limit - besides));
            assert_eq!((out, notices), (large(limit - besides), Vec::new()), "{ours} {offered}");
            let (out, notices) = tuned(ours, offered, &large(limit - besides + 1));
            assert_eq!((out, notices), (without.clone(), vec![told.clone()]), "{ours} {offered}");
        }
        let (out, _) = tuned(8192, 0, &large(1024 * 1024));
        assert_eq!(out, without);
    }

    #[test]
    fn a_size_that_is_only_claimed_takes_no_memory() {
        let mut filter = Filter::new(8192);
        let mut out = Vec::new();
        for kind in [METHOD, HEADER, 3, 8] {
            for size in [LONGEST_HEADER, LONGEST_HEADER + 1, u32::MAX as usize] {
                filter = Filter::new(8192);
                let size = u32::try_from(size).expect("a frame's");
                filter.push(
                    &[&[kind, 0, 1][..], &size.to_be_bytes(), &[0, 60, 0, 60]].concat(),
                    &mut out,
                );
                assert!(filter.held.capacity() < 100, "{}", filter.held.capacity());
            }
        }
        filter.flush(&mut out);
        assert!(out.len() < 200);
    }

    #[test]
    fn a_buffer_that_was_large_once_is_given_back() {
        let (mut filter, mut out) = (Filter::new(8192), Vec::new());
        filter.push(&large(1024 * 1024), &mut out);
        assert!(filter.held.capacity() <= KEPT);
    }
}
