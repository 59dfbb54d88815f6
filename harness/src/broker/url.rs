//! AMQP URLs: taking one apart, and writing one for a virtual host.

use gauntlet_consumer::redact;
use reqwest::Url;

/// Where an AMQP URL points, with whose name. What it leaves out has RabbitMQ's defaults.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct AmqpUrl {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: String,
}

impl AmqpUrl {
    /// Reads one; the error says what would be right.
    pub(super) fn parse(text: &str) -> Result<AmqpUrl, String> {
        if text.starts_with("amqps://") {
            return Err(
                "TLS is not spoken here, because the network could not see the frames; use amqp://"
                    .into(),
            );
        }
        if !text.starts_with("amqp://") {
            return Err("it must begin with amqp://".into());
        }
        let path = text["amqp://".len()..].split_once('/').map(|(_, path)| path);
        if path.is_some_and(|path| path.contains('@')) {
            return Err("an @ follows the first /: write a / in the password as %2F".into());
        }
        let url = Url::parse(text)
            .map_err(|error| format!("{error}; write amqp://USER:PASSWORD@HOST:PORT"))?;
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or("it names no host; write amqp://USER:PASSWORD@HOST:PORT")?;
        let or_guest = |what: &str, text: Option<&str>| match text {
            None | Some("") => Ok("guest".to_owned()),
            Some(text) => decode(text).map_err(|why| format!("{what} {why}")),
        };
        Ok(AmqpUrl {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(5672),
            user: or_guest("the user's name", Some(url.username()))?,
            password: or_guest("the password", url.password())?,
        })
    }
}

/// Where a management API is, and whose name and password it is asked with, where the URL says so.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ManagementUrl {
    /// `http://host:port`, without a login.
    pub(super) base: String,
    pub(super) login: Option<(String, String)>,
}

impl ManagementUrl {
    /// Reads one; the error says what would be right, and quotes no password.
    pub(super) fn parse(text: &str) -> Result<ManagementUrl, String> {
        if !text.starts_with("http://") {
            return Err(format!("'{}' must begin with http://", redact::url(text)));
        }
        let wrong = |why: String| {
            let shown = redact::url(text);
            format!("'{shown}': {why}; write http://HOST:PORT or http://USER:PASSWORD@HOST:PORT")
        };
        let mut url = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
        if url.path().contains('@') {
            return Err(wrong("an @ follows the first /".into()));
        }
        let part = |text: &str| decode(text).map_err(|why| wrong(format!("the login {why}")));
        let login = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => Some((part(user)?, part(password.unwrap_or_default())?)),
        };
        // Both can be taken from any http URL.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        Ok(ManagementUrl { base: url.as_str().trim_end_matches('/').to_owned(), login })
    }
}

/// Not derived: a password has no business in a log.
impl std::fmt::Debug for AmqpUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "amqp://{}:***@{}:{}", self.user, self.host, self.port)
    }
}

/// `amqp://user:password@host:port/vhost`, each part encoded.
pub(super) fn amqp_url(
    addr: std::net::SocketAddr,
    (user, password): (&str, &str),
    vhost: &str,
) -> String {
    format!("amqp://{}:{}@{addr}/{}", encode(user), encode(password), encode(vhost))
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The error does not quote the text, which may be a password.
fn decode(text: &str) -> Result<String, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let wrong = || "holds a '%' that no two hexadecimal digits follow".to_owned();
        let digits =
            rest.get(..2).and_then(|two| std::str::from_utf8(two).ok()).ok_or_else(wrong)?;
        out.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        rest = &rest[2..];
    }
    String::from_utf8(out).map_err(|_| "is not UTF-8 once decoded".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsing() {
        let check = |text: &str, expect: &str| {
            let said = match AmqpUrl::parse(text) {
                Ok(url) => format!("{} {} {} {}", url.host, url.port, url.user, url.password),
                Err(why) => why,
            };
            assert!(said.contains(expect), "{text}: {said}");
        };
        check("amqp://rabbit", "rabbit 5672 guest guest");
        check("amqp://me:p%40ss@[::1]:5673/%2f", "::1 5673 me p@ss");
        check("amqps://rabbit", "TLS");
        check("amqp://", "host");
        check("amqp://me:50%@rabbit", "'%'");
        check("http://rabbit", "must begin with amqp://");
        check("amqp:/me:p@rabbit", "must begin with amqp://");
        check("amqp://me/p@rabbit", "%2F");
        check("amqp://me:a,b@rabbit", "rabbit 5672 me a,b");
    }

    #[test]
    fn a_management_api_may_have_a_login_of_its_own() {
        let check = |text: &str, expect: &str| {
            let said = match ManagementUrl::parse(text) {
                Ok(ManagementUrl { base, login }) => format!("{base} {login:?}"),
                Err(why) => why,
            };
            assert!(said.contains(expect), "{text}: {said}");
        };
        check("http://h:8080/", "http://h:8080 None");
        check("http://me:p%40ss@h:8080/rabbit", r#"http://h:8080/rabbit Some(("me", "p@ss"))"#);
        check("https://me:secret@h", "'https://me:***@h' must begin with http://");
        check("http://me:secret@no host", "'http://me:***@no host': ");
        check("http://me:secret%zz@h", "the login holds a '%'");
    }

    #[test]
    fn writing() {
        let addr = "127.0.0.1:5672".parse().expect("an address");
        assert_eq!(amqp_url(addr, ("guest", "a/b"), "/"), "amqp://guest:a%2Fb@127.0.0.1:5672/%2F");
        assert_eq!(decode(&encode("é /%~")), Ok("é /%~".to_owned()));
    }

    #[test]
    fn an_error_quotes_no_password() {
        for (text, expect) in [
            ("amqp://me:s3cret%zz@host", "the password holds a '%'"),
            ("amqp://me:s3cret%@host", "the password holds a '%'"),
            ("amqp://me:s3cret%ff@host", "the password is not UTF-8"),
            ("amqp://s3cret%zz@host", "the user's name holds a '%'"),
        ] {
            let why = AmqpUrl::parse(text).expect_err("wrong");
            assert!(why.starts_with(expect) && !why.contains("s3cret"), "{why}");
        }
    }
}
