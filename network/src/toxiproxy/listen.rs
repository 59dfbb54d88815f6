//! Where a proxy listens: an address as people write it, resolved and worded as Go does.

use std::{
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

/// The address for a `listen`, not yet bound. No host is every address, both kinds.
pub(super) async fn resolve(listen: &str) -> Result<SocketAddr, String> {
    let (host, port) = split(listen)?;
    let port = match port.parse::<i64>() {
        _ if port.is_empty() => 0,
        Ok(number) => match u16::try_from(number) {
            Ok(number) => number,
            Err(_) => return Err(format!("address {port}: invalid port")),
        },
        Err(_) => return Err(format!("lookup tcp/{port}: unknown port")),
    };
    if host.is_empty() {
        return Ok(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::from((ip, port)));
    }
    let unknown = || format!("lookup {host}: no such host");
    let found: Vec<SocketAddr> = match tokio::net::lookup_host((host, port)).await {
        Ok(found) => found.collect(),
        Err(_) => return Err(unknown()),
    };
    let first = found.iter().find(|addr| addr.is_ipv4()).or(found.first());
    first.copied().ok_or_else(unknown)
}

/// As Toxiproxy compares it with where a proxy listens already.
pub(super) async fn normalized(listen: &str) -> Result<String, String> {
    let addr = resolve(listen).await?;
    Ok(match split(listen) {
        Ok(("", _)) => format!(":{}", addr.port()),
        _ => addr.to_string(),
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

/// An error of the operating system's, without its number.
pub(super) fn error(error: &io::Error) -> String {
    let said = error.to_string();
    let said = said.split(" (os error").next().unwrap_or(&said);
    let mut letters = said.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

fn split(listen: &str) -> Result<(&str, &str), String> {
    if listen.is_empty() {
        return Ok(("", ""));
    }
    let wrong = |why: &str| Err(format!("address {listen}: {why}"));
    if let Some(rest) = listen.strip_prefix('[') {
        return match rest.split_once(']') {
            None => wrong("missing ']' in address"),
            Some((host, port)) => match port.strip_prefix(':') {
                Some(port) if !port.contains(':') => Ok((host, port)),
                Some(_) => wrong("too many colons in address"),
                None => wrong("missing port in address"),
            },
        };
    }
    match listen.rsplit_once(':') {
        None => wrong("missing port in address"),
        Some((host, _)) if host.contains(':') => wrong("too many colons in address"),
        Some((host, port)) => Ok((host, port)),
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
        check("foo", Err("address foo: missing port in address")).await;
        check("::1", Err("address ::1: too many colons in address")).await;
        check("[::1", Err("address [::1: missing ']' in address")).await;
        check("localhost:99999", Err("address 99999: invalid port")).await;
        check("localhost:x", Err("lookup tcp/x: unknown port")).await;
        assert_eq!(normalized(":0").await.as_deref(), Ok(":0"));
        assert_eq!(normalized("localhost:7").await.as_deref(), Ok("127.0.0.1:7"));
    }
}
