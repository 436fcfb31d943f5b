//! Owns the state of one slot, a few bytes per connection. Never acts.

use super::super::ring::SendId;

/// Receives in a row that make a socket busy; occasional commands do not.
const BUSY_RECEIVES: u8 = 3;

/// How a slot waits for input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ReceiveMode {
    /// No socket.
    Free,
    /// One-shot poll in flight.
    Polling,
    /// One-shot receive in flight.
    Receiving,
    /// Multishot receive in flight.
    Streaming,
    /// Canceled multishot receive in flight; a poll follows.
    Cooling,
    /// Waits for a receive buffer.
    Starved,
    /// Nothing in flight: the stream has ended.
    Silent,
}

/// One slot.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// The send in flight.
    pub send: Option<SendId>,
    /// The use of the slot.
    pub generation: u16,
    /// How it waits for input.
    pub mode: ReceiveMode,
    /// Operations in flight.
    pub operations: u8,
    /// Second of the last receive, modulo 256.
    last_second: u8,
    /// Receives in a row, each at most a second after the last; at most [`BUSY_RECEIVES`].
    row: u8,
    /// No input is reported any more.
    pub muted: bool,
    /// To be freed when nothing is in flight.
    pub closing: bool,
    /// To be half-closed after the send in flight.
    pub shutdown_after_send: bool,
}

impl Slot {
    /// Without a socket, never used.
    pub const FREE: Slot = Slot {
        send: None,
        generation: 0,
        mode: ReceiveMode::Free,
        operations: 0,
        last_second: 0,
        row: 0,
        muted: false,
        closing: false,
        shutdown_after_send: false,
    };

    /// With a new socket and nothing in flight.
    #[must_use]
    pub fn opened(generation: u16, second: u8) -> Slot {
        Slot { generation, mode: ReceiveMode::Silent, last_second: second, ..Slot::FREE }
    }

    /// Without a socket, last used as `generation`.
    #[must_use]
    pub fn freed(generation: u16) -> Slot {
        Slot { generation, ..Slot::FREE }
    }

    /// Records a receive.
    #[inline]
    pub fn note_received(&mut self, second: u8) {
        self.row = if self.quiet_seconds(second) <= 1 { (self.row + 1).min(BUSY_RECEIVES) } else { 1 };
        self.last_second = second;
    }

    /// Whether to use a multishot receive next.
    #[must_use]
    pub fn is_busy(&self, second: u8) -> bool {
        self.row >= BUSY_RECEIVES && self.quiet_seconds(second) <= 1
    }

    /// Seconds since the last receive, modulo 256. The wrap costs at most one extra operation.
    #[must_use]
    pub fn quiet_seconds(&self, second: u8) -> u8 {
        second.wrapping_sub(self.last_second)
    }
}

const _: () = assert!(size_of::<Slot>() <= 16, "every idle connection pays for a slot");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_receives_in_a_row_make_a_socket_busy() {
        let mut slot = Slot::FREE;
        slot.note_received(250);
        slot.note_received(250);
        assert!(!slot.is_busy(250));
        slot.note_received(251);
        assert!(slot.is_busy(251) && slot.is_busy(252) && !slot.is_busy(253));
        slot.note_received(3);
        assert!(!slot.is_busy(3), "a pause begins a new row");
        slot.note_received(4);
        slot.note_received(5);
        assert!(slot.is_busy(5));
        assert_eq!(slot.quiet_seconds(1), 252, "wraps");
    }
}
