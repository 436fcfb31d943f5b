//! The owner half as a whole: hops and events in, hops and requests out. Outputs are compared as short lines of text.

mod created;
mod delivery;
mod leaving;
mod link;
mod machines;
mod members;
mod pages;
mod publishing;
mod receipts;
mod retention;
mod rollback;
mod seeded;
mod store;
mod typing;

use bytes::Bytes;

use std::sync::Arc;

use super::room::Room;
use super::*;
use crate::base::chat::ReceiptKind;
use crate::base::codes::ErrorCode;
use crate::base::counters::CoreCounters;
use crate::base::ids::Position;
use crate::base::ids::{ConnId, Epoch, Seq, UserName};
use crate::base::ids::{CoreId, RoomName};
use crate::base::limits::LANE_BYTES_MAX;
use crate::base::time::Now;
use crate::engine::access::Standing;
use crate::engine::budget::Budget;
use crate::engine::call::CallAnswer;
use crate::engine::hop::ToOwner;
use crate::engine::hop::{Delivery, Hop, MemberRef, PutOut, ToHome};
use crate::engine::kept::{KeptAnswer, KeptAsk, RoomAct, RoomAsk, RoomDone, RoomRefusal};
use crate::engine::link_port::LinkRequest;
use crate::engine::link_port::{LinkEvent, LinkFailure, LinkHead, Present, UserCounts};
use crate::engine::outbound::Outbound;
use crate::engine::owner::room::tests::START;
use crate::engine::packer::Packer;
use crate::engine::random::{Part, Secrets};
use crate::engine::random::{Random, TableKeys};
use crate::engine::record::{PageAnswer, PageRequest, Record, RecordPage, Stretch};
use crate::engine::settings::Settings;
use crate::engine::settings::{KeepingMode, NumberingMode, RoomSettings};
use crate::engine::store_port::KeptKey;
use crate::engine::store_port::{StoreEvent, StoreRequest};
use crate::engine::trace::Span;
use crate::wire::form::{Form, Frames};
use crate::wire::protocol::Refusal;
use crate::wire::protocol::{Answer, Ask, LeftReason, Publish, Recover, ReplyTo};
use crate::wire::publication::{DataKind, Publication};

const REPLY: ReplyTo = ReplyTo { id: Some(1), form: Form::Json };

/// An owner on core 0 of three and everything around it. Connections are named by their slot; slot 10 to 19 is on core
/// 1, 20 to 29 on core 2, all others on core 0. Their users are `u<slot>`.
struct World {
    owner: Owner,
    random: Random,
    tables: TableKeys,
    outbound: Outbound,
    spans: Vec<Span>,
    link: Vec<LinkRequest>,
    /// Of the last question to the link that was looked at.
    token: u64,
    /// Of the last question for positions.
    positions_token: u64,
    store: Vec<StoreRequest>,
    answers: Vec<(u64, CallAnswer)>,
    counters: CoreCounters,
    budget: Budget,
    packer: Packer,
    now: Now,
}

impl World {
    fn new(change: impl FnOnce(&mut Settings, &mut RoomSettings)) -> Self {
        let mut settings = Settings::for_tests();
        let mut rooms = RoomSettings::clone(&settings.rooms);
        change(&mut settings, &mut rooms);
        settings.rooms = Arc::new(rooms);
        let secrets = Secrets::from(7);
        let mut tables = secrets.tables(CoreId(0), Part::Owner);
        Self {
            budget: Budget::new(settings.memory_budget_bytes),
            packer: Packer::new(settings.compression),
            owner: Owner::new(Arc::new(settings), CoreId(0), &mut tables),
            random: secrets.shown(CoreId(0), Part::Owner),
            tables,
            outbound: Outbound::new(CoreId(0), 3),
            spans: Vec::new(),
            link: Vec::new(),
            token: 0,
            positions_token: 0,
            store: Vec::new(),
            answers: Vec::new(),
            counters: CoreCounters::default(),
            now: START,
        }
    }

    fn memory() -> Self {
        Self::new(|_, _| {})
    }

