//! Owns the output of `capacity`: costs, bounds and assumptions. Never shows more digits than the rounds agree on.

use std::fmt::Write as _;

use super::model::{Bound, CostRange, Costs, Estimate, HOPS_SHARE, HostLimits, MEMORY_SHARE, Pattern, connection_ns};
use crate::text::grouped;

const WRITES: &str = "a String takes all writes";

/// The whole text. `about` holds further assumptions.
#[must_use]
pub fn text(costs: &Costs, pattern: &Pattern, host: &HostLimits, estimate: &Estimate, about: &[String]) -> String {
    let mut text = String::new();
    let cores = if pattern.cores == 1 { "1 core".to_owned() } else { format!("{} cores", pattern.cores) };
    writeln!(
        text,
        "capacity | {cores}, at most {:.0} % busy | rooms of {:.0}, each member publishes {}/s | pings every {:.0} s\n",
        pattern.busy * 100.0,
        pattern.room_size,
        pattern.rate_per_user,
        pattern.heartbeat_s
    )
    .expect(WRITES);
    row(&mut text, "measured", "median", "range");
    row_of(&mut text, "server memory per connection", costs.user_bytes, bytes);
    row_of(&mut text, "kernel memory per connection", costs.kernel_bytes, bytes);
    row_of(&mut text, "CPU per delivery", costs.delivery_ns, time);
    row_of(&mut text, "CPU per ping", costs.ping_ns, time);
    row_of(&mut text, "CPU per connect, join, close", costs.connect_ns, time);
    row_of(&mut text, "CPU per connection and second", connection_ns(costs, pattern), time);
    text.push('\n');
    row(&mut text, "bound by", "connections", "range");
    for (bound, connections) in &estimate.bounds {
        row_of(&mut text, bound_name(*bound), *connections, count);
    }
    let (first, connections) = estimate.first();
    let (name, about_so_many) = (bound_name(first), count(connections.middle));
    writeln!(text, "\nfirst bound   {name}: about {about_so_many} connections{}", advice(first)).expect(WRITES);
    let range = |range: CostRange, show: fn(f64) -> String| {
        spread(range, show).map_or_else(|| show(range.middle), |spread| format!("{} ({spread})", show(range.middle)))
    };
    writeln!(text, "deliveries    {} per second at that size", range(estimate.deliveries_per_second, count))
        .expect(WRITES);
    writeln!(text, "connects      {} per second within that CPU", range(estimate.connects_per_second, count))
        .expect(WRITES);
    writeln!(text, "restart       all clients are back after {}, cores fully used", range(estimate.back_in_s, seconds))
        .expect(WRITES);
    text.push('\n');
    for line in assumptions(pattern, host, costs).iter().chain(about) {
        writeln!(text, "assumed       {line}").expect(WRITES);
    }
    text
}

fn row(text: &mut String, name: &str, middle: &str, range: &str) {
    writeln!(text, "{name:<32}{middle:>14}    {range}").expect(WRITES);
}

fn row_of(text: &mut String, name: &str, of: CostRange, show: fn(f64) -> String) {
    row(text, name, &show(of.middle), &spread(of, show).unwrap_or_default());
}

/// The range; `None` if both ends look the same.
fn spread(of: CostRange, show: fn(f64) -> String) -> Option<String> {
    let (low, high) = (show(of.low), show(of.high));
    (low != high).then(|| format!("{low} to {high}"))
}

fn bound_name(bound: Bound) -> &'static str {
    match bound {
        Bound::Cpu => "CPU in this pattern",
        Bound::Memory => "memory",
        Bound::Descriptors => "descriptors (RLIMIT_NOFILE)",
        Bound::TcpMemory => "TCP memory (tcp_mem)",
    }
}

/// Advice for bounds that a setting moves.
fn advice(bound: Bound) -> &'static str {
    match bound {
        Bound::Descriptors | Bound::TcpMemory => " (roomring doctor explains how to raise it)",
        Bound::Cpu | Bound::Memory => "",
    }
}

