//! Owns the wake-up of a service, be it a task or a thread, which costs a working service nothing. Never carries data:
//! senders fill a channel first.

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};
use std::thread::Thread;

use crossbeam_utils::CachePadded;

/// The wake-up of one service, shared by all cores.
#[derive(Debug, Default)]
pub(super) struct ServiceWake {
    is_asleep: CachePadded<AtomicBool>,
    /// Locked by the service before it sleeps, and by the one core that wakes it.
    sleeper: Mutex<Option<Waker>>,
}

impl ServiceWake {
    /// Wakes the service if it sleeps; call it after sending. Returns whether it slept.
    pub fn wake(&self) -> bool {
        // As in `io::wake`: either the sender sees that the service sleeps, or the service sees what was sent.
        fence(Ordering::SeqCst);
        if !self.is_asleep.load(Ordering::Relaxed) || !self.is_asleep.swap(false, Ordering::AcqRel) {
            return false;
        }
        let sleeper = self.sleeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
        true
    }

    /// Announces sleep. The service then looks into its channels once more before it sleeps.
    pub fn fall_asleep(&self, waker: &Waker) {
        *self.sleeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
        self.is_asleep.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// Announces that the service works again.
    pub fn get_up(&self) {
        self.is_asleep.store(false, Ordering::Relaxed);
    }
}

/// Wakes a parked thread.
#[derive(Debug)]
pub(super) struct Unpark(pub Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
