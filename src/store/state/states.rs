//! The state over its tables: opened, changed by commits, read, swept. One owner; reads and changes never overlap.

use bytes::Bytes;

use super::audit::{self, Holdings};
use super::error::StateError;
use super::group::Group;
use super::listings::{self, ListedInvite, ListedMember, ListedReceipt, RoomSummary};
use super::outcome::Outcome;
use super::pages::{self, Loaded};
use super::rows::FORMATS;
use super::rules::{Rules, Setup};
use super::sweep::{Pass, Sweeper, Swept};
use super::{answers, keys, lookups};
use crate::base::ids::{RoomName, Seq, UserName};
use crate::engine::kept::{KeptAnswer, KeptAsk};
use crate::engine::record::{PageRequest, Record, RecordPage};
use crate::store::change::Change;
use crate::store::tables::rows::{Put, Sizes, Tables};
use crate::store::tables::table::Table;

/// See the module. After an error of [`State::apply`] or [`State::sweep`] it must be opened again, over tables that were
/// opened again: it is not known what has been written.
#[derive(Debug)]
pub struct State<T> {
    tables: T,
    setup: Setup,
    rules: Rules,
    sweeper: Sweeper,
}

impl<T: Tables> State<T> {
    /// A state over tables, new ones or those of an earlier state.
    ///
    /// # Errors
    /// The tables fail, or hold rows of another format.
    pub fn open(mut tables: T, setup: Setup, rules: Rules) -> Result<Self, StateError> {
        match tables.get(Table::Meta, keys::FORMATS)? {
            Some(formats) => {
                for (index, table) in Table::ALL.into_iter().enumerate() {
                    let found = formats.get(index).copied().unwrap_or(0);
                    if found != FORMATS[index] {
                        return Err(StateError::Format { table, found, known: FORMATS[index] });
                    }
                }
            }
            None => {
                let key = Bytes::from_static(keys::FORMATS);
                let value = Some(Bytes::copy_from_slice(&FORMATS));
                tables.write(vec![Put { table: Table::Meta, key, value }], None)?;
            }
        }
        Ok(Self { tables, setup, rules, sweeper: Sweeper::default() })
    }

