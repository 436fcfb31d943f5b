//! Starting a server: which command, which URL, and waiting for its ready line.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::certificate::Certificate;
use super::peer::{PEERS, Peer};
use crate::dialect::Dialect;
use crate::dialect::raw::Templates;
use crate::edge::Edge;

/// How long a server may take to print its ready line.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKind {
    /// This project's, without limits that a load test would meet.
    Roomring,
    /// The bare send loop.
    Floor,
    /// One of `peers/`.
    Peer(&'static Peer),
}

/// The secret of a server's tokens, in its environment: a command line can be read by everyone, and is kept with results.
const SECRET_VARIABLE: &str = "ROOMRING_AUTH__HMAC_SECRET";

/// A rate that counts as any other does and refuses nobody: no generator sends so much.
const RAISED: &str = "1000000/s";

/// A server to start: `[LABEL:]KIND[=PATH][+PART…]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its name in tables.
    pub label: String,
    /// Which server.
    pub kind: ServerKind,
    /// Its program (Roomring: two builds can be compared).
    pub path: Option<PathBuf>,
    /// What stands before it, beside what the scenario's options ask for.
    pub edge: Edge,
}

/// How a server is started.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// CPUs it may use; empty: all, of which a peer uses one.
    pub cores: Vec<usize>,
    /// Roomring's `--set` values, over those that this file sets.
    pub set: Vec<String>,
    /// Whether it is to echo.
    pub echo: bool,
    /// Whether its clients use binary messages.
    pub binary: bool,
    /// What stands between it and its clients.
    pub edge: Edge,
    /// What its clients' tokens are signed with, where they have any.
    pub secret: Option<String>,
}

/// A server that runs; ended when dropped.
#[derive(Debug)]
pub struct Launched {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it serves figures about itself (Roomring).
    pub control: Option<SocketAddr>,
    /// What clients connect to.
    pub url: String,
    /// How it is spoken to.
    pub dialect: Dialect,
    /// Its certificate, which goes with it.
    _certificate: Option<Certificate>,
}

impl std::str::FromStr for Spec {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (edge, rest) = Edge::of_name(text)?;
        let parts = &text[rest.len()..];
        let (rest, path) = rest.split_once('=').map_or((rest, None), |(rest, path)| (rest, Some(PathBuf::from(path))));
        // Without a label, the kind and its parts are the name.
        let (label, kind) = match rest.split_once(':') {
            Some((label, kind)) => (label.to_owned(), kind),
            None => (format!("{rest}{parts}"), rest),
        };
        let kind = match kind {
            "roomring" => ServerKind::Roomring,
            "floor" => ServerKind::Floor,
            other => ServerKind::Peer(Peer::named(other).with_context(|| {
                let peers: Vec<&str> = PEERS.iter().map(|peer| peer.name).collect();
                format!("{other:?} is not one of roomring, floor, {}", peers.join(", "))
            })?),
        };
        Ok(Spec { label, kind, path, edge })
    }
}

