//! Which connections are members of one room, by the core that holds them, and which of those cores are behind. Each core
//! gets one hop for all its members. Knows no user and no history.

use std::collections::HashSet;

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use super::OwnerEffects;
use crate::base::ids::{ConnId, CoreId, RoomName, Seq};
use crate::engine::hop::{Hop, MemberRef, ToHome};
use crate::wire::publication::Frames;
use crate::wire::reading::{Reading, Readings};

/// What a core has not been sent because its lane was full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// Everything from this seq on.
    From(Seq),
    /// That the numbering is another one, and everything since.
    NewEpoch,
}

/// A core with members.
#[derive(Debug)]
pub(super) struct Listener {
    pub core: CoreId,
    /// `None`: it has been sent everything up to the room's head.
    pub behind: Option<Behind>,
    /// Slot and generation of each member. Hashed without a secret: the server itself gives these numbers out.
    members: HashSet<(u32, u32), FixedState>,
    /// How many of them read plain JSON, and how many plain binary.
    plain: [u32; 2],
    /// How many read in each of the compressed ways, while any does.
    compressed: Option<Box<[u32; Reading::COMPRESSED.len()]>>,
}

impl Listener {
    fn new(core: CoreId) -> Self {
        let members = HashSet::with_hasher(FixedState::default());
        Self { core, behind: None, members, plain: [0; 2], compressed: None }
    }

    fn count(&mut self, reading: Reading) -> &mut u32 {
        match reading.index().checked_sub(self.plain.len()) {
            None => &mut self.plain[reading.index()],
            Some(at) => &mut self.compressed.get_or_insert_default()[at],
        }
    }

    fn readings(&self) -> Readings {
        let mut readings = Readings::default();
        let compressed = self.compressed.iter().flat_map(|counts| counts.iter().zip(Reading::COMPRESSED));
        for (_, reading) in self.plain.iter().zip(Reading::PLAIN).chain(compressed).filter(|(count, _)| **count > 0) {
            readings.add(reading);
        }
        readings
    }
}

/// The cores with members, by number.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    cores: SmallVec<[Listener; 1]>,
    members: usize,
}

impl Listeners {
    /// Connections that are members.
    pub fn members(&self) -> usize {
        self.members
    }

    pub fn contains(&self, conn: ConnId) -> bool {
        self.find(conn.home).is_ok_and(|at| self.cores[at].members.contains(&(conn.slot, conn.generation)))
    }

    /// Adds a member; `false`: it was one already. A core that gets its first member is not behind.
    pub fn add(&mut self, member: &MemberRef) -> bool {
        let conn = member.conn;
        let at = self.find(conn.home).unwrap_or_else(|at| {
            self.cores.insert(at, Listener::new(conn.home));
            at
        });
        let listener = &mut self.cores[at];
        let added = listener.members.insert((conn.slot, conn.generation));
        if added {
            *listener.count(member.reading) += 1;
            self.members += 1;
        }
        added
    }

    /// Removes a member; `false`: it was none.
    pub fn remove(&mut self, member: &MemberRef) -> bool {
        let conn = member.conn;
        let Ok(at) = self.find(conn.home) else { return false };
        let listener = &mut self.cores[at];
        if !listener.members.remove(&(conn.slot, conn.generation)) {
            return false;
        }
        *listener.count(member.reading) -= 1;
        listener.compressed.take_if(|counts| counts.iter().all(|count| *count == 0));
        self.members -= 1;
        if listener.members.is_empty() {
            self.cores.remove(at);
        } else if listener.members.capacity() > 64 && listener.members.len() * 8 < listener.members.capacity() {
            listener.members.shrink_to(listener.members.len() * 2);
        }
        true
    }

    /// How members read.
    pub fn readings(&self) -> Readings {
        self.cores.iter().map(Listener::readings).fold(Readings::default(), Readings::union)
    }

    /// Whether some core is behind.
    pub fn any_behind(&self) -> bool {
        self.cores.iter().any(|listener| listener.behind.is_some())
    }

