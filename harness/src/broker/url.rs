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
        let or_guest = |text: Option<&str>| match text {
            None | Some("") => Ok("guest".to_owned()),
            Some(text) => decode(text),
        };
        Ok(AmqpUrl {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(5672),
            user: or_guest(Some(url.username()))?,
            password: or_guest(url.password())?,
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

/// The URL with its password hidden, for messages.
pub(super) fn redacted(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return hidden(text) };
    if url.password().is_none() || url.set_password(Some("***")).is_err() {
        return text.to_owned();
    }
    url.to_string()
}

/// What stands where a password would, hidden, in what is no URL.
fn hidden(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    match rest.rsplit_once('@').map(|(user, host)| (user.split_once(':'), host)) {
        Some((Some((user, _)), host)) => format!("{scheme}://{user}:***@{host}"),
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

fn decode(text: &str) -> Result<String, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let wrong = || format!("'{text}' holds a '%' that no two hexadecimal digits follow");
        let digits =
            rest.get(..2).and_then(|two| std::str::from_utf8(two).ok()).ok_or_else(wrong)?;
        out.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        rest = &rest[2..];
    }
    String::from_utf8(out).map_err(|_| format!("'{text}' is not UTF-8 once decoded"))
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
}
