//! Who is in a room and what they ask of it: join, leave, away, pages of history and presence, status pushes.

use super::OwnerEffects;
use super::answer::{Asker, Refusal, left};
use super::room::Room;
use crate::base::codes::ErrorCode;
use crate::base::ids::{ConnId, RoomName, Seq, UserName};
use crate::base::limits::PAGE_MAX;
use crate::base::time::Now;
use crate::engine::hop::{MemberRef, ToHome};
use crate::wire::protocol::{Recover, ReplyTo};

/// A join, as its hop says it.
pub(super) struct Join {
    pub member: MemberRef,
    pub away: bool,
    pub again: bool,
    pub recover: Option<Recover>,
    pub history: Option<u32>,
    pub reply: ReplyTo,
}

/// Which messages a history command asks for.
pub(super) struct HistoryRange {
    pub after: Option<Seq>,
    pub before: Option<Seq>,
    pub limit: u32,
}

impl Room {
    /// Makes a member, or answers one that is a member already.
    pub fn join(&mut self, now: Now, join: Join, effects: &mut OwnerEffects<'_>) {
        let Join { member, away, again, recover, history, reply } = join;
        let asker = Asker::Connection { conn: member.conn, reply };
        let is_member = self.listeners.contains(member.conn);
        self.repair(effects);
        let home = member.conn.home;
        let is_full = self.listeners.is_behind(home) || effects.outbound.is_full_for_questions(home);
        if is_full || (again && !is_member) {
            asker.refuse(&self.name, Refusal { unjoin: true, ..Refusal::OVERLOADED }, effects);
            return;
        }
        if effects.budget.is_over() || (!is_member && effects.budget.is_tight()) {
            asker.refuse(&self.name, Refusal { unjoin: true, ..Refusal::OUT_OF_MEMORY }, effects);
            return;
        }
        if self.listeners.add(&member)
            && let Some(presence) = &mut self.presence
        {
            presence.join(&member.user, away, now.mono_ms());
        }
        self.expire(now);
        let recovered = recover.and_then(|recover| {
            let own = recover.epoch.is_none_or(|epoch| epoch == self.epoch);
            own.then(|| self.history.since(recover.seq, self.settings.recovery_max)).flatten()
        });
        let is_recovered = recovered.is_some();
        let messages = recovered.unwrap_or_else(|| {
            let count = history.unwrap_or(self.settings.history_on_join).min(self.settings.history_on_join_max);
            self.history.newest(count as usize)
        });
        effects.outbound.post_to_home(
            member.conn.home,
            ToHome::Joined {
                room: self.name.clone(),
                conn: member.conn,
                head: self.head(),
                recovered: is_recovered,
                messages,
                members: self.members(),
                reply,
            },
        );
    }

    /// Unmakes a member. What is none is taken for done.
    pub fn leave(
        &mut self,
        now: Now,
        member: &MemberRef,
        away: bool,
        reply: Option<ReplyTo>,
        effects: &mut OwnerEffects<'_>,
    ) {
        if self.listeners.remove(member)
            && let Some(presence) = &mut self.presence
        {
            presence.leave(&member.user, away, self.settings.presence_grace_ms, now.mono_ms());
        }
        if let Some(reply) = reply {
            left(&self.name, member.conn, reply, effects);
        }
    }

    /// A member's connection went away or came back.
    pub fn set_away(&mut self, now: Now, conn: ConnId, user: &UserName, away: bool) {
        if self.listeners.contains(conn)
            && let Some(presence) = &mut self.presence
        {
            presence.set_away(user, away, now.mono_ms());
        }
    }

    /// Answers with a page of history.
    pub fn read_history(&mut self, now: Now, asker: Asker, range: &HistoryRange, effects: &mut OwnerEffects<'_>) {
        if self.is_stranger(asker) {
            asker.refuse(&self.name, Refusal::NOT_JOINED, effects);
            return;
        }
        if self.settings.history_count_max == 0 {
            let refusal = Refusal::new(ErrorCode::HistoryUnavailable, "this room keeps no history");
            asker.refuse(&self.name, refusal, effects);
            return;
        }
        if effects.budget.is_over() {
            asker.refuse(&self.name, Refusal::OUT_OF_MEMORY, effects);
            return;
        }
        if refuse_page(asker, &self.name, effects) {
            return;
        }
        self.expire(now);
        let limit = self.page(range.limit.clamp(1, PAGE_MAX));
        let messages = match range.after {
            Some(after) => self.history.page_after(after, range.before, limit),
            None => self.history.page_before(range.before, limit),
        };
        asker.history(&self.name, (self.head(), self.history.first_seq()), messages, effects);
    }

    /// Answers with a page of the users present.
    pub fn read_presence(&mut self, asker: Asker, limit: u32, after: Option<&str>, effects: &mut OwnerEffects<'_>) {
        if self.is_stranger(asker) {
            asker.refuse(&self.name, Refusal::NOT_JOINED, effects);
            return;
        }
        let Some(presence) = &mut self.presence else {
            let refusal = Refusal::new(ErrorCode::Forbidden, "presence is off in this room");
            asker.refuse(&self.name, refusal, effects);
            return;
        };
        if refuse_page(asker, &self.name, effects) {
            return;
        }
        let users = presence.page(after, limit.clamp(1, PAGE_MAX) as usize, asker.conn().is_some());
        asker.members(&self.name, presence.present(), users, effects);
    }

    /// Whether the room is none of the asker's business: a connection that is no member.
    fn is_stranger(&self, asker: Asker) -> bool {
        asker.conn().is_some_and(|conn| !self.listeners.contains(conn))
    }

    /// Ends the graces that have passed and tells the members who changed, if it is time.
    pub fn tell_statuses(&mut self, now: Now, effects: &mut OwnerEffects<'_>) {
        let Some(presence) = &mut self.presence else { return };
        presence.expire(now.mono_ms());
        self.listeners.make_up(&self.name, effects);
        let names_max = self.settings.presence_names_max;
        let Some(news) = presence.take_news(self.listeners.members(), names_max, now.mono_ms()) else { return };
        self.listeners.tell(&self.name, news, effects);
    }
}

/// Refuses a page for which the asker's lane has no room.
fn refuse_page(asker: Asker, room: &RoomName, effects: &mut OwnerEffects<'_>) -> bool {
    let is_full = asker.conn().is_some_and(|conn| effects.outbound.is_full_for_questions(conn.home));
    if is_full {
        asker.refuse(room, Refusal::OVERLOADED, effects);
    }
    is_full
}
