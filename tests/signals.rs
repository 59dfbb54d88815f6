//! The reference consumer's binary as its users run it: under real signals, on a broken network, probed.
//!
//! What the consumer does in a scenario is `scenarios`; here it is what only a program has: exit codes,
//! stdout, stderr, `/health`, and what the operating system counts of it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use gauntlet_network::{Fault, Link, Side};
use rstest::rstest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::support::program::{Holds, Program, ids};
use crate::support::queue::Queue;
use crate::support::until::{until, when};
use crate::support::{RUNTIME, broker};

/// Longer than anything here takes when it works.
const PATIENCE: Duration = Duration::from_secs(15);

/// A queue, and the link to its broker.
struct Stage {
    queue: Queue,
    link: Link,
}

impl Stage {
    fn url(&self) -> String {
        let (user, password) = self.queue.broker.credentials();
        format!("amqp://{user}:{password}@{}/{}", self.link.addr(), self.queue.vhost)
    }
}

/// Runs a test between a broker of this kind and a link to it, and clears away.
fn on_stage(kind: &str, name: &str, test: impl AsyncFnOnce(&mut Stage)) {
    let Some(broker) = broker(kind) else { return };
    RUNTIME.block_on(Box::pin(async {
        let queue = Queue::declare(&broker, name).await;
        let link = Link::builder(name).upstream(broker.addr()).start().await.expect("a free port");
        let mut stage = Stage { queue, link };
        test(&mut stage).await;
        stage.link.stop().await;
        stage.queue.delete().await;
    }));
}

#[rstest]
fn a_signal_lets_what_is_in_flight_finish(
    #[values("embedded", "container", "local")] kind: &str,
    #[values("TERM", "INT")] signal: &str,
) {
    on_stage(kind, "in-flight", async |stage| {
        stage.queue.publish(60).await;
        let slow = ["--handler-time", "400ms", "--concurrency", "4", "--prefetch", "8"];
        let mut program = Program::start(&stage.url(), &slow);
        until("4 handlers in flight after the first 4", PATIENCE, async || {
            let (began, ended) =
                (program.count("handler_started"), program.count("handler_finished"));
            when(ended >= 4 && began == ended + 4, || format!("{began} began, {ended} ended"))
        })
        .await;
        program.signal(signal);
        let code = program.exit(Duration::from_secs(5)).await;
        assert_eq!(code, Some(0), "{}", program.said());

        let events = program.events();
        let draining = events.iter().position(|it| it["event"] == "draining").expect("it drains");
        assert_eq!(events[draining]["in_flight"], 4, "the signal came with handlers in flight");
        assert_eq!(ids(&events[draining..], "handler_started"), Vec::<String>::new());
        let stopped = events.iter().find(|it| it["event"] == "stopped").expect("it stops");
        assert!(stopped["clean"] == true && stopped["orderly"] == true, "{stopped}");

        let (effects, set) = once(program.effects());
        assert_eq!(set, once(program.ids("handler_started")).1, "what began finished");
        assert_eq!(set, once(program.ids("acked")).1, "what finished was acknowledged");
        assert_eq!(effects, 8, "two rounds of four");
        let left = stage.queue.left_beside(&set).await;
        assert!(left.is_disjoint(&set), "handled, and still there: {left:?} {set:?}");
    });
}

/// Counts them, and sees that none is there twice.
fn once(ids: Vec<String>) -> (usize, BTreeSet<String>) {
    let set: BTreeSet<_> = ids.iter().cloned().collect();
    assert_eq!(set.len(), ids.len(), "twice in {ids:?}");
    (ids.len(), set)
}

#[rstest]
#[case::two_terms("TERM", "TERM", 143)]
#[case::two_ints("INT", "INT", 130)]
#[case::the_second_decides("TERM", "INT", 130)]
fn a_second_signal_ends_it_at_once(
    #[case] first: &str,
    #[case] second: &str,
    #[case] code: i32,
    #[values("embedded", "container", "local")] kind: &str,
) {
    on_stage(kind, "second", async |stage| {
        stage.queue.publish(5).await;
        let stuck = ["--handler-time", "1h", "--concurrency", "2"];
        let mut program = Program::start(&stage.url(), &stuck);
        until("2 handlers in flight", PATIENCE, async || {
            let began = program.count("handler_started");
            when(began == 2, || format!("{began} began"))
        })
        .await;
        program.signal(first);
        until("it drains", PATIENCE, async || {
            when(program.count("draining") == 1, || program.said())
        })
        .await;
        assert!(program.runs(), "one signal waits for handlers: {}", program.said());
        program.signal(second);
        assert_eq!(program.exit(Duration::from_secs(2)).await, Some(code), "{}", program.said());
        assert_eq!(program.effects(), Vec::<String>::new());
        let left = stage.queue.left_beside(&BTreeSet::new()).await;
        assert_eq!(left, *stage.queue.published());
    });
}

