//! Name, TCP, TLS: a connected socket within the deadlines, or which step failed.

use std::{io, net::SocketAddr, time::Duration};

use lapin::{AsyncTcpStream, tcp::OwnedTLSConfig};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_util::compat::TokioAsyncReadCompatExt;

use crate::{
    endpoint::Endpoint,
    settings::Settings,
    trouble::{ConsumeError, Phase},
    wire::Socket,
};

async fn within<T>(
    limit: Duration,
    phase: Phase,
    step: impl Future<Output = io::Result<T>>,
) -> Result<T, ConsumeError> {
    match timeout(limit, step).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(ConsumeError::from_io(&error, phase)),
        Err(_) => Err(ConsumeError::Timeout { phase, limit }),
    }
}

/// Dial the endpoint: every address its name has, each with the full TCP deadline.
pub(crate) async fn dial(endpoint: &Endpoint, settings: &Settings) -> Result<Socket, ConsumeError> {
    let deadlines = &settings.deadlines;
    let authority = &endpoint.uri.authority;
    let addresses: Vec<SocketAddr> = within(deadlines.tcp, Phase::Resolve, async {
        Ok(lookup_host((authority.host.as_str(), authority.port)).await?.collect())
    })
    .await?;
    let mut trouble =
        ConsumeError::Network { phase: Phase::Resolve, text: "the name has no address".to_owned() };
    for address in addresses {
        match within(deadlines.tcp, Phase::Tcp, TcpStream::connect(address)).await {
            Ok(tcp) => return upgrade(tcp, endpoint, settings).await,
            Err(failed) => trouble = failed,
        }
    }
    Err(match trouble {
        ConsumeError::Network { phase, text } => {
            ConsumeError::Network { phase, text: format!("{}: {text}", endpoint.address()) }
        }
        other => other,
    })
}

async fn upgrade(
    tcp: TcpStream,
    endpoint: &Endpoint,
    settings: &Settings,
) -> Result<Socket, ConsumeError> {
    tune(&tcp, settings).map_err(|error| ConsumeError::from_io(&error, Phase::Tcp))?;
    let socket = AsyncTcpStream::Plain(tcp.compat());
    if !endpoint.tls() {
        return Ok(socket);
    }
    let tls = OwnedTLSConfig::default();
    let handshake = socket.into_tls(&endpoint.uri.authority.host, tls.as_ref());
    within(settings.deadlines.tls, Phase::Tls, handshake).await
}

/// No delay; and let the kernel fail a write nobody acknowledges well before its own 15 minutes.
fn tune(tcp: &TcpStream, settings: &Settings) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    if settings.heartbeat > 0 {
        let patience = Duration::from_secs(u64::from(settings.heartbeat)) * 2;
        socket2::SockRef::from(tcp).set_tcp_user_timeout(Some(patience))?;
    }
    Ok(())
}
