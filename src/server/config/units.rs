//! Durations, sizes, rates, CPU lists and shares of memory: from text to value and back. Knows no key.

use std::fmt;

use crate::engine::rates::Rate;

/// What is wrong with a text that is no such value. Completes the sentence "`<text>` …".
pub type ValueError = String;

const DURATION_UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZE_UNITS: [(&str, u64); 5] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// `"250ms"`, `"30s"`, `"5m"`, `"2h"`, `"1d"` or `"0"`, as milliseconds.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_duration(text: &str) -> Result<u64, ValueError> {
    if text == "0" {
        return Ok(0);
    }
    let (number, unit) = split_unit(text)?;
    if unit.is_empty() {
        return Err("has no unit".into());
    }
    scale(number, unit, &DURATION_UNITS)
}

/// The shortest exact text of a duration that [`parse_duration`] reads.
#[must_use]
pub fn duration_text(ms: u64) -> String {
    // As the keys are documented: "24h" rather than "1d", "60s" rather than "1m".
    let usual = |unit: &str, factor: u64| unit != "d" && (unit != "m" || ms >= 2 * factor);
    let exact = |(unit, factor): &&(&str, u64)| ms != 0 && ms.is_multiple_of(*factor) && usual(unit, *factor);
    match DURATION_UNITS.iter().rev().find(exact) {
        Some((unit, factor)) => format!("{}{unit}", ms / factor),
        None => "0".into(),
    }
}

/// `"64KiB"`, `"1MiB"`, `"2GiB"`, `"512B"` or bare bytes.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_size(text: &str) -> Result<u64, ValueError> {
    let (number, unit) = split_unit(text)?;
    if unit.is_empty() {
        return Ok(number);
    }
    if matches!(unit.to_ascii_lowercase().as_str(), "k" | "kb" | "m" | "mb" | "g" | "gb" | "t" | "tb") {
        return Err(format!("has the ambiguous unit {unit:?}; write KiB, MiB, GiB or TiB"));
    }
    scale(number, unit, &SIZE_UNITS)
}

/// The shortest exact text of a size that [`parse_size`] reads; bare bytes where no unit divides it.
#[must_use]
pub fn size_text(bytes: u64) -> String {
    match SIZE_UNITS[1..].iter().rev().find(|(_, factor)| bytes != 0 && bytes.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => bytes.to_string(),
    }
}

/// Largest count of a rate, and longest time of one.
const RATE_COUNT_MAX: u64 = 1_000_000_000;
const RATE_PER_MS_MAX: u64 = 86_400_000;

/// `"50/s"`, `"200/10s"`, `"6/m"`; `None` is no limit: `"0"`, or a count of 0.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_rate(text: &str) -> Result<Option<Rate>, ValueError> {
    let Some((count, per)) = text.split_once('/') else {
        return match parse_number(text) {
            Ok(0) => Ok(None),
            _ => Err("is not a count per time".into()),
        };
    };
    let count = parse_number(count.trim_end())?;
    let per = per.trim_start();
    let per_ms = if per.starts_with(|c: char| c.is_ascii_digit()) {
        parse_duration(per)?
    } else {
        scale(1, per, &DURATION_UNITS)?
    };
    if count == 0 {
        return Ok(None);
    }
    if per_ms == 0 || per_ms > RATE_PER_MS_MAX || count > RATE_COUNT_MAX {
        return Err(format!("is out of range: at most {RATE_COUNT_MAX} per 1ms to 24h"));
    }
    Ok(Rate::new(count, per_ms))
}

/// The text of a rate that [`parse_rate`] reads.
#[must_use]
pub fn rate_text(rate: Option<Rate>) -> String {
    match rate {
        None => "0".into(),
        Some(Rate { count, per_ms: 1_000 }) => format!("{count}/s"),
        Some(Rate { count, per_ms }) => format!("{count}/{}", duration_text(per_ms)),
    }
}

