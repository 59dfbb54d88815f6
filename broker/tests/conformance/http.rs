//! One HTTP request to RabbitMQ's management API: all that a case needs beside AMQP.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// `http://user:password@host:port`, taken apart.
pub struct Management {
    addr: String,
    credentials: String,
}

impl Management {
    pub fn new(url: &str) -> Management {
        let rest = url.strip_prefix("http://").expect("a management URL begins with http://");
        let (user, addr) = rest.split_once('@').expect("a management URL has a user");
        Management {
            addr: addr.trim_end_matches('/').to_owned(),
            credentials: base64(user.as_bytes()),
        }
    }

    /// Sends a request and panics unless it succeeds: a case cannot go on without.
    pub async fn request(&self, method: &str, path: &str, body: &str) {
        let mut stream = TcpStream::connect(&self.addr).await.expect("management accepts");
        let request = format!(
            "{method} /api/{path} HTTP/1.1\r\nHost: conformance\r\nConnection: close\r\n\
             Authorization: Basic {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.credentials,
            body.len()
        );
        stream.write_all(request.as_bytes()).await.expect("management reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("management answers");
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(status.starts_with('2'), "{method} {path} failed: {answer}");
    }
}

/// A path segment: everything but the plainest characters escaped.
pub fn segment(name: &str) -> String {
    name.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => (b as char).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in octets.chunks(3) {
        let n = three.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - three.len()));
        for at in 0..4 {
            let digit = DIGITS[(n >> (18 - 6 * at)) as usize & 63] as char;
            out.push(if at <= three.len() { digit } else { '=' });
        }
    }
    out
}
