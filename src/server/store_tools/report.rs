//! The report of `roomring store check` as text. Looks at no store.

use std::fmt::Write;

use crate::store::check::{CheckReport, Damage, HoldingsLine, SegmentLine};

/// The report, without an end of line.
pub(super) fn render(report: &CheckReport) -> String {
    let mut text = format!("store in {}\n\nlog\n", report.path.display());
    for segment in &report.segments {
        line(&mut text, &of_segment(segment));
    }
    if report.segments.is_empty() {
        line(&mut text, "no segments");
    }
    text.push_str("\nindex\n");
    match report.index.applied_commit {
        Some(applied) => {
            line(&mut text, &format!("has carried out the log up to group {applied}"));
            for (name, count) in counts(&report.index.holdings) {
                line(&mut text, &format!("{name}: {count}"));
            }
        }
        None => line(&mut text, "not open"),
    }
    if !report.notes.is_empty() {
        text.push_str("\nnotes\n");
        report.notes.iter().for_each(|note| line(&mut text, note));
    }
    if !report.damage.is_empty() {
        text.push_str("\ndamage\n");
        report.damage.iter().for_each(|damage| line(&mut text, &of_damage(damage)));
        let unshown = report.faults - report.damage.len() as u64;
        if unshown > 0 {
            line(&mut text, &format!("and {unshown} more"));
        }
    }
    text.push_str(if report.sound { "\nthe store is sound" } else { "\nthe store is damaged" });
    text
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "  {line}").expect("a String takes any text");
}

fn of_segment(segment: &SegmentLine) -> String {
    let SegmentLine { file, first_commit, last_commit, groups, changes, bytes, used_bytes, torn_tail } = segment;
    let range = match groups {
        0 => "no groups".to_owned(),
        1 => format!("group {first_commit} with {changes} changes"),
        _ => format!("{groups} groups, {first_commit} to {last_commit}, with {changes} changes"),
    };
    let torn =
        torn_tail.as_ref().map(|tail| format!(", then a torn tail of {} bytes at offset {}", tail.bytes, tail.offset));
    format!("{file}: {range}; {used_bytes} of {bytes} bytes used{}", torn.unwrap_or_default())
}

fn of_damage(damage: &Damage) -> String {
    format!("{}: {}", damage.part, damage.message)
}

fn counts(held: &HoldingsLine) -> [(&'static str, u64); 9] {
    [
        ("rooms", held.rooms),
        ("messages", held.messages),
        ("idempotency keys", held.idempotency_keys),
        ("members", held.members),
        ("invites", held.invites),
        ("receipts", held.receipts),
        ("sessions", held.sessions),
        ("accounts", held.accounts),
        ("dead letters", held.dead_letters),
    ]
}