/// `server.cores`: how many executors, or on which CPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoresSetting {
    /// One executor for each CPU that this process may use.
    Auto,
    /// This many executors.
    Count(u16),
    /// One executor for each of these CPUs.
    Cpus(Vec<usize>),
}

/// The most executors one process starts.
pub const CORES_MAX: u16 = 1024;

impl CoresSetting {
    /// `"auto"`, `"4"`, `"0,2-5"`. A list of one CPU is written as a range: `"3-3"`.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<CoresSetting, ValueError> {
        if text == "auto" {
            return Ok(CoresSetting::Auto);
        }
        if let Ok(count) = parse_number(text) {
            return CoresSetting::count(count);
        }
        let mut cpus = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (Ok(first), Ok(last)) = (parse_number(first), parse_number(last)) else {
                return Err("is not \"auto\", a number or a list of CPUs".into());
            };
            if first > last || last > 65_535 {
                return Err(format!("holds {part:?}, which is not a range of CPU numbers"));
            }
            for cpu in first..=last {
                let cpu = usize::try_from(cpu).expect("at most 65,535");
                if cpus.contains(&cpu) {
                    return Err(format!("names CPU {cpu} twice"));
                }
                if cpus.len() == usize::from(CORES_MAX) {
                    return Err(format!("names more than {CORES_MAX} CPUs"));
                }
                cpus.push(cpu);
            }
        }
        Ok(CoresSetting::Cpus(cpus))
    }

    /// This many executors.
    ///
    /// # Errors
    /// Out of 1 … [`CORES_MAX`].
    pub fn count(count: u64) -> Result<CoresSetting, ValueError> {
        match u16::try_from(count) {
            Ok(count @ 1..=CORES_MAX) => Ok(CoresSetting::Count(count)),
            _ => Err("is out of range".into()),
        }
    }
}

impl fmt::Display for CoresSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CoresSetting::Auto => f.write_str("auto"),
            CoresSetting::Count(count) => write!(f, "{count}"),
            CoresSetting::Cpus(cpus) if cpus.len() == 1 => write!(f, "{0}-{0}", cpus[0]),
            CoresSetting::Cpus(cpus) => {
                let mut parts = Vec::new();
                for run in cpus.chunk_by(|a, b| *b == a + 1) {
                    match run {
                        [one] => parts.push(one.to_string()),
                        [first, .., last] => parts.push(format!("{first}-{last}")),
                        [] => {}
                    }
                }
                f.write_str(&parts.join(","))
            }
        }
    }
}

/// A share of this machine's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Hundredths of it.
    Percent(u8),
    /// Bytes.
    Bytes(u64),
}

/// The least memory budget.
pub const BUDGET_BYTES_MIN: u64 = 16 << 20;

impl Share {
    /// `"75%"`, or a size.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Share, ValueError> {
        if let Some(percent) = text.strip_suffix('%') {
            return match parse_number(percent) {
                Ok(percent @ 1..=100) => Ok(Share::Percent(percent as u8)),
                _ => Err("is out of range".into()),
            };
        }
        match parse_size(text)? {
            bytes if bytes >= BUDGET_BYTES_MIN => Ok(Share::Bytes(bytes)),
            _ => Err("is out of range".into()),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Share::Percent(percent) => write!(f, "{percent}%"),
            Share::Bytes(bytes) => f.write_str(&size_text(*bytes)),
        }
    }
}

/// A whole number; `_` may group digits, as in TOML.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_number(text: &str) -> Result<u64, ValueError> {
    let grouped = !text.starts_with('_') && !text.ends_with('_') && !text.contains("__");
    let digits: String = text.chars().filter(|c| *c != '_').collect();
    if !grouped || digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("is not a whole number".into());
    }
    digits.parse().map_err(|_| "is too large a number".into())
}

