//! Membership of a room: join, leave, away, and status pushes.

use super::OwnerEffects;
use super::answer::{left, refuse_join};
use super::room::Room;
use crate::base::ids::{ConnId, UserName};
use crate::base::time::Now;
use crate::engine::hop::{MemberRef, ToHome};
use crate::wire::protocol::{Recover, Refusal, ReplyTo};

/// A join, as in its hop.
pub(super) struct Join {
    pub member: MemberRef,
    pub away: bool,
    pub again: bool,
    pub recover: Option<Recover>,
    pub history: Option<u32>,
    pub reply: ReplyTo,
}

impl Room {
    /// Adds a member, or answers an existing one.
    pub fn join(&mut self, join: Join, effects: &mut OwnerEffects<'_>) {
        let Join { member, away, again, recover, history, reply } = join;
        let joiner = (member.conn, reply);
        let is_member = self.stream.listeners.contains(member.conn);
        self.stream.repair(effects);
        let home = member.conn.home;
        let is_full = self.stream.listeners.is_behind(home) || effects.outbound.is_full_for_questions(home);
        if is_full || (again && !is_member) {
            refuse_join(&self.stream.name, joiner, Refusal::OVERLOADED, effects);
            return;
        }
        if effects.budget.is_over() || (!is_member && effects.budget.is_tight()) {
            refuse_join(&self.stream.name, joiner, Refusal::OUT_OF_MEMORY, effects);
            return;
        }
        if self.stream.listeners.add(&member)
            && let Some(presence) = &mut self.stream.presence
        {
            presence.join(&member.user, away, effects.now.mono_ms());
        }
        self.stream.expire(effects.now);
        let recovered = recover.and_then(|recover| {
            let own = recover.epoch.is_none_or(|epoch| epoch == self.stream.epoch);
            own.then(|| self.stream.history.since(recover.seq, self.stream.settings.recovery_max)).flatten()
        });
        let is_recovered = recovered.is_some();
        let messages = recovered.unwrap_or_else(|| {
            let count =
                history.unwrap_or(self.stream.settings.history_on_join).min(self.stream.settings.history_on_join_max);
            self.stream.history.newest(count as usize)
        });
        effects.outbound.post_to_home(
            member.conn.home,
            ToHome::Joined {
                room: self.stream.name.clone(),
                conn: member.conn,
                head: self.stream.head(),
                recovered: is_recovered,
                messages,
                members: self.stream.members(),
                reply,
            },
        );
    }

    /// Removes a member; no-op if absent.
    pub fn leave(&mut self, member: &MemberRef, away: bool, reply: Option<ReplyTo>, effects: &mut OwnerEffects<'_>) {
        if self.stream.listeners.remove(member)
            && let Some(presence) = &mut self.stream.presence
        {
            presence.leave(&member.user, away, self.stream.settings.presence_grace_ms, effects.now.mono_ms());
        }
        if let Some(reply) = reply {
            left(&self.stream.name, member.conn, reply, effects);
        }
    }

    /// A member went away or came back on a connection.
    pub fn set_away(&mut self, conn: ConnId, user: &UserName, away: bool, now: Now) {
        if self.stream.listeners.contains(conn)
            && let Some(presence) = &mut self.stream.presence
        {
            presence.set_away(user, away, now.mono_ms());
        }
    }

    /// Ends grace periods that have passed, and sends presence news if it is due.
    pub fn tell_statuses(&mut self, effects: &mut OwnerEffects<'_>) {
        let Some(presence) = &mut self.stream.presence else { return };
        presence.expire(effects.now.mono_ms());
        self.stream.listeners.make_up(&self.stream.name, effects);
        let names_max = self.stream.settings.presence_names_max;
        let Some(news) = presence.take_news(self.stream.listeners.members(), names_max, effects.now.mono_ms()) else {
            return;
        };
        self.stream.listeners.tell(&self.stream.name, news, effects);
    }
}
