//! Plays a script against a broker and writes the trace: what was sent (`>`), every frame that
//! came (`<`). A script waits for replies, never for time; what is left unread shows at its end.
//!
//! | line | does |
//! |---|---|
//! | `connect a` | a TCP connection named a, nothing sent |
//! | `open a vhost=.. user=.. password=.. frame_max=.. caps=none` | a whole handshake, not traced |
//! | `a1 queue.declare queue=q` | a method on channel 1 of a; waits if it has a reply |
//! | `a1& queue.declare queue=q` | the same without waiting |
//! | `a1 header class=60 size=5`, `a1 body "x"` | content by hand |
//! | `a1 settle q` | proves that nothing more comes: two round trips, by way of the queue |
//! | `a send "octets"`, `a heartbeat`, `a drop`, `a manual` | raw octets, and so on |
//! | `a frame type=1 channel=1 payload="" end=206` | a frame by hand |
//! | `wait a1 basic.deliver*2 basic.return` | reads until these came; sorted in the order of the list |
//! | `wait a 1:basic.deliver 2:basic.deliver` | the same on several channels |
//! | `confirms a1 3` | reads until the tags to 3 are confirmed; acks of several are unfolded |
//! | `eventually a queue.declare queue=q passive=1 => messages=0` | asks until the answer says so |
//! | `admin user u pw`, `admin permissions ..`, `admin policy ..` | see `target.rs` |
//!
//! `VHOST` is the case's own virtual host. Names the broker makes up are numbered in order of
//! appearance: `amq.gen-1`, `amq.ctag-1`.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, interval};

use super::spec;
use super::target::Target;
use super::value::{Table, Text, Value};
use super::wire::{Conn, Received, body, encode, frame, header};

/// How long an answer may take to become what it should be.
const EVENTUALLY: Duration = Duration::from_secs(15);

/// Prefixes of names made up by the broker; what follows differs from run to run.
const MADE_UP: &[&str] = &["amq.gen-", "amq.ctag-", "amq.rabbitmq.reply-to."];

pub struct Runner<'a> {
    target: &'a Target,
    vhost: String,
    conns: BTreeMap<String, Conn>,
    trace: String,
    /// Made-up names: the name and the alias it has in traces and scripts.
    names: Vec<(String, String)>,
    /// The last channel used by `eventually`.
    spare: u16,
}

impl<'a> Runner<'a> {
    pub fn new(target: &'a Target, vhost: &str) -> Runner<'a> {
        Runner {
            target,
            vhost: vhost.to_owned(),
            conns: BTreeMap::new(),
            trace: String::new(),
            names: Vec::new(),
            spare: 1000,
        }
    }

    /// Plays every line, closes what is still open, and gives the trace.
    pub async fn play(mut self, script: &str) -> String {
        for line in script.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            self.trace.push_str(&format!("> {line}\n"));
            let mut line = line.replace("VHOST", &self.vhost);
            for (name, alias) in self.names.iter().rev() {
                line = line.replace(alias, name);
            }
            self.step(&line).await;
        }
        let left: Vec<String> = self.conns.keys().cloned().collect();
        for conn in left {
            self.close(&conn).await;
        }
        self.trace
    }

    async fn step(&mut self, line: &str) {
        let (head, rest) = line.split_once(' ').unwrap_or((line, ""));
        match head {
            "connect" => {
                self.connect(rest).await;
            }
            "open" => self.open(rest).await,
            "wait" => self.wait(rest).await,
            "confirms" => self.confirms(rest).await,
            "eventually" => self.eventually(rest).await,
            "admin" => self.target.admin(&self.vhost, rest).await,
            _ => self.on_conn(head, rest).await,
        }
    }

    async fn connect(&mut self, name: &str) -> &mut Conn {
        let conn = Conn::connect(self.target.addr()).await.expect("the broker accepts");
        self.conns.insert(name.to_owned(), conn);
        self.conn(name)
    }

    fn conn(&mut self, name: &str) -> &mut Conn {
        self.conns.get_mut(name).unwrap_or_else(|| panic!("no connection {name}"))
    }

