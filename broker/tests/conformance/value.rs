//! Field values: as octets on the wire, and as the text of scripts and traces. An integer without
//! a suffix is a signed 32-bit one; `5u8`, `5i64`, `5time` name the other kinds.

use std::fmt::Write as _;

/// A value of a field table.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Bool(bool),
    /// An integer and its tag on the wire.
    Int(i128, u8),
    F32(f32),
    F64(f64),
    Decimal(u8, u32),
    Str(Vec<u8>),
    Octets(Vec<u8>),
    Array(Vec<Value>),
    Table(Table),
    Void,
}

pub type Table = Vec<(String, Value)>;

/// Suffix in text, tag on the wire, width in octets, signed.
const INTS: &[(&str, u8, usize, bool)] = &[
    ("i8", b'b', 1, true),
    ("u8", b'B', 1, false),
    ("i16", b's', 2, true),
    ("u16", b'u', 2, false),
    ("", b'I', 4, true),
    ("u32", b'i', 4, false),
    ("i64", b'l', 8, true),
    ("time", b'T', 8, false),
];

pub fn put_table(table: &Table, out: &mut Vec<u8>) {
    let mut inner = Vec::new();
    for (key, value) in table {
        inner.push(key.len() as u8);
        inner.extend_from_slice(key.as_bytes());
        put_value(value, &mut inner);
    }
    put_long(&inner, out);
}

pub fn put_long(octets: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(octets.len() as u32).to_be_bytes());
    out.extend_from_slice(octets);
}

fn put_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Bool(b) => out.extend_from_slice(&[b't', u8::from(*b)]),
        Value::Int(n, tag) => {
            let width = INTS.iter().find(|i| i.1 == *tag).expect("a known tag").2;
            out.push(*tag);
            out.extend_from_slice(&n.to_be_bytes()[16 - width..]);
        }
        Value::F32(f) => {
            out.push(b'f');
            out.extend_from_slice(&f.to_be_bytes());
        }
        Value::F64(f) => {
            out.push(b'd');
            out.extend_from_slice(&f.to_be_bytes());
        }
        Value::Decimal(scale, n) => {
            out.extend_from_slice(&[b'D', *scale]);
            out.extend_from_slice(&n.to_be_bytes());
        }
        Value::Str(s) => {
            out.push(b'S');
            put_long(s, out);
        }
        Value::Octets(s) => {
            out.push(b'x');
            put_long(s, out);
        }
        Value::Array(items) => {
            let mut inner = Vec::new();
            items.iter().for_each(|item| put_value(item, &mut inner));
            out.push(b'A');
            put_long(&inner, out);
        }
        Value::Table(table) => {
            out.push(b'F');
            put_table(table, out);
        }
        Value::Void => out.push(b'V'),
    }
}

/// Reads octets in order; `None` where they end early.
pub struct Octets<'a>(pub &'a [u8]);

impl<'a> Octets<'a> {
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    pub fn uint(&mut self, width: usize) -> Option<u64> {
        Some(self.take(width)?.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
    }

    pub fn short_str(&mut self) -> Option<&'a [u8]> {
        let n = self.uint(1)? as usize;
        self.take(n)
    }

    pub fn long_str(&mut self) -> Option<&'a [u8]> {
        let n = self.uint(4)? as usize;
        self.take(n)
    }

    pub fn table(&mut self) -> Option<Table> {
        let mut inner = Octets(self.long_str()?);
        let mut table = Vec::new();
        while !inner.0.is_empty() {
            let key = String::from_utf8_lossy(inner.short_str()?).into_owned();
            table.push((key, inner.value()?));
        }
        // The order within a table carries no meaning.
        table.sort_by(|a, b| a.0.cmp(&b.0));
        Some(table)
    }

    fn value(&mut self) -> Option<Value> {
        let tag = self.uint(1)? as u8;
        if let Some((_, _, width, signed)) = INTS.iter().find(|i| i.1 == tag) {
            let n = i128::from(self.uint(*width)?);
            let bits = width * 8;
            let negative = *signed && n >> (bits - 1) == 1;
            return Some(Value::Int(if negative { n - (1 << bits) } else { n }, tag));
        }
        Some(match tag {
            b't' => Value::Bool(self.uint(1)? != 0),
            b'f' => Value::F32(f32::from_bits(self.uint(4)? as u32)),
            b'd' => Value::F64(f64::from_bits(self.uint(8)?)),
            b'D' => Value::Decimal(self.uint(1)? as u8, self.uint(4)? as u32),
            b'S' => Value::Str(self.long_str()?.to_vec()),
            b'x' => Value::Octets(self.long_str()?.to_vec()),
            b'F' => Value::Table(self.table()?),
            b'V' => Value::Void,
            b'A' => {
                let mut inner = Octets(self.long_str()?);
                let mut items = Vec::new();
                while !inner.0.is_empty() {
                    items.push(inner.value()?);
                }
                Value::Array(items)
            }
            _ => return None,
        })
    }
}

