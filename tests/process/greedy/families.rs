//! The families: what each of their connections does when it opens and in each round. They read nothing, take every
//! refusal and every reset, and come again.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::abuse::{Target, healthy};
use crate::http::{client_frame, upgrade_head};
use crate::random::Random;

/// What a family does.
pub struct Family {
    pub name: &'static str,
    /// Of all threads together.
    pub connections: usize,
    pub tls: bool,
    pub settings: &'static [&'static str],
    /// Between two connections that one thread opens: it spreads the work of those that ask for much at once.
    pause_ms: u64,
    /// What a connection says when it opens: the query of its upgrade, and what follows the head at once.
    open: fn(&mut Greedy, usize) -> (String, Vec<u8>),
    /// What it says in each round.
    round: fn(&mut Greedy, usize) -> Vec<u8>,
}

/// How long a greedy one waits for the kernel to take what it says.
const PATIENCE: Duration = Duration::from_millis(20);
/// A round's pause, so that the server and the healthy ones have a processor too.
const PAUSE: Duration = Duration::from_millis(20);

pub const ALL: &[Family] = &[
    Family {
        name: "pings",
        connections: 100,
        tls: false,
        settings: &[],
        pause_ms: 1,
        open: |_, _| (String::new(), Vec::new()),
        round: |_, _| client_frame(0x89, b"").repeat(50),
    },
    Family {
        name: "statuses",
        connections: 24,
        tls: false,
        settings: &[],
        pause_ms: 1,
        open: |greedy, index| (String::new(), greedy.joins(index, 128)),
        round: |_, _| {
            let both = ["away", "online"].map(|status| command(&format!(r#"{{"type":"status","status":"{status}"}}"#)));
            both.concat().repeat(20)
        },
    },
    Family {
        name: "pages",
        connections: 2_000,
        tls: false,
        settings: &["rooms.history_ttl=1h"],
        pause_ms: 8,
        open: |_, index| {
            let publish = command(&format!(r#"{{"type":"publish","room":"pages","data":"{}"}}"#, "x".repeat(2_000)));
            let ask = command(r#"{"type":"history","room":"pages","limit":300,"id":1}"#);
            let publishes = publish.repeat(if index % 5 == 0 { 2 } else { 0 });
            ("&room=pages".to_owned(), [publishes, ask.repeat(3)].concat())
        },
        round: |_, _| Vec::new(),
    },
    Family {
        name: "memberships",
        connections: 1_000,
        tls: false,
        settings: &[],
        pause_ms: 20,
        open: |greedy, index| (String::new(), greedy.joins(index, 128)),
        round: |_, _| Vec::new(),
    },
    Family {
        name: "comings_and_goings",
        connections: 200,
        tls: false,
        settings: &["rooms.presence_grace=1h"],
        pause_ms: 1,
        open: |_, _| ("&room=grace".to_owned(), Vec::new()),
        round: |greedy, index| {
            let room = if greedy.random.below(2) == 0 { "grace".to_owned() } else { format!("grace:{index}") };
            let toggle = ["leave", "join"].map(|what| command(&format!(r#"{{"type":"{what}","room":"{room}"}}"#)));
            toggle.concat().repeat(2)
        },
    },
    Family {
        name: "halves",
        connections: 3_000,
        tls: false,
        settings: &[],
        pause_ms: 2,
        open: |_, _| {
            let whole = client_frame(0x81, &[b'x'; 65_000]);
            (String::new(), whole[..60_000].to_vec())
        },
        round: |_, _| Vec::new(),
    },
    Family {
        name: "fragments",
        connections: 200,
        tls: false,
        settings: &[],
        pause_ms: 1,
        open: |_, _| (String::new(), client_frame(0x01, b"\"")),
        round: |greedy, _| {
            let empty = client_frame(0x00, b"").repeat(20);
            let tiny = client_frame(0x00, b"x").repeat(20);
            if greedy.random.below(4) == 0 { empty } else { tiny }
        },
    },
    Family {
        name: "large_publishes",
        connections: 400,
        tls: false,
        settings: &[],
        pause_ms: 1,
        open: |_, index| (format!("&room=large:{}", index % 10), Vec::new()),
        round: |greedy, index| {
            let data = "x".repeat(40_000 + greedy.random.below(20_000));
            let room = format!("large:{}", index % 10);
            command(&format!(r#"{{"type":"publish","room":"{room}","data":"{data}"}}"#))
        },
    },
    Family {
        name: "keys",
        connections: 100,
        tls: false,
        settings: &["limits.message_rate=0", "limits.message_rate_per_user=0"],
        pause_ms: 1,
        open: |_, index| (format!("&room=keys:{index}"), Vec::new()),
        round: |greedy, index| {
            let key = "k".repeat(90);
            let number = greedy.random.next();
            let text = r#""type":"publish","echo":false,"data":1"#;
            command(&format!(r#"{{{text},"room":"keys:{index}","key":"{key}{number}"}}"#))
        },
    },
    Family {
        name: "crowded_upgrades",
        connections: 1_500,
        tls: false,
        settings: &["rooms.history_ttl=1h"],
        pause_ms: 15,
        open: |greedy, index| {
            let rooms: String = (0..128).map(|room| format!("&room=crowd:{room}")).collect();
            let room = greedy.random.below(128);
            let data = "x".repeat(2_000);
            let publish = command(&format!(r#"{{"type":"publish","room":"crowd:{room}","data":"{data}"}}"#));
            (rooms, publish.repeat(if index < 800 { 10 } else { 0 }))
        },
        round: |_, _| Vec::new(),
    },
    Family {
        name: "slow_heads",
        connections: 4_000,
        tls: false,
        settings: &[],
        pause_ms: 1,
        open: |_, _| (SLOW.to_owned(), Vec::new()),
        round: |_, _| b"a".to_vec(),
    },
    Family {
        name: "half_handshakes",
        connections: 1_600,
        tls: true,
        settings: &[],
        pause_ms: 1,
        open: |_, _| (SLOW.to_owned(), Vec::new()),
        round: |_, _| b"a".to_vec(),
    },
];

/// In place of a query: the connection begins a head, or a handshake, and does not end it.
const SLOW: &str = "slow";

fn command(text: &str) -> Vec<u8> {
    client_frame(0x81, text.as_bytes())
}

/// One thread's greedy connections.
pub struct Greedy {
    target: Target,
    from: Ipv4Addr,
    random: Random,
    /// Number of its first connection among all.
    first: usize,
    connections: Vec<Option<TcpStream>>,
    /// Connections that were made.
    pub opened: u64,
    /// Bytes that the kernel took.
    pub sent: u64,
}

impl Greedy {
    pub fn new(target: Target, from: Ipv4Addr, seed: u64, first: usize) -> Self {
        Self { target, from, random: Random(seed), first, connections: Vec::new(), opened: 0, sent: 0 }
    }

    /// Plays until told to stop; the connections stay as they are.
    pub fn run(mut self, family: &Family, count: usize, stop: &AtomicBool) -> Greedy {
        self.connections.resize_with(count, || None);
        while !stop.load(Ordering::Relaxed) {
            for at in 0..count {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                // A refusal, a reset: then it comes again in the next round.
                if self.play(family, at).is_err() {
                    self.connections[at] = None;
                }
            }
            thread::sleep(PAUSE);
        }
        self
    }

    /// Ends all connections.
    pub fn leave(&mut self) {
        self.connections.clear();
    }

    fn play(&mut self, family: &Family, at: usize) -> std::io::Result<()> {
        let index = self.first + at;
        if self.connections[at].is_none() {
            let stream = healthy::dial(&self.target, self.from, Some(4_096))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            let (query, more) = (family.open)(self, index);
            let head = if query != SLOW {
                upgrade_head(self.target.listen, &format!("/ws?user=greedy-{index}{query}"), "").into_bytes()
            } else if family.tls {
                b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec()
            } else {
                [b"GET /ws HTTP/1.1\r\nHost: slow\r\nX-Slow: ".as_slice(), &vec![b'a'; 1 + self.random.below(8_000)]]
                    .concat()
            };
            self.opened += 1;
            self.connections[at] = Some(stream);
            self.say(at, &head)?;
            // What comes before the upgrade is answered is bounded.
            thread::sleep(Duration::from_millis(family.pause_ms));
            return self.say(at, &more);
        }
        let bytes = (family.round)(self, index);
        self.say(at, &bytes)
    }

    fn say(&mut self, at: usize, bytes: &[u8]) -> std::io::Result<()> {
        let Some(stream) = &mut self.connections[at] else { return Ok(()) };
        stream.write_all(bytes)?;
        self.sent += bytes.len() as u64;
        Ok(())
    }

    /// Joins of rooms of its own.
    fn joins(&self, index: usize, count: usize) -> Vec<u8> {
        let join = |room| command(&format!(r#"{{"type":"join","room":"own:{index}:{room}"}}"#));
        (0..count).flat_map(join).collect()
    }
}
