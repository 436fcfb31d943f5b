//! The real server as a separate process: started on free ports, observed, stopped. Knows nothing of the protocol.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{self, Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::http;

/// How long anything that should happen may take on a loaded machine. A test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Limits that many clients of one address, or a test's busy ones, would meet.
const RATES: &[&str] = &[
    "connections_per_user",
    "connect_rate",
    "connect_rate_per_ip",
    "message_rate",
    "command_rate",
    "message_rate_per_user",
];

/// What a program has written so far.
#[derive(Clone, Default)]
pub struct Text(Arc<Mutex<String>>);

impl Text {
    pub fn get(&self) -> String {
        self.0.lock().expect("no writer panics").clone()
    }

    fn push(&self, line: &str) {
        self.0.lock().expect("no writer panics").push_str(line);
    }
}

/// A running server. Killed when it is dropped.
pub struct Server {
    child: Child,
    /// The line that it printed when it was ready.
    pub ready: String,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where operators ask.
    pub control: SocketAddr,
    /// How many cores it says it has.
    pub cores: usize,
    /// Standard error so far.
    pub stderr: Text,
}

/// The program under test, with nothing of this process's surroundings in its configuration.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomring"));
    clean(&mut command);
    command
}

/// Takes away what could configure the server by accident: variables, and a `roomring.toml` in the working directory.
pub fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ROOMRING_")) {
        command.env_remove(name);
    }
    command.current_dir(scratch("empty")).stdin(Stdio::null());
}

/// A separate folder for each name, below the build's folder for tests.
pub fn scratch(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).expect("the build's folder for tests can be written");
    folder
}

/// A login's soft limit of descriptors is often 1,024; the hard limit is enough on any usual machine.
pub fn allow_descriptors(count: usize) {
    let is_enough = || {
        let limits = std::fs::read_to_string("/proc/self/limits").expect("the kernel tells");
        let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("there is such a limit");
        let soft = line.split_whitespace().nth(3).expect("the soft limit is the fourth word");
        soft.parse().map_or(soft == "unlimited", |soft: usize| soft >= count)
    };
    if !is_enough() {
        let pid = process::id().to_string();
        let raised = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={count}:")]).output();
        assert!(is_enough(), "this test needs {count} descriptors (`ulimit -n {count}`): {raised:?}");
    }
}

/// Waits until `check` gives something, or panics with `what`.
pub fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "did not happen within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

