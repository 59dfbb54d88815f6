//! One proxy: a link while it is enabled, and the toxics on it, whether it is or not.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::Mutex;

use super::{
    answer::Refusal,
    journal::Journal,
    json::{self, Json, Object},
    listen,
    metrics::{self, Counted, Metrics},
    toxic::Toxic,
};
use crate::{
    address,
    fault::{FaultError, FaultId, Injection},
    link::{Link, StartError},
    seed::Seed,
    wire::{CloseKind, Direction},
};

/// How long reaching an upstream may take. Toxiproxy waits for ever, and its proxy with it.
const DIAL: Duration = Duration::from_secs(30);

/// A proxy.
pub(super) struct Proxy {
    pub(super) name: String,
    seed: Seed,
    metrics: Arc<Metrics>,
    inner: Mutex<Inner>,
    deleted: AtomicBool,
}

struct Inner {
    /// As it was asked for; where it listens, once it has.
    listen: String,
    upstream: String,
    /// There while it is enabled.
    link: Option<Link>,
    /// In the order they were made.
    toxics: Vec<Placed>,
    /// Names of toxics that ended by themselves, which may still be removed.
    spent: BTreeSet<String>,
}

/// A toxic, and the fault it is while there is a link.
struct Placed {
    toxic: Toxic,
    fault: Option<FaultId>,
}

/// What is asked of a proxy.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) listen: String,
    pub(super) upstream: String,
    pub(super) enabled: bool,
    /// Or what is wrong with them: other proxies of a list are made all the same.
    pub(super) toxics: Result<Vec<Toxic>, Refusal>,
}

impl Asked {
    /// Reads a proxy. `of` is what its fields are called after, `place` where it stands in a list.
    pub(super) fn read(json: &Json, of: &'static str, place: &str) -> Result<Self, Refusal> {
        let bad = |why: String| Refusal::bad_body(&why);
        let given = Object::of(json, of, "toxiproxy.Proxy").map_err(bad)?;
        let text = |key| given.text(key).map(|text| text.unwrap_or_default().to_owned());
        let asked = Self {
            name: text("name").map_err(bad)?,
            listen: text("listen").map_err(bad)?,
            upstream: text("upstream").map_err(bad)?,
            enabled: given.truth("enabled").map_err(bad)?.unwrap_or(true),
            toxics: toxics(given),
        };
        for (field, value) in [("name", &asked.name), ("upstream", &asked.upstream)] {
            if value.is_empty() {
                return Err(Refusal::missing(&format!("{field}{place}")));
            }
        }
        Ok(asked)
    }
}

/// The toxics a proxy comes with. Toxiproxy does not look at them; what is no array is passed over here, too.
fn toxics(given: Object<'_>) -> Result<Vec<Toxic>, Refusal> {
    let mut toxics: Vec<Toxic> = Vec::new();
    if let Some(Json::Array(all)) = given.get("toxics") {
        for (n, json) in all.iter().enumerate() {
            let taken = |name: &str| toxics.iter().any(|toxic| toxic.name == name);
            let toxic = Toxic::read(json, taken).map_err(|refusal| {
                let said = refusal.message.strip_prefix("bad request body: ");
                let said = said.unwrap_or(&refusal.message);
                Refusal::bad_body(&format!("toxic {}: {said}", n + 1))
            })?;
            toxics.push(toxic);
        }
    }
    Ok(toxics)
}

impl Proxy {
    /// A proxy that is not enabled yet.
    pub(super) fn new(asked: Asked, seed: Seed, metrics: Arc<Metrics>) -> Result<Self, Refusal> {
        let Asked { name, listen, upstream, toxics, .. } = asked;
        let toxics = toxics?.into_iter().map(|toxic| Placed { toxic, fault: None }).collect();
        let inner = Inner { listen, upstream, link: None, toxics, spent: BTreeSet::new() };
        let (inner, deleted) = (Mutex::new(inner), AtomicBool::new(false));
        Ok(Self { seed: seed.derive(&name), name, metrics, inner, deleted })
    }

    /// Enables it, unless it is.
    pub(super) async fn start(&self) -> Result<(), Refusal> {
        let mut inner = self.inner.lock().await;
        self.enable(&mut inner).await
    }

    /// Disables it, unless it is not.
    pub(super) async fn stop(&self) {
        let mut inner = self.inner.lock().await;
        self.disable(&mut inner).await;
    }

    /// Disables it for good: nothing that is under way enables it again.
    pub(super) async fn delete(&self) {
        self.deleted.store(true, Relaxed);
        self.stop().await;
    }

    /// Whether it listens elsewhere, or passes on to elsewhere, than that.
    pub(super) async fn differs(&self, listen: &str, upstream: &str) -> Result<bool, Refusal> {
        self.inner.lock().await.differs(listen, upstream).await
    }

