//! The publishes of one core that the link has not answered, by token.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::answer::Asker;
use super::room_id::RoomId;
use crate::base::ids::{CoreId, Position};
use crate::engine::record::Record;
use crate::engine::tokens::{TokenPart, TokenSource};

/// A publish given to the link.
#[derive(Debug)]
pub(super) struct AwaitedPublish {
    pub room: RoomId,
    pub asker: Asker,
    /// The record that the store keeps once it is numbered; `None` in a room without a store.
    pub kept: Option<Record>,
    /// The highest position that the room knew of when the link was given the publish: its own must be a later one.
    pub known: Position,
}

/// The publishes that await an answer from the link.
#[derive(Debug)]
pub(super) struct Awaited {
    by_token: HashMap<u64, AwaitedPublish, FixedState>,
    tokens: TokenSource,
}

impl Awaited {
    pub fn new(core: CoreId) -> Self {
        Self { by_token: HashMap::with_hasher(FixedState::default()), tokens: TokenSource::new(core, TokenPart::Owner) }
    }

    /// Adds a publish; returns the token of its request.
    pub fn add(&mut self, publish: AwaitedPublish) -> u64 {
        let token = self.tokens.draw();
        self.by_token.insert(token, publish);
        token
    }

    /// Takes the publish that an answer refers to; `None` if it has been answered before.
    pub fn take(&mut self, token: u64) -> Option<AwaitedPublish> {
        self.by_token.remove(&token)
    }

    pub fn is_empty(&self) -> bool {
        self.by_token.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::Epoch;
    use crate::engine::owner::room_id::RoomId;

    #[test]
    fn no_two_cores_share_a_token() {
        let known = Position { epoch: Epoch(1), seq: 0 };
        let publish = || AwaitedPublish { room: RoomId::default(), asker: Asker::Call(0), kept: None, known };
        let tokens = [0, 1].map(|core| {
            let mut awaited = Awaited::new(CoreId(core));
            [awaited.add(publish()), awaited.add(publish())]
        });
        assert_eq!(tokens, [[0, 1], [1 << 48, (1 << 48) + 1]]);
    }
}
