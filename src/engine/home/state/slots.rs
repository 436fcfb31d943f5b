//! Which slots of a core hold what: the address at the other end of each, and how many are sockets, WebSockets and open
//! connections. Counts and says what is full; never decides who is let in or who goes.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use crate::base::ids::UserName;
use crate::base::limits::CONNECTION_BYTES;
use crate::base::places::Places;
use crate::engine::budget::Budget;
use crate::engine::peers::Peers;
use crate::engine::settings::Settings;

/// The slots of one core.
#[derive(Debug)]
pub struct Slots {
    peers: Peers,
    /// Given to the next socket.
    next_generation: u32,
    /// Slots below it have been used.
    used: u32,
    sockets: u32,
    /// Of the sockets, WebSockets, closing ones included.
    websockets: u32,
    /// Of the WebSockets, open ones: the limits on connections count these.
    open: u32,
    /// Open WebSockets of all cores of the process.
    places: Arc<Places>,
    /// Bytes charged for each connection beside its user's name.
    connection_bytes: usize,
}

impl Slots {
    /// Sockets are numbered from `first_generation` on, so that a slot never has a number twice.
    pub fn new(first_generation: u32, settings: &Settings) -> Self {
        Self {
            peers: Peers::default(),
            next_generation: first_generation,
            used: 0,
            sockets: 0,
            websockets: 0,
            open: 0,
            places: Arc::default(),
            connection_bytes: CONNECTION_BYTES + settings.io_bytes_per_connection,
        }
    }

    /// Prepares the slots up to and including `last`.
    pub fn reach(&mut self, last: u32) {
        self.peers.reach(last);
    }

    /// Counts open WebSockets together with other cores.
    pub fn share(&mut self, places: Arc<Places>) {
        debug_assert_eq!(self.open, 0, "before the first connection");
        self.places = places;
    }

    /// A slot holds a new socket; returns its generation.
    pub fn accept(&mut self, slot: u32, peer: IpAddr) -> u32 {
        self.peers.set(slot, peer);
        self.used = self.used.max(slot + 1);
        self.sockets += 1;
        let generation = self.next_generation;
        self.next_generation = generation.wrapping_add(1);
        generation
    }

    /// A slot's socket is closed. `user`: it was the WebSocket of that user.
    pub fn close(&mut self, slot: u32, user: Option<&UserName>, budget: &mut Budget) {
        self.peers.forget(slot);
        self.sockets -= 1;
        if let Some(user) = user {
            self.websockets -= 1;
            budget.release_standing(self.connection_bytes + user.len());
        }
    }

    /// Takes one of the places that all connections share. Returns whether there was one.
    pub fn try_take_place(&self, settings: &Settings) -> bool {
        self.open < settings.max_connections_per_core && self.places.try_take(settings.max_connections)
    }

    /// Whether there is no place now.
    pub fn is_full(&self, settings: &Settings) -> bool {
        self.open >= settings.max_connections_per_core || self.places.taken() >= settings.max_connections
    }

    /// A socket with a place becomes the open WebSocket of `user`.
    pub fn open(&mut self, user: &UserName, budget: &mut Budget) {
        budget.charge_standing(self.connection_bytes + user.len());
        self.open += 1;
        self.websockets += 1;
    }

    /// A WebSocket is no longer open.
    pub fn end(&mut self) {
        self.open -= 1;
        self.places.give_back();
    }

    /// The address at the other end of a slot in use.
    pub fn address(&self, slot: u32) -> IpAddr {
        self.peers.get(slot)
    }

    /// A proxy has named the client behind a socket.
    pub fn set_address(&mut self, slot: u32, address: IpAddr) {
        self.peers.set(slot, address);
    }

    /// The slots that have been used.
    pub fn range(&self) -> Range<u32> {
        0..self.used
    }

    pub fn sockets(&self) -> u32 {
        self.sockets
    }

    pub fn websockets(&self) -> u32 {
        self.websockets
    }

    pub fn open_count(&self) -> u32 {
        self.open
    }

    /// Sockets that are not WebSockets.
    pub fn half_open(&self) -> u32 {
        self.sockets - self.websockets
    }
}
