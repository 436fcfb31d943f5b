//! Waking a core that sleeps, without disturbing one that does not. Never carries anything: what there is to do is in
//! the channels that were filled before.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU8, Ordering, fence};

use crossbeam_utils::CachePadded;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::error::StartError;

/// Where a core sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Sleep {
    /// In its own ring.
    Ring = 1,
    /// In its executor.
    Executor = 2,
}

const AWAKE: u8 = 0;

/// One core's alarm clock, shared by everyone who sends to it.
#[derive(Debug)]
pub struct Wake {
    /// `AWAKE` or a `Sleep`. Looked at by all cores, so kept off the lines of others.
    state: CachePadded<AtomicU8>,
    /// The core's ring waits for this one.
    ring: EventFd,
    /// The core's executor waits for this one, and the ring rings it when it has completions. It is written directly,
    /// because the ring would ring it for the other one only after a detour through the kernel's RCU.
    bell: EventFd,
}

impl Wake {
    /// Of a core that is awake.
    ///
    /// # Errors
    /// The process is out of file descriptors.
    pub fn new() -> Result<Wake, StartError> {
        Ok(Wake { state: CachePadded::new(AtomicU8::new(AWAKE)), ring: event()?, bell: event()? })
    }

    /// Called after sending: wakes the core if it sleeps. Whether it did.
    pub fn wake(&self) -> bool {
        // Orders the send before the look at the state; its counterpart is in `fall_asleep`. Whichever of the two comes
        // second sees what the other one did: the sender the state, or the core what was sent.
        fence(Ordering::SeqCst);
        if self.state.load(Ordering::Relaxed) == AWAKE {
            return false;
        }
        let event = match self.state.swap(AWAKE, Ordering::Relaxed) {
            AWAKE => return false,
            asleep if asleep == Sleep::Ring as u8 => &self.ring,
            _ => &self.bell,
        };
        // The counter is far from full, which is the only way in which this could fail.
        let _ = event.write(1);
        true
    }

    /// Called by the core before its last look at what could have been sent; only then may it sleep there.
    pub fn fall_asleep(&self, place: Sleep) {
        self.state.store(place as u8, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Called by the core when it goes on.
    pub fn get_up(&self) {
        self.state.store(AWAKE, Ordering::Relaxed);
    }

    /// Forgets the rings of the bell that have been: it is not readable until the next.
    pub fn clear_bell(&self) {
        // Fails only if there were none.
        let _ = self.bell.read();
    }

    /// Becomes readable with each wake-up from the ring.
    #[must_use]
    pub fn ring(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    /// Becomes readable with each wake-up from the executor; for the ring to ring, too.
    #[must_use]
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

/// An eventfd that never blocks.
fn event() -> Result<EventFd, StartError> {
    let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
    let failed = |errno: nix::Error| StartError::from_io_uring("an eventfd", &errno.into());
    EventFd::from_flags(flags).map_err(failed)
}
