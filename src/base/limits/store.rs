//! Bounds of the store and of what it keeps. Never decides how to react when one is reached.

// The embedded store.

/// Changes in one group of the log.
pub const GROUP_ENTRIES_MAX: usize = 1_000;

/// Bytes of the changes in one group of the log; a larger change goes alone.
pub const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of the changes that wait for the log before the store takes no more requests from the lanes.
pub const KEEPER_QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes of the changes that are in the log and not yet in the index; over it changes are refused `unavailable`.
pub const UNAPPLIED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Reads that wait in the store before it takes no more requests from the lanes.
pub const READS_WAITING_MAX: usize = 4_096;

/// Reads that the index is given at once: their answers wait in memory until the cores take them.
pub const READS_AT_ONCE_MAX: usize = 64;

/// Asks of the server's own parts that wait for the store; further ones are told that it is unavailable.
pub const SERVER_ASKS_MAX: usize = 1_024;

/// How long after a failure the store tries again to write, and tells others to wait.
pub const STORE_RETRY_MS: u64 = 1_000;

/// Bytes of one segment of the store's log, allocated ahead; a group that is larger gets a segment of its size.
pub const LOG_SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes of one group in the store's log; a larger one is refused.
pub const LOG_GROUP_BYTES_MAX: usize = 256 * 1024 * 1024;

// Created rooms.

/// Bytes of a room's title.
pub const TITLE_BYTES_MAX: usize = 256;

/// Bytes of an invite's code. Those that the server makes have 32.
pub const INVITE_BYTES_MAX: usize = 128;

/// How long an invite is valid at most, in seconds.
pub const INVITE_TTL_MAX_S: u64 = 30 * 86_400;

/// How long an invite is valid if nobody says otherwise, in seconds.
pub const INVITE_TTL_DEFAULT_S: u64 = 7 * 86_400;

/// Lasting members of one room.
pub const ROOM_MEMBERS_MAX: u64 = 100_000;

/// Valid invites of one room.
pub const ROOM_INVITES_MAX: usize = 1_000;

/// Rooms of which one user is a lasting member.
pub const USER_ROOMS_MAX: usize = 10_000;

/// Dead letters that are kept; further ones are lost and counted.
pub const DEAD_LETTERS_MAX: u64 = 1_000_000;

/// Faults that one check of a store lists; further ones are counted.
pub const CHECK_FAULTS_MAX: usize = 100;

/// Dead letters in one page of the control address: each comes from the store with its data.
pub const DEAD_LETTERS_PAGE_MAX: u32 = 100;

/// Bytes of one line of an import: the longest message in base64, and its other fields.
pub const IMPORT_LINE_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Bytes of records that an export holds in memory at a time; one record that has more is held all the same.
pub const EXPORT_BYTES_AT_ONCE: usize = 4 * 1024 * 1024;

// The state of the store.

/// Users with receipts in one room; a further one is refused.
pub const ROOM_RECEIPTS_MAX: u64 = 100_000;

/// Sessions that a store without a disk keeps; over it the oldest go first.
pub const MEMORY_SESSIONS_MAX: u64 = 100_000;

/// How much later than allowed the state removes what has expired, so that a request whose time is a little behind that of
/// the removal finds the same as before it.
pub const EXPIRY_MARGIN_MS: u64 = 60_000;

/// How long the state keeps the numbering of an idle room at least, and the name of a deleted one: longer than any publication
/// of it is under way.
pub const FORGET_AFTER_MS: u64 = 600_000;

/// Each row of a table in memory, beside its key and value: their headers and its share of the tree.
pub const TABLE_ROW_BYTES: usize = 160;
