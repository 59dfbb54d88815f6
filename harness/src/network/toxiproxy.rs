//! Driving a Toxiproxy with `toxiproxy_rust`: the only file that knows that client.
//!
//! It blocks, must not be used inside a runtime, never looks at an HTTP status, and panics when the server is gone. So
//! it lives on a plain thread that is asked one thing at a time; every change is read back; and what it lacks (removing
//! one toxic, a toxic with a name of its own, another upstream) is asked for here by plain HTTP, with the
//! status looked at.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use toxiproxy_rust::client::Client;
use toxiproxy_rust::proxy::{Proxy, ProxyPack};

use super::NetworkError;
use super::toxic::{Kind, Toxic};

/// One question, to the longest answer of a busy machine.
const ANSWER: Duration = Duration::from_secs(10);

type Call = Box<dyn FnOnce(&Driver) + Send>;

/// A Toxiproxy that answers.
pub struct Toxiproxy {
    addr: SocketAddr,
    version: String,
    calls: Option<mpsc::Sender<Call>>,
    thread: Option<JoinHandle<()>>,
}

/// What lives on the thread.
struct Driver {
    addr: SocketAddr,
    client: Client,
    http: reqwest::Client,
    /// For `http` alone, and never while `client` is asked.
    runtime: tokio::runtime::Runtime,
}

impl Toxiproxy {
    /// Finds it at its API's address, and sees that it tells what it touched.
    pub async fn reach(addr: SocketAddr) -> Result<Toxiproxy, NetworkError> {
        let (calls, asked) = mpsc::channel::<Call>();
        let (ready, is_ready) = oneshot::channel();
        let work = move || {
            let driver = match Driver::new(addr) {
                Ok(driver) => driver,
                Err(why) => {
                    _ = ready.send(Err(why));
                    return;
                }
            };
            // Nobody waits for it any more: the next call finds out.
            _ = ready.send(Ok(()));
            while let Ok(call) = asked.recv() {
                call(&driver);
            }
        };
        let failed =
            |why: String| NetworkError::Toxiproxy { what: "drive it".into(), api: addr, why };
        let thread = std::thread::Builder::new().name("toxiproxy".into()).spawn(work);
        let thread = thread.map_err(|e| failed(e.to_string()))?;
        is_ready.await.map_err(|_| failed("its thread has ended".into()))?.map_err(failed)?;
        let mut this =
            Toxiproxy { addr, version: String::new(), calls: Some(calls), thread: Some(thread) };
        this.version = this.ask("find out its version", |d| d.version()).await?;
        Ok(this)
    }

    /// Its API's address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Where a proxy of one that is not ours listens: on any port, seen by nobody else where that can be.
    pub fn listen(&self) -> SocketAddr {
        let ip: IpAddr = match self.addr.ip().is_loopback() {
            true => self.addr.ip(),
            false => Ipv4Addr::UNSPECIFIED.into(),
        };
        SocketAddr::new(ip, 0)
    }

    /// Makes a proxy; where it listens.
    pub async fn create(
        &self,
        name: &str,
        listen: SocketAddr,
        upstream: SocketAddr,
    ) -> Result<SocketAddr, NetworkError> {
        let proxy = name.to_owned();
        self.ask(&format!("make the proxy `{name}`"), move |d| d.create(&proxy, listen, upstream))
            .await
    }

    /// Points a proxy at another upstream.
    pub async fn set_upstream(&self, name: &str, upstream: SocketAddr) -> Result<(), NetworkError> {
        let proxy = name.to_owned();
        self.ask(&format!("point the proxy `{name}` at {upstream}"), move |d| {
            d.set_upstream(&proxy, upstream)
        })
        .await
    }

    /// Removes a proxy; where it listened.
    pub async fn delete(&self, name: &str) -> Result<Option<SocketAddr>, NetworkError> {
        let proxy = name.to_owned();
        self.ask(&format!("remove the proxy `{name}`"), move |d| d.delete(&proxy)).await
    }

