//! Somebody else's broker, known by a URL. It is used, never controlled.

use std::net::SocketAddr;
use std::time::Duration;

use super::BrokerError;
use super::hello::hello;
use super::management::Management;
use super::url::AmqpUrl;
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
        let url =
            parsed.map_err(|why| BrokerError::Spec { input: super::url::redacted(url), why })?;
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
    let base = named.map_or_else(|| format!("http://{host}:15672"), str::to_owned);
    let management = Management::new(&base, (&url.user, &url.password))?;
    match (management.answers().await, named) {
        (Ok(()), _) => Ok(Ok(management)),
        (Err(why), None) => Ok(Err(format!(
            "its management API was not found at {base}: {why}; name it: --broker AMQP-URL,http://HOST:PORT"
        ))),
        (Err(why), Some(_)) => {
            Err(BrokerError::Management { what: format!("reach the broker at {base}"), why })
        }
    }
}
