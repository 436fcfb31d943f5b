//! Opens connections that are let in: the 101 answer, `welcome`, and the joins of the rooms that the query names. Never
//! refuses one.

use crate::base::ids::{Epoch, UserName};
use crate::base::limits::WS_PATH;
use crate::engine::access::Access;
use crate::engine::home::commands::Wanted;
use crate::engine::home::{Home, HomeEffects};
use crate::engine::outbox::{Outgoing, Role};
use crate::engine::session::{Marks, Phase};
use crate::wire::dialect::Dialect;
use crate::wire::encode::encode_push;
use crate::wire::form::Form;
use crate::wire::handshake::{Upgrade, accept_deflate_response, accept_response};
use crate::wire::protocol::{Push, Recover, ReplyTo};
use crate::wire::reading::Reading;

impl Home {
    /// Accepts an upgrade: after the 101 answer the client speaks the dialect that it has chosen.
    pub(super) fn accept(&mut self, slot: u32, upgrade: &Upgrade, effects: &mut HomeEffects<'_>) {
        let dialect = self.dialect_of(upgrade);
        let place = self.settings.dialects.iter().position(|offered| offered == dialect);
        let deflate = upgrade.deflate.filter(|_| self.settings.compression.is_some());
        let session = self.sessions.at_mut(slot);
        session.dialect =
            place.and_then(|place| u8::try_from(place).ok()).expect("it was chosen among the few on offer");
        session.reading = Some(Reading::new(dialect.form, deflate.map(|offer| offer.window)));
        if upgrade.path != WS_PATH {
            session.marks.set(Marks::ECHO);
        }
        let bytes = if deflate.is_some() { accept_deflate_response(upgrade) } else { accept_response(upgrade) };
        let accept = Outgoing { bytes, messages: 0, role: Role::Opening };
        self.outboxes.push(slot, accept, effects.budget);
    }

    /// Opens the connection of an upgrade whose 101 answer is queued.
    pub(super) fn open(
        &mut self,
        slot: u32,
        upgrade: &Upgrade,
        user: UserName,
        access: Option<Box<Access>>,
        effects: &mut HomeEffects<'_>,
    ) {
        let form = self.dialect_of(upgrade).form;
        let session = self.sessions.at_mut(slot);
        let opening_us = session.take_opening_us(effects.now);
        session.phase = Phase::Open;
        if self.settings.limits.message_rate_per_user.is_some() {
            session.marks.set(Marks::COUNTED_MESSAGES);
        }
        session.user = Some(user.clone());
        let (id, echo) = (session.id(self.core, slot), session.marks.has(Marks::ECHO));
        self.expect_idle(slot, effects.now);
        self.slots.open(&user, effects.budget);
        effects.counters.upgrading.sub(1);
        effects.counters.connections.add(1);
        effects.counters.upgrade.record(opening_us, 1);
        let name = access.as_ref().and_then(|access| access.name.clone());
        if let Some(access) = access {
            self.hold_token(slot, *access, effects);
        }
        if echo {
            return;
        }
        let session = effects.users.sessions.open(id, &user, effects.now, &mut effects.output.store).to_string();
        let welcome = Push::Welcome {
            connection: &id.to_string(),
            user: &user,
            name: name.as_deref(),
            session: &session,
            node: &self.settings.node,
            heartbeat_ms: self.settings.heartbeat_interval_ms,
            max_message_bytes: self.settings.max_message_bytes as u64,
        };
        let welcome = encode_push(&welcome, form);
        self.say_welcome(slot, welcome, effects);
        self.join_by_query(slot, upgrade, form, effects);
    }

    /// The dialect of an upgrade; the first one where the client names none.
    pub(super) fn dialect_of(&self, upgrade: &Upgrade) -> &'static Dialect {
        upgrade.dialect.unwrap_or(&self.settings.dialects[0])
    }

    fn join_by_query(&mut self, slot: u32, upgrade: &Upgrade, form: Form, effects: &mut HomeEffects<'_>) {
        let recover = upgrade.last_received_seq.filter(|_| upgrade.rooms.len() == 1);
        let epoch = upgrade.epoch.as_deref().map(Epoch::from_text);
        let wanted = Wanted { recover: recover.map(|seq| Recover { seq, epoch }), history: None, invite: None };
        self.paces.count_joins(slot, upgrade.rooms.len(), self.settings.limits.command_rate, effects.now);
        for room in &upgrade.rooms {
            let session = self.sessions.at(slot);
            if session.phase != Phase::Open {
                return;
            }
            // Named twice: each join would be answered with the room's history.
            let audience = self.audiences.find(room);
            if session.memberships.iter().any(|membership| Some(membership.audience) == audience) {
                continue;
            }
            self.join(slot, room, wanted.clone(), ReplyTo { id: None, form }, true, effects);
        }
    }
}
