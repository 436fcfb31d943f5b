//! A small server with the JSON form: rooms with roles, sessions, receipts, inboxes. It can be killed and started again
//! with what it has kept, and has optional faults.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use roomring::wire::frame::{Opcode, server_frame};
use roomring::wire::handshake::{Head, HttpRequest, accept_response, parse_head};
use roomring::wire::message::{Decoder, Event};
use serde_json::{Value, json};

use crate::fleet::address::Target;

/// A fault of the running server. Most affect every tenth publication of each room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeeperFault {
    #[default]
    None,
    /// One member does not get a publication.
    Lose,
    /// One member gets it twice.
    Duplicate,
    /// Two publications change places.
    Swap,
    /// What was missed is not complete after a resume.
    Forget,
    /// No session is known.
    NoSessions,
    /// Inbox messages come again after they were delivered.
    Redeliver,
    /// Inbox messages do not come.
    LoseInbox,
    /// Unread counts are too high.
    Miscount,
    /// There are no rooms with roles.
    NoRoles,
}

/// Messages of a room: author and data.
pub type Kept = Vec<(String, String)>;

#[derive(Default)]
struct World {
    fault: KeeperFault,
    rooms: BTreeMap<String, Room>,
    people: BTreeMap<u64, Connection>,
    /// Rooms of each session.
    sessions: HashMap<String, BTreeSet<String>>,
    /// Read and delivered receipts, by room and user.
    receipts: HashMap<(String, String, String), u64>,
    next: u64,
    epoch: u64,
}

#[derive(Default)]
struct Room {
    epoch: String,
    messages: Kept,
    /// Lasting members.
    lasting: BTreeSet<String>,
    is_private: bool,
    code: String,
    /// A message to send after the next one.
    held: Option<String>,
}

struct Connection {
    stream: TcpStream,
    user: String,
    session: String,
    joined: BTreeSet<String>,
}

/// The server. Its threads end with the clients.
pub struct Keeper {
    world: Arc<Mutex<World>>,
    address: SocketAddr,
    listener: Option<TcpListener>,
}

impl Keeper {
    /// Starts a server.
    pub fn start(fault: KeeperFault) -> Self {
        let world = Arc::new(Mutex::new(World { fault, ..World::default() }));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let mut keeper = Keeper { world, address, listener: None };
        keeper.listen(listener);
        keeper
    }

    /// Its address.
    pub fn target(&self) -> Target {
        Target { address: self.address, host: self.address.to_string(), path: "/ws".into(), secure: false }
    }

    fn listen(&mut self, listener: TcpListener) {
        let (world, accepting) = (Arc::clone(&self.world), listener.try_clone().expect("a socket"));
        self.listener = Some(listener);
        std::thread::spawn(move || {
            for stream in accepting.incoming().map_while(Result::ok) {
                let world = Arc::clone(&world);
                std::thread::spawn(move || attend(stream, &world));
            }
        });
    }

    /// Ends all connections, as the end of a process does, and stops listening.
    pub fn kill(&mut self) {
        let listener = self.listener.take().expect("it runs");
        // Ends the thread that accepts, which holds the port.
        socket2::SockRef::from(&listener).shutdown(Shutdown::Both).expect("it listens");
        let mut world = self.world.lock().expect("no test has failed");
        for (_, connection) in std::mem::take(&mut world.people) {
            let _ = connection.stream.shutdown(Shutdown::Both);
        }
    }

    /// Starts again at the same address, after `change` has changed what was kept of each room except
    /// inboxes: its epoch and messages.
    pub fn start_again(&mut self, change: impl Fn(&mut String, &mut Kept)) {
        {
            let mut world = self.world.lock().expect("no test has failed");
            let rooms = world.rooms.iter_mut().filter(|(name, _)| !name.starts_with('@'));
            rooms.for_each(|(_, room)| change(&mut room.epoch, &mut room.messages));
        }
        // The thread that accepts may hold the port for a moment.
        let listener = loop {
            match TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        };
        self.listen(listener);
    }
}

