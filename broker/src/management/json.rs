//! Tables and properties as JSON, and back, by RabbitMQ's rules.

use serde_json::{Map, Value as Json, json};

use super::answer::Answer;
use super::request::Object;
use crate::wire::{Props, Table, Value};

/// A table as an object.
pub(super) fn from_table(table: &Table) -> Json {
    let entries = table.0.iter().map(|(key, value)| (key.clone(), from_value(value)));
    Json::Object(entries.collect())
}

fn from_value(value: &Value) -> Json {
    match value {
        Value::Bool(truth) => json!(truth),
        Value::F32(n) => json!(n),
        Value::F64(n) => json!(n),
        Value::Timestamp(n) => json!(n),
        Value::Array(values) => values.iter().map(from_value).collect(),
        Value::Table(table) => from_table(table),
        Value::Void => Json::Null,
        other => match other.as_int() {
            Some(n) => json!(n),
            None => json!(other.shown()),
        },
    }
}

/// An object as a table.
pub(super) fn to_table(object: &Map<String, Json>) -> Table {
    Table(object.iter().map(|(key, value)| (key.clone(), to_value(value))).collect())
}

fn to_value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Void,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(n) => match n.as_i64() {
            Some(n) => Value::I64(n),
            None => Value::F64(n.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::text(text),
        Json::Array(values) => Value::Array(values.iter().map(to_value).collect()),
        Json::Object(object) => Value::Table(to_table(object)),
    }
}

/// The table under `key`; nothing is an empty one, also written as an empty list.
pub(super) fn table_in(object: &Object, key: &str) -> Result<Table, Answer> {
    match object.get(key) {
        None => Ok(Table::default()),
        Some(Json::Array(values)) if values.is_empty() => Ok(Table::default()),
        Some(Json::Object(entries)) => Ok(to_table(entries)),
        Some(_) => Err(Answer::bad(json!(["not_map", key]))),
    }
}

/// Properties; without any, RabbitMQ shows an empty list.
pub(super) fn from_props(props: &Props) -> Json {
    let mut all = Map::new();
    for (key, text) in [
        ("content_type", &props.content_type),
        ("content_encoding", &props.content_encoding),
        ("correlation_id", &props.correlation_id),
        ("reply_to", &props.reply_to),
        ("expiration", &props.expiration),
        ("message_id", &props.message_id),
        ("type", &props.kind),
        ("user_id", &props.user_id),
        ("app_id", &props.app_id),
        ("cluster_id", &props.cluster_id),
    ] {
        if let Some(text) = text {
            all.insert(key.to_owned(), json!(text));
        }
    }
    let numbers = [
        ("delivery_mode", props.delivery_mode.map(u64::from)),
        ("priority", props.priority.map(u64::from)),
        ("timestamp", props.timestamp),
    ];
    for (key, number) in numbers {
        if let Some(number) = number {
            all.insert(key.to_owned(), json!(number));
        }
    }
    if let Some(headers) = &props.headers {
        all.insert("headers".to_owned(), from_table(headers));
    }
    if all.is_empty() { json!([]) } else { Json::Object(all) }
}

/// Properties from the object under `properties`. Names that mean nothing are passed over.
pub(super) fn to_props(json: &Json) -> Result<Props, Answer> {
    let object = match json {
        Json::Object(entries) => Object(entries.clone()),
        Json::Array(values) if values.is_empty() => return Ok(Props::default()),
        _ => return Err(Answer::bad(json!(["not_map", "properties"]))),
    };
    let text = |key: &str| -> Result<Option<String>, Answer> {
        match object.text(key)? {
            // It must fit a short string.
            Some(text) if text.len() > 255 => Err(Answer::bad(json!(["too_long", key]))),
            text => Ok(text.map(str::to_owned)),
        }
    };
    let byte = |key: &str| -> Result<Option<u8>, Answer> {
        let Some(number) = object.number(key)? else { return Ok(None) };
        u8::try_from(number).map(Some).map_err(|_| Answer::bad(json!(["not_octet", key])))
    };
    let timestamp = match object.number("timestamp")? {
        None => None,
        Some(n) => {
            let n = u64::try_from(n);
            Some(n.map_err(|_| Answer::bad(json!(["not_timestamp", "timestamp"])))?)
        }
    };
    let headers = table_in(&object, "headers")?;
    Ok(Props {
        content_type: text("content_type")?,
        content_encoding: text("content_encoding")?,
        headers: object.get("headers").map(|_| headers),
        delivery_mode: byte("delivery_mode")?,
        priority: byte("priority")?,
        correlation_id: text("correlation_id")?,
        reply_to: text("reply_to")?,
        expiration: text("expiration")?,
        message_id: text("message_id")?,
        timestamp,
        kind: text("type")?,
        user_id: text("user_id")?,
        app_id: text("app_id")?,
        cluster_id: text("cluster_id")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_come_back_as_they_went() {
        let object = json!({"a": 1, "b": [true, null, "x"], "c": {"d": 1.5}});
        let table = to_table(object.as_object().expect("an object"));
        assert_eq!(from_table(&table), object);
        assert_eq!(table.get("a"), Some(&Value::I64(1)));
    }

    #[test]
    fn properties_are_checked() {
        let check = |json: Json, expect: Result<Json, Json>| {
            let got = to_props(&json).map(|props| from_props(&props));
            let got = got.map_err(|a| a.body.expect("a reason")["reason"].clone());
            assert_eq!(got, expect);
        };
        check(json!({}), Ok(json!([])));
        check(json!({"type": "t", "bogus": 1}), Ok(json!({"type": "t"})));
        check(json!({"headers": {"a": 1}}), Ok(json!({"headers": {"a": 1}})));
        check(json!({"delivery_mode": "2"}), Ok(json!({"delivery_mode": 2})));
        check(json!({"delivery_mode": "x"}), Err(json!(["not_int", "delivery_mode"])));
        check(json!({"content_type": 5}), Err(json!(["not_string", "content_type"])));
        check(json!({"priority": 300}), Err(json!(["not_octet", "priority"])));
    }
}
