//! Which core a key belongs to (a room to its owner): a pure function of the key and the number of cores. Stable: golden tests hold it, because
//! two versions of the server that disagree could not share a machine's rooms.

use crate::base::ids::CoreId;

/// FNV-1a (64 bit) over the name, mixed by the finalizer of `splitmix64` (FNV's high bits are weak on short names).
#[must_use]
pub fn hash(key: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in key {
        hash ^= u64::from(*byte);
        hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// The core that a key hashes to among `cores` cores (at least 1).
#[must_use]
pub fn core_of(key: &[u8], cores: u16) -> CoreId {
    // Multiply-shift: the hash as a fraction of the cores, without a division and without bias for few cores.
    let scaled = (u128::from(hash(key)) * u128::from(cores.max(1))) >> 64;
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
    fn golden() {
        let owners = |cores| ["", "a", "lobby", "news:1", "räume", "room-00042"].map(|room| owner_of(room, cores).0);
        assert_eq!(hash(b"lobby"), GOLDEN_LOBBY);
        assert_eq!(owners(1), [0; 6]);
        assert_eq!(owners(2), GOLDEN_2);
        assert_eq!(owners(96), GOLDEN_96);
    }

    const GOLDEN_LOBBY: u64 = 0x9cef_5397_b504_887d;
    const GOLDEN_2: [u16; 6] = [1, 0, 1, 1, 0, 0];
    const GOLDEN_96: [u16; 6] = [91, 1, 58, 52, 11, 19];

    #[test]
    fn rooms_spread_evenly() {
        let mut counts = [0_u32; 7];
        for index in 0..70_000 {
            counts[owner_of(&format!("room-{index}"), 7).index()] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }
}
