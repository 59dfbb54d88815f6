//! What reaches the user: the report on stdout, errors and logs on stderr, all of it without passwords.

use std::io::{IsTerminal, Write};
use std::sync::LazyLock;

use gauntlet_consumer::redact;

use crate::commands::Failure;

/// Variables that may hold a login.
const VARIABLES: [&str; 3] = ["GAUNTLET_BROKER", "GAUNTLET_NETWORK", "AMQP_URL"];

/// What this program was given, in which there may be logins.
static GIVEN: LazyLock<Vec<String>> = LazyLock::new(|| {
    let words = std::env::args_os().skip(1);
    let all = words.chain(VARIABLES.iter().filter_map(std::env::var_os));
    all.map(|word| word.to_string_lossy().into_owned()).filter(|word| !word.is_empty()).collect()
});

/// Text without the passwords this program was given, nor those in any URL.
pub fn redacted(text: &str) -> String {
    redact::quoting(text, GIVEN.iter().map(String::as_str))
}

/// Prints a line of the report. A reader that went away ends the printing, not the program.
pub fn say(text: impl AsRef<str>) {
    let _ = writeln!(std::io::stdout(), "{}", redacted(text.as_ref()));
}

/// Says where something is to be found, which nobody can do without: a line that cannot be written is an error. It is
/// printed as it is: the embedded broker's password is no secret.
pub fn announce(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    written.map_err(|e| {
        Failure::environment(format!(
            "failed to write to standard output: {e}; it was to say: {text}"
        ))
    })
}

/// The one place where an error reaches the user.
pub fn error(message: &str) {
    let _ = writeln!(std::io::stderr(), "error: {}", redacted(message));
}

/// What the parser of arguments says: help on stdout, errors on stderr.
pub fn usage(e: &clap::Error) {
    if !e.use_stderr() {
        let _ = e.print();
        return;
    }
    let text = e.render();
    let text = match std::io::stderr().is_terminal() {
        true => text.ansi().to_string(),
        false => text.to_string(),
    };
    let _ = write!(std::io::stderr(), "{}", redacted(&text));
}

/// Where logs go: stderr, a whole event at a time.
pub struct Logs;

impl Write for Logs {
    fn write(&mut self, event: &[u8]) -> std::io::Result<usize> {
        let text = redacted(&String::from_utf8_lossy(event));
        std::io::stderr().write_all(text.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

/// A subject's panic is its end, and in the report; only panics of this program's own are told by the runtime, but for
/// passwords.
pub fn let_subjects_panic_quietly() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("<unnamed>");
        if name.starts_with("subject") {
            return;
        }
        let said = panic.to_string();
        match redacted(&said) {
            same if same == said => tell(panic),
            hidden => _ = writeln!(std::io::stderr(), "thread '{name}' {hidden}"),
        }
    }));
}
