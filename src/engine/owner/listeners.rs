//! The connections that are members of one room, by the core that holds them, and the cores that are behind. Each core gets
//! one hop for all its members. Never sees a user or history.

use std::collections::HashSet;
use std::sync::Arc;

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use super::OwnerEffects;
use crate::base::ids::{ConnId, CoreId, RoomName, Seq};
use crate::engine::hop::{Hop, MemberRef, PutOut, ToHome};
use crate::engine::news::{Missed, News};
use crate::wire::form::{Form, Frames};
use crate::wire::protocol::LeftReason;
use crate::wire::reading::{Reading, Readings, Variants};

/// Status changes of one room put into one frame buffer.
const STATUSES_PER_PUSH_MAX: usize = 128;

/// The messages that a core has not been sent because its lane was full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// Everything from this seq on.
    From(Seq),
    /// The change of the epoch, and everything since.
    NewEpoch,
}

/// A core with members.
#[derive(Debug)]
pub(super) struct ListeningCore {
    pub core: CoreId,
    /// `None` if it has been sent everything up to the room's head.
    pub behind: Option<Behind>,
    /// Slot and generation of each member. Hashed without a secret, because clients do not choose these numbers.
    members: HashSet<(u32, u32), FixedState>,
    /// Members who read each form without compression.
    plain: [u32; Form::COUNT],
    /// Members who read each of the compressed readings, while there are any.
    compressed: Option<Box<[u32; Reading::COMPRESSED.len()]>>,
}

impl ListeningCore {
    fn new(core: CoreId) -> Self {
        let members = HashSet::with_hasher(FixedState::default());
        Self { core, behind: None, members, plain: [0; Form::COUNT], compressed: None }
    }

    fn count(&mut self, reading: Reading) -> &mut u32 {
        match reading.index().checked_sub(self.plain.len()) {
            None => &mut self.plain[reading.index()],
            Some(at) => &mut self.compressed.get_or_insert_default()[at],
        }
    }

    /// The frames in the forms that are read there.
    fn wanted(&self, frames: &Frames) -> Frames {
        frames.in_forms(self.readings().forms())
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

/// The cores with members, in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    cores: SmallVec<[ListeningCore; 1]>,
    members: usize,
    /// News that cores have not been sent because their lanes were full; `None` if every core has all news.
    missed: Option<Box<Missed<CoreId>>>,
}

impl Listeners {
    /// Number of members.
    pub fn members(&self) -> usize {
        self.members
    }

    pub fn contains(&self, conn: ConnId) -> bool {
        self.find(conn.home).is_ok_and(|at| self.cores[at].members.contains(&(conn.slot, conn.generation)))
    }

