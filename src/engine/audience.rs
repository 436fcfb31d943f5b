//! The members of a room on this core. Never numbers or keeps messages; the owner does that.

use std::collections::HashMap;

use super::budget::Budget;
use super::hop::Delivery;
use super::news::Missed;
use super::random::NameHashing;
use super::settings::SlowPolicy;
use super::table;
use crate::base::ids::{CoreId, RoomName, Seq};
use crate::base::limits::{AUDIENCE_BYTES, MEMBERSHIP_BYTES};
use crate::wire::form::Form;
use crate::wire::reading::Reading;

/// One room's members on this core.
#[derive(Debug)]
pub struct Audience {
    /// The room's name.
    pub room: RoomName,
    /// The core that owns the room.
    pub owner: CoreId,
    /// Identifies this audience in outboxes. Unlike the index, it is never reused, so messages queued for a connection
    /// that has left the room are never mistaken for another room's.
    pub stream: u32,
    /// The policy for a member's full outbox.
    pub slow_policy: SlowPolicy,
    /// Number of the last message delivered here; the next one is one higher. `None` until the first `Joined`.
    pub last_seq: Option<Seq>,
    /// Publications of this turn that are not in the members' outboxes yet. They are queued together. Bounded by the
    /// size of one send.
    pub pending: Vec<Delivery>,
    /// Bytes of the frames in `pending`.
    pub pending_bytes: usize,
    /// News that members (by slot) have missed. `None` if every member has all news.
    pub missed: Option<Box<Missed<u32>>>,
    /// Slots of the members that read each form without compression.
    plain: [Vec<u32>; Form::COUNT],
    /// Slots of the members for each compressed reading. `None` while there are none.
    compressed: Option<Box<[Vec<u32>; Reading::COMPRESSED.len()]>>,
    /// Memberships in any state.
    memberships: u32,
}

impl Audience {
    /// Slots of the members with a reading.
    #[must_use]
    pub fn members(&self, reading: Reading) -> &[u32] {
        match (reading.index().checked_sub(self.plain.len()), &self.compressed) {
            (None, _) => &self.plain[reading.index()],
            (Some(at), Some(compressed)) => &compressed[at],
            (Some(_), None) => &[],
        }
    }

    fn members_mut(&mut self, reading: Reading) -> &mut Vec<u32> {
        match reading.index().checked_sub(self.plain.len()) {
            None => &mut self.plain[reading.index()],
            Some(at) => &mut self.compressed.get_or_insert_default()[at],
        }
    }

    /// All readings that members may have, those without compression first.
    pub fn readings(&self) -> impl Iterator<Item = Reading> + use<> {
        let compressed: &[Reading] = if self.compressed.is_some() { &Reading::COMPRESSED } else { &[] };
        Reading::PLAIN.iter().chain(compressed).copied()
    }

    /// Whether there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.plain.iter().all(Vec::is_empty) && self.compressed.is_none()
    }

    /// Adds a member and returns its place.
    pub fn add(&mut self, slot: u32, reading: Reading) -> u32 {
        let members = self.members_mut(reading);
        members.push(slot);
        (members.len() - 1) as u32
    }

    /// Removes the member at `place`. The last member takes that place: returns its slot, if a member has moved.
    pub fn remove(&mut self, place: u32, reading: Reading) -> Option<u32> {
        let members = self.members_mut(reading);
        members.swap_remove(place as usize);
        let moved = members.get(place as usize).copied();
        // Frees the memory that a crowd needed.
        if members.capacity() > 64 && members.len() * 8 < members.capacity() {
            members.shrink_to(members.len() * 2);
        }
        self.compressed.take_if(|compressed| compressed.iter().all(Vec::is_empty));
        moved
    }
}

/// Capacity that is kept when no audience is left.
const PLACES_KEPT: usize = 1_024;

/// All audiences of a core.
#[derive(Debug)]
pub struct Audiences {
    by_room: HashMap<RoomName, u32, NameHashing>,
    audiences: Vec<Option<Box<Audience>>>,
    free: Vec<u32>,
    next_stream: u32,
}

impl Audiences {
    /// No audiences. `hashing` prevents clients from choosing names that collide.
    #[must_use]
    pub fn new(hashing: NameHashing) -> Self {
        Self { by_room: HashMap::with_hasher(hashing), audiences: Vec::new(), free: Vec::new(), next_stream: 0 }
    }

    /// The index of a room's audience, if the room has memberships here.
    #[must_use]
    pub fn find(&self, room: &str) -> Option<u32> {
        self.by_room.get(room).copied()
    }

    /// The audience at the index held by a membership.
    #[must_use]
    pub fn at(&self, index: u32) -> &Audience {
        self.audiences[index as usize].as_deref().expect("a membership refers to it")
    }

    /// Whether the audience at an index still has this stream: another audience may have taken its place.
    #[must_use]
    pub fn is_at(&self, index: u32, stream: u32) -> bool {
        let audience = self.audiences.get(index as usize).and_then(Option::as_deref);
        audience.is_some_and(|audience| audience.stream == stream)
    }

    /// The same, mutably.
    pub fn at_mut(&mut self, index: u32) -> &mut Audience {
        self.audiences[index as usize].as_deref_mut().expect("a membership refers to it")
    }

    /// Adds a membership of a room. Creates the room's audience for the first one.
    pub fn enter(&mut self, room: &RoomName, owner: CoreId, slow_policy: SlowPolicy, budget: &mut Budget) -> u32 {
        let index = self.find(room).unwrap_or_else(|| {
            budget.charge_standing(AUDIENCE_BYTES + room.len());
            self.add(room, owner, slow_policy)
        });
        budget.charge_standing(MEMBERSHIP_BYTES);
        self.at_mut(index).memberships += 1;
        index
    }

