//! Makes a method or content header that lapin's parser refuses into one that it reads.
//!
//! AMQP's short strings are bytes; lapin's are UTF-8, and one byte that is not ends the connection. The broker
//! delivers the message again on the next connection, for ever. So bytes that are not UTF-8 become `?`; what cannot
//! be read inside a table becomes a byte array or is left out; and headers larger than a frame, which RabbitMQ sends
//! all the same, are left out. Sans-IO: one payload in, one payload out, with the names of what is not as it was.
//! Frames, channels and who is told are `filter.rs`.

/// Names of what is not as it was.
pub(crate) type Fields = Vec<&'static str>;

/// Tables and arrays inside each other. lapin's parser recurses, on a stack of 2 MiB.
const DEEPEST: usize = 32;
/// Class, weight and body size come before the property flags.
const FLAGS: usize = 12;

#[derive(Clone, Copy)]
enum Part {
    Short(&'static str),
    Table(&'static str),
    Skip(usize),
}

use Part::{Short, Skip, Table};

/// The properties of class basic, from flag bit 15 down.
const PROPERTIES: [(Part, usize); 14] = {
    let all = [
        Short("content_type"),
        Short("content_encoding"),
        Table("headers"),
        Skip(1),
        Skip(1),
        Short("correlation_id"),
        Short("reply_to"),
        Short("expiration"),
        Short("message_id"),
        Skip(8),
        Short("type"),
        Short("user_id"),
        Short("app_id"),
        Short("cluster_id"),
    ];
    let mut with_bits = [(Skip(0), 0); 14];
    let mut at = 0;
    while at < all.len() {
        with_bits[at] = (all[at], 15 - at);
        at += 1;
    }
    with_bits
};

/// What follows class and method in the methods a broker sends with words of others in them.
fn parts(class: u16, method: u16) -> &'static [Part] {
    match (class, method) {
        // basic.deliver, basic.get-ok, basic.return
        (60, 60) => &[Short("consumer_tag"), Skip(9), Short("exchange"), Short("routing_key")],
        (60, 71) => &[Skip(9), Short("exchange"), Short("routing_key"), Skip(4)],
        (60, 50) => &[Skip(2), Short("reply_text"), Short("exchange"), Short("routing_key")],
        // basic.consume-ok, basic.cancel, basic.cancel-ok
        (60, 21 | 30 | 31) => &[Short("consumer_tag")],
        // connection.close, channel.close
        (10, 50) | (20, 40) => &[Skip(2), Short("reply_text")],
        _ => &[],
    }
}

/// The longest of these methods: three short strings, and less than 40 bytes besides.
pub(crate) const LONGEST_METHOD: usize = 3 * 256 + 40;

/// Makes a method's payload readable. One that is not what it says it is stays as it was.
pub(crate) fn method(payload: &mut Vec<u8>) -> Fields {
    let &[c0, c1, m0, m1, ..] = payload.as_slice() else { return Vec::new() };
    let parts = parts(u16::from_be_bytes([c0, c1]), u16::from_be_bytes([m0, m1]));
    let mut walk = Walk { bytes: payload, at: 4, changed: false };
    let mut fields = Vec::new();
    for part in parts {
        if walk.part(*part, &mut fields).is_none() {
            break;
        }
    }
    fields
}

/// Makes a content header's payload readable, and no longer than `limit` if leaving out the headers does it.
pub(crate) fn header(payload: &mut Vec<u8>, limit: usize) -> Fields {
    let Some(&[high, low]) = payload.get(FLAGS..FLAGS + 2) else { return Vec::new() };
    let flags = u16::from_be_bytes([high, low]);
    let Some((mut fields, headers)) = properties(payload, flags) else {
        // Nothing in it can be trusted: a message without properties still has its body.
        payload.truncate(FLAGS);
        payload.extend([0, 0]);
        return vec!["properties"];
    };
    if payload.len() > limit && !headers.is_empty() {
        payload.drain(headers);
        let [high, low] = (flags & !(1 << HEADERS_BIT)).to_be_bytes();
        payload[FLAGS..FLAGS + 2].copy_from_slice(&[high, low]);
        if !fields.contains(&"headers") {
            fields.push("headers");
        }
    }
    fields
}

const HEADERS_BIT: u16 = 13;

/// Walks the properties; where the headers are. Nothing if they do not fill the payload exactly.
fn properties(payload: &mut Vec<u8>, flags: u16) -> Option<(Fields, std::ops::Range<usize>)> {
    // Bit 0 says that more flags follow, of which class basic has none.
    if flags & 1 != 0 {
        return None;
    }
    let mut walk = Walk { bytes: payload, at: FLAGS + 2, changed: false };
    let (mut fields, mut headers) = (Vec::new(), 0..0);
    for (part, bit) in PROPERTIES {
        if flags & (1 << bit) != 0 {
            let from = walk.at;
            walk.part(part, &mut fields)?;
            if let Table(_) = part {
                headers = from..walk.at;
            }
        }
    }
    (walk.at == walk.bytes.len()).then_some((fields, headers))
}

/// A walk through a payload. `None` is an end that comes too soon.
struct Walk<'a> {
    bytes: &'a mut Vec<u8>,
    at: usize,
    changed: bool,
}