    /// The names of its proxies.
    pub async fn names(&self) -> Result<Vec<String>, NetworkError> {
        self.ask("list its proxies", |d| Ok(d.client.all()?.into_keys().collect())).await
    }

    /// Adds a toxic; its name.
    pub async fn add(&self, name: &str, toxic: &Toxic) -> Result<String, NetworkError> {
        let (proxy, toxic) = (name.to_owned(), *toxic);
        let (kind, _) = toxic.kind.attributes();
        self.ask(&format!("add {kind} to the proxy `{name}`"), move |d| d.add(&proxy, toxic)).await
    }

    /// Removes one toxic.
    pub async fn remove(&self, name: &str, toxic: &str) -> Result<(), NetworkError> {
        let (proxy, its) = (name.to_owned(), toxic.to_owned());
        self.ask(&format!("remove `{toxic}` from the proxy `{name}`"), move |d| {
            d.remove(&proxy, &its)
        })
        .await
    }

    async fn ask<T: Send + 'static>(
        &self,
        what: &str,
        act: impl FnOnce(&Driver) -> Result<T, String> + Send + 'static,
    ) -> Result<T, NetworkError> {
        let failed = |why: &str| NetworkError::Toxiproxy {
            what: what.to_owned(),
            api: self.addr,
            why: why.to_owned(),
        };
        let (tell, told) = oneshot::channel();
        let call = Box::new(move |driver: &Driver| {
            let done = driver.alive().and_then(|()| act(driver));
            _ = tell.send(done);
        });
        let calls = self.calls.as_ref().ok_or_else(|| failed("it is being let go of"))?;
        calls.send(call).map_err(|_| failed("its thread has ended"))?;
        match told.await {
            Ok(done) => done.map_err(|why| failed(&why)),
            // The client panics rather than say that a connection broke.
            Err(_) => Err(failed("it broke off in the middle of the answer")),
        }
    }
}

impl Drop for Toxiproxy {
    fn drop(&mut self) {
        drop(self.calls.take());
        if let Some(thread) = self.thread.take() {
            // It ends with the call it is at; a panic of the client was reported by that call.
            _ = thread.join();
        }
    }
}

