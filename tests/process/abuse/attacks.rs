//! What outsiders do to a server, drawn from a seed. Attackers take every answer, and none, for they expect nothing.

use std::fmt;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use roomring::wire::deflate::{Compressor, Window};

use super::Target;
use super::healthy::{ROOMS, dial, stream};
use crate::client::Stream;
use crate::http::{client_frame, upgrade_head};
use crate::random::Random;

/// How long an attacker waits for anything.
const PATIENCE: Duration = Duration::from_millis(200);
/// Sockets that one attacker leaves open until its end.
const KEPT_MAX: usize = 150;

const KINDS: [&str; 13] = [
    "garbage",
    "garbage in a WebSocket",
    "huge head",
    "slow head",
    "reset",
    "wrong frames",
    "bomb",
    "publish flood",
    "room flood",
    "ping flood",
    "token",
    "stalled reader",
    "API",
];

/// Two megabytes of one letter in some kilobytes. Made once: without optimisation it takes its time.
static BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let letters = vec![b'x'; 2 << 20];
    client_frame(0xc1, Compressor::new(1).compress(Window::Bits15, &letters).expect("it gets smaller"))
});

/// How often each kind of attack was made.
#[derive(Default)]
pub struct Done([u64; KINDS.len()]);

impl Done {
    pub fn add(&mut self, other: &Done) {
        self.0.iter_mut().zip(other.0).for_each(|(all, some)| *all += some);
    }

