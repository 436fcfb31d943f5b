//! Which connections are members of one room, by the core that holds them, and which of those cores are behind. Each core
//! gets one hop for all its members. Knows no user and no history.

use std::collections::HashSet;

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use crate::base::counters::CoreCounters;
use crate::base::ids::{ConnId, CoreId, RoomName, Seq};
use crate::engine::hop::{Hop, MemberRef, ToHome};
use crate::engine::outbound::Outbound;
use crate::wire::command::Form;
use crate::wire::publication::{Forms, Frames};

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
    /// How many of them read the binary form.
    binary: usize,
}

impl Listener {
    fn forms(&self) -> Forms {
        Forms { json: self.members.len() > self.binary, binary: self.binary > 0 }
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
            let members = HashSet::with_hasher(FixedState::default());
            self.cores.insert(at, Listener { core: conn.home, behind: None, members, binary: 0 });
            at
        });
        let listener = &mut self.cores[at];
        let added = listener.members.insert((conn.slot, conn.generation));
        if added {
            listener.binary += usize::from(member.form == Form::Binary);
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
        listener.binary -= usize::from(member.form == Form::Binary);
        self.members -= 1;
        if listener.members.is_empty() {
            self.cores.remove(at);
        } else if listener.members.capacity() > 64 && listener.members.len() * 8 < listener.members.capacity() {
            listener.members.shrink_to(listener.members.len() * 2);
        }
        true
    }

    /// The forms that some member reads.
    pub fn forms(&self) -> Forms {
        self.cores.iter().map(Listener::forms).fold(Forms::default(), |all, forms| Forms {
            json: all.json || forms.json,
            binary: all.binary || forms.binary,
        })
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
        outbound: &mut Outbound,
        counters: &CoreCounters,
    ) {
        for listener in &self.cores {
            let forms = listener.forms();
            let frames = Frames {
                json: frames.json.clone().filter(|_| forms.json),
                binary: frames.binary.clone().filter(|_| forms.binary),
            };
            let hop = Hop::ToHome(ToHome::Push { room: room.clone(), frames, is_publication, except });
            if outbound.try_post(listener.core, hop).is_err() {
                counters.dropped_push.add(1);
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

    fn member(home: u16, slot: u32, form: Form) -> MemberRef {
        let conn = ConnId { home: CoreId(home), slot, generation: 1 };
        MemberRef { conn, user: UserName::new("ann").expect("valid"), form }
    }

    #[test]
    fn forms_are_those_of_the_members() {
        let mut listeners = Listeners::default();
        let (json, binary) = (member(1, 1, Form::Json), member(0, 1, Form::Binary));
        assert_eq!(listeners.forms(), Forms { json: false, binary: false });
        listeners.add(&json);
        assert_eq!(listeners.forms(), Forms { json: true, binary: false });
        listeners.add(&binary);
        assert_eq!(listeners.forms(), Forms { json: true, binary: true });
        listeners.remove(&json);
        assert_eq!(listeners.forms(), Forms { json: false, binary: true });
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
