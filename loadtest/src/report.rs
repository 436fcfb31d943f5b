//! What a person reads at the end of a run: one table on standard output. Figures only; the judging is done before.

use std::fmt::Write as _;

use crate::measure::histogram::Summary;
use crate::plan::{Pace, Scenario, Storm};
use crate::run::options::Options;
use crate::run::{Outcome, ServerFigures};

/// The table of one run.
#[must_use]
pub fn table(outcome: &Outcome) -> String {
    let mut text = String::new();
    line(&mut text, &headline(&outcome.options));
    durations(&mut text, outcome);
    work(&mut text, outcome);
    correctness(&mut text, outcome);
    if let Some(server) = &outcome.server {
        figures(&mut text, outcome, server);
    }
    if let Some(floor) = &outcome.floor {
        let (per_send, per_frame) = (ratio(floor.send_cpu_ns, floor.sends), ratio(floor.send_cpu_ns, floor.frames));
        line(
            &mut text,
            &format!(
                "floor         {per_send:.0} ns of CPU per bare send of {:.0} B ({:.1} frames): {per_frame:.0} ns per \
                 frame, {} frames per CPU-second",
                ratio(floor.bytes, floor.sends),
                ratio(floor.frames, floor.sends),
                grouped((1e9 / per_frame.max(1e-3)) as u64)
            ),
        );
    }
    let processes = outcome.options.plans().map_or(1, |plans| plans.len());
    line(
        &mut text,
        &format!(
            "generator     {:.0} % of a CPU (busiest of {processes}), waited for one {:.1} % of the time, \
             {:.1} messages per read",
            outcome.generator_busy * 100.0,
            outcome.generator_waited * 100.0,
            ratio(outcome.measured.delivered, outcome.measured.receives)
        ),
    );
    let host = &outcome.host;
    line(&mut text, &format!("host          {} x {}, Linux {}, load {}", host.cpus, host.cpu, host.kernel, host.load));
    for note in &outcome.verdict.notes {
        line(&mut text, &format!("note          {note}"));
    }
    for complaint in outcome.complaints.iter().take(5) {
        line(&mut text, &format!("wrong         {complaint}"));
    }
    if outcome.verdict.valid {
        line(&mut text, "VALID");
    } else {
        line(&mut text, &format!("INVALID       {}", outcome.verdict.reasons.join("; ")));
    }
    text
}

/// One line that says what was run.
#[must_use]
pub fn headline(options: &Options) -> String {
    let Options { connections, room_size, payload_bytes, .. } = options;
    let pace = |pace: Pace, each: &str| match pace {
        Pace::InFlight(count) => format!("{count} in flight per {each}"),
        Pace::Poisson { per_second } => format!("{per_second} published/s offered (Poisson)"),
        Pace::Even { per_second } => format!("{per_second} published/s offered (even)"),
    };
    let rooms = format!("{} connections in rooms of {room_size}", grouped(u64::from(*connections)));
    let what = match options.scenario {
        Scenario::Idle => format!("idle: {rooms}"),
        Scenario::Fanout { pace: of, stalled_per_mille } => {
            let stalled = match stalled_per_mille {
                0 => String::new(),
                share => format!(", {:.1} % of the readers stalled", f64::from(share) / 10.0),
            };
            format!("fanout: {rooms}, {payload_bytes} B, {}{stalled}", pace(of, "room"))
        }
        Scenario::Echo { pace: of } => {
            format!("echo: {} connections, {payload_bytes} B, {}", grouped(u64::from(*connections)), pace(of, "client"))
        }
        Scenario::Churn => format!("churn: connect, join a room of {room_size}, close; {connections} at a time"),
        Scenario::Soak(_) => format!("soak: {} random clients", grouped(u64::from(*connections))),
        Scenario::Storm(storm) => format!(
            "storm: {rooms}, {:.1} % of the readers hit every {:.1} s, {payload_bytes} B, {}",
            f64::from(storm.share_per_mille) / 10.0,
            storm.every_ns as f64 / 1e9,
            pace(storm.pace, "room")
        ),
        Scenario::Mixed(mixed) => format!(
            "mixed: {} connections in {} rooms each on average, {} rooms (Zipf {}), {} published/s offered in bursts of {}",
            grouped(u64::from(*connections)),
            mixed.memberships,
            grouped(u64::from(mixed.rooms)),
            mixed.zipf,
            mixed.publishes_per_second,
            mixed.burst
        ),
    };
    format!("{} | {what} | {:.1} s | seed {}", options.name, options.duration.as_secs_f64(), options.seed)
}

