//! Owns the tickets for session resumption: one pool for the whole fleet, since it uses one server. A client may take
//! another client's ticket. Never opens sessions.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// The pool of tickets.
pub struct Tickets {
    /// Maximum number of tickets.
    max: usize,
    held: Mutex<KeptTickets>,
}

#[derive(Default)]
struct KeptTickets {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    /// Each is valid for one connection.
    tls13: VecDeque<Tls13ClientSessionValue>,
}

impl Tickets {
    /// Creates a pool for `clients` clients, which may all reconnect at once.
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
        // Logs must not contain keys.
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
        // The newest ticket: the server may have forgotten older ones.
        self.held().tls13.pop_back()
    }
}