fn attend(mut stream: TcpStream, world: &Mutex<World>) -> Option<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut head = Vec::new();
    let path = loop {
        let count = stream.read(&mut buffer).ok()?;
        head.extend_from_slice(&buffer[..count]);
        match parse_head(&head) {
            Head::Incomplete if count > 0 => {}
            Head::Complete { request: HttpRequest::Upgrade(upgrade), .. } => {
                stream.write_all(&accept_response(&upgrade)).ok()?;
                break String::from_utf8_lossy(&head).into_owned();
            }
            _ => return None,
        }
    };
    let user = path.split("user=").nth(1)?.split(' ').next()?.to_owned();
    let id = world.lock().ok()?.welcome(stream.try_clone().ok()?, user)?;
    serve(&mut stream, world, id);
    let mut world = world.lock().ok()?;
    world.people.remove(&id);
    Some(())
}

fn serve(stream: &mut TcpStream, world: &Mutex<World>, id: u64) -> Option<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut decoder = Decoder::default();
    loop {
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        let mut rest = &mut buffer[..count];
        loop {
            let input = std::mem::take(&mut rest);
            let decoded = decoder.next(input, 1 << 20).ok()?;
            let used = decoded.used;
            match decoded.event {
                Some(Event::Text(text)) => world.lock().ok()?.command(id, text)?,
                Some(Event::Close(_)) => {
                    stream.write_all(&server_frame(Opcode::Close, &[3, 232])).ok()?;
                    return None;
                }
                Some(_) => {}
                None => break,
            }
            rest = &mut input[used..];
        }
    }
}

impl World {
    fn send(&mut self, to: u64, message: &Value) {
        self.send_text(to, &message.to_string());
    }

    fn send_text(&mut self, to: u64, text: &str) {
        if let Some(connection) = self.people.get_mut(&to) {
            let _ = connection.stream.write_all(&server_frame(Opcode::Text, text.as_bytes()));
        }
    }

    fn welcome(&mut self, stream: TcpStream, user: String) -> Option<u64> {
        self.next += 1;
        let (id, session) = (self.next, format!("session-{}", self.next));
        let inbox = format!("@{user}");
        self.sessions.insert(session.clone(), BTreeSet::new());
        let connection =
            Connection { stream, user: user.clone(), session: session.clone(), joined: [inbox.clone()].into() };
        self.people.insert(id, connection);
        self.send(id, &json!({"type": "welcome", "session": session, "user": user}));
        let delivered = self.receipts.get(&("delivered".into(), inbox.clone(), user)).copied().unwrap_or(0);
        let delivered = if self.fault == KeeperFault::Redeliver { delivered.saturating_sub(1) } else { delivered };
        let joined = self.joined(&inbox, None, Some(delivered), false);
        self.send(id, &joined);
        Some(id)
    }

    fn room(&mut self, name: &str) -> &mut Room {
        self.epoch += 1;
        let epoch = self.epoch;
        self.rooms.entry(name.to_owned()).or_insert_with(|| Room { epoch: format!("{epoch:016x}"), ..Room::default() })
    }

    /// A `joined` with the messages after `after`, or without any.
    fn joined(&mut self, name: &str, id: Option<u64>, after: Option<u64>, recovered: bool) -> Value {
        let (fault, is_inbox) = (self.fault, name.starts_with('@'));
        let room = self.room(name);
        let head = room.messages.len();
        let mut first = after.map_or(head, |after| after as usize).min(head);
        if (recovered && fault == KeeperFault::Forget && first < head) || (is_inbox && fault == KeeperFault::LoseInbox)
        {
            first = (first + 1).min(head);
        }
        let entry = |(index, (from, data)): (usize, &(String, String))| {
            let data: Value = serde_json::from_str(data).expect("as published");
            json!({"seq": index + 1, "from": from, "at": 1, "data": data})
        };
        let messages: Vec<Value> = room.messages.iter().enumerate().skip(first).map(entry).collect();
        let mut joined = json!({
            "type": "joined", "room": name, "epoch": room.epoch, "seq": head, "recovered": recovered,
            "messages": messages, "members": 1, "role": "member",
        });
        if let Some(id) = id {
            joined["id"] = id.into();
        }
        joined
    }

