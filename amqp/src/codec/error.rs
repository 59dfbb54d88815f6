//! AMQP's reply codes and RabbitMQ's way of wording an error.

use super::name::MethodId;
use super::text::{from_bytes, to_bytes};

/// Of a reply text, in bytes.
const MOST: usize = 255;
/// What is kept of a longer one.
const CUT: usize = 252;

/// The reply codes of AMQP 0-9-1 that a broker sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// 312, only in `basic.return`.
    NoRoute,
    /// 320.
    ConnectionForced,
    /// 403.
    AccessRefused,
    /// 404.
    NotFound,
    /// 405.
    ResourceLocked,
    /// 406.
    PreconditionFailed,
    /// 501.
    FrameError,
    /// 502.
    SyntaxError,
    /// 503.
    CommandInvalid,
    /// 504.
    ChannelError,
    /// 505.
    UnexpectedFrame,
    /// 530.
    NotAllowed,
    /// 540.
    NotImplemented,
    /// 541.
    InternalError,
}

impl Code {
    /// The number and the name on the wire, and whether the whole connection dies of it.
    const fn row(self) -> (u16, &'static str, bool) {
        match self {
            Code::NoRoute => (312, "NO_ROUTE", false),
            Code::ConnectionForced => (320, "CONNECTION_FORCED", true),
            Code::AccessRefused => (403, "ACCESS_REFUSED", false),
            Code::NotFound => (404, "NOT_FOUND", false),
            Code::ResourceLocked => (405, "RESOURCE_LOCKED", false),
            Code::PreconditionFailed => (406, "PRECONDITION_FAILED", false),
            Code::FrameError => (501, "FRAME_ERROR", true),
            Code::SyntaxError => (502, "SYNTAX_ERROR", true),
            Code::CommandInvalid => (503, "COMMAND_INVALID", true),
            Code::ChannelError => (504, "CHANNEL_ERROR", true),
            Code::UnexpectedFrame => (505, "UNEXPECTED_FRAME", true),
            Code::NotAllowed => (530, "NOT_ALLOWED", true),
            Code::NotImplemented => (540, "NOT_IMPLEMENTED", true),
            Code::InternalError => (541, "INTERNAL_ERROR", true),
        }
    }

    /// The reply code.
    pub const fn number(self) -> u16 {
        self.row().0
    }

    /// The reply code's name, as RabbitMQ writes it in front of the text.
    pub const fn name(self) -> &'static str {
        self.row().1
    }

    /// Whether it closes the connection rather than the channel.
    pub const fn is_hard(self) -> bool {
        self.row().2
    }
}

/// What the broker holds against a client: it goes out as `channel.close` or `connection.close`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct AmqpError {
    /// The reply code.
    pub code: Code,
    /// The text after "NAME - ". None where RabbitMQ sends the bare name.
    pub explanation: Option<String>,
    /// The method that is at fault, if one is.
    pub method: MethodId,
}

impl AmqpError {
    /// An error whose method is filled in by whoever knows it.
    pub fn new(code: Code, explanation: impl Into<String>) -> AmqpError {
        AmqpError { code, explanation: Some(explanation.into()), method: MethodId::NONE }
    }

    /// What RabbitMQ says when it crashed itself.
    pub fn internal() -> AmqpError {
        AmqpError { code: Code::InternalError, explanation: None, method: MethodId::NONE }
    }

    /// The same, blamed on `method` unless a method is blamed already. RabbitMQ's own crash is nobody's fault.
    #[must_use]
    pub fn of(mut self, method: MethodId) -> AmqpError {
        if self.method == MethodId::NONE && self.explanation.is_some() {
            self.method = method;
        }
        self
    }

    fn whole(&self) -> String {
        match &self.explanation {
            None => self.code.name().to_owned(),
            Some(explanation) => format!("{} - {explanation}", self.code.name()),
        }
    }

    /// Whether RabbitMQ fails to put it into words: it cannot cut what is longer than a short string and has anything
    /// but ASCII in what would be left of it.
    pub fn is_unspeakable(&self) -> bool {
        let whole = self.whole();
        let whole = to_bytes(&whole);
        whole.len() > MOST && !whole[..CUT].is_ascii()
    }

    /// The reply text, cut to what fits a short string the way RabbitMQ cuts it.
    pub fn text(&self) -> String {
        let whole = self.whole();
        let bytes = to_bytes(&whole);
        if bytes.len() <= MOST {
            return whole;
        }
        format!("{}...", from_bytes(&bytes[..CUT]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_carries_the_name_and_fits_a_short_string() {
        let error = AmqpError::new(Code::NotFound, "no queue 'q' in vhost '/'");
        assert_eq!(error.text(), "NOT_FOUND - no queue 'q' in vhost '/'");
        assert_eq!(AmqpError::internal().text(), "INTERNAL_ERROR");
        let check = |explanation: String, expect: usize, unspeakable: bool| {
            let error = AmqpError::new(Code::NotFound, explanation);
            assert_eq!(to_bytes(&error.text()).len(), expect, "{error}");
            assert_eq!(error.is_unspeakable(), unspeakable, "{error}");
        };
        // "NOT_FOUND - " has twelve.
        check("a".repeat(243), 255, false);
        check("a".repeat(244), 255, false);
        check("é".repeat(121), 254, false);
        check("é".repeat(122), 255, true);
        check(format!("{}é", "a".repeat(239)), 253, false);
        check(format!("{}é{}", "a".repeat(239), "b".repeat(9)), 255, true);
        check(format!("{}é{}", "a".repeat(240), "b".repeat(9)), 255, false);
    }
}
