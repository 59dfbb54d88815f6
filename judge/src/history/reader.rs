//! Reading a history back from its file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::event::{Event, What};
use super::peers::Peers;

/// A whole history, in order of time.
#[derive(Clone, Debug, Default)]
pub struct History {
    events: Vec<Event>,
    by_seq: Vec<usize>,
}

/// A history that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file cannot be opened or read.
    #[error("failed to read the history {path}: {source}")]
    Read {
        /// File.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Events are missing, doubled, or out of order: nothing can be said of the subject.
    #[error(
        "line {line} of {path} has event {found} where event {} belongs: lines of it were lost, doubled or moved",
        line - 1
    )]
    Damaged {
        /// File.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The event's sequence number.
        found: u64,
    },
    /// A line is not an event.
    #[error("line {line} of {path} is not an event of a history: {source}: `{text}`")]
    Line {
        /// File.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
        /// The line, shortened.
        text: String,
    },
}

/// What a regular file holds. Anything else may have no end, or nobody at the other one.
pub(crate) fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    std::fs::read(path)
}

impl History {
    /// A history of these events; sorted by time, ties by sequence.
    pub fn new(mut events: Vec<Event>) -> History {
        events.sort_by_key(|e| (e.ns, e.seq));
        let mut by_seq: Vec<usize> = (0..events.len()).collect();
        by_seq.sort_by_key(|i| events[*i].seq);
        History { events, by_seq }
    }

    /// Reads a whole `history.jsonl`; a damaged one is an error. A last line cut short (the harness was killed) is left
    /// out: everything before it counts.
    pub fn read(path: &Path) -> Result<History, HistoryError> {
        match History::read_sound(path)? {
            (history, None) => Ok(history),
            (_, Some(damage)) => Err(damage),
        }
    }

    /// Reads what comes before any damage, and says what that is. Sequence numbers are dense in the order of the file;
    /// one that is not shows damage.
    ///
    /// What follows the damage is left out: whatever it proves, an event that is lost may excuse. The rest is a history that
    /// stops early.
    pub fn read_sound(path: &Path) -> Result<(History, Option<HistoryError>), HistoryError> {
        let bytes = read_file(path)
            .map_err(|source| HistoryError::Read { path: path.to_owned(), source })?;
        let mut events = Vec::new();
        let mut damage = None;
        for (i, line) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
            match serde_json::from_slice::<Event>(line) {
                Ok(event) if event.seq == i as u64 => events.push(event),
                // Only the last can be without an end.
                Err(_) if !line.ends_with(b"\n") => break,
                wrong => {
                    damage = Some(damaged(path, i + 1, line, wrong));
                    break;
                }
            }
        }
        Ok((History::new(events), damage))
    }

    /// Connections that are not the subject's.
    pub fn strangers(&self) -> BTreeSet<u64> {
        let mut peers = Peers::default();
        for event in &self.events {
            peers.sift(event);
        }
        peers.strangers()
    }

    /// Who connected and was not the subject, and nothing else.
    pub fn only_strangers(&self) -> History {
        let strangers = self.strangers();
        let came =
            |e: &&Event| matches!(&e.what, What::Peer { conn, .. } if strangers.contains(conn));
        History::new(self.events.iter().filter(came).cloned().collect())
    }

    /// The same without what strangers did. What is left keeps its numbers.
    pub fn of_subject(&self) -> History {
        let strangers = self.strangers();
        let its = |e: &&Event| e.what.conn().is_none_or(|conn| !strangers.contains(&conn));
        History::new(self.events.iter().filter(its).cloned().collect())
    }

    /// The events in order of time.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The event with this sequence number.
    pub fn get(&self, seq: u64) -> Option<&Event> {
        let i = self.by_seq.binary_search_by_key(&seq, |i| self.events[*i].seq).ok()?;
        Some(&self.events[self.by_seq[i]])
    }

    /// Whether the run got to its end, after which nothing is recorded; a history that stops early can prove a
    /// violation, never its absence.
    pub fn complete(&self) -> bool {
        let last = self.by_seq.last().map(|i| &self.events[*i].what);
        last == Some(&What::End)
    }
}