    pub fn all_happened(&self) -> bool {
        self.0.iter().all(|count| *count > 0)
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each: Vec<String> = KINDS.iter().zip(self.0).map(|(kind, count)| format!("{count} {kind}")).collect();
        f.write_str(&each.join(", "))
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

pub struct Attacker {
    target: Target,
    from: Ipv4Addr,
    random: Random,
    kept: Vec<TcpStream>,
    kept_streams: Vec<Stream>,
    done: Done,
}

impl Attacker {
    pub fn new(target: Target, from: Ipv4Addr, seed: u64) -> Self {
        LazyLock::force(&BOMB);
        let (kept, kept_streams, done) = (Vec::new(), Vec::new(), Done::default());
        Self { target, from, random: Random(seed), kept, kept_streams, done }
    }

    /// Attacks until told to stop; every socket ends with it.
    pub fn run(mut self, stop: &AtomicBool) -> Done {
        let mut turn = self.random.below(KINDS.len());
        while !stop.load(Ordering::Relaxed) {
            // Each kind comes, in an order and with contents of the seed.
            turn = (turn + 1 + 5 * self.random.below(2)) % KINDS.len();
            // A refusal, a reset, a limit: that is what was asked for.
            let _ = self.attack(turn);
            self.done.0[turn] += 1;
            let pause = self.random.below(10) as u64;
            std::thread::sleep(Duration::from_millis(pause));
        }
        self.done
    }

    fn garbage(&mut self, max: usize) -> Vec<u8> {
        let count = 1 + self.random.below(max);
        (0..count).map(|_| (self.random.next() >> 32) as u8).collect()
    }

    fn tcp(&mut self, receive_bytes: Option<usize>) -> std::io::Result<TcpStream> {
        let tcp = dial(&self.target, self.from, receive_bytes)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        Ok(tcp)
    }

    fn connect(&mut self) -> std::io::Result<Stream> {
        let tcp = self.tcp(None)?;
        stream(&self.target, tcp)
    }

    /// An upgrade; whatever the answer, what follows is sent.
    fn websocket(&mut self, query: &str, more: &str) -> std::io::Result<Stream> {
        let mut stream = self.connect()?;
        let user = self.random.below(1_000);
        let head = upgrade_head(self.target.listen, &format!("/ws?user=mob-{user}{query}"), more);
        stream.write_all(head.as_bytes())?;
        let _ = stream.read(&mut [0; 4_096])?;
        Ok(stream)
    }

    fn keep(&mut self, stream: Stream) {
        if self.kept_streams.len() == KEPT_MAX {
            let at = self.random.below(KEPT_MAX);
            self.kept_streams.swap_remove(at);
        }
        self.kept_streams.push(stream);
    }

    fn command(text: &str) -> Vec<u8> {
        client_frame(0x81, text.as_bytes())
    }

    fn busy(&mut self) -> &'static str {
        ROOMS[self.random.below(ROOMS.len())]
    }

    fn attack(&mut self, kind: usize) -> std::io::Result<()> {
        match KINDS[kind] {
            "garbage" => {
                let bytes = self.garbage(3_000);
                self.tcp(None)?.write_all(&bytes)
            }
            "garbage in a WebSocket" => {
                let room = self.busy();
                let mut stream = self.websocket(&format!("&room={room}"), "")?;
                let bytes = self.garbage(3_000);
                stream.write_all(&bytes)?;
                let _ = stream.read(&mut [0; 4_096])?;
                Ok(())
            }
            "huge head" => {
                let head = format!("GET /ws?{} HTTP/1.1\r\n", "a=b&".repeat(8_000));
                self.connect()?.write_all(head.as_bytes())
            }
            "slow head" => self.slow_head(),
            "reset" => self.reset(),
            "wrong frames" => self.wrong_frames(),
            "bomb" => {
                let mut stream = self.websocket("", "Sec-WebSocket-Extensions: permessage-deflate\r\n")?;
                stream.write_all(&BOMB)
            }
            "publish flood" => self.publish_flood(),
            "room flood" => {
                let mut stream = self.websocket("", "")?;
                let first = self.random.below(1_000_000);
                let joins = (first..first + 300)
                    .flat_map(|room| Self::command(&format!(r#"{{"type":"join","room":"mob:{room}","id":1}}"#)));
                stream.write_all(&joins.collect::<Vec<u8>>())?;
                self.keep(stream);
                Ok(())
            }
            "ping flood" => {
                let mut stream = self.websocket("", "")?;
                stream.write_all(&client_frame(0x89, b"are you there?").repeat(3_000))?;
                stream.write_all(&Self::command(r#"{"type":"ping","id":1}"#).repeat(3_000))
            }
            "token" => {
                let token: String = self.garbage(6_000).iter().map(|byte| char::from(b'A' + byte % 26)).collect();
                let mut stream = self.websocket(&format!("&token={token}"), "")?;
                stream.write_all(&Self::command(&format!(r#"{{"type":"refresh","token":"{token}.{token}.a"}}"#)))
            }
            "stalled reader" => self.stalled_reader(),
            _ => self.api(),
        }
    }

    /// A head, or a TLS record, of which the rest does not come; some come on byte by byte.
    fn slow_head(&mut self) -> std::io::Result<()> {
        let mut tcp = self.tcp(None)?;
        let part: &[u8] = if self.target.tls.is_some() && self.random.below(4) > 0 {
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"
        } else {
            b"GET /ws HTTP/1.1\r\nHost: slow\r\nX-Slow: a"
        };
        tcp.write_all(part)?;
        for tcp in &mut self.kept {
            let _ = tcp.write_all(b"a");
        }
        if self.kept.len() == KEPT_MAX {
            self.kept.remove(0);
        }
        self.kept.push(tcp);
        Ok(())
    }

    /// Membership that ends by a reset, in the middle of a frame or before anything was said.
    fn reset(&mut self) -> std::io::Result<()> {
        for _ in 0..5 {
            let room = self.busy();
            let mut stream = if self.random.below(3) == 0 {
                self.connect()?
            } else {
                let rooms = format!("&room={room}&room=mob:{}", self.random.below(50));
                self.websocket(&rooms, "")?
            };
            let frame = client_frame(0x01, br#"{"type":"publish","room":"#);
            let part = self.random.below(frame.len());
            let _ = stream.write_all(&frame[..part]);
            socket2::SockRef::from(stream.tcp()).set_linger(Some(Duration::ZERO))?;
        }
        Ok(())
    }

    fn wrong_frames(&mut self) -> std::io::Result<()> {
        let mut stream = self.websocket("&room=busy:1", "")?;
        let mut frame = client_frame(0x81, br#"{"type":"ping","id":1}"#);
        match self.random.below(5) {
            0 => frame[1] &= 0x7f,
            1 => frame[0] = self.random.next() as u8,
            2 => frame = [&[0x82, 0xff][..], &self.random.next().to_be_bytes(), &[0; 4]].concat(),
            3 => frame = client_frame(0x81, b"\xed\xa0\x80"),
            _ => {
                let at = self.random.below(frame.len());
                frame[at] ^= 1 << self.random.below(8);
            }
        }
        stream.write_all(&frame)?;
        stream.write_all(&frame)
    }

    fn publish_flood(&mut self) -> std::io::Result<()> {
        let mob = self.random.below(20);
        let busy = self.busy();
        let mut stream = self.websocket(&format!("&room=mob:{mob}&room={busy}"), "")?;
        let large = "x".repeat(1 + self.random.below(20_000));
        let mut bytes =
            Self::command(&format!(r#"{{"type":"publish","room":"mob:{mob}","data":"{large}"}}"#)).repeat(40);
        let small = Self::command(&format!(r#"{{"type":"publish","room":"{busy}","data":"hello from the mob"}}"#));
        bytes.extend(small.repeat(10));
        bytes.extend(Self::command(&format!(r#"{{"type":"publish","room":"mob:{mob}","data":1}}"#)).repeat(300));
        stream.write_all(&bytes)?;
        if self.random.below(3) == 0 {
            self.keep(stream);
        }
        Ok(())
    }

    /// A member of the busy rooms that reads nothing but its answer's first bytes.
    fn stalled_reader(&mut self) -> std::io::Result<()> {
        let tcp = self.tcp(Some(4_096))?;
        let mut stream = stream(&self.target, tcp)?;
        let rooms: String = ROOMS.iter().map(|room| format!("&room={room}")).collect();
        let head =
            upgrade_head(self.target.listen, &format!("/ws?user=stalled-{}{rooms}&room=mob:1", self.random.next()), "");
        stream.write_all(head.as_bytes())?;
        self.keep(stream);
        Ok(())
    }

    /// Anything at the control address, without its key.
    fn api(&mut self) -> std::io::Result<()> {
        let mut tcp = TcpStream::connect(self.target.control)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        let bytes = match self.random.below(4) {
            0 => self.garbage(2_000),
            1 => b"POST /v1/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n{\"room\":".to_vec(),
            2 => b"POST /v1/users/healthy-0/disconnect HTTP/1.1\r\nHost: localhost\r\nX-API-Key: open\r\n\
                   Content-Length: 2\r\n\r\n{}"
                .to_vec(),
            _ => format!("GET /v1/{} HTTP/1.1\r\nHost: evil\r\n\r\n", "../".repeat(self.random.below(3_000)))
                .into_bytes(),
        };
        tcp.write_all(&bytes)?;
        let _ = tcp.read(&mut [0; 4_096])?;
        Ok(())
    }
}
