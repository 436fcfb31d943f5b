//! The engine's only source of randomness: a cryptographic generator (ChaCha20), so that its visible numbers do not
//! reveal the next ones. Seeded, so that a run can be repeated.

use std::fmt;
use std::hash::BuildHasher;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use siphasher::sip::SipHasher13;

use crate::base::ids::{ConnId, CoreId, Epoch};

/// The source of all random choices of a process. Two secrets, so that nothing clients see is drawn from the one that
/// keys the hash tables.
#[derive(Clone)]
pub struct Secrets {
    /// For visible values: ids, epochs, guest names, delays.
    pub shown: [u8; 32],
    /// For hash tables.
    pub tables: [u8; 32],
}

/// Each part of each core has its own sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The connections of a core.
    Home = 1,
    /// The rooms of a core.
    Owner = 2,
    /// The addresses counted by a core.
    Limiter = 3,
    /// The users of a core.
    User = 4,
    /// The ids of sessions, of all cores.
    Sessions = 5,
}

impl Secrets {
    /// Numbers for what clients see.
    #[must_use]
    pub fn shown(&self, core: CoreId, part: Part) -> Random {
        Random::of(self.shown, core, part)
    }

    /// The key of the sessions' ids: all cores of the process have the same.
    #[must_use]
    pub fn sessions(&self) -> SessionKey {
        SessionKey(Random::of(self.shown, CoreId(0), Part::Sessions).bytes())
    }

    /// Keys for hash tables.
    #[must_use]
    pub fn tables(&self, core: CoreId, part: Part) -> TableKeys {
        TableKeys(Random::of(self.tables, core, part))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// For runs that can be repeated. Anyone who knows the seed knows every number.
impl From<u64> for Secrets {
    fn from(seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self { shown: random.bytes(), tables: random.bytes() }
    }
}

/// A sequence of numbers.
#[derive(Debug)]
pub struct Random(ChaCha20Rng);

impl Random {
    /// A repeatable sequence: anyone who knows the seed knows every number.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Self(ChaCha20Rng::from_seed(key))
    }

    fn of(secret: [u8; 32], core: CoreId, part: Part) -> Self {
        let mut generator = ChaCha20Rng::from_seed(secret);
        generator.set_stream(part as u64 | u64::from(core.0) << 8);
        Self(generator)
    }

    /// Any number.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        let scaled = (u128::from(self.next_u64()) * u128::from(bound.max(1))) >> 64;
        scaled as u64
    }

    /// An epoch for a new numbering: never [`Epoch::UNKNOWN`].
    pub fn epoch(&mut self) -> Epoch {
        loop {
            let epoch = Epoch(self.next_u64());
            if epoch != Epoch::UNKNOWN {
                return epoch;
            }
        }
    }

    /// A text of 128 random bits in hexadecimal digits, which nobody can guess.
    pub fn code(&mut self) -> String {
        format!("{:016x}{:016x}", self.next_u64(), self.next_u64())
    }

    fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}

/// Gives each connection a number that nobody can compute without the key: the start of the ChaCha20 block at a nonce and a
/// counter that stand for the connection. No two connections of a process have the same.
#[derive(Clone)]
pub struct SessionKey([u8; 32]);

impl SessionKey {
    /// The number of a connection.
    #[must_use]
    pub fn number_of(&self, conn: ConnId) -> u128 {
        let mut generator = ChaCha20Rng::from_seed(self.0);
        generator.set_stream(u64::from(conn.slot) << 32 | u64::from(conn.generation));
        generator.set_block_pos(u64::from(conn.home.0));
        u128::from(generator.next_u64()) << 64 | u128::from(generator.next_u64())
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SessionKey").finish_non_exhaustive()
    }
}

/// Gives each hash table its own key.
#[derive(Debug)]
pub struct TableKeys(Random);

impl TableKeys {
    /// For one hash table.
    pub fn hashing(&mut self) -> NameHashing {
        NameHashing { key: [self.0.next_u64(), self.0.next_u64()] }
    }
}

/// How hash tables hash names from clients: SipHash-1-3 under a secret key. Faster hashes do not withstand an attacker
/// who chooses the names and measures the time.
#[derive(Clone)]
pub struct NameHashing {
    key: [u64; 2],
}

impl BuildHasher for NameHashing {
    type Hasher = SipHasher13;

    #[inline]
    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.key[0], self.key[1])
    }
}