impl Driver {
    fn new(addr: SocketAddr) -> Result<Driver, String> {
        let http = reqwest::Client::builder().timeout(ANSWER).no_proxy().build();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Driver {
            addr,
            client: Client::new(addr),
            http: http.map_err(|e| e.to_string())?,
            runtime: runtime.map_err(|e| e.to_string())?,
        })
    }

    /// The client would panic.
    fn alive(&self) -> Result<(), String> {
        let connected = TcpStream::connect_timeout(&self.addr, ANSWER);
        connected.map(drop).map_err(|e| format!("nothing answers: {e}"))
    }

    fn version(&self) -> Result<String, String> {
        let said = self.client.version()?;
        let answer: Value = serde_json::from_str(&said).unwrap_or(Value::Null);
        let version = answer["version"].as_str().map(str::to_owned);
        version.ok_or_else(|| format!("it is no Toxiproxy: asked for its version it said {said:?}"))
    }

    fn create(
        &self,
        name: &str,
        listen: SocketAddr,
        upstream: SocketAddr,
    ) -> Result<SocketAddr, String> {
        let pack = ProxyPack::new(name.to_owned(), listen.to_string(), upstream.to_string());
        self.client.populate(vec![pack])?;
        let made = self.find(name)?.ok_or("it was not made (is the port taken?)")?;
        let at = address(&made)?;
        if made.proxy_pack.upstream != upstream.to_string() || !made.proxy_pack.enabled {
            return Err(format!("read back, it is {:?}", made.proxy_pack));
        }
        Ok(at)
    }

    fn find(&self, name: &str) -> Result<Option<Proxy>, String> {
        Ok(self.client.all()?.remove(name))
    }

    fn proxy(&self, name: &str) -> Result<Proxy, String> {
        self.find(name)?.ok_or_else(|| "there is no such proxy any more".to_owned())
    }

    fn set_upstream(&self, name: &str, upstream: SocketAddr) -> Result<(), String> {
        let body = json!({ "upstream": upstream.to_string() });
        self.send(reqwest::Method::POST, &format!("proxies/{name}"), Some(body))?;
        let proxy = self.proxy(name)?.proxy_pack;
        match proxy.upstream == upstream.to_string() && proxy.enabled {
            true => Ok(()),
            false => Err(format!("read back, it is {proxy:?}")),
        }
    }

    fn delete(&self, name: &str) -> Result<Option<SocketAddr>, String> {
        let Some(proxy) = self.find(name)? else { return Ok(None) };
        let at = address(&proxy)?;
        proxy.delete()?;
        match self.find(name)? {
            None => Ok(Some(at)),
            Some(left) => Err(format!("read back, it is still there: {:?}", left.proxy_pack)),
        }
    }

    fn add(&self, name: &str, toxic: Toxic) -> Result<String, String> {
        let proxy = self.proxy(name)?;
        let (kind, attributes) = toxic.kind.attributes();
        let stream = toxic.stream.as_str().to_owned();
        let usual = format!("{kind}_{stream}");
        let taken = proxy.toxics()?.iter().filter(|t| t.name.starts_with(&usual)).count();
        let given = if taken == 0 { usual } else { format!("{usual}_{}", taken + 1) };
        if taken == 0 {
            match toxic.kind {
                Kind::Latency { latency, jitter } => {
                    proxy.with_latency(stream, latency, jitter, 1.0)
                }
                Kind::Bandwidth { rate } => proxy.with_bandwidth(stream, rate, 1.0),
                Kind::SlowClose { delay } => proxy.with_slow_close(stream, delay, 1.0),
                Kind::Slicer { average_size, size_variation, delay } => {
                    proxy.with_slicer(stream, average_size, size_variation, delay, 1.0)
                }
                Kind::LimitData { bytes } => proxy.with_limit_data(stream, bytes, 1.0),
            };
        } else {
            let attributes: serde_json::Map<String, Value> =
                attributes.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            let body =
                json!({ "name": given, "type": kind, "stream": stream, "attributes": attributes });
            self.send(reqwest::Method::POST, &format!("proxies/{name}/toxics"), Some(body))?;
        }
        let found = proxy.toxics()?;
        let as_asked = found.iter().any(|t| {
            let same = |(key, value): &(&str, u32)| t.attributes.get(*key) == Some(value);
            t.name == given && t.r#type == kind && attributes.iter().all(same)
        });
        match as_asked {
            true => Ok(given),
            false => Err(format!("read back, its toxics are {found:?}")),
        }
    }

    fn remove(&self, name: &str, toxic: &str) -> Result<(), String> {
        self.send(reqwest::Method::DELETE, &format!("proxies/{name}/toxics/{toxic}"), None)?;
        let left = self.proxy(name)?.toxics()?;
        match left.iter().find(|t| t.name == toxic) {
            None => Ok(()),
            Some(left) => Err(format!("read back, it is still there: {left:?}")),
        }
    }

    /// Plain HTTP; anything but success is an error.
    fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<String, String> {
        let mut request = self.http.request(method, format!("http://{}/{path}", self.addr));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = self.runtime.block_on(async {
            let answer = request.send().await?;
            let status = answer.status();
            Ok((status, answer.text().await?))
        });
        match answer.map_err(|e: reqwest::Error| e.to_string())? {
            (status, text) if status.is_success() => Ok(text),
            (status, text) => Err(format!("{status}: {}", text.trim())),
        }
    }
}

fn address(proxy: &Proxy) -> Result<SocketAddr, String> {
    let listen = &proxy.proxy_pack.listen;
    listen.parse().map_err(|_| format!("it listens on {listen:?}, which is no address"))
}
