//! Clients: real protocol over bytes, one connection at a time, each with an oracle of what it must see.
//! A client never sees the server's insides; it says what it wants done with its socket by [`Effect`].

mod act;
mod answer;
mod session;

use std::rc::Rc;

use roomring::wire::form::Form;

use super::judge::{ConnKey, Judge};
use super::profile::Profile;
use super::rng::Rng;
pub use session::Session;

/// What a client wants done with its socket.
#[derive(Debug)]
pub enum Effect {
    /// Bytes to the server.
    Write(Vec<u8>),
    /// End of its stream, after what was written.
    Fin,
    /// Reset: what is under way may be lost.
    Reset,
    /// Nothing more is sent or read, and nothing tells the server.
    Vanish,
    /// Nothing is read for so long (for ever: `u64::MAX`).
    Stick(u64),
}

/// What a client is given with everything it does.
pub struct Context<'a> {
    /// The judge.
    pub judge: &'a mut Judge,
    /// The run.
    pub profile: &'a Profile,
    /// The rooms' names.
    pub rooms: &'a [String],
    /// Virtual time.
    pub now_us: u64,
    /// The run's own wall clock.
    pub unix_ms: u64,
    /// Faults have stopped: no more mischief.
    pub settling: bool,
}

impl Finding {
    /// Whether everything was looked at.
    pub fn is_whole(&self) -> bool {
        self.present.is_some() && self.read
    }
}

/// How a client comes and goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// At random.
    Random,
    /// Joins every room once it is told to, and looks.
    Auditor,
}

/// A client: what outlives its connections.
pub struct Client {
    role: Role,
    /// `None`: a guest, named by the server anew each time.
    user: Option<Rc<str>>,
    rank: usize,
    /// Positions for recovery: (epoch, last) by room.
    positions: Vec<Option<(u64, u64)>>,
    /// Keyed contents without an acknowledgement yet, with the time of the first try.
    unacknowledged: Vec<(usize, u64)>,
    keys: u64,
    next_id: u64,
    fragment: f64,
    rng: Rng,
    /// The open connection.
    pub session: Option<Session>,
    /// What the auditor found: by room (epoch, head) and the users present.
    pub findings: Vec<Option<Finding>>,
}

/// A room as the auditor found it.
#[derive(Clone, Debug, Default)]
pub struct Finding {
    /// The numbering.
    pub epoch: u64,
    /// The head.
    pub head: u64,
    /// Users present, when asked.
    pub present: Option<Vec<super::hear::Present>>,
    /// Whether the history was read.
    pub read: bool,
}

impl Client {
    /// A client that has never connected.
    pub fn new(index: usize, role: Role, profile: &Profile) -> Self {
        let users = profile.clients * 2 / 3 + 1;
        let user = match role {
            Role::Auditor => Some(format!("auditor-{index}")),
            Role::Random if index % 9 == 8 => None,
            Role::Random => Some(if index.is_multiple_of(5) {
                format!("üser {}&", index % users)
            } else {
                format!("user-{}", index % users)
            }),
        };
        Self {
            role,
            user: user.map(Rc::from),
            rank: index / users,
            positions: vec![None; profile.rooms],
            unacknowledged: Vec::new(),
            keys: 0,
            next_id: 0,
            fragment: profile.habits.fragment,
            rng: Rng::salted(profile.seed, "client", index as u64),
            session: None,
            findings: vec![None; profile.rooms],
        }
    }

    /// Its role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Draws of this client.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// The connection has ended, seen from here: what was learnt is kept for the next one.
    pub fn forget_session(&mut self) {
        let Some(session) = self.session.take() else { return };
        for (view, position) in session.views.iter().zip(&mut self.positions) {
            if view.epoch != 0 {
                *position = Some((view.epoch, view.last));
            }
        }
    }

    /// Bytes from the server.
    pub fn read(&mut self, bytes: &[u8], context: &mut Context<'_>) -> Vec<Effect> {
        let Some(mut session) = self.session.take() else { return Vec::new() };
        let mut effects = Vec::new();
        session.read(bytes, self, context, &mut effects);
        self.session = Some(session);
        effects
    }

    /// The server ended the stream. The client ends its own; whether the end was legal is judged here.
    pub fn read_end(&mut self, excused: bool, context: &mut Context<'_>) {
        if let Some(session) = &self.session {
            session.judge_end(excused, context);
        }
        self.forget_session();
    }

    /// A session begins: the request head.
    pub fn connect(&mut self, conn: ConnKey, context: &mut Context<'_>) -> Vec<Effect> {
        let mut session = Session::new(conn, context);
        let head = act::request_head(self, &mut session, context);
        let mut bytes = head.into_bytes();
        // Commands right behind the head, without waiting for the answer. A guest does not know its name yet.
        if self.user.is_some() && self.role == Role::Random && session.is_upgrade() && self.rng.chance(0.2) {
            bytes.extend(act::commands(self, &mut session, context));
        }
        session.wrote(context.now_us);
        let mut effects = vec![Effect::Write(bytes)];
        if self.role == Role::Random && !context.settling && self.rng.chance(0.03) {
            (session.leaving, session.ended) = (true, true);
            effects.push(Effect::Fin);
        }
        self.session = Some(session);
        effects
    }

    fn form(&mut self, pushes: Form, mixed: f64) -> Form {
        match (pushes, self.rng.chance(mixed)) {
            (Form::Json, false) | (Form::Binary, true) => Form::Json,
            _ => Form::Binary,
        }
    }
}

pub use act::{audit, step};