fn assumptions(pattern: &Pattern, host: &HostLimits, costs: &Costs) -> Vec<String> {
    let mut lines = vec![
        format!(
            "connections may take {:.0} % of {} of memory; the rest is for queued frames, histories and the system",
            MEMORY_SHARE * 100.0,
            bytes(host.memory_bytes)
        ),
        format!("the server has RLIMIT_NOFILE = {}, which bounds each core's table", limit(host.open_files)),
    ];
    if host.tcp_bytes.is_some() {
        lines.push(format!("{} % of the readers stall at the same time", pattern.stalled_share * 100.0));
    }
    if pattern.cores > costs.cores {
        lines.push(format!(
            "measured on {} of {} cores: the same cost per core, plus up to {:.0} % for hops between cores",
            costs.cores,
            pattern.cores,
            HOPS_SHARE * 100.0
        ));
    }
    lines.push("sends cost as much as on loopback, where they include the client's receive".into());
    lines.push("half of the kernel's memory per connection is the server's: both ends are on this host".into());
    lines
}

/// Rounds to two digits; rounds differ by more.
fn rounded(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10f64.powf(value.log10().floor() - 1.0);
    (value / scale).round() * scale
}

fn count(value: f64) -> String {
    if value.is_finite() { grouped(rounded(value.max(0.0)).round() as u64) } else { "no bound".to_owned() }
}

/// A limit with all digits.
fn limit(value: f64) -> String {
    if value < 1e15 { grouped(value as u64) } else { "unlimited".to_owned() }
}

fn bytes(value: f64) -> String {
    match value {
        value if value < 1_000.0 => format!("{} B", rounded(value).round()),
        value if value < 1e6 => format!("{} KB", digits(value / 1e3)),
        value if value < 1e9 => format!("{} MB", digits(value / 1e6)),
        value => format!("{} GB", digits(value / 1e9)),
    }
}

fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        ns if ns < 1e3 => format!("{} ns", digits(ns)),
        ns if ns < 1e6 => format!("{} us", digits(ns / 1e3)),
        ns => format!("{} ms", digits(ns / 1e6)),
    }
}

fn seconds(value: f64) -> String {
    if value < 0.1 { "0.1 s".to_owned() } else { format!("{} s", digits(value)) }
}

/// Two significant digits: `4.2`, `42`, `420`.
fn digits(value: f64) -> String {
    let value = rounded(value);
    if value.abs() < 9.95 { format!("{value:.1}") } else { format!("{value:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_digits_than_the_measurement_has() {
        assert_eq!(count(123_456.0), "120,000");
        assert_eq!(count(1_037_552.0), "1,000,000");
        assert_eq!(count(7.0), "7");
        assert_eq!(count(f64::INFINITY), "no bound");
        assert_eq!([371.4, 4_123.0, 24e9].map(bytes), ["370 B", "4.1 KB", "24 GB"]);
        assert_eq!([117.0, 4_961.0, 43_210.0, 2.5e6].map(time), ["120 ns", "5.0 us", "43 us", "2.5 ms"]);
        assert_eq!([0.01, 4.04, 73.0].map(seconds), ["0.1 s", "4.0 s", "73 s"]);
    }

    #[test]
    fn the_text_names_the_first_bound_and_its_assumptions() {
        let one = CostRange::exactly(1_000.0);
        let costs =
            Costs { user_bytes: one, kernel_bytes: one, delivery_ns: one, ping_ns: one, connect_ns: one, cores: 1 };
        let pattern = Pattern {
            room_size: 100.0,
            rate_per_user: 0.1,
            heartbeat_s: 25.0,
            stalled_share: 0.01,
            busy: 0.6,
            cores: 4,
        };
        let host = HostLimits {
            memory_bytes: 8e9,
            open_files: 20_000.0,
            tcp_bytes: Some(1e9),
            send_buffer_bytes: Some(262_144.0),
            unsent_bytes: None,
        };
        let estimate = Estimate::of(&costs, &pattern, &host);
        let text = text(&costs, &pattern, &host, &estimate, &["on a quiet host".to_owned()]);
        assert!(text.contains("first bound   descriptors (RLIMIT_NOFILE): about 74,000 connections"), "{text}");
        for part in
            ["measured on 1 of 4 cores", "1 % of the readers", "50 % of 8.0 GB", "assumed       on a quiet host"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