/// A string as a script writes it; a long run of one character is folded to `1000*"x"`.
pub fn show_str(octets: &[u8]) -> String {
    if octets.len() > 60 && octets.iter().all(|b| *b == octets[0]) {
        return format!("{}*{}", octets.len(), show_str(&octets[..1]));
    }
    let mut out = String::from("\"");
    for c in String::from_utf8_lossy(octets).chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

pub fn show_table(table: &Table) -> String {
    let pairs: Vec<String> =
        table.iter().map(|(key, value)| format!("{key}: {}", show(key, value))).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// What differs from node to node or from run to run is shown as `*`.
const VARYING: &[&str] = &["cluster_name", "copyright", "information", "platform", "version"];

fn show(key: &str, value: &Value) -> String {
    match value {
        Value::Str(_) if VARYING.contains(&key) => "*".to_owned(),
        Value::Int(_, b'T') if key == "time" => "*time".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Int(n, tag) => {
            let suffix = INTS.iter().find(|i| i.1 == *tag).expect("a known tag").0;
            format!("{n}{suffix}")
        }
        Value::F32(f) => format!("{f:?}f32"),
        Value::F64(f) => format!("{f:?}"),
        Value::Decimal(scale, n) => format!("{n}e-{scale}"),
        Value::Str(s) => show_str(s),
        Value::Octets(s) => format!("x{}", show_str(s)),
        Value::Table(table) => show_table(table),
        Value::Void => "void".to_owned(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| show("", item)).collect();
            format!("[{}]", items.join(", "))
        }
    }
}

/// Reads the text of a script.
pub struct Text<'a>(pub &'a str);

impl Text<'_> {
    fn skip_space(&mut self) {
        self.0 = self.0.trim_start();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        let rest = self.0.strip_prefix(token);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn word(&mut self) -> String {
        self.skip_space();
        let end = self.0.find(|c: char| c.is_whitespace() || ",=:{}[]\"*".contains(c));
        let (word, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest;
        word.to_owned()
    }

    /// `key=value` pairs to the end of the line.
    pub fn pairs(&mut self) -> Table {
        let mut pairs = Vec::new();
        loop {
            self.skip_space();
            if self.0.is_empty() {
                return pairs;
            }
            let key = self.word();
            assert!(!key.is_empty() && self.eat("="), "key=value expected before {:?}", self.0);
            pairs.push((key, self.value()));
        }
    }

    pub fn value(&mut self) -> Value {
        self.skip_space();
        if self.0.starts_with('"') {
            return Value::Str(self.quoted());
        }
        if self.eat("x\"") {
            return Value::Octets(self.until_quote());
        }
        if self.eat("{") {
            let mut table = Vec::new();
            while !self.eat("}") {
                let key = self.word();
                assert!(self.eat(":"), "a table is {{key: value}}, not {:?}", self.0);
                table.push((key, self.value()));
                self.eat(",");
            }
            return Value::Table(table);
        }
        if self.eat("[") {
            let mut items = Vec::new();
            while !self.eat("]") {
                items.push(self.value());
                self.eat(",");
            }
            return Value::Array(items);
        }
        let word = self.word();
        if self.0.starts_with("*\"") {
            self.0 = &self.0[1..];
            let times = word.parse().expect("a count before *");
            return Value::Str(self.quoted().repeat(times));
        }
        bare(word)
    }

    fn quoted(&mut self) -> Vec<u8> {
        assert!(self.eat("\""), "a string expected at {:?}", self.0);
        self.until_quote()
    }

    fn until_quote(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut chars = self.0.char_indices();
        let mut next = || chars.next().expect("a string ends with a quote");
        loop {
            match next() {
                (at, '"') => {
                    self.0 = &self.0[at + 1..];
                    return out;
                }
                (_, '\\') => match next().1 {
                    '0' => out.push(0),
                    'n' => out.push(b'\n'),
                    'x' => {
                        let hex: String = [next().1, next().1].iter().collect();
                        out.push(u8::from_str_radix(&hex, 16).expect("two hex digits"));
                    }
                    c => out.push(c as u8),
                },
                (_, c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }
}

fn bare(word: String) -> Value {
    match word.as_str() {
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        "void" => return Value::Void,
        _ => {}
    }
    let digits = word.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(word.len());
    if let Ok(n) = word[..digits].parse()
        && let Some(int) = INTS.iter().find(|i| i.0 == &word[digits..])
    {
        return Value::Int(n, int.1);
    }
    if let Some((n, scale)) = word.split_once("e-")
        && let (Ok(n), Ok(scale)) = (n.parse(), scale.parse())
    {
        return Value::Decimal(scale, n);
    }
    if let Some(Ok(f)) = word.strip_suffix("f32").map(str::parse) {
        return Value::F32(f);
    }
    if word.starts_with(|c: char| c.is_ascii_digit())
        && let Ok(f) = word.parse()
    {
        return Value::F64(f);
    }
    Value::Str(word.into_bytes())
}
