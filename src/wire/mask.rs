//! Unmasking in place (RFC 6455 section 5.3).

/// XORs `payload` with `key`, where `payload[0]` is at `offset` of the frame's payload.
pub fn unmask(payload: &mut [u8], key: [u8; 4], offset: usize) {
    let _ = (payload, key, offset);
    todo!()
}