    /// Changes it as `body` says.
    pub(super) async fn update(&self, body: &[u8]) -> Result<String, Refusal> {
        let mut inner = self.inner.lock().await;
        let bad = |why: String| Refusal::bad_body(&why);
        let json = json::first(body).map_err(bad)?;
        let given = Object::of(&json, "Proxy", "toxiproxy.Proxy").map_err(bad)?;
        given.text("name").map_err(bad)?;
        let listen = given.text("listen").map_err(bad)?.unwrap_or(&inner.listen).to_owned();
        let upstream = given.text("upstream").map_err(bad)?.unwrap_or(&inner.upstream).to_owned();
        let enabled = given.truth("enabled").map_err(bad)?.unwrap_or(inner.link.is_some());
        if inner.differs(&listen, &upstream).await? {
            self.disable(&mut inner).await;
            (inner.listen, inner.upstream) = (listen, upstream);
        }
        if enabled {
            self.enable(&mut inner).await?;
        } else {
            self.disable(&mut inner).await;
        }
        inner.sweep();
        Ok(inner.render(&self.name))
    }

    /// Enables it, unless it is, and takes every toxic away.
    pub(super) async fn reset(&self) -> Result<(), Refusal> {
        let mut inner = self.inner.lock().await;
        self.enable(&mut inner).await?;
        if let Some(link) = &inner.link {
            link.lift_all().await.map_err(failed)?;
        }
        inner.toxics.clear();
        inner.spent.clear();
        Ok(())
    }

    /// Adds a toxic.
    pub(super) async fn add(&self, body: &[u8]) -> Result<String, Refusal> {
        let mut inner = self.inner.lock().await;
        inner.sweep();
        let json = json::first(body).map_err(|why| Refusal::bad_body(&why))?;
        let toxic = Toxic::read(&json, |name| inner.at(name).is_some())?;
        let fault = match (&inner.link, toxic.injection()?) {
            (Some(link), Some(injection)) => Some(confirmed(link.inject(injection).await)?),
            _ => None,
        };
        inner.spent.remove(&toxic.name);
        let rendered = toxic.render();
        inner.toxics.push(Placed { toxic, fault });
        inner.sweep();
        Ok(rendered)
    }

    /// Changes a toxic.
    pub(super) async fn change(&self, name: &str, body: &[u8]) -> Result<String, Refusal> {
        let mut inner = self.inner.lock().await;
        inner.sweep();
        let at = inner.at(name).ok_or_else(Refusal::no_toxic)?;
        let json = json::first(body).map_err(|why| Refusal::bad_body(&why))?;
        let toxic = inner.toxics[at].toxic.changed(&json)?;
        let fault = match (&inner.link, toxic.injection()?, inner.toxics[at].fault) {
            (Some(link), Some(injection), Some(old)) => {
                match link.replace(old, injection.clone()).await {
                    // It ended by itself just now.
                    Err(FaultError::Unknown { .. }) => {
                        Some(confirmed(link.inject(injection).await)?)
                    }
                    replaced => Some(confirmed(replaced)?),
                }
            }
            (Some(link), Some(injection), None) => Some(confirmed(link.inject(injection).await)?),
            _ => None,
        };
        let rendered = toxic.render();
        inner.toxics[at] = Placed { toxic, fault };
        inner.sweep();
        Ok(rendered)
    }

    /// Takes a toxic away. One that ended by itself can be taken away as well, once.
    pub(super) async fn remove(&self, name: &str) -> Result<(), Refusal> {
        let mut inner = self.inner.lock().await;
        inner.sweep();
        let Some(at) = inner.at(name) else {
            let was = inner.spent.remove(name);
            return if was { Ok(()) } else { Err(Refusal::no_toxic()) };
        };
        let placed = inner.toxics.remove(at);
        if let (Some(link), Some(fault)) = (&inner.link, placed.fault) {
            link.lift(fault).await.map_err(failed)?;
        }
        Ok(())
    }

    pub(super) async fn render(&self) -> String {
        let mut inner = self.inner.lock().await;
        inner.sweep();
        inner.render(&self.name)
    }

    pub(super) async fn render_toxics(&self) -> String {
        let mut inner = self.inner.lock().await;
        inner.sweep();
        inner.render_toxics()
    }

    pub(super) async fn render_toxic(&self, name: &str) -> Result<String, Refusal> {
        let mut inner = self.inner.lock().await;
        inner.sweep();
        let at = inner.at(name).ok_or_else(Refusal::no_toxic)?;
        Ok(inner.toxics[at].toxic.render())
    }

    /// Adds what it has counted since it was enabled.
    pub(super) async fn count(
        &self,
        totals: &mut std::collections::BTreeMap<[String; 4], (u64, u64)>,
    ) {
        let inner = self.inner.lock().await;
        if let Some(counted) = inner.counted(&self.name) {
            metrics::count(totals, &counted);
        }
    }