fn damaged(
    path: &Path,
    line: usize,
    bytes: &[u8],
    wrong: Result<Event, serde_json::Error>,
) -> HistoryError {
    let path = path.to_owned();
    match wrong {
        Ok(event) => HistoryError::Damaged { path, line, found: event.seq },
        Err(source) => {
            let text = String::from_utf8_lossy(bytes).trim_end().chars().take(120).collect();
            HistoryError::Line { path, line, source, text }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What reading a file of these lines gives: the number of events, and whether they are whole; or the error.
    #[track_caller]
    fn check(lines: &[&str], expect: &str) {
        check_bytes(lines.iter().map(|l| format!("{l}\n")).collect::<String>().as_bytes(), expect);
    }

    #[track_caller]
    fn check_bytes(bytes: &[u8], expect: &str) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("history.jsonl");
        std::fs::write(&path, bytes).expect("written");
        let said = match History::read(&path) {
            Ok(history) => format!("{} {}", history.events().len(), history.complete()),
            Err(e) => e.to_string(),
        };
        assert!(said.contains(expect), "{said}");
    }

    const STOP: &str = r#"{"seq":0,"ns":5,"event":"stop_requested"}"#;
    const ABORT: &str = r#"{"seq":1,"ns":4,"event":"abort_requested"}"#;
    const END: &str = r#"{"seq":2,"ns":9,"event":"end"}"#;

    #[test]
    fn a_history_is_whole_or_stops_early() {
        check(&[STOP, ABORT, END], "3 true");
        check(&[STOP, ABORT], "2 false");
        check(&[], "0 false");
    }

    #[test]
    fn a_last_line_cut_anywhere_is_left_out() {
        let said = r#"{"seq":1,"ns":6,"event":"said","text":"é"}"#;
        let whole = format!("{STOP}\n{said}");
        check_bytes(whole.as_bytes(), "2 false");
        for cut in STOP.len() + 1..whole.len() {
            check_bytes(&whole.as_bytes()[..cut], "1 false");
        }
        check_bytes(b"\xc3\n{}", "line 1 of ");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("history.jsonl");
        let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo");
        assert!(made.success());
        let said = History::read(&path).expect_err("no file").to_string();
        assert!(said.contains("not a regular file"), "{said}");
        let said = History::read(dir.path()).expect_err("no file").to_string();
        assert!(said.contains("not a regular file"), "{said}");
    }

    #[test]
    fn a_damaged_history_is_refused() {
        check(&[STOP, END], "line 2 of ");
        check(&[STOP, END], "has event 2 where event 1 belongs");
        check(&[ABORT, END], "has event 1 where event 0 belongs");
        check(&[END, ABORT, STOP], "has event 2 where event 0 belongs");
        check(&[STOP, ABORT, END, STOP, ABORT, END], "has event 0 where event 3 belongs");
        check(&[STOP, STOP], "has event 0 where event 1 belongs");
    }

    #[test]
    fn what_comes_before_the_damage_is_sound() {
        let check = |lines: &[&str], expect: &str| {
            let dir = tempfile::tempdir().expect("temporary directory");
            let path = dir.path().join("history.jsonl");
            let text: String = lines.iter().map(|l| format!("{l}\n")).collect();
            std::fs::write(&path, text).expect("written");
            let (history, damage) = History::read_sound(&path).expect("a file");
            let damage = damage.map_or("whole".to_owned(), |d| d.to_string());
            let said = format!("{} {} {damage}", history.events().len(), history.complete());
            assert!(said.starts_with(expect), "{said}");
        };
        check(&[STOP, ABORT, END], "3 true whole");
        check(&[STOP, "{}", END], "1 false line 2 of ");
        check(&[STOP, END], "1 false line 2 of ");
        check(&["", STOP, ABORT, END], "0 false line 1 of ");
        check(&[STOP, ABORT, END, END], "3 true line 4 of ");
    }

    #[test]
    fn nothing_follows_the_end() {
        let end = r#"{"seq":0,"ns":5,"event":"end"}"#;
        check(&[end, ABORT], "2 false");
    }
}
