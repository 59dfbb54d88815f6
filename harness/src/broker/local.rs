//! A private RabbitMQ node: processes of this machine, with their own names, ports, files and cookie.
//!
//! Nothing of it is shared with a RabbitMQ installed here, and nothing is left of it after [`Local::stop`].

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::error::io;
use super::owner::RunId;
use super::place::{self, Mark, VARIABLE};
use super::ports::Port;
use super::reaper::Reaper;
use super::server::Programs;
use super::wait::{Not, until, with_log};
use super::{BrokerError, Restart, conf};
use crate::limits;
use crate::whose::group_listens;

/// A node asked to stop; with many queues it was seen to take seconds.
const STOPPING: Duration = Duration::from_secs(60);
/// SIGKILL, until the last child has gone.
const KILLING: Duration = Duration::from_secs(15);

/// What is said of a port that somebody else has.
const TAKEN: &str = "held by another program";

/// Whether a node did not start because somebody else had taken one of its ports meanwhile.
pub(super) fn port_taken(error: &BrokerError) -> bool {
    let BrokerError::NotReady { missing, log, .. } = error else { return false };
    // The last two are epmd's own words.
    let words = ["eaddrinuse", "Address already in use", "already a epmd running"];
    missing.contains(TAKEN) || words.iter().any(|words| log.contains(words))
}

impl super::Broker {
    /// Its processes, where it is a local RabbitMQ that runs: the virtual machine that does all its work.
    pub(crate) fn processes(&self) -> Vec<u32> {
        match &self.node {
            super::Node::Local(local) => local.process().into_iter().collect(),
            _ => Vec::new(),
        }
    }
}

/// One node.
pub(super) struct Local {
    programs: Programs,
    mark: Mark,
    dir: PathBuf,
    ports: Ports,
    state: Mutex<State>,
}

struct Ports {
    amqp: Port,
    management: Port,
    distribution: Port,
    epmd: Port,
}

#[derive(Default)]
struct State {
    /// The virtual machine: RabbitMQ's script becomes it.
    node: Option<Child>,
    epmd: Option<Child>,
    reaper: Option<Reaper>,
    app_stopped: bool,
}

impl Local {
    /// Starts the processes. Whether it answers is for the caller to wait for.
    pub(super) async fn start(programs: Programs, run: &RunId) -> Result<Local, BrokerError> {
        let mark = Mark::new(run);
        let root = place::make_root()?;
        let ports = Ports::reserve(&root, &mark)?;
        let dir = root.join(mark.to_string());
        let mut paths = ports.all().map(Port::link).to_vec();
        paths.push(&dir);
        let reaper = Reaper::start(&mark, "", &paths)?;
        let state = State { reaper: Some(reaper), ..State::default() };
        let local = Local { programs, mark, dir, ports, state: Mutex::new(state) };
        // From here on an error leaves the reaper behind, who removes what was made.
        local.write_files()?;
        if let Err(error) = local.start_epmd().await {
            local.stop().await?;
            return Err(error);
        }
        local.start_node(&mut *local.state.lock().await)?;
        Ok(local)
    }

    fn process(&self) -> Option<u32> {
        // While it goes down or comes up there is nothing to watch.
        self.state.try_lock().ok()?.node.as_ref()?.id()
    }