fn split_unit(text: &str) -> Result<(u64, &str), ValueError> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let number = parse_number(&text[..digits]).map_err(|_| match text[..digits].is_empty() {
        true => "does not begin with a whole number".to_string(),
        false => "is too large a number".to_string(),
    })?;
    Ok((number, text[digits..].trim_start()))
}

fn scale(number: u64, unit: &str, units: &[(&str, u64)]) -> Result<u64, ValueError> {
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
        return Err(format!("has an unknown unit; the units are {}", names.join(", ")));
    };
    number.checked_mul(*factor).ok_or_else(|| "is too large a number".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [("250ms", 250), ("30s", 30_000), ("5m", 300_000), ("2h", 7_200_000), ("1d", 86_400_000)] {
            assert_eq!(parse_duration(text), Ok(ms), "{text}");
        }
        assert_eq!(parse_duration("0"), Ok(0));
        for wrong in
            ["", "30", "s", "1.5s", "-1s", "1 fortnight", "30S", "99999999999999999999s", "18446744073709551615h"]
        {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
        for ms in [0, 1, 999, 1_000, 1_500, 60_000, 86_400_000, 90_000] {
            assert_eq!(parse_duration(&duration_text(ms)), Ok(ms));
        }
        assert_eq!([86_400_000, 60_000, 120_000].map(duration_text), ["24h", "60s", "2m"]);
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("0", 0), ("512", 512), ("1_000", 1_000), ("64KiB", 65_536), ("1 MiB", 1 << 20)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "KiB", "64KB", "64kib", "1.5MiB", "-1", "17179869184GiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
        for bytes in [0, 1, 1_023, 1_024, 1_536, 3 << 30] {
            assert_eq!(parse_size(&size_text(bytes)), Ok(bytes));
        }
    }

    #[test]
    fn rates() {
        for (text, count, per_ms) in
            [("50/s", 50, 1_000), ("200/10s", 200, 10_000), ("6/m", 6, 60_000), ("0/s", 0, 1_000)]
        {
            assert_eq!(parse_rate(text), Ok(Rate::new(count, per_ms)), "{text}");
        }
        assert_eq!(parse_rate("0"), Ok(None));
        for wrong in ["", "50", "/s", "50/", "50/0s", "50/10", "a/s", "-1/s", "1/48h", "5000000000/s"] {
            assert!(parse_rate(wrong).is_err(), "{wrong}");
        }
        for text in ["0", "50/s", "200/10s", "6/60s", "6/5m"] {
            assert_eq!(parse_rate(text).map(rate_text), Ok(text.to_string()));
        }
    }

    #[test]
    fn cores() {
        assert_eq!(CoresSetting::parse("auto"), Ok(CoresSetting::Auto));
        assert_eq!(CoresSetting::parse("4"), Ok(CoresSetting::Count(4)));
        assert_eq!(CoresSetting::parse("0,2-5"), Ok(CoresSetting::Cpus(vec![0, 2, 3, 4, 5])));
        assert_eq!(CoresSetting::parse("3-3"), Ok(CoresSetting::Cpus(vec![3])));
        for wrong in ["", "0", "-1", "1025", "0,0", "5-2", "0,", "all", "0-4000", "1-70000"] {
            assert!(CoresSetting::parse(wrong).is_err(), "{wrong}");
        }
        for text in ["auto", "4", "0,2-5", "3-3", "0-1", "5,1"] {
            assert_eq!(CoresSetting::parse(text).map(|cores| cores.to_string()), Ok(text.to_string()));
        }
    }

    #[test]
    fn shares() {
        assert_eq!(Share::parse("75%"), Ok(Share::Percent(75)));
        assert_eq!(Share::parse("2GiB"), Ok(Share::Bytes(2 << 30)));
        for wrong in ["", "%", "0%", "101%", "1KiB", "-5%"] {
            assert!(Share::parse(wrong).is_err(), "{wrong}");
        }
    }
}