    /// Applies the changes of a commit as a whole; what came of each. Commits come in the order of their numbers, none twice.
    ///
    /// # Errors
    /// Nothing is applied, or it is not known.
    pub fn apply<'a>(
        &mut self,
        commit: u64,
        changes: impl IntoIterator<Item = &'a Change>,
    ) -> Result<Vec<Outcome>, StateError> {
        let applied = self.tables.applied();
        if commit <= applied {
            return Err(StateError::Applied { commit, applied });
        }
        let mut group = Group::new(&self.tables, &self.setup, &self.rules)?;
        let outcomes = changes.into_iter().map(|change| group.apply(change)).collect::<Result<Vec<_>, _>>()?;
        let Group { set, overgrown, .. } = group;
        let batch = set.into_batch();
        self.tables.write(batch, Some(commit))?;
        overgrown.into_iter().for_each(|room| self.sweeper.hurry(room));
        Ok(outcomes)
    }

    /// The number of the last commit that was applied.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.tables.applied()
    }

    /// The number of the last boot; 0 in a new state.
    ///
    /// # Errors
    /// The tables fail.
    pub fn boot(&self) -> Result<u64, StateError> {
        Ok(lookups::boot(&self.tables)?.number)
    }

    /// How many dead letters there are.
    ///
    /// # Errors
    /// The tables fail.
    pub fn dead_letters(&self) -> Result<u64, StateError> {
        lookups::counter(&self.tables, keys::DEAD_LETTERS)
    }

    /// Whether a room must be opened ([`Change::Open`]) before it is used in a boot.
    ///
    /// # Errors
    /// The tables fail.
    pub fn needs_open(&self, room: &RoomName, boot: u64) -> Result<bool, StateError> {
        let room = lookups::room(&self.tables, room)?;
        let now = lookups::boot(&self.tables)?;
        if !room.has_numbering() || now.number != boot {
            return Ok(true);
        }
        Ok(room.boot < boot && (now.is_behind || lookups::is_unclean(&self.tables, room.boot)?))
    }

    /// What a core needs to open a room: its newest `count` records, and the newest keys of records published since a time.
    ///
    /// # Errors
    /// The tables fail or are damaged.
    pub fn load(&self, room: &RoomName, count: usize, keys_since: u64) -> Result<Loaded, StateError> {
        pages::load(&self.tables, &self.setup, &self.rules, room, count, keys_since)
    }

    /// A page of a room's history.
    ///
    /// # Errors
    /// The tables fail or are damaged.
    pub fn page(&self, request: &PageRequest) -> Result<RecordPage, StateError> {
        pages::page(&self.tables, &self.setup, &self.rules, request)
    }

    /// The answer to what changes nothing ([`KeptAsk::is_read`]). `None`: it would change something, so it must be applied.
    ///
    /// # Errors
    /// The tables fail or are damaged.
    pub fn ask(&self, ask: &KeptAsk) -> Result<Option<KeptAnswer>, StateError> {
        answers::read(&self.tables, &self.setup, &self.rules, ask)
    }

    /// The rooms above a name.
    ///
    /// # Errors
    /// The tables fail or are damaged.
    pub fn rooms(&self, after: Option<&RoomName>, limit: usize) -> Result<Vec<RoomSummary>, StateError> {
        listings::rooms(&self.tables, &self.setup, after, limit)
    }

    /// The lasting members of a room above a name.
    ///
    /// # Errors
    /// The tables fail or are damaged.
    pub fn members(
        &self,
        room: &RoomName,
        after: Option<&UserName>,
        limit: usize,
    ) -> Result<Vec<ListedMember>, StateError> {
        listings::members(&self.tables, room, after, limit)
    }

    /// The invites of a room whose codes are above one, expired ones included.
    ///
    /// # Errors
    /// The tables fail or are damaged.
    pub fn invites(&self, room: &RoomName, after: Option<&str>, limit: usize) -> Result<Vec<ListedInvite>, StateError> {
        listings::invites(&self.tables, room, after, limit)
    }

    /// One room, as [`State::rooms`] lists it.
    ///
    /// # Errors
    /// The tables fail or are damaged.
    pub fn find_room(&self, room: &RoomName) -> Result<Option<RoomSummary>, StateError> {
        listings::find_room(&self.tables, &self.setup, room)
    }

    /// The receipts of a room, of users above a name.
    ///
    /// # Errors
    /// The tables fail or are damaged.
    pub fn receipts(
        &self,
        room: &RoomName,
        after: Option<&UserName>,
        limit: usize,
    ) -> Result<Vec<ListedReceipt>, StateError> {
        listings::receipts(&self.tables, room, after, limit)
    }

    /// The records of a room above a seq that have not been removed, oldest first: at most `count`, and `bytes` of data, though
    /// one at least.
    ///
    /// # Errors
    /// The tables fail or are damaged.
    pub fn records(&self, room: &RoomName, after: Seq, count: usize, bytes: usize) -> Result<Vec<Record>, StateError> {
        listings::records(&self.tables, room, after, count, bytes)
    }

    /// Holds all rows against each other, and tells `note` each thing that is wrong, in one sentence. What is held.
    ///
    /// # Errors
    /// The tables fail or are damaged, so that not all of it was looked at.
    pub fn audit(&self, note: &mut dyn FnMut(String)) -> Result<Holdings, StateError> {
        audit::audit(&self.tables, note)
    }

    /// Removes what is not shown any more: looks at no more than `budget` rows, and goes on there the next time. What must be
    /// a change is proposed in the answer. A hot room is trimmed first, if this is called after each commit with a budget of
    /// twice its records or more.
    ///
    /// # Errors
    /// Nothing is removed, or it is not known.
    pub fn sweep(&mut self, now: u64, budget: usize) -> Result<Swept, StateError> {
        let mut pass = Pass::new(&self.tables, &self.setup, &self.rules, now, budget)?;
        self.sweeper.run(&mut pass)?;
        let (batch, swept) = pass.end();
        if !batch.is_empty() {
            self.tables.write(batch, None)?;
        }
        Ok(swept)
    }

    /// Makes what was applied durable.
    ///
    /// # Errors
    /// It is not known what is durable.
    pub fn persist(&mut self) -> Result<(), StateError> {
        Ok(self.tables.persist()?)
    }

    /// How much the tables hold.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        self.tables.sizes()
    }

    /// Replaces how long things are kept, after a reload of the configuration.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// The tables.
    #[must_use]
    pub fn tables(&self) -> &T {
        &self.tables
    }

    /// The tables, for another state.
    #[must_use]
    pub fn into_tables(self) -> T {
        self.tables
    }
}
