//! A subject that is a command: any program, in any language.
//!
//! Owns what such a program is told ([`contract`]) and may say ([`lines`]), and the processes themselves: one
//! copy of it ([`copy`]) with its output ([`output`]), all of them together ([`fleet`]), what a group of
//! processes holds ([`group`]), and what its health endpoint answers ([`health`]). In reading order.

pub mod contract;
mod copy;
mod fleet;
mod group;
mod health;
mod lines;
mod output;

use std::ffi::OsString;
use std::path::PathBuf;

use gauntlet_consumer::redact;

pub use contract::{CONTRACT, VERSION};
pub use fleet::{Fleet, Stage};
pub use health::Answers;

/// A command to start a consumer with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The program and its arguments; not empty.
    pub command: Vec<OsString>,
    /// Where it is started; without it, here.
    pub dir: Option<PathBuf>,
    /// Variables of its own.
    pub env: Vec<(String, String)>,
}

impl Program {
    /// A command, started here.
    pub fn new(command: Vec<OsString>) -> Program {
        Program { command, dir: None, env: Vec::new() }
    }

    /// The command as one would type it, but for the passwords in its URLs: it is told and saved.
    pub fn in_words(&self) -> String {
        let word = |word: &OsString| quoted(&redact::text(&word.to_string_lossy()));
        self.command.iter().map(word).collect::<Vec<_>>().join(" ")
    }
}

/// A word as a shell wants it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let command = ["python3", "a b.py", "it's", "--x=1", ""].map(OsString::from).to_vec();
        assert_eq!(Program::new(command).in_words(), r"python3 'a b.py' 'it'\''s' --x=1 ''");
        let command = ["worker", "--url=amqp://u:s3cret@h"].map(OsString::from).to_vec();
        assert_eq!(Program::new(command).in_words(), "worker '--url=amqp://u:***@h'");
    }
}
