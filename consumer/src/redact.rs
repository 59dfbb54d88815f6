//! Text that may hold a password, made fit to print.
//!
//! [`url`] is for one value that stands where a URL belongs, however malformed; [`text`] is for prose, logs and command
//! lines that may have URLs in them. Both err on the side of hiding: what cannot be told from a password is hidden.

/// What is shown in place of what is hidden.
const HIDDEN: &str = "***";
/// Schemes that are shown. Anything else before a `:` may be a user's name or a password.
const SCHEMES: [&str; 5] = ["amqp", "amqps", "http", "https", "tcp"];
/// Words of Gauntlet's own that a colon may follow, like `container:rabbitmq:4.0`.
const KINDS: [&str; 5] = ["embedded", "auto", "container", "local", "toxiproxy"];

/// What was given where a URL (or several, separated by commas) belongs, without its passwords.
///
/// Hidden is everything between the user's name and the last `@`, what stands in the place of a port and is none (the `@`
/// was forgotten), and any query.
///
/// ```
/// use gauntlet_consumer::redact;
/// assert_eq!(redact::url("amqp://me:se@cr,et@host:5672/v"), "amqp://me:***@host:5672/v");
/// assert_eq!(redact::url("amqp:/me:secret@host"), "amqp:/***@host");
/// assert_eq!(redact::url("amqp://me:secret"), "amqp://me:***");
/// ```
pub fn url(given: &str) -> String {
    let Some((before, host)) = given.rsplit_once('@') else { return without_login(given) };
    let (scheme, login) = split_scheme(before);
    format!("{scheme}{}@{}", user_of(scheme, login), without_port(host))
}

/// Text in which URLs may stand, without their passwords; anything else in it is left alone.
///
/// ```
/// use gauntlet_consumer::redact;
/// let line = "worker --url=amqp://me:secret@host/v failed";
/// assert_eq!(redact::text(line), "worker --url=amqp://me:***@host/v failed");
/// ```
pub fn text(given: &str) -> String {
    let mut shown = String::with_capacity(given.len());
    let mut rest = given;
    while let Some(at) = next_url(rest) {
        let (before, from) = rest.split_at(at);
        shown.push_str(before);
        let ends = |c: char| c.is_whitespace() || c.is_control() || "\"'`<>".contains(c);
        let (token, after) = from.split_at(from.find(ends).unwrap_or(from.len()));
        match token.rsplit_once('@') {
            Some((before, host)) => {
                let (scheme, login) = split_scheme(before);
                shown.push_str(&format!("{scheme}{}@{host}", user_of(scheme, login)));
            }
            None => shown.push_str(token),
        }
        rest = after;
    }
    shown + rest
}

/// A message about what was given, such as an error of an argument parser, without the passwords in `given`.
pub fn quoting<'a>(message: &str, given: impl IntoIterator<Item = &'a str>) -> String {
    let mut message = message.to_owned();
    for word in given {
        // `--broker=URL`
        let flag = word.starts_with('-').then(|| word.split_once('=')).flatten();
        let value = flag.map_or(word, |(_, value)| value);
        let (scheme, _) = split_scheme(value);
        let login = value.rsplit_once('@').is_some_and(|(before, _)| before.contains(':'));
        if login || !scheme.is_empty() {
            message = message.replace(value, &url(value));
        }
    }
    text(&message)
}

/// Where the next `scheme:/` begins.
fn next_url(text: &str) -> Option<usize> {
    let found = SCHEMES.iter().filter_map(|scheme| {
        text.match_indices(scheme).map(|(at, _)| at).find(|at| {
            text[at + scheme.len()..].starts_with(":/")
                && !text[..*at].ends_with(|c: char| c.is_ascii_alphanumeric())
        })
    });
    found.min()
}

/// A known scheme with its `:` and slashes, and the rest.
fn split_scheme(text: &str) -> (&str, &str) {
    let Some((scheme, rest)) = text.split_once(':') else { return ("", text) };
    let path = rest.trim_start_matches('/');
    if !SCHEMES.contains(&scheme) || path.len() == rest.len() {
        return ("", text);
    }
    text.split_at(text.len() - path.len())
}

/// The user's name of what stands before an `@`, as far as it is surely that.
fn user_of(scheme: &str, login: &str) -> String {
    if !scheme.ends_with("://") || scheme.ends_with(":///") {
        return HIDDEN.to_owned();
    }
    let plain = |c: char| c.is_alphanumeric() || "-._~%+!$&*=".contains(c);
    match login.find(|c| !plain(c)) {
        None => login.to_owned(),
        Some(end) => format!("{}:{HIDDEN}", &login[..end]),
    }
}

/// Without an `@` there should be no login; what looks like one is hidden.
fn without_login(given: &str) -> String {
    let (scheme, rest) = split_scheme(given);
    let kind = rest.split([':', '=']).next().unwrap_or_default();
    if scheme.is_empty() && KINDS.contains(&kind) {
        return given.to_owned();
    }
    // `amqp://host,http://host:15672`: a second URL may follow.
    for second in SCHEMES {
        if let Some((first, other)) = rest.split_once(&format!(",{second}://")) {
            let other = without_login(&format!("{second}://{other}"));
            return format!("{scheme}{},{other}", without_port(first));
        }
    }
    format!("{scheme}{}", without_port(rest))
}

