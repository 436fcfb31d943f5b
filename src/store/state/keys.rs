//! The keys of rows. Names hold no control characters, so 0 ends one within a key; ids and numbers are big-endian, so that
//! their order is that of the keys.

use crate::base::ids::{RoomName, Seq, UserName};
use crate::engine::kept::SessionId;

/// `meta`: the format of each table, a byte each.
pub const FORMATS: &[u8] = b"formats";
/// `meta`: the last room's id.
pub const ROOM_IDS: &[u8] = b"room_ids";
/// `meta`: the boot of the last `Begin`.
pub const BOOT: &[u8] = b"boot";
/// `meta`: the last dead letter's number.
pub const DEAD_LETTER_IDS: &[u8] = b"dead_letter_ids";
/// `meta`: how many dead letters there are.
pub const DEAD_LETTERS: &[u8] = b"dead_letters";
/// `meta`: how many sessions there are.
pub const SESSIONS: &[u8] = b"sessions";
/// `meta`: how many created rooms were deleted.
pub const DELETIONS: &[u8] = b"deletions";
/// `meta`: the room that an import has begun and not finished.
pub const IMPORT: &[u8] = b"import";
/// `meta`: the key that signs tokens.
pub const SIGNING_KEY: &[u8] = b"signing_key";

/// `meta`: there is a row for a boot that was behind and did not end.
pub fn unclean(boot: u64) -> Vec<u8> {
    [b"unclean".as_slice(), &boot.to_be_bytes()].concat()
}

/// What begins the keys of all rows of a room's id; also a row of `garbage`, or of `dead_letters` by number.
pub fn id(id: u64) -> Vec<u8> {
    id.to_be_bytes().to_vec()
}

/// `records` and `keys`.
pub fn record(id: u64, seq: Seq) -> Vec<u8> {
    [id.to_be_bytes(), seq.to_be_bytes()].concat()
}

/// The seq of a row of `records` or `keys`; 0 if the key is not one of them.
pub fn seq_of(key: &[u8]) -> Seq {
    key.get(8..).and_then(|seq| seq.try_into().ok()).map_or(0, Seq::from_be_bytes)
}

/// The number that a key is; 0 if it is none.
pub fn number_of(key: &[u8]) -> u64 {
    key.try_into().map_or(0, u64::from_be_bytes)
}

/// `members`, `receipts` and `invites`: a user's name or a code behind the room's id.
pub fn of_room(id: u64, text: &str) -> Vec<u8> {
    [&id.to_be_bytes()[..], text.as_bytes()].concat()
}

/// The text behind a room's id.
pub fn text_of(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.get(8..)?).ok()
}

/// `user_rooms`: what begins the keys of a user's rooms.
pub fn rooms_of(user: &UserName) -> Vec<u8> {
    [user.as_bytes(), &[0]].concat()
}

/// `user_rooms`: one room of a user.
pub fn user_room(user: &UserName, room: &RoomName) -> Vec<u8> {
    [user.as_bytes(), &[0], room.as_bytes()].concat()
}

/// `sessions`: what begins the keys of sessions.
pub const SESSION: &[u8] = b"s";
/// `sessions`: what begins the keys of the order of sessions by age.
pub const AGE: &[u8] = b"a";

/// `sessions`: one session.
pub fn session(session: SessionId) -> Vec<u8> {
    [SESSION, &session.0.to_be_bytes()].concat()
}

/// `sessions`: its place in the order of ages.
pub fn age(opened_at: u64, session: SessionId) -> Vec<u8> {
    [AGE, &opened_at.to_be_bytes(), &session.0.to_be_bytes()].concat()
}

/// The session of a key of `sessions`, of either kind.
pub fn session_of(key: &[u8]) -> Option<SessionId> {
    let id = key.get(key.len().checked_sub(16)?..)?;
    Some(SessionId(u128::from_be_bytes(id.try_into().ok()?)))
}