    async fn open(&mut self, rest: &str) {
        let (name, options) = rest.split_once(' ').unwrap_or((rest, ""));
        let options = Text(options).pairs();
        let vhost = self.vhost.clone();
        let text = |key: &str, default: &str| match option(&options, key) {
            Some(Value::Str(s)) => String::from_utf8_lossy(s).into_owned(),
            _ => default.to_owned(),
        };
        let number = |key: &str, default: i128| match option(&options, key) {
            Some(Value::Int(n, _)) => *n,
            _ => default,
        };
        let (user, password) = (text("user", "guest"), text("password", "guest"));
        let capabilities = match text("caps", "all").as_str() {
            "none" => "",
            _ => {
                "publisher_confirms: true, exchange_exchange_bindings: true, basic.nack: true, \
                 consumer_cancel_notify: true, connection.blocked: true, \
                 authentication_failure_close: true"
            }
        };
        let frame_max = number("frame_max", 131_072);
        self.connect(name).await.frame_max = frame_max as usize;
        self.conn(name).send(b"AMQP\x00\x00\x09\x01").await;
        for line in [
            format!(
                "connection.start-ok mechanism=PLAIN locale=en_US \
                 response=\"\\0{user}\\0{password}\" \
                 client_properties={{capabilities: {{{capabilities}}}}}"
            ),
            format!("connection.tune-ok channel_max=2047 frame_max={frame_max} heartbeat=0"),
            format!("connection.open virtual_host=\"{}\"", text("vhost", &vhost)),
        ] {
            let (method, fields) = line.split_once(' ').expect("a method and fields");
            let method = spec::by_name(method).expect("a known method");
            let octets = encode(method, 0, &Text(fields).pairs(), 4096);
            self.conn(name).send(&octets).await;
        }
        loop {
            let received = self.conn(name).read().await;
            match received.name {
                "connection.open-ok" => return,
                "connection.start" | "connection.tune" => {}
                _ => {
                    self.note(name, &received);
                    if received.name == "connection.close" {
                        self.answer_close(name, &received).await;
                    }
                    if received.is_end() {
                        return;
                    }
                }
            }
        }
    }

    async fn on_conn(&mut self, head: &str, rest: &str) {
        let pipelined = head.ends_with('&');
        let head = head.trim_end_matches('&');
        let at = head.find(|c: char| c.is_ascii_digit()).unwrap_or(head.len());
        let (name, channel) = head.split_at(at);
        let channel = channel.parse().unwrap_or(0);
        let (verb, fields) = rest.split_once(' ').unwrap_or((rest, ""));
        match verb {
            "send" => {
                let Value::Str(octets) = Text(fields).value() else { panic!("send \"octets\"") };
                self.conn(name).send(&octets).await;
            }
            "drop" => self.conn(name).drop_it(),
            "manual" => self.conn(name).manual = true,
            "heartbeat" => self.conn(name).send(&frame(8, 0, b"")).await,
            "frame" => {
                let octets = raw_frame(&Text(fields).pairs());
                self.conn(name).send(&octets).await;
            }
            "header" => {
                let pairs = Text(fields).pairs();
                let octets = header(
                    channel,
                    int(&pairs, "class", 60) as u16,
                    int(&pairs, "size", 0) as u64,
                    &pairs,
                );
                self.conn(name).send(&octets).await;
            }
            "body" => {
                let Value::Str(octets) = Text(fields).value() else { panic!("body \"octets\"") };
                self.conn(name).send(&body(channel, &octets)).await;
            }
            "settle" => {
                let declare = format!("queue.declare queue={fields} passive=true");
                self.method(name, channel, &declare, false).await;
                self.method(name, channel, "channel.flow active=true", false).await;
            }
            _ => self.method(name, channel, rest, pipelined).await,
        }
    }

    async fn method(&mut self, name: &str, channel: u16, line: &str, pipelined: bool) {
        let (verb, fields) = line.split_once(' ').unwrap_or((line, ""));
        let method = spec::by_name(verb).unwrap_or_else(|| panic!("no method {verb}"));
        let pairs = Text(fields).pairs();
        let frame_max = self.conn(name).frame_max;
        self.conn(name).send(&encode(method, channel, &pairs, frame_max)).await;
        let nowait = int(&pairs, "nowait", 0) != 0;
        if !pipelined && !nowait && !method.replies.is_empty() {
            let replies: Vec<(u16, String)> =
                method.replies.iter().map(|r| (channel, (*r).to_owned())).collect();
            self.read_until(name, channel, |got| {
                replies.iter().any(|(c, r)| got.iter().any(|g| g.channel == *c && g.name == r))
            })
            .await;
        }
    }

