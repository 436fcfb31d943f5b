//! Words of chat rooms: roles, visibility, receipts. Orders roles; never decides what a role allows.

/// What a lasting member of a created room may do. Each includes what stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Role {
    /// Reads and publishes.
    Member = 1,
    /// Also invites, and admits and removes members.
    Admin = 2,
    /// Also gives roles and deletes the room.
    Owner = 3,
}

impl Role {
    /// The word of PROTOCOL section 2.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Member => "member",
            Role::Admin => "admin",
            Role::Owner => "owner",
        }
    }

    /// The role of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Role> {
        [Role::Member, Role::Admin, Role::Owner].into_iter().find(|role| role.as_str() == word)
    }
}

/// Who may join a created room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Visibility {
    /// Anyone whom their token allows.
    Public = 1,
    /// Lasting members, and who has an invite.
    Private = 2,
}

impl Visibility {
    /// The word of PROTOCOL section 2.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Visibility::Public => "public",
            Visibility::Private => "private",
        }
    }

    /// The visibility of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Visibility> {
        [Visibility::Public, Visibility::Private].into_iter().find(|visibility| visibility.as_str() == word)
    }
}

/// What a receipt says of the messages up to its seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ReceiptKind {
    /// The user has read them.
    Read = 1,
    /// A client of the user has them: an inbox need not deliver them again.
    Delivered = 2,
}

impl ReceiptKind {
    /// The word of PROTOCOL section 2.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ReceiptKind::Read => "read",
            ReceiptKind::Delivered => "delivered",
        }
    }

    /// The kind of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<ReceiptKind> {
        [ReceiptKind::Read, ReceiptKind::Delivered].into_iter().find(|kind| kind.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for role in [Role::Member, Role::Admin, Role::Owner] {
            assert_eq!(Role::from_word(role.as_str()), Some(role));
        }
        for visibility in [Visibility::Public, Visibility::Private] {
            assert_eq!(Visibility::from_word(visibility.as_str()), Some(visibility));
        }
        for kind in [ReceiptKind::Read, ReceiptKind::Delivered] {
            assert_eq!(ReceiptKind::from_word(kind.as_str()), Some(kind));
        }
        assert!(Role::Owner > Role::Admin && Role::Admin > Role::Member);
        assert_eq!(
            (Role::from_word("guest"), Visibility::from_word(""), ReceiptKind::from_word("Read")),
            (None, None, None)
        );
    }
}
