//! Takes `connection.blocked` and `connection.unblocked` out of the incoming bytes.
//!
//! They tell publishers to pause. lapin then stops writing altogether, acknowledgements and
//! heartbeats included (io_loop.rs, `can_write`), so the broker would take a blocked consumer for
//! dead. A consumer has nothing to pause. Sans-IO: bytes in, bytes out; everything else is forwarded
//! untouched, malformed or not.

/// A notice taken out of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The broker pauses publishers, for this reason.
    Blocked(String),
    /// The pause is over.
    Unblocked,
}

/// Type, channel, size, class, method: what it takes to recognise a notice.
const HEAD: usize = 11;
/// A reason is a short string: no notice is longer than this.
const LONGEST: usize = HEAD + 1 + 255 + 1;

/// Filters one connection's incoming bytes.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    /// The start of a frame that may be a notice.
    held: Vec<u8>,
    /// Bytes of the current frame still to be forwarded.
    rest: usize,
}

impl Filter {
    /// Forward what is no notice to `out`; return the notices.
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
            self.held.push(bytes[0]);
            bytes = &bytes[1..];
            if let Some(notice) = self.judge(out) {
                notices.push(notice);
            }
        }
        notices
    }

    /// What is held when the stream ends.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
    }

    fn judge(&mut self, out: &mut Vec<u8>) -> Option<Notice> {
        let held = &self.held;
        if held.len() < 7 {
            return None;
        }
        let size = u32::from_be_bytes([held[3], held[4], held[5], held[6]]) as usize;
        let whole = size.saturating_add(8);
        let candidate = held[..3] == [1, 0, 0] && (HEAD + 1..=LONGEST).contains(&whole);
        if candidate && held.len() < HEAD {
            return None;
        }
        let class_and_method = if candidate { &held[7..HEAD] } else { &[] };
        let blocked = match class_and_method {
            [0, 10, 0, 60] => true,
            [0, 10, 0, 61] => false,
            _ => {
                self.rest = whole - held.len();
                out.append(&mut self.held);
                return None;
            }
        };
        if held.len() < whole {
            return None;
        }
        // The reason: a length byte, the text, the frame end.
        let reason = held.get(HEAD + 1..whole - 1).unwrap_or_default();
        let reason = String::from_utf8_lossy(reason).into_owned();
        self.held.clear();
        Some(if blocked { Notice::Blocked(reason) } else { Notice::Unblocked })
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
            let (mut filter, mut out, mut notices) = (Filter::default(), Vec::new(), Vec::new());
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
        let (mut filter, mut out) = (Filter::default(), Vec::new());
        filter.push(&all[..5], &mut out);
        filter.flush(&mut out);
        assert_eq!(out, all[..5]);
    }

    #[test]
    fn nonsense_passes() {
        let nonsense = [b"AMQP\x00\x00\x09\x01".as_slice(), &[0xff; 40]].concat();
        let (mut filter, mut out) = (Filter::default(), Vec::new());
        assert!(filter.push(&nonsense, &mut out).is_empty());
        filter.flush(&mut out);
        assert_eq!(out, nonsense);
    }
}