    /// Reads until `done`, or the channel or the connection is closed, and writes what came.
    async fn read_until(
        &mut self,
        name: &str,
        channel: u16,
        done: impl Fn(&[Received]) -> bool,
    ) -> Vec<Received> {
        let mut got = Vec::new();
        while !done(&got) {
            let received = self.conn(name).read().await;
            if received.name == "heartbeat" {
                continue;
            }
            let ends = received.is_end()
                || received.name == "connection.close"
                || (received.name == "channel.close" && received.channel == channel);
            got.push(received);
            if ends {
                break;
            }
        }
        // Channels are independent of each other: only the order within one means something.
        got.sort_by_key(|r| if r.channel == 0 { u32::MAX } else { u32::from(r.channel) });
        // A confirm comes when it comes: it is shown by `confirms`.
        for received in got.iter().filter(|r| !is_confirm(r)) {
            self.note(name, received);
            self.answer_close(name, received).await;
        }
        got
    }

    /// Answers a close as every client must, and sees a connection to its end.
    async fn answer_close(&mut self, name: &str, received: &Received) {
        if self.conn(name).manual {
            return;
        }
        let reply = match received.name {
            "channel.close" => "channel.close-ok",
            "connection.close" => "connection.close-ok",
            _ => return,
        };
        let method = spec::by_name(reply).expect("a known method");
        let octets = encode(method, received.channel, &Vec::new(), 4096);
        self.conn(name).send(&octets).await;
        if received.channel == 0 {
            let last = self.conn(name).read().await;
            self.note(name, &last);
        }
    }

    async fn wait(&mut self, rest: &str) {
        let (head, wanted) = rest.split_once(' ').expect("wait conn names");
        let at = head.find(|c: char| c.is_ascii_digit()).unwrap_or(head.len());
        let (name, channel) = head.split_at(at);
        let channel: u16 = channel.parse().unwrap_or(0);
        let wanted: Vec<(u16, &str, usize)> = wanted
            .split_whitespace()
            .map(|word| {
                let (word, count) = word.split_once('*').unwrap_or((word, "1"));
                let (on, method) = match word.split_once(':') {
                    Some((on, method)) => (on.parse().expect("a channel"), method),
                    None => (channel, word),
                };
                (on, method, count.parse().expect("a count"))
            })
            .collect();
        let order: Vec<&str> = wanted.iter().map(|w| w.1).collect();
        let mut got = Vec::new();
        loop {
            let missing = wanted.iter().any(|(on, method, count)| {
                let is = |r: &&Received| r.channel == *on && r.name == *method;
                got.iter().filter(is).count() < *count
            });
            if !missing {
                break;
            }
            let received = self.conn(name).read().await;
            let ends = received.is_end() || received.name == "connection.close";
            if received.name != "heartbeat" || order.contains(&"heartbeat") {
                got.push(received);
            }
            if ends {
                break;
            }
        }
        got.sort_by_key(|r| {
            let at = order.iter().position(|name| *name == r.name).unwrap_or(order.len());
            (if r.channel == 0 { u32::MAX } else { u32::from(r.channel) }, at)
        });
        for received in got.iter().filter(|r| !is_confirm(r) || order.contains(&r.name)) {
            self.note(name, received);
            self.answer_close(name, received).await;
        }
    }

    async fn confirms(&mut self, rest: &str) {
        let (head, upto) = rest.split_once(' ').expect("confirms conn tag");
        let at = head.find(|c: char| c.is_ascii_digit()).expect("a channel");
        let (name, channel) = head.split_at(at);
        let channel: u16 = channel.parse().expect("a channel");
        let upto: i128 = upto.parse().expect("a tag");
        let all = |conn: &Conn| (1..=upto).all(|tag| conn.confirms.contains_key(&(channel, tag)));
        while !all(self.conn(name)) {
            let received = self.conn(name).read().await;
            if !is_confirm(&received) && received.name != "heartbeat" {
                self.note(name, &received);
                self.answer_close(name, &received).await;
            }
            if received.is_end() || received.name.ends_with(".close") {
                break;
            }
        }
        let confirms = &self.conn(name).confirms;
        let list: Vec<String> = (1..=upto)
            .filter_map(|tag| Some((tag, confirms.get(&(channel, tag))?)))
            .map(|(tag, ack)| format!("{tag} {}", if *ack { "ack" } else { "nack" }))
            .collect();
        self.trace.push_str(&format!("< {name}{channel} confirmed: {}\n", list.join(", ")));
    }

