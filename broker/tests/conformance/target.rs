//! The brokers a case runs on: RabbitMQ at the address that the environment names, and the
//! embedded one. Each case has a virtual host of its own.

use gauntlet_broker::model::user::Permission;
use gauntlet_broker::{Broker, Config, Table, Value};

use super::http::{Management, segment};

/// Where RabbitMQ is, `amqp://guest:guest@host:port`, and its management API,
/// `http://guest:guest@host:port`.
const AMQP: &str = "GAUNTLET_CONFORMANCE_URL";
const MANAGEMENT: &str = "GAUNTLET_CONFORMANCE_MANAGEMENT";

pub enum Target {
    RabbitMq { addr: String, management: Management },
    Embedded { addr: String, broker: Broker },
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

    /// An embedded broker of its own. It must be called within a runtime.
    pub fn embedded() -> Target {
        let broker = Broker::start(Config::default()).expect("an embedded broker listens");
        Target::Embedded { addr: broker.addr().to_string(), broker }
    }

    /// Ends what was started for this target.
    pub async fn stop(self) {
        if let Target::Embedded { broker, .. } = self {
            broker.stop().await;
        }
    }

    pub fn addr(&self) -> &str {
        match self {
            Target::RabbitMq { addr, .. } | Target::Embedded { addr, .. } => addr,
        }
    }

    /// What an operator does, on a case's virtual host:
    ///
    /// - `vhost`, `no-vhost`, `default-type TYPE`
    /// - `user NAME PASSWORD`, `no-user NAME`
    /// - `permissions USER CONFIGURE WRITE READ`
    /// - `policy NAME PATTERN queues|exchanges|all KEY=VALUE,..`, `no-policy NAME`
    pub async fn admin(&self, vhost: &str, line: &str) {
        // A pattern of no characters is written `EMPTY`.
        let word = |word| if word == "EMPTY" { "" } else { word };
        let words: Vec<&str> = line.split_whitespace().map(word).collect();
        let words = words.as_slice();
        match self {
            Target::RabbitMq { management, .. } => {
                let (method, path, body) = request(vhost, words);
                management.request(method, &path, &body).await;
            }
            Target::Embedded { broker, .. } => embedded(broker, vhost, words),
        }
    }
}

fn embedded(broker: &Broker, vhost: &str, words: &[&str]) {
    let permission =
        |c, w, r| Some(Permission::new(c, w, r).expect("permissions are regular expressions"));
    broker.with(|core| match words {
        ["vhost"] => {
            core.add_vhost(vhost);
            let all = permission(".*", ".*", ".*");
            core.set_permission("guest", vhost, all).expect("guest and the virtual host are there");
        }
        ["default-type", kind] => {
            core.set_vhost(vhost, |about| about.default_queue_type = (*kind).to_owned());
        }
        ["no-vhost"] => assert!(core.delete_vhost(vhost), "no virtual host {vhost}"),
        ["user", name, password] => core.set_user(name, password, &[]),
        ["no-user", name] => assert!(core.delete_user(name), "no user {name}"),
        ["permissions", user, configure, write, read] => core
            .set_permission(user, vhost, permission(configure, write, read))
            .expect("the user and the virtual host are there"),
        ["policy", name, pattern, apply_to, definition] => {
            let definition = pairs(definition)
                .map(|(key, value)| {
                    let number = value.parse().map(Value::I64);
                    (key.to_owned(), number.unwrap_or_else(|_| Value::Long(value.into())))
                })
                .collect();
            core.set_policy(vhost, name, pattern, apply_to, 0, Table(definition))
                .expect("a policy that RabbitMQ takes");
        }
        ["no-policy", name] => assert!(core.delete_policy(vhost, name), "no policy {name}"),
        _ => panic!("no such admin line: {words:?}"),
    });
}

fn request(vhost: &str, words: &[&str]) -> (&'static str, String, String) {
    let at = segment(vhost);
    match words {
        ["vhost"] => ("PUT", format!("vhosts/{at}"), String::new()),
        ["default-type", kind] => {
            let body = format!(r#"{{"default_queue_type": "{kind}"}}"#);
            ("PUT", format!("vhosts/{at}"), body)
        }
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