fn durations(text: &mut String, outcome: &Outcome) {
    if outcome.durations.is_empty() {
        return;
    }
    let columns = ["p50", "p90", "p99", "p99.9", "p99.99", "max"].map(|column| format!("{column:>10}")).concat();
    line(text, &format!("{:<22}{columns}", "us"));
    for (name, shown) in [
        ("latency", "latency"),
        ("last_receiver", "to the last receiver"),
        ("latency_storm", "latency in storms"),
        ("cycle", "cycle"),
        ("back", "away until back"),
        ("whole", "until all are back"),
        ("history", "history read"),
        ("presence", "presence query"),
        ("join", "connect to joined"),
        ("recovery", "reconnect to recovered"),
        ("lag", "generator's lag"),
    ] {
        if let Some(Summary { p50, p90, p99, p999, p9999, max, .. }) = outcome.durations.get(name) {
            let values = [p50, p90, p99, p999, p9999, max].map(|value| format!("{value:>10.1}")).concat();
            line(text, &format!("{shown:<22}{values}"));
        }
    }
}

fn work(text: &mut String, outcome: &Outcome) {
    let (count, unit) = outcome.work();
    let seconds = outcome.measured_s;
    let per_second = |count: u64| grouped((count as f64 / seconds) as u64);
    let mut said = format!("done          {} x {unit} in {seconds:.2} s: {}/s", grouped(count), per_second(count));
    if let Scenario::Fanout { pace, .. } | Scenario::Echo { pace } | Scenario::Storm(Storm { pace, .. }) =
        outcome.options.scenario
    {
        let published = per_second(outcome.measured.published);
        match pace {
            Pace::InFlight(_) => write!(said, ", {published} published/s"),
            Pace::Poisson { per_second } | Pace::Even { per_second } => {
                write!(said, ", {published} published/s of {} offered", grouped(per_second as u64))
            }
        }
        .expect("a String takes all writes");
    }
    if let Scenario::Mixed(mixed) = outcome.options.scenario {
        let (published, offered) = (per_second(outcome.measured.published), mixed.publishes_per_second);
        write!(said, ", {published} published/s of {offered:.0} offered, {} reads", grouped(outcome.measured.reads))
            .expect("a String takes all writes");
    }
    line(text, &said);
    line(
        text,
        &format!(
            "connected     {} clients in {:.2} s",
            grouped(u64::from(outcome.options.connections)),
            outcome.connected_in_s
        ),
    );
}

fn correctness(text: &mut String, outcome: &Outcome) {
    let total = &outcome.total;
    line(
        text,
        &format!(
            "whole run     expected {}, received {}, lost {}, duplicated {}, out of order {}, misrouted {}, wrong {}, \
             disconnected {}, refused {}",
            grouped(total.expected),
            grouped(total.delivered),
            total.lost(),
            total.duplicated,
            total.out_of_order,
            total.misrouted,
            total.wrong,
            total.disconnected,
            total.errors
        ),
    );
    if total.stalled_closed + total.gaps_announced > 0 {
        line(
            text,
            &format!(
                "stalled       {} closed by the server, {} publications announced by gap",
                total.stalled_closed, total.gaps_announced
            ),
        );
    }
    if let Some(storm) = &outcome.storm {
        line(text, &storm.lines(total));
    }
    if matches!(outcome.options.scenario, Scenario::Soak(_) | Scenario::Mixed(_)) {
        line(
            text,
            &format!(
                "clients       {} joins, {} recovered, {} not recoverable, {} vanished, {} published",
                grouped(total.joins),
                grouped(total.recovered),
                grouped(total.not_recovered),
                grouped(total.vanished),
                grouped(total.published)
            ),
        );
    }
}

fn figures(text: &mut String, outcome: &Outcome, server: &ServerFigures) {
    let (count, unit) = outcome.work();
    if outcome.storm.is_some() {
        // The publications cost something too: what a reconnect costs stands with the storms.
        line(text, &format!("server        {:.0} % of a CPU over the whole time", server.busy * 100.0));
    } else if count > 0 {
        line(
            text,
            &format!(
                "server        {} x {unit} per CPU-second; {:.0} ns each ({:.0} user, {:.0} kernel); {:.0} % of a CPU; \
                 {:.1} context switches per 1,000",
                grouped(server.per_cpu_second as u64),
                server.cpu_ns,
                server.user_ns,
                server.system_ns,
                server.busy * 100.0,
                server.switches_per_1000
            ),
        );
    } else {
        line(
            text,
            &format!(
                "server        {:.2} % of a CPU; {:.3} us of CPU per connection and second",
                server.busy * 100.0,
                server.cpu_us_per_connection_second
            ),
        );
    }
    let [empty, full, loaded] = server.memory.map(Option::unwrap_or_default);
    let mib = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
    line(
        text,
        &format!(
            "memory        {:.0} B private per connection joined, {:.0} B at the end; kernel slab {:.0} B (host); \
             private {:.1} -> {:.1} -> {:.1} MiB",
            server.private_per_connection[0],
            server.private_per_connection[1],
            server.slab_per_connection,
            mib(empty.private),
            mib(full.private),
            mib(loaded.private)
        ),
    );
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn ratio(count: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { count as f64 / of as f64 }
}

/// 1234567 as `1,234,567`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([0, 12, 999, 1_000, 1_234_567].map(grouped), ["0", "12", "999", "1,000", "1,234,567"]);
    }
}
