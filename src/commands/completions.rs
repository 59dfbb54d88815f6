//! `gauntlet completions SHELL` and `gauntlet man`: made from the command line's own words.

use std::io::Write;

use clap::CommandFactory;

use super::Failure;
use crate::args::{Args, Completions};

/// Prints a script for a shell.
pub fn execute(args: &Completions) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "gauntlet", &mut script);
    print(&script)
}

/// Prints the man page of the command, or of one of its commands.
pub fn man(name: Option<&str>) -> Result<u8, Failure> {
    let mut whole = Args::command();
    whole.build();
    let command = match name {
        None => whole,
        Some(name) => {
            let names: Vec<_> = whole.get_subcommands().map(|c| c.get_name().to_owned()).collect();
            let found = whole.find_subcommand(name).cloned();
            found.ok_or_else(|| {
                Failure::usage(format!("no command is named `{name}`: {}", names.join(", ")))
            })?
        }
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).map_err(Failure::environment)?;
    print(&page)
}

/// A reader that went away is no error.
fn print(bytes: &[u8]) -> Result<u8, Failure> {
    let mut out = std::io::stdout();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::environment(format!("failed to write to standard output: {e}")))
        }
        _ => Ok(0),
    }
}
