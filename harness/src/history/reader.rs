//! Reading a history back from its file.

use std::path::{Path, PathBuf};

use super::event::{Event, What};

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

impl History {
    /// A history of these events; sorted by time, ties by sequence.
    pub fn new(mut events: Vec<Event>) -> History {
        events.sort_by_key(|e| (e.ns, e.seq));
        let mut by_seq: Vec<usize> = (0..events.len()).collect();
        by_seq.sort_by_key(|i| events[*i].seq);
        History { events, by_seq }
    }

    /// Reads `history.jsonl`. A last line cut short (the harness was killed) is left out: everything before it counts.
    pub fn read(path: &Path) -> Result<History, HistoryError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| HistoryError::Read { path: path.to_owned(), source })?;
        let mut events = Vec::new();
        let lines = text.lines().count();
        for (i, line) in text.lines().enumerate() {
            match serde_json::from_str(line) {
                Ok(event) => events.push(event),
                Err(_) if i + 1 == lines && !text.ends_with('\n') => break,
                Err(source) => {
                    let text = line.chars().take(120).collect();
                    return Err(HistoryError::Line {
                        path: path.to_owned(),
                        line: i + 1,
                        source,
                        text,
                    });
                }
            }
        }
        Ok(History::new(events))
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

    /// Whether the run got to its end; a history that stops early can prove a violation, never its absence.
    pub fn complete(&self) -> bool {
        self.events.iter().any(|e| e.what == What::End)
    }
}
