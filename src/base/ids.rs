//! Owns the identities of cores, connections, rooms, users and positions, as plain values. Never looks anything up.

use std::fmt;
use std::ops::Deref;

use arcstr::ArcStr;

use super::limits::NAME_BYTES_MAX;

/// A core of this node: a pinned thread with its ring and its engine. Numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CoreId(pub u16);

impl CoreId {
    /// As an index into per-core tables.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A connection on this node: its home core, its slot (the direct descriptor), and the use of the slot. A hop for an
/// earlier generation belongs to a connection that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    /// The core with the socket.
    pub home: CoreId,
    /// Index of the socket in the core's tables.
    pub slot: u32,
    /// Distinguishes the uses of the slot.
    pub generation: u32,
}

impl ConnId {
    /// Parses the output of `Display`; `None` for other text.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let mut numbers = text.split('-');
        let home = CoreId(numbers.next()?.parse().ok()?);
        let (slot, generation) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
        numbers.next().is_none().then_some(Self { home, slot, generation })
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.home.0, self.slot, self.generation)
    }
}

/// A room's message number: 1, 2, 3 … within one epoch; 0 before the first message.
pub type Seq = u64;

/// One numbering of a room. Opaque to clients: 16 hex digits in JSON, a `u64` in binary. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Equals no room's epoch: stands for an epoch that no server ever assigned.
    pub const UNKNOWN: Epoch = Epoch(0);

    /// Parses the JSON form. Text other than 16 hex digits is [`Epoch::UNKNOWN`], since clients may send any string.
    #[must_use]
    pub fn from_text(text: &str) -> Epoch {
        if text.len() != 16 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Epoch::UNKNOWN;
        }
        u64::from_str_radix(text, 16).map_or(Epoch::UNKNOWN, Epoch)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The position of a publication: its epoch and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The numbering.
    pub epoch: Epoch,
    /// The number in it.
    pub seq: Seq,
}

/// A rule that a room or user name breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// Empty.
    Empty,
    /// Longer than [`NAME_BYTES_MAX`].
    TooLong,
    /// Contains a control character (Unicode category Cc).
    Control,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => f.write_str("must not be empty"),
            NameError::TooLong => write!(f, "must be at most {NAME_BYTES_MAX} bytes"),
            NameError::Control => f.write_str("must not contain control characters"),
        }
    }
}

impl std::error::Error for NameError {}

/// Checks a room or user name: 1 … [`NAME_BYTES_MAX`] bytes of UTF-8 without control characters.
///
/// # Errors
/// The rule that the name breaks.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        Err(NameError::Empty)
    } else if name.len() > NAME_BYTES_MAX {
        Err(NameError::TooLong)
    } else if name.chars().any(char::is_control) {
        Err(NameError::Control)
    } else {
        Ok(())
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(ArcStr);

        impl $name {
            /// Checks a name with [`check_name`] and wraps it.
            ///
            /// # Errors
            /// The rule that the name breaks.
            pub fn new(name: &str) -> Result<Self, NameError> {
                check_name(name)?;
                Ok(Self(ArcStr::from(name)))
            }
        }

        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type! {
    /// A room's checked name, shared by reference between tables and cores.
    RoomName
}
name_type! {
    /// A user's checked name, shared by reference between tables and cores. One pointer wide, because connections and
    /// presence hold many.
    UserName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert_eq!(check_name(""), Err(NameError::Empty));
        assert_eq!(check_name(&"x".repeat(NAME_BYTES_MAX)), Ok(()));
        assert_eq!(check_name(&"x".repeat(NAME_BYTES_MAX + 1)), Err(NameError::TooLong));
        assert_eq!(check_name("a\nb"), Err(NameError::Control));
        assert_eq!(check_name("a\u{85}b"), Err(NameError::Control));
        assert_eq!(check_name("räume/1:ü"), Ok(()));
    }

    #[test]
    fn connection_ids_read_back() {
        let conn = ConnId { home: CoreId(3), slot: 70_000, generation: u32::MAX };
        assert_eq!(ConnId::from_text(&conn.to_string()), Some(conn));
        for stranger in ["", "1-2", "1-2-3-4", "a-1-2", "1--2", "70000-1-1", " 1-2-3"] {
            assert_eq!(ConnId::from_text(stranger), None, "{stranger}");
        }
    }

    #[test]
    fn epoch_text_round_trips_and_strangers_match_nothing() {
        assert_eq!(Epoch::from_text("00000000000000ff"), Epoch(255));
        assert_eq!(Epoch(255).to_string(), "00000000000000ff");
        for stranger in ["", "ff", "+0000000000000ff", "zzzzzzzzzzzzzzzz"] {
            assert_eq!(Epoch::from_text(stranger), Epoch::UNKNOWN);
        }
    }
}
