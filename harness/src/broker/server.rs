//! Finding RabbitMQ's programs on this machine.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::BrokerError;

/// Says where, over all else.
const VARIABLE: &str = "GAUNTLET_RABBITMQ_SERVER";
/// Where packages put the script itself. What they put on the PATH is a wrapper that changes the user.
const PACKAGED: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// The programs a private node needs.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    pub(super) server: PathBuf,
    pub(super) ctl: PathBuf,
    pub(super) epmd: PathBuf,
}

/// Finds them, beginning with the server: the one given, the variable's, the package's, the PATH's.
pub(super) fn find(given: Option<&Path>) -> Result<Programs, BrokerError> {
    let said = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let server = match given.map(Path::to_owned).or(said) {
        Some(path) if path.is_file() => path,
        Some(path) => return Err(none(path.display().to_string())),
        None => [Some(PACKAGED.into()), on_path("rabbitmq-server")]
            .into_iter()
            .flatten()
            .find(|path| path.is_file())
            .ok_or_else(|| none(format!("{PACKAGED} and the PATH")))?,
    };
    let server = server.canonicalize().unwrap_or(server);
    let ctl = server.with_file_name("rabbitmqctl");
    if !ctl.is_file() {
        return Err(none(format!("{}, but rabbitmqctl is not beside it", server.display())));
    }
    let epmd =
        epmd().ok_or_else(|| none("the PATH and /usr/lib/erlang for Erlang's epmd".into()))?;
    Ok(Programs { server, ctl, epmd })
}

fn none(looked: String) -> BrokerError {
    BrokerError::NoServer { looked }
}

/// Erlang's port mapper: on the PATH, else in a release of Erlang.
fn epmd() -> Option<PathBuf> {
    let releases = [
        "/usr/lib/erlang",
        "/usr/lib64/erlang",
        "/usr/local/lib/erlang",
        "/opt/homebrew/lib/erlang",
    ];
    on_path("epmd").or_else(|| {
        let versions =
            releases.iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten();
        let erts =
            versions.filter(|entry| entry.file_name().to_string_lossy().starts_with("erts-"));
        erts.map(|entry| entry.path().join("bin/epmd")).find(|path| path.is_file())
    })
}

fn on_path(program: impl AsRef<OsStr>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program.as_ref())).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_server_that_is_not_there_is_quoted() {
        let error = super::find(Some("/no/such/server".as_ref())).expect_err("there is none");
        let said = error.to_string();
        assert!(
            said.contains("/no/such/server") && said.contains("GAUNTLET_RABBITMQ_SERVER"),
            "{said}"
        );
    }
}
