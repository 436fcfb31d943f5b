//! Waking a core that sleeps, without disturbing one that does not. Never carries anything: what there is to do is in
//! the channels that were filled before.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam_utils::CachePadded;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::error::StartError;

/// One core's alarm clock, shared by everyone who sends to it.
#[derive(Debug)]
pub struct Wake {
    /// Written by all cores, so kept off the lines of others.
    asleep: CachePadded<AtomicBool>,
    event: EventFd,
}

impl Wake {
    /// Of a core that is awake.
    ///
    /// # Errors
    /// The process is out of file descriptors.
    pub fn new() -> Result<Wake, StartError> {
        Ok(Wake { asleep: CachePadded::new(AtomicBool::new(false)), event: event()? })
    }

    /// Called after sending: wakes the core if it sleeps. Whether it did.
    pub fn wake(&self) -> bool {
        // Orders the send before the look at the flag; its counterpart is in `fall_asleep`. Whichever of the two comes
        // second sees what the other one did: the sender the flag, or the core what was sent.
        fence(Ordering::SeqCst);
        if !self.asleep.load(Ordering::Relaxed) || !self.asleep.swap(false, Ordering::Relaxed) {
            return false;
        }
        // The counter is far from full, which is the only way in which this could fail.
        let _ = self.event.write(1);
        true
    }

    /// Called by the core before its last look at what could have been sent; only then may it sleep.
    pub fn fall_asleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Called by the core when it goes on.
    pub fn get_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Takes the wake-ups that have been: the descriptor is not readable until the next one.
    #[cfg(test)]
    pub fn clear(&self) {
        let _ = self.event.read();
    }
}

impl AsFd for Wake {
    /// Becomes readable with each wake-up.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// An eventfd that never blocks.
///
/// # Errors
/// The process is out of file descriptors.
pub fn event() -> Result<EventFd, StartError> {
    let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
    let failed = |errno: nix::Error| StartError::from_io_uring("an eventfd", &errno.into());
    EventFd::from_flags(flags).map_err(failed)
}