    /// Whether this core is behind.
    pub fn is_behind(&self, core: CoreId) -> bool {
        self.find(core).is_ok_and(|at| self.cores[at].behind.is_some())
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Listener> {
        self.cores.iter_mut()
    }

    /// Sends frames without a number to each core, in the forms that are read there. What a full lane does not take is
    /// counted and gone.
    pub fn push(
        &self,
        room: &RoomName,
        frames: &Frames,
        is_publication: bool,
        except: Option<ConnId>,
        effects: &mut OwnerEffects<'_>,
    ) {
        let variants = effects.packer.variants(self.readings(), frames, effects.counters);
        for listener in &self.cores {
            let forms = listener.readings().forms();
            let frames = Frames {
                json: frames.json.clone().filter(|_| forms.json),
                binary: frames.binary.clone().filter(|_| forms.binary),
            };
            let (room, variants) = (room.clone(), variants.clone());
            let hop = Hop::ToHome(ToHome::Push { room, frames, variants, is_publication, except });
            if effects.outbound.try_post(listener.core, hop).is_err() {
                effects.counters.dropped_push.add(1);
            }
        }
    }

    fn find(&self, core: CoreId) -> Result<usize, usize> {
        self.cores.binary_search_by_key(&core, |listener| listener.core)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::UserName;
    use crate::wire::command::Form;
    use crate::wire::deflate::Window;
    use crate::wire::publication::Forms;

    fn member(home: u16, slot: u32, reading: impl Into<Reading>) -> MemberRef {
        let conn = ConnId { home: CoreId(home), slot, generation: 1 };
        MemberRef { conn, user: UserName::new("ann").expect("valid"), reading: reading.into() }
    }

    #[test]
    fn forms_are_those_of_the_members() {
        let mut listeners = Listeners::default();
        let (json, binary) = (member(1, 1, Form::Json), member(0, 1, Form::Binary));
        assert_eq!(listeners.readings().forms(), Forms { json: false, binary: false });
        listeners.add(&json);
        assert_eq!(listeners.readings().forms(), Forms { json: true, binary: false });
        listeners.add(&binary);
        assert_eq!(listeners.readings().forms(), Forms { json: true, binary: true });
        listeners.remove(&json);
        assert_eq!(listeners.readings().forms(), Forms { json: false, binary: true });
    }

    #[test]
    fn compressed_readings_are_counted_apart_and_forgotten_with_the_last() {
        let mut listeners = Listeners::default();
        let small = Reading::new(Form::Binary, Some(Window::Bits12));
        let members = [member(0, 1, small), member(0, 2, small), member(1, 3, Form::Json)];
        members.iter().for_each(|member| assert!(listeners.add(member)));
        assert_eq!(listeners.readings().forms(), Forms { json: true, binary: true });
        assert_eq!(listeners.readings().compressed().collect::<Vec<_>>(), [small]);
        listeners.remove(&members[0]);
        assert_eq!(listeners.readings().compressed().count(), 1);
        listeners.remove(&members[1]);
        assert_eq!(listeners.readings().compressed().count(), 0);
        assert!(listeners.iter_mut().all(|listener| listener.compressed.is_none()));
    }

    #[test]
    fn a_member_counts_once_and_leaves_once() {
        let mut listeners = Listeners::default();
        let ann = member(3, 1, Form::Json);
        assert!(listeners.add(&ann));
        assert!(!listeners.add(&ann));
        assert_eq!(listeners.members(), 1);
        let reused = ConnId { generation: 2, ..ann.conn };
        assert!(listeners.contains(ann.conn) && !listeners.contains(reused));
        assert!(listeners.remove(&ann));
        assert!(!listeners.remove(&ann));
        assert_eq!(listeners.members(), 0);
        assert_eq!(listeners.iter_mut().count(), 0);
    }

    #[test]
    fn cores_stay_in_order() {
        let mut listeners = Listeners::default();
        for home in [2, 0, 1] {
            listeners.add(&member(home, 1, Form::Json));
        }
        let cores: Vec<_> = listeners.iter_mut().map(|listener| listener.core.0).collect();
        assert_eq!(cores, [0, 1, 2]);
    }
}