impl Walk<'_> {
    fn part(&mut self, part: Part, fields: &mut Fields) -> Option<()> {
        let end = self.bytes.len();
        let name = match part {
            Skip(length) => {
                self.at = self.within(length, end)?;
                return Some(());
            }
            Short(name) => {
                self.short(end)?;
                name
            }
            Table(name) => {
                self.table()?;
                name
            }
        };
        if std::mem::take(&mut self.changed) {
            fields.push(name);
        }
        Some(())
    }

    fn within(&self, length: usize, end: usize) -> Option<usize> {
        self.at.checked_add(length).filter(|to| *to <= end)
    }

    fn short(&mut self, end: usize) -> Option<()> {
        let from = self.within(1, end)?;
        let length = usize::from(self.bytes[self.at]);
        self.at = from;
        let to = self.within(length, end)?;
        self.changed |= replace(&mut self.bytes[from..to]);
        self.at = to;
        Some(())
    }

    fn length(&self, end: usize) -> Option<usize> {
        let to = self.within(4, end)?;
        let length = self.bytes[self.at..to].try_into().ok().map(u32::from_be_bytes)?;
        usize::try_from(length).ok()
    }

    /// The headers. What cannot be read has no length that could be believed: it goes, with all that follows it.
    fn table(&mut self) -> Option<()> {
        let (start, end) = (self.at, self.bytes.len());
        let length = self.length(end)?;
        self.at = start + 4;
        let to = self.within(length, end)?;
        if let Err(entry) = self.content(true, to, 0) {
            self.bytes.drain(entry..to);
            let length = u32::try_from(entry - start - 4).ok()?;
            self.bytes[start..start + 4].copy_from_slice(&length.to_be_bytes());
            self.at = entry;
            self.changed = true;
        }
        Some(())
    }

    /// The content of a table (with keys) or an array; the error is where the entry begins that cannot be read.
    fn content(&mut self, keys: bool, end: usize, depth: usize) -> Result<(), usize> {
        while self.at < end {
            let entry = self.at;
            let key = if keys { self.short(end) } else { Some(()) };
            key.and_then(|()| self.value(end, depth)).ok_or(entry)?;
        }
        Ok(())
    }

    fn value(&mut self, end: usize, depth: usize) -> Option<()> {
        let tag = self.at;
        self.at = self.within(1, end)?;
        let kind = self.bytes[tag];
        let size = match kind {
            b'V' => 0,
            b't' | b'b' | b'B' => 1,
            b's' | b'U' | b'u' => 2,
            b'I' | b'i' | b'f' => 4,
            b'D' => 5,
            b'L' | b'l' | b'd' | b'T' => 8,
            b'S' | b'x' | b'A' | b'F' => self.length(end)?.checked_add(4)?,
            _ => return None,
        };
        let to = self.within(size, end)?;
        if let b'A' | b'F' = kind {
            self.at += 4;
            if depth >= DEEPEST || self.content(kind == b'F', to, depth + 1).is_err() {
                // A byte array has the same form, and any content.
                self.bytes[tag] = b'x';
                self.changed = true;
            }
        }
        self.at = to;
        Some(())
    }
}