    fn command(&mut self, from: u64, text: &str) -> Option<()> {
        let asked: Value = serde_json::from_str(text).expect("the generator writes JSON");
        let (kind, id) = (asked["type"].as_str().expect("a type").to_owned(), asked["id"].as_u64());
        let name = asked["room"].as_str().unwrap_or_default().to_owned();
        let user = self.people.get(&from)?.user.clone();
        let refuse = |world: &mut World, code: &str| {
            world.send(from, &json!({"type": "error", "id": id, "code": code, "message": "refused"}));
        };
        match kind.as_str() {
            "create_room" if self.fault == KeeperFault::NoRoles => refuse(self, "unknown_command"),
            "create_room" => {
                let code = format!("code of {name}");
                let room = self.room(&name);
                (room.is_private, room.code) = (asked["visibility"] == "private", code);
                room.lasting.insert(user);
                self.send(from, &json!({"type": "room", "id": id, "room": name, "role": "owner"}));
            }
            "invite" => {
                let code = self.room(&name).code.clone();
                self.send(from, &json!({"type": "invite", "id": id, "room": name, "code": code, "expires_at": 1}));
            }
            "join" => {
                let room = self.room(&name);
                let is_invited = asked["invite"] == room.code.as_str();
                if room.is_private && !room.lasting.contains(&user) {
                    if !is_invited {
                        refuse(self, "forbidden");
                        return Some(());
                    }
                    room.lasting.insert(user);
                }
                let after = asked["last_received_seq"].as_u64();
                self.enter(from, &name);
                let joined = self.joined(&name, id, after, after.is_some());
                self.send(from, &joined);
            }
            "leave" => {
                self.people.get_mut(&from)?.joined.remove(&name);
                self.send(from, &json!({"type": "left", "id": id, "room": name}));
            }
            "resume" => self.resume(from, id, &asked),
            "publish" => self.publish(from, id, &name, &asked, text),
            "history" => self.history(from, id, &name, &asked),
            "receipt" => {
                let kind = asked["kind"].as_str().unwrap_or("read").to_owned();
                let seq = asked["seq"].as_u64()?.min(self.room(&name).messages.len() as u64);
                let stored = self.receipts.entry((kind.clone(), name.clone(), user.clone())).or_default();
                *stored = seq.max(*stored);
                let stored = *stored;
                self.send(from, &json!({"type": "receipt", "id": id, "room": name, "kind": kind, "seq": stored}));
                let push = json!({"type": "receipt", "room": name, "user": user, "kind": kind, "seq": stored});
                self.tell_others(from, &name, &push);
            }
            "typing" => {
                let push = json!({"type": "typing", "room": name, "user": user, "active": asked["active"]});
                self.tell_others(from, &name, &push);
            }
            "list_rooms" => self.list(from, id, &user),
            "presence" => self.send(from, &json!({"type": "presence", "id": id, "room": name, "total": 1})),
            "status" => self.send(from, &json!({"type": "status", "status": asked["status"]})),
            other => panic!("the generator sent {other}"),
        }
        Some(())
    }

    /// A connection is in a room, and so is its session.
    fn enter(&mut self, from: u64, name: &str) {
        let Some(connection) = self.people.get_mut(&from) else { return };
        connection.joined.insert(name.to_owned());
        self.sessions.entry(connection.session.clone()).or_default().insert(name.to_owned());
    }

    fn members(&self, name: &str) -> Vec<u64> {
        self.people.iter().filter(|(_, member)| member.joined.contains(name)).map(|(id, _)| *id).collect()
    }

    fn tell_others(&mut self, from: u64, name: &str, push: &Value) {
        for member in self.members(name).into_iter().filter(|member| *member != from) {
            self.send(member, push);
        }
    }

