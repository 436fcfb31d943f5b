//! What a token allows in which rooms (claim `rooms`). Knows patterns; never knows a room or a member.

use std::ops::BitOr;

use crate::engine::settings::pattern_matches;

/// A set of permissions in a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed(u8);

impl Allowed {
    /// Nothing.
    pub const NOTHING: Allowed = Allowed(0);
    /// Be a member: receive messages, read history and presence.
    pub const JOIN: Allowed = Allowed(1);
    /// Publish.
    pub const PUBLISH: Allowed = Allowed(2);
    /// Administer the room, which includes joining and publishing.
    pub const ADMIN: Allowed = Allowed(4 | 2 | 1);

    /// Whether it includes all of `other`.
    #[must_use]
    pub const fn has(self, other: Allowed) -> bool {
        self.0 & other.0 == other.0
    }

    /// The permission of a word of the claim; `None` if it is unknown.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Allowed> {
        match word {
            "join" => Some(Allowed::JOIN),
            "publish" => Some(Allowed::PUBLISH),
            "admin" => Some(Allowed::ADMIN),
            _ => None,
        }
    }
}

impl BitOr for Allowed {
    type Output = Allowed;

    fn bitor(self, other: Allowed) -> Allowed {
        Allowed(self.0 | other.0)
    }
}

/// What a token says of one room, apart from what it allows there. In ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Nothing: any user could say as much.
    Anyone,
    /// A pattern of its claim `rooms` matches the room.
    Named,
    /// It grants `admin`. So does the control address.
    Admin,
}

/// The permissions in the rooms whose names match a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    /// `*` stands for any run of bytes.
    pub(super) pattern: Box<str>,
    pub(super) allowed: Allowed,
}

/// What a token allows. Two words, and no allocation for a token that limits nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants(Option<Box<[Grant]>>);

impl Grants {
    /// For a token without the claim: whatever this server lets any user do.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self(None)
    }

    pub(super) fn of(grants: Vec<Grant>) -> Self {
        Self(Some(grants.into()))
    }

    /// Whether the patterns that match a room allow all of `wanted` together. A token without the claim never allows
    /// `admin`.
    #[must_use]
    pub fn allow(&self, room: &str, wanted: Allowed) -> bool {
        let Some(grants) = &self.0 else { return (Allowed::JOIN | Allowed::PUBLISH).has(wanted) };
        let matching = grants.iter().filter(|grant| pattern_matches(&grant.pattern, room));
        matching.fold(Allowed::NOTHING, |all, grant| all | grant.allowed).has(wanted)
    }

    /// All that it allows in a room, and its standing there.
    #[must_use]
    pub fn in_room(&self, room: &str) -> (Allowed, Standing) {
        let Some(grants) = &self.0 else { return (Allowed::JOIN | Allowed::PUBLISH, Standing::Anyone) };
        let matching = grants.iter().filter(|grant| pattern_matches(&grant.pattern, room));
        let allowed = matching.fold(Allowed::NOTHING, |all, grant| all | grant.allowed);
        let standing = match allowed {
            _ if allowed.has(Allowed::ADMIN) => Standing::Admin,
            Allowed::NOTHING => Standing::Anyone,
            _ => Standing::Named,
        };
        (allowed, standing)
    }

    /// Bytes allocated for it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let grants = self.0.iter().flatten();
        grants.map(|grant| size_of::<Grant>() + grant.pattern.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(list: &[(&str, Allowed)]) -> Grants {
        Grants::of(
            list.iter().map(|(pattern, allowed)| Grant { pattern: (*pattern).into(), allowed: *allowed }).collect(),
        )
    }

    #[test]
    fn matching_patterns_add_up_and_admin_holds_the_others() {
        let some = grants(&[("news:*", Allowed::JOIN), ("*:1", Allowed::PUBLISH), ("mine", Allowed::ADMIN)]);
        for (room, join, publish, admin) in [
            ("news:2", true, false, false),
            ("news:1", true, true, false),
            ("old:1", false, true, false),
            ("mine", true, true, true),
            ("other", false, false, false),
        ] {
            assert_eq!(some.allow(room, Allowed::JOIN), join, "{room}");
            assert_eq!(some.allow(room, Allowed::PUBLISH), publish, "{room}");
            assert_eq!(some.allow(room, Allowed::ADMIN), admin, "{room}");
        }
        assert_eq!(some.in_room("mine"), (Allowed::ADMIN, Standing::Admin));
        assert_eq!(some.in_room("old:1"), (Allowed::PUBLISH, Standing::Named));
        assert_eq!(some.in_room("other"), (Allowed::NOTHING, Standing::Anyone));
        assert_eq!(Grants::unlimited().in_room("a"), (Allowed::JOIN | Allowed::PUBLISH, Standing::Anyone));
        assert!(!grants(&[]).allow("a", Allowed::JOIN));
        assert!(Grants::unlimited().allow("a", Allowed::JOIN | Allowed::PUBLISH));
        assert!(!Grants::unlimited().allow("a", Allowed::ADMIN));
        assert_eq!((Grants::unlimited().bytes(), size_of::<Grants>()), (0, 16));
        assert!(some.bytes() > 3 * size_of::<Grant>());
    }
}
