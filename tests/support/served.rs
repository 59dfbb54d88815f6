//! `gauntlet broker` at work: to the runs of a test, somebody else's broker.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// A busy machine gets this long for an answer.
const SOON: Duration = Duration::from_secs(20);

/// The program at work. Dropping it kills it.
pub struct Served {
    child: Child,
    _out: BufReader<ChildStdout>,
    /// `HOST:PORT` where AMQP is spoken.
    pub amqp: String,
    /// `HOST:PORT` of the management API.
    pub management: String,
}

impl Served {
    /// Starts it on any ports.
    pub fn start() -> Served {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gauntlet"));
        command.args(["broker", "--port", "0", "--management-port", "0"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        out.read_line(&mut line).expect("it says where it is");
        let after = |mark: &str, end: char| {
            let rest = line.split(mark).nth(1).unwrap_or_else(|| panic!("no {mark}: {line}"));
            rest.split(end).next().unwrap_or_default().to_owned()
        };
        let (amqp, management) = (after("@", '/'), after("http://", '/'));
        Served { child, _out: out, amqp, management }
    }

    /// A user who may do everything, or, with tags, one who may administer and nothing else.
    pub fn add_user(&self, name: &str, password: &str, tags: &str) {
        let body = format!(r#"{{"password":"{password}","tags":"{tags}"}}"#);
        let answer = self.ask("PUT", &format!("users/{name}"), &body);
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    }

    /// Makes a virtual host.
    pub fn add_vhost(&self, name: &str) {
        let answer = self.ask("PUT", &format!("vhosts/{name}"), "{}");
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    }

    /// The names of its virtual hosts but the usual one.
    pub fn vhosts(&self) -> Vec<String> {
        let answer = self.ask("GET", "vhosts", "");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        let all: serde_json::Value = serde_json::from_str(body).expect("JSON");
        let names = all.as_array().expect("a list").iter().map(|v| v["name"].as_str());
        names.flatten().filter(|name| *name != "/").map(str::to_owned).collect()
    }

    /// Stops it in its tracks: it answers nothing any more.
    pub fn freeze(&self) {
        let script = format!("kill -STOP {}", self.child.id());
        let status = Command::new("/bin/sh").args(["-c", &script]).status();
        assert!(status.expect("there is a shell").success(), "{script}");
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.management).expect("it listens");
        stream.set_read_timeout(Some(SOON)).expect("a timeout can be set");
        let length = body.len();
        let request = format!(
            "{method} /api/{path} HTTP/1.1\r\nHost: it\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\
             Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
