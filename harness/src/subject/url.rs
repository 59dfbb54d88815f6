//! The URL a subject is given.

use std::fmt;
use std::net::SocketAddr;

/// `amqp://user:password@host:port/vhost?heartbeat=seconds`, percent-encoded.
pub struct AmqpUrl<'a> {
    /// User.
    pub user: &'a str,
    /// Password.
    pub password: &'a str,
    /// Where to connect.
    pub addr: SocketAddr,
    /// Virtual host.
    pub vhost: &'a str,
    /// Heartbeat to ask for, seconds.
    pub heartbeat: u16,
}

impl fmt::Display for AmqpUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AmqpUrl { user, password, addr, vhost, heartbeat } = self;
        write!(
            f,
            "amqp://{}:{}@{addr}/{}?heartbeat={heartbeat}",
            encode(user),
            encode(password),
            encode(vhost)
        )
    }
}

/// RFC 3986: everything but unreserved characters.
pub(super) fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(b).to_string()
            }
            b => format!("%{b:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_unreserved_is_encoded() {
        let addr = SocketAddr::from(([127, 0, 0, 1], 5672));
        let url = AmqpUrl { user: "a", password: "p/@", addr, vhost: "/", heartbeat: 2 };
        assert_eq!(url.to_string(), "amqp://a:p%2F%40@127.0.0.1:5672/%2F?heartbeat=2");
    }
}
