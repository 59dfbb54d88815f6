//! What a copy writes: reports into the history, everything else into the subject's log.
//!
//! Owns the pipes and the order of things. A report is written before the ack it belongs to is sent, and must come
//! before it in the history: so the recorder of an ack takes what is in the pipe first ([`Output::take`]). A flood
//! must not hold up the link: one look takes what was in the pipe when it began, reports beyond what deliveries can
//! have are counted and not recorded, and a copy that writes faster than the log is read waits for its reader.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gauntlet_consumer::redact;
use gauntlet_judge::history::What;
use tokio::net::unix::pipe::Receiver;

use super::lines::{Line, parse};
use crate::recorder::Recorder;
use crate::subject::url::encode;

/// Longer lines are cut.
const LONGEST_LINE: usize = 4096;
/// Taken at once; then others have their turn. No pipe holds more, unless its size was raised.
const AT_ONCE: usize = 64 * 1024;
/// Read of a copy in each [`WINDOW`]; one that writes more waits.
const PACE: usize = 1024 * 1024;
/// See [`PACE`].
const WINDOW: Duration = Duration::from_millis(100);
/// Reports that one delivery can have: its start, its end, and the same once more.
const OF_A_DELIVERY: u64 = 4;
/// Reports that are recorded whatever was delivered.
const IN_ANY_CASE: u64 = 1000;
/// Of the log, on disk.
const LOG: u64 = 4 * 1024 * 1024;
/// Lines of the log for the report.
const TAIL: usize = 12;
/// Of a line, in the report.
const TAIL_LINE: usize = 200;
/// Nonsense told; more is no news.
const NONSENSE: u32 = 5;
/// Reports that arrive in one piece and before which nothing came for this many are held back by a buffer.
const IN_ONE_PIECE: usize = 40;

/// The log of all copies of a subject.
#[derive(Default)]
pub(super) struct Log {
    file: Mutex<Kept>,
    /// The broker's password, as it is and as it stands in a URL: it is not kept.
    secrets: Vec<String>,
}

#[derive(Default)]
struct Kept {
    file: Option<File>,
    written: u64,
    tail: VecDeque<String>,
}

impl Log {
    /// A log in this file, or in memory alone.
    pub(super) fn new(path: Option<&Path>) -> std::io::Result<Log> {
        let file = path.map(File::create).transpose()?;
        Ok(Log { file: Mutex::new(Kept { file, ..Kept::default() }), secrets: Vec::new() })
    }

    /// One that does not keep this password. The one that everybody knows is no secret.
    pub(super) fn without(mut self, password: &str) -> Log {
        if !password.is_empty() && password != "guest" {
            self.secrets = vec![password.to_owned(), encode(password)];
        }
        self
    }

    /// What is kept of something the subject wrote.
    fn kept(&self, text: &str) -> String {
        let hidden = |text: String, secret: &String| text.replace(secret, "***");
        self.secrets.iter().fold(redact::text(text), hidden)
    }

    fn line(&self, line: &str) {
        let line = &*self.kept(line);
        let mut kept = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = if kept.tail.len() == TAIL { kept.tail.pop_front() } else { None };
        let mut last = oldest.unwrap_or_default();
        last.clear();
        last.extend(line.chars().take(TAIL_LINE));
        kept.tail.push_back(last);
        let before = kept.written;
        kept.written += line.len() as u64 + 1;
        let over = kept.written > LOG;
        let Some(file) = kept.file.as_mut().filter(|_| before <= LOG) else { return };
        let line = if over { "... and more, which is not kept" } else { line };
        // A log that cannot be written is no reason to end the run; its tail is in the history.
        let _ = writeln!(file, "{line}");
    }

    /// Its last lines.
    pub(super) fn tail(&self) -> Vec<String> {
        let kept = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        kept.tail.iter().cloned().collect()
    }
}

/// One pipe of a copy.
pub(super) struct Output {
    /// The pipe, for whoever can wait.
    pipe: Receiver,
    /// The same pipe, for whoever looks without waiting.
    look: File,
    reports: bool,
    state: Mutex<State>,
    recorder: Recorder,
    log: Arc<Log>,
}

#[derive(Default)]
struct State {
    line: Vec<u8>,
    /// How many handlers run for each message; after a reconnect there may be two for one.
    open: BTreeMap<u32, u32>,
    nonsense: u32,
    reported: u64,
    /// Reports that can have been, by what was delivered.
    believed: u64,
    /// Reports beyond those.
    excess: u64,
    said_buffered: bool,
    last: Option<Instant>,
    over: bool,
}