impl Server {
    /// A connection from one of the loopback's addresses.
    pub fn open_from(&self, last: u8) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into()).expect("loopback is ours");
        socket.connect(&self.listen.into()).expect("the server accepts");
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream
    }

    /// One core, free ports, rates off; `settings` are `section.key=value` and win.
    pub fn start(settings: &[&str]) -> Self {
        let mut command = program();
        command.args(["--set", "server.cores=1", "--set", "server.pin=false"]);
        for limit in RATES {
            command.args(["--set", &format!("limits.{limit}=0")]);
        }
        for setting in settings {
            command.args(["--set", setting]);
        }
        Self::spawn(command)
    }

    /// Runs `command` on free ports and waits until it is ready.
    pub fn spawn(command: Command) -> Self {
        Self::spawn_on(command, "127.0.0.1:0")
    }

    /// The same with a list of addresses for clients.
    pub fn spawn_on(mut command: Command, listen: &str) -> Self {
        command.args(["--set", &format!("server.listen={listen}"), "--set", "control.listen=127.0.0.1:0"]);
        // Servers of one working directory would share one store. Tests of the store configure one for themselves.
        command.env("ROOMRING_STORE__KIND", "memory");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the server's program can be started");
        let stderr = Text::default();
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped"));
        let written = stderr.clone();
        thread::spawn(move || {
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|count| count > 0) {
                written.push(&line);
                line.clear();
            }
        });
        let ready = first_line(&mut child).unwrap_or_else(|| {
            let status = child.wait();
            thread::sleep(Duration::from_millis(100));
            panic!("the server ended before it was ready: {status:?}\n{}", stderr.get())
        });
        let field = |name: &str| {
            let found = ready.split_whitespace().find_map(|word| word.strip_prefix(&format!("{name}=")));
            found.unwrap_or_else(|| panic!("the ready line has no {name}: {ready:?}")).to_owned()
        };
        let address = |name: &str| {
            let list = field(name);
            let first = list.split(',').next().expect("a split has a first part");
            first.parse().unwrap_or_else(|_| panic!("{name} of the ready line is an address: {ready:?}"))
        };
        let (listen, control) = (address("listen"), address("control"));
        let cores = field("cores").parse().expect("cores is a number");
        Self { child, listen, control, cores, stderr, ready }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.pid())).status();
        assert!(sent.expect("sh can be started").success(), "the server is there to be signalled");
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is a child of this process")
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        eventually("the server ends", || self.ended())
    }

    /// `/stats`.
    pub fn stats(&self) -> Value {
        let answer = http::get(self.control, "/stats");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// One number of `/stats`.
    pub fn stat(&self, name: &str) -> u64 {
        let stats = self.stats();
        stats[name].as_u64().unwrap_or_else(|| panic!("/stats has a number {name}: {stats}"))
    }

    /// `/metrics`: one series, summed over its labels that hold `labels`.
    pub fn metric(&self, name: &str, labels: &str) -> f64 {
        let text = http::get(self.control, "/metrics").body;
        let mut found = None;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').expect("a series and its value");
            let (its_name, its_labels) = series.split_once('{').unwrap_or((series, ""));
            if its_name == name && its_labels.contains(labels) {
                *found.get_or_insert(0.0) += value.parse::<f64>().expect("a value is a number");
            }
        }
        found.unwrap_or_else(|| panic!("/metrics has {name} with {labels:?}:\n{text}"))
    }

    /// Waits until nothing is left of any client: every gauge of clients is back at zero.
    pub fn wait_until_empty(&self) {
        eventually("every gauge is back at zero", || {
            let stats = self.stats();
            let is_zero = |of: &Value| ["connections", "rooms", "members"].iter().all(|name| of[*name] == 0);
            let cores = stats["cores"].as_array().expect("/stats has cores");
            let idle = ["roomring_upgrading", "roomring_lane_depth"].iter().all(|name| self.metric(name, "") == 0.0);
            (is_zero(&stats) && cores.iter().all(is_zero) && idle).then_some(())
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- standard error of the server ---\n{}---", self.stderr.get());
        }
    }
}

/// The first line of standard output; `None` when it ends without one. The rest is read and thrown away, so that the
/// program can never wait for a reader.
fn first_line(child: &mut Child) -> Option<String> {
    let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    output.read_line(&mut line).expect("standard output is text");
    thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    line.ends_with('\n').then(|| line.trim_end().to_owned())
}

/// The exit code and output of a program that ended on its own.
#[derive(Debug)]
pub struct Finished {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command that should end on its own.
pub fn finish(command: Command) -> Finished {
    finish_within(command, PATIENCE)
}

/// Runs a command that may take this long.
pub fn finish_within(mut command: Command, limit: Duration) -> Finished {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program can be started");
    let mut stdout = child.stdout.take().expect("it is piped");
    let mut stderr = child.stderr.take().expect("it is piped");
    let read_out = thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    let read_err = thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).map(|_| text)
    });
    let deadline = Instant::now() + limit;
    let status = loop {
        match child.try_wait().expect("it is a child of this process") {
            Some(status) => break status,
            None if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
            None => {
                let _ = child.kill();
                panic!("{command:?} did not end by itself within {limit:?}");
            }
        }
    };
    let text = |reader: thread::JoinHandle<std::io::Result<String>>| {
        reader.join().expect("a reader does not panic").expect("the output is text")
    };
    Finished {
        code: status.code().expect("it was not ended by a signal"),
        stdout: text(read_out),
        stderr: text(read_err),
    }
}