impl Spec {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// It is not installed, does not start, or cannot do what is wanted.
    pub fn launch(&self, conditions: &Conditions) -> anyhow::Result<Launched> {
        self.refuse_unable(conditions)?;
        let certificate = conditions.edge.tls.then(Certificate::new).transpose()?;
        let mut command = self.command(conditions, certificate.as_ref())?;
        // Without its arguments and its environment: the message stays short, and the secret unsaid.
        let program = self.path.as_ref().map_or_else(|| self.label.clone(), |path| path.display().to_string());
        if let Some(secret) = &conditions.secret {
            command.env(SECRET_VARIABLE, secret);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // Ctrl-C is for the generator: it still reads the server's figures.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let out = child.stdout.take().expect("piped");
        let (line_in, line) = mpsc::channel();
        std::thread::spawn(move || {
            // Read to the end: a server must not be stopped by a full pipe.
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = line_in.send(line);
            }
        });
        let mut launched = Launched {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            control: None,
            url: String::new(),
            dialect: self.dialect(conditions),
            _certificate: certificate,
        };
        loop {
            let line = match line.recv_timeout(READY_WITHIN) {
                Ok(line) => line,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    bail!("{program} printed no ready line within {} s", READY_WITHIN.as_secs())
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    bail!("{program} ended ({}) before it was ready; it said why", launched.child.wait()?)
                }
            };
            if let Some(address) = value_of(&line, "listen=") {
                launched.address = address;
                launched.control = value_of(&line, "control=");
                let scheme = if conditions.edge.tls { "wss" } else { "ws" };
                launched.url = format!("{scheme}://{address}{}", self.path(conditions));
                return Ok(launched);
            }
        }
    }

    /// Refuses what this server cannot do.
    ///
    /// # Errors
    /// What that is.
    pub fn refuse_unable(&self, conditions: &Conditions) -> anyhow::Result<()> {
        let (echo, binary) = match self.kind {
            ServerKind::Roomring => (true, true),
            ServerKind::Floor => (false, true),
            ServerKind::Peer(peer) => (peer.echo, peer.binary),
        };
        ensure!(echo || !conditions.echo, "{} has no echo", self.label);
        ensure!(binary || !conditions.binary, "{} cannot be driven with binary messages", self.label);
        if let (true, Some(option)) = (self.kind != ServerKind::Roomring, conditions.edge.options().first()) {
            bail!("{}: {option} is for a roomring that is started here; this server is started without", self.label);
        }
        Ok(())
    }

    fn path(&self, conditions: &Conditions) -> &'static str {
        match (self.kind, conditions.echo) {
            (_, true) => "/echo",
            (ServerKind::Roomring, false) => "/ws",
            (_, false) => "/",
        }
    }

    fn dialect(&self, conditions: &Conditions) -> Dialect {
        match self.kind {
            ServerKind::Roomring if conditions.binary => Dialect::Binary,
            ServerKind::Roomring => Dialect::json(),
            ServerKind::Floor => Dialect::Raw(Templates { binary: conditions.binary, ..Templates::default() }),
            ServerKind::Peer(peer) => Dialect::Raw(peer.templates(conditions.binary)),
        }
    }

    fn command(&self, conditions: &Conditions, certificate: Option<&Certificate>) -> anyhow::Result<Command> {
        let this = std::env::current_exe().context("the path of this program")?;
        let (program, args): (PathBuf, Vec<String>) = match self.kind {
            ServerKind::Floor => (this, vec!["floor-server".into()]),
            ServerKind::Roomring => {
                let beside = this.with_file_name("roomring");
                let program = self.path.clone().unwrap_or(beside);
                ensure!(program.exists(), "{} is missing: `cargo build --release`", program.display());
                (program, roomring_args(conditions, certificate))
            }
            ServerKind::Peer(peer) => peer.command()?,
        };
        let mut command = if conditions.cores.is_empty() {
            Command::new(program)
        } else {
            // `taskset` replaces itself by the program: the process id stays the server's.
            let mut command = Command::new("taskset");
            command.arg("-c").arg(list(&conditions.cores)).arg(program);
            command
        };
        command.args(args);
        if let ServerKind::Peer(Peer { cpus: Some(variable), .. }) = self.kind {
            command.env(variable, conditions.cores.len().max(1).to_string());
        }
        Ok(command)
    }
}

/// Free ports, no limits that a load test would meet, and what was asked for.
fn roomring_args(conditions: &Conditions, certificate: Option<&Certificate>) -> Vec<String> {
    let mut sets = vec![
        "server.listen=[\"127.0.0.1:0\"]".to_owned(),
        "control.listen=\"127.0.0.1:0\"".to_owned(),
        "store.kind=\"memory\"".to_owned(),
        "log.level=\"warn\"".to_owned(),
    ];
    let rates = ["connect_rate", "connect_rate_per_ip", "message_rate", "command_rate", "message_rate_per_user"];
    let rate = if conditions.edge.limits { RAISED } else { "0" };
    sets.extend(rates.map(|key| format!("limits.{key}=\"{rate}\"")));
    if !conditions.edge.limits {
        sets.push("limits.connections_per_user=0".to_owned());
    }
    if let Some(certificate) = certificate {
        sets.push(format!("tls.certificate=\"{}\"", certificate.certificate().display()));
        sets.push(format!("tls.key=\"{}\"", certificate.key().display()));
    }
    if conditions.edge.deflate {
        sets.push("compression.enabled=true".to_owned());
    }
    if conditions.edge.jwt {
        sets.push("auth.mode=\"jwt\"".to_owned());
    }
    if !conditions.cores.is_empty() {
        // One CPU as a range: a number alone would be the number of executors.
        let cores = match conditions.cores[..] {
            [only] => format!("{only}-{only}"),
            _ => list(&conditions.cores),
        };
        sets.push(format!("server.cores=\"{cores}\""));
    }
    if conditions.echo {
        sets.push("server.echo_path=\"/echo\"".to_owned());
    }
    sets.extend(conditions.set.iter().cloned());
    let mut args = vec!["serve".to_owned()];
    args.extend(sets.into_iter().flat_map(|set| ["--set".to_owned(), set]));
    args
}