impl Output {
    /// A pipe, and its end for the copy. With `reports` its lines may be reports (stdout), else they are log.
    pub(super) fn new(
        reports: bool,
        recorder: &Recorder,
        log: &Arc<Log>,
    ) -> std::io::Result<(Arc<Output>, Stdio)> {
        let (reader, writer) = std::io::pipe()?;
        let reader = OwnedFd::from(reader);
        let look = File::from(reader.try_clone()?);
        // Neither blocks from here on: they are one pipe.
        let pipe = Receiver::from_owned_fd(reader)?;
        let (state, recorder, log) = (Mutex::default(), recorder.clone(), log.clone());
        Ok((Arc::new(Output { pipe, look, reports, state, recorder, log }), writer.into()))
    }

    /// Records what is in the pipe, and nothing that comes meanwhile. The time of the last report, all in all.
    pub(super) fn take(&self) -> Option<Instant> {
        let mut state = self.state();
        let there = rustix::io::ioctl_fionread(&self.look).unwrap_or(0);
        let there = usize::try_from(there).unwrap_or(AT_ONCE);
        self.take_some(&mut state, there, |buffer| (&self.look).read(buffer));
        state.last
    }

    /// Records what comes, until nobody can write any more.
    pub(super) async fn follow(self: Arc<Output>) {
        let (mut began, mut taken) = (Instant::now(), 0);
        while !self.state().over {
            if self.pipe.readable().await.is_err() {
                return;
            }
            taken +=
                self.take_some(&mut self.state(), AT_ONCE, |buffer| self.pipe.try_read(buffer));
            if began.elapsed() >= WINDOW {
                (began, taken) = (Instant::now(), 0);
            } else if taken >= PACE {
                tokio::time::sleep_until((began + WINDOW).into()).await;
            }
            // A flood must not keep others from their turn.
            tokio::task::yield_now().await;
        }
    }

