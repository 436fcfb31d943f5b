//! Clients and their homes: their requests, and the answers that are allowed.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::wire::protocol::{PresentUser, Status};

const SLOTS: [u32; 9] = [1, 2, 3, 11, 12, 13, 21, 22, 23];

#[derive(Debug, Default)]
struct Client {
    generation: u32,
    /// Its last command was a join.
    is_wanted: bool,
    /// Joins and leaves that are not answered.
    unanswered: u32,
    is_member: bool,
    away: bool,
    /// The last position at which it published and asked for its own message.
    own: Option<Position>,
    /// The status of users that it was told, by a page of presence or by news.
    told: BTreeMap<UserName, Status>,
    /// The position when it was last told.
    position: Option<Position>,
    /// The positions that its unanswered joins recover from, by id.
    asked: BTreeMap<u64, Recover>,
}

/// All clients, by slot, and what each core's home knows.
#[derive(Default)]
pub(super) struct Clients {
    clients: BTreeMap<u32, Client>,
    /// By core: the last message of the room's audience there.
    last: [Option<Position>; 3],
    /// The message at each position.
    said: BTreeMap<(u64, Seq), Bytes>,
    /// Unanswered commands, by id, with their connection.
    asked: BTreeMap<u64, (u32, u32)>,
    next_id: u64,
    published: BTreeMap<u64, Bytes>,
}

impl Clients {
    fn pick(&mut self, random: &mut Random) -> u32 {
        SLOTS[random.below(SLOTS.len() as u64) as usize]
    }

    fn member(&mut self, slot: u32) -> MemberRef {
        let generation = self.clients.entry(slot).or_default().generation;
        let form = if slot.is_multiple_of(3) { Form::Binary } else { Form::Json };
        MemberRef { conn: ConnId { generation, ..conn(slot) }, user: user(slot % 10), reading: form.into() }
    }

    /// The reply of a new command.
    fn reply(&mut self, slot: u32) -> ReplyTo {
        self.next_id += 1;
        let generation = self.clients.entry(slot).or_default().generation;
        self.asked.insert(self.next_id, (slot, generation));
        ReplyTo { id: Some(self.next_id), form: Form::Json }
    }

    pub fn publish(&mut self, world: &mut World, random: &mut Random) {
        let slot = self.pick(random);
        let member = self.member(slot);
        if !self.clients[&slot].is_wanted {
            return;
        }
        let reply = self.reply(slot);
        let (key, ephemeral) = (random.below(4) == 0, random.below(10) == 0);
        let data = Bytes::from(format!("\"{}\"", reply.id.expect("just given")));
        if !key {
            self.published.insert(self.next_id, data.clone());
        }
        let key = key.then(|| random.below(20).to_string().into());
        let publish = Publish { kind: DataKind::Json, data, key, echo: random.below(5) > 0, ephemeral };
        world.ask_with(member, Ask::Publish(publish), reply);
    }

    pub fn come_or_go(&mut self, world: &mut World, random: &mut Random) {
        let slot = self.pick(random);
        let member = self.member(slot);
        let what = random.below(10);
        let (is_wanted, away) = (self.clients[&slot].is_wanted, self.clients[&slot].away);
        let room = room();
        if !is_wanted || what == 0 {
            let reply = self.reply(slot);
            let client = self.clients.entry(slot).or_default();
            let recover = client.position.map(|at| Recover { seq: at.seq, epoch: Some(at.epoch) });
            let recover = recover.filter(|_| random.below(3) > 0);
            client.asked.extend(recover.map(|recover| (reply.id.expect("each has one"), recover)));
            client.is_wanted = true;
            client.unanswered += 1;
            world.hop(ToOwner::Join {
                room,
                member,
                away,
                again: is_wanted,
                recover,
                history: None,
                invite: None,
                standing: Standing::Anyone,
                reply,
            });
        } else if what < 4 {
            let reply = Some(self.reply(slot));
            let client = self.clients.entry(slot).or_default();
            client.is_wanted = false;
            client.unanswered += 1;
            world.hop(ToOwner::Leave { room, member, away, reply });
        } else if what < 7 {
            self.end(slot);
            world.hop(ToOwner::Leave { room, member, away, reply: None });
        } else {
            let MemberRef { conn, user, .. } = member;
            self.clients.entry(slot).or_default().away = !away;
            world.hop(ToOwner::Away { room, conn, user, away: !away });
        }
    }

    /// The connection has ended; another one will get its slot.
    fn end(&mut self, slot: u32) {
        let client = self.clients.entry(slot).or_default();
        *client = Client { generation: client.generation + 1, position: client.position, ..Client::default() };
        self.asked.retain(|_, (asker, _)| *asker != slot);
        self.forget_audience(conn(slot).home);
    }

