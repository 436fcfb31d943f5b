//! Owns the arithmetic of `capacity`: from measured costs and limits of the host to its capacity. Never measures or
//! reads anything.

use serde::Serialize;

/// Share of memory for connections. The rest is for queued frames, histories and the system.
pub const MEMORY_SHARE: f64 = 0.5;

/// Share of each core that hops between cores may cost; widens estimates for more cores than were measured.
pub const HOPS_SHARE: f64 = 0.15;

/// Free slots of a core's table; a sixteenth of a small table.
const SLOTS_SPARE: f64 = 1_024.0;

/// Largest table of a core.
const SLOTS_MAX: f64 = (1 << 20) as f64;

/// Bytes that the socket of a stalled reader holds beyond `tcp_notsent_lowat`: one segment of maximum size.
const SEGMENT_BYTES: f64 = 65_536.0;

/// Plausible kernel bytes of one end of an idle connection: the TCP socket alone exceeds the first; with inode, file,
/// poll and slack it stays below the second.
const SOCKET_BYTES: (f64, f64) = (2_000.0, 10_000.0);

/// A figure with its range over several rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CostRange {
    /// The lowest value.
    pub low: f64,
    /// The median.
    pub middle: f64,
    /// The highest value.
    pub high: f64,
}

impl CostRange {
    /// One value without spread.
    #[must_use]
    pub fn exactly(value: f64) -> Self {
        CostRange { low: value, middle: value, high: value }
    }

    /// The range of several rounds; `None` without any.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.retain(|value| value.is_finite());
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        let half = values.len() / 2;
        let middle = if values.len() % 2 == 1 { values[half] } else { f64::midpoint(values[half - 1], values[half]) };
        Some(CostRange { low, middle, high })
    }

    /// Applies a function to each value.
    #[must_use]
    pub fn map(self, of: impl Fn(f64) -> f64) -> Self {
        CostRange { low: of(self.low), middle: of(self.middle), high: of(self.high) }
    }

    /// Divides `value` by each cost. The highest cost gives the lowest result.
    #[must_use]
    pub fn divide(self, value: f64) -> Self {
        let of = |cost: f64| if cost > 0.0 { value / cost } else { f64::INFINITY };
        CostRange { low: of(self.high), middle: of(self.middle), high: of(self.low) }
    }

    /// Adds two costs.
    #[must_use]
    pub fn plus(self, other: CostRange) -> Self {
        CostRange { low: self.low + other.low, middle: self.middle + other.middle, high: self.high + other.high }
    }
}

/// Measured costs of the server.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Costs {
    /// Private memory of the server per connection, in bytes.
    pub user_bytes: CostRange,
    /// Kernel memory of the server's end per connection, in bytes.
    pub kernel_bytes: CostRange,
    /// CPU time per delivery, including its share of the publish, in nanoseconds.
    pub delivery_ns: CostRange,
    /// CPU time per ping and pong, in nanoseconds.
    pub ping_ns: CostRange,
    /// CPU time per connect, join and close, in nanoseconds.
    pub connect_ns: CostRange,
    /// Cores of the server during the measurement.
    pub cores: usize,
}

impl Costs {
    /// Implausible costs: another process on the host took or freed memory during the measurement.
    #[must_use]
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.user_bytes.low <= 0.0 {
            doubts.push("the server's memory did not grow with its connections".to_owned());
        }
        if self.kernel_bytes.low < SOCKET_BYTES.0 || self.kernel_bytes.high > SOCKET_BYTES.1 {
            let what = "implausible kernel memory per connection";
            doubts.push(format!("{what}: another process on this host took or freed memory"));
        }
        doubts
    }
}

/// The pattern to estimate for.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Pattern {
    /// Members of a room; each connection is in one.
    pub room_size: f64,
    /// Messages that each connection publishes per second.
    pub rate_per_user: f64,
    /// Seconds between pings of a connection.
    pub heartbeat_s: f64,
    /// Share of connections that stall at the same time.
    pub stalled_share: f64,
    /// Maximum CPU use of each core, as a share.
    pub busy: f64,
    /// Cores of the server.
    pub cores: usize,
}

