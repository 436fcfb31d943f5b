//! The idempotency keys that one room remembers: each user's keys and their seqs. Bounded by age and by count; the core
//! adds none if their bytes fill its budget. Knows no publisher that waits.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::base::ids::{Seq, UserName};
use crate::base::limits::{KEY_ENTRY_BYTES, KEYS_PER_ROOM_MAX, NAME_BYTES_MAX};
use crate::engine::random::NameHashing;

#[derive(Debug)]
struct Remembered {
    text: Arc<str>,
    /// Monotonic milliseconds.
    expires_ms: u64,
}

/// Keys in the order of their seqs.
///
/// A key is stored as `user NUL key`. User names have no control characters, so no two pairs have the same text.
#[derive(Debug)]
pub(super) struct IdempotencyKeys {
    /// With the number of the entry in `order`.
    seqs: HashMap<Arc<str>, (Seq, u64), NameHashing>,
    /// One entry for each time a key was remembered, oldest first. May outlast a key that was forgotten.
    order: VecDeque<Remembered>,
    bytes: usize,
    /// Entries that have left `order`: the number of its first one.
    dropped: u64,
    /// The text being looked up. Kept to reuse its memory.
    text: String,
}

impl IdempotencyKeys {
    /// No keys.
    pub fn new(hashing: NameHashing) -> Self {
        let seqs = HashMap::with_hasher(hashing);
        Self { seqs, order: VecDeque::new(), bytes: 0, dropped: 0, text: String::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Bytes for the budget.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The seq of this key.
    pub fn find(&mut self, user: &UserName, key: &str) -> Option<Seq> {
        self.write_text(user, key);
        self.seqs.get(self.text.as_str()).map(|(seq, _)| *seq)
    }

    /// Remembers a key. If the room has too many, the oldest is dropped.
    pub fn remember(&mut self, user: &UserName, key: &str, seq: Seq, expires_ms: u64) {
        while self.order.len() >= KEYS_PER_ROOM_MAX {
            self.drop_oldest();
        }
        self.write_text(user, key);
        let text: Arc<str> = Arc::from(self.text.as_str());
        self.seqs.insert(Arc::clone(&text), (seq, self.dropped + self.order.len() as u64));
        self.bytes += entry_bytes(&text);
        self.order.push_back(Remembered { text, expires_ms });
    }

    /// Forgets a key whose publish failed.
    pub fn forget(&mut self, user: &UserName, key: &str) {
        self.write_text(user, key);
        self.seqs.remove(self.text.as_str());
    }

    /// Drops expired keys.
    pub fn expire(&mut self, now_ms: u64) {
        while self.order.front().is_some_and(|oldest| oldest.expires_ms <= now_ms) {
            self.drop_oldest();
        }
    }

    /// When the oldest expires, monotonic milliseconds.
    pub fn next_expiry_ms(&self) -> Option<u64> {
        self.order.front().map(|oldest| oldest.expires_ms)
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.order.pop_front() else { return };
        let number = self.dropped;
        self.dropped += 1;
        self.bytes -= entry_bytes(&oldest.text);
        // The same key may have been forgotten and remembered again since.
        if self.seqs.get(&oldest.text).is_some_and(|(_, latest)| *latest == number) {
            self.seqs.remove(&oldest.text);
        }
    }

    fn write_text(&mut self, user: &UserName, key: &str) {
        self.text.clear();
        self.text.push_str(user);
        self.text.push('\0');
        self.text.push_str(key);
    }
}

/// The most that a new key adds to [`IdempotencyKeys::bytes`].
pub(super) fn key_bytes(key: Option<&str>) -> usize {
    key.map_or(0, |key| NAME_BYTES_MAX + 1 + key.len() + KEY_ENTRY_BYTES)
}

fn entry_bytes(text: &str) -> usize {
    text.len() + KEY_ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::CoreId;
    use crate::engine::random::{Part, Secrets};

    fn user(name: &str) -> UserName {
        UserName::new(name).expect("valid")
    }

    fn keys() -> IdempotencyKeys {
        IdempotencyKeys::new(Secrets::from(1).tables(CoreId(0), Part::Owner).hashing())
    }

    #[test]
    fn a_key_belongs_to_its_user() {
        let mut keys = keys();
        keys.remember(&user("ann"), "k", 7, 100);
        assert_eq!(keys.find(&user("ann"), "k"), Some(7));
        assert_eq!(keys.find(&user("bob"), "k"), None);
        assert_eq!(keys.find(&user("ann"), ""), None);
    }

    #[test]
    fn the_window_ends_for_each_key_by_itself() {
        let mut keys = keys();
        keys.remember(&user("ann"), "a", 1, 100);
        keys.remember(&user("ann"), "b", 2, 200);
        keys.expire(99);
        assert_eq!(keys.find(&user("ann"), "a"), Some(1));
        assert_eq!(keys.next_expiry_ms(), Some(100));
        keys.expire(100);
        assert_eq!(keys.find(&user("ann"), "a"), None);
        assert_eq!(keys.find(&user("ann"), "b"), Some(2));
        keys.expire(200);
        assert!(keys.is_empty());
        assert_eq!(keys.bytes(), 0);
    }

    #[test]
    fn a_key_remembered_again_outlives_its_first_time() {
        let mut keys = keys();
        keys.remember(&user("ann"), "a", 1, 100);
        keys.forget(&user("ann"), "a");
        assert_eq!(keys.find(&user("ann"), "a"), None);
        keys.remember(&user("ann"), "a", 1, 200);
        keys.expire(100);
        assert_eq!(keys.find(&user("ann"), "a"), Some(1));
        keys.expire(200);
        assert_eq!(keys.find(&user("ann"), "a"), None);
        assert_eq!(keys.bytes(), 0);
    }

    #[test]
    fn past_the_bound_the_oldest_goes() {
        let mut keys = keys();
        for index in 0..=KEYS_PER_ROOM_MAX {
            keys.remember(&user("ann"), &index.to_string(), index as Seq, 100);
        }
        assert_eq!(keys.find(&user("ann"), "0"), None);
        assert_eq!(keys.find(&user("ann"), "1"), Some(1));
        assert_eq!(keys.order.len(), KEYS_PER_ROOM_MAX);
    }
}
