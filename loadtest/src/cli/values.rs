//! Owns the parsing of durations and CPU lists in options.

use std::time::Duration;

use anyhow::{Context as _, bail};

/// Parses `10s`, `250ms`, `2m`.
///
/// # Errors
/// The text is not a duration.
pub fn duration(text: &str) -> anyhow::Result<Duration> {
    let split = text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().context("expected a duration such as 10s, 250ms or 2m")?;
    let seconds = match unit {
        "ms" => number / 1_000.0,
        "s" => number,
        "m" => number * 60.0,
        _ => bail!("expected a duration such as 10s, 250ms or 2m"),
    };
    Duration::try_from_secs_f64(seconds).context("too long")
}

/// Parses `0,2-5`.
///
/// # Errors
/// The text is not a list of CPUs.
pub fn core_list(text: &str) -> anyhow::Result<Vec<usize>> {
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let wrong = || format!("expected a list of CPUs such as 0,2-5; got {text:?}");
        let (first, last): (usize, usize) =
            (first.trim().parse().with_context(wrong)?, last.trim().parse().with_context(wrong)?);
        cores.extend(first..=last);
    }
    Ok(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_lists_are_read() {
        assert_eq!(duration("250ms").expect("good"), Duration::from_millis(250));
        assert_eq!(duration("1.5m").expect("good"), Duration::from_secs(90));
        assert!(duration("10").is_err() && duration("s").is_err() && duration("-1s").is_err());
        assert_eq!(core_list("0,2-4").expect("good"), [0, 2, 3, 4]);
        assert!(core_list("a").is_err() && core_list("").is_err());
    }
}