    fn with<T>(&mut self, call: impl FnOnce(&mut Owner, &mut OwnerEffects<'_>) -> T) -> T {
        let mut effects = OwnerEffects {
            now: self.now,
            node: "here",
            random: &mut self.random,
            tables: &mut self.tables,
            outbound: &mut self.outbound,
            spans: &mut self.spans,
            link: &mut self.link,
            store: &mut self.store,
            answers: &mut self.answers,
            counters: &self.counters,
            budget: &mut self.budget,
            packer: &mut self.packer,
        };
        call(&mut self.owner, &mut effects)
    }

    fn hop(&mut self, hop: ToOwner) {
        self.with(|owner, effects| owner.handle_hop(hop, effects));
    }

    fn link_event(&mut self, event: LinkEvent) {
        self.with(|owner, effects| owner.handle_link(event, effects));
    }

    fn store_event(&mut self, event: StoreEvent) {
        self.with(|owner, effects| owner.handle_store(event, effects));
    }

    fn join(&mut self, slot: u32) {
        self.join_from(slot, None, None);
    }

    fn join_from(&mut self, slot: u32, recover: Option<Recover>, history: Option<u32>) {
        self.hop(ToOwner::Join {
            room: room(),
            member: member(slot),
            away: false,
            again: false,
            recover,
            history,
            invite: None,
            standing: Standing::Anyone,
            reply: REPLY,
        });
    }

    fn join_again(&mut self, slot: u32) {
        self.hop(ToOwner::Join {
            room: room(),
            member: member(slot),
            away: false,
            again: true,
            recover: None,
            history: Some(0),
            invite: None,
            standing: Standing::Anyone,
            reply: REPLY,
        });
    }

    fn leave(&mut self, slot: u32) {
        self.hop(ToOwner::Leave { room: room(), member: member(slot), away: false, reply: Some(REPLY) });
    }

    fn gone(&mut self, slot: u32) {
        self.hop(ToOwner::Leave { room: room(), member: member(slot), away: false, reply: None });
    }

    fn away(&mut self, slot: u32, away: bool) {
        self.hop(ToOwner::Away { room: room(), conn: conn(slot), user: user(slot), away });
    }

    fn page(&mut self, slot: u32) {
        self.ask(slot, Ask::Presence { after: None, limit: 9 });
    }

    fn publish(&mut self, slot: u32) {
        self.publish_with(slot, |_| {});
    }

    fn publish_key(&mut self, slot: u32, key: &str) {
        self.publish_with(slot, |publish| publish.key = Some(key.into()));
    }

    fn publish_with(&mut self, slot: u32, change: impl FnOnce(&mut Publish)) {
        let data = Bytes::from_static(b"\"hi\"");
        let mut publish = Publish { kind: DataKind::Json, data, key: None, echo: true, ephemeral: false };
        change(&mut publish);
        self.ask(slot, Ask::Publish(publish));
    }

    fn ask(&mut self, slot: u32, ask: Ask) {
        self.ask_with(member(slot), ask, REPLY);
    }

    fn ask_with(&mut self, MemberRef { conn, user, .. }: MemberRef, ask: Ask, reply: ReplyTo) {
        let (room, arrived_us, trace) = (room(), self.now.mono_us, None);
        self.hop(match ask.is_for_members() {
            true => ToOwner::Ask { room, conn, user, ask, arrived_us, trace, reply },
            false => ToOwner::Administer { room, conn, user, ask, standing: Standing::Anyone, reply },
        });
    }

    /// Advances time, with every tick that is due.
    fn pass(&mut self, ms: u64) {
        let end_us = self.now.mono_us + ms * 1_000;
        while let Some(due_us) = self.owner.next_tick_us(self.now).filter(|due_us| *due_us <= end_us) {
            let before = self.now;
            self.set_mono(due_us);
            self.with(|owner, effects| owner.tick(effects));
            assert!(
                self.owner.next_tick_us(self.now).is_none_or(|next_us| next_us > before.mono_us),
                "a tick leaves nothing due in the past"
            );
        }
        self.set_mono(end_us);
    }

    fn set_mono(&mut self, mono_us: u64) {
        self.now.unix_ms += (mono_us - self.now.mono_us) / 1_000;
        self.now.mono_us = mono_us;
    }

    /// Takes the hops to one core since the last call.
    fn hops(&mut self, core: u16) -> Vec<Hop> {
        let mut hops = match core {
            0 => std::iter::from_fn(|| self.outbound.take_own()).collect(),
            _ => self.outbound.take_staged(CoreId(core), Vec::new()),
        };
        hops.retain(|hop| !is_filler(hop));
        hops
    }

    /// Takes what was sent to one core since the last call.
    fn sent(&mut self, core: u16) -> Vec<String> {
        self.hops(core).iter().map(describe).collect()
    }

    /// As [`World::sent`], of the home core of slots below 10.
    fn own(&mut self) -> Vec<String> {
        self.sent(0)
    }

    /// Discards what was sent and requested until now.
    fn discard(&mut self) {
        for core in 0..3 {
            self.sent(core);
        }
        self.take_link();
        self.store.clear();
    }

    /// What the link was asked since it was last looked at.
    fn take_link(&mut self) -> Vec<LinkRequest> {
        let requests = std::mem::take(&mut self.link);
        for request in &requests {
            match request {
                LinkRequest::Open { token, .. }
                | LinkRequest::Read { token, .. }
                | LinkRequest::Renumber { token, .. } => self.token = *token,
                LinkRequest::Positions { token, .. } => self.positions_token = *token,
                _ => {}
            }
        }
        requests
    }

    /// The link answers the last question.
    fn link_holds(&mut self, stretch: Stretch, present: Option<Present>) {
        let requests = self.take_link();
        self.link = requests;
        self.link_event(LinkEvent::Read { token: self.token, room: room(), stretch, present });
    }

    /// What the store was asked about rooms since it was last looked at, by token. Drops its other requests.
    fn questions(&mut self) -> Vec<(u64, RoomAsk)> {
        let asks = self.store.drain(..).filter_map(|request| match request {
            StoreRequest::Ask { token, ask: KeptAsk::Room(ask) } => Some((token, ask)),
            _ => None,
        });
        asks.collect()
    }

    /// The store answers a question.
    fn done(&mut self, token: u64, result: Result<RoomDone, RoomRefusal>) {
        self.store_event(StoreEvent::Answered { token, answer: KeptAnswer::Room(result) });
    }

    fn fill_lane(&mut self, core: u16) {
        let mut frames = Frames::default();
        frames.set(Form::Json, Bytes::from(vec![0; LANE_BYTES_MAX]));
        self.outbound
            .post_to_home(CoreId(core), ToHome::Push { room: filler_room(), frames, variants: None, except: None });
        assert!(self.outbound.is_full(CoreId(core)));
    }

    fn epoch(&mut self) -> Epoch {
        let id = self.owner.rooms.find(&room()).expect("the room is there");
        self.owner.rooms.get(id).expect("the room is there").stream.epoch
    }

    /// The attempt in which the room asks the store; 0 without a room.
    fn attempt(&self) -> u64 {
        let id = self.owner.rooms.find(&room());
        id.and_then(|id| self.owner.rooms.get(id)).map_or(0, |room| room.attempt())
    }

    fn has_room(&self) -> bool {
        self.owner.rooms.find(&room()).is_some()
    }

    /// Asserts that nothing is held, counted, charged or pending.
    fn assert_empty(&self) {
        assert!(self.owner.rooms.all().is_empty());
        assert_eq!((self.counters.rooms.get(), self.counters.rooms_held.get()), (0, 0));
        let retention = &self.owner.retention;
        assert_eq!((self.budget.used(), self.budget.standing()), (0, 0));
        assert_eq!((retention.bytes, retention.kept_bytes, self.owner.largest.rooms()), (0, 0, 0));
        assert_eq!(self.owner.next_tick_us(self.now), None);
        assert!(self.owner.awaited.is_empty() && self.owner.asks.is_empty());
    }
}

fn room() -> RoomName {
    RoomName::new("lobby").expect("valid")
}

fn user(slot: u32) -> UserName {
    UserName::new(&format!("u{slot}")).expect("valid")
}

fn conn(slot: u32) -> ConnId {
    let home = CoreId(if (10..30).contains(&slot) { (slot / 10) as u16 } else { 0 });
    ConnId { home, slot, generation: 1 }
}

fn member(slot: u32) -> MemberRef {
    MemberRef { conn: conn(slot), user: user(slot), reading: Form::Json.into() }
}

fn record(seq: Seq, from: u32) -> Record {
    Record {
        seq,
        at: START.unix_ms,
        from: user(from),
        kind: DataKind::Json,
        data: Bytes::from_static(b"\"hi\""),
        key: None,
        except: None,
    }
}

fn filler_room() -> RoomName {
    RoomName::new("filler").expect("valid")
}

/// A hop that is not for an owner.
fn filler() -> Hop {
    Hop::ToHome(ToHome::Left { room: filler_room(), conn: conn(0), reply: REPLY })
}

fn is_filler(hop: &Hop) -> bool {
    matches!(hop, Hop::ToHome(ToHome::Left { room, .. } | ToHome::Push { room, .. }) if &**room == "filler")
}

fn seqs(messages: &[Arc<Publication>]) -> Vec<Seq> {
    messages.iter().map(|publication| publication.seq).collect()
}

fn text(frames: &Frames) -> String {
    let frame = frames.get(Form::Json).map_or(&[][..], |frame| frame);
    String::from_utf8_lossy(frame).chars().filter(|character| character.is_ascii_graphic()).collect()
}

/// The pushes sent to one core: their JSON, and the connection that is left out.
fn pushes(world: &mut World, core: u16) -> Vec<(String, Option<u32>)> {
    let hops = world.hops(core).into_iter().filter_map(|hop| match hop {
        Hop::ToHome(ToHome::Push { frames, except, .. }) => {
            let text = text(&frames);
            Some((text[text.find('{').expect("JSON")..].to_owned(), except.map(|conn| conn.slot)))
        }
        _ => None,
    });
    hops.collect()
}

fn describe(hop: &Hop) -> String {
    let Hop::ToHome(hop) = hop else { panic!("an owner speaks to homes only: {hop:?}") };
    match hop {
        ToHome::Joined { conn, head, recovered, messages, members, role, .. } => {
            let how = if *recovered { "recovered" } else { "joined" };
            let role = role.map_or(String::new(), |role| format!(" as {}", role.as_str()));
            format!("{} {how} at {} {:?} of {members}{role}", conn.slot, head.seq, seqs(messages))
        }
        ToHome::PutOut { whom, reason, .. } => format!("put out {whom:?} {}", reason.as_str()),
        ToHome::Left { conn, .. } => format!("{} left", conn.slot),
        ToHome::Expelled { conn, .. } => format!("{} expelled", conn.slot),
        ToHome::Answer { conn, answer, .. } => format!("{} {}", conn.slot, describe_answer(answer)),
        ToHome::JoinRefused { conn, refusal, .. } => format!("{} {} unjoin", conn.slot, describe_refusal(refusal)),
        ToHome::Deliver { delivery, .. } => {
            let publication = &delivery.publication;
            let except = publication.except;
            let except = except.map_or(String::new(), |conn| format!(" but {}", conn.slot));
            format!("message {}{except}", publication.seq)
        }
        ToHome::Push { frames, .. } => format!("push {}", text(frames)),
        ToHome::News { news, frames, .. } => {
            assert!(!frames.is_empty());
            match &news.changes {
                None => format!("total {}", news.total),
                Some(changes) => {
                    let changes: Vec<_> =
                        changes.iter().map(|(user, status)| format!("{user} {}", status.as_str())).collect();
                    format!("statuses {}", changes.join(", "))
                }
            }
        }
        ToHome::Gap { from, to, .. } => format!("gap {from}..{to}"),
        ToHome::ConnectAdmitted { .. }
        | ToHome::AttemptAdmitted { .. }
        | ToHome::AttemptRefused { .. }
        | ToHome::UserAdmitted { .. }
        | ToHome::TooOften { .. }
        | ToHome::ConnectRefused { .. }
        | ToHome::LookedUp { .. }
        | ToHome::Passed { .. } => panic!("no owner says this: {hop:?}"),
        ToHome::NewEpoch { head, messages, members, .. } => {
            format!("new epoch at {} {:?} of {members}", head.seq, seqs(messages))
        }
    }
}

fn describe_answer(answer: &Answer) -> String {
    match answer {
        Answer::Published { seq, duplicate, .. } => {
            let seq = seq.map_or("ephemeral".to_owned(), |seq| seq.to_string());
            format!("published {seq}{}", if *duplicate { " again" } else { "" })
        }
        Answer::History { head, first_seq, messages } => {
            format!("history {:?} of {first_seq}..{}", seqs(messages), head.seq)
        }
        Answer::Presence { total, users } => {
            let users: Vec<_> = users.iter().map(|user| user.user.to_string()).collect();
            format!("presence {} of {total}", users.join(","))
        }
        Answer::Refused(refusal) => describe_refusal(refusal),
        Answer::Typing => "typing".to_owned(),
        Answer::Room(info) => {
            let role = info.role.map_or("nobody", |role| role.as_str());
            format!("room {} {role} {:?} {:?}", info.visibility.as_str(), info.title, info.figures)
        }
        Answer::RoomDeleted => "deleted".to_owned(),
        Answer::Invited { expires_at, .. } => format!("invite until {expires_at}"),
        Answer::RoleSet { user, role } => format!("role {user} {}", role.as_str()),
        Answer::Kicked { user } => format!("kicked {user}"),
        Answer::Receipt { kind, seq } => format!("receipt {} {seq}", kind.as_str()),
        Answer::Summary(summary) => format!("{summary:?}"),
    }
}

fn describe_refusal(refusal: &Refusal) -> String {
    let retry = refusal.retry_after_ms.map_or(String::new(), |ms| format!(" for {ms}"));
    format!("{}{retry}", refusal.code.as_str())
}
