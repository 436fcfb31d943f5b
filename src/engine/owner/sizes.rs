//! Counts a core's rooms by number of members, so that the size of the largest is known without a search. Names no
//! room.

use std::collections::BTreeMap;

/// The number of rooms with each number of members, without empty rooms. It has at most about as many entries as the
/// square root of twice the memberships.
#[derive(Debug, Default)]
pub(super) struct Sizes(BTreeMap<u32, u32>);

impl Sizes {
    /// A room with `before` members now has `after`.
    pub fn change(&mut self, before: u32, after: u32) {
        if after > 0 {
            *self.0.entry(after).or_default() += 1;
        }
        if before > 0 {
            let rooms = self.0.get_mut(&before).expect("the room was entered with its members");
            *rooms -= 1;
            if *rooms == 0 {
                self.0.remove(&before);
            }
        }
    }

    /// Number of members of the largest room.
    pub fn max(&self) -> u32 {
        self.0.last_key_value().map_or(0, |(members, _)| *members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_is_known_whichever_way_rooms_change() {
        let mut sizes = Sizes::default();
        assert_eq!(sizes.max(), 0);
        sizes.change(0, 1);
        sizes.change(1, 2);
        sizes.change(0, 2);
        assert_eq!(sizes.max(), 2);
        sizes.change(2, 3);
        sizes.change(3, 0);
        assert_eq!(sizes.max(), 2);
        sizes.change(2, 0);
        assert_eq!((sizes.max(), sizes.0.len()), (0, 0));
    }
}