    async fn enable(&self, inner: &mut Inner) -> Result<(), Refusal> {
        if self.deleted.load(Relaxed) {
            return Err(Refusal::no_proxy());
        }
        if inner.link.is_some() {
            return Ok(());
        }
        let failed = |why: String| Refusal::new(500, format!("listen tcp{why}"));
        let addr =
            listen::resolve(&inner.listen).await.map_err(|why| failed(format!(": {why}")))?;
        let (mut faults, mut with) = (Vec::<Injection>::new(), Vec::new());
        for placed in &inner.toxics {
            let injection = placed.toxic.injection()?;
            with.push(injection.is_some());
            faults.extend(injection);
        }
        let start = |addr| {
            Link::builder(&self.name)
                .listen(addr)
                .upstream_name(&inner.upstream)
                .undialed(CloseKind::Fin)
                .dial_deadline(DIAL)
                .seed(self.seed)
                .faults(faults.clone())
                .observer(Arc::new(Journal::new(&self.name, &inner.listen, &inner.upstream)))
                .start()
        };
        let bindable = listen::bindable(addr);
        let mut started = start(bindable).await;
        if started.is_err() && bindable != addr {
            // A machine without IPv6.
            started = start(addr).await;
        }
        let link = match started {
            Ok(link) => link,
            Err(StartError::Listen { addr, source, .. }) => {
                let (addr, why) = (address::written(addr), address::worded(&source));
                return Err(failed(format!(" {addr}: bind: {why}")));
            }
            Err(error) => return Err(failed(format!(": {error}"))),
        };
        let mut ids = link.active().into_iter().map(|active| active.id);
        for (placed, has) in inner.toxics.iter_mut().zip(with) {
            placed.fault = if has { ids.next() } else { None };
        }
        inner.listen = address::written(link.addr());
        let Inner { listen, upstream, .. } = &*inner;
        tracing::info!(name = self.name, listen, upstream, "Started proxy");
        inner.link = Some(link);
        Ok(())
    }

    async fn disable(&self, inner: &mut Inner) {
        inner.sweep();
        if let Some(link) = inner.link.take() {
            link.stop().await;
            let Inner { listen, upstream, .. } = &*inner;
            let name = &self.name;
            self.metrics.keep(&Counted { name, listen, upstream, link: &link });
            tracing::info!(name, listen, upstream, "Terminated proxy");
        }
        for placed in &mut inner.toxics {
            placed.fault = None;
        }
    }
}

impl Inner {
    fn at(&self, name: &str) -> Option<usize> {
        self.toxics.iter().position(|placed| placed.toxic.name == name)
    }

    async fn differs(&self, listen: &str, upstream: &str) -> Result<bool, Refusal> {
        let normalized = listen::normalized(listen).await.map_err(|why| Refusal::new(500, why))?;
        Ok(self.listen != normalized || self.upstream != upstream)
    }

    fn counted<'a>(&'a self, name: &'a str) -> Option<Counted<'a>> {
        let Self { listen, upstream, link, .. } = self;
        Some(Counted { name, listen, upstream, link: link.as_ref()? })
    }

    /// Lets go of what ended by itself: what is listed is in force.
    fn sweep(&mut self) {
        let Some(link) = &self.link else { return };
        let is_over = |placed: &Placed| placed.fault.is_some_and(|fault| !link.has(fault));
        if !self.toxics.iter().any(is_over) {
            return;
        }
        let (over, left) = std::mem::take(&mut self.toxics).into_iter().partition(is_over);
        self.toxics = left;
        self.spent.extend(Vec::into_iter(over).map(|placed: Placed| placed.toxic.name));
    }

    fn render(&self, name: &str) -> String {
        format!(
            r#"{{"name":{},"listen":{},"upstream":{},"enabled":{},"Logger":{{}},"toxics":{}}}"#,
            json::text(name),
            json::text(&self.listen),
            json::text(&self.upstream),
            self.link.is_some(),
            self.render_toxics(),
        )
    }

    /// Those upstream first, then those downstream, then those both ways.
    fn render_toxics(&self) -> String {
        let mut toxics: Vec<&Toxic> = self.toxics.iter().map(|placed| &placed.toxic).collect();
        toxics.sort_by_key(|toxic| match toxic.way {
            Some(Direction::ToBroker) => 0,
            Some(Direction::ToClient) => 1,
            None => 2,
        });
        let rendered: Vec<String> = toxics.into_iter().map(Toxic::render).collect();
        format!("[{}]", rendered.join(","))
    }
}

/// A fault that is in force though a connection was too slow to say so is in force.
fn confirmed(injected: Result<FaultId, FaultError>) -> Result<FaultId, Refusal> {
    match injected {
        Err(FaultError::Unconfirmed { id, .. }) => Ok(id),
        other => other.map_err(failed),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: FaultError) -> Refusal {
    Refusal::new(500, error.to_string())
}
