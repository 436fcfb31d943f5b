//! Owns the start of servers: their commands, URLs and ready lines. Never measures them.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::certificate::Certificate;
use super::http;
use super::peer::{PEERS, Peer};
use crate::dialect::Dialect;
use crate::dialect::raw::Templates;
use crate::edge::Edge;
use crate::store::{DataFolder, StoreInUse, StoreMode};

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
    /// Its store, in place of that of the scenario's options.
    pub store: Option<StoreMode>,
}

/// The conditions for starting a server.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// Its CPUs. If empty: all, of which a peer uses one.
    pub cores: Vec<usize>,
    /// Roomring's `--set` values that the scenario needs.
    pub needs: Vec<String>,
    /// Roomring's `--set` values of the user, which override all others.
    pub set: Vec<String>,
    /// The store, if the scenario or the user chose one.
    pub store: Option<StoreMode>,
    /// Folder in which the store gets a folder of its own.
    pub data: Option<PathBuf>,
    /// Address and files of an earlier process that this one follows.
    pub follows: Option<(SocketAddr, Option<DataFolder>)>,
    /// Whether it must echo.
    pub echo: bool,
    /// Whether clients use binary messages.
    pub binary: bool,
    /// TLS, compression, tokens and limits.
    pub edge: Edge,
    /// Secret of the clients' tokens, if they use any.
    pub secret: Option<String>,
}

/// A server that was started; killed on drop.
#[derive(Debug)]
pub struct Launched {
    child: Child,
    /// Whether it was killed.
    is_dead: bool,
    spec: Spec,
    conditions: Conditions,
    /// Its address.
    pub address: SocketAddr,
    /// Its control address (Roomring).
    pub control: Option<SocketAddr>,
    /// URL for clients.
    pub url: String,
    /// Its dialect.
    pub dialect: Dialect,
    /// Its store (Roomring).
    pub store: Option<StoreInUse>,
    /// Folder of its store, removed with it.
    pub folder: Option<DataFolder>,
    /// Its certificate, removed with it.
    _certificate: Option<Certificate>,
}

/// A server that ended before it was ready, such as one that does not know its configuration.
#[derive(Debug)]
pub struct EndedEarly {
    program: String,
    status: String,
}

impl std::fmt::Display for EndedEarly {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} ended ({}) before it was ready; see its output", self.program, self.status)
    }
}

impl std::error::Error for EndedEarly {}

