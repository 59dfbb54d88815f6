//! RabbitMQ's management API on the embedded broker, asked over plain TCP: statuses and bodies as RabbitMQ 4.0.5
//! answered the same requests.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use gauntlet_broker::management::Limits;
use gauntlet_broker::{Broker, Config, Management};
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);
const GUEST: &str = "Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n";

struct Served {
    broker: Arc<Broker>,
    management: Management,
}

impl Served {
    async fn start_with(limits: Limits) -> Served {
        let broker = Arc::new(Broker::start(Config::default()).expect("a port is free"));
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let management = Management::start_with(broker.clone(), addr, limits).await;
        Served { broker, management: management.expect("a port is free") }
    }

    async fn start() -> Served {
        Served::start_with(Limits::default()).await
    }

    async fn stop(self) {
        self.management.stop().await;
        self.broker.stop().await;
    }

    /// Sends octets and reads to the end.
    async fn raw(&self, octets: &[u8]) -> String {
        let talk = async {
            let mut stream = TcpStream::connect(self.management.addr()).await?;
            stream.write_all(octets).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
        };
        timeout(PATIENCE, talk).await.expect("it ends").expect("it answers")
    }

    async fn ask_with(&self, headers: &str, method: &str, path: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: it\r\nConnection: close\r\n{headers}\
             Content-Length: {length}\r\n\r\n{body}"
        );
        let answer = self.raw(request.as_bytes()).await;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("no status in {answer:?}")), answer)
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        self.ask_with(GUEST, method, &format!("/api/{path}"), body).await
    }

    async fn json(&self, path: &str) -> Value {
        let (status, answer) = self.ask("GET", path, "").await;
        assert_eq!(status, 200, "{answer}");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        serde_json::from_str(body).expect("the body is JSON")
    }

    /// The one test of most of the API.
    async fn check(&self, method: &str, path: &str, body: &str, status: u16, contains: &str) {
        let (got, answer) = self.ask(method, path, body).await;
        assert_eq!(got, status, "{method} {path} {body}: {answer}");
        assert!(answer.contains(contains), "{method} {path} {body}: no {contains} in {answer}");
    }

    async fn connect(&self) -> Connection {
        let properties = ConnectionProperties::default().with_connection_name("mine".into());
        Connection::connect(&self.broker.url("/"), properties).await.expect("it connects")
    }
}

