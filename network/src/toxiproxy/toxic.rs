//! One toxic: read from JSON, changed by JSON, written as JSON.

use super::{
    answer::Refusal,
    catalogue::{Attribute, Form, ToxicKind},
    fault,
    json::{self, Json, Object},
};
use crate::{fault::Injection, wire::Direction};

/// A toxic of a proxy.
#[derive(Debug, Clone)]
pub(super) struct Toxic {
    pub(super) name: String,
    pub(super) kind: &'static ToxicKind,
    /// As it was written.
    stream: String,
    /// What that means; none is both ways.
    pub(super) way: Option<Direction>,
    pub(super) toxicity: f32,
    pub(super) attributes: Attributes,
    /// Milliseconds, after which it is over.
    pub(super) duration: Option<i64>,
    /// New connections it concerns, or frames.
    pub(super) count: Option<i64>,
}

/// The attributes of a toxic, in the order of its kind.
#[derive(Debug, Clone)]
pub(super) struct Attributes(Vec<(&'static Attribute, Value)>);

#[derive(Debug, Clone)]
enum Value {
    Integer(i64),
    Truth(bool),
    Text(String),
}

impl Attributes {
    fn defaults(kind: &'static ToxicKind) -> Self {
        let default = |attribute: &'static Attribute| match attribute.form {
            Form::Integer(number) => Value::Integer(number),
            Form::Truth(truth) => Value::Truth(truth),
            Form::Word(words) => Value::Text(words[0].to_owned()),
            Form::Text(text) => Value::Text(text.to_owned()),
        };
        Self(kind.attributes.iter().map(|attribute| (attribute, default(attribute))).collect())
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(attribute, _)| attribute.name == name).map(|(_, value)| value)
    }

    pub(super) fn integer(&self, name: &str) -> i64 {
        if let Some(Value::Integer(number)) = self.value(name) { *number } else { 0 }
    }

    pub(super) fn truth(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Value::Truth(true)))
    }

    pub(super) fn word(&self, name: &str) -> &str {
        if let Some(Value::Text(text)) = self.value(name) { text } else { "" }
    }

    /// Takes over what is given.
    fn merge(&mut self, given: Object<'_>) -> Result<(), String> {
        for (attribute, value) in &mut self.0 {
            let name = attribute.name;
            let kind = if name.contains("size") || name == "delay" { "int" } else { "int64" };
            match (value, attribute.form) {
                (Value::Integer(number), _) => {
                    *number = given.integer(name, kind)?.unwrap_or(*number);
                }
                (Value::Truth(truth), _) => *truth = given.loose_truth(name)?.unwrap_or(*truth),
                (Value::Text(text), form) => {
                    let Some(word) = given.text(name)? else { continue };
                    if let Form::Word(words) = form
                        && !words.contains(&word)
                    {
                        let words = words.join(", ");
                        return Err(format!("{name} is {word:?}, and has to be one of {words}"));
                    }
                    word.clone_into(text);
                }
            }
        }
        Ok(())
    }

    fn render(&self) -> String {
        let entry = |(attribute, value): &(&Attribute, Value)| {
            let value = match value {
                Value::Integer(number) => number.to_string(),
                Value::Truth(truth) => truth.to_string(),
                Value::Text(text) => json::text(text),
            };
            format!("\"{}\":{value}", attribute.name)
        };
        format!("{{{}}}", self.0.iter().map(entry).collect::<Vec<_>>().join(","))
    }
}

