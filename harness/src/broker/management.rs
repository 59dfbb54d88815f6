//! RabbitMQ's management API: virtual hosts, connections, and a [`Look`] inside.
//!
//! Changes (virtual hosts, permissions, closing a connection) are done when the call returns. What it lists is
//! gathered by the broker, on brokers started here each second (`super::conf`). Measured on 3.10 and 4.0: a
//! connection, a channel, a consumer or a queue's counts show up to 1 s late; what has gone is gone within 10 ms.
//! So an answer "none" about what may just have begun proves nothing until a second has passed.
//! On an external broker as configured by default the second is five.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::BrokerError;
use super::look::{ChannelInfo, ConnectionInfo, ConsumerInfo, Look, QueueInfo};
use super::url::encode;
use super::wait::{Not, until};

/// One request. Deleting a virtual host with many queues is the longest: seconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// Until a queue's counts first show.
const FIRST_COUNTS: Duration = Duration::from_secs(10);

/// The API of one broker, as one user.
pub(super) struct Management {
    client: Client,
    /// `http://host:port`; a container may come back with another port.
    base: RwLock<String>,
    user: String,
    password: String,
}

impl Management {
    pub(super) fn new(
        base: &str,
        (user, password): (&str, &str),
    ) -> Result<Management, BrokerError> {
        // Proxies of the environment are for the way out; a broker under test is not out there.
        // Brokers restart: a connection kept from before would fail the next request.
        let client =
            Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(PATIENCE).build();
        let client = client.map_err(|error| refused("start an HTTP client", &error))?;
        let management = Management {
            client,
            base: RwLock::default(),
            user: user.to_owned(),
            password: password.to_owned(),
        };
        management.set_base(base);
        Ok(management)
    }

    pub(super) fn set_base(&self, base: &str) {
        *self.base.write().unwrap_or_else(PoisonError::into_inner) =
            base.trim_end_matches('/').to_owned();
    }

    /// Where it is, with the login it is asked with: how another process finds it.
    pub(super) fn url(&self) -> String {
        let base = self.base.read().unwrap_or_else(PoisonError::into_inner);
        let login = format!("http://{}:{}@", encode(&self.user), encode(&self.password));
        base.replacen("http://", &login, 1)
    }

    /// One attempt to see whether it answers, to this user.
    pub(super) async fn answers(&self) -> Result<(), String> {
        let request = self.request(Method::GET, "whoami").timeout(Duration::from_secs(3));
        let response = request.send().await.map_err(|error| chain(&error))?;
        let status = response.status();
        if status.is_success() { Ok(()) } else { Err(format!("it answers {status}")) }
    }

    /// Creates a virtual host in which this user may do everything. One that is there already is kept.
    pub(super) async fn create_vhost(&self, name: &str, user: &str) -> Result<(), BrokerError> {
        let what = format!("create the virtual host '{name}'");
        let vhost = self.request(Method::PUT, &format!("vhosts/{}", encode(name)));
        self.send(&what, vhost.json(&json!({}))).await?;
        let path = format!("permissions/{}/{}", encode(name), encode(user));
        let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
        self.send(&what, self.request(Method::PUT, &path).json(&all)).await?;
        Ok(())
    }

    /// Deletes a virtual host with all in it, closing its connections. One that is not there is no error.
    pub(super) async fn delete_vhost(&self, name: &str) -> Result<(), BrokerError> {
        let what = format!("delete the virtual host '{name}'");
        let request = self.request(Method::DELETE, &format!("vhosts/{}", encode(name)));
        self.send(&what, request).await.map(|_there| ())
    }

    /// The names of the virtual hosts this user can see.
    pub(super) async fn vhosts(&self) -> Result<Vec<String>, BrokerError> {
        let all: Option<Vec<Named>> = self.get("list the virtual hosts", "vhosts").await?;
        Ok(all.unwrap_or_default().into_iter().map(|vhost| vhost.name).collect())
    }

    /// Closes one connection; false if it is not there (any more).
    pub(super) async fn close(&self, connection: &str, reason: &str) -> Result<bool, BrokerError> {
        let what = format!("close the connection '{connection}'");
        let request = self.request(Method::DELETE, &format!("connections/{}", encode(connection)));
        // A header takes no line breaks, and the reason is a reply-text of at most 255 bytes in the end.
        let reason: String =
            reason.chars().filter(|c| *c == ' ' || c.is_ascii_graphic()).take(200).collect();
        Ok(self.send(&what, request.header("X-Reason", reason)).await?.is_some())
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url =
            format!("{}/api/{path}", self.base.read().unwrap_or_else(PoisonError::into_inner));
        self.client.request(method, url).basic_auth(&self.user, Some(&self.password))
    }

    /// The body of an answer that is a success; nothing if it is 404.
    async fn send(
        &self,
        what: &str,
        request: RequestBuilder,
    ) -> Result<Option<String>, BrokerError> {
        let response = request.send().await.map_err(|error| refused(what, &error))?;
        let status = response.status();
        let body = response.text().await.map_err(|error| refused(what, &error))?;
        match status {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(body)),
            status => Err(management(what, format!("{status} {}", body.trim()))),
        }
    }

    async fn get<T: DeserializeOwned>(
        &self,
        what: &str,
        path: &str,
    ) -> Result<Option<T>, BrokerError> {
        let Some(body) = self.send(what, self.request(Method::GET, path)).await? else {
            return Ok(None);
        };
        match serde_json::from_str(&body) {
            Ok(it) => Ok(Some(it)),
            Err(error) => Err(management(what, format!("{error} in the answer {body}"))),
        }
    }

    async fn list<T: DeserializeOwned>(
        &self,
        what: &str,
        vhost: &str,
        path: &str,
    ) -> Result<Vec<T>, BrokerError> {
        let what = format!("list the {what} of the virtual host '{vhost}'");
        self.get(&what, path)
            .await?
            .ok_or_else(|| management(&what, "there is no such virtual host".into()))
    }
}

