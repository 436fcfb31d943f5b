//! Owns the assignment of clients to rooms by Zipf's law: few large rooms, many small ones. Never joins rooms.

use fastrand::Rng;

/// Maximum rooms per client, below the default limits of servers.
pub const ROOMS_PER_CLIENT_MAX: usize = 32;

/// The weights of rooms.
#[derive(Clone, Debug)]
pub struct Zipf {
    /// Cumulative weights.
    sums: Vec<f64>,
}

impl Zipf {
    /// Creates weights for `rooms` rooms (at least 1). The k-th room, from 1, has weight `k` to the power of
    /// `-exponent`.
    #[must_use]
    pub fn new(rooms: u32, exponent: f64) -> Self {
        let mut sum = 0.0;
        let add = |rank: u32| {
            sum += f64::from(rank).powf(-exponent);
            sum
        };
        Zipf { sums: (1..=rooms.max(1)).map(add).collect() }
    }

    /// Number of rooms.
    #[must_use]
    pub fn rooms(&self) -> u32 {
        self.sums.len() as u32
    }

    fn total(&self) -> f64 {
        self.sums[self.sums.len() - 1]
    }

    /// Draws a room by weight.
    pub fn draw(&self, rng: &mut Rng) -> u32 {
        let at = rng.f64() * self.total();
        (self.sums.partition_point(|sum| *sum <= at) as u32).min(self.rooms() - 1)
    }

    /// Sizes of the rooms, largest first, from 1 to `clients`. They add up to `memberships` if possible.
    #[must_use]
    pub fn sizes(&self, memberships: u32, clients: u32) -> Vec<u32> {
        let mut before = 0.0;
        let share = |sum: &f64| {
            let share = (sum - before) / self.total();
            before = *sum;
            ((share * f64::from(memberships)) as u32).clamp(1, clients)
        };
        let mut sizes: Vec<u32> = self.sums.iter().map(share).collect();
        // Spreads the difference from rounding and bounds over the first possible rooms.
        let mut sum: u32 = sizes.iter().sum();
        while sum != memberships {
            let before = sum;
            for size in &mut sizes {
                if sum < memberships && *size < clients {
                    *size += 1;
                    sum += 1;
                } else if sum > memberships && *size > 1 {
                    *size -= 1;
                    sum -= 1;
                }
            }
            if sum == before {
                break;
            }
        }
        sizes
    }

    /// The rooms of each client: at least one, without duplicates.
    #[must_use]
    pub fn assign(&self, memberships: u32, clients: u32, rng: &mut Rng) -> Vec<Vec<u32>> {
        let mut rooms_of: Vec<Vec<u32>> = vec![Vec::new(); clients as usize];
        let mut unplaced: Vec<u32> = (0..clients).collect();
        rng.shuffle(&mut unplaced);
        let share = f64::from(clients) / f64::from(memberships.max(1));
        for (room, size) in (0u32..).zip(self.sizes(memberships, clients)) {
            // Each room takes its share of clients without a room, and the rest from all clients.
            let fresh = ((f64::from(size) * share).round() as usize).min(unplaced.len());
            for client in unplaced.split_off(unplaced.len() - fresh) {
                rooms_of[client as usize].push(room);
            }
            for _ in fresh..size as usize {
                let from = rng.u32(..clients);
                let can = |client: &u32| {
                    let rooms = &rooms_of[*client as usize];
                    rooms.len() < ROOMS_PER_CLIENT_MAX && !rooms.contains(&room)
                };
                let Some(client) = (from..clients).chain(0..from).find(can) else { break };
                rooms_of[client as usize].push(room);
            }
        }
        for client in unplaced {
            rooms_of[client as usize].push(self.draw(rng));
        }
        rooms_of
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_the_law_and_add_up() {
        let zipf = Zipf::new(100, 1.1);
        let sizes = zipf.sizes(2_000, 1_000);
        assert_eq!(sizes.iter().sum::<u32>(), 2_000);
        assert!(sizes.is_sorted_by(|larger, smaller| larger + 1 >= *smaller), "{sizes:?}");
        let ratio = f64::from(sizes[0]) / f64::from(sizes[9]);
        assert!((ratio - 10f64.powf(1.1)).abs() < 1.5, "first to tenth: {ratio}");
        assert_eq!(Zipf::new(4, 0.0).sizes(40, 100), [10; 4], "exponent 0: equal sizes");
        assert_eq!(Zipf::new(3, 4.0).sizes(30, 10), [10; 3], "no room is larger than all clients");
        assert_eq!(Zipf::new(5, 1.0).sizes(3, 10), [1; 5], "no room is empty");
    }

    #[test]
    fn every_client_has_rooms_without_duplicates() {
        let mut rng = Rng::with_seed(1);
        for (clients, memberships) in [(1, 1), (10, 10), (500, 1_000), (500, 3_333)] {
            let zipf = Zipf::new(50, 1.1);
            let rooms_of = zipf.assign(memberships, clients, &mut rng);
            for rooms in &rooms_of {
                let mut distinct = rooms.clone();
                distinct.sort_unstable();
                distinct.dedup();
                assert!(!rooms.is_empty() && distinct.len() == rooms.len(), "{rooms:?}");
            }
            let sum = rooms_of.iter().map(Vec::len).sum::<usize>() as u32;
            let wanted = memberships.max(50).min(clients * ROOMS_PER_CLIENT_MAX as u32);
            assert!(sum.abs_diff(wanted) <= wanted / 10 + 1, "{sum} of {wanted}");
        }
    }

    #[test]
    fn draws_follow_the_weights() {
        let (zipf, mut rng) = (Zipf::new(3, 1.0), Rng::with_seed(1));
        let mut drawn = [0.0; 3];
        for _ in 0..11_000 {
            drawn[zipf.draw(&mut rng) as usize] += 1.0;
        }
        // 6, 3 and 2 of 11.
        assert!(
            drawn.iter().zip([6_000.0, 3_000.0, 2_000.0]).all(|(got, want): (&f64, f64)| (got - want).abs() < 300.0)
        );
    }
}