impl std::str::FromStr for Spec {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (edge, store, rest) = Edge::of_name(text)?;
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
        Ok(Spec { label, kind, path, edge, store })
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
        let mode = self.store.or(conditions.store).unwrap_or_default();
        let folder = match &conditions.follows {
            Some((_, folder)) => folder.clone(),
            None if self.kind == ServerKind::Roomring && mode != StoreMode::Memory => {
                Some(DataFolder::new(conditions.data.as_deref())?)
            }
            None => None,
        };
        let store = mode.settings(folder.as_ref());
        let mut command = self.command(conditions, store, certificate.as_ref())?;
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
            is_dead: false,
            spec: self.clone(),
            conditions: conditions.clone(),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            control: None,
            url: String::new(),
            dialect: self.dialect(conditions),
            store: (self.kind == ServerKind::Roomring).then(|| StoreInUse::of(mode, folder.as_ref(), &conditions.set)),
            folder,
            _certificate: certificate,
        };
        loop {
            let line = match line.recv_timeout(READY_WITHIN) {
                Ok(line) => line,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    bail!("{program} printed no ready line within {} s", READY_WITHIN.as_secs())
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let ended = EndedEarly { program, status: launched.child.wait()?.to_string() };
                    return Err(ended.into());
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
        let store = self.store.or(conditions.store).filter(|mode| *mode != StoreMode::Memory);
        if let (true, Some(mode)) = (self.kind != ServerKind::Roomring, store) {
            bail!("{}: --store {} needs a roomring; this server has no store", self.label, mode.word());
        }
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

    fn command(
        &self,
        conditions: &Conditions,
        store: Vec<String>,
        certificate: Option<&Certificate>,
    ) -> anyhow::Result<Command> {
        let this = std::env::current_exe().context("the path of this program")?;
        let (program, args): (PathBuf, Vec<String>) = match self.kind {
            ServerKind::Floor => (this, vec!["floor-server".into()]),
            ServerKind::Roomring => {
                let beside = this.with_file_name("roomring");
                let program = self.path.clone().unwrap_or(beside);
                ensure!(program.exists(), "{} is missing: run `cargo build --release`", program.display());
                (program, roomring_args(conditions, store, certificate))
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
fn roomring_args(conditions: &Conditions, store: Vec<String>, certificate: Option<&Certificate>) -> Vec<String> {
    let listen = match &conditions.follows {
        Some((address, _)) => address.to_string(),
        None => "127.0.0.1:0".to_owned(),
    };
    let mut sets = vec![
        format!("server.listen=[\"{listen}\"]"),
        "control.listen=\"127.0.0.1:0\"".to_owned(),
        "log.level=\"warn\"".to_owned(),
    ];
    sets.extend(store);
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
    sets.extend(conditions.needs.iter().chain(&conditions.set).cloned());
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

    /// Waits until another process can listen on the address of a killed server, and returns how long that took. The
    /// kernel closes what an io_uring held some time after the end of the process.
    ///
    /// # Errors
    /// The address stays in use.
    pub fn wait_for_address(&self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        loop {
            match TcpListener::bind(self.address) {
                Ok(_) => return Ok(begun.elapsed()),
                Err(error) if begun.elapsed() > READY_WITHIN => {
                    return Err(error)
                        .with_context(|| format!("{} is in use after the server was killed", self.address));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Kills it with SIGKILL, as `kill -9` does, and waits for its end.
    pub fn kill(&mut self) {
        if !std::mem::replace(&mut self.is_dead, true) {
            // Kills its process group, which includes its children. Fails if it has ended.
            let group = i32::try_from(self.child.id()).expect("a process id is an i32");
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }

    /// Starts it again after [`Launched::kill`]: with the same configuration, address and files. Returns the time until
    /// it accepts connections and `/ready` agrees.
    ///
    /// # Errors
    /// It does not start, or does not get ready.
    pub fn start_again(&mut self) -> anyhow::Result<Duration> {
        let follows = Some((self.address, self.folder.clone()));
        let begun = Instant::now();
        let again = self.spec.launch(&Conditions { follows, ..self.conditions.clone() });
        // It has started once before, so this is no lack of support.
        let again = again.map_err(|error| anyhow::anyhow!("{error:#}"))?;
        while let Some(control) = again.control {
            match http::status(control, "/ready") {
                // Versions without `/ready` are ready when they say so.
                Ok(200 | 404) => break,
                result if begun.elapsed() > READY_WITHIN => {
                    bail!("GET {control}/ready: no 200 within {} s of the start: {result:?}", READY_WITHIN.as_secs())
                }
                _ => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        let took = begun.elapsed();
        *self = again;
        Ok(took)
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        self.kill();
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
        let spec: Spec = "roomring+commit".parse().expect("good");
        assert_eq!((spec.label.as_str(), spec.store), ("roomring+commit", Some(StoreMode::Commit)));
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
            roomring_args(&conditions, Vec::new(), edge.tls.then_some(&certificate)).join(" ")
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
            let (edge, ..) = Edge::of_name(&format!("uws+{part}")).expect("known");
            let spec: Spec = "uws".parse().expect("known");
            let error =
                spec.refuse_unable(&Conditions { edge, ..Conditions::default() }).expect_err("peers do not support it");
            assert!(error.to_string().starts_with(&format!("uws: {option} needs a roomring")), "{error}");
        }
    }

    #[test]
    fn the_store_and_the_scenario_are_configured() {
        let folder = DataFolder::new(None).expect("a temporary folder");
        let address: SocketAddr = "127.0.0.1:81".parse().expect("an address");
        let conditions = Conditions {
            needs: vec!["rooms.inboxes=true".into()],
            set: vec!["rooms.inboxes=false".into()],
            follows: Some((address, Some(folder.clone()))),
            ..Conditions::default()
        };
        let args = roomring_args(&conditions, StoreMode::Commit.settings(Some(&folder)), None).join(" ");
        for wanted in ["server.listen=[\"127.0.0.1:81\"]", "store.kind=\"embedded\"", "store.durability=\"store\""] {
            assert!(args.contains(wanted), "{wanted} is not in {args}");
        }
        let place = |text: &str| args.find(text).expect(text);
        assert!(place("inboxes=true") < place("inboxes=false"), "the user's values come last: {args}");
        let plain = roomring_args(&Conditions::default(), StoreMode::Memory.settings(None), None).join(" ");
        assert!(plain.contains("store.kind=\"memory\"") && !plain.contains("store.path"), "{plain}");
        let refused = |store, spec: &str| {
            let spec: Spec = spec.parse().expect("known");
            spec.refuse_unable(&Conditions { store, ..Conditions::default() }).err().map(|error| error.to_string())
        };
        let words = Some("uws: --store commit needs a roomring; this server has no store");
        assert_eq!(refused(Some(StoreMode::Commit), "uws").as_deref(), words);
        assert_eq!(refused(None, "uws+commit").map(|words| words.contains("--store commit")), Some(true));
        assert_eq!(refused(Some(StoreMode::Memory), "uws"), None);
        assert_eq!(refused(Some(StoreMode::Memory), "roomring+commit"), None);
    }

    #[test]
    fn a_killed_server_starts_again_with_its_address_and_files() {
        let place = DataFolder::new(None).expect("a temporary folder");
        let program = place.path().join("server");
        // A free port, which the script names as its own when it has none to follow.
        let address = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
        let log = place.path().join("arguments");
        let script =
            format!("#!/bin/sh\necho \"$*\" >> {}\necho ready listen={address}\nexec sleep 600\n", log.display());
        // Written by another process: a program that is open for writing in this one, or in a child that another test has
        // just started, cannot be run.
        let write = format!("printf '%s' \"$1\" > {0} && chmod +x {0}", program.display());
        let written = Command::new("sh").args(["-c", &write, "sh", &script]).status().expect("sh is everywhere");
        assert!(written.success());
        let spec: Spec = format!("roomring={}+commit", program.display()).parse().expect("good");
        let mut launched = spec.launch(&Conditions::default()).expect("it starts");
        let (pid, folder) = (launched.pid(), launched.folder.clone().expect("a store"));
        std::fs::write(folder.path().join("kept"), "kept").expect("writable");
        launched.kill();
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
        launched.wait_for_address().expect("nobody listens");
        launched.start_again().expect("it starts");
        assert_ne!(launched.pid(), pid);
        let again = launched.folder.clone().expect("the same store").path().join("kept");
        assert_eq!(std::fs::read_to_string(again).expect("kept"), "kept");
        let arguments = std::fs::read_to_string(&log).expect("two starts");
        let starts: Vec<&str> = arguments.lines().collect();
        assert_eq!(starts.len(), 2);
        assert!(starts[1].contains(&format!("server.listen=[\"{address}\"]")), "{arguments}");
        let path = format!("store.path=\"{}\"", folder.path().display());
        assert!(starts.iter().all(|start| start.contains(&path)), "{arguments}");
    }

    #[test]
    fn a_server_that_ends_early_is_told_apart() {
        let spec: Spec = "roomring=/bin/false".parse().expect("good");
        let error = spec.launch(&Conditions::default()).expect_err("it ends");
        assert!(error.is::<EndedEarly>(), "{error:#}");
        assert!(error.to_string().starts_with("/bin/false ended (exit status: 1) before it was ready"), "{error:#}");
        let spec: Spec = "roomring=/nowhere/roomring".parse().expect("good");
        assert!(!spec.launch(&Conditions::default()).expect_err("it is missing").is::<EndedEarly>());
    }

    #[test]
    fn ready_lines_are_read() {
        let line = "roomring ready listen=127.0.0.1:81,127.0.0.2:81 control=127.0.0.1:82 cores=1";
        assert_eq!(value_of(line, "listen="), Some("127.0.0.1:81".parse().expect("an address")));
        assert_eq!(value_of(line, "control="), Some("127.0.0.1:82".parse().expect("an address")));
        assert_eq!(value_of("starting", "listen="), None);
    }
}
