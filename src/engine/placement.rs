//! Which core a key belongs to, such as a room to its owner: a pure function of the key, the number of cores and a
//! secret that all cores of the process share. Valid only within the process.

use std::hash::Hasher;
use std::sync::OnceLock;

use siphasher::sip::SipHasher13;

use crate::base::ids::CoreId;

/// Clients cannot predict where a name is placed, and so cannot put all names on one core.
static SECRET: OnceLock<[u64; 2]> = OnceLock::new();

/// Sets the secret of this process. Must be called once, before the first core starts. Without a secret, placement is
/// the same in every run, as repeatable tests need.
///
/// # Panics
/// The secret is already set: cores started before and after would disagree.
pub fn set_secret(secret: [u64; 2]) {
    SECRET.set(secret).expect("chosen once, before the cores");
}

/// SipHash-1-3 of the key under the secret of this process.
#[must_use]
pub fn hash(key: &[u8]) -> u64 {
    hash_under(SECRET.get().copied().unwrap_or_default(), key)
}

fn hash_under([one, other]: [u64; 2], key: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(one, other);
    hasher.write(key);
    hasher.finish()
}

/// The core that a key hashes to among `cores` cores (at least 1).
#[must_use]
pub fn core_of(key: &[u8], cores: u16) -> CoreId {
    core_of_hash(hash(key), cores)
}

/// Multiply-shift: the hash as a fraction of the cores, without a division and without bias for few cores.
fn core_of_hash(hash: u64, cores: u16) -> CoreId {
    let scaled = (u128::from(hash) * u128::from(cores.max(1))) >> 64;
    CoreId(scaled as u16)
}

/// The owner of `room` among `cores` cores (at least 1).
#[must_use]
pub fn owner_of(room: &str, cores: u16) -> CoreId {
    core_of(room.as_bytes(), cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_siphash_1_3() {
        // The empty text under the key 00 01 … 0f, by the reference implementation with one and three rounds.
        assert_eq!(hash_under([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908], b""), 0xabac_0158_050f_c4dc);
    }

    #[test]
    fn rooms_spread_evenly() {
        let mut counts = [0_u32; 7];
        for index in 0..70_000 {
            counts[owner_of(&format!("room-{index}"), 7).index()] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
        assert!(["", "a", "lobby"].iter().all(|room| owner_of(room, 1) == CoreId(0)));
    }

    #[test]
    fn names_chosen_for_one_core_spread_under_another_secret() {
        let names = (0_u32..).map(|index| format!("room-{index}"));
        let on_core_0 = |secret, name: &str| core_of_hash(hash_under(secret, name.as_bytes()), 8) == CoreId(0);
        let chosen: Vec<String> = names.filter(|name| on_core_0([1, 2], name)).take(4_000).collect();
        for secret in [[1, 3], [2, 2], [u64::MAX, 0]] {
            let still = chosen.iter().filter(|name| on_core_0(secret, name)).count();
            assert!((400..600).contains(&still), "{still} of 4,000 on one core of eight");
        }
    }
}