    pub(super) fn amqp(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.amqp.number).into()
    }

    pub(super) fn management(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.management.number)
    }

    /// Why it will not answer any more, if that is so.
    pub(super) async fn gone(&self) -> Option<String> {
        match self.state.lock().await.node.as_mut()?.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(format!("the node ended with {status}")),
            Err(error) => Some(format!("the node cannot be waited for: {error}")),
        }
    }

    /// Takes it down; done when nothing listens any more.
    pub(super) async fn down(&self, how: Restart) -> Result<(), BrokerError> {
        let mut state = self.state.lock().await;
        match how {
            Restart::App => {
                self.ctl(&["stop_app"]).await?;
                state.app_stopped = true;
                Ok(())
            }
            Restart::Graceful => self.end_node(&mut state, Signal::TERM, STOPPING).await,
            Restart::Kill => self.end_node(&mut state, Signal::KILL, KILLING).await,
        }
    }

    /// Brings back what [`Local::down`] took.
    pub(super) async fn up(&self) -> Result<(), BrokerError> {
        let mut state = self.state.lock().await;
        if state.node.is_none() {
            self.start_node(&mut state)?;
        } else if state.app_stopped {
            self.ctl(&["start_app"]).await?;
        }
        state.app_stopped = false;
        Ok(())
    }

    /// Ends every process, and removes every file.
    pub(super) async fn stop(&self) -> Result<(), BrokerError> {
        let mut state = self.state.lock().await;
        self.end_node(&mut state, Signal::KILL, KILLING).await?;
        if let Some(mut epmd) = state.epmd.take() {
            epmd.kill().await.map_err(io("kill epmd"))?;
        }
        until("see the broker's processes go", KILLING, || async {
            let mut left = place::processes();
            left.retain(|(_, mark)| *mark == self.mark);
            left.iter().for_each(|(pid, _)| place::kill(*pid));
            if left.is_empty() {
                Ok(())
            } else {
                Err(Not::Yet(format!("there are still {left:?}")))
            }
        })
        .await?;
        match tokio::fs::remove_dir_all(&self.dir).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io(format!("remove {}", self.dir.display()))(error));
            }
            _ => {}
        }
        self.ports.all().iter().for_each(|port| port.release());
        place::remove_root_if_empty();
        match state.reaper.take() {
            Some(reaper) => reaper.dismiss().await,
            None => Ok(()),
        }
    }

    /// The whole log, since the first start.
    pub(super) async fn log(&self) -> String {
        let text = tokio::fs::read(self.log_path()).await.unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("broker.log")
    }

    fn write_files(&self) -> Result<(), BrokerError> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        for dir in ["home", "data", "log", "generated", "schema"] {
            let dir = self.dir.join(dir);
            builder.create(&dir).map_err(io(format!("make the directory {}", dir.display())))?;
        }
        let conf =
            conf::local(Ipv4Addr::LOCALHOST, self.ports.amqp.number, self.ports.management.number);
        let cookie: u64 = rand::random();
        write(&self.dir.join("rabbitmq.conf"), 0o600, &conf)?;
        write(&self.dir.join("advanced.config"), 0o600, "[].\n")?;
        write(&self.dir.join("enabled_plugins"), 0o600, conf::PLUGINS)?;
        write(&self.dir.join("home/.erlang.cookie"), 0o400, &format!("GAUNTLET{cookie:016X}"))
    }

    /// A program with nothing of our environment but the PATH, and in a group of its own.
    fn command(&self, program: &Path) -> Command {
        let file = |name: &str| self.dir.join(name);
        let mut command = Command::new(program);
        command.env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()));
        command
            .env(VARIABLE, self.mark.to_string())
            .env("LANG", "C.UTF-8")
            .env("HOME", file("home"));
        command.env("ERL_EPMD_PORT", self.ports.epmd.number.to_string());
        command.env("ERL_EPMD_ADDRESS", "127.0.0.1");
        command.env("ERL_CRASH_DUMP_SECONDS", "0");
        command.env("RABBITMQ_NODENAME", format!("gauntlet{}@localhost", self.ports.amqp.number));
        command.env("RABBITMQ_DIST_PORT", self.ports.distribution.number.to_string());
        command.env("RABBITMQ_CONF_ENV_FILE", "/dev/null").env("RABBITMQ_LOGS", "-");
        for (variable, name) in [
            ("RABBITMQ_MNESIA_BASE", "data"),
            ("RABBITMQ_LOG_BASE", "log"),
            ("RABBITMQ_CONFIG_FILE", "rabbitmq.conf"),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", "advanced.config"),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", "enabled_plugins"),
            ("RABBITMQ_GENERATED_CONFIG_DIR", "generated"),
            ("RABBITMQ_SCHEMA_DIR", "schema"),
            ("RABBITMQ_PID_FILE", "pid"),
        ] {
            command.env(variable, file(name));
        }
        command.current_dir(&self.dir).process_group(0).stdin(Stdio::null());
        command
    }

    fn log_file(&self) -> Result<File, BrokerError> {
        let path = self.log_path();
        let open = OpenOptions::new().create(true).append(true).open(&path);
        open.map_err(io(format!("open {}", path.display())))
    }

    fn spawn(&self, mut command: Command) -> Result<Child, BrokerError> {
        let log = self.log_file()?;
        command.stdout(log.try_clone().map_err(io("share the log file"))?).stderr(log);
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        let child = command.spawn().map_err(io(format!("start {program}")))?;
        let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        pid.into_iter().for_each(limits::restore_in);
        Ok(child)
    }

    /// Before the node, or the node leaves one behind that serves the whole machine.
    async fn start_epmd(&self) -> Result<(), BrokerError> {
        let port = self.ports.epmd.number;
        let mut command = self.command(&self.programs.epmd);
        command.args(["-port", &port.to_string(), "-address", "127.0.0.1"]);
        let mut child = self.spawn(command)?;
        let group = child.id();
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listening = until("start epmd", Duration::from_secs(10), || {
            let ended = child.try_wait();
            async move {
                if let Ok(Some(status)) = ended {
                    return Err(Not::Ever(format!("it ended with {status}")));
                }
                let connect = TcpStream::connect(addr).await;
                connect.map_err(|error| Not::Yet(format!("port {port}: {error}")))?;
                match group.and_then(|group| group_listens(group, addr)) {
                    Some(false) => Err(Not::Ever(format!("port {port} is {TAKEN}"))),
                    Some(true) | None => Ok(()),
                }
            }
        })
        .await;
        self.state.lock().await.epmd = Some(child);
        match listening {
            Ok(()) => Ok(()),
            Err(error) => Err(with_log(error, &self.log().await)),
        }
    }

    fn start_node(&self, state: &mut State) -> Result<(), BrokerError> {
        let mut command = self.command(&self.programs.server);
        let vm = format!("{} -kernel inet_dist_use_interface {{127,0,0,1}}", conf::VM);
        command.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", vm);
        // Then the script becomes the virtual machine, where else it stays its parent.
        command.env("RUNNING_UNDER_SYSTEMD", "true");
        state.node = Some(self.spawn(command)?);
        Ok(())
    }

    async fn end_node(
        &self,
        state: &mut State,
        signal: Signal,
        patience: Duration,
    ) -> Result<(), BrokerError> {
        let Some(node) = state.node.as_mut() else { return Ok(()) };
        // No pid: it has been waited for already.
        if let Some(pid) = node.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            let _gone_is_as_good = rustix::process::kill_process(pid, signal);
        }
        let what = format!("end the node with {signal:?}");
        match timeout(patience, node.wait()).await {
            Ok(ended) => ended.map_err(io(what))?,
            Err(_late) => {
                let missing = "its process is still there".to_owned();
                let error =
                    BrokerError::NotReady { what, after: patience, missing, log: String::new() };
                return Err(with_log(error, &super::last_lines(&self.log().await, 15)));
            }
        };
        state.node = None;
        state.app_stopped = false;
        Ok(())
    }

    pub(super) async fn ctl(&self, words: &[&str]) -> Result<(), BrokerError> {
        let mut command = self.command(&self.programs.ctl);
        command.args(words).kill_on_drop(true);
        let failed = |why: String| BrokerError::Command {
            command: format!("rabbitmqctl {}", words.join(" ")),
            why,
        };
        let output = match timeout(STOPPING, command.output()).await {
            Ok(output) => output.map_err(|error| failed(error.to_string()))?,
            Err(_late) => {
                return Err(failed(format!("it did not end within {} s", STOPPING.as_secs())));
            }
        };
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        Err(failed(format!("{} {}", output.status, String::from_utf8_lossy(&said).trim())))
    }
}

