//! Receipts of members: cut to the room's head, kept by the store where there is one, told to the other members when they
//! have risen. What is known of them stands in the room.

use super::OwnerEffects;
use super::answer::{Asker, Origin};
use super::questions::{Question, QuestionPurpose, Undone};
use super::room::{ReceiptStep, Room, Settled};
use super::room_id::RoomId;
use super::state::Owner;
use crate::base::chat::ReceiptKind;
use crate::base::ids::{ConnId, RoomName, Seq, UserName};
use crate::base::limits::RECEIPT_BYTES;
use crate::engine::kept::{Actor, KeptAsk, RoomAct, RoomAsk, RoomDone};
use crate::engine::store_port::StoreRequest;
use crate::wire::encode::encode_pushes;
use crate::wire::protocol::{Answer, Push, Refusal};

impl Owner {
    /// Takes a member's receipt.
    pub(super) fn take_receipt(
        &mut self,
        id: RoomId,
        Origin { asker, user, .. }: Origin,
        (kind, seq): (ReceiptKind, Seq),
        effects: &mut OwnerEffects<'_>,
    ) {
        let has_store = self.settings.has_store();
        let may_grow = self.may_keep(RECEIPT_BYTES + user.len(), effects) && !(has_store && self.asks.is_full());
        let Some(room) = self.rooms.get_mut(id) else { return };
        if room.is_stranger(asker) {
            return asker.refuse(&room.stream.name, Refusal::NOT_JOINED, effects);
        }
        let (name, seq) = (room.stream.name.clone(), seq.min(room.stream.history.head()));
        let receipts = room.receipts.get_or_insert_default();
        match receipts.note((user.clone(), kind, seq), asker, has_store, may_grow) {
            ReceiptStep::Answer(seq) => asker.answer(&name, Answer::Receipt { kind, seq }, effects),
            ReceiptStep::Raise(seq) => {
                asker.answer(&name, Answer::Receipt { kind, seq }, effects);
                tell_receipt(room, &user, (kind, seq), asker.conn(), effects);
            }
            ReceiptStep::Refuse => asker.refuse(&name, Refusal::OVERLOADED, effects),
            ReceiptStep::Wait => room.hold_for_reply(asker),
            ReceiptStep::Ask { is_first } => {
                room.hold_for_reply(asker);
                if is_first {
                    let purpose = QuestionPurpose::FindReceipt { user: user.clone(), kind };
                    let ask = receipt_ask(&name, &user, RoomAct::FindReceipt { kind }, effects);
                    self.ask_store(Question { room: id, purpose }, ask, effects);
                }
                self.keep_receipt(id, name, user, (kind, seq), effects);
            }
        }
    }

    fn keep_receipt(
        &mut self,
        id: RoomId,
        name: RoomName,
        user: UserName,
        (kind, seq): (ReceiptKind, Seq),
        effects: &mut OwnerEffects<'_>,
    ) {
        let ask = receipt_ask(&name, &user, RoomAct::Receipt { kind, seq }, effects);
        let purpose = QuestionPurpose::KeepReceipt { user, kind };
        self.ask_store(Question { room: id, purpose }, ask, effects);
    }

    /// Asks the store something about a room.
    pub(super) fn ask_store(&mut self, question: Question, ask: RoomAsk, effects: &mut OwnerEffects<'_>) {
        let token = self.asks.add(question, effects.now.mono_us, effects.budget);
        effects.store.push(StoreRequest::Ask { token, ask: KeptAsk::Room(ask) });
    }

    /// The store has said what it keeps of a receipt.
    pub(super) fn found_receipt(
        &mut self,
        id: RoomId,
        user: &UserName,
        kind: ReceiptKind,
        done: Result<RoomDone, Undone>,
    ) {
        let receipts = self.rooms.get_mut(id).and_then(|room| room.receipts.as_mut());
        if let (Some(receipts), Ok(RoomDone::Receipt { seq })) = (receipts, done) {
            receipts.found(user, kind, seq);
        }
    }

    /// The store keeps a receipt, or has failed to.
    pub(super) fn kept_receipt(
        &mut self,
        id: RoomId,
        user: UserName,
        kind: ReceiptKind,
        done: Result<RoomDone, Undone>,
        effects: &mut OwnerEffects<'_>,
    ) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        let (name, Some(receipts)) = (room.stream.name.clone(), &mut room.receipts) else { return };
        let result = match done {
            Ok(RoomDone::Receipt { seq }) => Ok(seq),
            Ok(_) => Err(Undone::UNANSWERED),
            Err(undone) => Err(undone),
        };
        let Settled { askers, risen, next } = receipts.settle(&user, kind, result.ok());
        for asker in &askers {
            match result {
                Ok(seq) => asker.answer(&name, Answer::Receipt { kind, seq }, effects),
                Err(undone) => asker.refuse(&name, undone.into(), effects),
            }
            room.release(*asker);
        }
        if let Some(seq) = risen {
            tell_receipt(room, &user, (kind, seq), askers.last().and_then(|asker| asker.conn()), effects);
        }
        if let Some(seq) = next {
            self.keep_receipt(id, name, user, (kind, seq), effects);
        }
    }
}

fn receipt_ask(name: &RoomName, user: &UserName, act: RoomAct, effects: &OwnerEffects<'_>) -> RoomAsk {
    let actor = Actor { user: user.clone(), is_admin: false };
    RoomAsk { room: name.clone(), actor, at: effects.now.unix_ms, act }
}

/// Tells the other members of a receipt.
fn tell_receipt(
    room: &Room,
    user: &UserName,
    (kind, seq): (ReceiptKind, Seq),
    except: Option<ConnId>,
    effects: &mut OwnerEffects<'_>,
) {
    let (name, listeners) = (&room.stream.name, &room.stream.listeners);
    let push = Push::Receipt { room: name, user, kind, seq };
    let frames = encode_pushes(&[push], listeners.readings().forms());
    listeners.push(name, &frames, except, effects);
}

impl Room {
    /// Makes further hops of a connection wait for the answer that it has asked for: replies about one room keep their
    /// order. One that asked for none need not wait.
    fn hold_for_reply(&mut self, asker: Asker) {
        if let Some(conn) = asker.conn().filter(|_| asker.wants_reply()) {
            self.hold(conn);
        }
    }

    /// One that asked for no reply was not held for it, and may be held for something else now.
    fn release(&mut self, asker: Asker) {
        if let Some(conn) = asker.conn().filter(|_| asker.wants_reply()) {
            self.release_held(conn);
        }
    }
}