#[tokio::test]
async fn of_the_node() {
    let it = Served::start().await;
    it.check("GET", "overview", "", 200, r#""product_name":"RabbitMQ""#).await;
    it.check("GET", "overview", "", 200, r#""rabbitmq_version":"4.0."#).await;
    it.check("GET", "overview", "", 200, r#""exchanges":7"#).await;
    it.check("GET", "whoami", "", 200, r#""tags":["administrator"]"#).await;
    it.check("GET", "cluster-name", "", 200, r#"{"name":"rabbit@gauntlet"}"#).await;
    it.check("GET", "nodes", "", 200, r#""running":true"#).await;
    it.check("GET", "nodes/rabbit%40gauntlet", "", 200, r#""partitions":[]"#).await;
    it.check("GET", "nodes/other", "", 404, "Object Not Found").await;
    it.check("GET", "aliveness-test/%2F", "", 200, r#"{"status":"ok"}"#).await;
    it.check("GET", "queues/%2F/aliveness-test", "", 200, r#""messages":0"#).await;
    it.check("GET", "health/checks/alarms", "", 200, r#"{"status":"ok"}"#).await;
    it.check("GET", "healthchecks/node/rabbit%40gauntlet", "", 200, r#"{"status":"ok"}"#).await;
    it.check("GET", "healthchecks/node/other", "", 404, "Object Not Found").await;
    it.broker.with(|core| core.set_memory_alarm(true));
    it.check("GET", "health/checks/alarms", "", 503, "There are alarms in effect").await;
    it.check("GET", "nope", "", 404, r#"{"error":"Object Not Found","reason":"Not Found"}"#).await;
    it.check("DELETE", "overview", "", 405, "allow: HEAD, GET, OPTIONS").await;
    it.check("HEAD", "overview", "", 200, "").await;
    it.stop().await;
}

#[tokio::test]
async fn queues() {
    let it = Served::start().await;
    let at = "queues/%2F/q1";
    it.check("PUT", at, r#"{"durable":true}"#, 201, "").await;
    it.check("PUT", at, r#"{"durable":true}"#, 204, "").await;
    let inequivalent = "inequivalent arg 'durable' for queue 'q1' in vhost '/': received 'false' \
                        but current is 'true'";
    it.check("PUT", at, "{}", 400, inequivalent).await;
    it.check("PUT", at, "{bad", 400, r#"{"error":"bad_request","reason":"not_json"}"#).await;
    it.check("PUT", at, "[]", 400, "not_json").await;
    it.check("PUT", at, r#"{"durable":"maybe"}"#, 400, r#"["not_boolean","maybe"]"#).await;
    let wrong = r#"{"arguments":{"x-message-ttl":"a"}}"#;
    it.check("PUT", "queues/%2F/q2", wrong, 400, "invalid arg 'x-message-ttl'").await;
    it.check("PUT", "queues/%2F/amq.x", "{}", 401, "Access refused.").await;
    it.check("PUT", "queues/nowhere/q", "{}", 404, "vhost_not_found").await;
    let quorum = r#"{"durable":true,"arguments":{"x-queue-type":"quorum"}}"#;
    it.check("PUT", "queues/%2F/qq", quorum, 201, "").await;
    it.check("GET", "queues/%2F/qq", "", 200, r#""type":"quorum""#).await;
    let long = format!("queues/%2F/{}", "x".repeat(256));
    it.check("PUT", &long, "{}", 400, "255").await;
    it.check("GET", at, "", 200, r#""arguments":{"x-queue-type":"classic"}"#).await;
    it.check("GET", "queues/%2F/none", "", 404, "Object Not Found").await;
    it.check("GET", "queues/nowhere", "", 404, "Object Not Found").await;
    it.check("GET", "queues?columns=name&sort=name", "", 200, r#"[{"name":"q1"},{"name":"qq"}]"#)
        .await;
    it.check("GET", "queues?page=1&page_size=1", "", 200, r#""page_count":2"#).await;
    let publish =
        r#"{"routing_key":"q1","payload":"m","payload_encoding":"string","properties":{}}"#;
    it.check("POST", "exchanges/%2F/amq.default/publish", publish, 200, r#""routed":true"#).await;
    it.check("DELETE", "queues/%2F/q1?if-empty=true", "", 400, "queue 'q1' in vhost '/' not empty")
        .await;
    it.check("DELETE", "queues/%2F/q1/contents", "", 204, "").await;
    it.check("DELETE", "queues/%2F/q1?if-empty=true", "", 204, "").await;
    it.check("DELETE", at, "", 404, "Object Not Found").await;
    it.check("DELETE", "queues/%2F/q1/contents", "", 404, "Object Not Found").await;
    it.stop().await;
}

#[tokio::test]
async fn streams() {
    let it = Served::start().await;
    let whole = r#"{"durable":true,"arguments":{"x-queue-type":"stream"}}"#;
    it.check("PUT", "queues/%2F/s", whole, 201, "").await;
    let message =
        r#"{"routing_key":"s","payload":"x","payload_encoding":"string","properties":{}}"#;
    it.check("POST", "exchanges/%2F/amq.default/publish", message, 200, "true").await;
    let refused = "540 basic.get not supported by stream queues queue 's' in vhost '/'";
    let take = r#"{"count":1,"ackmode":"ack_requeue_true","encoding":"auto"}"#;
    it.check("POST", "queues/%2F/s/get", take, 400, refused).await;
    let refused = "queue.purge not supported by stream queues queue 's' in vhost '/'";
    it.check("DELETE", "queues/%2F/s/contents", "", 400, refused).await;
    let queue = it.json("queues/%2F/s").await;
    assert_eq!(queue["type"], "stream");
    assert_eq!((&queue["messages"], &queue["messages_ready"]), (&1.into(), &1.into()));
    it.check("DELETE", "queues/%2F/s?if-empty=true", "", 204, "").await;
    it.stop().await;
}

#[tokio::test]
async fn exchanges_and_bindings() {
    let it = Served::start().await;
    let at = "exchanges/%2F/x1";
    it.check("PUT", at, r#"{"type":"topic"}"#, 201, "").await;
    it.check("PUT", at, r#"{"type":"topic"}"#, 204, "").await;
    it.check("PUT", at, r#"{"type":"fanout"}"#, 400, "received 'fanout' but current is 'topic'")
        .await;
    it.check("PUT", at, r#"{"type":"zzz"}"#, 400, "unknown exchange type 'zzz'").await;
    it.check("PUT", "exchanges/%2F/amq.zz", r#"{"type":"topic"}"#, 401, "Access refused.").await;
    it.check("DELETE", "exchanges/%2F/amq.topic", "", 401, "Access refused.").await;
    it.check("GET", "exchanges/%2F/", "", 200, r#""name":"amq.headers""#).await;
    it.check("GET", "exchanges/%2F/amq.default", "", 200, r#""name":"""#).await;
    it.check("PUT", "queues/%2F/q1", "{}", 201, "").await;

    let between = "bindings/%2F/e/x1/q/q1";
    it.check("POST", between, r#"{"routing_key":"a.b"}"#, 201, "location: q1/a.b\r\n").await;
    it.check("POST", between, "", 201, "location: q1/~\r\n").await;
    let with_arguments = r#"{"routing_key":"k","arguments":{"a":1}}"#;
    it.check("POST", between, with_arguments, 201, "location: q1/k~").await;
    let odd = r#"{"routing_key":"~x/y"}"#;
    it.check("POST", "bindings/%2F/e/amq.fanout/e/x1", odd, 201, "location: x1/%257Ex%252Fy").await;
    let missing = "no queue 'nope' in vhost '/'";
    it.check("POST", "bindings/%2F/e/x1/q/nope", "{}", 404, missing).await;
    it.check("POST", "bindings/%2F/e/amq.default/q/q1", "{}", 401, "Access refused.").await;
    assert_eq!(it.json("bindings").await.as_array().map(Vec::len), Some(5));
    assert_eq!(it.json("queues/%2F/q1/bindings").await.as_array().map(Vec::len), Some(4));
    assert_eq!(it.json(between).await.as_array().map(Vec::len), Some(3));
    it.check("GET", "exchanges/%2F/x1/bindings/destination", "", 200, r#""source":"amq.fanout""#)
        .await;
    it.check("GET", "bindings/%2F/e/x1/q/q1/a.b", "", 200, r#""routing_key":"a.b""#).await;
    it.check("DELETE", "bindings/%2F/e/x1/q/q1/a.b", "", 204, "").await;
    it.check("DELETE", "bindings/%2F/e/x1/q/q1/a.b", "", 404, "Object Not Found").await;
    it.check("DELETE", "bindings/%2F/e/amq.fanout/e/x1/%257Ex%252Fy", "", 204, "").await;
    it.check("DELETE", "exchanges/%2F/x1?if-unused=true", "", 400, "in use").await;
    it.check("DELETE", at, "", 204, "").await;
    it.check("DELETE", at, "", 404, "Object Not Found").await;
    it.stop().await;
}

#[tokio::test]
async fn messages() {
    let it = Served::start().await;
    it.check("PUT", "queues/%2F/q1", "{}", 201, "").await;
    let at = "exchanges/%2F/amq.default/publish";
    let whole = r#"{"routing_key":"q1","payload":"hi","payload_encoding":"string",
        "properties":{"delivery_mode":2,"headers":{"a":1,"c":[1,"y"]},"content_type":"t"}}"#;
    it.check("POST", at, whole, 200, r#"{"routed":true}"#).await;
    it.check("POST", at, &whole.replace("q1", "no"), 200, r#"{"routed":false}"#).await;
    let octets =
        r#"{"routing_key":"q1","payload":"//8=","payload_encoding":"base64","properties":{}}"#;
    it.check("POST", at, octets, 200, r#"{"routed":true}"#).await;
    it.check("POST", at, &octets.replace("//8=", "z!"), 400, r#"["not_base64","z!"]"#).await;
    it.check("POST", at, &octets.replace("base64", "zz"), 400, r#"["unsupported_encoding","zz"]"#)
        .await;
    it.check("POST", at, &octets.replace(r#""//8=""#, "5"), 400, "payload_not_string").await;
    let missing = "[{key_missing,properties},{key_missing,payload_encoding}]";
    it.check("POST", at, r#"{"routing_key":"q1","payload":"hi"}"#, 400, missing).await;
    let expires = whole.replace(r#""content_type":"t""#, r#""expiration":"x""#);
    let refused = "406 PRECONDITION_FAILED - invalid expiration 'x': no_integer";
    it.check("POST", at, &expires, 400, refused).await;
    it.check("POST", "exchanges/%2F/none/publish", whole, 404, "exchange_not_found").await;
    let internal = "403 ACCESS_REFUSED - cannot publish to internal exchange";
    it.check("POST", "exchanges/%2F/amq.rabbitmq.trace/publish", whole, 400, internal).await;

    let at = "queues/%2F/q1/get";
    let peek = r#"{"count":5,"ackmode":"ack_requeue_true","encoding":"auto"}"#;
    let first =
        r#""properties":{"content_type":"t","delivery_mode":2,"headers":{"a":1,"c":[1,"y"]}}"#;
    it.check("POST", at, peek, 200, first).await;
    it.check("POST", at, peek, 200, r#""payload":"//8=","payload_bytes":2"#).await;
    it.check("POST", at, peek, 200, r#""redelivered":true"#).await;
    it.check("GET", "queues/%2F/q1", "", 200, r#""messages_ready":2"#).await;
    let take = r#"{"count":"1","ackmode":"ack_requeue_false","encoding":"base64","truncate":1}"#;
    it.check("POST", at, take, 200, r#""payload":"aA==""#).await;
    it.check("POST", at, take, 200, r#""message_count":0"#).await;
    it.check("POST", at, take, 200, "[]").await;
    it.check("POST", at, r#"{"count":1,"ackmode":"ack_requeue_false"}"#, 400, "encoding").await;
    it.check("POST", "queues/%2F/none/get", peek, 404, "queue_not_found").await;
    it.stop().await;
}

#[tokio::test]
async fn users_vhosts_and_permissions() {
    let it = Served::start().await;
    it.check("PUT", "vhosts/a%2Fb", "", 201, "").await;
    it.check("PUT", "vhosts/a%2Fb", "{}", 204, "").await;
    it.check("GET", "vhosts", "", 200, r#""name":"a/b""#).await;
    it.check("GET", "vhosts/a%2Fb/permissions", "", 200, r#""user":"guest""#).await;
    it.check("GET", "vhosts/nope", "", 404, "Object Not Found").await;
    it.check("PUT", "users/u", r#"{"password":"p"}"#, 400, "tags_not_present").await;
    it.check("PUT", "users/u", r#"{"password":"p","tags":"management"}"#, 201, "").await;
    let tags = r#"{"password":"p","tags":["management","monitoring"]}"#;
    it.check("PUT", "users/u", tags, 204, "").await;
    it.check("GET", "users/u", "", 200, r#""tags":["management","monitoring"]"#).await;
    it.check("GET", "users/none", "", 404, "Object Not Found").await;
    it.check("PUT", "users/closed", r#"{"tags":""}"#, 201, "").await;
    let at = "permissions/a%2Fb/u";
    it.check("GET", at, "", 404, "Object Not Found").await;
    let all = r#"{"configure":"^m","write":".*","read":".*"}"#;
    it.check("PUT", at, all, 201, "").await;
    it.check("PUT", at, all, 204, "").await;
    it.check("PUT", at, r#"{"configure":"","write":""}"#, 400, "[{key_missing,read}]").await;
    it.check("PUT", at, r#"{"configure":"(","write":"","read":""}"#, 400, "invalid_regexp").await;
    it.check("PUT", "permissions/no/u", all, 400, "vhost_or_user_not_found").await;
    it.check("GET", at, "", 200, r#""configure":"^m""#).await;
    it.check("GET", "users/u/permissions", "", 200, r#""vhost":"a/b""#).await;

    // Base64 of u:p, u:x, closed: (no password).
    let user = "Authorization: Basic dTpw\r\n";
    for (headers, method, path, status, contains) in [
        ("", "GET", "whoami", 401, "www-authenticate: Basic realm=\"RabbitMQ Management\""),
        ("Authorization: Basic dTp4\r\n", "GET", "whoami", 401, "not_authorized"),
        ("Authorization: Basic Y2xvc2VkOg==\r\n", "GET", "whoami", 401, "not_authorized"),
        ("Authorization: zzz\r\n", "GET", "whoami", 401, "not_authorized"),
        (user, "GET", "whoami", 200, r#""name":"u""#),
        (user, "GET", "users", 401, "Not administrator user"),
        (user, "PUT", "queues/a%2Fb/mine", 201, ""),
        (user, "PUT", "queues/a%2Fb/other", 401, "Access refused."),
        (user, "PUT", "policies/a%2Fb/p", 401, "User not authorised to access object"),
    ] {
        let (got, answer) = it.ask_with(headers, method, &format!("/api/{path}"), "").await;
        assert_eq!(got, status, "{method} {path}: {answer}");
        assert!(answer.contains(contains), "{method} {path}: {answer}");
    }
    it.check("PUT", "users/u", r#"{"password":"p","tags":"management"}"#, 204, "").await;
    let hidden = "User not authorised to access virtual host";
    for (path, contains) in [("queues/%2F", hidden), ("nodes", "Not monitor user")] {
        let (got, answer) = it.ask_with(user, "GET", &format!("/api/{path}"), "").await;
        assert!(got == 401 && answer.contains(contains), "{answer}");
    }
    it.check("PUT", "users/u", r#"{"password":"p","tags":""}"#, 204, "").await;
    let (got, answer) = it.ask_with(user, "GET", "/api/whoami", "").await;
    assert!(got == 401 && answer.contains("Not management user"), "{answer}");

    it.check("DELETE", at, "", 204, "").await;
    it.check("DELETE", at, "", 404, "Object Not Found").await;
    it.check("DELETE", "users/u", "", 204, "").await;
    it.check("DELETE", "users/u", "", 404, "Object Not Found").await;
    it.check("DELETE", "vhosts/a%2Fb", "", 204, "").await;
    it.check("DELETE", "vhosts/a%2Fb", "", 404, "Object Not Found").await;
    it.stop().await;
}

#[tokio::test]
async fn policies() {
    let it = Served::start().await;
    let at = "policies/%2F/p";
    let limit = r#"{"pattern":"^q","definition":{"max-length":1},"apply-to":"queues"}"#;
    it.check("PUT", at, limit, 201, "").await;
    it.check("PUT", at, limit, 204, "").await;
    it.check("GET", "policies", "", 200, r#""definition":{"max-length":1}"#).await;
    it.check("PUT", "queues/%2F/q", "{}", 201, "").await;
    it.check("GET", "queues/%2F/q", "", 200, r#""policy":"p""#).await;
    for (wrong, why) in [
        (r#"{"pattern":"(","definition":{"max-length":1}}"#, "Validation failed"),
        (r#"{"pattern":"a","definition":{"zzz":1}}"#, "are not recognised policy settings"),
        (r#"{"pattern":"a","definition":{"max-length":-1}}"#, "-1 is not a valid maximum length"),
        (r#"{"pattern":"a","definition":{"expires":0}}"#, "0 is not a valid queue expiry"),
        (r#"{"pattern":"a","definition":{"overflow":"zz"}}"#, "is not a valid overflow value"),
        (r#"{"pattern":"a","definition":{}}"#, "no policy provided"),
        (r#"{"definition":{"max-length":1}}"#, "[{key_missing,pattern}]"),
        (r#"{"pattern":"","definition":{"max-length":1},"apply-to":"zz"}"#, "'zz' unrecognised"),
    ] {
        it.check("PUT", at, wrong, 400, why).await;
    }
    it.check("DELETE", at, "", 204, "").await;
    it.check("DELETE", at, "", 404, "Object Not Found").await;
    it.stop().await;
}

/// What RabbitMQ 4.0.5 answers to the same requests.
#[tokio::test]
async fn declarations_are_checked_as_those_of_clients() {
    let it = Served::start().await;
    let quorum = r#""arguments":{"x-queue-type":"quorum"}"#;
    let transient = format!("{{{quorum}}}");
    it.check("PUT", "queues/%2F/q", &transient, 400, "invalid property 'non-durable'").await;
    let own = format!(r#"{{"durable":true,"exclusive":true,{quorum}}}"#);
    it.check("PUT", "queues/%2F/q", &own, 400, "invalid property 'non-durable'").await;
    let dead = r#"{"arguments":{"x-dead-letter-exchange":1}}"#;
    it.check("PUT", "queues/%2F/q", dead, 400, "invalid type 'long' for arg").await;
    let alternate = r#"{"type":"fanout","arguments":{"alternate-exchange":1}}"#;
    it.check("PUT", "exchanges/%2F/x", alternate, 400, "invalid type 'long' for arg").await;

    let about = r#"{"description":"d","tags":"a,b","default_queue_type":"quorum"}"#;
    it.check("PUT", "vhosts/v", about, 201, "").await;
    let shown = r#""metadata":{"default_queue_type":"quorum","description":"d","tags":["a","b"]}"#;
    it.check("GET", "vhosts/v", "", 200, shown).await;
    for (body, kind) in [
        (r#"{"durable":true}"#, "quorum"),
        ("{}", "classic"),
        (r#"{"durable":true,"auto_delete":true}"#, "classic"),
    ] {
        it.check("PUT", "queues/v/q", body, 201, "").await;
        it.check("GET", "queues/v/q", "", 200, &format!(r#""type":"{kind}""#)).await;
        it.check("DELETE", "queues/v/q", "", 204, "").await;
    }
    it.check("PUT", "vhosts/v", "{}", 204, "").await;
    it.check("GET", "vhosts/v", "", 200, r#""default_queue_type":"classic""#).await;
    it.check("PUT", "vhosts/w", r#"{"default_queue_type":"other"}"#, 400, "'other'").await;

    // Everything matches nothing at all.
    it.check("PUT", "queues/%2F/any", "{}", 201, "").await;
    let policy = r#"{"pattern":"","definition":{"max-length":5}}"#;
    it.check("PUT", "policies/%2F/p", policy, 201, "").await;
    it.check("GET", "policies/%2F/p", "", 200, r#""pattern":"""#).await;
    it.check("GET", "queues/%2F/any", "", 200, r#""policy":"p""#).await;
    let wrong = r#"{"pattern":5,"definition":{"max-length":5}}"#;
    it.check("PUT", "policies/%2F/p", wrong, 400, "pattern should be a binary but was 5").await;
    it.stop().await;
}

#[tokio::test]
async fn passwords_are_hashed() {
    let it = Served::start().await;
    // RabbitMQ's own example, of `test12`.
    let hash = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";
    let hashed = format!(r#"{{"password_hash":"{hash}","tags":"management"}}"#);
    it.check("PUT", "users/u", &hashed, 201, "").await;
    it.check("GET", "users/u", "", 200, &format!(r#""password_hash":"{hash}""#)).await;
    // Base64 of u:test12 and u:test13.
    for (login, status) in [("dTp0ZXN0MTI=", 200), ("dTp0ZXN0MTM=", 401)] {
        let header = format!("Authorization: Basic {login}\r\n");
        let (got, answer) = it.ask_with(&header, "GET", "/api/whoami", "").await;
        assert_eq!(got, status, "{answer}");
    }
    let bad = r#"{"password_hash":"!!","tags":""}"#;
    it.check("PUT", "users/u", bad, 400, r#"["not_base64","!!"]"#).await;
    let both = format!(r#"{{"password":"p","password_hash":"{hash}","tags":""}}"#);
    it.check("PUT", "users/u", &both, 400, "both_password_and_password_hash_are_provided").await;
    it.stop().await;
}

#[tokio::test]
async fn connections_are_seen_and_closed() {
    let it = Served::start().await;
    let connection = it.connect().await;
    let mut events = connection.events_listener();
    let channel = connection.create_channel().await.expect("it opens");
    let own = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("own".into(), own, FieldTable::default()).await.expect("it is new");
    let options = BasicConsumeOptions::default();
    let consumer =
        channel.basic_consume("own".into(), "tag".into(), options, FieldTable::default());
    // Dropping it would cancel it.
    let _consumer = consumer.await.expect("it consumes");
    let all = it.json("connections").await;
    assert_eq!(all[0]["user_provided_name"], "mine");
    assert_eq!((&all[0]["state"], &all[0]["vhost"]), (&"running".into(), &"/".into()));
    let name = all[0]["name"].as_str().expect("it has a name").to_owned();
    assert_eq!(it.json("vhosts/%2F/connections").await[0]["name"], name);
    let path = format!("connections/{}", name.replace(' ', "%20").replace('>', "%3E"));
    assert_eq!(it.json(&path).await["name"], name);
    let channels = it.json("channels").await;
    assert_eq!(channels[0]["connection_details"]["name"], name);
    assert_eq!(it.json(&format!("{path}/channels")).await, channels);
    let consumers = it.json("consumers").await;
    assert_eq!(consumers[0]["consumer_tag"], "tag");
    assert_eq!(consumers[0]["queue"]["name"], "own");
    let queue = it.json("queues/%2F/own").await;
    assert_eq!(queue["owner_pid_details"]["name"], name);
    assert_eq!(queue["consumer_details"], consumers);
    it.check("DELETE", "queues/%2F/own", "", 400, "cannot obtain exclusive access").await;

    let headers = format!("{GUEST}X-Reason: go away\r\n");
    let (status, _) = it.ask_with(&headers, "DELETE", &format!("/api/{path}"), "").await;
    assert_eq!(status, 204);
    let told = async {
        while let Some(event) = events.next().await {
            if format!("{event:?}").contains("CONNECTION_FORCED - go away") {
                return;
            }
        }
        panic!("the client was not told why");
    };
    timeout(PATIENCE, told).await.expect("the client is told");
    it.check("DELETE", "connections/none", "", 404, "Object Not Found").await;
    it.stop().await;
}

#[tokio::test]
async fn hostile_clients_are_cut_off() {
    let short = Duration::from_millis(100);
    let it = Served::start_with(Limits { head: short, body: short, ..Limits::default() }).await;
    // A head without end, and one that never comes whole.
    it.raw(b"GET /api/whoami HTTP/1.1\r\nHost: it\r\n").await;
    let endless = [b"GET /api/x HTTP/1.1\r\n".to_vec(), vec![b'a'; 1 << 19]].concat();
    let mut stream = TcpStream::connect(it.management.addr()).await.expect("it accepts");
    // It may be gone before all is written.
    let _ = timeout(PATIENCE, stream.write_all(&endless)).await.expect("it reads or closes");
    // A body that never comes whole, and one that is too large.
    let head = format!("PUT /api/vhosts/v HTTP/1.1\r\nHost: it\r\n{GUEST}");
    let unfinished = it.raw(format!("{head}Content-Length: 9\r\n\r\n{{").as_bytes()).await;
    assert!(unfinished.starts_with("HTTP/1.1 408"), "{unfinished}");
    let large = it.raw(format!("{head}Content-Length: 1048577\r\n\r\n").as_bytes()).await;
    assert!(large.starts_with("HTTP/1.1 413"), "{large}");
    // A stranger's body is not waited for.
    let stranger = b"PUT /api/vhosts/v HTTP/1.1\r\nHost: it\r\nContent-Length: 9\r\n\r\n";
    assert!(it.raw(stranger).await.starts_with("HTTP/1.1 401"));
    it.check("GET", "whoami", "", 200, "guest").await;
    it.stop().await;
}

#[tokio::test]
async fn nobody_takes_all_the_seats_for_good() {
    let short = Duration::from_millis(100);
    let limits = Limits { head: short, connections: 2, ..Limits::default() };
    let it = Served::start_with(limits).await;
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(TcpStream::connect(it.management.addr()).await.expect("it accepts"));
    }
    it.check("GET", "whoami", "", 200, "guest").await;
    it.stop().await;
}
