//! Owns the rooms of a chat: their kinds and sizes, and who is in which. Never sends.

use fastrand::Rng;

/// A kind of room. The numbers are assumptions about people: each is in a few small private rooms, where most messages
/// are, and in a large public one.
#[derive(Debug)]
pub struct RoomKind {
    /// Members of a room.
    pub members: usize,
    /// Rooms of this kind per user.
    pub per_user: usize,
    /// Share of the messages, in percent.
    pub share: u32,
    /// Whether others need an invite.
    pub is_private: bool,
}

/// All kinds.
pub const KINDS: [RoomKind; 4] = [
    RoomKind { members: 2, per_user: 3, share: 60, is_private: true },
    RoomKind { members: 8, per_user: 2, share: 25, is_private: true },
    RoomKind { members: 30, per_user: 1, share: 12, is_private: true },
    RoomKind { members: 200, per_user: 1, share: 3, is_private: false },
];

/// A room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TownRoom {
    /// Index in [`KINDS`].
    pub kind: usize,
    /// Its members; the first one creates it.
    pub members: Vec<u32>,
}

/// Divides `people` into rooms. Everybody is in as many rooms of each kind as it says. Every room has two members at
/// least, if there are two people.
#[must_use]
pub fn rooms(people: u32, rng: &mut Rng) -> Vec<TownRoom> {
    let mut rooms = Vec::new();
    let mut order: Vec<u32> = (0..people).collect();
    for (kind, of) in KINDS.iter().enumerate() {
        for _ in 0..of.per_user {
            rng.shuffle(&mut order);
            let first = rooms.len();
            for members in order.chunks(of.members) {
                match members {
                    // The last one alone joins the room before.
                    [alone] if rooms.len() > first => {
                        let before: &mut TownRoom = rooms.last_mut().expect("there is one");
                        before.members.push(*alone);
                    }
                    _ => rooms.push(TownRoom { kind, members: members.to_vec() }),
                }
            }
        }
    }
    rooms
}

/// Draws the kind of room for a message.
#[must_use]
pub fn kind(rng: &mut Rng) -> usize {
    let mut left = rng.u32(..KINDS.iter().map(|kind| kind.share).sum::<u32>());
    for (index, kind) in KINDS.iter().enumerate() {
        if left < kind.share {
            return index;
        }
        left -= kind.share;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_in_as_many_rooms_of_each_kind() {
        for people in [2, 3, 9, 401] {
            let rooms = rooms(people, &mut Rng::with_seed(1));
            for (index, kind) in KINDS.iter().enumerate() {
                let of_kind = || rooms.iter().filter(|room| room.kind == index);
                for person in 0..people {
                    let count = of_kind().filter(|room| room.members.contains(&person)).count();
                    assert_eq!(count, kind.per_user, "person {person} of {people}, kind {index}");
                }
                assert!(of_kind().all(|room| room.members.len() >= 2), "{people} people, kind {index}");
                assert!(of_kind().all(|room| room.members.len() <= kind.members + 1));
            }
        }
    }

    #[test]
    fn kinds_are_drawn_by_their_share() {
        let mut rng = Rng::with_seed(1);
        let mut drawn = [0u32; KINDS.len()];
        (0..100_000).for_each(|_| drawn[kind(&mut rng)] += 1);
        for (kind, count) in KINDS.iter().zip(drawn) {
            let wanted = kind.share * 1_000;
            // Far beyond five standard deviations, 160 at most.
            assert!(count.abs_diff(wanted) < 900, "{count} of {wanted}");
        }
        assert_eq!(KINDS.iter().map(|kind| kind.share).sum::<u32>(), 100);
    }
}