    /// Adds a member; no-op (`false`) if it is one already. A core that gets its first member is not behind.
    pub fn add(&mut self, member: &MemberRef) -> bool {
        let conn = member.conn;
        let at = self.find(conn.home).unwrap_or_else(|at| {
            self.cores.insert(at, ListeningCore::new(conn.home));
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

    /// Removes a member; no-op (`false`) if absent.
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
            if let Some(missed) = &mut self.missed {
                missed.forget(conn.home);
            }
            self.missed.take_if(|missed| missed.is_empty());
        } else if listener.members.capacity() > 64 && listener.members.len() * 8 < listener.members.capacity() {
            listener.members.shrink_to(listener.members.len() * 2);
        }
        true
    }

    /// The members' readings.
    pub fn readings(&self) -> Readings {
        self.cores.iter().map(ListeningCore::readings).fold(Readings::default(), Readings::union)
    }

    /// Whether a core has missed news.
    pub fn has_missed(&self) -> bool {
        self.missed.is_some()
    }

    /// Bytes of the news that cores have missed, for the budget.
    pub fn missed_bytes(&self) -> usize {
        self.missed.as_ref().map_or(0, |missed| missed.bytes())
    }

    /// Whether any core is behind.
    pub fn any_behind(&self) -> bool {
        self.cores.iter().any(|listener| listener.behind.is_some())
    }

    /// Whether a core is behind.
    pub fn is_behind(&self, core: CoreId) -> bool {
        self.find(core).is_ok_and(|at| self.cores[at].behind.is_some())
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut ListeningCore> {
        self.cores.iter_mut()
    }

    /// Sends an ephemeral message to each core, in the forms that are read there. If a lane is full, the message is dropped
    /// and counted.
    pub fn push(&self, room: &RoomName, frames: &Frames, except: Option<ConnId>, effects: &mut OwnerEffects<'_>) {
        let variants = effects.packer.variants(self.readings(), frames, effects.counters);
        for listener in &self.cores {
            let (room, frames, variants) = (room.clone(), listener.wanted(frames), variants.clone());
            let hop = Hop::ToHome(ToHome::Push { room, frames, variants, except });
            if effects.outbound.try_post(listener.core, hop).is_err() {
                effects.counters.dropped_push.add(1);
            }
        }
    }

    /// Has the homes of members expel them.
    pub fn put_out(&self, room: &RoomName, whom: &PutOut, reason: LeftReason, effects: &mut OwnerEffects<'_>) {
        for listener in &self.cores {
            let (room, whom) = (room.clone(), whom.clone());
            effects.outbound.post_to_home(listener.core, ToHome::PutOut { room, whom, reason });
        }
    }

    /// Sends news to each core. A core with a full lane is sent the newest state later.
    pub fn tell(&mut self, room: &RoomName, news: News, effects: &mut OwnerEffects<'_>) {
        for part in parts(news) {
            let is_behind = |core| self.missed.as_ref().is_some_and(|missed| missed.is_behind(core));
            let mut full: SmallVec<[CoreId; 4]> = SmallVec::new();
            let encoded = EncodedNews::new(room, part, self.readings(), effects);
            for listener in &self.cores {
                // News that the core has missed must go first.
                if is_behind(listener.core) || !encoded.send(listener, room, effects) {
                    full.push(listener.core);
                }
            }
            if !full.is_empty() {
                self.missed.get_or_insert_default().note(&encoded.news, full);
            }
        }
    }

    /// Sends cores the newest state of the news that they have missed, until their lanes are full.
    pub fn make_up(&mut self, room: &RoomName, effects: &mut OwnerEffects<'_>) {
        let Some(missed) = &mut self.missed else { return };
        for listener in &self.cores {
            while missed.is_behind(listener.core) && !effects.outbound.is_full(listener.core) {
                for news in missed.take(listener.core, STATUSES_PER_PUSH_MAX) {
                    let encoded = EncodedNews::new(room, news, listener.readings(), effects);
                    effects.outbound.post(listener.core, encoded.hop(listener, room));
                }
            }
        }
        self.missed.take_if(|missed| missed.is_empty());
    }

    fn find(&self, core: CoreId) -> Result<usize, usize> {
        self.cores.binary_search_by_key(&core, |listener| listener.core)
    }
}

/// News with its frames.
struct EncodedNews {
    news: Arc<News>,
    frames: Frames,
    variants: Option<Arc<Variants>>,
}

impl EncodedNews {
    fn new(room: &RoomName, news: News, readings: Readings, effects: &mut OwnerEffects<'_>) -> Self {
        let frames = news.encode(room, readings.forms());
        let variants = effects.packer.variants(readings, &frames, effects.counters);
        Self { news: Arc::new(news), frames, variants }
    }

    fn hop(&self, listener: &ListeningCore, room: &RoomName) -> Hop {
        let (news, variants) = (Arc::clone(&self.news), self.variants.clone());
        Hop::ToHome(ToHome::News { room: room.clone(), news, frames: listener.wanted(&self.frames), variants })
    }

    /// Sends it to a core; `false` if the lane is full.
    fn send(&self, listener: &ListeningCore, room: &RoomName, effects: &mut OwnerEffects<'_>) -> bool {
        effects.outbound.try_post(listener.core, self.hop(listener, room)).is_ok()
    }
}

/// Splits news into parts that fit into one buffer each.
fn parts(news: News) -> impl Iterator<Item = News> {
    let News { total, changes } = news;
    let is_total = changes.is_none();
    let mut changes = changes.unwrap_or_default().into_iter();
    let parts = changes.len().div_ceil(STATUSES_PER_PUSH_MAX);
    let named = (0..parts).map(move |_| Some(changes.by_ref().take(STATUSES_PER_PUSH_MAX).collect()));
    is_total.then_some(None).into_iter().chain(named).map(move |changes| News { total, changes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::UserName;
    use crate::wire::deflate::Window;
    use crate::wire::form::Forms;

    fn member(home: u16, slot: u32, reading: impl Into<Reading>) -> MemberRef {
        let conn = ConnId { home: CoreId(home), slot, generation: 1 };
        MemberRef { conn, user: UserName::new("ann").expect("valid"), reading: reading.into() }
    }

    #[test]
    fn forms_are_those_of_the_members() {
        let mut listeners = Listeners::default();
        let (json, binary) = (member(1, 1, Form::Json), member(0, 1, Form::Binary));
        assert_eq!(listeners.readings().forms(), Forms::default());
        listeners.add(&json);
        assert_eq!(listeners.readings().forms(), Form::Json.into());
        listeners.add(&binary);
        assert_eq!(listeners.readings().forms(), Forms::ALL);
        listeners.remove(&json);
        assert_eq!(listeners.readings().forms(), Form::Binary.into());
    }

    #[test]
    fn compressed_readings_are_counted_separately_and_forgotten_with_their_last_member() {
        let mut listeners = Listeners::default();
        let small = Reading::new(Form::Binary, Some(Window::Bits12));
        let members = [member(0, 1, small), member(0, 2, small), member(1, 3, Form::Json)];
        members.iter().for_each(|member| assert!(listeners.add(member)));
        assert_eq!(listeners.readings().forms(), Forms::ALL);
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
