//! An answer, and RabbitMQ's ways of refusing.

use serde_json::{Value as Json, json};

use crate::look::admin::AdminError;
use crate::wire::{AmqpError, Code};

/// What goes back. Refusals are answers, too.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub body: Option<Json>,
    pub location: Option<String>,
    pub allow: Option<String>,
    /// Whether to ask for a login.
    pub challenge: bool,
}

impl Answer {
    fn status(status: u16) -> Answer {
        Answer { status, body: None, location: None, allow: None, challenge: false }
    }

    /// 200 with a body.
    pub fn ok(body: Json) -> Answer {
        Answer { body: Some(body), ..Answer::status(200) }
    }

    /// 200 with nothing but what could be asked.
    pub fn options(allow: String) -> Answer {
        Answer { allow: Some(allow), ..Answer::status(200) }
    }

    /// Made what was not there (201), or changed what was (204).
    pub fn put(is_new: bool) -> Answer {
        Answer::status(if is_new { 201 } else { 204 })
    }

    /// 201: it is to be found there now.
    pub fn created(location: String) -> Answer {
        Answer { location: Some(location), ..Answer::status(201) }
    }

    /// 204.
    pub fn done() -> Answer {
        Answer::status(204)
    }

    /// An error as RabbitMQ words all of them.
    pub fn error(status: u16, error: &str, reason: impl Into<Json>) -> Answer {
        let body = json!({ "error": error, "reason": reason.into() });
        Answer { body: Some(body), ..Answer::status(status) }
    }

    /// 400.
    pub fn bad(reason: impl Into<Json>) -> Answer {
        Answer::error(400, "bad_request", reason)
    }

    /// 404 for what was asked for itself.
    pub fn unknown() -> Answer {
        Answer::error(404, "Object Not Found", "Not Found")
    }

    /// 404 for what it needs.
    pub fn missing(reason: &str) -> Answer {
        Answer::error(404, "not_found", reason)
    }

    /// 401 for somebody who is known and may not.
    pub fn forbidden(reason: &str) -> Answer {
        Answer::error(401, "not_authorised", reason)
    }

    /// 401 for somebody whose name or password is wrong.
    pub fn stranger() -> Answer {
        Answer::error(401, "not_authorized", "Not_Authorized")
    }

    /// 401 for somebody who gave no name.
    pub fn log_in() -> Answer {
        Answer { challenge: true, ..Answer::status(401) }
    }

    /// 405.
    pub fn not_allowed(allow: String) -> Answer {
        Answer { allow: Some(allow), ..Answer::status(405) }
    }

    /// 503 of a health check.
    pub fn failed(body: Json) -> Answer {
        Answer { body: Some(body), ..Answer::status(503) }
    }
}

impl From<AmqpError> for Answer {
    /// What a client would be told, as management tells it.
    fn from(error: AmqpError) -> Answer {
        let reason = error.explanation.unwrap_or_else(|| error.code.name().to_owned());
        match error.code {
            Code::AccessRefused => Answer::forbidden("Access refused."),
            Code::NotFound => Answer::missing(&reason),
            _ => Answer::bad(reason),
        }
    }
}

impl From<AdminError> for Answer {
    fn from(error: AdminError) -> Answer {
        match error {
            AdminError::Refused(error) => error.into(),
            AdminError::Unknown(_) => Answer::missing(&error.to_string()),
            AdminError::Pattern(_) => Answer::bad(error.to_string()),
        }
    }
}
