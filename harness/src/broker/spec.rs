//! Which broker: the words of `--broker`, read and written.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use gauntlet_consumer::redact;
use gauntlet_judge::broker_fault::BrokerKind;

use super::BrokerError;
use super::url::{AmqpUrl, ManagementUrl};

/// The image used when only `container` is said.
const IMAGE: (&str, &str) = ("rabbitmq", "4.0-management");

/// Which broker to run against. From text: [`BrokerSpec::SYNTAX`].
#[derive(Clone, PartialEq, Eq)]
pub enum BrokerSpec {
    /// The model of RabbitMQ in this process.
    Embedded,
    /// A container where Docker has or can get the image, else a process on this machine.
    Auto,
    /// RabbitMQ in a container.
    Container {
        /// Such as `rabbitmq`, or with a registry.
        image: String,
        /// Such as `4.0-management`. Without the management plugin in the image it will not start.
        tag: String,
    },
    /// A private `rabbitmq-server` process.
    Local {
        /// The script that starts it, where it is not to be looked for.
        server: Option<PathBuf>,
    },
    /// Somebody's own.
    External {
        /// `amqp://user:password@host:port`; its virtual host is of no account.
        url: String,
        /// Its management API, `http://host:port` or, with a login other than the URL's, `http://user:password@host:port`;
        /// without it port 15672 of the same host is tried.
        management: Option<String>,
    },
}

impl BrokerSpec {
    /// How a broker is named, for `--help` and for errors.
    pub const SYNTAX: &str = "embedded, auto, container[:IMAGE[:TAG]], local[:PATH] or amqp://USER:PASSWORD@HOST:PORT[,http://[USER:PASSWORD@]MANAGEMENT:PORT]";

    /// Which kind it is. `auto` is RabbitMQ of this machine, in a container or not.
    pub fn kind(&self) -> BrokerKind {
        match self {
            BrokerSpec::Embedded => BrokerKind::Embedded,
            BrokerSpec::Auto | BrokerSpec::Container { .. } => BrokerKind::Container,
            BrokerSpec::Local { .. } => BrokerKind::Local,
            BrokerSpec::External { .. } => BrokerKind::External,
        }
    }

    /// As it would be written, passwords and all.
    pub fn in_full(&self) -> String {
        match self {
            BrokerSpec::External { url, management } => {
                let management = management.iter().map(|at| format!(",{at}"));
                std::iter::once(url.clone()).chain(management).collect()
            }
            other => other.to_string(),
        }
    }

    /// RabbitMQ in a container, of the default image.
    pub fn container() -> BrokerSpec {
        BrokerSpec::Container { image: IMAGE.0.into(), tag: IMAGE.1.into() }
    }
}

impl FromStr for BrokerSpec {
    type Err = BrokerError;

    fn from_str(input: &str) -> Result<BrokerSpec, BrokerError> {
        parse(input.trim()).map_err(|why| BrokerError::Spec { input: redact::url(input), why })
    }
}

fn parse(text: &str) -> Result<BrokerSpec, String> {
    if text.starts_with("amqp://") || text.starts_with("amqps://") {
        return external(text);
    }
    let (kind, rest) = match text.split_once([':', '=']) {
        Some((kind, rest)) => (kind, Some(rest)),
        None => (text, None),
    };
    match (kind, rest) {
        (_, Some("")) => {
            Err(format!("nothing follows '{}'; write {}", redact::url(kind), BrokerSpec::SYNTAX))
        }
        ("embedded", None) => Ok(BrokerSpec::Embedded),
        ("auto", None) => Ok(BrokerSpec::Auto),
        ("container", None) => Ok(BrokerSpec::container()),
        ("container", Some(image)) => container(image),
        ("local", server) => Ok(BrokerSpec::Local { server: server.map(PathBuf::from) }),
        (kind, _) => {
            let known = ["embedded", "auto", "container", "local", "amqp"];
            let near = known.iter().max_by(|a, b| {
                strsim::jaro_winkler(a, kind).total_cmp(&strsim::jaro_winkler(b, kind))
            });
            let near = near.filter(|near| strsim::jaro_winkler(near, kind) > 0.7);
            let near = near.map(|near| format!("did you mean '{near}'? ")).unwrap_or_default();
            Err(format!("{near}write {}", BrokerSpec::SYNTAX))
        }
    }
}

fn container(image: &str) -> Result<BrokerSpec, String> {
    if image.contains(char::is_whitespace) || image.contains('@') {
        return Err("an image is NAME or NAME:TAG, without spaces or a digest".into());
    }
    // A colon before the last slash is a registry's port.
    let (name, tag) = match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, IMAGE.1),
    };
    if name.is_empty() || tag.is_empty() {
        return Err("an image is NAME or NAME:TAG, and neither may be empty".into());
    }
    Ok(BrokerSpec::Container { image: name.into(), tag: tag.into() })
}

