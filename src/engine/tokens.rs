//! The tokens by which answers of the link, the store and the engine itself find whoever asked.
//!
//! A token holds the core in its upper 16 bits, who gave it out in the next 4 ([`TokenPart`]) and a count below. So no two
//! cores of a machine share one, and no two parts of a core: publishes that the owner half gives to the link, asks of the
//! owner and of the user half, and calls of the control address never take each other's answers, whatever service answers them.

use crate::base::ids::CoreId;

const CORE_SHIFT: u32 = 48;
const PART_SHIFT: u32 = 44;
const PART_MASK: u64 = (1 << (CORE_SHIFT - PART_SHIFT)) - 1;
const COUNT_MASK: u64 = (1 << PART_SHIFT) - 1;

/// Who gives out tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenPart {
    /// The owner half.
    Owner = 0,
    /// The user half.
    User = 1,
    /// The owner half, for what it asks of the store about its rooms.
    Rooms = 2,
    /// The user half, for what has no answer.
    Untold = 3,
    /// The floor below the engine, for calls.
    Calls = 15,
}

impl TokenPart {
    /// The token of this part of a core with this count.
    #[must_use]
    pub const fn token(self, core: CoreId, count: u64) -> u64 {
        (core.0 as u64) << CORE_SHIFT | (self as u64) << PART_SHIFT | count & COUNT_MASK
    }

    /// Whether this part has given out the token.
    #[must_use]
    pub const fn gave(self, token: u64) -> bool {
        token >> PART_SHIFT & PART_MASK == self as u64
    }
}

/// The count of a token.
#[must_use]
pub const fn count_of(token: u64) -> u64 {
    token & COUNT_MASK
}

/// Gives out the tokens of one part of one core.
#[derive(Debug)]
pub struct TokenSource {
    core: CoreId,
    part: TokenPart,
    count: u64,
}

impl TokenSource {
    /// None given out yet.
    #[must_use]
    pub fn new(core: CoreId, part: TokenPart) -> Self {
        Self { core, part, count: 0 }
    }

    /// A token that nobody else has. They come in ascending order, until 2^44 have been given out.
    pub fn draw(&mut self) -> u64 {
        let token = self.part.token(self.core, self.count);
        self.count += 1;
        token
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_parts_of_any_core_share_a_token() {
        let mut all = BTreeSet::new();
        for core in [0, 1, u16::MAX] {
            let parts = [TokenPart::Owner, TokenPart::User, TokenPart::Rooms, TokenPart::Untold, TokenPart::Calls];
            for part in parts {
                let mut tokens = TokenSource::new(CoreId(core), part);
                let token = tokens.draw();
                assert!(parts.iter().all(|other| other.gave(token) == (*other == part)));
                assert!((0..1_000).all(|_| all.insert(tokens.draw())) && all.insert(token), "{core} {part:?}");
                tokens.count = COUNT_MASK;
                let last = tokens.draw();
                assert!(all.insert(last) && count_of(last) == COUNT_MASK);
                assert!(!all.insert(tokens.draw()), "it begins again among its own");
            }
        }
    }
}