impl Toxic {
    /// Reads a new one, whose name is not to be `taken`. The fault it is on a link is made, and checked.
    pub(super) fn read(body: &Json, taken: impl Fn(&str) -> bool) -> Result<Self, Refusal> {
        let bad = |why: String| Refusal::bad_body(&why);
        let given = Object::of(body, "ToxicWrapper", "toxics.ToxicWrapper").map_err(bad)?;
        let name = given.text("name").map_err(bad)?.unwrap_or_default();
        let type_name = given.text("type").map_err(bad)?.unwrap_or_default();
        let stream = given.text("stream").map_err(bad)?.unwrap_or("downstream");
        let toxicity = given.float("toxicity").map_err(bad)?.unwrap_or(1.0);
        let kind = ToxicKind::find(type_name);
        let streams = kind.map_or(super::catalogue::Streams::One, |kind| kind.streams);
        let Some(way) = fault::way(stream, streams) else {
            return Err(Refusal::new(
                400,
                "stream was invalid, can be either upstream or downstream",
            ));
        };
        let Some(kind) = kind else { return Err(Refusal::new(400, "invalid toxic type")) };
        let mut toxic = Self {
            name: match name {
                "" => format!("{type_name}_{stream}"),
                name => name.to_owned(),
            },
            kind,
            stream: stream.to_owned(),
            way,
            toxicity,
            attributes: Attributes::defaults(kind),
            duration: None,
            count: None,
        };
        if taken(&toxic.name) {
            return Err(Refusal::new(409, "toxic already exists"));
        }
        toxic.take(given)?;
        Ok(toxic)
    }

    /// What it is after a change; name, type and stream stay.
    pub(super) fn changed(&self, body: &Json) -> Result<Self, Refusal> {
        let mut changed = self.clone();
        let given = Object::of(body, "", "struct").map_err(|why| Refusal::bad_body(&why))?;
        if let Some(toxicity) = given.float("toxicity").map_err(|why| Refusal::bad_body(&why))? {
            changed.toxicity = toxicity;
        }
        changed.take(given)?;
        Ok(changed)
    }

    /// Attributes, duration and count.
    fn take(&mut self, given: Object<'_>) -> Result<(), Refusal> {
        let bad = |why: String| Refusal::bad_body(&why);
        // Toxiproxy's own names for what it reads its toxics into.
        let of = match self.kind.go {
            Some("LatencyToxic") => "LatencyToxic.attributes",
            Some("BandwidthToxic") => "BandwidthToxic.attributes",
            Some("SlowCloseToxic") => "SlowCloseToxic.attributes",
            Some("TimeoutToxic") => "TimeoutToxic.attributes",
            Some("ResetToxic") => "ResetToxic.attributes",
            Some("SlicerToxic") => "SlicerToxic.attributes",
            Some("LimitDataToxic") => "LimitDataToxic.attributes",
            _ => ".attributes",
        };
        if let Some(attributes) = given.get("attributes") {
            let given = Object::of(attributes, of, "attributes").map_err(bad)?;
            self.know(given.named(of))?;
            self.attributes.merge(given).map_err(bad)?;
        }
        let given = given.named("");
        self.duration = given.integer("duration", "int64").map_err(bad)?.or(self.duration);
        self.count = given.integer("count", "int64").map_err(bad)?.or(self.count);
        self.injection().map(|_| ())
    }

    /// Toxiproxy passes over what it does not know; what only this has is strict.
    fn know(&self, given: Object<'_>) -> Result<(), Refusal> {
        if self.kind.is_toxiproxys() {
            return Ok(());
        }
        let known = || self.kind.attributes.iter().map(|attribute| attribute.name);
        match given.keys().find(|key| !known().any(|name| name.eq_ignore_ascii_case(key))) {
            None => Ok(()),
            Some(key) => {
                let known = match known().collect::<Vec<_>>().join(", ") {
                    none if none.is_empty() => "it has none".to_owned(),
                    known => format!("it has {known}"),
                };
                let name = self.kind.name;
                Err(Refusal::bad_body(&format!("{name} has no attribute {key:?}: {known}")))
            }
        }
    }

    /// The fault it is on a link.
    pub(super) fn injection(&self) -> Result<Option<Injection>, Refusal> {
        fault::injection(self).map_err(|why| Refusal::bad_body(&why))
    }

    pub(super) fn render(&self) -> String {
        let mut more = String::new();
        for (key, value) in [("duration", self.duration), ("count", self.count)] {
            if let Some(value) = value {
                more.push_str(&format!(",\"{key}\":{value}"));
            }
        }
        format!(
            r#"{{"attributes":{},"name":{},"type":{},"stream":{},"toxicity":{}{more}}}"#,
            self.attributes.render(),
            json::text(&self.name),
            json::text(self.kind.name),
            json::text(&self.stream),
            json::float(self.toxicity),
        )
    }
}
