//! The doctor's report, as text and as JSON. Judges nothing.

use std::fmt::Write as _;

use serde::Serialize;

use super::finding::{CheckStatus, Finding, Topic};

/// Widest column; a longer value shifts the columns behind it.
const COLUMN_MAX: usize = 40;

/// The checks of each status, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CheckCounts {
    /// As wanted.
    pub ok: usize,
    /// Costs capacity or speed.
    pub warn: usize,
    /// Keeps the server from serving.
    pub fail: usize,
}

impl CheckCounts {
    /// Counts findings.
    #[must_use]
    pub fn of(findings: &[Finding]) -> Self {
        let count = |status| findings.iter().filter(|finding| finding.status == status).count();
        CheckCounts { ok: count(CheckStatus::Ok), warn: count(CheckStatus::Warn), fail: count(CheckStatus::Fail) }
    }
}

/// Sorts findings as the report shows them: by topic, failures first.
pub fn sort(findings: &mut [Finding]) {
    findings.sort_by_key(|finding| (finding.topic, finding.status));
}

/// The report as text. `subject` describes in one line the server that the host was judged for.
#[must_use]
pub fn text(findings: &[Finding], subject: &str) -> String {
    let width = |read: fn(&Finding) -> &str| {
        let lengths = findings.iter().map(|finding| read(finding).chars().count());
        lengths.filter(|length| *length <= COLUMN_MAX).max().unwrap_or(0)
    };
    let (names, founds) = (width(|finding| &finding.name), width(|finding| &finding.found));
    let mut text = format!("roomring doctor: {subject}\n");
    for group in findings.chunk_by(|a, b| a.topic == b.topic) {
        writeln!(text, "\n{}", heading(group[0].topic)).expect(WRITES);
        for finding in group {
            let Finding { name, found, wanted, why, fix, .. } = finding;
            let line = format!("  {:<4}  {name:<names$}  {found:<founds$}  {wanted}", word(finding.status));
            writeln!(text, "{}", line.trim_end()).expect(WRITES);
            if finding.status == CheckStatus::Ok {
                continue;
            }
            if !why.is_empty() {
                writeln!(text, "        {:names$}  why: {why}", "").expect(WRITES);
            }
            writeln!(text, "        {:names$}  fix: {fix}", "").expect(WRITES);
        }
    }
    let CheckCounts { ok, warn, fail } = CheckCounts::of(findings);
    let verdict = if fail > 0 { "the server cannot serve on this host" } else { "the server can serve on this host" };
    writeln!(text, "\n{ok} ok, {warn} warn, {fail} fail: {verdict}").expect(WRITES);
    text
}

/// The report as JSON.
#[must_use]
pub fn json(findings: &[Finding], subject: &str) -> String {
    #[derive(Serialize)]
    struct Report<'a> {
        roomring: &'static str,
        subject: &'a str,
        summary: CheckCounts,
        checks: &'a [Finding],
    }
    let summary = CheckCounts::of(findings);
    let report = Report { roomring: env!("CARGO_PKG_VERSION"), subject, summary, checks: findings };
    serde_json::to_string_pretty(&report).expect("every value is a text or a number")
}

const WRITES: &str = "a String takes all writes";

fn word(status: CheckStatus) -> &'static str {
    match status {
        CheckStatus::Ok => "ok",
        CheckStatus::Warn => "warn",
        CheckStatus::Fail => "fail",
    }
}

fn heading(topic: Topic) -> &'static str {
    match topic {
        Topic::Kernel => "Kernel",
        Topic::Limits => "Limits",
        Topic::Addresses => "Addresses",
        Topic::Network => "TCP",
        Topic::Memory => "Memory",
        Topic::Processor => "Processor",
        Topic::Cards => "Network cards and interrupts",
        Topic::Store => "Store",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_come_first_and_say_how_to_fix_them() {
        let good = Finding::new(Topic::Memory, "swap", "none").wants("none", "because").warn_unless(true, "nothing");
        let bad = Finding::new(Topic::Memory, "available", "1 MiB").wants("2 MiB", "because").warn_unless(false, "buy");
        let first = Finding::new(Topic::Kernel, "release", "6.1").wants("6.1", "so").fail_unless(false, "upgrade");
        let mut findings = [good, bad, first];
        sort(&mut findings);
        let text = text(&findings, "2 cores");
        let lines: Vec<&str> = text.lines().collect();
        let expected = [
            "roomring doctor: 2 cores",
            "",
            "Kernel",
            "  fail  release    6.1    6.1",
            "                   why: so",
            "                   fix: upgrade",
            "",
            "Memory",
            "  warn  available  1 MiB  2 MiB",
            "                   why: because",
            "                   fix: buy",
            "  ok    swap       none   none",
            "",
            "1 ok, 1 warn, 1 fail: the server cannot serve on this host",
        ];
        assert_eq!(lines, expected);
        let json: serde_json::Value = serde_json::from_str(&json(&findings, "2 cores")).expect("JSON");
        assert_eq!(json["summary"]["fail"], 1);
        assert_eq!(json["checks"][0]["status"], "fail");
        assert_eq!(json["checks"][2]["mend"], "");
    }
}
