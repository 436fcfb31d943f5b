//! Owns the state of one user: connection, rooms, positions, commands without a reply. Never sends.

use std::collections::VecDeque;

use super::accounts::{InboxAccount, ReadMark};
use crate::dialect::ClientPosition;
use crate::measure::sequence::Sequence;

/// A user.
#[derive(Debug, Default)]
pub struct Person {
    /// Whether the server has welcomed the connection.
    pub up: bool,
    /// Number of the connection.
    pub generation: u32,
    /// The session of the connection.
    pub session: String,
    /// The session to resume, until that is done.
    pub resumes: Option<String>,
    /// Whether all first joins were answered.
    pub settled: bool,
    /// Since when the user connects again, until all rooms are back.
    pub returning_since: Option<u64>,
    /// Whether the connection is being closed on purpose, and has not ended.
    pub closing: bool,
    /// When the user comes back, while the connection is closed on purpose.
    pub returns_at: Option<u64>,
    /// Whether the user tells that inbox messages were delivered.
    pub withholds: bool,
    /// Whether the user is `away`.
    pub away: bool,
    /// Rooms.
    pub places: Vec<Place>,
    /// The inbox.
    pub inbox: InboxAccount,
    /// Commands without a reply, oldest first.
    pub pending: VecDeque<(u64, PendingReply)>,
    next_id: u64,
}

/// A user's place in a room.
#[derive(Debug)]
pub struct Place {
    /// The room.
    pub room: u32,
    /// Whether `list_rooms` must have it.
    pub is_lasting: bool,
    /// Whether the join was answered on this connection.
    pub is_in: bool,
    /// Whether a join was sent on this connection.
    pub asked: bool,
    /// The position to continue from.
    pub position: Option<ClientPosition>,
    /// Received seqs.
    pub sequence: Sequence,
    /// The room's head in the reply to the join. Later messages are live.
    pub head: u64,
    /// How far the user has read.
    pub read: ReadMark,
}

/// The command that a reply belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PendingReply {
    /// `create_room`.
    Create {
        /// The room.
        room: u32,
    },
    /// `invite`.
    Invite {
        /// The room.
        room: u32,
    },
    /// `join`.
    Join {
        /// The room.
        room: u32,
    },
    /// `publish`.
    Publish {
        /// The room, or an inbox.
        room: u32,
        /// The number of the publish.
        number: u32,
    },
    /// A `read` receipt.
    Read {
        /// The room.
        room: u32,
        /// The seq.
        seq: u64,
    },
    /// A `delivered` receipt for the inbox.
    Delivered,
    /// `resume`.
    Resume,
    /// `list_rooms`, with room, head and stored receipt when it was sent.
    List(Vec<(u32, u64, u64)>),
    /// `presence`.
    Presence {
        /// The room.
        room: u32,
    },
}

impl PendingReply {
    /// The name of the command, for complaints.
    #[must_use]
    pub fn command(&self) -> &'static str {
        match self {
            PendingReply::Create { .. } => "create_room",
            PendingReply::Invite { .. } => "invite",
            PendingReply::Join { .. } => "join",
            PendingReply::Publish { .. } => "publish",
            PendingReply::Read { .. } | PendingReply::Delivered => "receipt",
            PendingReply::Resume => "resume",
            PendingReply::List(_) => "list_rooms",
            PendingReply::Presence { .. } => "presence",
        }
    }
}

impl Person {
    /// The place in a room.
    pub fn place(&mut self, room: u32) -> Option<&mut Place> {
        self.places.iter_mut().find(|place| place.room == room)
    }

    /// Notes a command. Returns its `id`.
    pub fn expect(&mut self, reply: PendingReply) -> u64 {
        self.next_id += 1;
        self.pending.push_back((self.next_id, reply));
        self.next_id
    }

    /// Takes the command with this `id`. Replies about different rooms may overtake each other.
    pub fn take_pending(&mut self, id: Option<u64>) -> Option<PendingReply> {
        let place = self.pending.iter().position(|(known, _)| Some(*known) == id)?;
        self.pending.remove(place).map(|(_, reply)| reply)
    }

    /// Whether the connection is open and all rooms are joined.
    #[must_use]
    pub fn is_back(&self) -> bool {
        self.up && self.returns_at.is_none() && self.places.iter().all(|place| place.is_in)
    }

    /// The connection is gone: remembers session and positions.
    pub fn go_down(&mut self, epoch_of: impl Fn(u32) -> Option<String>) {
        self.up = false;
        self.away = false;
        self.pending.clear();
        self.inbox.lose_connection();
        let was_in = self.places.iter().any(|place| place.is_in);
        for place in &mut self.places {
            place.asked = false;
            if std::mem::take(&mut place.is_in) {
                let seq = place.sequence.next().saturating_sub(1);
                place.position = epoch_of(place.room).map(|epoch| ClientPosition { epoch, seq });
            }
            // What was sent and not answered may be stored or not.
        }
        // If the connection ended before a resume was complete, the session before still has all rooms.
        if was_in && self.resumes.is_none() {
            self.resumes = Some(self.session.clone());
        }
    }
}

impl Place {
    /// A place in a room that was not joined.
    #[must_use]
    pub fn new(room: u32, is_lasting: bool) -> Self {
        Place {
            room,
            is_lasting,
            is_in: false,
            asked: false,
            position: None,
            sequence: Sequence::default(),
            head: 0,
            read: ReadMark::default(),
        }
    }

    /// Highest seq received.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.sequence.next().saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_may_overtake_each_other() {
        let mut person = Person::default();
        let [a, b] = [1, 2].map(|room| person.expect(PendingReply::Join { room }));
        assert_eq!(person.take_pending(Some(b)), Some(PendingReply::Join { room: 2 }));
        assert_eq!(person.take_pending(Some(b)), None, "only once");
        assert_eq!(person.take_pending(None), None);
        assert_eq!(person.take_pending(Some(a)).map(|reply| reply.command()), Some("join"));
    }

    #[test]
    fn a_lost_connection_leaves_session_and_positions() {
        let mut person = Person { session: "one".into(), up: true, ..Person::default() };
        person.places = vec![Place::new(4, true), Place::new(5, true)];
        person.places[0].is_in = true;
        person.places[0].sequence = Sequence::starting_at(8);
        person.go_down(|_| Some("e".into()));
        assert_eq!(person.resumes.as_deref(), Some("one"));
        assert_eq!(person.places[0].position, Some(ClientPosition { epoch: "e".into(), seq: 7 }));
        assert_eq!(person.places[1].position, None, "never joined");
        person.session = "two".into();
        person.go_down(|_| Some("e".into()));
        assert_eq!(person.resumes.as_deref(), Some("one"), "the second connection did not get as far");
        assert!(!person.is_back());
    }
}
