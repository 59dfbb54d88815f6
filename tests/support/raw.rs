//! A publisher that writes AMQP by hand: it sends what client libraries refuse to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A connection with channel 1 open and confirms on.
pub struct Raw {
    stream: TcpStream,
}

/// A short string of any bytes.
pub fn short(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).expect("short")], text].concat()
}

/// Any bytes behind their length in four bytes: a long string, a table, an array.
pub fn long(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).expect("small").to_be_bytes(), bytes].concat()
}

impl Raw {
    /// Connects with frames of up to 131072 bytes, as most clients do.
    pub fn connect(addr: SocketAddr, user: &str, password: &str, vhost: &str) -> Raw {
        let stream = TcpStream::connect(addr).expect("the broker is there");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        let mut raw = Raw { stream };
        raw.stream.write_all(b"AMQP\0\0\x09\x01").expect("it reads");
        raw.expect(10, 10);
        let login = long(format!("\0{user}\0{password}").as_bytes());
        raw.method(0, 10, 11, &[long(b""), short(b"PLAIN"), login, short(b"en_US")].concat());
        raw.expect(10, 30);
        // As many channels as there can be, frames of 128 KiB, no heartbeat.
        raw.method(0, 10, 31, &[&[7, 0xff], &131_072_u32.to_be_bytes()[..], &[0, 0]].concat());
        raw.method(0, 10, 40, &[short(vhost.as_bytes()), vec![0, 0]].concat());
        raw.expect(10, 41);
        raw.method(1, 20, 10, &[0]);
        raw.expect(20, 11);
        raw.method(1, 85, 10, &[0]);
        raw.expect(85, 11);
        raw
    }

    /// Publishes the body `x` with these properties, encoded behind their flags, and waits for the confirm.
    pub fn publish(&mut self, exchange: &[u8], key: &[u8], flags: u16, properties: &[u8]) {
        self.method(1, 60, 40, &[vec![0, 0], short(exchange), short(key), vec![0]].concat());
        let size = 1_u64.to_be_bytes();
        let header = [&[0, 60, 0, 0][..], &size, &flags.to_be_bytes(), properties].concat();
        self.frame(2, 1, &header);
        self.frame(3, 1, b"x");
        self.expect(60, 80);
    }

    /// Declares a topic exchange of any name, and binds the queue to all of it.
    pub fn bind_all(&mut self, exchange: &[u8], queue: &[u8]) {
        let declare = [vec![0, 0], short(exchange), short(b"topic"), vec![0], long(b"")].concat();
        self.method(1, 40, 10, &declare);
        self.expect(40, 11);
        let bind = [vec![0, 0], short(queue), short(exchange), short(b"#"), vec![0], long(b"")];
        self.method(1, 50, 20, &bind.concat());
        self.expect(50, 21);
    }

    fn method(&mut self, channel: u16, class: u16, method: u16, arguments: &[u8]) {
        let payload = [&class.to_be_bytes()[..], &method.to_be_bytes(), arguments].concat();
        self.frame(1, channel, &payload);
    }

    fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let frame = [&[kind][..], &channel.to_be_bytes(), &long(payload), &[0xce]].concat();
        self.stream.write_all(&frame).expect("it reads");
    }

    fn expect(&mut self, class: u16, method: u16) {
        let mut head = [0; 7];
        self.stream.read_exact(&mut head).expect("the broker answers");
        let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
        let mut payload = vec![0; usize::try_from(size).expect("small") + 1];
        self.stream.read_exact(&mut payload).expect("the broker answers");
        let wanted = [class.to_be_bytes(), method.to_be_bytes()].concat();
        assert!(payload.starts_with(&wanted), "{class}.{method} expected, not {payload:?}");
    }
}