#[rstest]
fn a_wrong_password_is_named_and_not_told(#[values("embedded", "container", "local")] kind: &str) {
    on_stage(kind, "password", async |stage| {
        let (secret, user) = ("pa55-not-this", stage.queue.broker.credentials().0);
        let url = format!("amqp://{user}:{secret}@{}/{}", stage.link.addr(), stage.queue.vhost);
        let mut program = Program::start(&url, &[]);
        assert_eq!(program.exit(PATIENCE).await, Some(1), "{}", program.said());
        let said = program.said();
        let last = said.lines().last().unwrap_or_default();
        assert!(last.contains("ERROR") && last.contains("ACCESS_REFUSED"), "{said}");
        assert!(!said.contains(secret), "{said}");
    });
}

/// Resets until everything that is made once is made, and as many again twice over to compare.
const WARM: usize = 10;
const RESETS: usize = 50;

#[rstest]
fn fifty_resets_cost_no_thread_no_descriptor_no_memory(
    #[values("embedded", "container", "local")] kind: &str,
) {
    on_stage(kind, "resets", async |stage| {
        // An ack that a reset swallows brings its message back.
        let once_each = ["--dedup-by", "message-id"];
        let quick = ["--stable-after", "0s", "--workers", "2", "--backoff-base", "10ms"];
        let mut program = Program::start(&stage.url(), &[&quick[..], &once_each].concat());
        let mut held = Vec::new();
        for connection in 1..=RESETS + 1 {
            stage.queue.publish(4).await;
            until("both workers consume and all is handled", PATIENCE, async || {
                let (consuming, acked) = (program.count("consuming"), program.count("acked"));
                let there = || format!("connection {connection}: {consuming} and {acked} acked");
                when(consuming == 2 * connection && acked >= 4 * connection, there)
            })
            .await;
            let Some(now) = program.holds() else { return };
            held.push(now);
            if connection <= RESETS {
                stage.link.inject(Fault::Rst { side: Side::Both }).await.expect("it can be reset");
            }
        }
        // What the last connection left goes in a moment.
        let warm = held[WARM];
        until("as few as after ten resets", Duration::from_secs(5), async || {
            let now = program.holds().expect("it runs");
            let fits = now.threads <= warm.threads && now.fds <= warm.fds;
            when(fits, || format!("{warm:?} grew to {now:?}"))
        })
        .await;
        // Each connection's two buffers of 1 MiB come and go: single samples differ by 2 MiB and more, up and
        // down; the least of twenty by 2.1 MiB at most (on a busy machine), and 300 resets end where ten do.
        let least = |of: &[Holds]| of.iter().map(|it| it.rss_kib).min().expect("twenty");
        let (early, late) = held[WARM..].split_at((RESETS - WARM) / 2);
        let (early, late) = (least(early), least(late));
        assert!(late < early + 4096, "at least {early} KiB early, at least {late} KiB late");

        program.signal("TERM");
        assert_eq!(program.exit(PATIENCE).await, Some(0), "{}", program.said());
        assert_eq!(once(program.effects()).1, *stage.queue.published());
    });
}

