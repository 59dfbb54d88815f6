//! A case: one script, one snapshot. The snapshot is taken from RabbitMQ 4.0; the embedded broker
//! must give the same. To take one, run against RabbitMQ with `INSTA_UPDATE=always`.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::run::Runner;
use super::target::Target;

/// Plays a script on every broker there is and compares each trace with the one snapshot.
pub async fn run(area: &str, name: &str, script: &str) {
    let area = area.rsplit("::").next().unwrap_or(area);
    let vhost = vhost(area, name);
    // A snapshot is never taken from the model.
    let recording = std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always");
    let embedded = (!recording).then(Target::embedded);
    for target in Target::rabbitmq().into_iter().chain(embedded) {
        target.admin(&vhost, "vhost").await;
        let mut trace = Runner::new(&target, &vhost).play(script).await;
        if matches!(target, Target::RabbitMq { .. }) {
            // It says either of a virtual host that is being deleted: its connections are told of the deletion, and that
            // the processes of the virtual host are down, whichever comes first.
            trace = trace.replace("vhost 'VHOST' is down", "vhost 'VHOST' is deleted");
        }
        target.admin(&vhost, "no-vhost").await;
        target.stop().await;
        compare(area, name, &trace);
    }
}

/// Of one length, because RabbitMQ cuts long texts; different in each case and process.
fn vhost(area: &str, name: &str) -> String {
    let mut hasher = DefaultHasher::new();
    (area, name, std::process::id()).hash(&mut hasher);
    format!("conformance-{:08x}", hasher.finish() as u32)
}

fn compare(area: &str, name: &str, trace: &str) {
    insta::with_settings!({
        snapshot_path => "snapshots",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(format!("{area}__{name}"), trace);
    });
}

/// A test per case: `/// why` and `name: "script";`.
macro_rules! cases {
    ($($(#[$doc:meta])* $name:ident: $script:expr;)*) => {
        $(
            $(#[$doc])*
            #[tokio::test]
            async fn $name() {
                crate::case::run(module_path!(), stringify!($name), $script).await;
            }
        )*
    };
}
pub(crate) use cases;
