//! The brokers a case runs on: RabbitMQ at the address that the environment names, and the
//! embedded one. Each case has a virtual host of its own.

use super::http::{Management, segment};

/// Where RabbitMQ is, `amqp://guest:guest@host:port`, and its management API,
/// `http://guest:guest@host:port`.
const AMQP: &str = "GAUNTLET_CONFORMANCE_URL";
const MANAGEMENT: &str = "GAUNTLET_CONFORMANCE_MANAGEMENT";

pub enum Target {
    RabbitMq { addr: String, management: Management },
}

impl Target {
    /// RabbitMQ, if the environment names one.
    pub fn rabbitmq() -> Option<Target> {
        let url = std::env::var(AMQP).ok()?;
        let management = std::env::var(MANAGEMENT)
            .unwrap_or_else(|_| panic!("{AMQP} is set, {MANAGEMENT} is not: cases need both"));
        let addr = url.rsplit('@').next().unwrap_or_default().trim_end_matches('/').to_owned();
        Some(Target::RabbitMq { addr, management: Management::new(&management) })
    }

    pub fn addr(&self) -> &str {
        match self {
            Target::RabbitMq { addr, .. } => addr,
        }
    }

    /// What an operator does, on a case's virtual host:
    ///
    /// - `vhost`, `no-vhost`
    /// - `user NAME PASSWORD`, `no-user NAME`
    /// - `permissions USER CONFIGURE WRITE READ`
    /// - `policy NAME PATTERN queues|exchanges|all KEY=VALUE,..`, `no-policy NAME`
    pub async fn admin(&self, vhost: &str, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let words = words.as_slice();
        match self {
            Target::RabbitMq { management, .. } => {
                let (method, path, body) = request(vhost, words);
                management.request(method, &path, &body).await;
            }
        }
    }
}

fn request(vhost: &str, words: &[&str]) -> (&'static str, String, String) {
    let at = segment(vhost);
    match words {
        ["vhost"] => ("PUT", format!("vhosts/{at}"), String::new()),
        ["no-vhost"] => ("DELETE", format!("vhosts/{at}"), String::new()),
        ["user", name, password] => {
            let body = format!(r#"{{"password": "{password}", "tags": ""}}"#);
            ("PUT", format!("users/{}", segment(name)), body)
        }
        ["no-user", name] => ("DELETE", format!("users/{}", segment(name)), String::new()),
        ["permissions", user, configure, write, read] => {
            let body =
                format!(r#"{{"configure": "{configure}", "write": "{write}", "read": "{read}"}}"#);
            ("PUT", format!("permissions/{at}/{}", segment(user)), body)
        }
        ["policy", name, pattern, apply_to, definition] => {
            let definition: Vec<String> = pairs(definition)
                .map(|(key, value)| match value.parse::<i64>() {
                    Ok(n) => format!(r#""{key}": {n}"#),
                    Err(_) => format!(r#""{key}": "{value}""#),
                })
                .collect();
            let body = format!(
                r#"{{"pattern": "{pattern}", "apply-to": "{apply_to}", "definition": {{{}}}}}"#,
                definition.join(", ")
            );
            ("PUT", format!("policies/{at}/{}", segment(name)), body)
        }
        ["no-policy", name] => {
            ("DELETE", format!("policies/{at}/{}", segment(name)), String::new())
        }
        _ => panic!("no such admin line: {words:?}"),
    }
}

/// `key=value,key=value`.
fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(',').filter_map(|pair| pair.split_once('='))
}