    pub fn go(&mut self, world: &mut World) {
        for slot in SLOTS {
            let member = self.member(slot);
            let Client { is_wanted, away, .. } = self.clients[&slot];
            if is_wanted {
                world.hop(ToOwner::Leave { room: room(), member, away, reply: None });
            }
            self.end(slot);
        }
    }

    pub fn read(&mut self, world: &mut World, random: &mut Random) {
        let slot = self.pick(random);
        let member = self.member(slot);
        if !self.clients[&slot].is_wanted {
            return;
        }
        let (limit, reply) = (10, self.reply(slot));
        let ask = if random.below(2) == 0 {
            Ask::Presence { after: None, limit }
        } else {
            let after = (random.below(2) == 0).then(|| random.below(200));
            Ask::History { after, before: None, limit }
        };
        world.ask_with(member, ask, reply);
    }

    /// A core's home receives its hops.
    pub fn hear(&mut self, world: &mut World, core: u16) {
        for hop in world.hops(core) {
            let Hop::ToHome(hop) = hop else { panic!("an owner speaks to homes") };
            self.hear_one(core, hop);
            self.forget_audience(CoreId(core));
        }
    }

    fn hear_answer(&mut self, conn: ConnId, answer: Answer, reply: ReplyTo) {
        match answer {
            Answer::Published { epoch, seq, duplicate } => {
                let id = reply.id.expect("each has one");
                if let (Some(seq), Some(data), false) = (seq, self.published.get(&id).cloned(), duplicate) {
                    self.say(epoch, seq, &data);
                }
                if let (Some(client), Some(seq)) = (self.answered(conn, reply), seq)
                    && client.own.is_none_or(|own| own.epoch != epoch || own.seq < seq)
                {
                    client.own = Some(Position { epoch, seq });
                }
            }
            Answer::History { head, first_seq, messages } => {
                self.check(Position { seq: messages.last().map_or(head.seq, |last| last.seq), ..head }, &messages);
                assert!(messages.first().is_none_or(|first| first.seq >= first_seq));
                self.answered(conn, reply);
            }
            Answer::Presence { total, users } => {
                assert_eq!(users.len() as u64, total, "one page holds all");
                if let Some(client) = self.answered(conn, reply).filter(|client| client.is_member) {
                    client.told = (1..=3).chain(90..93).map(|index| (user(index), Status::Offline)).collect();
                    client.told.extend(users.into_iter().map(|user| (user.user, user.status)));
                }
            }
            Answer::Refused(_) => drop(self.answered(conn, reply)),
            _ => panic!("nobody asks for it here"),
        }
    }

    fn hear_one(&mut self, core: u16, hop: ToHome) {
        let at = usize::from(core);
        match hop {
            ToHome::Joined { conn, head, recovered, messages, reply, .. } => {
                self.check(head, &messages);
                if self.members(core).next().is_some() {
                    assert_eq!(self.last[at], Some(head), "whoever is a member here has everything up to the head");
                }
                self.last[at] = Some(head);
                if let Some(client) = self.answered(conn, reply) {
                    client.unanswered -= 1;
                    client.is_member = client.is_wanted || client.unanswered > 0;
                    client.position = Some(head);
                    let asked = client.asked.remove(&reply.id.expect("each has one"));
                    if let Some(asked) = asked.filter(|_| recovered) {
                        let first = messages.first().map_or(head.seq + 1, |first| first.seq);
                        assert_eq!((asked.seq + 1, asked.epoch), (first, Some(head.epoch)), "exactly what was missed");
                    }
                }
            }
            ToHome::Left { conn, reply, .. } => {
                let last = self.last[at];
                if let Some(client) = self.answered(conn, reply) {
                    client.unanswered -= 1;
                    let own = client.own.take();
                    if std::mem::take(&mut client.is_member)
                        && let Some(own) = own
                    {
                        let last = last.expect("a member's core knows where it stands");
                        assert!(own.epoch != last.epoch || own.seq <= last.seq, "left before its own message {own:?}");
                    }
                    client.told.clear();
                }
            }
            ToHome::Expelled { .. } | ToHome::PutOut { .. } | ToHome::LookedUp { .. } => {
                panic!("nobody is put out here")
            }
            ToHome::JoinRefused { conn, reply, .. } => {
                if let Some(client) = self.answered(conn, reply) {
                    client.unanswered -= 1;
                    client.is_wanted &= client.unanswered > 0 || client.is_member;
                }
            }
            ToHome::Answer { conn, answer, reply, .. } => self.hear_answer(conn, answer, reply),
            ToHome::News { news, frames, .. } => {
                assert!(!frames.is_empty());
                let members: Vec<_> = self.members(core).collect();
                for slot in members {
                    let client = self.clients.entry(slot).or_default();
                    match &news.changes {
                        None => client.told.clear(),
                        Some(changes) => client.told.extend(changes.iter().cloned()),
                    }
                }
            }
            ToHome::Deliver { delivery: Delivery { publication, .. }, .. } => {
                let Some(last) = &mut self.last[at] else { return };
                assert_eq!(publication.seq, last.seq + 1, "in order, without a hole");
                last.seq += 1;
                let epoch = last.epoch;
                self.say(epoch, publication.seq, &publication.data);
                self.advance(core);
            }
            ToHome::Gap { from, to, .. } => {
                let Some(last) = &mut self.last[at] else { return };
                assert_eq!(from, last.seq + 1, "a gap begins where the last message ended");
                assert!(to >= from);
                last.seq = to;
                self.advance(core);
            }
            ToHome::NewEpoch { head, messages, .. } => {
                self.check(head, &messages);
                if self.last[at].is_some() {
                    assert_ne!(self.last[at].map(|last| last.epoch), Some(head.epoch));
                    self.last[at] = Some(head);
                    self.advance(core);
                }
            }
            ToHome::Push { frames, .. } => assert!(!frames.is_empty()),
            ToHome::ConnectAdmitted { .. }
            | ToHome::AttemptAdmitted { .. }
            | ToHome::AttemptRefused { .. }
            | ToHome::UserAdmitted { .. }
            | ToHome::TooOften { .. }
            | ToHome::ConnectRefused { .. }
            | ToHome::Passed { .. } => panic!("no owner says this"),
        }
    }

