//! All proxies of a server, by name.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::Mutex;

use super::{
    answer::{Answer, Refusal},
    json::{self, Json},
    metrics::{self, Metrics},
    proxy::{Asked, Proxy},
};
use crate::seed::Seed;

/// The proxies. Making and removing them takes turns; each takes care of itself otherwise.
pub(super) struct Collection {
    seed: Seed,
    metrics: Arc<Metrics>,
    proxies: Mutex<BTreeMap<String, Arc<Proxy>>>,
}

/// What became of a list of proxies: those done, and why not more.
pub(super) struct Populated {
    pub(super) proxies: Vec<String>,
    pub(super) error: Option<Refusal>,
}

impl Populated {
    /// One more thing that is wrong. The first decides about the status.
    fn also(&mut self, refusal: Refusal) {
        match &mut self.error {
            None => self.error = Some(refusal),
            Some(error) => error.message.push_str(&format!("; {}", refusal.message)),
        }
    }
}

impl From<Populated> for Answer {
    fn from(populated: Populated) -> Self {
        let proxies = match populated.proxies.as_slice() {
            [] => "null".to_owned(),
            some => format!("[{}]", some.join(",")),
        };
        match populated.error {
            None => Self::json(201, format!("{{\"proxies\":{proxies}}}")),
            Some(refusal) => {
                let body = format!("{{{},\"proxies\":{proxies}}}", refusal.members());
                Self::json(refusal.status, body)
            }
        }
    }
}

impl Collection {
    pub(super) fn new(seed: Seed, metrics: Metrics) -> Self {
        Self { seed, metrics: Arc::new(metrics), proxies: Mutex::default() }
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(super) async fn get(&self, name: &str) -> Result<Arc<Proxy>, Refusal> {
        self.proxies.lock().await.get(name).cloned().ok_or_else(Refusal::no_proxy)
    }

    async fn all(&self) -> Vec<Arc<Proxy>> {
        self.proxies.lock().await.values().cloned().collect()
    }

    pub(super) async fn render(&self) -> String {
        let mut rendered = Vec::new();
        for proxy in self.all().await {
            rendered.push(format!("{}:{}", json::text(&proxy.name), proxy.render().await));
        }
        format!("{{{}}}", rendered.join(","))
    }

    pub(super) async fn render_metrics(&self) -> Answer {
        let mut totals = self.metrics.so_far();
        for proxy in self.all().await {
            proxy.count(&mut totals).await;
        }
        Answer::typed(metrics::TYPE, self.metrics.render(&totals))
    }

    /// Makes a proxy, with its toxics: the first byte is subject to them.
    pub(super) async fn create(&self, body: &[u8]) -> Result<String, Refusal> {
        let json = json::first(body).map_err(|why| Refusal::bad_body(&why))?;
        let asked = Asked::read(&json, "Proxy", "")?;
        let mut proxies = self.proxies.lock().await;
        if proxies.contains_key(&asked.name) {
            return Err(Refusal::new(409, "proxy already exists"));
        }
        let proxy = self.make(asked).await?;
        proxies.insert(proxy.name.clone(), Arc::clone(&proxy));
        Ok(proxy.render().await)
    }

    async fn make(&self, asked: Asked) -> Result<Arc<Proxy>, Refusal> {
        let enabled = asked.enabled;
        let proxy = Proxy::new(asked, self.seed, Arc::clone(&self.metrics))?;
        if enabled {
            proxy.start().await?;
        }
        Ok(Arc::new(proxy))
    }

    /// Makes the proxies of a list, up to the first that cannot listen. One that is there already, listening
    /// there and passing on to there, is left alone. One with a toxic that makes no sense is left out.
    pub(super) async fn populate(&self, body: &[u8]) -> Populated {
        let mut populated = Populated { proxies: Vec::new(), error: None };
        let asked = match read_list(body) {
            Ok(asked) => asked,
            Err(refusal) => return Populated { error: Some(refusal), ..populated },
        };
        let mut proxies = self.proxies.lock().await;
        for mut asked in asked {
            if let Err(refusal) = &mut asked.toxics {
                refusal.message.push_str(&format!(" (proxy {:?})", asked.name));
                populated.also(refusal.clone());
                continue;
            }
            match self.place(&mut proxies, asked).await {
                Ok(proxy) => populated.proxies.push(proxy.render().await),
                Err(refusal) => {
                    populated.also(refusal);
                    break;
                }
            }
        }
        populated
    }

    async fn place(
        &self,
        proxies: &mut BTreeMap<String, Arc<Proxy>>,
        asked: Asked,
    ) -> Result<Arc<Proxy>, Refusal> {
        let name = asked.name.clone();
        if let Some(existing) = proxies.get(&name) {
            if !existing.differs(&asked.listen, &asked.upstream).await? {
                return Ok(Arc::clone(existing));
            }
            existing.stop().await;
        }
        let proxy = self.make(asked).await?;
        if let Some(replaced) = proxies.insert(name, Arc::clone(&proxy)) {
            replaced.delete().await;
        }
        Ok(proxy)
    }

    pub(super) async fn delete(&self, name: &str) -> Result<(), Refusal> {
        let mut proxies = self.proxies.lock().await;
        let proxy = proxies.remove(name).ok_or_else(Refusal::no_proxy)?;
        proxy.delete().await;
        Ok(())
    }

    /// Enables every proxy and takes every toxic away.
    pub(super) async fn reset(&self) -> Result<(), Refusal> {
        for proxy in self.all().await {
            match proxy.reset().await {
                // It was deleted meanwhile.
                Err(refusal) if refusal.status == 404 => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Ends every proxy.
    pub(super) async fn clear(&self) {
        let mut proxies = self.proxies.lock().await;
        for proxy in std::mem::take(&mut *proxies).into_values() {
            proxy.delete().await;
        }
    }
}

/// Everything that can be refused is refused before any proxy is made.
fn read_list(body: &[u8]) -> Result<Vec<Asked>, Refusal> {
    const LIST: &str = "[]struct { toxiproxy.Proxy; Enabled *bool \"json:\\\"enabled\\\"\" }";
    let all = match json::first(body).map_err(|why| Refusal::bad_body(&why))? {
        Json::Array(all) => all,
        Json::Null => Vec::new(),
        other => return Err(Refusal::bad_body(&json::unfit(&other, LIST))),
    };
    let read =
        |(n, json): (usize, &Json)| Asked::read(json, ".Proxy", &format!(" at proxy {}", n + 1));
    all.iter().enumerate().map(read).collect()
}
