//! Reading AMQP's elementary types from a slice. Everything is bounded by the slice; nothing panics.

use std::borrow::Cow;

use super::error::{AmqpError, Code};
use super::table::{self, Table};
use super::text::from_bytes;

/// Why a method or property list cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Too short, too long, or a type byte nobody knows.
    Shape,
    /// A short string is not UTF-8.
    Utf8,
    /// A field table cannot be read. RabbitMQ does not survive that, and says nothing.
    Table,
}

impl Malformed {
    /// As RabbitMQ puts it, for a method whose fields are `fields`.
    pub fn into_error(self, fields: &[u8]) -> AmqpError {
        match self {
            Malformed::Shape => AmqpError::new(
                Code::FrameError,
                format!("cannot decode {}", super::frame::binary(fields)),
            ),
            Malformed::Table => AmqpError::internal(),
            Malformed::Utf8 => AmqpError::new(Code::FrameError, "Malformed UTF-8 in shortstr"),
        }
    }
}

/// A cursor over the fields of a method or a property list.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// Whether everything was read.
    pub const fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// What was not read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or(Malformed::Shape)?;
        self.rest = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Shape)?;
        self.rest = tail;
        Ok(*head)
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// 16 bits.
    pub fn short(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    /// 32 bits.
    pub fn long(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// 64 bits.
    pub fn longlong(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// A short string's bytes.
    pub fn shortstr_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let size = self.byte()?;
        self.take(usize::from(size))
    }

    /// A short string that must be UTF-8.
    pub fn shortstr(&mut self) -> Result<Cow<'a, str>, Malformed> {
        let bytes = self.shortstr_bytes()?;
        // Text that looks like what stands for other bytes is escaped, so that it goes out as it came.
        std::str::from_utf8(bytes).map(|_| from_bytes(bytes)).map_err(|_| Malformed::Utf8)
    }

    /// A long string's bytes.
    pub fn longstr(&mut self) -> Result<&'a [u8], Malformed> {
        let size = self.long()?;
        self.take(usize::try_from(size).map_err(|_| Malformed::Shape)?)
    }

    /// A field table.
    pub fn table(&mut self) -> Result<Table, Malformed> {
        table::read(self.longstr()?)
    }

    /// Ends the reading: a method with bytes left over is malformed.
    pub fn done(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Shape) }
    }
}