    /// The copy has ended: its handlings have too.
    pub(super) fn close(&self) {
        let mut state = self.state();
        self.take_some(&mut state, PACE, |buffer| (&self.look).read(buffer));
        for (id, running) in std::mem::take(&mut state.open) {
            for _ in 0..running {
                self.recorder.record(What::HandlerEnded { id, ok: false });
            }
        }
        if state.excess > 0 {
            self.flood(&state);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads until so much is taken, or nothing is there; how much it was.
    fn take_some(
        &self,
        state: &mut State,
        most: usize,
        read: impl Fn(&mut [u8]) -> std::io::Result<usize>,
    ) -> usize {
        let mut buffer = [0; 16 * 1024];
        let mut taken = 0;
        while taken < most && !state.over {
            let room = buffer.len().min(most - taken);
            match read(&mut buffer[..room]) {
                Ok(0) => {
                    state.over = true;
                    self.line(state);
                }
                Ok(n) => {
                    taken += n;
                    self.bytes(state, &buffer[..n]);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => state.over = true,
            }
        }
        taken
    }

    fn bytes(&self, state: &mut State, bytes: &[u8]) {
        let mut handled = 0;
        let delivered = self.recorder.look(|l| l.delivered);
        state.believed = IN_ANY_CASE + OF_A_DELIVERY * u64::from(delivered);
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let room = LONGEST_LINE - state.line.len();
            state.line.extend(piece.iter().take(room).filter(|b| **b != b'\n'));
            if piece.ends_with(b"\n") {
                handled += usize::from(self.line(state));
            }
        }
        if handled >= IN_ONE_PIECE && !state.said_buffered {
            state.said_buffered = true;
            let text = format!(
                "{handled} reports came in one piece: is its stdout buffered? Each line has to be flushed"
            );
            self.recorder.record(What::Said { text });
        }
    }

    /// Whether the line was a report of a handling.
    fn line(&self, state: &mut State) -> bool {
        let line = std::mem::take(&mut state.line);
        if line.is_empty() {
            return false;
        }
        let text = String::from_utf8_lossy(&line);
        let line = if self.reports { parse(&text) } else { Line::Log };
        if matches!(line, Line::Started(_) | Line::Handled(_) | Line::Failed(_)) {
            state.reported += 1;
            if state.reported - state.excess > state.believed {
                state.excess += 1;
                if state.excess == 1 {
                    self.flood(state);
                }
                return false;
            }
        }
        match line {
            Line::Log => {
                self.log.line(&text);
                return false;
            }
            Line::Nonsense => {
                state.nonsense += 1;
                if state.nonsense <= NONSENSE {
                    let text = self.log.kept(&text).chars().take(TAIL_LINE).collect();
                    self.recorder.record(What::Nonsense { text });
                }
                return false;
            }
            Line::Started(id) => {
                let redelivered = self.redelivered(id);
                *state.open.entry(id).or_default() += 1;
                self.recorder.record(What::HandlerStarted { id, redelivered });
            }
            Line::Handled(id) => {
                self.begun(state, id);
                self.recorder.record(What::Effect { id });
                self.recorder.record(What::HandlerEnded { id, ok: true });
            }
            Line::Failed(id) => {
                self.begun(state, id);
                self.recorder.record(What::HandlerEnded { id, ok: false });
            }
        }
        state.last = Some(Instant::now());
        true
    }

    fn flood(&self, state: &State) {
        let State { reported, excess, .. } = state;
        let delivered = self.recorder.look(|l| l.delivered);
        let text = format!(
            "{reported} reports of {delivered} deliveries; {excess} of them are not in the history"
        );
        self.recorder.record(What::Flood { text });
    }

    /// A handling whose start was not reported began, as far as anybody knows, when its message arrived.
    fn begun(&self, state: &mut State, id: u32) {
        if let Some(running) = state.open.get_mut(&id) {
            *running -= 1;
            if *running == 0 {
                state.open.remove(&id);
            }
            return;
        }
        let redelivered = self.redelivered(id);
        let arrived = self.recorder.look(|l| {
            let all = l.messages.get(&id)?.deliveries.iter();
            let at = |(e, tag): &(usize, u64)| l.epochs[*e].deliveries.get(tag)?.at_client;
            all.filter_map(at).max()
        });
        let what = What::HandlerStarted { id, redelivered };
        match arrived {
            Some(at) => self.recorder.record_ns(at.ns, what),
            None => self.recorder.record(what),
        }
    }

    fn redelivered(&self, id: u32) -> bool {
        self.recorder.look(|l| {
            let last = l.messages.get(&id).and_then(|m| m.deliveries.last());
            let delivery = last.and_then(|(e, tag)| l.epochs[*e].deliveries.get(tag));
            delivery.is_some_and(|d| d.redelivered)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_kept() {
        let log = Log::new(None).expect("memory").without("p@ss,word");
        for line in ["to amqp://u:s3cret@h/v", "password='p@ss,word'", "amqp://u:p%40ss%2Cword@h"] {
            log.line(line);
        }
        assert_eq!(log.tail(), ["to amqp://u:***@h/v", "password='***'", "amqp://u:***@h"]);
        let log = Log::new(None).expect("memory").without("guest");
        log.line("guest");
        assert_eq!(log.tail(), ["guest"]);
    }

    fn written(bytes: &[u8]) -> (Arc<Output>, Recorder, Arc<Log>) {
        let (recorder, log) =
            (Recorder::new(None).expect("memory"), Arc::new(Log::new(None).expect("memory")));
        let (output, _writer) = Output::new(true, &recorder, &log).expect("a pipe");
        let mut state = output.state();
        for byte in bytes.chunks(7) {
            output.bytes(&mut state, byte);
        }
        drop(state);
        (output, recorder, log)
    }

    #[tokio::test]
    async fn reports_are_history_and_the_rest_is_log() {
        let (output, recorder, log) =
            written(b"hello\nstarted m1\nhandled m0\nhandled x\nstarted m2\nfailed m1 so\n");
        output.close();
        let history = recorder.history().expect("memory");
        let what: Vec<&What> = history.events().iter().map(|e| &e.what).collect();
        let expect = [
            What::HandlerStarted { id: 1, redelivered: false },
            What::HandlerStarted { id: 0, redelivered: false },
            What::Effect { id: 0 },
            What::HandlerEnded { id: 0, ok: true },
            What::Nonsense { text: "handled x".into() },
            What::HandlerStarted { id: 2, redelivered: false },
            What::HandlerEnded { id: 1, ok: false },
            What::HandlerEnded { id: 2, ok: false },
        ];
        assert_eq!(what, expect.iter().collect::<Vec<_>>());
        assert_eq!(log.tail(), ["hello"]);
    }

    #[tokio::test]
    async fn handlers_that_run_at_once_for_one_message_are_counted() {
        let twice = b"started m1\nstarted m1\nhandled m1\nhandled m1\n";
        let (output, recorder, _) = written(twice);
        assert_eq!(recorder.look(|l| (l.running, l.messages[&1].handlings.len())), (0, 2));
        output.close();
        assert_eq!(recorder.look(|l| l.messages[&1].effects.len()), 2);
        // A copy that ends takes all of its handlers with it.
        let (output, recorder, _) = written(b"started m1\nstarted m1\n");
        assert_eq!(recorder.look(|l| l.running), 2);
        output.close();
        assert_eq!(recorder.look(|l| l.running), 0);
    }

    #[tokio::test]
    async fn a_line_without_end_and_a_flood_are_bounded() {
        let long = vec![b'x'; 3 * LONGEST_LINE];
        let (output, _, log) = written(&long);
        assert_eq!(output.state().line.len(), LONGEST_LINE);
        output.bytes(&mut output.state(), b"\nhandled m1\n");
        assert_eq!(log.tail()[0].len(), TAIL_LINE);
        let (_, recorder, log) = written(&b"noise\nhandled no\n".repeat(100));
        assert_eq!(log.tail().len(), TAIL);
        let nonsense = recorder.history().expect("memory").events().len();
        assert_eq!(nonsense, NONSENSE as usize);
    }

    #[tokio::test]
    async fn reports_beyond_what_was_delivered_are_counted_and_not_recorded() {
        let (output, recorder, _) = written(&b"handled m1\n".repeat(50_000));
        output.close();
        let history = recorder.history().expect("memory");
        let floods: Vec<&String> = history
            .events()
            .iter()
            .filter_map(|e| match &e.what {
                What::Flood { text } => Some(text),
                _ => None,
            })
            .collect();
        let expect = [
            "1001 reports of 0 deliveries; 1 of them are not in the history",
            "50000 reports of 0 deliveries; 49000 of them are not in the history",
        ];
        assert_eq!(floods, expect);
        let effects = history.events().iter().filter(|e| matches!(e.what, What::Effect { .. }));
        assert_eq!(effects.count(), 1000);
    }

    #[tokio::test]
    async fn a_look_ends_however_fast_the_copy_writes() {
        let recorder = Recorder::new(None).expect("memory");
        let log = Arc::new(Log::new(None).expect("memory"));
        let (output, writer) = Output::new(true, &recorder, &log).expect("a pipe");
        let mut flood = std::process::Command::new("yes");
        let mut flood = flood.arg("handled m1").stdout(writer).spawn().expect("coreutils");
        // Each look ends at what was there when it began.
        let most = (0..200).map(|_| {
            let before = output.state().reported;
            output.take();
            output.state().reported - before
        });
        let most = most.max().expect("several looks");
        flood.kill().expect("it runs");
        flood.wait().expect("it ends");
        assert!(most * "handled m1\n".len() as u64 <= 2 * AT_ONCE as u64, "{most} reports");
    }

    #[test]
    fn the_log_on_disk_has_an_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("subject.log");
        let log = Log::new(Some(&path)).expect("a file");
        let line = "x".repeat(LONGEST_LINE);
        for _ in 0..2 * LOG / LONGEST_LINE as u64 {
            log.line(&line);
        }
        let text = std::fs::read_to_string(&path).expect("text");
        assert!(text.len() as u64 <= LOG + 100, "{}", text.len());
        assert!(text.ends_with("which is not kept\n"));
    }

    #[tokio::test]
    async fn what_is_in_the_pipe_is_taken_at_once() {
        let recorder = Recorder::new(None).expect("memory");
        let log = Arc::new(Log::new(None).expect("memory"));
        let (output, writer) = Output::new(true, &recorder, &log).expect("a pipe");
        assert_eq!(output.take(), None);
        let mut echo = std::process::Command::new("/bin/sh");
        let status = echo.args(["-c", "echo handled m3"]).stdout(writer).status();
        assert!(status.expect("a shell").success());
        drop(echo);
        assert!(output.take().is_some());
        assert_eq!(recorder.look(|l| l.handled), 1);
        let followed = tokio::time::timeout(std::time::Duration::from_secs(10), output.follow());
        followed.await.expect("it ends with the last writer");
    }
}
