//! An answer, and Toxiproxy's ways of refusing.

use super::json;

/// What the body is.
#[derive(Debug)]
pub(super) enum Body {
    None,
    Json(String),
    /// Of a content type of its own.
    Typed(&'static str, String),
    /// As Go's `http.Error` has it.
    Plain(String),
}

/// What goes back. Refusals are answers, too.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Body,
    pub(super) location: Option<String>,
}

/// Why something cannot be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) message: String,
    pub(super) status: u16,
}

impl Refusal {
    pub(super) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { message: message.into(), status }
    }

    /// 400: what was sent makes no sense.
    pub(super) fn bad_body(why: &str) -> Self {
        Self::new(400, format!("bad request body: {why}"))
    }

    /// 400: a field that has to be there is not.
    pub(super) fn missing(field: &str) -> Self {
        Self::new(400, format!("missing required field: {field}"))
    }

    pub(super) fn no_proxy() -> Self {
        Self::new(404, "proxy not found")
    }

    pub(super) fn no_toxic() -> Self {
        Self::new(404, "toxic not found")
    }

    /// As the members of an object.
    pub(super) fn members(&self) -> String {
        format!(r#""error":{},"status":{}"#, json::text(&self.message), self.status)
    }
}

impl Answer {
    fn new(status: u16, body: Body) -> Self {
        Self { status, body, location: None }
    }

    pub(super) fn ok(body: String) -> Self {
        Self::new(200, Body::Json(body))
    }

    pub(super) fn json(status: u16, body: String) -> Self {
        Self::new(status, Body::Json(body))
    }

    pub(super) fn typed(content_type: &'static str, body: String) -> Self {
        Self::new(200, Body::Typed(content_type, body))
    }

    pub(super) fn text(status: u16, body: &str) -> Self {
        Self::new(status, Body::Plain(body.to_owned()))
    }

    /// 204.
    pub(super) fn done() -> Self {
        Self::new(204, Body::None)
    }

    /// 405.
    pub(super) fn not_allowed() -> Self {
        Self::new(405, Body::None)
    }

    /// 301.
    pub(super) fn moved(to: String) -> Self {
        Self { location: Some(to), ..Self::new(301, Body::None) }
    }

    pub(super) fn error(status: u16, message: &str) -> Self {
        Refusal::new(status, message).into()
    }

    pub(super) fn bad_body(why: &str) -> Self {
        Refusal::bad_body(why).into()
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.status, Body::Plain(format!("{{{}}}\n", refusal.members())))
    }
}
