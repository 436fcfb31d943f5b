//! Owns the text form of numbers, durations and sizes, and aligned tables. Never chooses figures.

use std::io::IsTerminal as _;

/// Formats 1234567 as `1,234,567`.
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

/// Formats a number with three significant digits and grouped thousands.
#[must_use]
pub fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "-".to_owned();
    }
    if size >= 99.95 {
        let sign = if value < 0.0 { "-" } else { "" };
        return format!("{sign}{}", grouped(size.round() as u64));
    }
    let decimals = match size {
        0.0 => 0,
        _ if size >= 9.995 => 1,
        _ if size >= 0.9995 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// Formats microseconds as `412 µs`, `1.25 ms` or `3.40 s`.
#[must_use]
pub fn micros(us: f64) -> String {
    match us.abs() {
        size if size < 999.5 => format!("{} µs", number(us)),
        size if size < 999_500.0 => format!("{} ms", number(us / 1e3)),
        _ => format!("{} s", number(us / 1e6)),
    }
}

/// Formats bytes as `505 B`, `1.50 KiB`, `12.3 MiB`.
#[must_use]
pub fn bytes(count: f64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count.abs() < 1_024.0 {
        return format!("{} B", count.round());
    }
    let (mut value, mut unit) = (count / 1_024.0, 0);
    while value.abs() >= 1_024.0 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1_024.0, unit + 1);
    }
    format!("{} {}", number(value), UNITS[unit])
}

/// Formats Unix seconds as `2026-11-22 07:30:00 UTC`.
#[must_use]
pub fn date(unix_s: u64) -> String {
    // Days to a civil date, by 400-year eras that begin in March: http://howardhinnant.github.io/date_algorithms.html
    let days = unix_s / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (unix_s / 3_600 % 24, unix_s / 60 % 60, unix_s % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Turns the name of a counter or histogram into words.
#[must_use]
pub fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// A table with a heading and fitting columns. `align` has a letter per column, `l` or `r`; further columns are `r`.
#[must_use]
pub fn table(align: &str, heading: &[String], lines: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = std::iter::once(heading).chain(lines.iter().map(Vec::as_slice));
        cells.filter_map(|cells| cells.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let align = align.chars().chain(std::iter::repeat('r'));
    let columns: Vec<(usize, char)> = widths.into_iter().zip(align).collect();
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&columns).map(|(cell, &(width, align))| match align {
            'l' => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = bold(line(heading).trim_end()) + "\n";
    lines.iter().for_each(|cells| text.push_str(&line(cells)));
    text
}

/// Bold on a terminal.
#[must_use]
pub fn bold(text: &str) -> String {
    styled(text, "1")
}

/// Green on a terminal.
#[must_use]
pub fn good(text: &str) -> String {
    styled(text, "1;32")
}

/// Red on a terminal.
#[must_use]
pub fn bad(text: &str) -> String {
    styled(text, "1;31")
}

/// Adds an ANSI style if standard output is a terminal and `NO_COLOR` is not set (no-color.org).
fn styled(text: &str, style: &str) -> String {
    let colored = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if colored { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        assert_eq!([0, 12, 999, 1_000, 1_234_567].map(grouped), ["0", "12", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0.0, 0.0123, 1.5, 12.34, 99.96, 1_234.5, f64::NAN].map(number),
            ["0", "0.012", "1.50", "12.3", "100", "1,235", "-"]
        );
        assert_eq!(
            [0.4, 412.0, 999.6, 1_250.0, 3.4e6].map(micros),
            ["0.400 µs", "412 µs", "1.00 ms", "1.25 ms", "3.40 s"]
        );
        assert_eq!([-12.0, 505.0, 1_536.0, 12.3 * 1_048_576.0].map(bytes), ["-12 B", "505 B", "1.50 KiB", "12.3 MiB"]);
    }

    #[test]
    fn dates_are_right_at_their_edges() {
        assert_eq!(date(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(951_782_399), "2000-02-28 23:59:59 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(date(1_795_332_600), "2026-11-22 07:30:00 UTC");
    }

    #[test]
    fn tables_are_aligned() {
        let cells = |text: &str| text.split('|').map(str::to_owned).collect::<Vec<_>>();
        let text = table("l", &cells("what|µs|n"), &[cells("latency|1.25 ms|3"), cells("x|2|10,000")]);
        assert_eq!(text, "what          µs       n\nlatency  1.25 ms       3\nx              2  10,000\n");
    }
}