/// Replaces what is not UTF-8, byte by byte; whether there was any.
fn replace(mut text: &mut [u8]) -> bool {
    let mut replaced = false;
    while let Err(error) = str::from_utf8(text) {
        let bad = &mut std::mem::take(&mut text)[error.valid_up_to()..];
        let (bad, rest) = bad.split_at_mut(error.error_len().unwrap_or(bad.len()));
        bad.fill(b'?');
        (text, replaced) = (rest, true);
    }
    replaced
}

#[cfg(test)]
mod tests {
    use amq_protocol::frame::{AMQPFrame, parsing::parse_frame};
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const HEADER: u8 = 2;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let size = u32::try_from(payload.len()).expect("small");
        [&[kind, 0, 1][..], &size.to_be_bytes(), payload, &[0xce]].concat()
    }

    /// lapin's parser, to the end.
    fn parse(kind: u8, payload: &[u8]) -> Result<AMQPFrame, String> {
        let frame = frame(kind, payload);
        match parse_frame(frame.as_slice()) {
            Ok(([], parsed)) => Ok(parsed),
            Ok((rest, _)) => Err(format!("{} bytes left", rest.len())),
            Err(error) => Err(error.to_string()),
        }
    }

    fn short() -> impl Strategy<Value = Vec<u8>> {
        let text =
            prop_oneof![vec(any::<u8>(), 0..=255), "[a-zäß€😀]{0,60}".prop_map(String::into_bytes)];
        text.prop_map(|text| [&[u8::try_from(text.len()).expect("short")], &text[..]].concat())
    }

    fn long(content: &[u8]) -> Vec<u8> {
        [&u32::try_from(content.len()).expect("small").to_be_bytes(), content].concat()
    }

    /// A field value: of every type there is, of types there are not, and cut short.
    fn value() -> impl Strategy<Value = Vec<u8>> {
        let sized = prop_oneof![
            (Just(b'V'), 0_usize..1),
            (prop::sample::select(b"tbB".to_vec()), 1_usize..2),
            (prop::sample::select(b"sUu".to_vec()), 2_usize..3),
            (prop::sample::select(b"Iif".to_vec()), 4_usize..5),
            (Just(b'D'), 5_usize..6),
            (prop::sample::select(b"LldT".to_vec()), 8_usize..9),
            (any::<u8>(), 0_usize..12),
        ];
        let fixed = sized.prop_flat_map(|(kind, size)| {
            vec(any::<u8>(), size).prop_map(move |bytes| [&[kind], &bytes[..]].concat())
        });
        let text = (prop::sample::select(b"Sx".to_vec()), vec(any::<u8>(), 0..40));
        let text = text.prop_map(|(kind, bytes)| [&[kind], &long(&bytes)[..]].concat());
        prop_oneof![fixed, text].prop_recursive(4, 24, 4, |inner| {
            let pairs = vec((short(), inner.clone()), 0..4);
            let table = pairs.prop_map(|pairs| {
                let pairs: Vec<u8> = pairs.into_iter().flat_map(|(k, v)| [k, v].concat()).collect();
                [&b"F"[..], &long(&pairs)].concat()
            });
            let array = vec(inner, 0..4).prop_map(|all| [&b"A"[..], &long(&all.concat())].concat());
            prop_oneof![table, array]
        })
    }

    /// A content header with some of the properties, in their order.
    fn header_payload() -> impl Strategy<Value = Vec<u8>> {
        let table = vec((short(), value()), 0..4)
            .prop_map(|pairs| {
                long(&pairs.into_iter().flat_map(|(k, v)| [k, v].concat()).collect::<Vec<u8>>())
            })
            .boxed();
        let properties = PROPERTIES.map(|(part, _)| match part {
            Short(_) => short().boxed(),
            Table(_) => table.clone(),
            Skip(size) => vec(any::<u8>(), size).boxed(),
        });
        (any::<[bool; 14]>(), properties, any::<u64>()).prop_map(|(there, values, body)| {
            let mut flags = 0_u16;
            let mut all = Vec::new();
            for (((_, bit), there), value) in PROPERTIES.into_iter().zip(there).zip(values) {
                if there {
                    flags |= 1 << bit;
                    all.extend(value);
                }
            }
            [&[0, 60, 0, 0][..], &body.to_be_bytes(), &flags.to_be_bytes(), &all].concat()
        })
    }

    /// It parses now; and if it did before, it is as it was.
    fn check(
        kind: u8,
        before: &[u8],
        make: impl Fn(&mut Vec<u8>) -> Fields,
    ) -> Result<(), TestCaseError> {
        let mut after = before.to_vec();
        let fields = make(&mut after);
        let parsed = parse(kind, &after);
        prop_assert!(parsed.is_ok(), "{parsed:?}");
        prop_assert_eq!(fields.is_empty(), after == before, "{:?}", &fields);
        if parse(kind, before).is_ok() {
            prop_assert!(fields.is_empty(), "{fields:?} of what could be read");
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn any_header_can_be_read(payload in header_payload()) {
            check(HEADER, &payload, |payload| header(payload, usize::MAX))?;
        }

        #[test]
        fn any_header_fits(payload in header_payload(), limit in 4088_usize..5000) {
            let mut payload = payload;
            header(&mut payload, limit);
            prop_assert!(payload.len() <= limit && parse(HEADER, &payload).is_ok());
        }

        #[test]
        fn any_bytes_behind_the_flags_can_be_read(
            flags in any::<u16>(),
            properties in vec(any::<u8>(), 0..300),
        ) {
            let flags = flags & !1;
            let payload = [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5][..], &flags.to_be_bytes(), &properties].concat();
            check(HEADER, &payload, |payload| header(payload, usize::MAX))?;
        }

        #[test]
        fn any_words_in_a_method_can_be_read(
            (tag, exchange, key) in (short(), short(), short()),
            numbers in any::<[u8; 9]>(),
        ) {
            let deliver = [&[0, 60, 0, 60][..], &tag, &numbers, &exchange, &key].concat();
            check(1, &deliver, method)?;
            let got = [&[0, 60, 0, 71][..], &numbers, &exchange, &key, &numbers[..4]].concat();
            check(1, &got, method)?;
            let returned = [&[0, 60, 0, 50][..], &numbers[..2], &tag, &exchange, &key].concat();
            check(1, &returned, method)?;
            for id in [[0, 10, 0, 50], [0, 20, 0, 40]] {
                check(1, &[&id[..], &numbers[..2], &tag, &[0, 60, 0, 20]].concat(), method)?;
            }
            check(1, &[&[0, 60, 0, 30][..], &tag, &[0]].concat(), method)?;
        }

        #[test]
        fn no_bytes_make_it_panic(mut payload in vec(any::<u8>(), 0..200), limit in any::<usize>()) {
            method(&mut payload.clone());
            header(&mut payload, limit);
        }
    }

    /// A header table with arrays so deep inside each other.
    fn nested(depth: usize) -> Vec<u8> {
        let array = (0..depth).fold(Vec::new(), |inner, _| [&b"A"[..], &long(&inner)].concat());
        let table = long(&[&b"\x01h"[..], &array].concat());
        [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0x20, 0][..], &table].concat()
    }

    #[test]
    fn tables_too_deep_for_a_stack_are_byte_arrays() {
        let mut deep = nested(DEEPEST);
        assert_eq!(header(&mut deep, usize::MAX), Fields::new());
        let mut deeper = nested(DEEPEST + 1);
        assert_eq!(header(&mut deeper, usize::MAX), ["headers"]);
        // 130 KB of them end a process whose parser follows.
        let mut bottomless = nested(26_000);
        assert_eq!(header(&mut bottomless, usize::MAX), ["headers"]);
        assert!(parse(HEADER, &bottomless).is_ok());
    }

    #[test]
    fn what_can_be_kept_is_kept() {
        let entry = |key: &[u8], value: &[u8]| {
            [&[u8::try_from(key.len()).expect("short")], key, value].concat()
        };
        let table = long(
            &[
                entry(b"good", b"S\0\0\0\x02ok"),
                entry(b"n\xc3", b"t\x01"),
                entry(b"odd", b"Q"),
                entry(b"gone", b"V"),
            ]
            .concat(),
        );
        let fixed =
            [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5][..], &(1_u16 << 13 | 1 << 7).to_be_bytes()]
                .concat();
        let mut payload = [&fixed[..], &table, b"\x03m\xff1"].concat();
        assert_eq!(header(&mut payload, usize::MAX), ["headers", "message_id"]);
        let kept = [entry(b"good", b"S\0\0\0\x02ok"), entry(b"n?", b"t\x01")].concat();
        assert_eq!(payload, [&fixed[..], &long(&kept), b"\x03m?1"].concat());
    }
}
