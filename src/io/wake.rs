//! Owns the wake-up of a sleeping core, which costs a working core nothing. Never carries data: senders fill a channel
//! first.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU8, Ordering, fence};

use crossbeam_utils::CachePadded;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::error::StartError;

/// The place where a core sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Sleep {
    /// In its own ring.
    Ring = 1,
    /// In its executor.
    Executor = 2,
}

const AWAKE: u8 = 0;

/// The wake-up of one core, shared by all senders.
#[derive(Debug)]
pub struct Wake {
    /// `AWAKE` or a `Sleep`. All cores read it, so it has a cache line of its own.
    state: CachePadded<AtomicU8>,
    /// The core's ring waits for this eventfd.
    ring: EventFd,
    /// The core's executor waits for this eventfd; the ring also writes it when it has completions. Senders write it
    /// directly: by way of the ring, the write would take a detour through the kernel's RCU.
    bell: EventFd,
}

impl Wake {
    /// Creates the wake-up of a core, which starts awake.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn new() -> Result<Wake, StartError> {
        Ok(Wake { state: CachePadded::new(AtomicU8::new(AWAKE)), ring: event()?, bell: event()? })
    }

    /// Wakes the core if it sleeps; call it after sending. Returns whether the core slept.
    pub fn wake(&self) -> bool {
        // Orders the send before the read of the state; its counterpart is in `fall_asleep`. The later of the two sees
        // the other: either the sender sees the state, or the core sees the sent item.
        fence(Ordering::SeqCst);
        if self.state.load(Ordering::Relaxed) == AWAKE {
            return false;
        }
        let event = match self.state.swap(AWAKE, Ordering::Relaxed) {
            AWAKE => return false,
            asleep if asleep == Sleep::Ring as u8 => &self.ring,
            _ => &self.bell,
        };
        // Fails only if the counter is full, which never happens.
        let _ = event.write(1);
        true
    }

    /// Announces sleep. The core then checks its channels once more before it sleeps there.
    pub fn fall_asleep(&self, place: Sleep) {
        self.state.store(place as u8, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Announces that the core works again.
    pub fn get_up(&self) {
        self.state.store(AWAKE, Ordering::Relaxed);
    }

    /// Clears pending wake-ups.
    pub fn clear_bell(&self) {
        // Fails only if there are none.
        let _ = self.bell.read();
    }

    /// Eventfd for the ring to wait on.
    #[must_use]
    pub fn ring(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    /// Eventfd for the executor to wait on; the ring writes it too.
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
