//! What the program writes, by threads of its own: a reader that does not read holds up nothing else.
//!
//! The log may lose lines then, and says how many. An effect is never lost: its handler waits until it is written.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

/// What the log keeps for a reader that is behind.
const BACKLOG: usize = 16 * 1024 * 1024;

#[derive(Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    dropped: u64,
    /// A line is being written.
    busy: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, limit: Duration) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout(state, limit);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// The log: lines for stderr.
#[derive(Clone)]
pub(crate) struct Log(Arc<Shared>);

impl Log {
    /// A log whose thread writes to `to`. The thread ends with the process: nothing else could end a write that blocks.
    pub(crate) fn start(to: impl Write + Send + 'static) -> io::Result<Self> {
        let log = Self(Arc::default());
        let shared = log.0.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || write_lines(&shared, to))?;
        Ok(log)
    }

    /// Wait until all is written, or the limit is reached.
    pub(crate) fn flush(&self, limit: Duration) {
        let since = Instant::now();
        let mut state = self.0.lock();
        while state.busy || !state.lines.is_empty() || state.dropped > 0 {
            let Some(left) = limit.checked_sub(since.elapsed()) else { return };
            state = self.0.wait(state, left);
        }
    }
}

/// One call is one line.
impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        if state.bytes + line.len() > BACKLOG {
            state.dropped += 1;
        } else {
            state.bytes += line.len();
            state.lines.push_back(line.to_vec());
            self.0.changed.notify_all();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_lines(shared: &Shared, mut to: impl Write) {
    let mut state = shared.lock();
    loop {
        let line = match state.lines.pop_front() {
            Some(line) => line,
            // Everything before them is written.
            None if state.dropped > 0 => {
                let dropped = std::mem::take(&mut state.dropped);
                format!("{dropped} lines lost: nobody read them in time\n").into_bytes()
            }
            None => {
                state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
        };
        state.busy = true;
        drop(state);
        // Nothing can be said when stderr is gone.
        let _ = to.write_all(&line);
        state = shared.lock();
        state.busy = false;
        // Not before: it takes memory until it is written.
        state.bytes = state.bytes.saturating_sub(line.len());
        shared.changed.notify_all();
    }
}

type Effect = (String, oneshot::Sender<io::Result<()>>);

/// Stdout: where effects are committed.
#[derive(Clone)]
pub(crate) struct Effects(mpsc::Sender<Effect>);

impl Effects {
    /// Its thread, too, ends with the process.
    pub(crate) fn start() -> io::Result<Self> {
        let (tell, told) = mpsc::channel::<Effect>();
        thread::Builder::new().name("effects".to_owned()).spawn(move || {
            for (line, done) in told {
                // A handler that was dropped has no effect any more.
                if !done.is_closed() {
                    let mut out = io::stdout().lock();
                    let _ = done.send(out.write_all(line.as_bytes()).and_then(|()| out.flush()));
                }
            }
        })?;
        Ok(Self(tell))
    }

    /// Write a line; done when it is written.
    pub(crate) async fn write(&self, line: String) -> io::Result<()> {
        let (done, written) = oneshot::channel();
        let ended = || io::Error::other("the thread that writes has ended");
        self.0.send((line, done)).map_err(|_| ended())?;
        written.await.unwrap_or_else(|_| Err(ended()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a line for each permit, and keeps all of them.
    struct Slow(mpsc::Receiver<()>, mpsc::Sender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            let _ = self.1.send(line.to_vec());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_does_not_read_costs_lines_and_no_time() {
        let ((permit, permits), (wrote, written)) = (mpsc::channel(), mpsc::channel());
        let mut log = Log::start(Slow(permits, wrote)).expect("a thread");
        let line = vec![b'x'; BACKLOG / 4];
        log.write_all(b"first").expect("kept");
        for _ in 0..7 {
            log.write_all(&line).expect("kept or counted");
        }
        log.flush(Duration::from_millis(10));
        drop(permit);
        log.flush(Duration::from_secs(20));
        let lines: Vec<_> = written.try_iter().collect();
        assert_eq!(lines[0], b"first");
        let last = String::from_utf8_lossy(lines.last().expect("there is one"));
        assert!(last.ends_with("lines lost: nobody read them in time\n"), "{last}");
        let lost: usize = last.split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
        assert_eq!(lines.len() - 2 + lost, 7, "each is written or counted");
        assert!((3..=4).contains(&lost), "{lost}");
    }
}
