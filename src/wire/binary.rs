//! Commands in the binary form (PROTOCOL section 6).

use super::command::{BadRequest, Request};

/// Reads one binary message.
///
/// # Errors
/// What is wrong and where the error reply goes.
pub fn parse_command(message: &[u8]) -> Result<Request<'_>, BadRequest> {
    let _ = message;
    todo!()
}