#[rstest]
fn health_follows_the_network_and_answers_within_a_second(
    #[values("embedded", "container", "local")] kind: &str,
) {
    on_stage(kind, "health", async |stage| {
        let refuse = stage.link.inject(Fault::Refuse).await.expect("it can refuse");
        let health = free_address();
        let at = health.to_string();
        let mut program = Program::start(
            &stage.url(),
            &[
                ["--health", &at, "--heartbeat", "1s", "--start-attempts", "0"],
                ["--backoff-base", "50ms", "--backoff-cap", "200ms", "--handler-time", "1s"],
                ["--deadline-handshake", "1s", "--deadline-tcp", "1s", "--stable-after", "0s"],
            ]
            .concat(),
        );
        let mut probes = Probes::start(health);
        probes.until(&program, 503, PATIENCE).await;
        stage.link.lift(refuse).await.expect("it can be lifted");
        probes.until(&program, 200, SOON).await;

        // Half-open: nothing comes, nothing says so. A heartbeat of 1 s finds it within 3 s.
        let blackhole = Fault::Blackhole { way: None, resume: false };
        let blackhole = stage.link.inject(blackhole).await.expect("it can swallow");
        probes.until(&program, 503, SOON).await;
        stage.link.lift(blackhole).await.expect("it can be lifted");
        probes.until(&program, 200, SOON).await;

        let refuse = stage.link.inject(Fault::Refuse).await.expect("it can refuse");
        stage.link.inject(Fault::Rst { side: Side::Both }).await.expect("it can be reset");
        probes.until(&program, 503, Duration::from_secs(1)).await;
        stage.link.lift(refuse).await.expect("it can be lifted");
        probes.until(&program, 200, SOON).await;

        // Draining is not ready either.
        stage.queue.publish(1).await;
        until("a handler in flight", PATIENCE, async || {
            when(program.count("handler_started") == 1, || "none".to_owned())
        })
        .await;
        program.signal("TERM");
        probes.until(&program, 503, Duration::from_millis(900)).await;
        let slowest = probes.stop().await;
        assert!(slowest < Duration::from_secs(1), "a probe took {slowest:?}");
        assert_eq!(program.exit(PATIENCE).await, Some(0), "{}", program.said());
    });
}

/// A change of health shows within this: reconnecting, or noticing silence with a heartbeat of 1 s.
const SOON: Duration = Duration::from_secs(5);

/// An address nobody else on this machine uses: not 127.0.0.1, and free a moment ago.
fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::new(127, 77, 0, 1), 0));
    listener.and_then(|it| it.local_addr()).expect("there is a free port")
}

/// A prober that never stops asking.
struct Probes {
    latest: watch::Receiver<Option<u16>>,
    asking: JoinSet<Duration>,
}

impl Probes {
    fn start(at: SocketAddr) -> Probes {
        let (tell, latest) = watch::channel(None);
        let mut asking = JoinSet::new();
        asking.spawn(ask_on(at, tell));
        Probes { latest, asking }
    }

    async fn until(&mut self, program: &Program, status: u16, deadline: Duration) {
        let seen = self.latest.wait_for(|latest| *latest == Some(status));
        let late = tokio::time::timeout(deadline, seen).await.is_err();
        let latest = *self.latest.borrow();
        assert!(!late, "no {status} in {deadline:?} but {latest:?}: {}", program.said());
    }

    /// How long the slowest answer took.
    async fn stop(mut self) -> Duration {
        drop(self.latest);
        self.asking.join_next().await.expect("one was started").expect("it does not panic")
    }
}

/// Asks every few ms until nobody listens. No connection (before the program listens) is no answer.
async fn ask_on(at: SocketAddr, tell: watch::Sender<Option<u16>>) -> Duration {
    let mut slowest = Duration::ZERO;
    let mut ticks = interval(Duration::from_millis(10));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !tell.is_closed() {
        ticks.tick().await;
        let began = Instant::now();
        let answer = ask(at).await;
        slowest = slowest.max(began.elapsed());
        if let Ok(status) = answer {
            tell.send_replace(Some(status));
        }
    }
    slowest
}

async fn ask(at: SocketAddr) -> std::io::Result<u16> {
    let answer = health(at).await?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(status.unwrap_or_else(|| panic!("no status in {answer:?}")))
}

