//! Many clients, an upstream that sends everything back, a link between them, and faults that come and go.
//!
//! It decides by content: whatever a client reads must be what it sent, to the last byte unless a fault
//! took the connection. In the end nothing may be left: no connection, task or descriptor.

use std::{
    fmt, fs, io,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use gauntlet_network::{CloseKind, Fault, Injection, Link, Seed, Side};
use rand::{RngExt, seq::IndexedRandom};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::Handle,
    task::JoinSet,
    time::{sleep_until, timeout},
};

use super::{
    client::{self, Came},
    taken::Taken,
};

/// How long anything that should be over may take.
const OVER: Duration = Duration::from_secs(90);
/// Faults last up to so long, and so many are in force at once.
const FAULT: Duration = Duration::from_millis(300);
const AT_ONCE: usize = 3;
/// After a connection that was not to be had.
const AGAIN: Duration = Duration::from_millis(20);
/// All may be dialed at once, when a fault is lifted.
const BACKLOG: u32 = 4096;
/// What is reported of what is wrong.
const SHOWN: usize = 10;
/// Memory may grow by so much after the first part of the run.
const GROWTH: u64 = 64 * 1024 * 1024;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub connections: usize,
    pub lasts: Duration,
    pub seed: Seed,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    pub whole: u64,
    pub taken: u64,
    pub refused: u64,
    pub bytes: u64,
    pub faults: u64,
    pub fired: u64,
    pub memory: (u64, u64),
    pub wrong: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { whole, taken, refused, bytes, faults, fired, memory, wrong } = self;
        writeln!(
            f,
            "{whole} connections came to their end, {taken} were taken by faults, {refused} refused"
        )?;
        writeln!(
            f,
            "{bytes} bytes were right; {faults} faults injected, which fired {fired} times"
        )?;
        writeln!(f, "memory {} MB early, {} MB late", memory.0 >> 20, memory.1 >> 20)?;
        writeln!(f, "{} wrong", wrong.len())?;
        wrong.iter().take(SHOWN).try_for_each(|wrong| writeln!(f, "  {wrong}"))
    }
}

/// Plays it.
pub async fn play(load: Load) -> Report {
    let taken = Arc::new(Taken::default());
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
    let upstream = socket.listen(BACKLOG).expect("it is bound");
    let addr = upstream.local_addr().expect("it is bound");
    let mut servers = JoinSet::new();
    servers.spawn(serve(upstream));
    let tap = Arc::clone(&taken);
    let link = Link::builder("soak").upstream(addr).seed(load.seed).tap(tap);
    // A busy machine may take its time.
    let link = link.dial_deadline(OVER).start().await;
    let link = Arc::new(link.expect("a free port"));
    // Whatever is made once is made by the first.
    let first =
        client::once(Ipv4Addr::LOCALHOST, u64::MAX >> 32, link.addr(), load.seed, &taken).await;
    let before = settled(&link).await;
    let (report, over) = (Arc::<Mutex<Report>>::default(), Arc::<AtomicBool>::default());
    let mut clients = JoinSet::new();
    let next = Arc::new(AtomicU64::new(0));
    for client in 0..load.connections {
        let from = client::address(client);
        let (link, taken, next) = (Arc::clone(&link), Arc::clone(&taken), Arc::clone(&next));
        let (report, over) = (Arc::clone(&report), Arc::clone(&over));
        clients.spawn(async move {
            while !over.load(Relaxed) {
                let id = next.fetch_add(1, Relaxed);
                let came = client::once(from, id, link.addr(), load.seed, &taken).await;
                let refused = matches!(came, Came::Refused);
                note(&report, came);
                if refused {
                    sleep_until((Instant::now() + AGAIN).into()).await;
                }
            }
        });
    }
    let until = Instant::now() + load.lasts;
    let faults = faults(&link, load, until, &report).await;
    over.store(true, Relaxed);
    let all = async { while clients.join_next().await.is_some() {} };
    let ended = timeout(OVER, all).await.is_ok();
    drop(clients);
    let mut wrong = Vec::new();
    if !matches!(first, Came::Whole(_)) {
        wrong.push("the first connection, without a fault, did not come to its end".to_owned());
    }
    if !ended {
        wrong.push("clients did not come to their end".to_owned());
    }
    wrong.extend(left_over(&link, before).await);
    link.stop().await;
    servers.shutdown().await;
    let mut report = std::mem::take(&mut *report.lock().unwrap_or_else(PoisonError::into_inner));
    (report.faults, report.fired) = (faults, taken.fired());
    report.memory.1 = resident();
    if report.memory.1 > report.memory.0 + GROWTH {
        wrong.push("memory grew".to_owned());
    }
    report.wrong.extend(wrong);
    report
}

