//! A request, taken apart: method, decoded path, query, credentials; and its body as a JSON object.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value as Json};

use super::answer::Answer;

/// Everything before the body.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub method: String,
    /// Behind `/api`; none if the path is not of the API.
    pub path: Option<Vec<String>>,
    pub query: Vec<(String, String)>,
    /// None if there are none; those that cannot be read are nobody's.
    pub login: Option<(String, String)>,
    /// `X-Reason`.
    pub reason: Option<String>,
}

impl Head {
    pub fn of(parts: &Parts) -> Head {
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        Head {
            method: parts.method.as_str().to_owned(),
            path: segments(parts.uri.path()),
            query: parts.uri.query().map(pairs).unwrap_or_default(),
            login: text(AUTHORIZATION.as_str()).map(|value| login(value).unwrap_or_default()),
            reason: text("x-reason").map(str::to_owned),
        }
    }

    /// The value of a parameter of the query.
    pub fn asks(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// Whether a parameter of the query is set to `true`.
    pub fn wants(&self, name: &str) -> bool {
        self.asks(name) == Some("true")
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn segments(path: &str) -> Option<Vec<String>> {
    let rest = path.strip_prefix("/api/")?;
    // A slash at the end adds nothing.
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    Some(rest.split('/').map(decoded).collect())
}

fn pairs(query: &str) -> Vec<(String, String)> {
    let pair = |text: &str| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        (decoded(key), decoded(&value.replace('+', " ")))
    };
    query.split('&').map(pair).collect()
}

fn login(header: &str) -> Option<(String, String)> {
    let (scheme, rest) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let bytes = BASE64_STANDARD.decode(rest.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}

/// A request that was read whole.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub head: &'a Head,
    pub body: Bytes,
}

impl Request<'_> {
    /// The body, which must be an object; none is an empty one.
    pub fn object(&self) -> Result<Object, Answer> {
        if self.body.is_empty() {
            return Ok(Object(Map::new()));
        }
        match serde_json::from_slice(&self.body) {
            Ok(Json::Object(map)) => Ok(Object(map)),
            _ => Err(Answer::bad("not_json")),
        }
    }
}

/// The body of a request.
#[derive(Debug)]
pub(super) struct Object(pub Map<String, Json>);

impl Object {
    /// Refuses a body without these, naming all that are missing.
    pub fn needs(&self, keys: &[&str]) -> Result<(), Answer> {
        let missing: Vec<String> = keys
            .iter()
            .filter(|key| !self.0.contains_key(**key))
            .map(|key| format!("{{key_missing,{key}}}"))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Answer::bad(format!("[{}]", missing.join(","))))
    }

    /// What is under `key`, unless it is null.
    pub fn get(&self, key: &str) -> Option<&Json> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// The text under `key`.
    pub fn text(&self, key: &str) -> Result<Option<&str>, Answer> {
        match self.get(key) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(_) => Err(Answer::bad(serde_json::json!(["not_string", key]))),
        }
    }

    /// The words under `key`: a list, or text with commas.
    pub fn list(&self, key: &str) -> Result<Option<Vec<String>>, Answer> {
        let trimmed = |words: &mut dyn Iterator<Item = &str>| {
            words.map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
        };
        match self.get(key) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(trimmed(&mut text.split(',')))),
            Some(Json::Array(words)) => {
                Ok(Some(trimmed(&mut words.iter().filter_map(Json::as_str))))
            }
            Some(_) => Err(Answer::bad(serde_json::json!(["not_string", key]))),
        }
    }

    /// The truth under `key`; nothing is false.
    pub fn truth(&self, key: &str) -> Result<bool, Answer> {
        match self.0.get(key) {
            None | Some(Json::Bool(false)) => Ok(false),
            Some(Json::Bool(true)) => Ok(true),
            Some(Json::String(text)) if text == "true" => Ok(true),
            Some(Json::String(text)) if text == "false" => Ok(false),
            Some(other) => Err(Answer::bad(serde_json::json!(["not_boolean", other]))),
        }
    }

    /// The whole number under `key`, also written as text.
    pub fn number(&self, key: &str) -> Result<Option<i64>, Answer> {
        let number = match self.get(key) {
            None => return Ok(None),
            Some(Json::String(text)) => text.parse().ok(),
            Some(other) => other.as_i64(),
        };
        number.map(Some).ok_or_else(|| Answer::bad(serde_json::json!(["not_int", key])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_decoded_after_it_is_split() {
        let check = |path: &str, expect: Option<&[&str]>| {
            let got = segments(path);
            let got: Option<Vec<&str>> = got.as_ref().map(|s| s.iter().map(|s| &**s).collect());
            assert_eq!(got.as_deref(), expect, "{path}");
        };
        check("/api/queues/%2F/a%20b", Some(&["queues", "/", "a b"]));
        check("/api/queues/%2f/", Some(&["queues", "/"]));
        check("/api/x/%257Ey", Some(&["x", "%7Ey"]));
        check("/other", None);
    }

    #[test]
    fn logins_are_basic() {
        let check = |header: &str, expect: Option<(&str, &str)>| {
            let expect = expect.map(|(u, p)| (u.to_owned(), p.to_owned()));
            assert_eq!(login(header), expect, "{header}");
        };
        check("Basic Z3Vlc3Q6Z3Vlc3Q=", Some(("guest", "guest")));
        check("basic YTpiOmM=", Some(("a", "b:c")));
        check("Bearer Z3Vlc3Q6Z3Vlc3Q=", None);
        check("Basic !", None);
        check("Basic", None);
    }
}
