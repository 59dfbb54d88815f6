//! Where the broker is: an AMQP URL, checked, and printable without its password.
//!
//! Does not resolve names or open sockets: that is `dial.rs`.

use std::fmt;

use lapin::uri::{AMQPScheme, AMQPUri};

/// One broker address. `Display` and `Debug` mask the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub(crate) uri: AMQPUri,
}

/// A URL without its password: whatever follows the first `:` before the last `@` is cut. Without an `@`, so is what
/// follows the host and is no port.
pub fn mask(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    // A password may itself hold a slash or an @ that nobody escaped: cut at the last @ there is.
    let rest = match rest.rfind('@') {
        Some(at) => {
            let user = rest[..at].split(':').next().unwrap_or_default();
            let secret = rest[..at].contains(':');
            format!("{user}{}@{}", if secret { ":***" } else { "" }, &rest[at + 1..])
        }
        None => match rest.split_once(':') {
            Some((host, port))
                if !host.contains('[') && !port.starts_with(|c: char| c.is_ascii_digit()) =>
            {
                format!("{host}:***")
            }
            _ => rest.to_owned(),
        },
    };
    if scheme.is_empty() { rest } else { format!("{scheme}://{rest}") }
}

impl Endpoint {
    /// Parse an `amqp://` or `amqps://` URL; the error never quotes the password.
    ///
    /// No path and the path `/` both mean the virtual host `/`, which is also written `%2f`.
    pub fn parse(url: &str) -> Result<Self, String> {
        let mut uri: AMQPUri = url.trim().parse().map_err(|error: String| {
            // The parser's message may quote the URL itself.
            if error.contains("://") { "not a URL".to_owned() } else { error }
        })?;
        // `Url::domain()` is None for a bracketed IPv6 address, and the parser then silently takes
        // `localhost` instead (amq-protocol-uri lib.rs, from_str): put the address back.
        if let Some(address) = bracketed_host(url) {
            uri.authority.host = address.to_owned();
        }
        if uri.authority.host.is_empty() {
            return Err("no host".to_owned());
        }
        // `amqp://host/` names the virtual host "" by RabbitMQ's URI specification. Nobody has one of that name;
        // most people, and pika, mean the default.
        if uri.vhost.is_empty() {
            uri.vhost = "/".to_owned();
        }
        Ok(Self { uri })
    }

    /// `host:port`, as dialled.
    pub fn address(&self) -> String {
        let host = &self.uri.authority.host;
        if host.contains(':') {
            format!("[{host}]:{}", self.uri.authority.port)
        } else {
            format!("{host}:{}", self.uri.authority.port)
        }
    }

    /// The virtual host asked for.
    pub fn vhost(&self) -> &str {
        &self.uri.vhost
    }

    pub(crate) fn tls(&self) -> bool {
        self.uri.scheme == AMQPScheme::AMQPS
    }
}

fn bracketed_host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (address, _) = host.strip_prefix('[')?.split_once(']')?;
    address.parse::<std::net::Ipv6Addr>().is_ok().then_some(address)
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls() { "amqps" } else { "amqp" };
        let user = &self.uri.authority.userinfo.username;
        write!(f, "{scheme}://{user}:***@{}/{}", self.address(), self.uri.vhost.replace('/', "%2f"))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("amqp://u:secret@h:1/v", "amqp://u:***@h:1/v")]
    #[case("amqp://u:s@ecret@h:1/v", "amqp://u:***@h:1/v")]
    #[case("amqp://u:se/cret@h:1/v", "amqp://u:***@h:1/v")]
    #[case("amqp://u@h", "amqp://u@h")]
    #[case("amqp://h:5672/%2f", "amqp://h:5672/%2f")]
    #[case("u:secret@h", "u:***@h")]
    #[case("nonsense", "nonsense")]
    #[case("amqp://u:secret", "amqp://u:***")]
    #[case("amqp://[::1]:5672/v", "amqp://[::1]:5672/v")]
    #[case("amqp://u:pa,secret@h", "amqp://u:***@h")]
    #[case("amqp:/u:secret@h", "amqp:***@h")]
    fn masking(#[case] url: &str, #[case] expect: &str) {
        assert_eq!(mask(url), expect);
    }

    #[rstest]
    #[case("amqp://u:secret@h:1/v", "amqp://u:***@h:1/v")]
    #[case("amqp://h", "amqp://guest:***@h:5672/%2f")]
    #[case("amqps://h/", "amqps://guest:***@h:5671/%2f")]
    #[case("amqp://u:secret@h:5672/", "amqp://u:***@h:5672/%2f")]
    #[case("amqp://h:5672/?heartbeat=5", "amqp://guest:***@h:5672/%2f")]
    #[case("amqp://h:5672?heartbeat=5", "amqp://guest:***@h:5672/%2f")]
    #[case("amqp://h/%2F", "amqp://guest:***@h:5672/%2f")]
    #[case("amqp://h//", "amqp://guest:***@h:5672/%2f")]
    #[case("amqp://h/v", "amqp://guest:***@h:5672/v")]
    #[case("amqp://u:secret@[::1]:5673/%2f", "amqp://u:***@[::1]:5673/%2f")]
    fn display_never_shows_the_password(#[case] url: &str, #[case] expect: &str) {
        let endpoint = Endpoint::parse(url).expect("valid");
        assert_eq!(endpoint.to_string(), expect);
        assert!(!format!("{endpoint:?}").contains("secret"));
    }

    #[rstest]
    #[case("http://u:secret@h")]
    #[case("secret")]
    #[case("amqp://u:secret@h:99999")]
    #[case("amqp://u:secret@h/v?heartbeat=often")]
    #[case("")]
    fn bad_urls_are_refused_without_quoting_a_secret(#[case] url: &str) {
        let error = Endpoint::parse(url).expect_err("refused");
        assert!(!error.contains("secret"), "{error}");
    }
}
