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

impl Endpoint {
    /// Parse an `amqp://` or `amqps://` URL; the error never quotes the password.
    ///
    /// No path and the path `/` both mean the virtual host `/`, which is also written `%2f`.
    pub fn parse(url: &str) -> Result<Self, String> {
        well_formed(url.trim())?;
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

/// What the parser takes for a path, with `localhost` as the host: a login may stand in it.
fn well_formed(url: &str) -> Result<(), String> {
    let (_, rest) = url
        .split_once("://")
        .filter(|(scheme, _)| matches!(*scheme, "amqp" | "amqps"))
        .ok_or("it does not begin with amqp:// or amqps://")?;
    match rest.split_once('/') {
        Some((_, path)) if path.contains('@') => {
            Err("an @ follows the first /: write a / in the password as %2F, an @ in the virtual host as %40".into())
        }
        _ => Ok(()),
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
    #[case("amqp:/u:secret@h")]
    #[case("amqp:///u:secret@h")]
    #[case("amqp://u/secret@h")]
    #[case("amqp:u:secret@h")]
    #[case("amqp://u:secret@h:99999")]
    #[case("amqp://u:secret@h/v?heartbeat=often")]
    #[case("")]
    fn bad_urls_are_refused_without_quoting_a_secret(#[case] url: &str) {
        let error = Endpoint::parse(url).expect_err("refused");
        assert!(!error.contains("secret"), "{error}");
    }
}
