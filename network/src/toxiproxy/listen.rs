//! Where a proxy listens: an address as people write it, resolved and worded as Go does.

use std::{
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use tokio::net::TcpListener;

use crate::address;

/// The address for a `listen`, not yet bound. No host is every address, both kinds.
pub(super) async fn resolve(listen: &str) -> Result<SocketAddr, String> {
    let (host, port) = address::split(listen)?;
    let port = address::port(port)?;
    if host.is_empty() {
        return Ok(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    }
    let found = address::lookup(host, port).await?;
    let first = found.iter().find(|addr| addr.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| format!("lookup {host}: no such host"))
}

/// Listens for the API.
pub(super) async fn bind(addr: &str) -> io::Result<TcpListener> {
    let (host, port) = address::split(addr).map_err(io::Error::other)?;
    let port = address::port(port).map_err(io::Error::other)?;
    if host.is_empty() {
        return TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await;
    }
    let found = address::lookup(host, port).await.map_err(io::Error::other)?;
    TcpListener::bind(found.as_slice()).await
}

/// As Toxiproxy compares it with where a proxy listens already.
pub(super) async fn normalized(listen: &str) -> Result<String, String> {
    let addr = resolve(listen).await?;
    Ok(match address::split(listen) {
        Ok(("", _)) => format!(":{}", addr.port()),
        _ => address::written(addr),
    })
}

/// What is really bound: every IPv4 address is every address.
pub(super) fn bindable(addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => {
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, addr.port()))
        }
        _ => addr,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_are_read_as_go_reads_them() {
        async fn check(listen: &str, expect: Result<&str, &str>) {
            let got = resolve(listen).await.map(|addr| addr.to_string());
            assert_eq!(got.as_deref().map_err(String::as_str), expect, "{listen}");
        }
        check("", Ok("[::]:0")).await;
        check(":80", Ok("[::]:80")).await;
        check("localhost:80", Ok("127.0.0.1:80")).await;
        check("0.0.0.0:", Ok("0.0.0.0:0")).await;
        check("[::1]:80", Ok("[::1]:80")).await;
        check("127.0.0.1:amqp", Ok("127.0.0.1:5672")).await;
        check("[::1%0]:amqps", Ok("[::1]:5671")).await;
        check("foo", Err("address foo: missing port in address")).await;
        check("::1", Err("address ::1: too many colons in address")).await;
        check("[::1", Err("address [::1: missing ']' in address")).await;
        check("localhost:99999", Err("address 99999: invalid port")).await;
        check("localhost:x", Err("lookup tcp/x: unknown port")).await;
        assert_eq!(normalized(":0").await.as_deref(), Ok(":0"));
        assert_eq!(normalized("localhost:7").await.as_deref(), Ok("127.0.0.1:7"));
    }
}
