//! Tickets of sessions that clients may resume: one pool for a whole fleet, as it speaks to one server. A client takes
//! whichever is at hand, its own or another's.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// What is remembered of the server's sessions.
pub struct Tickets {
    /// Most tickets kept.
    max: usize,
    held: Mutex<KeptTickets>,
}

#[derive(Default)]
struct KeptTickets {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    /// Each is good for one connection.
    tls13: VecDeque<Tls13ClientSessionValue>,
}

impl Tickets {
    /// A pool for so many clients: all of them may come back at once.
    #[must_use]
    pub fn new(clients: u32) -> Self {
        Tickets { max: clients as usize * 2, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, KeptTickets> {
        self.held.lock().expect("no holder of this lock panics")
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keys are not for logs.
        f.debug_struct("Tickets").field("max", &self.max).finish_non_exhaustive()
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _server: ServerName<'static>, group: NamedGroup) {
        self.held().group = Some(group);
    }

    fn kx_hint(&self, _server: &ServerName<'_>) -> Option<NamedGroup> {
        self.held().group
    }

    fn set_tls12_session(&self, _server: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.held().tls12 = Some(value);
    }

    fn tls12_session(&self, _server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.held().tls12.clone()
    }

    fn remove_tls12_session(&self, _server: &ServerName<'static>) {
        self.held().tls12 = None;
    }

    fn insert_tls13_ticket(&self, _server: ServerName<'static>, value: Tls13ClientSessionValue) {
        let mut held = self.held();
        if held.tls13.len() == self.max {
            held.tls13.pop_front();
        }
        held.tls13.push_back(value);
    }

    fn take_tls13_ticket(&self, _server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        // The newest: a server may have forgotten what is old.
        self.held().tls13.pop_back()
    }
}