/// A host, its port and its path; what stands in the place of a port and is no number is hidden, and so is a query.
fn without_port(host: &str) -> String {
    let (host, query) = match host.find(['?', '#']) {
        Some(at) => (&host[..at], format!("{}{HIDDEN}", &host[at..=at])),
        None => (host, String::new()),
    };
    let name = if host.starts_with('[') { host.find(']').unwrap_or(0) } else { 0 };
    let Some((more, port)) = host[name..].split_once(':') else { return format!("{host}{query}") };
    let digits = port.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_port = digits.is_empty() || digits.starts_with('/');
    match is_port && !digits.contains(':') {
        true => format!("{host}{query}"),
        false => format!("{}{more}:{HIDDEN}", &host[..name]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(given: &str, expect: &str) {
        assert_eq!(url(given), expect, "{given}");
    }

    #[test]
    fn a_password_is_hidden_wherever_it_stands() {
        check("amqp://u:secret@h:1/v", "amqp://u:***@h:1/v");
        check("amqp://u:s@ecret@h:1/v", "amqp://u:***@h:1/v");
        check("amqp://u:se/cret@h:1/v", "amqp://u:***@h:1/v");
        check("amqp://u:pa,secret@h", "amqp://u:***@h");
        check("amqp://u:pa,http://secret@h", "amqp://u:***@h");
        check("amqp://u:s3cret@h,http://x:s3cret@h:1", "amqp://u:***@h:1");
        check("amqp://h,https://x:s3cret@h", "amqp://h:***@h");
        check("amqp:/u:s3cret@h", "amqp:/***@h");
        check("amqp:///u:s3cret@h", "amqp:///***@h");
        check("amqp=u:s3cret@h", "***@h");
        check("u:s3cret@h:5672", "***@h:5672");
        check("s3cret@h", "***@h");
        check("://u:s3cret@h", "***@h");
        check("ftp://u:s3cret@h", "***@h");
        check("container:s3cret@h", "***@h");
        check("http://u:s3cret@127.0.0.1:8474", "http://u:***@127.0.0.1:8474");
    }

    #[test]
    fn a_login_whose_at_was_forgotten_is_hidden() {
        check("amqp://u:s3cret", "amqp://u:***");
        check("amqp://u:123s3cret", "amqp://u:***");
        check("amqp://u:s3cret/v", "amqp://u:***");
        check("amqp:u:s3cret", "amqp:***");
        check("u:s3cret", "u:***");
        check("amqp://h,http://x:s3cret", "amqp://h,http://x:***");
        check("amqp://u:p@h,http://x:s3cret", "amqp://u:***@h,http:***");
        check("http://h:1/?password=s3cret", "http://h:1/?***");
    }

    #[test]
    fn what_holds_no_login_is_shown() {
        for given in [
            "",
            "nonsense",
            "amqp://u@h",
            "amqp://h:5672/%2f",
            "amqp://h,http://h:15672",
            "amqp://[::1]:5672/x",
            "container:my.registry:5000/rabbit:4.0",
            "container:a b",
            "local:/opt/rabbitmq-server",
            "http://127.0.0.1:8474",
        ] {
            check(given, given);
        }
    }

    #[test]
    fn prose_keeps_everything_but_passwords() {
        let check = |given: &str, expect: &str| assert_eq!(text(given), expect, "{given}");
        check("a 'amqp://u:s3cret@h' b", "a 'amqp://u:***@h' b");
        check("AMQP_URL=amqp://u:s3@cret@h/v x@y", "AMQP_URL=amqp://u:***@h/v x@y");
        check("to amqp://h:1, by u@h", "to amqp://h:1, by u@h");
        check("http://a:b@c http://d:e@f", "http://a:***@c http://d:***@f");
        check("amqp:/u:s3cret@h", "amqp:/***@h");
        check("see https://h/x?y=z", "see https://h/x?y=z");
        check("", "");
    }

    #[test]
    fn an_error_quotes_arguments_without_their_passwords() {
        let check = |given: &str, expect: &str| {
            let message = format!("'{given}' means nothing");
            assert_eq!(quoting(&message, [given]), expect, "{given}");
        };
        check("amqp:/u:it's s3cret@h", "'amqp:/***@h' means nothing");
        check("http://u:s3cret", "'http://u:***' means nothing");
        check("--broker=u:s3cret@h", "'--broker=***@h' means nothing");
        check("localhost:amqp", "'localhost:amqp' means nothing");
        check("runs@home", "'runs@home' means nothing");
    }

    proptest! {
        /// However the pieces around it are broken, a password that is followed by an `@`, or that stands after a user's
        /// name, is not printed, and no part of it.
        #[test]
        fn no_part_of_a_password_is_printed(
            scheme in "(amqp|amqps|http|https|ftp|amqp amqp|)",
            separator in "(:|:/|://|:///|//|=|)",
            user in "[a-z%,.]{1,6}",
            parts in prop::collection::vec("S3CRET[0-9]", 1..4),
            glue in "[,:/@?#%& \\[\\]]{1,2}",
            host in "(host|host:5672|\\[::1\\]:1|host:x|)",
            tail in "(/|/v|/v\\?a=b|,http://host:15672|,http://me:S3CRET9@host:1|)",
        ) {
            let password = parts.join(&glue);
            let given = format!("{scheme}{separator}{user}:{password}@{host}{tail}");
            let shown = url(&given);
            prop_assert!(!shown.contains("S3CRET"), "{given} gives {shown}");
            let inside = text(&format!("failed: {scheme}://{user}:{}@{host}{tail}", parts[0]));
            let known = SCHEMES.contains(&&*scheme);
            prop_assert!(!known || !inside.contains("S3CRET"), "{inside}");
            // Without an `@` too.
            let given = format!("{scheme}://{user}:{}", parts[0]);
            prop_assert!(!url(&given).contains("S3CRET"), "{given} gives {}", url(&given));
        }

        #[test]
        fn nothing_panics_and_what_is_hidden_stays_hidden(given in "\\PC{0,40}") {
            prop_assert_eq!(text(&text(&given)), text(&given));
            let once = url(&given);
            prop_assert_eq!(url(&once), once);
        }
    }
}
