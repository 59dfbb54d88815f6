//! JSON as Toxiproxy reads and writes it, which is as Go does: keys in any case and any number of times,
//! `null` as good as nothing, whatever follows the first value passed over; numbers in their shortest
//! form, and characters that mean something to HTML escaped.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, error::Category};

/// A value as it was written: keys in order, twice if they were.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Json, E> {
        Ok(Json::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Json, E> {
        Number::from_f64(number).map(Json::Number).ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Json::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut all = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            all.push(entry);
        }
        Ok(Json::Object(all))
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Written)
    }
}

/// The first value of a body, or what Go would say.
pub(super) fn first(body: &[u8]) -> Result<Json, String> {
    let body = String::from_utf8_lossy(body);
    let mut values = serde_json::Deserializer::from_str(&body).into_iter::<Json>();
    match values.next() {
        None => Err("EOF".to_owned()),
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(in_go(&body, &error)),
    }
}

fn in_go(body: &str, error: &serde_json::Error) -> String {
    if error.classify() == Category::Eof {
        return "unexpected EOF".to_owned();
    }
    let line = body.split('\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let rest = line.get(error.column().saturating_sub(1)..).and_then(|rest| rest.chars().next());
    let said = error.to_string();
    let place = [
        ("expected value", "looking for beginning of value"),
        ("key must be a string", "looking for beginning of object key string"),
        ("expected `:`", "after object key"),
        ("expected `,` or `}`", "after object key:value pair"),
        ("expected `,` or `]`", "after array element"),
        ("trailing comma", "looking for beginning of value"),
    ];
    match (rest, place.iter().find(|(what, _)| said.starts_with(what))) {
        (Some(found), Some((_, place))) => format!("invalid character {found:?} {place}"),
        _ => said,
    }
}

/// An object, read as a Go struct of that name is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object<'a> {
    of: &'static str,
    entries: &'a [(String, Json)],
}

impl<'a> Object<'a> {
    /// `null` is an empty one. `of` is what fields are called after in messages, `whole` the type itself.
    pub(super) fn of(json: &'a Json, of: &'static str, whole: &str) -> Result<Self, String> {
        match json {
            Json::Null => Ok(Self { of, entries: &[] }),
            Json::Object(entries) => Ok(Self { of, entries }),
            other => Err(unfit(other, whole)),
        }
    }

    /// The same fields, called after something else.
    pub(super) fn named(self, of: &'static str) -> Self {
        Self { of, ..self }
    }

    /// The last value under `key`, in whatever case.
    pub(super) fn get(&self, key: &str) -> Option<&'a Json> {
        let same = |(name, value): &&(String, Json)| {
            name.eq_ignore_ascii_case(key) && *value != Json::Null
        };
        self.entries.iter().rev().find(same).map(|(_, value)| value)
    }

    /// The keys it has.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.entries.iter().map(|(key, _)| key.as_str())
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.unfit(key, other.name(), "string")),
        }
    }

    pub(super) fn truth(&self, key: &str) -> Result<Option<bool>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(Json::Bool(truth)) => Ok(Some(*truth)),
            Some(other) => Err(self.unfit(key, other.name(), "bool")),
        }
    }

    /// A bool as `toxiproxy-cli` sends it: what reads as a number is one, anything else is text.
    pub(super) fn loose_truth(&self, key: &str) -> Result<Option<bool>, String> {
        let text = match self.get(key) {
            Some(Json::String(text)) => text.clone(),
            Some(Json::Number(number)) => number.to_string(),
            _ => return self.truth(key),
        };
        // What Go's ParseBool takes.
        match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Some(false)),
            _ => Err(format!("{key} is {text:?}, and has to be true or false")),
        }
    }

    /// `kind` is the Go type of the field.
    pub(super) fn integer(&self, key: &str, kind: &str) -> Result<Option<i64>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(Json::Number(number)) => number
                .as_i64()
                .map(Some)
                .ok_or_else(|| self.unfit(key, &format!("number {number}"), kind)),
            Some(other) => Err(self.unfit(key, other.name(), kind)),
        }
    }

    pub(super) fn float(&self, key: &str) -> Result<Option<f32>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(Json::Number(number)) => match number.as_f64() {
                #[expect(clippy::cast_possible_truncation, reason = "as wide as Toxiproxy's")]
                Some(n) if (n as f32).is_finite() => Ok(Some(n as f32)),
                _ => Err(self.unfit(key, &format!("number {number}"), "float32")),
            },
            Some(other) => Err(self.unfit(key, other.name(), "float32")),
        }
    }

    fn unfit(&self, key: &str, value: &str, kind: &str) -> String {
        let of = self.of;
        format!("json: cannot unmarshal {value} into Go struct field {of}.{key} of type {kind}")
    }
}

/// What Go says of a value of another type than that.
pub(super) fn unfit(json: &Json, whole: &str) -> String {
    format!("json: cannot unmarshal {} into Go value of type {whole}", json.name())
}

/// A string, with what Go escapes escaped.
pub(super) fn text(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    let mut escaped = String::with_capacity(quoted.len());
    for letter in quoted.chars() {
        match letter {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                escaped.push_str(&format!("\\u{:04x}", u32::from(letter)));
            }
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// A number of 32 bits in its shortest form.
pub(super) fn float(number: f32) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let written = format!("{number:e}");
        return match written.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => {
                format!("{digits}e+{exponent}")
            }
            _ => written,
        };
    }
    format!("{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(body: &str) -> String {
        first(body.as_bytes()).expect_err("it cannot be read")
    }

    #[test]
    fn the_first_value_counts_and_errors_are_gos() {
        assert_eq!(first(b"true} nonsense"), Ok(Json::Bool(true)));
        assert_eq!(error(""), "EOF");
        assert_eq!(error(" \n"), "EOF");
        assert_eq!(error("{"), "unexpected EOF");
        assert_eq!(error("x"), "invalid character 'x' looking for beginning of value");
        assert_eq!(error("{1"), "invalid character '1' looking for beginning of object key string");
        assert_eq!(error("{\"a\" 1}"), "invalid character '1' after object key");
        assert_eq!(error("{\"a\":1 2}"), "invalid character '2' after object key:value pair");
        assert_eq!(error("[1 2]"), "invalid character '2' after array element");
        assert!(!error("\u{e9}\n\u{e9}").is_empty());
    }

    #[test]
    fn keys_have_no_case_the_last_one_counts_and_null_is_nothing() {
        let json = first(br#"{"Name":"a","NAME":"b","name":null,"n":2,"f":0.5}"#).expect("JSON");
        let object = Object::of(&json, "T", "T").expect("an object");
        assert_eq!(object.text("name"), Ok(Some("b")));
        assert_eq!(object.integer("n", "int64"), Ok(Some(2)));
        assert_eq!(object.float("f"), Ok(Some(0.5)));
        let unfit = "json: cannot unmarshal number 0.5 into Go struct field T.f of type int64";
        assert_eq!(object.integer("f", "int64"), Err(unfit.to_owned()));
    }

    #[test]
    fn numbers_and_text_are_written_as_go_does() {
        let check = |number: f32, expect: &str| assert_eq!(float(number), expect);
        check(1.0, "1");
        check(0.3, "0.3");
        check(0.0, "0");
        check(-2.5, "-2.5");
        check(1e-7, "1e-7");
        check(1e22, "1e+22");
        assert_eq!(text("<a&\"b\">"), r#""\u003ca\u0026\"b\"\u003e""#);
    }
}