/// Limits of the host.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct HostLimits {
    /// Memory, in bytes.
    pub memory_bytes: f64,
    /// `RLIMIT_NOFILE` of the server.
    pub open_files: f64,
    /// Maximum memory of TCP, in bytes (`net.ipv4.tcp_mem`).
    pub tcp_bytes: Option<f64>,
    /// Largest send buffer (`net.ipv4.tcp_wmem`).
    pub send_buffer_bytes: Option<f64>,
    /// Maximum unsent bytes per socket (`net.ipv4.tcp_notsent_lowat`).
    pub unsent_bytes: Option<f64>,
}

/// A bound on the number of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// CPU time in the pattern.
    Cpu,
    /// Memory for connections.
    Memory,
    /// The table of each core.
    Descriptors,
    /// Memory of TCP with the share of stalled readers.
    TcpMemory,
}

/// The capacity of the host.
#[derive(Clone, Debug, Serialize)]
pub struct Estimate {
    /// Connections by each bound, lowest first.
    pub bounds: Vec<(Bound, CostRange)>,
    /// Deliveries per second with the connections of the first bound.
    pub deliveries_per_second: CostRange,
    /// Connects per second within the share of CPU.
    pub connects_per_second: CostRange,
    /// Seconds until all connections of the first bound are back after a restart, with all cores fully used.
    pub back_in_s: CostRange,
}

impl Estimate {
    /// Estimates the capacity.
    #[must_use]
    pub fn of(costs: &Costs, pattern: &Pattern, host: &HostLimits) -> Self {
        let mut bounds = vec![(Bound::Cpu, by_cpu(costs, pattern)), (Bound::Memory, by_memory(costs, host))];
        bounds.push((Bound::Descriptors, CostRange::exactly(by_descriptors(host.open_files, pattern.cores))));
        if let Some(most) = by_tcp_memory(host, pattern.stalled_share) {
            bounds.push((Bound::TcpMemory, CostRange::exactly(most)));
        }
        bounds.sort_by(|a, b| a.1.middle.total_cmp(&b.1.middle));
        let first = bounds[0].1;
        let cpu = less_hops(costs.connect_ns.divide(1e9 * pattern.cores as f64), costs.cores, pattern.cores);
        Estimate {
            deliveries_per_second: first.map(|connections| connections * pattern.rate_per_user * pattern.room_size),
            connects_per_second: cpu.map(|rate| rate * pattern.busy),
            // Many at the lowest rate take longest.
            back_in_s: CostRange {
                low: first.low / cpu.high,
                middle: first.middle / cpu.middle,
                high: first.high / cpu.low,
            },
            bounds,
        }
    }

    /// The lowest bound, and its connections.
    #[must_use]
    pub fn first(&self) -> (Bound, CostRange) {
        self.bounds[0]
    }
}

/// CPU time of one connection in the pattern, in nanoseconds per second.
#[must_use]
pub fn connection_ns(costs: &Costs, pattern: &Pattern) -> CostRange {
    // Each publish of each member goes to all members of its room.
    let deliveries = costs.delivery_ns.map(|each| each * pattern.rate_per_user * pattern.room_size);
    deliveries.plus(costs.ping_ns.map(|each| each / pattern.heartbeat_s))
}

fn by_cpu(costs: &Costs, pattern: &Pattern) -> CostRange {
    let allowed = pattern.busy * pattern.cores as f64 * 1e9;
    less_hops(connection_ns(costs, pattern).divide(allowed), costs.cores, pattern.cores)
}

fn less_hops(range: CostRange, measured: usize, cores: usize) -> CostRange {
    if cores > measured { CostRange { low: range.low * (1.0 - HOPS_SHARE), ..range } } else { range }
}

fn by_memory(costs: &Costs, host: &HostLimits) -> CostRange {
    costs.user_bytes.plus(costs.kernel_bytes).divide(host.memory_bytes * MEMORY_SHARE)
}