/// The whole answer.
async fn health(at: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(at).await?;
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Waits until its health says that nothing moves; the workers of the handlers that are stuck.
async fn stalled(at: SocketAddr, handlers: usize) -> BTreeSet<u64> {
    until("health names every handler as stuck", PATIENCE, async || {
        let answer = health(at).await.unwrap_or_default();
        let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        let stuck = body["details"]["rabbitmq"]["stuck"].as_array().cloned().unwrap_or_default();
        let down = answer.starts_with("HTTP/1.0 503") && body["status"] == "DOWN";
        when(down && stuck.len() == handlers, || answer.clone())?;
        assert!(stuck.iter().all(|it| it["for_ms"].as_u64() >= Some(200)), "{answer}");
        Ok(stuck.iter().filter_map(|it| it["worker"].as_u64()).collect())
    })
    .await
}

#[rstest]
fn two_signals_end_it_though_nobody_reads_what_it_writes(
    #[values("embedded", "container", "local")] kind: &str,
) {
    on_stage(kind, "unread", async |stage| {
        // Far more than a pipe holds, on stdout and on stderr.
        stage.queue.publish_as(&"m".repeat(240), 600).await;
        let health = free_address();
        let at = health.to_string();
        let args = ["--health", &at, "--stuck-after", "200ms", "--workers", "2"];
        let mut program = Program::unread(&stage.url(), &args);
        assert_eq!(stalled(health, 2).await, BTreeSet::from([0, 1]));
        program.signal("TERM");
        until("health says that it stops", PATIENCE, async || {
            let answer = self::health(health).await.unwrap_or_default();
            when(answer.contains("\"stopping\":true"), || answer)
        })
        .await;
        assert!(program.runs(), "one signal waits for handlers");
        program.signal("TERM");
        let asked = Instant::now();
        let code = program.exit(PATIENCE).await;
        let took = asked.elapsed();
        assert!(code == Some(143) && took < Duration::from_secs(1), "{code:?} after {took:?}");
        program.listen();
        program.read_all().await;
        let written = program.effects().into_iter().collect();
        stage.queue.left_beside(&written).await;
    });
}

#[rstest]
fn health_follows_handlers_that_are_stuck(#[values("embedded", "container", "local")] kind: &str) {
    on_stage(kind, "stuck", async |stage| {
        let health = free_address();
        let at = health.to_string();
        let args = ["--health", &at, "--stuck-after", "200ms", "--workers", "2", "--prefetch", "1"];
        let mut program =
            Program::start(&stage.url(), &[&args[..], &["--handler-time", "1h"]].concat());
        stage.queue.publish(1).await;
        until("one is stuck, and the other worker is there", PATIENCE, async || {
            let answer = self::health(health).await.unwrap_or_default();
            when(answer.contains("200 OK") && answer.contains("\"for_ms\":"), || answer)
        })
        .await;
        stage.queue.publish(1).await;
        assert_eq!(stalled(health, 2).await, BTreeSet::from([0, 1]));
        until("each is told once", PATIENCE, async || {
            when(program.count("handler_stuck") == 2, || program.said())
        })
        .await;
        program.signal("TERM");
        program.signal("INT");
        program.exit(PATIENCE).await;
    });
}

#[rstest]
fn a_closed_stdout_loses_no_message(#[values("embedded", "container", "local")] kind: &str) {
    on_stage(kind, "closed", async |stage| {
        let mut program = Program::unread(&stage.url(), &["--workers", "3"]);
        program.close_stdout();
        stage.queue.publish(20).await;
        assert_eq!(program.exit(PATIENCE).await, Some(1), "{}", program.said());
        let said = program.said();
        let last = said.lines().last().unwrap_or_default();
        assert!(last.contains("ERROR") && last.contains("stdout"), "{said}");
        assert_eq!(program.count("rejected"), 0, "{said}");
        let left = stage.queue.left_beside(&BTreeSet::new()).await;
        assert_eq!(left, *stage.queue.published());
    });
}

#[rstest]
fn the_first_rejection_says_what_it_may_cost(
    #[values("embedded", "container", "local")] kind: &str,
) {
    on_stage(kind, "rejection", async |stage| {
        stage.queue.publish(3).await;
        let fails = ["--handler-time", "1h", "--handler-deadline", "50ms", "--retry-attempts", "1"];
        let mut program = Program::start(&stage.url(), &fails);
        until("3 rejections", PATIENCE, async || {
            when(program.count("rejected") == 3, || program.said())
        })
        .await;
        program.signal("TERM");
        assert_eq!(program.exit(PATIENCE).await, Some(0), "{}", program.said());
        let said = program.said();
        assert_eq!(said.matches("dead-letter exchange").count(), 1, "{said}");
        assert_eq!(said.matches("rejected: timed out").count(), 3, "{said}");
    });
}
