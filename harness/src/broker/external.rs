//! Somebody else's broker, known by a URL. It is used, never controlled.

use std::net::SocketAddr;
use std::time::Duration;

use gauntlet_consumer::redact;

use super::BrokerError;
use super::hello::hello;
use super::management::Management;
use super::owner::is_of_the_dead;
use super::url::{AmqpUrl, ManagementUrl};
use super::wait::{Not, until};

/// It should be there already; a name may have to be resolved, a cluster may be starting.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is known of it.
pub(super) struct External {
    pub(super) addr: SocketAddr,
    pub(super) url: AmqpUrl,
    /// Or why there is none.
    pub(super) management: Result<Management, String>,
}

impl External {
    /// Finds the first of its addresses that answers AMQP.
    pub(super) async fn find(url: &str, management: Option<&str>) -> Result<External, BrokerError> {
        let parsed = AmqpUrl::parse(url);
        let url = parsed.map_err(|why| BrokerError::Spec { input: redact::url(url), why })?;
        let (host, port) = (url.host.as_str(), url.port);
        let addr = until(&format!("reach the broker {url:?}"), PATIENCE, || async {
            let all = tokio::net::lookup_host((host, port)).await;
            let all = all.map_err(|error| Not::Yet(format!("'{host}' has no address: {error}")))?;
            let mut why = format!("'{host}' has no address");
            for addr in all {
                match hello(addr).await {
                    Ok(_) => return Ok(addr),
                    Err(said) => why = said,
                }
            }
            Err(Not::Yet(why))
        })
        .await?;
        let management = look_for_management(&url, management).await?;
        Ok(External { addr, url, management })
    }
}

/// One that was named must be there; the usual place is only tried.
async fn look_for_management(
    url: &AmqpUrl,
    named: Option<&str>,
) -> Result<Result<Management, String>, BrokerError> {
    let host = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    let ManagementUrl { base, login } = match named {
        None => ManagementUrl { base: format!("http://{host}:15672"), login: None },
        Some(named) => ManagementUrl::parse(named)
            .map_err(|why| BrokerError::Spec { input: redact::url(named), why })?,
    };
    let (user, password) = login.unwrap_or_else(|| (url.user.clone(), url.password.clone()));
    let management = Management::new(&base, (&user, &password))?;
    match (management.answers().await, named) {
        (Ok(()), _) => Ok(Ok(management)),
        (Err(why), None) => Ok(Err(format!(
            "its management API was not found at {base}: {why}; name it: --broker AMQP-URL,http://[USER:PASSWORD@]HOST:PORT"
        ))),
        (Err(why), Some(_)) => Err(BrokerError::Management {
            what: format!("reach the broker at {base} as {user}"),
            why: format!(
                "{why}; write it as http://USER:PASSWORD@HOST:PORT where its login is another"
            ),
        }),
    }
}

/// Deletes the virtual hosts of runs that were killed on this machine.
pub(super) async fn sweep(management: &Management) {
    let vhosts = match management.vhosts().await {
        Ok(vhosts) => vhosts,
        Err(error) => return tracing::warn!(%error, "cannot look for what dead runs left"),
    };
    for vhost in vhosts.iter().filter(|vhost| is_of_the_dead(vhost)) {
        match management.delete_vhost(vhost).await {
            Ok(()) => tracing::info!(vhost, "removed a virtual host that a dead run had left"),
            Err(error) => tracing::warn!(%error, "cannot remove what a dead run left"),
        }
    }
}
