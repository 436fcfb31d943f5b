//! What a model of a store or a database keeps beside publications: sessions and receipts.

use std::collections::BTreeMap;

use roomring::base::chat::ReceiptKind;
use roomring::base::ids::{RoomName, Seq, UserName};
use roomring::engine::kept::{KeptAnswer, KeptAsk, KeptSession, RoomAct, RoomAsk, RoomDone, SessionId};

/// Sessions by their ids, and receipts.
#[derive(Default)]
pub struct Sessions(BTreeMap<u128, KeptSession>, BTreeMap<(RoomName, UserName, ReceiptKind), Seq>);

impl Sessions {
    /// Carries out what is asked; the answer, where there is one.
    pub fn answer(&mut self, ask: KeptAsk, fails: bool) -> Option<KeptAnswer> {
        match ask {
            KeptAsk::SaveSession { session, kept } => {
                self.0.insert(session.0, kept);
                None
            }
            _ if fails && ask.is_answered() => Some(KeptAnswer::Unavailable { retry_after_ms: 50 }),
            KeptAsk::FindSession { session, .. } => Some(KeptAnswer::Session(self.0.get(&session.0).cloned())),
            KeptAsk::Room(RoomAsk { room, actor, act: RoomAct::FindReceipt { kind }, .. }) => {
                let seq = self.1.get(&(room, actor.user, kind)).copied().unwrap_or(0);
                Some(KeptAnswer::Room(Ok(RoomDone::Receipt { seq })))
            }
            KeptAsk::Room(RoomAsk { room, actor, act: RoomAct::Receipt { kind, seq }, .. }) => {
                let kept = self.1.entry((room, actor.user, kind)).or_default();
                *kept = seq.max(*kept);
                Some(KeptAnswer::Room(Ok(RoomDone::Receipt { seq: *kept })))
            }
            // The model keeps nothing else yet.
            ask => ask.is_answered().then_some(KeptAnswer::Unavailable { retry_after_ms: 50 }),
        }
    }

    /// One of them.
    pub fn pick(&self, pick: u64) -> Option<SessionId> {
        let kept = self.0.keys().nth(pick as usize % self.0.len().max(1))?;
        Some(SessionId(*kept))
    }
}