    fn resume(&mut self, from: u64, id: Option<u64>, asked: &Value) {
        let session = asked["session"].as_str().unwrap_or_default();
        let known = self.sessions.get(session).cloned().filter(|_| self.fault != KeeperFault::NoSessions);
        let Some(rooms) = known else {
            return self
                .send(from, &json!({"type": "error", "id": id, "code": "session_unknown", "message": "refused"}));
        };
        self.send(from, &json!({"type": "resumed", "id": id, "rooms": rooms}));
        for name in rooms {
            let after = asked["positions"][&name]["seq"].as_u64();
            self.enter(from, &name);
            let joined = self.joined(&name, None, after, after.is_some());
            self.send(from, &joined);
        }
    }

    fn publish(&mut self, from: u64, id: Option<u64>, name: &str, asked: &Value, text: &str) {
        // The data as it was written: the last field of the generator's publishes.
        let data = text.split_once("\"data\":").map(|(_, data)| data[..data.len() - 1].to_owned()).expect("data");
        let (fault, user) = (self.fault, self.people[&from].user.clone());
        let room = self.room(name);
        room.messages.push((user.clone(), data.clone()));
        let seq = room.messages.len();
        let strikes = seq.is_multiple_of(10);
        let mut pushes =
            vec![format!(r#"{{"type":"message","room":"{name}","seq":{seq},"from":"{user}","at":1,"data":{data}}}"#)];
        match fault {
            KeeperFault::Swap if strikes => {
                room.held = pushes.pop();
            }
            _ => pushes.extend(room.held.take()),
        }
        let published = json!({"type": "published", "id": id, "room": name, "seq": seq, "epoch": room.epoch});
        self.send(from, &published);
        let is_silent = asked["echo"] == false;
        let members: Vec<u64> = self.members(name).into_iter().filter(|member| !is_silent || *member != from).collect();
        for (index, member) in members.iter().enumerate() {
            let is_struck = index + 1 == members.len() && strikes;
            for push in &pushes {
                match fault {
                    KeeperFault::Lose if is_struck => {}
                    KeeperFault::Duplicate if is_struck => (0..2).for_each(|_| self.send_text(*member, push)),
                    _ => self.send_text(*member, push),
                }
            }
        }
    }

    fn history(&mut self, from: u64, id: Option<u64>, name: &str, asked: &Value) {
        let (after, limit) = (asked["after"].as_u64().unwrap_or(0) as usize, asked["limit"].as_u64().unwrap_or(1));
        let room = self.room(name);
        let entry = |(index, (from, data)): (usize, &(String, String))| {
            format!(r#"{{"seq":{},"from":"{from}","at":1,"data":{data}}}"#, index + 1)
        };
        let page = room.messages.iter().enumerate().skip(after).take(limit as usize).map(entry).collect::<Vec<_>>();
        let text = format!(
            r#"{{"type":"history","id":{},"room":"{name}","epoch":"{}","first_seq":1,"head_seq":{},"messages":[{}]}}"#,
            id.unwrap_or(0),
            room.epoch,
            room.messages.len(),
            page.join(",")
        );
        self.send_text(from, &text);
    }

    fn list(&mut self, from: u64, id: Option<u64>, user: &str) {
        let miscount = u64::from(self.fault == KeeperFault::Miscount);
        let entry = |(name, room): (&String, &Room)| {
            let key = ("read".to_owned(), name.clone(), user.to_owned());
            let (head, read) = (room.messages.len() as u64, self.receipts.get(&key).copied().unwrap_or(0));
            json!({"room": name, "role": "member", "head_seq": head, "read_seq": read, "unread": head - read + miscount})
        };
        let rooms: Vec<Value> = self.rooms.iter().filter(|(_, room)| room.lasting.contains(user)).map(entry).collect();
        self.send(from, &json!({"type": "rooms", "id": id, "rooms": rooms}));
    }
}
