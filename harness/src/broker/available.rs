//! What this machine has to run a broker with.

use super::{BrokerError, BrokerSpec, container, server};

/// Each kind of broker that can be started here, or why not. Nothing is started or pulled.
pub async fn available() -> Vec<(&'static str, Result<(), String>)> {
    let container = match BrokerSpec::container() {
        BrokerSpec::Container { image, tag } => container::available(&image, &tag).await,
        _ => Ok(()),
    };
    let said =
        |result: Result<(), BrokerError>| result.map_err(|error| format!("failed to {error}"));
    vec![("container", said(container)), ("local", said(server::find(None).map(drop)))]
}

/// What `auto` means here: the first kind that is to be had. An error says why none is.
pub async fn choose() -> Result<BrokerSpec, BrokerError> {
    let all = available().await;
    match all.iter().find(|(_, result)| result.is_ok()) {
        Some((kind, _)) => kind.parse(),
        None => {
            let why = |(kind, result): &(&str, Result<(), String>)| {
                format!("{kind}: {}", result.as_ref().err().map_or("", String::as_str))
            };
            let tried = all.iter().map(why).collect::<Vec<_>>().join("; ");
            Err(BrokerError::NoBroker { tried })
        }
    }
}
