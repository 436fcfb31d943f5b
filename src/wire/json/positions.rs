//! Reads the positions of a `resume`: an object of rooms, each with the last message that the client has of it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::base::ids::{Epoch, RoomName};
use crate::base::limits::RESUME_ROOMS_MAX;
use crate::wire::protocol::Recover;

/// One room's position, as written. Unknown fields are ignored.
#[derive(serde::Deserialize)]
struct Position<'a> {
    seq: u64,
    #[serde(borrow)]
    epoch: Option<Cow<'a, str>>,
}

struct Positions(Vec<(RoomName, Recover)>);

/// Reads the value of the field. Of more rooms than [`RESUME_ROOMS_MAX`] one more than these is returned.
///
/// # Errors
/// What is wrong with it, for a sentence that begins with the field. Repeats nothing of it.
pub(super) fn read(raw: &RawValue) -> Result<Vec<(RoomName, Recover)>, &'static str> {
    let positions = serde_json::from_str::<Positions>(raw.get());
    positions
        .map(|positions| positions.0)
        .map_err(|_| "must be an object of rooms, each with `seq` and perhaps `epoch`")
}

impl<'a> Deserialize<'a> for Positions {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PositionsVisitor)
    }
}

struct PositionsVisitor;

impl<'a> Visitor<'a> for PositionsVisitor {
    type Value = Positions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Positions, A::Error> {
        let mut positions: Vec<(RoomName, Recover)> = Vec::new();
        while let Some((room, Position { seq, epoch })) = map.next_entry::<Cow<'a, str>, Position<'a>>()? {
            // The rest is read, and not kept.
            if positions.len() <= RESUME_ROOMS_MAX {
                let room = RoomName::new(&room).map_err(A::Error::custom)?;
                let epoch = epoch.map(|epoch| Epoch::from_text(&epoch));
                positions.push((room, Recover { seq, epoch }));
            }
        }
        Ok(Positions(positions))
    }
}
