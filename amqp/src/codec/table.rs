//! Field tables: RabbitMQ's types, in the order they came, never nested deeper than a stack can bear.

use bytes::{BufMut, BytesMut};

use super::read::{Malformed, Reader};
use super::{text, write};

/// A table or array nested deeper than this is malformed. RabbitMQ has no such limit; real tables have two levels.
const DEEPEST: usize = 64;

/// A value in a field table.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `t`
    Bool(bool),
    /// `b`
    I8(i8),
    /// `B`
    U8(u8),
    /// `s`
    I16(i16),
    /// `u`
    U16(u16),
    /// `I`
    I32(i32),
    /// `i`
    U32(u32),
    /// `l`, and `L` when reading
    I64(i64),
    /// `f`
    F32(f32),
    /// `d`
    F64(f64),
    /// `D`: scale and value
    Decimal(u8, u32),
    /// `S`; any bytes
    Long(Vec<u8>),
    /// `A`
    Array(Vec<Value>),
    /// `T`
    Timestamp(u64),
    /// `F`
    Table(Table),
    /// `x`
    Binary(Vec<u8>),
    /// `V`
    Void,
}

/// A field table, in order. Keys may repeat; the first one counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table(pub Vec<(String, Value)>);

impl Table {
    /// The first value under `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Replaces the value under `key`, or adds it.
    pub fn set(&mut self, key: &str, value: Value) {
        match self.0.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }

    /// The text under `key`, if it is text.
    pub fn str(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }

    /// The whole number under `key`, if it is one.
    pub fn int(&self, key: &str) -> Option<i64> {
        self.get(key).and_then(Value::as_int)
    }

    /// Whether `key` is true.
    pub fn is_true(&self, key: &str) -> bool {
        self.get(key) == Some(&Value::Bool(true))
    }

    /// The table under `key`, if it is one.
    pub fn table(&self, key: &str) -> Option<&Table> {
        match self.get(key) {
            Some(Value::Table(table)) => Some(table),
            _ => None,
        }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sorted by key, repeated keys gone: how RabbitMQ hands headers on.
    pub fn sort(&mut self) {
        self.0.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.0.dedup_by(|(a, _), (b, _)| a == b);
    }

    /// Whether [`Table::sort`] would change nothing.
    pub fn is_sorted(&self) -> bool {
        self.0.windows(2).all(|pair| pair[0].0 < pair[1].0)
    }

    /// As on the wire, size first.
    pub fn write(&self, out: &mut BytesMut) {
        write::sized(out, |out| {
            for (key, value) in &self.0 {
                write::shortstr(key, out);
                value.write(out);
            }
        });
    }
}

impl Value {
    /// Text.
    pub fn text(text: impl AsRef<str>) -> Value {
        Value::Long(text.as_ref().as_bytes().to_vec())
    }

    /// The text, if it is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Long(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The whole number, of whatever width.
    pub fn as_int(&self) -> Option<i64> {
        Some(match self {
            Value::I8(n) => i64::from(*n),
            Value::U8(n) => i64::from(*n),
            Value::I16(n) => i64::from(*n),
            Value::U16(n) => i64::from(*n),
            Value::I32(n) => i64::from(*n),
            Value::U32(n) => i64::from(*n),
            Value::I64(n) => *n,
            _ => return None,
        })
    }

    /// What RabbitMQ calls the type.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Value::Bool(_) => "bool",
            Value::I8(_) => "byte",
            Value::U8(_) => "unsignedbyte",
            Value::I16(_) => "short",
            Value::U16(_) => "unsignedshort",
            Value::I32(_) => "signedint",
            Value::U32(_) => "unsignedint",
            Value::I64(_) => "long",
            Value::F32(_) => "float",
            Value::F64(_) => "double",
            Value::Decimal(..) => "decimal",
            Value::Long(_) => "longstr",
            Value::Array(_) => "array",
            Value::Timestamp(_) => "timestamp",
            Value::Table(_) => "table",
            Value::Binary(_) => "binary",
            Value::Void => "void",
        }
    }

    /// The value as RabbitMQ prints it in an error.
    pub fn shown(&self) -> String {
        match self {
            Value::Long(bytes) | Value::Binary(bytes) => {
                String::from_utf8_lossy(bytes).into_owned()
            }
            Value::Bool(b) => b.to_string(),
            Value::F32(n) => format!("{n:?}"),
            Value::F64(n) => format!("{n:?}"),
            Value::Decimal(scale, value) => format!("{{{scale},{value}}}"),
            Value::Timestamp(n) => n.to_string(),
            Value::Void => "undefined".to_owned(),
            Value::Array(_) | Value::Table(_) => "[]".to_owned(),
            whole => whole.as_int().unwrap_or_default().to_string(),
        }
    }

    /// Equal as RabbitMQ compares arguments: whole numbers by value, whatever their width.
    pub fn same_as(&self, other: &Value) -> bool {
        match (self.as_int(), other.as_int()) {
            (Some(a), Some(b)) => a == b,
            _ => self == other,
        }
    }

    fn write(&self, out: &mut BytesMut) {
        match self {
            Value::Bool(b) => out.put_slice(&[b't', u8::from(*b)]),
            Value::I8(n) => tagged(out, b'b', &n.to_be_bytes()),
            Value::U8(n) => tagged(out, b'B', &n.to_be_bytes()),
            Value::I16(n) => tagged(out, b's', &n.to_be_bytes()),
            Value::U16(n) => tagged(out, b'u', &n.to_be_bytes()),
            Value::I32(n) => tagged(out, b'I', &n.to_be_bytes()),
            Value::U32(n) => tagged(out, b'i', &n.to_be_bytes()),
            Value::I64(n) => tagged(out, b'l', &n.to_be_bytes()),
            Value::F32(n) => tagged(out, b'f', &n.to_be_bytes()),
            Value::F64(n) => tagged(out, b'd', &n.to_be_bytes()),
            Value::Timestamp(n) => tagged(out, b'T', &n.to_be_bytes()),
            Value::Decimal(scale, value) => {
                tagged(out, b'D', &[*scale]);
                out.put_u32(*value);
            }
            Value::Long(bytes) => {
                out.put_u8(b'S');
                write::longstr(bytes, out);
            }
            Value::Binary(bytes) => {
                out.put_u8(b'x');
                write::longstr(bytes, out);
            }
            Value::Array(values) => {
                out.put_u8(b'A');
                write::sized(out, |out| values.iter().for_each(|value| value.write(out)));
            }
            Value::Table(table) => {
                out.put_u8(b'F');
                table.write(out);
            }
            Value::Void => out.put_u8(b'V'),
        }
    }
}