fn external(text: &str) -> Result<BrokerSpec, String> {
    // A comma alone may be a password's.
    let at = text.find(",http://").or_else(|| text.find(",https://"));
    let (url, management) = match at {
        Some(at) => (&text[..at], Some(text[at + 1..].to_owned())),
        None => (text, None),
    };
    AmqpUrl::parse(url)?;
    management.as_deref().map(ManagementUrl::parse).transpose()?;
    Ok(BrokerSpec::External { url: url.into(), management })
}

/// Not derived: a password has no business in a log.
impl fmt::Debug for BrokerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As it would be written, but with passwords hidden.
impl fmt::Display for BrokerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BrokerSpec::Embedded => f.write_str("embedded"),
            BrokerSpec::Auto => f.write_str("auto"),
            BrokerSpec::Container { image, tag } => write!(f, "container:{image}:{tag}"),
            BrokerSpec::Local { server: None } => f.write_str("local"),
            BrokerSpec::Local { server: Some(path) } => write!(f, "local:{}", path.display()),
            BrokerSpec::External { url, management } => {
                f.write_str(&redact::url(url))?;
                management.iter().try_for_each(|at| write!(f, ",{}", redact::url(at)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `Display` makes of what was read, or the error.
    #[track_caller]
    fn check(input: &str, expect: &str) {
        let said = match input.parse::<BrokerSpec>() {
            Ok(spec) => spec.to_string(),
            Err(error) => error.to_string(),
        };
        assert!(said.contains(expect), "'{input}' gives: {said}");
    }

    #[test]
    fn words() {
        check("embedded", "embedded");
        check("auto", "auto");
        check("container", "container:rabbitmq:4.0-management");
        check("container:rabbitmq:3.10-management", "container:rabbitmq:3.10-management");
        check("container=rabbitmq:4.0-management", "container:rabbitmq:4.0-management");
        check(
            "container:my.registry:5000/rabbit",
            "container:my.registry:5000/rabbit:4.0-management",
        );
        check("local", "local");
        check(
            "local:/opt/rabbitmq/sbin/rabbitmq-server",
            "local:/opt/rabbitmq/sbin/rabbitmq-server",
        );
        check("amqp://me:secret@host:5673", "amqp://me:***@host:5673");
        check("amqp://host,http://host:8080", "amqp://host,http://host:8080");
        check("amqp://me:a,secret@host", "amqp://me:***@host");
        check("amqp://host,http://me:secret@host:8080", "amqp://host,http://me:***@host:8080");
    }

    #[test]
    fn what_is_refused_is_quoted_with_what_would_be_right() {
        check("contianer", "'contianer': did you mean 'container'?");
        check("docker", "'docker': write embedded, auto, container");
        check("container:", "'container:': nothing follows 'container'");
        check("container:a:", "neither may be empty");
        check("container:a b", "without spaces");
        check("auto:x", "did you mean 'auto'?");
        check("amqps://host", "TLS is not spoken");
        check("amqps://me:secret@host", "'amqps://me:***@host'");
        check("amqp://host,https://host", "must begin with http://");
        check("", "'': write embedded");
        check("amqp://host,https://x:secret@h", "'https://x:***@h' must begin with http://");
    }

    #[test]
    fn no_password_is_told() {
        for input in [
            "amqp://u:s3cret%zz@h",
            "amqp://h,https://x:s3cret@h",
            "amqp://h,http://x:s3cret@h",
            "amqp://h,http://x:s3cret",
            "amqp://u:s3cret@h,http://x:s3cret@no host",
            "amqp:/u:s3cret@h",
            "amqp://u:pa,s3cret@h",
            "amqp://u:pa,https3cret@h",
            "amqp://u:pa,http://s3cret@h",
            "amqp=u:s3cret@h",
            "u:s3cret@h:5672",
            "u:s3cret@h",
            "s3cret@h:",
            "amqps://u:s3cret@h",
            "http://u:s3cret@h",
            "container:s3cret@h",
        ] {
            let said = match input.parse::<BrokerSpec>() {
                Ok(spec) => spec.to_string(),
                Err(error) => error.to_string(),
            };
            assert!(!said.contains("s3cret"), "'{input}' gives: {said}");
            let debug = format!("{:?}", input.parse::<BrokerSpec>());
            assert!(!debug.contains("s3cret"), "'{input}' gives: {debug}");
        }
    }
}