    /// Asks again and again on channels of its own until an answer contains the text wanted.
    async fn eventually(&mut self, rest: &str) {
        let (question, wanted) = rest.split_once(" => ").expect("eventually conn method => text");
        let (name, question) = question.split_once(' ').expect("a connection and a method");
        let deadline = Instant::now() + EVENTUALLY;
        let mut pause = interval(Duration::from_millis(20));
        loop {
            pause.tick().await;
            self.spare += 1;
            let channel = self.spare;
            let before = self.trace.len();
            self.method(name, channel, "channel.open", false).await;
            let asked = self.trace.len();
            self.method(name, channel, question, false).await;
            let answer = self.trace.split_off(asked);
            self.trace.truncate(before);
            if answer.contains(wanted) || Instant::now() > deadline {
                self.trace.push_str(&answer.replace(&format!("< {name}{channel} "), "< "));
                return;
            }
        }
    }

    /// Closes in order, so that whatever was not waited for is in the trace.
    async fn close(&mut self, name: &str) {
        let before = self.trace.len();
        self.method(name, 0, "connection.close reply_code=200", false).await;
        let last = self.trace.split_off(before);
        for line in
            last.lines().filter(|l| !l.ends_with(" connection.close-ok") && !l.ends_with(" closed"))
        {
            self.trace.push_str(&format!("{line}\n"));
        }
    }

    fn note(&mut self, conn: &str, received: &Received) {
        let at = match (received.channel, received.name) {
            (_, "closed" | "nothing" | "protocol" | "heartbeat") => conn.to_owned(),
            (channel, _) => format!("{conn}{channel}"),
        };
        let text = self.alias(&received.text);
        self.trace.push_str(&format!("< {at} {text}\n"));
    }

    /// Replaces what differs from run to run by what does not.
    fn alias(&mut self, text: &str) -> String {
        let mut text = text.replace(&self.vhost, "VHOST");
        for prefix in MADE_UP {
            let mut from = 0;
            while let Some(at) = text[from..].find(prefix).map(|at| at + from) {
                let rest = &text[at + prefix.len()..];
                let end = rest.find(|c: char| !(c.is_alphanumeric() || "-_+/=.".contains(c)));
                let end = at + prefix.len() + end.unwrap_or(rest.len());
                let name = text[at..end].to_owned();
                let known = self.names.iter().find(|(known, _)| *known == name);
                let alias = match known {
                    Some((_, alias)) => alias.clone(),
                    None => {
                        let same = self.names.iter().filter(|n| n.1.starts_with(prefix)).count();
                        let alias = format!("{prefix}{}", same + 1);
                        self.names.push((name, alias.clone()));
                        alias
                    }
                };
                text.replace_range(at..end, &alias);
                from = at + alias.len();
            }
        }
        text
    }
}

fn is_confirm(received: &Received) -> bool {
    matches!(received.name, "basic.ack" | "basic.nack")
}

fn option<'t>(pairs: &'t Table, name: &str) -> Option<&'t Value> {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

fn int(pairs: &Table, name: &str, default: i128) -> i128 {
    match option(pairs, name) {
        Some(Value::Int(n, _)) => *n,
        Some(Value::Bool(b)) => i128::from(*b),
        _ => default,
    }
}

fn raw_frame(pairs: &Table) -> Vec<u8> {
    let payload = match option(pairs, "payload") {
        Some(Value::Str(payload)) => payload.clone(),
        _ => Vec::new(),
    };
    let mut octets = frame(int(pairs, "type", 1) as u8, int(pairs, "channel", 0) as u16, &payload);
    if let Some(Value::Int(size, _)) = option(pairs, "size") {
        octets[3..7].copy_from_slice(&(*size as u32).to_be_bytes());
    }
    *octets.last_mut().expect("a frame has an end") = int(pairs, "end", 0xce) as u8;
    octets
}
