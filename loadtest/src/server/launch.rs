//! Owns the start of servers: their commands, URLs and ready lines. Never measures them.

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

/// Maximum time until a server prints its ready line.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// The kind of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKind {
    /// Roomring, without limits that affect a load test.
    Roomring,
    /// The bare send loop.
    Floor,
    /// A server of `peers/`.
    Peer(&'static Peer),
}

/// Environment variable for the secret of tokens. A command line would be visible to all users and in results.
const SECRET_VARIABLE: &str = "ROOMRING_AUTH__HMAC_SECRET";

/// A rate limit that no generator reaches.
const RAISED: &str = "1000000/s";

/// A server to start: `[LABEL:]KIND[=PATH][+PART…]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its name in tables.
    pub label: String,
    /// The kind of a server.
    pub kind: ServerKind,
    /// Path of its program (Roomring only, to compare builds).
    pub path: Option<PathBuf>,
    /// Its parts, in addition to those of the scenario's options.
    pub edge: Edge,
}

/// The conditions for starting a server.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// Its CPUs. If empty: all, of which a peer uses one.
    pub cores: Vec<usize>,
    /// Roomring's `--set` values, which override those of this file.
    pub set: Vec<String>,
    /// Whether it must echo.
    pub echo: bool,
    /// Whether clients use binary messages.
    pub binary: bool,
    /// TLS, compression, tokens and limits.
    pub edge: Edge,
    /// Secret of the clients' tokens, if they use any.
    pub secret: Option<String>,
}

/// A running server; killed on drop.
#[derive(Debug)]
pub struct Launched {
    child: Child,
    /// Its address.
    pub address: SocketAddr,
    /// Its control address (Roomring).
    pub control: Option<SocketAddr>,
    /// URL for clients.
    pub url: String,
    /// Its dialect.
    pub dialect: Dialect,
    /// Its certificate, removed with it.
    _certificate: Option<Certificate>,
}

impl std::str::FromStr for Spec {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (edge, rest) = Edge::of_name(text)?;
        let parts = &text[rest.len()..];
        let (rest, path) = rest.split_once('=').map_or((rest, None), |(rest, path)| (rest, Some(PathBuf::from(path))));
        // The default label is the kind with its parts.
        let (label, kind) = match rest.split_once(':') {
            Some((label, kind)) => (label.to_owned(), kind),
            None => (format!("{rest}{parts}"), rest),
        };
        let kind = match kind {
            "roomring" => ServerKind::Roomring,
            "floor" => ServerKind::Floor,
            other => ServerKind::Peer(Peer::named(other).with_context(|| {
                let peers: Vec<&str> = PEERS.iter().map(|peer| peer.name).collect();
                format!("expected roomring, floor, or one of {}; got {other:?}", peers.join(", "))
            })?),
        };
        Ok(Spec { label, kind, path, edge })
    }
}

impl Spec {
    /// Starts the server and waits until it is ready.
    ///
    /// # Errors
    /// It is not installed, does not start, or does not support the conditions.
    pub fn launch(&self, conditions: &Conditions) -> anyhow::Result<Launched> {
        self.refuse_unable(conditions)?;
        let certificate = conditions.edge.tls.then(Certificate::new).transpose()?;
        let mut command = self.command(conditions, certificate.as_ref())?;
        // Error messages name neither arguments nor environment, to stay short and to hide the secret.
        let program = self.path.as_ref().map_or_else(|| self.label.clone(), |path| path.display().to_string());
        if let Some(secret) = &conditions.secret {
            command.env(SECRET_VARIABLE, secret);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // Ctrl-C must not reach the server: the generator still reads its figures.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let out = child.stdout.take().expect("piped");
        let (line_in, line) = mpsc::channel();
        std::thread::spawn(move || {
            // Reads to the end, so that a full pipe never blocks the server.
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
                    bail!("{program} ended ({}) before it was ready; see its output", launched.child.wait()?)
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

    /// Fails if the server does not support the conditions.
    ///
    /// # Errors
    /// The unsupported condition.
    pub fn refuse_unable(&self, conditions: &Conditions) -> anyhow::Result<()> {
        let (echo, binary) = match self.kind {
            ServerKind::Roomring => (true, true),
            ServerKind::Floor => (false, true),
            ServerKind::Peer(peer) => (peer.echo, peer.binary),
        };
        ensure!(echo || !conditions.echo, "{} has no echo", self.label);
        ensure!(binary || !conditions.binary, "{} does not support binary messages", self.label);
        if let (true, Some(option)) = (self.kind != ServerKind::Roomring, conditions.edge.options().first()) {
            bail!("{}: {option} needs a roomring; this server does not support it", self.label);
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
                ensure!(program.exists(), "{} is missing: run `cargo build --release`", program.display());
                (program, roomring_args(conditions, certificate))
            }
            ServerKind::Peer(peer) => peer.command()?,
        };
        let mut command = if conditions.cores.is_empty() {
            Command::new(program)
        } else {
            // `taskset` replaces itself by the program, so the process id is the server's.
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

/// Arguments for Roomring: free ports, no limits that affect a load test, and the requested configuration.
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
        // One CPU is written as a range, because a single number is the number of executors.
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

/// The first address after `key` in a ready line.
fn value_of(line: &str, key: &str) -> Option<SocketAddr> {
    let value = line.split_whitespace().find_map(|word| word.strip_prefix(key))?;
    value.split(',').next()?.parse().ok()
}

impl Launched {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        // Kills its process group, which includes its children. Fails if it has ended.
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
    fn unsupported_conditions_are_refused() {
        let refused = |name: &str, conditions: Conditions| {
            let spec: Spec = name.parse().expect("known");
            spec.launch(&conditions).err().map(|error| error.to_string())
        };
        let echo = Conditions { echo: true, ..Conditions::default() };
        let binary = Conditions { binary: true, ..Conditions::default() };
        assert_eq!(refused("floor", echo.clone()).as_deref(), Some("floor has no echo"));
        assert_eq!(refused("nchan", echo).as_deref(), Some("nchan has no echo"));
        let words = Some("mine does not support binary messages");
        assert_eq!(refused("mine:socketio", binary).as_deref(), words);
    }

    #[test]
    fn the_edge_is_configured_for_roomring_only() {
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
            let error =
                spec.refuse_unable(&Conditions { edge, ..Conditions::default() }).expect_err("peers do not support it");
            assert!(error.to_string().starts_with(&format!("uws: {option} needs a roomring")), "{error}");
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
