//! Rooms that are created, described, deleted and administered, by commands and by the server.
//!
//! The token of a connection bounds everything: its home refuses whoever may not join the room. Within that a room that was
//! created goes by the roles that the store keeps, where `admin` of the token counts as owner. A room that was not created
//! has no roles: there only `admin` of the token may remove somebody. The server may do what an owner may.
//!
//! The store carries each request out as a whole, so that what it answers is what holds. Of the answer this core takes what
//! its members must see: removals, and whether the room was created.

use super::OwnerEffects;
use super::answer::Asker;
use super::creation::{Creation, may_create};
use super::questions::{Asked, Question, QuestionPurpose, RoomCommand, Undone};
use super::room::Room;
use super::room_id::RoomId;
use super::state::Owner;
use crate::base::chat::{Role, Visibility};
use crate::base::codes::ErrorCode;
use crate::base::ids::UserName;
use crate::base::limits::WAITING_BYTES;
use crate::engine::access::Standing;
use crate::engine::hop::PutOut;
use crate::engine::kept::{Actor, KeptRoom, RoomAct, RoomAsk, RoomDone, RoomRefusal};
use crate::wire::protocol::{Answer, Ask, LeftReason, Refusal, RoomInfo};

/// Who asks something that needs no membership.
pub(super) struct Administrator {
    pub asker: Asker,
    pub user: UserName,
    /// What the asker's token says of the room.
    pub standing: Standing,
}

impl Owner {
    /// Does what is asked of an open room and needs no membership, or asks the store to.
    pub(super) fn administer(
        &mut self,
        id: RoomId,
        Administrator { asker, user, standing }: Administrator,
        ask: Ask,
        effects: &mut OwnerEffects<'_>,
    ) {
        let has_place = self.may_keep(WAITING_BYTES + ask.bytes(), effects) && !self.asks.is_full();
        let creates_rooms = self.settings.creates_rooms();
        let Some(room) = self.rooms.get_mut(id) else { return };
        let name = room.stream.name.clone();
        let is_admin = standing == Standing::Admin;
        if let Some(answer) = room.answer_alone(&ask, standing, creates_rooms) {
            if let (Answer::Kicked { user }, true) = (&answer, asker.conn().is_some()) {
                room.put_out(PutOut::User(user.clone()), LeftReason::Kicked, effects);
            }
            return asker.answer(&name, answer, effects);
        }
        if !has_place {
            return asker.refuse(&name, Refusal::OVERLOADED, effects);
        }
        room.hold_for_answer(asker);
        let (act, asked) = act_of(ask, effects);
        let ask =
            RoomAsk { room: name.clone(), actor: Actor { user: user.clone(), is_admin }, at: effects.now.unix_ms, act };
        let purpose = QuestionPurpose::Command(Box::new(RoomCommand { asker, user, name, asked }));
        self.ask_store(Question { room: id, purpose }, ask, effects);
    }

    /// The store has done, or has not done, what a command or the server asked.
    pub(super) fn command_done(
        &mut self,
        id: RoomId,
        command: RoomCommand,
        done: Result<RoomDone, Undone>,
        effects: &mut OwnerEffects<'_>,
    ) {
        let RoomCommand { asker, user, name, asked } = command;
        let mut room = self.rooms.get_mut(id);
        if let (Some(room), Some(conn)) = (&mut room, asker.conn()) {
            room.release_held(conn);
        }
        let is_unsure = matches!(done, Err(Undone::Unavailable { .. }));
        let answer = match done {
            Ok(done) => asked.answer(done, room.as_deref_mut()),
            Err(undone) => Answer::Refused(asked.refusal(undone)),
        };
        // Before what follows from it: replies about one room keep their order.
        asker.answer(&name, answer.clone(), effects);
        match (&answer, &asked) {
            (Answer::Refused(_), _) if is_unsure => {
                if let Some(room) = room {
                    room.note_unsure(&asked, effects);
                }
            }
            (Answer::Room(info), Asked::Create { .. }) => {
                if let Some(room) = room {
                    room.creation = Creation::Done;
                    // Whoever came while the store was asked came into a room that anyone may join.
                    if info.visibility == Visibility::Private {
                        room.put_out(PutOut::AllBut(user), LeftReason::Kicked, effects);
                    }
                }
            }
            (Answer::RoomDeleted, _) => self.remove_deleted(id, &name, effects),
            (Answer::Kicked { user }, _) => {
                if let Some(room) = room {
                    room.refuse_recovering(user, effects);
                    // The server removes them itself, since it counts them.
                    if asker.conn().is_some() {
                        room.put_out(PutOut::User(user.clone()), LeftReason::Kicked, effects);
                    }
                }
            }
            _ => {}
        }
    }
}

/// What the store is asked for a command, and what is done with its answer.
fn act_of(ask: Ask, effects: &mut OwnerEffects<'_>) -> (RoomAct, Asked) {
    match ask {
        Ask::CreateRoom { visibility, title } => {
            let asked = Asked::Create { visibility, title: title.clone() };
            (RoomAct::Create { visibility, title }, asked)
        }
        Ask::DeleteRoom => (RoomAct::Delete, Asked::Delete),
        Ask::Invite { uses_max, ttl_ms } => {
            let code: Box<str> = effects.random.code().into();
            let expires_at = effects.now.unix_ms.saturating_add(ttl_ms);
            (RoomAct::Invite { code: code.clone(), uses_max, expires_at }, Asked::Invite { code, expires_at })
        }
        Ask::SetRole { user, role } => (RoomAct::SetRole { user: user.clone(), role }, Asked::SetRole { user, role }),
        Ask::Kick { user } => (RoomAct::Remove { user: user.clone() }, Asked::Kick { user }),
        _ => {
            debug_assert!(matches!(ask, Ask::RoomInfo), "members ask {ask:?} of the room itself");
            (RoomAct::Info, Asked::Info)
        }
    }
}

