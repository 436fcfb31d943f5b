//! What a home holds: `Home` and the parts that it is built from. A part never uses the home; what the home does with its
//! parts is in the other files of `home`.
//!
//! `slots`, `deadlines`, `drain` and `timers` keep count and time; `lobby`, `heads` and `accounts` hold sockets before they are
//! WebSockets; `tokens`, `verification` and `refreshes` exist with tokens only; `pace` and `pongs` belong to one connection
//! each; `late` and `news` hold what is still to be told; `turn` gathers until a flush; `worst` is for monitoring.

pub mod accounts;
pub mod deadlines;
pub mod drain;
pub mod heads;
pub mod late;
pub mod lobby;
pub mod news;
pub mod pace;
pub mod pongs;
pub mod refreshes;
pub mod slots;
pub mod timers;
pub mod tokens;
pub mod turn;
pub mod verification;
pub mod worst;

use std::sync::Arc;

use self::late::Late;
use self::lobby::Lobby;
use self::news::Uninformed;
use self::pace::Paces;
use self::pongs::Pongs;
use self::slots::Slots;
use self::timers::Timers;
use self::tokens::Tokens;
use self::turn::Turn;
use crate::base::ids::{ConnId, CoreId};
use crate::base::places::Places;
use crate::engine::audience::Audiences;
use crate::engine::outbox::Outboxes;
use crate::engine::random::{Part, Random, Secrets};
use crate::engine::session::{Phase, Session};
use crate::engine::settings::Settings;
use crate::engine::table::Table;

/// The connections of one core.
#[derive(Debug)]
pub struct Home {
    pub(super) settings: Arc<Settings>,
    pub(super) core: CoreId,
    pub(super) random: Random,
    pub(super) slots: Slots,
    pub(super) sessions: Table<Session>,
    pub(super) outboxes: Outboxes,
    pub(super) audiences: Audiences,
    /// Sockets that are not WebSockets yet.
    pub(super) lobby: Lobby,
    /// Auth mode `jwt`; `None` in mode `open`.
    pub(super) tokens: Option<Box<Tokens>>,
    pub(super) paces: Paces,
    pub(super) pongs: Pongs,
    /// Changes that wait for lanes.
    pub(super) late: Late,
    pub(super) uninformed: Uninformed,
    pub(super) timers: Timers,
    pub(super) turn: Turn,
}

impl Home {
    /// No connections.
    #[must_use]
    pub fn new(settings: Arc<Settings>, core: CoreId, secrets: &Secrets) -> Self {
        let mut random = secrets.shown(core, Part::Home);
        // A connection's id is a name and no secret.
        let first_generation = random.next_u64() as u32;
        let mut home = Self {
            core,
            random,
            slots: Slots::new(first_generation, &settings),
            sessions: Table::new(),
            outboxes: Outboxes::new(settings.outbox_bytes),
            audiences: Audiences::new(secrets.tables(core, Part::Home).hashing()),
            lobby: Lobby::default(),
            tokens: None,
            paces: Paces::default(),
            pongs: Pongs::default(),
            late: Late::new(settings.cores),
            uninformed: Uninformed::default(),
            timers: Timers::new(&settings),
            turn: Turn::default(),
            settings,
        };
        if let Some(last) = home.settings.warm_connections.checked_sub(1) {
            home.sessions.reach(last);
            home.slots.reach(last);
            home.outboxes.reach(last);
        }
        home
    }

    /// Counts open WebSockets together with the other cores of the process.
    pub fn share(&mut self, places: Arc<Places>) {
        self.slots.share(places);
    }

    /// The session of a connection that is still open.
    pub(super) fn session_of(&self, conn: ConnId) -> Option<&Session> {
        debug_assert_eq!(conn.home, self.core);
        self.sessions
            .get(conn.slot)
            .filter(|session| session.generation == conn.generation && session.phase == Phase::Open)
    }
}
