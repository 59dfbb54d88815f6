//! Requests and their answers, to the octet. `PORT` stands for any port.

use gauntlet_network::toxiproxy::Options;
use tokio::net::{TcpListener, TcpStream};

use crate::rig::{Echo, Rig, dial, echo, expect_end, until};

/// Method, path, body, and the status, content type and body that come back.
type Row = (&'static str, &'static str, &'static str, u16, &'static str, &'static str);

const JSON: &str = "application/json";
const PLAIN: &str = "text/plain; charset=utf-8";

/// One after the other on one server. `TAKEN` is a port somebody listens on.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    ("GET", "/version", "", 200, "application/json;charset=utf-8", "{\"version\": \"2.12.0\"}\n"),
    ("GET", "/proxies", "", 200, JSON, "{}"),
    ("GET", "/nothing", "", 404, PLAIN, "404 page not found\n"),
    ("GET", "/proxies/", "", 404, PLAIN, "404 page not found\n"),
    ("GET", "//proxies", "", 301, "", ""),
    ("PUT", "/proxies", "", 405, "", ""),
    ("GET", "/reset", "", 405, "", ""),
    ("OPTIONS", "/proxies/a/toxics", "", 405, "", ""),
    ("GET", "/proxies/a", "", 404, PLAIN, "{\"error\":\"proxy not found\",\"status\":404}\n"),
    ("DELETE", "/proxies/a", "", 404, PLAIN, "{\"error\":\"proxy not found\",\"status\":404}\n"),
    ("PATCH", "/proxies/a", "{}", 404, PLAIN, "{\"error\":\"proxy not found\",\"status\":404}\n"),
    ("GET", "/proxies/a/toxics", "", 404, PLAIN, "{\"error\":\"proxy not found\",\"status\":404}\n"),
    ("POST", "/proxies", "", 400, PLAIN, "{\"error\":\"bad request body: EOF\",\"status\":400}\n"),
    ("POST", "/proxies", "{", 400, PLAIN, "{\"error\":\"bad request body: unexpected EOF\",\"status\":400}\n"),
    ("POST", "/proxies", "x", 400, PLAIN, "{\"error\":\"bad request body: invalid character 'x' looking for beginning of value\",\"status\":400}\n"),
    ("POST", "/proxies", "[]", 400, PLAIN, "{\"error\":\"bad request body: json: cannot unmarshal array into Go value of type toxiproxy.Proxy\",\"status\":400}\n"),
    ("POST", "/proxies", "null", 400, PLAIN, "{\"error\":\"missing required field: name\",\"status\":400}\n"),
    ("POST", "/proxies", r#"{"name":5}"#, 400, PLAIN, "{\"error\":\"bad request body: json: cannot unmarshal number into Go struct field Proxy.name of type string\",\"status\":400}\n"),
    ("POST", "/proxies", r#"{"upstream":"localhost:1"}"#, 400, PLAIN, "{\"error\":\"missing required field: name\",\"status\":400}\n"),
    ("POST", "/proxies", r#"{"name":"a"}"#, 400, PLAIN, "{\"error\":\"missing required field: upstream\",\"status\":400}\n"),
    ("POST", "/proxies", r#"{"name":"a","upstream":"localhost:1","listen":"abc"}"#, 500, PLAIN, "{\"error\":\"listen tcp: address abc: missing port in address\",\"status\":500}\n"),
    ("POST", "/proxies", r#"{"name":"a","upstream":"localhost:1","listen":"localhost:99999"}"#, 500, PLAIN, "{\"error\":\"listen tcp: address 99999: invalid port\",\"status\":500}\n"),
    ("POST", "/proxies", r#"{"name":"a","upstream":"localhost:1","listen":"localhost:x"}"#, 500, PLAIN, "{\"error\":\"listen tcp: lookup tcp/x: unknown port\",\"status\":500}\n"),
    ("POST", "/proxies", r#"{"name":"a","upstream":"localhost:1","listen":"localhost:TAKEN"}"#, 500, PLAIN, "{\"error\":\"listen tcp 127.0.0.1:TAKEN: bind: address already in use\",\"status\":500}\n"),
    ("GET", "/proxies", "", 200, JSON, "{}"),
    ("POST", "/proxies", r#"{"NAME":"a","Upstream":"localhost:1","listen":"localhost:0","bogus":[1]} trailing"#, 201, JSON, r#"{"name":"a","listen":"127.0.0.1:PORT","upstream":"localhost:1","enabled":true,"Logger":{},"toxics":[]}"#),
    ("POST", "/proxies", r#"{"name":"a","upstream":"localhost:1"}"#, 409, PLAIN, "{\"error\":\"proxy already exists\",\"status\":409}\n"),
    ("POST", "/proxies", r#"{"name":"b","upstream":"localhost:1","enabled":null}"#, 201, JSON, r#"{"name":"b","listen":"[::]:PORT","upstream":"localhost:1","enabled":true,"Logger":{},"toxics":[]}"#),
    ("POST", "/proxies", r#"{"name":"c<&>","upstream":"localhost:1","listen":"localhost:3","enabled":false}"#, 201, JSON, r#"{"name":"c\u003c\u0026\u003e","listen":"localhost:3","upstream":"localhost:1","enabled":false,"Logger":{},"toxics":[]}"#),
    ("GET", "/proxies/c%3C%26%3E", "", 200, JSON, r#"{"name":"c\u003c\u0026\u003e","listen":"localhost:3","upstream":"localhost:1","enabled":false,"Logger":{},"toxics":[]}"#),
    ("DELETE", "/proxies/c%3C%26%3E", "", 204, "", ""),
    ("DELETE", "/proxies/b", "", 204, "", ""),
    ("POST", "/proxies", r#"{"name":"b","upstream":"localhost:1","listen":"localhost:0","toxics":{}}"#, 201, JSON, r#"{"name":"b","listen":"127.0.0.1:PORT","upstream":"localhost:1","enabled":true,"Logger":{},"toxics":[]}"#),
    ("DELETE", "/proxies/b", "", 204, "", ""),
    ("POST", "/proxies", r#"{"name":"b","upstream":"localhost:1","listen":"localhost:0","toxics":"none"}"#, 201, JSON, r#"{"name":"b","listen":"127.0.0.1:PORT","upstream":"localhost:1","enabled":true,"Logger":{},"toxics":[]}"#),
    ("DELETE", "/proxies/b", "", 204, "", ""),
    ("POST", "/proxies", r#"{"name":"b","upstream":"localhost:https","listen":"[::1%lo]:0"}"#, 201, JSON, r#"{"name":"b","listen":"[::1]:PORT","upstream":"localhost:https","enabled":true,"Logger":{},"toxics":[]}"#),
    ("DELETE", "/proxies/b", "", 204, "", ""),
    ("POST", "/proxies", r#"{"name":"b","upstream":"localhost:1","listen":"localhost:no-such-service"}"#, 500, PLAIN, "{\"error\":\"listen tcp: lookup tcp/no-such-service: unknown port\",\"status\":500}\n"),
    ("PATCH", "/proxies/a", "{}", 200, JSON, r#"{"name":"a","listen":"127.0.0.1:PORT","upstream":"localhost:1","enabled":true,"Logger":{},"toxics":[]}"#),
    ("PATCH", "/proxies/a", r#"{"listen":"nope"}"#, 500, PLAIN, "{\"error\":\"address nope: missing port in address\",\"status\":500}\n"),
    ("PATCH", "/proxies/a", r#"{"enabled":"no"}"#, 400, PLAIN, "{\"error\":\"bad request body: json: cannot unmarshal string into Go struct field Proxy.enabled of type bool\",\"status\":400}\n"),
    ("POST", "/proxies/a", r#"{"enabled":false,"name":"other"}"#, 200, JSON, r#"{"name":"a","listen":"127.0.0.1:PORT","upstream":"localhost:1","enabled":false,"Logger":{},"toxics":[]}"#),
    ("PATCH", "/proxies/a", r#"{"listen":"localhost:TAKEN","enabled":true}"#, 500, PLAIN, "{\"error\":\"listen tcp 127.0.0.1:TAKEN: bind: address already in use\",\"status\":500}\n"),
    ("GET", "/proxies/a", "", 200, JSON, r#"{"name":"a","listen":"localhost:TAKEN","upstream":"localhost:1","enabled":false,"Logger":{},"toxics":[]}"#),
    ("PATCH", "/proxies/a", r#"{"listen":"localhost:0","upstream":"localhost:2","enabled":true}"#, 200, JSON, r#"{"name":"a","listen":"127.0.0.1:PORT","upstream":"localhost:2","enabled":true,"Logger":{},"toxics":[]}"#),
    // Toxics.
    ("GET", "/proxies/a/toxics", "", 200, JSON, "[]"),
    ("GET", "/proxies/a/toxics/t", "", 404, PLAIN, "{\"error\":\"toxic not found\",\"status\":404}\n"),
    ("DELETE", "/proxies/a/toxics/t", "", 404, PLAIN, "{\"error\":\"toxic not found\",\"status\":404}\n"),
    ("PATCH", "/proxies/a/toxics/t", "{}", 404, PLAIN, "{\"error\":\"toxic not found\",\"status\":404}\n"),
    ("POST", "/proxies/a/toxics", "", 400, PLAIN, "{\"error\":\"bad request body: EOF\",\"status\":400}\n"),
    ("POST", "/proxies/a/toxics", "[]", 400, PLAIN, "{\"error\":\"bad request body: json: cannot unmarshal array into Go value of type toxics.ToxicWrapper\",\"status\":400}\n"),
    ("POST", "/proxies/a/toxics", "{}", 400, PLAIN, "{\"error\":\"invalid toxic type\",\"status\":400}\n"),
    ("POST", "/proxies/a/toxics", r#"{"type":"Latency"}"#, 400, PLAIN, "{\"error\":\"invalid toxic type\",\"status\":400}\n"),
    ("POST", "/proxies/a/toxics", r#"{"type":"bogus","stream":"bogus"}"#, 400, PLAIN, "{\"error\":\"stream was invalid, can be either upstream or downstream\",\"status\":400}\n"),
    ("POST", "/proxies/a/toxics", r#"{"type":"latency","stream":""}"#, 400, PLAIN, "{\"error\":\"stream was invalid, can be either upstream or downstream\",\"status\":400}\n"),
    ("POST", "/proxies/a/toxics", r#"{"type":"latency","stream":"both"}"#, 400, PLAIN, "{\"error\":\"stream was invalid, can be either upstream or downstream\",\"status\":400}\n"),
    ("POST", "/proxies/a/toxics", r#"{"type":"latency","attributes":{"latency":1.5}}"#, 400, PLAIN, "{\"error\":\"bad request body: json: cannot unmarshal number 1.5 into Go struct field LatencyToxic.attributes.latency of type int64\",\"status\":400}\n"),
    ("POST", "/proxies/a/toxics", r#"{"type":"slicer","attributes":{"average_size":"x"}}"#, 400, PLAIN, "{\"error\":\"bad request body: json: cannot unmarshal string into Go struct field SlicerToxic.attributes.average_size of type int\",\"status\":400}\n"),
    ("POST", "/proxies/a/toxics", r#"{"type":"latency","toxicity":"x"}"#, 400, PLAIN, "{\"error\":\"bad request body: json: cannot unmarshal string into Go struct field ToxicWrapper.toxicity of type float32\",\"status\":400}\n"),
    ("POST", "/proxies/a/toxics", r#"{"type":"latency","attributes":{"LATENCY":15,"bogus":1},"toxicity":0.3}"#, 200, JSON, r#"{"attributes":{"latency":15,"jitter":0},"name":"latency_downstream","type":"latency","stream":"downstream","toxicity":0.3}"#),
    ("POST", "/proxies/a/toxics", r#"{"type":"latency","attributes":{"latency":"late"}}"#, 409, PLAIN, "{\"error\":\"toxic already exists\",\"status\":409}\n"),
    ("POST", "/proxies/a/toxics", r#"{"type":"noop","name":"latency_downstream","stream":"upstream"}"#, 409, PLAIN, "{\"error\":\"toxic already exists\",\"status\":409}\n"),
    ("POST", "/proxies/a/toxics", r#"{"type":"bandwidth","stream":"UPstream","attributes":null,"toxicity":null}"#, 200, JSON, r#"{"attributes":{"rate":0},"name":"bandwidth_UPstream","type":"bandwidth","stream":"UPstream","toxicity":1}"#),
    ("POST", "/proxies/a/toxics", r#"{"type":"slow_close","name":"s","toxicity":7}"#, 200, JSON, r#"{"attributes":{"delay":0},"name":"s","type":"slow_close","stream":"downstream","toxicity":7}"#),
    ("POST", "/proxies/a/toxics", r#"{"type":"timeout","attributes":{"timeout":-1},"toxicity":-0.5}"#, 200, JSON, r#"{"attributes":{"timeout":-1},"name":"timeout_downstream","type":"timeout","stream":"downstream","toxicity":-0.5}"#),
    ("POST", "/proxies/a/toxics", r#"{"type":"slicer"}"#, 200, JSON, r#"{"attributes":{"average_size":0,"size_variation":0,"delay":0},"name":"slicer_downstream","type":"slicer","stream":"downstream","toxicity":1}"#),
    ("POST", "/proxies/a/toxics", r#"{"type":"limit_data","stream":"upstream","attributes":{"bytes":9}}"#, 200, JSON, r#"{"attributes":{"bytes":9},"name":"limit_data_upstream","type":"limit_data","stream":"upstream","toxicity":1}"#),
    ("POST", "/proxies/a/toxics", r#"{"type":"reset_peer"}"#, 200, JSON, r#"{"attributes":{"timeout":0},"name":"reset_peer_downstream","type":"reset_peer","stream":"downstream","toxicity":1}"#),
    ("POST", "/proxies/a/toxics", r#"{"type":"noop"}"#, 200, JSON, r#"{"attributes":{},"name":"noop_downstream","type":"noop","stream":"downstream","toxicity":1}"#),
    ("PATCH", "/proxies/a/toxics/latency_downstream", r#"{"attributes":{"jitter":3},"name":"x","type":"noop","stream":"upstream"}"#, 200, JSON, r#"{"attributes":{"latency":15,"jitter":3},"name":"latency_downstream","type":"latency","stream":"downstream","toxicity":0.3}"#),
    ("POST", "/proxies/a/toxics/s", r#"{"toxicity":0.000001,"attributes":{"delay":1}}"#, 200, JSON, r#"{"attributes":{"delay":1},"name":"s","type":"slow_close","stream":"downstream","toxicity":0.000001}"#),
    ("PATCH", "/proxies/a/toxics/s", "{", 400, PLAIN, "{\"error\":\"bad request body: unexpected EOF\",\"status\":400}\n"),
    ("DELETE", "/proxies/a/toxics/slicer_downstream", "", 204, "", ""),
    ("DELETE", "/proxies/a/toxics/timeout_downstream", "", 204, "", ""),
    ("DELETE", "/proxies/a/toxics/reset_peer_downstream", "", 204, "", ""),
    ("GET", "/proxies/a/toxics", "", 200, JSON, r#"[{"attributes":{"rate":0},"name":"bandwidth_UPstream","type":"bandwidth","stream":"UPstream","toxicity":1},{"attributes":{"bytes":9},"name":"limit_data_upstream","type":"limit_data","stream":"upstream","toxicity":1},{"attributes":{"latency":15,"jitter":3},"name":"latency_downstream","type":"latency","stream":"downstream","toxicity":0.3},{"attributes":{"delay":1},"name":"s","type":"slow_close","stream":"downstream","toxicity":0.000001},{"attributes":{},"name":"noop_downstream","type":"noop","stream":"downstream","toxicity":1}]"#),
    ("PATCH", "/proxies/a", r#"{"enabled":false}"#, 200, JSON, r#"{"name":"a","listen":"127.0.0.1:PORT","upstream":"localhost:2","enabled":false,"Logger":{},"toxics":[{"attributes":{"rate":0},"name":"bandwidth_UPstream","type":"bandwidth","stream":"UPstream","toxicity":1},{"attributes":{"bytes":9},"name":"limit_data_upstream","type":"limit_data","stream":"upstream","toxicity":1},{"attributes":{"latency":15,"jitter":3},"name":"latency_downstream","type":"latency","stream":"downstream","toxicity":0.3},{"attributes":{"delay":1},"name":"s","type":"slow_close","stream":"downstream","toxicity":0.000001},{"attributes":{},"name":"noop_downstream","type":"noop","stream":"downstream","toxicity":1}]}"#),
    ("POST", "/reset", "", 204, "", ""),
    ("GET", "/proxies", "", 200, JSON, r#"{"a":{"name":"a","listen":"127.0.0.1:PORT","upstream":"localhost:2","enabled":true,"Logger":{},"toxics":[]}}"#),
    // Populate.
    ("POST", "/populate", "[]", 201, JSON, r#"{"proxies":null}"#),
    ("POST", "/populate", "", 400, JSON, r#"{"error":"bad request body: EOF","status":400,"proxies":null}"#),
    ("POST", "/populate", "{}", 400, JSON, r#"{"error":"bad request body: json: cannot unmarshal object into Go value of type []struct { toxiproxy.Proxy; Enabled *bool \"json:\\\"enabled\\\"\" }","status":400,"proxies":null}"#),
    ("POST", "/populate", r#"[{"name":5}]"#, 400, JSON, r#"{"error":"bad request body: json: cannot unmarshal number into Go struct field .Proxy.name of type string","status":400,"proxies":null}"#),
    ("POST", "/populate", r#"[{"name":"b","upstream":"x:1"},{"upstream":"x:1"}]"#, 400, JSON, r#"{"error":"missing required field: name at proxy 2","status":400,"proxies":null}"#),
    ("POST", "/populate", r#"[{"name":"b"}]"#, 400, JSON, r#"{"error":"missing required field: upstream at proxy 1","status":400,"proxies":null}"#),
    ("POST", "/populate", r#"[{"name":"b","upstream":"x:1","listen":"localhost:0"},{"name":"c","upstream":"x:1","listen":"foo"},{"name":"d","upstream":"x:1"}]"#, 500, JSON, r#"{"error":"listen tcp: address foo: missing port in address","status":500,"proxies":[{"name":"b","listen":"127.0.0.1:PORT","upstream":"x:1","enabled":true,"Logger":{},"toxics":[]}]}"#),
    ("POST", "/populate", r#"[{"name":"e","upstream":"x:1","listen":"localhost:4","enabled":false,"toxics":{"a":1}}]"#, 201, JSON, r#"{"proxies":[{"name":"e","listen":"localhost:4","upstream":"x:1","enabled":false,"Logger":{},"toxics":[]}]}"#),
    ("DELETE", "/proxies/e", "", 204, "", ""),
    ("POST", "/populate", r#"[{"name":"c","upstream":"x:1","listen":"localhost:4","enabled":false}]"#, 201, JSON, r#"{"proxies":[{"name":"c","listen":"localhost:4","upstream":"x:1","enabled":false,"Logger":{},"toxics":[]}]}"#),
    ("GET", "/proxies", "", 200, JSON, r#"{"a":{"name":"a","listen":"127.0.0.1:PORT","upstream":"localhost:2","enabled":true,"Logger":{},"toxics":[]},"b":{"name":"b","listen":"127.0.0.1:PORT","upstream":"x:1","enabled":true,"Logger":{},"toxics":[]},"c":{"name":"c","listen":"localhost:4","upstream":"x:1","enabled":false,"Logger":{},"toxics":[]}}"#),
];

/// Every port of this machine's that was chosen by chance is `PORT`.
fn without_ports(body: &str) -> String {
    let mut plain = String::new();
    let mut parts = body.split("\"listen\":\"");
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (addr, rest) = part.split_once('"').unwrap();
        let (host, port) = addr.rsplit_once(':').unwrap();
        let port = if port.len() > 3 { "PORT" } else { port };
        plain.push_str(&format!("\"listen\":\"{host}:{port}\"{rest}"));
    }
    plain
}

async fn holds(rig: &Rig) {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (method, path, body, status, content_type, expect) in TABLE {
        let reply = rig.request(method, path, &body.replace("TAKEN", &port)).await;
        let expect = without_ports(&expect.replace("TAKEN", &port));
        let got = (reply.status, reply.header("content-type"), without_ports(&reply.body));
        assert_eq!(got, (*status, *content_type, expect), "{method} {path} {body}");
        if *content_type == PLAIN {
            assert_eq!(reply.header("x-content-type-options"), "nosniff", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn the_table_holds() {
    holds(&Rig::new().await).await;
}

#[tokio::test]
async fn the_table_holds_for_the_real_one() {
    if let Some(real) = Rig::real().await {
        holds(&real).await;
    }
}

#[tokio::test]
async fn browsers_are_refused_and_requests_have_ids() {
    let mut rigs = vec![Rig::new().await];
    rigs.extend(Rig::real().await);
    for rig in rigs {
        let reply = rig.request_as("Mozilla/5.0 (X11)", "GET", "/proxies", "").await;
        let got = (reply.status, reply.header("content-type"), reply.body.as_str());
        assert_eq!(got, (403, PLAIN, "User agent not allowed\n"));
        // No handler, nobody to refuse.
        assert_eq!(rig.request_as("Mozilla/5.0", "GET", "/", "").await.status, 404);
        let ids = [rig.ok("GET", "/version", "").await, rig.ok("GET", "/version", "").await];
        let [a, b] = ids.each_ref().map(|reply| reply.header("x-toxiproxy-request-id"));
        assert!(a.len() == 20 && b.len() == 20 && a != b, "{a} {b}");
    }
}

#[tokio::test]
async fn metrics_are_there_when_asked_for() {
    let echo_server = Echo::start().await;
    let options = Options { proxy_metrics: true, runtime_metrics: true, ..Options::default() };
    let rig = Rig::with(options).await;
    let addr = rig.proxy(echo_server.addr).await;
    let mut client = dial(addr).await;
    echo(&mut client).await;
    drop(client);
    let upstream = echo_server.addr;
    for round in 0..2 {
        for (name, direction) in [("received", "upstream"), ("sent", "downstream")] {
            let line = format!(
                "toxiproxy_proxy_{name}_bytes_total{{direction=\"{direction}\",listener=\"{addr}\",\
                 proxy=\"p\",upstream=\"{upstream}\"}} 5\n"
            );
            until(&line, async || rig.ok("GET", "/metrics", "").await.body.contains(&line)).await;
        }
        if round == 0 {
            // What was counted outlives the proxy.
            rig.ok("DELETE", "/proxies/p", "").await;
        }
    }
    let metrics = rig.ok("POST", "/metrics", "").await;
    assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
    assert!(metrics.body.contains("process_open_fds "), "{}", metrics.body);
    assert_eq!(Rig::new().await.request("GET", "/metrics", "").await.status, 404);
}

#[tokio::test]
async fn a_disabled_proxy_lets_go_of_its_port_and_gets_it_again() {
    let mut rigs = vec![Rig::new().await];
    rigs.extend(Rig::real().await);
    for rig in rigs {
        let echo_server = Echo::start().await;
        let addr = rig.proxy(echo_server.addr).await;
        let mut client = dial(addr).await;
        echo(&mut client).await;
        rig.toxic(r#"{"type":"latency","attributes":{"latency":1}}"#).await;
        rig.ok("POST", "/proxies/p", r#"{"enabled":false}"#).await;
        expect_end(&mut client).await;
        assert!(TcpStream::connect(addr).await.is_err());
        drop(TcpListener::bind(addr).await.unwrap());
        let enabled = rig.ok("PATCH", "/proxies/p", r#"{"enabled":true}"#).await.json();
        assert_eq!(enabled["listen"], addr.to_string());
        assert_eq!(rig.toxics().await, ["latency_downstream"]);
        echo(&mut dial(addr).await).await;
    }
}

#[tokio::test]
async fn populate_leaves_alone_what_is_as_asked_and_replaces_what_is_not() {
    let mut rigs = vec![Rig::new().await];
    rigs.extend(Rig::real().await);
    for rig in rigs {
        let echo_server = Echo::start().await;
        let (upstream, addr) = (echo_server.addr, rig.proxy(echo_server.addr).await);
        rig.toxic(r#"{"type":"noop"}"#).await;
        let mut client = dial(addr).await;
        echo(&mut client).await;
        let port = addr.port();
        let same =
            format!(r#"[{{"name":"p","listen":"localhost:{port}","upstream":"{upstream}"}}]"#);
        rig.ok("POST", "/populate", &same).await;
        assert_eq!(rig.toxics().await, ["noop_downstream"]);
        echo(&mut client).await;
        let other = format!(r#"[{{"name":"p","listen":"localhost:0","upstream":"{upstream}"}}]"#);
        let other = rig.ok("POST", "/populate", &other).await.json();
        expect_end(&mut client).await;
        assert_eq!(rig.toxics().await, [""; 0]);
        let listen = other["proxies"][0]["listen"].as_str().unwrap();
        echo(&mut dial(listen.parse().unwrap()).await).await;
    }
}
