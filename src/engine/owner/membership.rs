//! Membership of a room: join, leave, away, and status pushes.

use std::sync::Arc;

use super::OwnerEffects;
use super::answer::{left, refuse_join};
use super::join::Join;
use super::room::Room;
use crate::base::ids::{ConnId, UserName};
use crate::base::time::Now;
use crate::engine::hop::{MemberRef, ToHome};
use crate::wire::protocol::{Recover, Refusal, ReplyTo};
use crate::wire::publication::Publication;

impl Room {
    /// Makes a member, or answers one that is a member already; where memory lacks something that a join recovers, once
    /// that has been read. `older` is what has been, `may_wait` whether the core has memory for more.
    pub fn join(&mut self, join: Join, older: Vec<Arc<Publication>>, may_wait: bool, effects: &mut OwnerEffects<'_>) {
        self.stream.repair(effects);
        if let Err(refusal) = self.may_join(&join, effects) {
            return refuse_join(&self.stream.name, (join.member.conn, join.reply), refusal, effects);
        }
        self.stream.expire(effects.now);
        match self.missing_from(join.recover, &older) {
            Some(from) => self.wait_for_missed(join, (from, older), may_wait, effects),
            None => self.let_in(join, older, effects),
        }
    }

    fn may_join(&self, Join { member, again, .. }: &Join, effects: &OwnerEffects<'_>) -> Result<(), Refusal> {
        let is_member = self.stream.listeners.contains(member.conn);
        let home = member.conn.home;
        let is_full = self.stream.listeners.is_behind(home) || effects.outbound.is_full_for_questions(home);
        if is_full || (*again && !is_member) {
            return Err(Refusal::OVERLOADED);
        }
        let is_short = effects.budget.is_over() || (!is_member && effects.budget.is_tight());
        if is_short { Err(Refusal::OUT_OF_MEMORY) } else { Ok(()) }
    }

    fn let_in(&mut self, join: Join, older: Vec<Arc<Publication>>, effects: &mut OwnerEffects<'_>) {
        let Join { member, away, recover, history, role, reply, .. } = join;
        if self.stream.listeners.add(&member)
            && let Some(presence) = &mut self.stream.presence
        {
            presence.join(&member.user, away, effects.now.mono_ms());
        }
        let recovered = recover.and_then(|recover| self.missed(recover, older));
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
                role,
                reply,
            },
        );
    }

    /// Everything above a position, if all of it is there: `older`, and then what memory holds.
    fn missed(&self, recover: Recover, mut older: Vec<Arc<Publication>>) -> Option<Vec<Arc<Publication>>> {
        let (stream, max) = (&self.stream, self.stream.settings.recovery_max);
        if recover.epoch.is_some_and(|epoch| epoch != stream.epoch) {
            return None;
        }
        let from = older.last().map_or(recover.seq, |last| last.seq);
        older.extend(stream.history.since(from, max)?);
        (older.len() <= max).then_some(older)
    }

    /// Removes a member; a no-op if it is none.
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