    /// Removes a membership. Removes the audience with the last one.
    pub fn exit(&mut self, index: u32, budget: &mut Budget) {
        budget.release_standing(MEMBERSHIP_BYTES);
        let audience = self.at_mut(index);
        audience.memberships -= 1;
        if audience.memberships == 0 {
            let audience = self.audiences[index as usize].take().expect("just used");
            debug_assert!(audience.is_empty());
            budget.release_standing(AUDIENCE_BYTES + audience.room.len());
            self.by_room.remove(&audience.room);
            self.free.push(index);
            self.shrink();
        }
    }

    /// Frees the memory that a crowd needed.
    fn shrink(&mut self) {
        table::shrink(&mut self.by_room);
        if self.by_room.is_empty() && self.audiences.capacity() > PLACES_KEPT {
            (self.audiences, self.free) = (Vec::new(), Vec::new());
        }
    }

    fn add(&mut self, room: &RoomName, owner: CoreId, slow_policy: SlowPolicy) -> u32 {
        let audience = Some(Box::new(Audience {
            room: room.clone(),
            owner,
            stream: self.next_stream,
            slow_policy,
            last_seq: None,
            pending: Vec::new(),
            pending_bytes: 0,
            missed: None,
            plain: Default::default(),
            compressed: None,
            memberships: 0,
        }));
        self.next_stream = self.next_stream.wrapping_add(1);
        let index = if let Some(index) = self.free.pop() {
            self.audiences[index as usize] = audience;
            index
        } else {
            self.audiences.push(audience);
            (self.audiences.len() - 1) as u32
        };
        self.by_room.insert(room.clone(), index);
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::{Part, Secrets};

    #[test]
    fn an_audience_lives_as_long_as_its_memberships() {
        let mut audiences = Audiences::new(Secrets::from(1).tables(CoreId(0), Part::Owner).hashing());
        let mut budget = Budget::new(u64::MAX);
        let room = RoomName::new("a").expect("valid");
        let index = audiences.enter(&room, CoreId(0), SlowPolicy::Skip, &mut budget);
        assert_eq!(audiences.enter(&room, CoreId(0), SlowPolicy::Skip, &mut budget), index);
        audiences.exit(index, &mut budget);
        assert_eq!(audiences.find("a"), Some(index));
        assert_eq!(budget.standing() as usize, AUDIENCE_BYTES + 1 + MEMBERSHIP_BYTES);
        audiences.exit(index, &mut budget);
        assert_eq!((audiences.find("a"), budget.used()), (None, 0));
    }

    #[test]
    fn tables_shrink_after_a_crowd() {
        let mut audiences = Audiences::new(Secrets::from(1).tables(CoreId(0), Part::Owner).hashing());
        let mut budget = Budget::new(u64::MAX);
        let rooms: Vec<_> = (0..5_000).map(|room| RoomName::new(&format!("room{room}")).expect("valid")).collect();
        let mut enter =
            |audiences: &mut Audiences, room| audiences.enter(room, CoreId(0), SlowPolicy::Skip, &mut budget);
        let indices: Vec<_> = rooms.iter().map(|room| enter(&mut audiences, room)).collect();
        let stream = audiences.at(4_000).stream;
        indices.into_iter().for_each(|index| audiences.exit(index, &mut budget));
        assert_eq!((audiences.audiences.capacity(), audiences.free.capacity(), budget.used()), (0, 0, 0));
        assert!(audiences.by_room.capacity() <= 2 * PLACES_KEPT, "{}", audiences.by_room.capacity());
        assert!(!audiences.is_at(4_000, stream), "the place of the audience is freed");
    }

    #[test]
    fn the_last_member_moves_to_the_removed_members_place() {
        let mut audiences = Audiences::new(Secrets::from(1).tables(CoreId(0), Part::Owner).hashing());
        let mut budget = Budget::new(u64::MAX);
        let room = RoomName::new("a").expect("valid");
        let index = audiences.enter(&room, CoreId(0), SlowPolicy::Skip, &mut budget);
        let audience = audiences.at_mut(index);
        let json = Reading::from(Form::Json);
        assert_eq!([10, 11, 12].map(|slot| audience.add(slot, json)), [0, 1, 2]);
        assert_eq!(audience.remove(0, json), Some(12));
        assert_eq!(audience.remove(1, json), None);
        assert_eq!(audience.members(json), [12]);
    }

    #[test]
    fn members_are_kept_by_reading() {
        let mut audiences = Audiences::new(Secrets::from(1).tables(CoreId(0), Part::Owner).hashing());
        let mut budget = Budget::new(u64::MAX);
        let room = RoomName::new("a").expect("valid");
        let index = audiences.enter(&room, CoreId(0), SlowPolicy::Skip, &mut budget);
        let audience = audiences.at_mut(index);
        assert_eq!(audience.readings().count(), Form::COUNT);
        for (slot, reading) in Reading::PLAIN.into_iter().chain(Reading::COMPRESSED).enumerate() {
            assert_eq!(audience.add(slot as u32, reading), 0);
        }
        assert_eq!(audience.readings().count(), Reading::COUNT);
        for (slot, reading) in audience.readings().enumerate() {
            assert_eq!(audience.members(reading), [slot as u32]);
        }
        for reading in audience.readings() {
            assert!(!audience.is_empty());
            assert_eq!(audience.remove(0, reading), None);
            assert!(audience.members(reading).is_empty());
        }
        assert!(audience.is_empty());
        assert_eq!(audience.readings().count(), Form::COUNT, "nothing is kept for readings without members");
    }
}
