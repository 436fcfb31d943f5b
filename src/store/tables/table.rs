//! The list of tables. What their rows mean is said in `store::state::rows`.

/// One table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Counters, boots, the signing key.
    Meta,
    /// Rooms by name.
    Rooms,
    /// Records by room and seq.
    Records,
    /// Idempotency keys by room and seq.
    Keys,
    /// Lasting members by room.
    Members,
    /// Rooms of each user, and their number.
    UserRooms,
    /// Invites by room.
    Invites,
    /// Receipts by room.
    Receipts,
    /// Sessions by id, and ids by age.
    Sessions,
    /// Accounts by user.
    Accounts,
    /// Dead letters by number.
    DeadLetters,
    /// Ids of rooms of which rows are left to be removed.
    Garbage,
}

impl Table {
    /// All of them, each at the place of its number, which its keys on disk begin with. Never changes.
    pub const ALL: [Table; 12] = [
        Table::Meta,
        Table::Rooms,
        Table::Records,
        Table::Keys,
        Table::Members,
        Table::UserRooms,
        Table::Invites,
        Table::Receipts,
        Table::Sessions,
        Table::Accounts,
        Table::DeadLetters,
        Table::Garbage,
    ];

    /// Its name in errors.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Table::Meta => "meta",
            Table::Rooms => "rooms",
            Table::Records => "records",
            Table::Keys => "keys",
            Table::Members => "members",
            Table::UserRooms => "user_rooms",
            Table::Invites => "invites",
            Table::Receipts => "receipts",
            Table::Sessions => "sessions",
            Table::Accounts => "accounts",
            Table::DeadLetters => "dead_letters",
            Table::Garbage => "garbage",
        }
    }
}