fn note(report: &Mutex<Report>, came: Came) {
    let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
    match came {
        Came::Refused => report.refused += 1,
        Came::Whole(bytes) => {
            (report.whole, report.bytes) = (report.whole + 1, report.bytes + bytes)
        }
        Came::Taken(bytes) => {
            (report.taken, report.bytes) = (report.taken + 1, report.bytes + bytes)
        }
        Came::Wrong(what) => report.wrong.push(what),
    }
}

/// Faults until then, then none.
async fn faults(link: &Link, load: Load, until: Instant, report: &Mutex<Report>) -> u64 {
    let mut chance = load.seed.stream("faults");
    let (mut in_force, mut injected) = (Vec::new(), 0);
    let early = until - load.lasts.mul_f64(0.7);
    let mut measured = false;
    while Instant::now() < until {
        let menu = menu();
        let (fault, share) = menu.choose(&mut chance).expect("the menu is not empty");
        let injection = Injection::from(fault.clone()).share(*share);
        match timeout(OVER, link.inject(injection)).await {
            Ok(Ok(id)) => in_force.push(id),
            other => wrong(report, format!("{} could not be injected: {other:?}", fault.name())),
        }
        injected += 1;
        let pause = FAULT.mul_f64(chance.random()) / AT_ONCE as u32;
        sleep_until((Instant::now() + pause).into()).await;
        if in_force.len() >= AT_ONCE {
            let id = in_force.remove(0);
            if !matches!(timeout(OVER, link.lift(id)).await, Ok(Ok(()))) {
                wrong(report, format!("{id} could not be lifted"));
            }
        }
        if !measured && Instant::now() > early {
            measured = true;
            report.lock().unwrap_or_else(PoisonError::into_inner).memory.0 = resident();
        }
    }
    if !matches!(timeout(OVER, link.lift_all()).await, Ok(Ok(()))) {
        wrong(report, "not everything could be lifted".to_owned());
    }
    injected
}

fn wrong(report: &Mutex<Report>, what: String) {
    report.lock().unwrap_or_else(PoisonError::into_inner).wrong.push(what);
}

/// Faults, and the share of connections each concerns.
fn menu() -> Vec<(Fault, f64)> {
    let ms = Duration::from_millis;
    vec![
        (Fault::Latency { way: None, delay: ms(20), jitter: ms(15) }, 0.7),
        (Fault::Latency { way: None, delay: Duration::from_micros(700), jitter: ms(0) }, 1.0),
        (Fault::Bandwidth { way: None, bytes_per_second: 500_000 }, 0.5),
        (Fault::Slice { way: None, size: 1000, variation: 900, pause: ms(1) }, 0.3),
        (Fault::Stall { way: None }, 0.5),
        (Fault::Blackhole { way: None, resume: true }, 0.5),
        (Fault::SlowClose { delay: ms(30) }, 0.5),
        (Fault::Blackhole { way: None, resume: false }, 0.05),
        (Fault::Limit { way: None, bytes: 100_000, how: CloseKind::Fin }, 0.1),
        (Fault::Rst { side: Side::Both }, 0.1),
        (Fault::Fin { side: Side::Both }, 0.1),
        (Fault::Ignore, 0.2),
        (Fault::AcceptThenClose { how: CloseKind::Rst }, 0.2),
        (Fault::Refuse, 1.0),
    ]
}

/// Tasks and descriptors once nothing changes any more.
async fn settled(link: &Link) -> (usize, usize) {
    let (mut before, mut same) = ((0, 0), 0);
    while same < 10 {
        let now = (Handle::current().metrics().num_alive_tasks(), descriptors());
        same = if now == before && link.connections().is_empty() { same + 1 } else { 0 };
        before = now;
        sleep_until((Instant::now() + AGAIN).into()).await;
    }
    before
}

/// What is there that was not before, once it had time to go.
async fn left_over(link: &Link, before: (usize, usize)) -> Vec<String> {
    let until = Instant::now() + OVER;
    loop {
        let now = (Handle::current().metrics().num_alive_tasks(), descriptors());
        let open = link.connections().len();
        if open == 0 && now.0 <= before.0 && now.1 <= before.1 {
            return Vec::new();
        }
        if Instant::now() > until {
            return vec![format!(
                "left over: {open} connections; tasks and descriptors {before:?} before, {now:?} after"
            )];
        }
        sleep_until((Instant::now() + AGAIN).into()).await;
    }
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// Memory this process holds.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

/// Sends everything back, each connection to its end.
async fn serve(listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(echo(stream));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return stream.shutdown().await;
        }
        stream.write_all(&buffer[..n]).await?;
    }
}
