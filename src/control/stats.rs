//! The JSON of `/stats`: the counters of each core and their sums. Counts nothing itself.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::watched::{Watched, uptime};
use crate::base::counters::COUNTERS;

/// The counters of one core or of all, and `dropped`: deliveries that members did not get.
struct Numbers(Vec<u64>);

impl Numbers {
    fn entries(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let named = COUNTERS.iter().zip(&self.0).map(|((name, ..), value)| (*name, *value));
        // Without `dropped_lane`: those deliveries are made later.
        let of = |name| named.clone().find(|(known, _)| *known == name).map_or(0, |(_, value)| value);
        let dropped = of("dropped_slow") + of("dropped_gap");
        named.chain([("dropped", dropped)])
    }
}

impl Serialize for Numbers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.entries())
    }
}

/// All counters at one time.
pub struct Stats {
    node: String,
    uptime_s: u64,
    draining: bool,
    total: Numbers,
    cores: Vec<Numbers>,
}

impl Stats {
    /// Reads the counters one after the other, so that sums may be off by what happened meanwhile.
    pub fn of(watched: &Watched) -> Self {
        let cores: Vec<Vec<u64>> = watched.cores.iter().map(|core| core.values()).collect();
        let sum = |index: usize| cores.iter().fold(0_u64, |sum, core| sum.wrapping_add(core[index]));
        let total = (0..COUNTERS.len()).map(sum).collect();
        Self {
            node: watched.node.clone(),
            uptime_s: uptime().as_secs(),
            draining: watched.is_draining(),
            total: Numbers(total),
            cores: cores.into_iter().map(Numbers).collect(),
        }
    }
}

impl Serialize for Stats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("node", &self.node)?;
        map.serialize_entry("uptime_s", &self.uptime_s)?;
        map.serialize_entry("draining", &self.draining)?;
        for (name, value) in self.total.entries() {
            map.serialize_entry(name, &value)?;
        }
        map.serialize_entry("cores", &self.cores)?;
        map.end()
    }
}