fn list(cores: &[usize]) -> String {
    cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// The address behind `key` in a ready line (the first one, when there are several).
fn value_of(line: &str, key: &str) -> Option<SocketAddr> {
    let value = line.split_whitespace().find_map(|word| word.strip_prefix(key))?;
    value.split(',').next()?.parse().ok()
}

impl Launched {
    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        // It may have ended by itself. It leads a group of its own: what it started ends with it.
        let group = i32::try_from(self.child.id()).expect("a process id is an i32");
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_are_read() {
        let spec: Spec = "before:roomring=/tmp/old".parse().expect("good");
        assert_eq!((spec.label.as_str(), spec.kind), ("before", ServerKind::Roomring));
        assert_eq!(spec.path.as_deref(), Some(std::path::Path::new("/tmp/old")));
        assert_eq!("uws".parse::<Spec>().expect("good").label, "uws");
        let spec: Spec = "roomring=/tmp/old+tls+jwt".parse().expect("good");
        assert_eq!((spec.label.as_str(), spec.edge.tls, spec.edge.jwt), ("roomring+tls+jwt", true, true));
        assert_eq!(spec.path.as_deref(), Some(std::path::Path::new("/tmp/old")));
        let spec: Spec = "secure:roomring+tls-resume".parse().expect("good");
        assert_eq!((spec.label.as_str(), spec.edge.tls_resume, spec.path), ("secure", true, None));
        assert!("roomring+tsl".parse::<Spec>().is_err());
        let error = "nginx".parse::<Spec>().expect_err("unknown").to_string();
        assert!(error.contains("roomring") && error.contains("nchan"), "{error}");
    }

    #[test]
    fn what_a_server_cannot_do_is_refused() {
        let refused = |name: &str, conditions: Conditions| {
            let spec: Spec = name.parse().expect("known");
            spec.launch(&conditions).err().map(|error| error.to_string())
        };
        let echo = Conditions { echo: true, ..Conditions::default() };
        let binary = Conditions { binary: true, ..Conditions::default() };
        assert_eq!(refused("floor", echo.clone()).as_deref(), Some("floor has no echo"));
        assert_eq!(refused("nchan", echo).as_deref(), Some("nchan has no echo"));
        let words = Some("mine cannot be driven with binary messages");
        assert_eq!(refused("mine:socketio", binary).as_deref(), words);
    }

    #[test]
    fn the_edge_is_configured_and_only_where_it_can_be() {
        let args = |edge| {
            let certificate = Certificate::new().expect("a certificate");
            let conditions = Conditions { edge, secret: Some("hush".into()), ..Conditions::default() };
            roomring_args(&conditions, edge.tls.then_some(&certificate)).join(" ")
        };
        let plain = args(Edge::default());
        assert!(plain.contains("limits.message_rate=\"0\"") && plain.contains("limits.connections_per_user=0"));
        for key in ["tls.", "auth.", "compression."] {
            assert!(!plain.contains(key), "{plain}");
        }
        let all = args(Edge { tls: true, deflate: true, jwt: true, limits: true, ..Edge::default() });
        for wanted in ["server.crt\"", "server.key\"", "auth.mode=\"jwt\"", "compression.enabled=true", RAISED] {
            assert!(all.contains(wanted), "{wanted} is not in {all}");
        }
        assert!(!all.contains("hush") && !all.contains("connections_per_user"), "{all}");
        for (part, option) in [("tls", "--tls"), ("deflate", "--deflate"), ("jwt", "--jwt"), ("limits", "--limits on")]
        {
            let (edge, _) = Edge::of_name(&format!("uws+{part}")).expect("known");
            let spec: Spec = "uws".parse().expect("known");
            let error = spec.refuse_unable(&Conditions { edge, ..Conditions::default() }).expect_err("no peer has it");
            assert!(error.to_string().starts_with(&format!("uws: {option} is for a roomring")), "{error}");
        }
    }

    #[test]
    fn ready_lines_are_read() {
        let line = "roomring ready listen=127.0.0.1:81,127.0.0.2:81 control=127.0.0.1:82 cores=1";
        assert_eq!(value_of(line, "listen="), Some("127.0.0.1:81".parse().expect("an address")));
        assert_eq!(value_of(line, "control="), Some("127.0.0.1:82".parse().expect("an address")));
        assert_eq!(value_of("starting", "listen="), None);
    }
}
