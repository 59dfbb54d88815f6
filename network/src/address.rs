//! Addresses as people write them: a host and a port, where a port may be a service's name
//! (`localhost:amqp`) and an IPv6 address may have a zone (`[fe80::1%eth0]:5672`). Errors are worded as
//! Go words them, because Toxiproxy's clients read them.

use std::{
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6},
};

/// Ports that have a name everywhere, also where there is no `/etc/services`.
const WELL_KNOWN: &[(&str, u16)] = &[
    ("http", 80),
    ("https", 443),
    ("amqp", 5672),
    ("amqps", 5671),
    ("postgresql", 5432),
    ("mysql", 3306),
    ("redis", 6379),
];

/// Splits an address into its host (without brackets, with its zone) and its port. Nothing is neither.
pub(crate) fn split(address: &str) -> Result<(&str, &str), String> {
    if address.is_empty() {
        return Ok(("", ""));
    }
    let wrong = |why: &str| Err(format!("address {address}: {why}"));
    if let Some(rest) = address.strip_prefix('[') {
        return match rest.split_once(']') {
            None => wrong("missing ']' in address"),
            Some((host, port)) => match port.strip_prefix(':') {
                Some(port) if !port.contains(':') => Ok((host, port)),
                Some(_) => wrong("too many colons in address"),
                None => wrong("missing port in address"),
            },
        };
    }
    match address.rsplit_once(':') {
        None => wrong("missing port in address"),
        Some((host, _)) if host.contains(':') => wrong("too many colons in address"),
        Some((host, port)) => Ok((host, port)),
    }
}

/// A port: a number, or the name of a TCP service. No port is 0.
pub(crate) fn port(port: &str) -> Result<u16, String> {
    match port.parse::<i64>() {
        _ if port.is_empty() => Ok(0),
        Ok(number) => u16::try_from(number).map_err(|_| format!("address {port}: invalid port")),
        Err(_) => service(port).ok_or_else(|| format!("lookup tcp/{port}: unknown port")),
    }
}

fn service(name: &str) -> Option<u16> {
    let listed = std::fs::read_to_string("/etc/services").unwrap_or_default();
    let known = || WELL_KNOWN.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    listed_in(&listed, name).or_else(|| known().map(|(_, port)| *port))
}

/// What a file of services says of a name: `NAME PORT/tcp ALIAS...`, and comments.
fn listed_in(services: &str, name: &str) -> Option<u16> {
    services.lines().find_map(|line| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let (official, place) = (words.next()?, words.next()?);
        let port = place.strip_suffix("/tcp")?;
        let mut names = words.chain([official]);
        names.any(|known| known.eq_ignore_ascii_case(name)).then(|| port.parse().ok())?
    })
}

/// An IP address with or without a zone. A zone is the name or the number of a network interface; as in
/// Go, one that does not exist counts as none.
pub(crate) fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    match host.split_once('%') {
        None => host.parse::<IpAddr>().ok().map(|ip| SocketAddr::from((ip, port))),
        Some((ip, zone)) if !zone.is_empty() => {
            let ip = ip.parse::<Ipv6Addr>().ok()?;
            Some(SocketAddrV6::new(ip, port, 0, index(zone)).into())
        }
        Some(_) => None,
    }
}

/// The number of a network interface.
fn index(zone: &str) -> u32 {
    zone.parse().ok().or_else(|| index_of(zone)).unwrap_or(0)
}

#[cfg(target_os = "linux")]
fn index_of(name: &str) -> Option<u32> {
    // A name has no separators: nothing but an interface is looked at.
    let name = Some(name).filter(|name| !name.contains(['/', '\0']) && !name.starts_with('.'))?;
    let read = std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex")).ok()?;
    read.trim().parse().ok()
}

#[cfg(not(target_os = "linux"))]
fn index_of(_name: &str) -> Option<u32> {
    None
}

/// The name of a network interface, or its number where it has none.
#[cfg(target_os = "linux")]
fn name_of(index: u32) -> String {
    let interfaces = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let mut names = interfaces.filter_map(|entry| entry.file_name().into_string().ok());
    names.find(|name| index_of(name) == Some(index)).unwrap_or_else(|| index.to_string())
}

#[cfg(not(target_os = "linux"))]
fn name_of(index: u32) -> String {
    index.to_string()
}

/// An address as Go writes it: the zone by name.
pub(crate) fn written(addr: SocketAddr) -> String {
    match addr {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => {
            format!("[{}%{}]:{}", v6.ip(), name_of(v6.scope_id()), v6.port())
        }
        addr => addr.to_string(),
    }
}

/// Every address that a host and a port stand for, in the resolver's order; at least one.
pub(crate) async fn lookup(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    if let Some(addr) = literal(host, port) {
        return Ok(vec![addr]);
    }
    match tokio::net::lookup_host((host, port)).await.map(Vec::from_iter) {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(format!("lookup {host}: no such host")),
        Err(error) if is_exhausted(&error) => Err(format!("lookup {host}: {}", worded(&error))),
        Err(_) => Err(format!("lookup {host}: no such host")),
    }
}

/// Whether there was no descriptor left, for this process or the whole machine.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    // EMFILE and ENFILE have these numbers on every Unix.
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

/// An error of the operating system's, as Go words it: in lower case and without its number.
pub(crate) fn worded(error: &io::Error) -> String {
    let said = error.to_string();
    let said = said.split(" (os error").next().unwrap_or(&said);
    let mut letters = said.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_a_number_or_a_service() {
        let check = |text: &str, expect: Result<u16, &str>| {
            assert_eq!(
                port(text).as_ref().map_err(String::as_str),
                expect.as_ref().map_err(|e| *e)
            );
        };
        check("", Ok(0));
        check("80", Ok(80));
        check("amqp", Ok(5672));
        check("AMQP", Ok(5672));
        check("https", Ok(443));
        check("99999", Err("address 99999: invalid port"));
        check("-1", Err("address -1: invalid port"));
        check("no-such-service", Err("lookup tcp/no-such-service: unknown port"));
        let services = "# a comment\nwww 81/udp\nweb 8080/tcp www http-alt # more\nbad x/tcp\n";
        assert_eq!(listed_in(services, "www"), Some(8080));
        assert_eq!(listed_in(services, "Web"), Some(8080));
        assert_eq!(listed_in(services, "bad"), None);
        assert_eq!(listed_in(services, "more"), None);
    }

    #[test]
    fn a_zone_is_an_interface() {
        let check = |host: &str, expect: Option<(&str, u32)>| {
            let got = literal(host, 5).map(|addr| match addr {
                SocketAddr::V6(v6) => (v6.ip().to_string(), v6.scope_id()),
                SocketAddr::V4(v4) => (v4.ip().to_string(), 0),
            });
            assert_eq!(got.as_ref().map(|(ip, zone)| (ip.as_str(), *zone)), expect, "{host}");
        };
        check("127.0.0.1", Some(("127.0.0.1", 0)));
        check("::1%7", Some(("::1", 7)));
        check("fe80::1%no-such-interface", Some(("fe80::1", 0)));
        check("::1%../lo", Some(("::1", 0)));
        check("::1%", None);
        check("127.0.0.1%lo", None);
        check("localhost", None);
        if let Some(lo) = index_of("lo") {
            check("::1%lo", Some(("::1", lo)));
            let addr = literal("fe80::1%lo", 5).expect("an address");
            assert_eq!(written(addr), "[fe80::1%lo]:5");
        }
    }
}
