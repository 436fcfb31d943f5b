//! What connections of this core and calls look up in the store: sessions to resume, and the rooms of a user. Each is
//! answered when the store has answered, or refused after [`ASK_TIMEOUT_MS`]. Resumes nothing itself.

use super::effects::UserEffects;
use crate::base::codes::ErrorCode;
use crate::base::ids::{ConnId, CoreId, RoomName, UserName};
use crate::base::limits::{ASK_TIMEOUT_MS, OVERLOADED_RETRY_MS, UNAVAILABLE_RETRY_MS};
use crate::engine::asks::Asks;
use crate::engine::call::CallAnswer;
use crate::engine::hop::{Found, ToHome};
use crate::engine::kept::{KeptAnswer, KeptAsk, SessionId};
use crate::engine::store_port::StoreRequest;
use crate::engine::tokens::TokenPart;
use crate::wire::protocol::{Recover, Refusal, ReplyTo};

const OVERLOADED: Refusal = Refusal {
    retry_after_ms: Some(OVERLOADED_RETRY_MS),
    ..Refusal::new(ErrorCode::Overloaded, "too much is being looked up in the store")
};

fn unavailable(retry_after_ms: u64) -> Refusal {
    Refusal {
        retry_after_ms: Some(retry_after_ms),
        ..Refusal::new(ErrorCode::Unavailable, "the store does not answer")
    }
}

/// Who looks something up.
#[derive(Debug)]
pub enum Seeker {
    /// A call wants to see a session.
    Call(u64),
    /// A connection wants to resume a session from these positions.
    Resume {
        /// Which connection.
        conn: ConnId,
        /// Identifies the command to answer.
        reply: ReplyTo,
        /// The rooms, with the last message that the client has of each.
        positions: Box<[(RoomName, Recover)]>,
    },
    /// A connection lists its user's rooms.
    List {
        /// Which connection.
        conn: ConnId,
        /// Identifies the command to answer.
        reply: ReplyTo,
    },
}

impl Seeker {
    /// Bytes for the budget beside those of the ask.
    fn bytes(&self) -> usize {
        match self {
            Seeker::Resume { positions, .. } => {
                size_of_val(&**positions) + positions.iter().map(|(room, _)| room.len()).sum::<usize>()
            }
            _ => 0,
        }
    }
}

/// What is being looked up by one core.
#[derive(Debug)]
pub struct Lookups {
    asks: Asks<Seeker>,
}

impl Lookups {
    pub(super) fn new(core: CoreId) -> Self {
        Self { asks: Asks::new(core, TokenPart::User) }
    }

    /// Looks a session up. The store must be there.
    pub fn find_session(&mut self, session: SessionId, seeker: Seeker, effects: &mut UserEffects<'_>) {
        let ask = KeptAsk::FindSession { session, at: effects.now.unix_ms };
        self.ask(seeker, ask, effects);
    }

    /// Lists a user's rooms above a name. The store must be there.
    pub fn list_rooms(
        &mut self,
        (user, after, limit): (UserName, Option<RoomName>, u32),
        seeker: Seeker,
        effects: &mut UserEffects<'_>,
    ) {
        self.ask(seeker, KeptAsk::ListRooms { user, after, limit }, effects);
    }

    fn ask(&mut self, seeker: Seeker, ask: KeptAsk, effects: &mut UserEffects<'_>) {
        if self.asks.is_full() || effects.budget.is_tight() {
            return answer(seeker, Err(OVERLOADED), effects);
        }
        effects.budget.charge(seeker.bytes());
        let token = self.asks.add(seeker, effects.now.mono_us, effects.budget);
        effects.store.push(StoreRequest::Ask { token, ask });
    }

    /// Handles an answer of the store; a no-op if nobody waits for it.
    pub fn handle_answered(&mut self, token: u64, kept: KeptAnswer, effects: &mut UserEffects<'_>) {
        let Some(seeker) = self.asks.take(token, effects.budget) else { return };
        effects.budget.release(seeker.bytes());
        let result = match kept {
            KeptAnswer::Unavailable { retry_after_ms } => Err(unavailable(retry_after_ms)),
            kept => Ok(kept),
        };
        answer(seeker, result, effects);
    }

    /// Refuses what has waited too long.
    pub(super) fn tick(&mut self, effects: &mut UserEffects<'_>) {
        while let Some(seeker) = self.asks.take_expired(effects.now.mono_us, effects.budget) {
            effects.budget.release(seeker.bytes());
            answer(seeker, Err(unavailable(ASK_TIMEOUT_MS)), effects);
        }
    }

    /// When the first expires, monotonic microseconds.
    pub(super) fn next_tick_us(&self) -> Option<u64> {
        self.asks.due_us()
    }

    /// Whether nothing waits for the store.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.asks.is_empty()
    }
}

/// Tells the seeker what the store has said, or why nobody could tell.
fn answer(seeker: Seeker, kept: Result<KeptAnswer, Refusal>, effects: &mut UserEffects<'_>) {
    let strange = || unavailable(UNAVAILABLE_RETRY_MS);
    match seeker {
        Seeker::Call(call) => {
            let answer = kept.and_then(|kept| match kept {
                KeptAnswer::Session(kept) => Ok(kept),
                _ => Err(strange()),
            });
            effects.answers.push((call, CallAnswer::Session(answer)));
        }
        Seeker::Resume { conn, reply, positions } => {
            let found = kept.and_then(|kept| match kept {
                KeptAnswer::Session(kept) => Ok(Found::Session { user: kept.map(|kept| kept.user), positions }),
                _ => Err(strange()),
            });
            effects.outbound.post_to_home(conn.home, ToHome::LookedUp { conn, found, reply });
        }
        Seeker::List { conn, reply } => {
            let found = kept.and_then(|kept| match kept {
                KeptAnswer::Rooms(rooms) => Ok(Found::Rooms(rooms)),
                _ => Err(strange()),
            });
            effects.outbound.post_to_home(conn.home, ToHome::LookedUp { conn, found, reply });
        }
    }
}
