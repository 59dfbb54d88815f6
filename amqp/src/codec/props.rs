//! The property list of a content header: read for what the broker cares about, rewritten only when it must.

use bytes::{BufMut, Bytes, BytesMut};

use super::read::{Malformed, Reader};
use super::table::Table;
use super::write;

/// The properties of basic content. What the broker never looks into stays bytes.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the fields are AMQP 0-9-1's own, named as there")]
pub struct Props {
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
    pub headers: Option<Table>,
    pub delivery_mode: Option<u8>,
    pub priority: Option<u8>,
    pub correlation_id: Option<String>,
    pub reply_to: Option<String>,
    pub expiration: Option<String>,
    pub message_id: Option<String>,
    pub timestamp: Option<u64>,
    pub kind: Option<String>,
    pub user_id: Option<String>,
    pub app_id: Option<String>,
    pub cluster_id: Option<String>,
}

const HEADERS: u16 = 1 << 13;
const DELIVERY_MODE: u16 = 1 << 12;
const PRIORITY: u16 = 1 << 11;
const REPLY_TO: u16 = 1 << 9;
const EXPIRATION: u16 = 1 << 8;
const TIMESTAMP: u16 = 1 << 6;
const USER_ID: u16 = 1 << 4;
/// What makes the broker read the whole list.
const INTERESTING: u16 = HEADERS | PRIORITY | REPLY_TO | EXPIRATION | USER_ID;

/// The delivery mode, if nothing else in the list concerns the broker: most messages need no more.
pub fn plain(bytes: &[u8]) -> Option<Option<u8>> {
    let flags = u16::from_be_bytes(*bytes.first_chunk::<2>()?);
    // The last two bits belong to no property: the whole reading refuses them.
    if flags & (INTERESTING | 0b11) != 0 {
        return None;
    }
    let mut reader = Reader::new(&bytes[2..]);
    let mut mode = None;
    for at in 0..14 {
        let bit = 1 << (15 - at);
        if flags & bit == 0 {
            continue;
        }
        match bit {
            DELIVERY_MODE => mode = Some(reader.byte().ok()?),
            TIMESTAMP => _ = reader.longlong().ok()?,
            _ => _ = reader.shortstr_bytes().ok()?,
        }
    }
    reader.is_done().then_some(mode)
}

impl Props {
    /// Reads property flags and list.
    pub fn read(bytes: &[u8]) -> Result<Props, Malformed> {
        let mut r = Reader::new(bytes);
        let flags = r.short()?;
        // More than fourteen properties do not exist.
        if flags & 0b11 != 0 {
            return Err(Malformed::Shape);
        }
        let mut props = Props::default();
        let has = |at: u16| flags & (1 << (15 - at)) != 0;
        let text = |r: &mut Reader<'_>, at: u16| -> Result<Option<String>, Malformed> {
            if !has(at) {
                return Ok(None);
            }
            Ok(Some(super::text::from_bytes(r.shortstr_bytes()?).into_owned()))
        };
        props.content_type = text(&mut r, 0)?;
        props.content_encoding = text(&mut r, 1)?;
        if has(2) {
            props.headers = Some(r.table()?);
        }
        if has(3) {
            props.delivery_mode = Some(r.byte()?);
        }
        if has(4) {
            props.priority = Some(r.byte()?);
        }
        props.correlation_id = text(&mut r, 5)?;
        props.reply_to = text(&mut r, 6)?;
        props.expiration = text(&mut r, 7)?;
        props.message_id = text(&mut r, 8)?;
        if has(9) {
            props.timestamp = Some(r.longlong()?);
        }
        props.kind = text(&mut r, 10)?;
        props.user_id = text(&mut r, 11)?;
        props.app_id = text(&mut r, 12)?;
        props.cluster_id = text(&mut r, 13)?;
        r.done()?;
        Ok(props)
    }

    /// Property flags and list.
    pub fn write(&self) -> Bytes {
        let mut list = BytesMut::new();
        let mut flags = 0u16;
        let mut text = |at: u16, value: &Option<String>, list: &mut BytesMut| {
            if let Some(value) = value {
                flags |= 1 << (15 - at);
                write::shortstr(value, list);
            }
        };
        text(0, &self.content_type, &mut list);
        text(1, &self.content_encoding, &mut list);
        if let Some(headers) = &self.headers {
            headers.write(&mut list);
        }
        if let Some(mode) = self.delivery_mode {
            list.put_u8(mode);
        }
        if let Some(priority) = self.priority {
            list.put_u8(priority);
        }
        text(5, &self.correlation_id, &mut list);
        text(6, &self.reply_to, &mut list);
        text(7, &self.expiration, &mut list);
        text(8, &self.message_id, &mut list);
        if let Some(timestamp) = self.timestamp {
            list.put_u64(timestamp);
        }
        text(10, &self.kind, &mut list);
        text(11, &self.user_id, &mut list);
        text(12, &self.app_id, &mut list);
        text(13, &self.cluster_id, &mut list);
        for (bit, is_some) in [
            (HEADERS, self.headers.is_some()),
            (DELIVERY_MODE, self.delivery_mode.is_some()),
            (PRIORITY, self.priority.is_some()),
            (TIMESTAMP, self.timestamp.is_some()),
        ] {
            if is_some {
                flags |= bit;
            }
        }
        let mut out = BytesMut::with_capacity(list.len() + 2);
        out.put_u16(flags);
        out.extend_from_slice(&list);
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Value;

    #[test]
    fn properties_come_back_as_they_went() {
        let props = Props {
            content_type: Some("text/plain".into()),
            headers: Some(Table(vec![("a".into(), Value::I32(1))])),
            delivery_mode: Some(2),
            expiration: Some("60".into()),
            timestamp: Some(7),
            app_id: Some("app".into()),
            ..Props::default()
        };
        assert_eq!(Props::read(&props.write()), Ok(props));
        assert_eq!(Props::read(&[0, 0]), Ok(Props::default()));
        assert_eq!(Props::read(&[0, 1]), Err(Malformed::Shape));
    }

    #[test]
    fn most_messages_are_plain() {
        let props = Props {
            content_type: Some("x".into()),
            delivery_mode: Some(2),
            timestamp: Some(1),
            ..Props::default()
        };
        assert_eq!(plain(&props.write()), Some(Some(2)));
        assert_eq!(plain(&[0, 0]), Some(None));
        let expires = Props { expiration: Some("1".into()), ..Props::default() };
        assert_eq!(plain(&expires.write()), None);
        assert_eq!(plain(&[0x80, 0, 5]), None);
        assert_eq!(plain(&[0, 1]), None);
        assert_eq!(plain(&[0, 2]), None);
    }
}
