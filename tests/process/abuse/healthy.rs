//! Members of three rooms, each of whom says something every 100 ms and hears what all the others say.

use std::collections::HashMap;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use serde_json::json;
use socket2::{Domain, Socket, Type};

use super::Target;
use crate::client::{Arrived, Client, Stream};
use crate::server::PATIENCE;

/// Those whom attackers join too.
pub const ROOMS: [&str; 3] = ["busy:1", "busy:2", "busy:3"];
const MEMBERS: usize = 4;
/// Healthy members.
pub const COUNT: usize = ROOMS.len() * MEMBERS;
/// Half of what a user may say in the long run.
const EVERY: Duration = Duration::from_millis(100);

/// A socket from an address of its own: limits by address are those of strangers, not of the others.
pub fn dial(target: &Target, from: Ipv4Addr, receive_bytes: Option<usize>) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&std::net::SocketAddr::from((from, 0)).into())?;
    if let Some(bytes) = receive_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.connect_timeout(&target.listen.into(), PATIENCE)?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}

/// The same under TLS where the server wants it.
pub fn stream(target: &Target, tcp: TcpStream) -> std::io::Result<Stream> {
    let Some(config) = &target.tls else { return Ok(Stream::Plain(tcp)) };
    let name = ServerName::try_from("localhost").expect("valid");
    let mut tls = ClientConnection::new(config.clone(), name).expect("a valid configuration");
    let mut tcp = tcp;
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp)?;
    }
    Ok(Stream::Tls(Box::new(StreamOwned::new(tls, tcp))))
}

/// What one of them heard.
struct Heard {
    client: Client,
    latencies: Vec<Duration>,
    messages: usize,
}

/// All of them, chatting.
pub struct Members {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Heard>>,
}

/// All of them, when they have said and heard everything.
pub struct Chat(Vec<Heard>);

pub fn start(target: &Target, epoch: Instant) -> Members {
    // All are in before anyone says something: whoever joins later has missed what was said.
    let members: Vec<Member> = (0..COUNT).map(|number| Member::join(target, number, epoch)).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let chat = |member: Member| {
        let stop = stop.clone();
        thread::spawn(move || member.chat(&stop))
    };
    let threads = members.into_iter().map(chat).collect();
    Members { stop, threads }
}

impl Members {
    /// Lets everyone finish, and gives what they heard.
    pub fn finish(self) -> Chat {
        self.stop.store(true, Ordering::Relaxed);
        Chat(self.threads.into_iter().map(|thread| thread.join().expect("a healthy member hears everything")).collect())
    }
}

impl Chat {
    pub fn heard(&self) -> usize {
        self.0.iter().map(|heard| heard.messages).sum()
    }

    /// Median, 99th percentile and the highest.
    pub fn latency(&self) -> (Duration, Duration, Duration) {
        let mut all: Vec<Duration> = self.0.iter().flat_map(|heard| heard.latencies.iter().copied()).collect();
        all.sort_unstable();
        assert!(!all.is_empty(), "somebody said something");
        (all[all.len() / 2], all[all.len() * 99 / 100], all[all.len() - 1])
    }

    pub fn close(self) {
        self.0.into_iter().for_each(|heard| heard.client.close());
    }
}

struct Member {
    client: Client,
    user: String,
    room: &'static str,
    /// The room's last message that was heard.
    seq: u64,
    epoch: Instant,
    /// Of each healthy member: how much was heard, and how much there is once it is known.
    heard: HashMap<String, (u64, Option<u64>)>,
}

impl Member {
    fn join(target: &Target, number: usize, epoch: Instant) -> Member {
        let tcp = dial(target, Ipv4Addr::new(127, 0, 0, 2), None).expect("the server accepts");
        tcp.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
        tcp.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let over = stream(target, tcp).expect("the handshake completes");
        let user = format!("healthy-{number}");
        let mut client = Client::over(over, target.listen, &format!("/ws?user={user}"), None);
        client.welcome = client.expect("welcome");
        let room = ROOMS[number % ROOMS.len()];
        let seq = client.join(room)["seq"].as_u64().expect("a joined room has a seq");
        Member { client, user, room, seq, epoch, heard: HashMap::new() }
    }

    fn chat(mut self, stop: &AtomicBool) -> Heard {
        let mut latencies = Vec::new();
        let (mut said, mut ended, mut messages) = (0_u64, None, 0);
        let mut next = Instant::now() + EVERY;
        while !self.is_done() {
            if ended.is_none() && Instant::now() >= next {
                let is_last = stop.load(Ordering::Relaxed);
                let at = self.epoch.elapsed().as_micros() as u64;
                let data = json!({"n": said, "at": at, "last": is_last, "text": "healthy ".repeat(20)});
                self.client.send(&json!({"type": "publish", "room": self.room, "data": data}));
                (said, next) = (said + 1, next + EVERY);
                ended = is_last.then(Instant::now);
            }
            assert!(ended.is_none_or(|at| at.elapsed() < PATIENCE), "{} misses something: {:?}", self.user, self.heard);
            let until = if ended.is_some() { Instant::now() + EVERY } else { next };
            let Some(arrived) = self.client.read(until) else { continue };
            if let Some(latency) = self.hear(&arrived) {
                latencies.push(latency);
            }
            messages += 1;
        }
        Heard { client: self.client, latencies, messages }
    }

    /// Checks a message against the one before; gives the time it took, if a healthy member said it.
    fn hear(&mut self, arrived: &Arrived) -> Option<Duration> {
        let message = match arrived {
            Arrived::Json(message) => message,
            Arrived::Ping(_) | Arrived::Pong(_) => return None,
            other => panic!("{} is told {other:?}", self.user),
        };
        assert!(!["gap", "error", "reconnect"].map(|bad| message["type"] == bad).contains(&true), "{message}");
        if message["type"] != "message" {
            return None;
        }
        assert_eq!((&message["room"], &message["seq"]), (&json!(self.room), &json!(self.seq + 1)), "{}", self.user);
        self.seq += 1;
        let from = message["from"].as_str().expect("a message is from somebody");
        if !from.starts_with("healthy-") {
            return None;
        }
        let (data, known) = (&message["data"], self.heard.entry(from.to_owned()).or_default());
        assert_eq!(data["n"], known.0, "{} hears all of {from} in order", self.user);
        known.0 += 1;
        if data["last"] == true {
            known.1 = Some(known.0);
        }
        let said = Duration::from_micros(data["at"].as_u64().expect("a time"));
        Some(self.epoch.elapsed().saturating_sub(said))
    }

    fn is_done(&self) -> bool {
        self.heard.len() == MEMBERS && self.heard.values().all(|(heard, all)| Some(*heard) == *all)
    }
}