    /// Messages of one reply: without a hole, and they end at the head.
    fn check(&mut self, head: Position, messages: &[Arc<Publication>]) {
        let first = head.seq + 1 - messages.len() as u64;
        for (publication, seq) in messages.iter().zip(first..) {
            assert_eq!(publication.seq, seq);
            self.say(head.epoch, seq, &publication.data);
        }
    }

    fn say(&mut self, epoch: Epoch, seq: Seq, data: &Bytes) {
        let said = self.said.entry((epoch.0, seq)).or_insert_with(|| data.clone());
        assert_eq!(said, data, "one message for one position: {epoch} {seq}");
    }

    fn answered(&mut self, conn: ConnId, reply: ReplyTo) -> Option<&mut Client> {
        let client = self.clients.get_mut(&conn.slot).filter(|client| client.generation == conn.generation)?;
        let asked = self.asked.remove(&reply.id.expect("each has one"));
        assert_eq!(asked, Some((conn.slot, conn.generation)), "each command is answered once");
        Some(client)
    }

    fn members(&self, core: u16) -> impl Iterator<Item = u32> {
        let here = self.clients.iter().filter(move |(slot, _)| conn(**slot).home == CoreId(core));
        here.filter(|(_, client)| client.is_member).map(|(slot, _)| *slot)
    }

    fn advance(&mut self, core: u16) {
        let members: BTreeSet<_> = self.members(core).collect();
        for slot in members {
            self.clients.entry(slot).or_default().position = self.last[usize::from(core)];
        }
    }

    /// An audience exists while anyone is a member or awaits an answer.
    fn forget_audience(&mut self, core: CoreId) {
        let mut here = self.clients.iter().filter(|(slot, _)| conn(**slot).home == core);
        if !here.any(|(_, client)| client.is_member || client.is_wanted || client.unanswered > 0) {
            self.last[core.index()] = None;
        }
    }

    pub fn assert_answered(&self) {
        assert!(self.asked.is_empty(), "not answered: {:?}", self.asked);
    }

    /// The status that members were told is still current.
    pub fn assert_told(&self, present: &[PresentUser]) {
        for (slot, client) in self.clients.iter().filter(|(_, client)| client.is_member) {
            for (user, told) in &client.told {
                let found = present.iter().find(|present| present.user == *user);
                let holds = found.map_or(Status::Offline, |present| present.status);
                assert_eq!(*told, holds, "client {slot} of {user}");
            }
        }
    }

    /// Number of statuses that members were told.
    pub fn told(&self) -> usize {
        self.clients.values().map(|client| client.told.len()).sum()
    }

    pub fn assert_up_to_date(&self, head: Position) {
        for (slot, client) in self.clients.iter().filter(|(_, client)| client.is_member) {
            assert_eq!(client.position, Some(head), "client {slot}");
        }
    }
}