impl Ports {
    fn reserve(root: &Path, mark: &Mark) -> Result<Ports, BrokerError> {
        let mut held: Vec<Port> = Vec::new();
        for _ in 0..4 {
            match Port::reserve(root, &mark.owner) {
                Ok(port) => held.push(port),
                Err(error) => {
                    held.iter().for_each(Port::release);
                    return Err(error);
                }
            }
        }
        let mut next = || held.pop().expect("four were reserved");
        Ok(Ports { amqp: next(), management: next(), distribution: next(), epmd: next() })
    }

    fn all(&self) -> [&Port; 4] {
        [&self.amqp, &self.management, &self.distribution, &self.epmd]
    }
}

fn write(path: &Path, mode: u32, text: &str) -> Result<(), BrokerError> {
    let open = OpenOptions::new().create_new(true).write(true).mode(mode).open(path);
    open.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(io(format!("write {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_was_taken_meanwhile_is_told_from_other_failures() {
        let error = |missing: &str, log: &str| BrokerError::NotReady {
            what: "start epmd".into(),
            after: Duration::ZERO,
            missing: missing.into(),
            log: log.into(),
        };
        let ended = "it ended with exit status: 1";
        assert!(port_taken(&error(&format!("port 20000 is {TAKEN}"), "")));
        assert!(port_taken(&error(ended, "epmd: there is already a epmd running at port 20000")));
        assert!(port_taken(&error(ended, "failed_to_start_listener,{127,0,0,1},eaddrinuse")));
        assert!(!port_taken(&error(ended, "no such file or directory")));
    }
}