/// Connections until the table of the fullest core is full. The kernel spreads connections by a hash, which gives a
/// core up to four standard deviations more than its share.
#[must_use]
pub fn by_descriptors(open_files: f64, cores: usize) -> f64 {
    let slots = open_files.min(SLOTS_MAX);
    let table = slots - SLOTS_SPARE.min(slots / 16.0);
    if cores <= 1 {
        return table;
    }
    // share + 4 sqrt(share) = table
    let root = (4.0 + table).sqrt() - 2.0;
    root * root * cores as f64
}

fn by_tcp_memory(host: &HostLimits, stalled_share: f64) -> Option<f64> {
    let buffer = host.send_buffer_bytes?;
    let each = host.unsent_bytes.map_or(buffer, |unsent| buffer.min(unsent + SEGMENT_BYTES));
    (stalled_share > 0.0).then_some(host.tcp_bytes? / each / stalled_share)
}

/// Memory measured by one run of `idle`.
#[derive(Clone, Copy, Debug)]
pub struct IdleRun {
    /// Number of connections.
    pub connections: f64,
    /// Private memory of the server with these connections, in bytes.
    pub private: f64,
    /// Growth of the kernel's slab by these connections, in bytes, including both ends of each.
    pub slab: f64,
}

/// User and kernel bytes of one connection at the server. User bytes are the difference between two runs, so that the
/// server's own memory does not count; the growth of the slab is a difference already. Both ends are on this host, so
/// half of the kernel bytes belong to the server.
#[must_use]
pub fn bytes_per_connection(small: IdleRun, large: IdleRun) -> (f64, f64) {
    let more = large.connections - small.connections;
    ((large.private - small.private) / more, large.slab / large.connections / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs() -> Costs {
        Costs {
            user_bytes: CostRange { low: 350.0, middle: 400.0, high: 450.0 },
            kernel_bytes: CostRange { low: 3_600.0, middle: 3_600.0, high: 3_600.0 },
            delivery_ns: CostRange { low: 4_000.0, middle: 5_000.0, high: 8_000.0 },
            ping_ns: CostRange::exactly(25_000.0),
            connect_ns: CostRange { low: 25_000.0, middle: 40_000.0, high: 50_000.0 },
            cores: 1,
        }
    }

    fn pattern() -> Pattern {
        Pattern { room_size: 100.0, rate_per_user: 0.01, heartbeat_s: 25.0, stalled_share: 0.01, busy: 0.6, cores: 1 }
    }

    fn host() -> HostLimits {
        HostLimits {
            memory_bytes: 8e9,
            open_files: 1_048_576.0,
            tcp_bytes: Some(1e9),
            send_buffer_bytes: Some(4_194_304.0),
            unsent_bytes: Some(4_294_967_295.0),
        }
    }

    fn bound(estimate: &Estimate, of: Bound) -> CostRange {
        estimate.bounds.iter().find(|(bound, _)| *bound == of).expect("the bound is estimated").1
    }

    #[test]
    fn each_bound_is_its_limit_divided_by_its_cost() {
        let estimate = Estimate::of(&costs(), &pattern(), &host());
        // One delivery a second (100 members x 0.01/s) of 5 us, and a twenty-fifth of a ping: 6 us of CPU a second.
        let cpu = bound(&estimate, Bound::Cpu);
        assert_eq!(cpu.middle.round(), 100_000.0);
        assert_eq!([cpu.low, cpu.high].map(f64::round), [(0.6e9_f64 / 9_000.0).round(), 120_000.0]);
        assert_eq!(bound(&estimate, Bound::Memory).middle, 1e6);
        assert_eq!(bound(&estimate, Bound::Descriptors).middle, 1_048_576.0 - 1_024.0);
        assert_eq!(bound(&estimate, Bound::TcpMemory).middle.round(), (1e9_f64 / 4_194_304.0 / 0.01).round());
        assert_eq!(estimate.first().0, Bound::TcpMemory);
    }

    #[test]
    fn a_lower_mark_bounds_the_bytes_of_a_stalled_reader() {
        let host = HostLimits { unsent_bytes: Some(131_072.0), ..host() };
        let estimate = Estimate::of(&costs(), &pattern(), &host);
        assert_eq!(bound(&estimate, Bound::TcpMemory).middle.round(), (1e9_f64 / 196_608.0 / 0.01).round());
        assert_eq!(estimate.first().0, Bound::Cpu);
        let none = Estimate::of(&costs(), &Pattern { stalled_share: 0.0, ..pattern() }, &host);
        assert!(none.bounds.iter().all(|(bound, _)| *bound != Bound::TcpMemory));
    }

    #[test]
    fn rates_and_return_follow_from_the_first_bound() {
        let estimate = Estimate::of(&costs(), &pattern(), &HostLimits { unsent_bytes: Some(131_072.0), ..host() });
        let first = estimate.first().1;
        assert_eq!(estimate.deliveries_per_second.middle.round(), first.middle.round());
        assert_eq!(estimate.connects_per_second.middle.round(), 15_000.0);
        assert_eq!(estimate.back_in_s.middle.round(), 4.0);
        assert!(estimate.back_in_s.low < 4.0 && estimate.back_in_s.high > 4.0);
    }

    #[test]
    fn more_cores_hold_more_and_are_less_certain() {
        let one = Estimate::of(&costs(), &pattern(), &host());
        let four = Estimate::of(&costs(), &Pattern { cores: 4, ..pattern() }, &host());
        let (one, four) = (bound(&one, Bound::Cpu), bound(&four, Bound::Cpu));
        assert_eq!(four.middle, one.middle * 4.0);
        assert!((four.low - one.low * 4.0 * 0.85).abs() < 1e-6);
        let table = by_descriptors(20_000.0, 1);
        assert_eq!(table, 20_000.0 - 1_024.0);
        let share = by_descriptors(20_000.0, 4) / 4.0;
        assert!((share + 4.0 * share.sqrt() - table).abs() < 1e-6, "{share}");
        assert_eq!(by_descriptors(1_600.0, 1), 1_500.0);
        assert_eq!(by_descriptors(1e12, 1), SLOTS_MAX - SLOTS_SPARE);
    }

    #[test]
    fn bytes_are_the_difference_between_two_runs() {
        let run = |connections: f64| IdleRun {
            connections,
            private: 30e6 + 380.0 * connections,
            slab: 7_600.0 * connections,
        };
        assert_eq!(bytes_per_connection(run(2_000.0), run(10_000.0)), (380.0, 3_800.0));
    }

    #[test]
    fn implausible_memory_is_doubted() {
        assert_eq!(costs().doubts(), Vec::<String>::new());
        let freed = Costs { kernel_bytes: CostRange { low: -2_600.0, ..costs().kernel_bytes }, ..costs() };
        assert_eq!(freed.doubts().len(), 1);
        let taken = Costs { kernel_bytes: CostRange { high: 50_000.0, ..costs().kernel_bytes }, ..costs() };
        assert_eq!(taken.doubts().len(), 1);
        let none = Costs { user_bytes: CostRange::exactly(0.0), ..costs() };
        assert_eq!(none.doubts().len(), 1);
    }

    #[test]
    fn ranges_cover_the_measured_values() {
        assert_eq!(CostRange::of(vec![3.0, f64::NAN, 1.0, 2.0]), Some(CostRange { low: 1.0, middle: 2.0, high: 3.0 }));
        assert_eq!(CostRange::of(vec![f64::INFINITY]), None);
        assert_eq!(CostRange::of(vec![1.0, 3.0]).map(|range| range.middle), Some(2.0));
        assert_eq!(
            CostRange { low: 1.0, middle: 2.0, high: 4.0 }.divide(8.0),
            CostRange { low: 2.0, middle: 4.0, high: 8.0 }
        );
        assert_eq!(CostRange::exactly(0.0).divide(8.0).middle, f64::INFINITY);
    }
}
