//! Sessions of users. Today only their ids, which `welcome` shows and the server does not keep. Never resumes one.

use crate::engine::random::Random;

/// The id of a new session.
#[must_use]
pub fn new_id(random: &mut Random) -> String {
    format!("{:016x}{:016x}", random.next_u64(), random.next_u64())
}
