//! Client libraries of other languages against the embedded broker and RabbitMQ: the scripts of `tests/clients/`, each in a
//! virtual host of its own.
//!
//! They need Python with what `tests/clients/requirements.txt` names, in `target/clients` (`tests/clients/README.md` has
//! the line that makes it) or where `GAUNTLET_CLIENTS_PYTHON` says.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use gauntlet_harness::broker::{Broker, BrokerSpec};
use rstest::rstest;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::queue::new_vhost;
use crate::support::{RUN, RUNTIME, broker, skip};

/// A script takes seconds; its own waits end before this.
const PATIENCE: Duration = Duration::from_secs(180);

/// The Python that has the libraries, or why there is none.
pub static PYTHON: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| {
    let given = std::env::var_os("GAUNTLET_CLIENTS_PYTHON").map(PathBuf::from);
    let own = || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("clients/bin/python");
    let python = given.unwrap_or_else(own);
    let libraries = "import aio_pika, amqp, kombu, pika";
    let asked = std::process::Command::new(&python).args(["-c", libraries]).output();
    let why = match asked {
        Ok(Output { status, .. }) if status.success() => return Ok(python),
        Ok(Output { stderr, .. }) => {
            String::from_utf8_lossy(&stderr).lines().last().unwrap_or("it fails").to_owned()
        }
        Err(error) => error.to_string(),
    };
    Err(format!("{}: {why} (tests/clients/README.md says how to have it)", python.display()))
});

async fn play(python: &Path, script: &str, broker: &Broker) {
    let vhost = new_vhost(script);
    broker.create_vhost(&vhost).await.expect("a virtual host can be made");
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let child = Command::new(python)
        .arg(format!("with_{script}.py"))
        .current_dir(scripts)
        .env("AMQP_URL", broker.url(&vhost))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("what ran a moment ago runs again");
    let ended = timeout(PATIENCE, child.wait_with_output()).await;
    let Output { status, stdout, stderr } =
        ended.unwrap_or_else(|_| panic!("{script} did not end")).expect("it can be waited for");
    let (said, errors) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{script} on {}: {said}{errors}", broker.kind());
    broker.delete_vhost(&vhost).await.expect("it can be deleted");
}

#[rstest]
fn a_client_library_finds_what_it_expects(
    #[values("pika", "aio_pika", "py_amqp", "kombu")] script: &str,
    #[values("embedded", "container")] kind: &str,
) {
    let python = match &*PYTHON {
        Ok(python) => python,
        Err(why) => return skip("Python's client libraries", why),
    };
    if kind != "embedded" {
        let Some(broker) = broker(kind) else { return };
        return RUNTIME.block_on(play(python, script, &broker));
    }
    RUNTIME.block_on(async {
        let broker = Arc::new(Broker::start(&BrokerSpec::Embedded, &RUN).await.expect("it starts"));
        play(python, script, &broker).await;
        broker.stop().await.expect("it stops");
    });
}