impl fmt::Debug for NameHashing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NameHashing").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_sequence_is_chacha20() {
        // RFC 8439, appendix A.1, test vector 1: the key, nonce and counter of zeros.
        assert_eq!(Random::new(0).next_u64().to_le_bytes(), [0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90]);
    }

    #[test]
    fn one_seed_gives_one_run_and_every_part_of_every_core_its_own() {
        let numbers = |seed: u64| -> Vec<u64> {
            let secrets = Secrets::from(seed);
            let mut numbers = Vec::new();
            for core in (0..300).map(CoreId) {
                for part in [Part::Home, Part::Owner, Part::Limiter, Part::User] {
                    numbers.push(secrets.shown(core, part).next_u64());
                    let mut tables = secrets.tables(core, part);
                    numbers.extend([tables.hashing().key, tables.hashing().key].concat());
                }
            }
            numbers
        };
        let (one, again, other) = (numbers(1), numbers(1), numbers(2));
        assert_eq!(one, again);
        let distinct: BTreeSet<u64> = one.iter().chain(&other).copied().collect();
        assert_eq!(distinct.len(), one.len() + other.len(), "no number comes twice");
    }

    #[test]
    fn every_connection_has_its_own_number_under_every_key() {
        let keys = [Secrets::from(1), Secrets::from(2)].map(|secrets| secrets.sessions());
        let mut seen = BTreeSet::new();
        for key in &keys {
            for (home, slot, generation) in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (u16::MAX, u32::MAX, u32::MAX)]
            {
                let conn = ConnId { home: CoreId(home), slot, generation };
                assert!(seen.insert(key.number_of(conn)), "{conn}");
                assert_eq!(key.number_of(conn), key.clone().number_of(conn));
            }
        }
        // RFC 8439, appendix A.1, test vector 1.
        let zero = SessionKey([0; 32]).number_of(ConnId { home: CoreId(0), slot: 0, generation: 0 });
        let block = [0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90, 0x40, 0x5d, 0x6a, 0xe5, 0x53, 0x86, 0xbd, 0x28];
        let halves = [0, 8].map(|at| u64::from_le_bytes(block[at..at + 8].try_into().expect("eight bytes")));
        assert_eq!(zero, u128::from(halves[0]) << 64 | u128::from(halves[1]));
    }

    #[test]
    fn tables_and_what_is_shown_do_not_follow_from_one_another() {
        let key = |secrets: &Secrets| secrets.tables(CoreId(0), Part::Home).hashing().key;
        let shown = |secrets: &Secrets| secrets.shown(CoreId(0), Part::Home).next_u64();
        let one = Secrets::from(1);
        let other_tables = Secrets { tables: Secrets::from(2).tables, ..one.clone() };
        let other_shown = Secrets { shown: Secrets::from(2).shown, ..one.clone() };
        assert!(shown(&other_tables) == shown(&one) && key(&other_tables) != key(&one));
        assert!(shown(&other_shown) != shown(&one) && key(&other_shown) == key(&one));
    }

    /// The state of SplitMix64 (Steele, Lea, Flood 2014) after the output `output`. Clients once saw its numbers.
    fn state_of_splitmix64(output: u64) -> u64 {
        let unshift = |mixed: u64, by: u32| (0..64 / by).fold(mixed, |state, _| mixed ^ (state >> by));
        let inverse = |odd: u64| {
            (0..6).fold(odd, |inverse: u64, _| inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse))))
        };
        let mixed = unshift(output, 31).wrapping_mul(inverse(0x94d0_49bb_1331_11eb));
        let mixed = unshift(mixed, 27).wrapping_mul(inverse(0xbf58_476d_1ce4_e5b9));
        unshift(mixed, 30)
    }

    fn splitmix64(state: u64) -> u64 {
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    #[test]
    fn what_was_seen_does_not_tell_the_next_number() {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let state = 1_234_567_u64.wrapping_add(STEP);
        // A test value published with Vigna's reference implementation.
        assert_eq!(splitmix64(state), 6_457_827_717_110_365_317);
        assert_eq!(state_of_splitmix64(6_457_827_717_110_365_317), state, "the attack works where it should");
        let mut random = Secrets::from(1).shown(CoreId(0), Part::Home);
        let seen: Vec<u64> = (0..10_000).map(|_| random.next_u64()).collect();
        for pair in seen.windows(2) {
            assert_ne!(splitmix64(state_of_splitmix64(pair[0]).wrapping_add(STEP)), pair[1]);
        }
    }

    #[test]
    fn names_that_collide_under_one_key_do_not_under_another() {
        const BUCKETS: u64 = 256;
        let known = Secrets::from(1).tables(CoreId(0), Part::Owner).hashing();
        let names = (0_u32..).map(|number| format!("room-{number}"));
        let chosen: Vec<String> =
            names.filter(|name| known.hash_one(name.as_str()) % BUCKETS == 7).take(2_000).collect();
        let mut others = Secrets::from(2).tables(CoreId(0), Part::Owner);
        let next_table = Secrets::from(1);
        let mut next_table = next_table.tables(CoreId(0), Part::Owner);
        next_table.hashing();
        for other in [others.hashing(), others.hashing(), next_table.hashing()] {
            let mut counts = [0; BUCKETS as usize];
            for name in &chosen {
                counts[(other.hash_one(name.as_str()) % BUCKETS) as usize] += 1;
            }
            let most = counts.iter().max().expect("there are buckets");
            assert!(*most <= 30, "{most} of 2,000 names in one of 256 buckets");
        }
    }
}
