//! AMQP URLs: taking one apart, and writing one for a virtual host.

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

/// What was written where a URL belongs, with anything hidden that may be a password: before the last `@`,
/// or where a port belongs. What is no URL is hidden all the more.
pub(super) fn redacted(text: &str) -> String {
    let Some((before, host)) = text.rsplit_once('@') else { return without_ports(text) };
    let host = without_ports(host);
    let Some((scheme, user)) = before.split_once("://") else { return format!("***@{host}") };
    match user.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:***@{host}"),
        None => format!("{before}@{host}"),
    }
}

/// Hides what stands in the place of a port and is none: the rest of a user's name and password, whose `@` was
/// forgotten.
fn without_ports(text: &str) -> String {
    let Some((scheme, rest)) = text.rsplit_once("://") else { return text.to_owned() };
    let host = rest.split('/').next().unwrap_or_default();
    let name = if host.starts_with('[') { host.find(']').unwrap_or(0) } else { 0 };
    match host[name..].split_once(':') {
        Some((more, port)) if !port.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{scheme}://{}{more}:***", &host[..name])
        }
        _ => text.to_owned(),
    }
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
    }

    #[test]
    fn writing() {
        let addr = "127.0.0.1:5672".parse().expect("an address");
        assert_eq!(amqp_url(addr, ("guest", "a/b"), "/"), "amqp://guest:a%2Fb@127.0.0.1:5672/%2F");
        assert_eq!(redacted("amqp://me:secret@host/x"), "amqp://me:***@host/x");
        assert_eq!(redacted("amqp://me:se@cret@no host/x"), "amqp://me:***@no host/x");
        assert_eq!(decode(&encode("é /%~")), Ok("é /%~".to_owned()));
    }

    #[test]
    fn a_password_is_hidden_wherever_it_stands() {
        let check = |text: &str, expect: &str| assert_eq!(redacted(text), expect, "{text}");
        check("amqp://me:s3cret@host:5672", "amqp://me:***@host:5672");
        check("amqp://me@host", "amqp://me@host");
        check("amqp://host,https://x:s3cret@h", "amqp://host,https:***@h");
        check("amqp://me:s3cret@host,http://x:s3cret@h:1", "amqp://me:***@h:1");
        check("amqp://me:p%zz@host", "amqp://me:***@host");
        check("amqp:/me:s3cret@host", "***@host");
        check("amqp=me:s3cret@host", "***@host");
        check("me:s3cret@host:5672", "***@host:5672");
        check("s3cret@host", "***@host");
        check("://me:s3cret@host", "://me:***@host");
        check("amqp://me:s3cret", "amqp://me:***");
        check("amqp://me:123s3cret", "amqp://me:***");
        check("amqp://host,http://x:s3cret", "amqp://host,http://x:***");
        check("amqp://[::1]:5672/x", "amqp://[::1]:5672/x");
        check("amqp://no port:x/", "amqp://no port:***");
        check("container:a b", "container:a b");
        check("", "");
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