fn tagged(out: &mut BytesMut, tag: u8, bytes: &[u8]) {
    out.put_u8(tag);
    out.put_slice(bytes);
}

/// The entries of a table, without their size.
pub fn read(bytes: &[u8]) -> Result<Table, Malformed> {
    entries(bytes, 0).map_err(|_| Malformed::Table)
}

fn entries(bytes: &[u8], depth: usize) -> Result<Table, Malformed> {
    if depth > DEEPEST {
        return Err(Malformed::Shape);
    }
    let mut reader = Reader::new(bytes);
    let mut table = Vec::new();
    while !reader.is_done() {
        let key = text::from_bytes(reader.shortstr_bytes()?).into_owned();
        table.push((key, value(&mut reader, depth)?));
    }
    Ok(Table(table))
}

fn value(reader: &mut Reader<'_>, depth: usize) -> Result<Value, Malformed> {
    Ok(match reader.byte()? {
        b't' => Value::Bool(reader.byte()? != 0),
        b'b' => Value::I8(reader.byte()?.cast_signed()),
        b'B' => Value::U8(reader.byte()?),
        b's' => Value::I16(reader.short()?.cast_signed()),
        b'u' => Value::U16(reader.short()?),
        b'I' => Value::I32(reader.long()?.cast_signed()),
        b'i' => Value::U32(reader.long()?),
        b'l' | b'L' => Value::I64(reader.longlong()?.cast_signed()),
        b'f' => Value::F32(f32::from_bits(reader.long()?)),
        b'd' => Value::F64(f64::from_bits(reader.longlong()?)),
        b'D' => Value::Decimal(reader.byte()?, reader.long()?),
        b'S' => Value::Long(reader.longstr()?.to_vec()),
        b'A' => Value::Array(array(reader.longstr()?, depth + 1)?),
        b'T' => Value::Timestamp(reader.longlong()?),
        b'F' => Value::Table(entries(reader.longstr()?, depth + 1)?),
        b'x' => Value::Binary(reader.longstr()?.to_vec()),
        b'V' => Value::Void,
        _ => return Err(Malformed::Shape),
    })
}

fn array(bytes: &[u8], depth: usize) -> Result<Vec<Value>, Malformed> {
    if depth > DEEPEST {
        return Err(Malformed::Shape);
    }
    let mut reader = Reader::new(bytes);
    let mut values = Vec::new();
    while !reader.is_done() {
        values.push(value(&mut reader, depth)?);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(table: Table) {
        let mut out = BytesMut::new();
        table.write(&mut out);
        let mut reader = Reader::new(&out);
        assert_eq!(reader.table(), Ok(table));
        assert!(reader.is_done());
    }

    #[test]
    fn a_table_comes_back_as_it_went() {
        round(Table::default());
        round(Table(vec![
            ("b".into(), Value::Bool(true)),
            ("a".into(), Value::Array(vec![Value::I8(-1), Value::U16(7), Value::Void])),
            ("t".into(), Value::Table(Table(vec![("x".into(), Value::Decimal(2, 314))]))),
            ("s".into(), Value::text("long")),
            ("d".into(), Value::F64(1.5)),
        ]));
    }

    #[test]
    fn a_bottomless_table_is_malformed() {
        let mut bytes = Vec::new();
        for _ in 0..10_000 {
            let mut outer = vec![1, b'k', b'F'];
            outer.extend((bytes.len() as u32).to_be_bytes());
            outer.append(&mut bytes);
            bytes = outer;
        }
        assert_eq!(read(&bytes), Err(Malformed::Table));
    }
}