impl Look for Management {
    async fn connections(&self, vhost: &str) -> Result<Vec<ConnectionInfo>, BrokerError> {
        let path = format!("vhosts/{}/connections", encode(vhost));
        let wire: Vec<WireConnection> = self.list("connections", vhost, &path).await?;
        // What is being forgotten is listed for a moment with its statistics alone, without a name.
        let mut list: Vec<_> = wire.into_iter().filter_map(WireConnection::info).collect();
        list.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(list)
    }

    async fn channels(&self, vhost: &str) -> Result<Vec<ChannelInfo>, BrokerError> {
        let path = format!("vhosts/{}/channels", encode(vhost));
        let wire: Vec<WireChannel> = self.list("channels", vhost, &path).await?;
        let mut list: Vec<_> = wire.into_iter().filter_map(WireChannel::info).collect();
        list.sort_by(|a, b| (&a.connection, a.number).cmp(&(&b.connection, b.number)));
        Ok(list)
    }

    async fn consumers(&self, vhost: &str) -> Result<Vec<ConsumerInfo>, BrokerError> {
        let path = format!("consumers/{}", encode(vhost));
        let wire: Vec<WireConsumer> = self.list("consumers", vhost, &path).await?;
        let mut list: Vec<_> = wire.into_iter().map(WireConsumer::info).collect();
        list.sort_by(|a, b| (&a.queue, &a.tag).cmp(&(&b.queue, &b.tag)));
        Ok(list)
    }

    async fn queue(&self, vhost: &str, queue: &str) -> Result<Option<QueueInfo>, BrokerError> {
        let what = format!("look at the queue '{queue}' of the virtual host '{vhost}'");
        let path = format!("queues/{}/{}", encode(vhost), encode(queue));
        until(&what, FIRST_COUNTS, || async {
            let wire: Option<WireQueue> =
                self.get(&what, &path).await.map_err(|error| Not::Ever(error.to_string()))?;
            let Some(wire) = wire else { return Ok(None) };
            wire.info().map(Some).ok_or_else(|| Not::Yet("it has no counts yet".into()))
        })
        .await
    }
}

#[derive(Deserialize)]
struct WireConnection {
    name: Option<String>,
    peer_port: Option<u16>,
    state: Option<String>,
    channels: Option<u64>,
    #[serde(default)]
    client_properties: serde_json::Value,
}

impl WireConnection {
    fn info(self) -> Option<ConnectionInfo> {
        let client_name =
            self.client_properties.get("connection_name").and_then(|name| name.as_str());
        Some(ConnectionInfo {
            client_name: client_name.map(str::to_owned),
            name: self.name?,
            peer_port: self.peer_port.unwrap_or_default(),
            state: self.state.unwrap_or_else(|| "unknown".into()),
            channels: self.channels.unwrap_or_default(),
        })
    }
}

/// `connection_details`, or an empty list where the broker knows none.
#[derive(Deserialize)]
#[serde(untagged)]
enum Belongs {
    To {
        name: Option<String>,
        connection_name: Option<String>,
    },
    #[expect(dead_code, reason = "only its shape is of interest")]
    Nothing(Vec<serde_json::Value>),
}

impl Belongs {
    fn connection(self) -> Option<String> {
        match self {
            Belongs::To { name, connection_name } => connection_name.or(name),
            Belongs::Nothing(_) => None,
        }
    }
}

#[derive(Deserialize)]
struct WireChannel {
    connection_details: Option<Belongs>,
    number: Option<u16>,
    messages_unacknowledged: Option<u64>,
    consumer_count: Option<u64>,
}

impl WireChannel {
    fn info(self) -> Option<ChannelInfo> {
        Some(ChannelInfo {
            connection: self.connection_details?.connection()?,
            number: self.number?,
            unacked: self.messages_unacknowledged.unwrap_or_default(),
            consumers: self.consumer_count.unwrap_or_default(),
        })
    }
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct WireConsumer {
    queue: Named,
    consumer_tag: String,
    channel_details: Belongs,
    prefetch_count: Option<u64>,
}

impl WireConsumer {
    fn info(self) -> ConsumerInfo {
        ConsumerInfo {
            queue: self.queue.name,
            tag: self.consumer_tag,
            connection: self.channel_details.connection().unwrap_or_default(),
            prefetch: self.prefetch_count.unwrap_or_default(),
        }
    }
}

#[derive(Deserialize)]
struct WireQueue {
    messages_ready: Option<u64>,
    messages_unacknowledged: Option<u64>,
    consumers: Option<u64>,
}

impl WireQueue {
    fn info(&self) -> Option<QueueInfo> {
        Some(QueueInfo {
            ready: self.messages_ready?,
            unacked: self.messages_unacknowledged?,
            consumers: self.consumers.unwrap_or_default(),
        })
    }
}

fn management(what: &str, why: String) -> BrokerError {
    BrokerError::Management { what: what.to_owned(), why }
}

fn refused(what: &str, error: &reqwest::Error) -> BrokerError {
    management(what, chain(error))
}

/// An error with its causes: `reqwest` alone says only that sending failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said.push_str(&format!(": {error}"));
        cause = error.source();
    }
    said
}
