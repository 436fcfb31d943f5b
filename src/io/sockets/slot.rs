//! The state of one slot, a few bytes for each connection. Never acts.

use super::super::ring::SendId;

/// So many receives in a row make a socket busy: a command now and then does not.
const BUSY_RECEIVES: u8 = 3;

/// How a slot waits for input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ReceiveMode {
    /// No socket.
    Free,
    /// One-shot poll under way.
    Polling,
    /// One-shot receive under way.
    Receiving,
    /// Multishot receive under way.
    Streaming,
    /// Multishot receive under way that has been cancelled, to poll after it.
    Cooling,
    /// Found no buffer; receives again when there are some.
    Starved,
    /// Nothing under way: it has ended.
    Silent,
}

/// One slot.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// The send under way.
    pub send: Option<SendId>,
    /// Which use of the slot this is.
    pub generation: u16,
    /// How it waits for input.
    pub mode: ReceiveMode,
    /// Operations under way.
    pub operations: u8,
    /// The second of the last receive, its last eight bits.
    last_second: u8,
    /// Receives in a row, each at most a second after the one before; counted up to [`BUSY_RECEIVES`].
    row: u8,
    /// Nothing more is said about it.
    pub muted: bool,
    /// Freed as soon as nothing is under way.
    pub closing: bool,
    /// To be half-closed when the send under way has ended.
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

    /// With a socket, for which nothing is under way yet.
    #[must_use]
    pub fn opened(generation: u16, second: u8) -> Slot {
        Slot { generation, mode: ReceiveMode::Silent, last_second: second, ..Slot::FREE }
    }

    /// Without a socket, `generation` having been the last.
    #[must_use]
    pub fn freed(generation: u16) -> Slot {
        Slot { generation, ..Slot::FREE }
    }

    /// Bytes have arrived.
    #[inline]
    pub fn note_received(&mut self, second: u8) {
        self.row = if self.quiet_seconds(second) <= 1 { (self.row + 1).min(BUSY_RECEIVES) } else { 1 };
        self.last_second = second;
    }

    /// Whether the next receive should be one of many.
    #[must_use]
    pub fn is_busy(&self, second: u8) -> bool {
        self.row >= BUSY_RECEIVES && self.quiet_seconds(second) <= 1
    }

    /// Seconds since the last receive. Wrong by a multiple of 256, which only costs one operation more.
    #[must_use]
    pub fn quiet_seconds(&self, second: u8) -> u8 {
        second.wrapping_sub(self.last_second)
    }
}

const _: () = assert!(size_of::<Slot>() <= 16, "a slot is paid for by every idle connection");

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