impl Asked {
    /// The answer to a command that the store has done.
    fn answer(&self, done: RoomDone, room: Option<&mut Room>) -> Answer {
        match (self.clone(), done) {
            (Asked::Create { visibility, title }, RoomDone::Created) => {
                Answer::Room(RoomInfo { visibility, role: Some(Role::Owner), title, figures: None })
            }
            (Asked::Delete, RoomDone::Deleted) => Answer::RoomDeleted,
            (Asked::Info, RoomDone::Info { room: Some(kept), role, head }) => {
                let KeptRoom { visibility, title, members } = kept;
                let kept_seq = head.map_or(0, |head| head.seq);
                let head_seq = room.map_or(kept_seq, |room| room.stream.history.head());
                Answer::Room(RoomInfo { visibility, role, title, figures: Some((members, head_seq)) })
            }
            (Asked::Info, RoomDone::Info { room: None, .. }) => Answer::Refused(Refusal::NOT_FOUND),
            (Asked::Invite { code, expires_at }, RoomDone::Invited) => Answer::Invited { code, expires_at },
            (Asked::SetRole { user, role }, RoomDone::RoleSet) => Answer::RoleSet { user, role },
            (Asked::Kick { user }, RoomDone::Removed) => Answer::Kicked { user },
            // The store answers what it was not asked.
            _ => Answer::Refused(Undone::UNANSWERED.into()),
        }
    }

    /// Why a command was not done.
    fn refusal(&self, undone: Undone) -> Refusal {
        let Undone::Refused(RoomRefusal::Forbidden) = undone else { return undone.into() };
        let words = match self {
            Asked::Create { .. } => "this user may not create the room",
            Asked::Delete => "only an owner of this room may delete it",
            Asked::Info => "this room is private",
            Asked::Invite { .. } => "only an admin or owner of this room may invite to it",
            Asked::SetRole { .. } => "only an owner of this room may give that role, and only an admin may add members",
            Asked::Kick { .. } => "only an admin of this room may remove members, and only an owner admins and owners",
        };
        Refusal::new(ErrorCode::Forbidden, words)
    }
}

impl Room {
    /// The answer to what needs no store, or cannot be asked of it; `None`: the store must say.
    fn answer_alone(&mut self, ask: &Ask, standing: Standing, creates_rooms: bool) -> Option<Answer> {
        if self.creation.asks_store() {
            let exists = Undone::Refused(RoomRefusal::Exists).into();
            let is_done = self.creation == Creation::Done;
            return (is_done && matches!(ask, Ask::CreateRoom { .. })).then_some(Answer::Refused(exists));
        }
        let refuse = |refusal| Some(Answer::Refused(refusal));
        match ask {
            Ask::CreateRoom { .. } if !creates_rooms => refuse(Refusal::NO_STORE),
            Ask::CreateRoom { .. } if !may_create(self.stream.settings.create, standing) => {
                refuse(Refusal::new(ErrorCode::Forbidden, "the token does not allow to create this room"))
            }
            Ask::CreateRoom { .. } if !self.is_unused() => refuse(Undone::Refused(RoomRefusal::Exists).into()),
            Ask::CreateRoom { .. } => None,
            _ if self.is_unknown() => refuse(Refusal::NOT_FOUND),
            Ask::RoomInfo => {
                let figures = Some((self.stream.members(), self.stream.history.head()));
                let (visibility, title) = (Visibility::Public, Box::default());
                Some(Answer::Room(RoomInfo { visibility, role: None, title, figures }))
            }
            Ask::Kick { user } if standing == Standing::Admin => Some(Answer::Kicked { user: user.clone() }),
            Ask::Kick { .. } => {
                let words = "this room has no roles: removing a user takes a token that grants `admin`";
                refuse(Refusal::new(ErrorCode::Forbidden, words))
            }
            _ => refuse(Refusal::new(ErrorCode::RoomNotFound, "this room was not created and has no roles")),
        }
    }

    /// The store has not said whether it has created or deleted the room: asks it to load the room, which tells.
    fn note_unsure(&mut self, asked: &Asked, effects: &mut OwnerEffects<'_>) {
        self.creation = match asked {
            Asked::Create { .. } if self.creation == Creation::Not => Creation::Unsure,
            Asked::Delete => Creation::DeletionUnsure,
            _ => return,
        };
        self.ask_whether_created(effects);
    }

    /// Makes further hops of a connection wait for the answer that it has asked for: replies about one room keep their
    /// order.
    fn hold_for_answer(&mut self, asker: Asker) {
        if let Some(conn) = asker.conn() {
            self.hold(conn);
        }
    }

    /// Has members expelled by their homes.
    pub(super) fn put_out(&mut self, whom: PutOut, reason: LeftReason, effects: &mut OwnerEffects<'_>) {
        self.stream.listeners.put_out(&self.stream.name, &whom, reason, effects);
    }
}
