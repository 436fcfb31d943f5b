//! Log lines in virtual time, read back as JSON.

use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::base::ids::{RoomName, UserName};
use crate::base::log_gate::LOG_LINES_PER_CAUSE_MAX;
use crate::engine::session::ConnStats;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no writer panics").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Captured;

    fn make_writer(&'a self) -> Captured {
        self.clone()
    }
}

/// Lines that `act` logs.
fn logged(act: impl FnOnce()) -> Vec<Value> {
    let lines = Captured::default();
    let subscriber =
        tracing_subscriber::fmt().json().flatten_event(true).with_writer(lines.clone()).without_time().finish();
    tracing::subscriber::with_default(subscriber, act);
    let text = String::from_utf8(lines.0.lock().expect("no writer panics").clone()).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("each line is an object")).collect()
}

fn at(mono_ms: u64) -> Now {
    Now { mono_us: mono_ms * 1_000, unix_ms: 1_700_000_000_000 + mono_ms }
}

fn ended(slot: u32, code: CloseCode, room: Option<&str>) -> Ended {
    Ended {
        conn: ConnId { home: CoreId(1), slot, generation: 1 },
        peer: Ipv4Addr::new(192, 0, 2, 7).into(),
        user: UserName::new("ann").expect("valid"),
        code: Some(code),
        cause: code.reason(),
        room: room.map(|room| RoomName::new(room).expect("valid")),
        round_trip_us: 0,
        stats: ConnStats::default(),
    }
}

fn refused(last: u8, status: u16, cause: &'static str) -> Refused {
    Refused { peer: Ipv4Addr::new(192, 0, 2, last).into(), status, cause }
}

#[test]
fn a_closed_connection_is_told_with_all_that_is_known_of_it() {
    let mut log_lines = LogLines::new(CoreId(1));
    let lines = logged(|| {
        log_lines.write(at(0), &mut vec![ended(3, CloseCode::Slow, Some("news")), ended(4, CloseCode::Rate, None)]);
    });
    assert_eq!(lines.len(), 2);
    for (name, value) in [
        ("room", "news"),
        ("user", "ann"),
        ("address", "192.0.2.7"),
        ("cause", "slow_consumer"),
        ("why", "slow consumer"),
    ] {
        assert_eq!(lines[0][name], value, "{lines:?}");
    }
    assert_eq!((&lines[0]["code"], lines[1].get("room")), (&Value::from(4413), None), "{lines:?}");
}

#[test]
fn a_flood_gives_a_bounded_number_of_lines_and_its_count_by_cause() {
    let mut log_lines = LogLines::new(CoreId(0));
    let counters = CoreCounters::default();
    let most = LOG_LINES_PER_CAUSE_MAX as u64;
    let lines = logged(|| {
        for slot in 0..10_000 {
            log_lines.write(at(1), &mut vec![ended(slot, CloseCode::Protocol, None)]);
            log_lines.write_refused(at(1), &mut vec![refused(1, 429, "rate_limited"), refused(2, 404, "not_found")]);
        }
        log_lines.write(at(1), &mut vec![ended(1, CloseCode::Slow, None)]);
        log_lines.write_state(at(60_000), &counters);
    });
    let count = |message: &str| lines.iter().filter(|line| line["message"] == message).count() as u64;
    assert_eq!(count("connection closed"), most + 1, "the other cause is not hidden");
    assert_eq!((count("request refused"), lines.len() as u64), (2, most + 3));

    assert_eq!(log_lines.next_due_us(), Some(60_001_000));
    let mut told: Vec<(String, u64)> = logged(|| log_lines.write_state(at(60_001), &counters))
        .iter()
        .map(|line| (line["cause"].as_str().expect("a cause").to_owned(), line["lines"].as_u64().expect("a count")))
        .collect();
    told.sort();
    let expected = [("not_found", 9_999), ("protocol_error", 10_000 - most), ("rate_limited", 9_999)];
    assert_eq!(told, expected.map(|(cause, lines)| (cause.to_owned(), lines)));
    assert_eq!(log_lines.next_due_us(), None);
    assert!(logged(|| log_lines.write_state(at(120_001), &counters)).is_empty(), "each is told once");
}

#[test]
fn the_next_line_of_a_cause_tells_what_was_held_back() {
    let mut log_lines = LogLines::new(CoreId(0));
    let lines = logged(|| {
        for at_ms in [0, 1, 2, 60_000] {
            log_lines.write_refused(at(at_ms), &mut vec![refused(1, 503, "overloaded")]);
        }
        log_lines.finish();
    });
    let counts: Vec<_> = lines.iter().map(|line| line["held_back"].as_u64()).collect();
    assert_eq!(counts, [Some(0), Some(2)]);
}

#[test]
fn memory_and_lanes_are_told_when_they_change_and_at_most_once_a_minute() {
    let (mut log_lines, counters) = (LogLines::new(CoreId(2)), CoreCounters::default());
    counters.memory_budget_bytes.set(100);
    let lines = logged(|| {
        for (at_ms, charged) in [(0, 100), (1, 101), (2, 150), (3, 90), (4, 101), (5, 90), (6, 101), (60_001, 102)] {
            counters.memory_charged.set(charged);
            log_lines.write_state(at(at_ms), &counters);
        }
    });
    let told: Vec<_> = lines.iter().map(|line| (line["level"].as_str(), line["times"].as_u64())).collect();
    assert_eq!(told, [(Some("WARN"), Some(1)), (Some("INFO"), None), (Some("WARN"), Some(2))], "{lines:?}");
    assert_eq!(lines[0]["core"], 2);

    let lines = logged(|| {
        for (at_ms, put_off) in [(70_000, 0), (70_001, 5), (70_002, 6), (130_000, 7), (130_001, 0)] {
            counters.dropped_lane.add(put_off);
            log_lines.write_state(at(at_ms), &counters);
        }
    });
    let told: Vec<_> = lines.iter().map(|line| line["deliveries_put_off"].as_u64()).collect();
    assert_eq!(told, [Some(5), Some(13)], "{lines:?}");
}
