//! Dead letters, by number. A number is never given twice.

use super::error::StateError;
use super::group::Group;
use super::rows::Value;
use super::{keys, lookups};
use crate::base::limits::LISTING_MAX;
use crate::engine::kept::{DeadLetter, DeadLetterAsk, DeadLetterDone};
use crate::store::codec::bytes::{DecodeError, Reader, Writer};
use crate::store::codec::values::{read_dead_letter, write_dead_letter};
use crate::store::tables::rows::{Direction, Rows, Span};
use crate::store::tables::table::Table;

impl Value for DeadLetter {
    fn write(&self, out: &mut Writer<'_>) {
        write_dead_letter(out, self);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        read_dead_letter(from)
    }
}

impl Group<'_> {
    pub(super) fn ask_dead_letter(&mut self, ask: &DeadLetterAsk) -> Result<DeadLetterDone, StateError> {
        match ask {
            DeadLetterAsk::Add(letter) => {
                if lookups::counter(&self.set, keys::DEAD_LETTERS)? >= self.setup.bounds.dead_letters {
                    return Ok(DeadLetterDone::Added(None));
                }
                let id = self.count(keys::DEAD_LETTER_IDS, 1)?;
                self.count(keys::DEAD_LETTERS, 1)?;
                self.put(Table::DeadLetters, keys::id(id), &DeadLetter { id, ..letter.clone() });
                Ok(DeadLetterDone::Added(Some(id)))
            }
            DeadLetterAsk::Drop(id) => {
                let was_there = find(&self.set, *id)?.is_some();
                if was_there {
                    self.set.remove(Table::DeadLetters, keys::id(*id));
                    self.count(keys::DEAD_LETTERS, -1)?;
                }
                Ok(DeadLetterDone::Dropped(was_there))
            }
            DeadLetterAsk::Find(id) => Ok(DeadLetterDone::Found(find(&self.set, *id)?)),
            DeadLetterAsk::List { after, limit } => list(&self.set, *after, *limit),
        }
    }
}

/// A letter.
pub(super) fn find(rows: &dyn Rows, id: u64) -> Result<Option<DeadLetter>, StateError> {
    DeadLetter::find(rows, Table::DeadLetters, &keys::id(id))
}

/// A page of letters.
pub(super) fn list(rows: &dyn Rows, after: u64, limit: u32) -> Result<DeadLetterDone, StateError> {
    let span = Span::prefix(b"", Some(&keys::id(after)));
    let letters = DeadLetter::scan(rows, Table::DeadLetters, span, Direction::Up);
    let page = letters.take(limit.min(LISTING_MAX) as usize).map(|row| row.map(|(_, letter)| letter));
    page.collect::<Result<_, _>>().map(DeadLetterDone::Listed)
}
