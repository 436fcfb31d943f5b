//! A fraction of something: `1/1000`, or a number from 0 to 1 such as `0.001`. Knows no key.

use super::units::ValueError;

/// Reads a fraction in units of 2^-64; the whole is `u64::MAX`.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_fraction(text: &str) -> Result<u64, ValueError> {
    let fraction = match text.split_once('/') {
        Some((numerator, denominator)) => number(numerator)? / number(denominator)?,
        None => number(text)?,
    };
    if !(0.0..=1.0).contains(&fraction) {
        return Err("is not between 0 and 1".into());
    }
    // The conversion keeps within the bounds of the type.
    Ok((fraction * 2_f64.powi(64)) as u64)
}

/// Digits with at most one point among them; the signs, exponents and names of floating-point numbers are refused.
fn number(text: &str) -> Result<f64, ValueError> {
    let is_plain = text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    is_plain.then(|| text.parse().ok()).flatten().ok_or_else(|| "is not a fraction".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_and_numbers_up_to_one_are_read() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1", Some(u64::MAX)),
            ("1/1", Some(u64::MAX)),
            ("0/7", Some(0)),
            ("1/2", Some(1 << 63)),
            ("0.5", Some(1 << 63)),
            ("1/4", Some(1 << 62)),
            ("1/0", None),
            ("0/0", None),
            ("2", None),
            ("3/2", None),
            ("-1", None),
            ("1e-3", None),
            ("nan", None),
            ("inf", None),
            ("", None),
            ("/", None),
            (".", None),
            ("1/2/3", None),
            ("1 / 2", None),
        ] {
            assert_eq!(parse_fraction(text).ok(), expected, "{text:?}");
        }
        let thousandth = parse_fraction("1/1000").expect("a fraction");
        assert!(thousandth.abs_diff(u64::MAX / 1_000) < 1 << 20, "{thousandth}");
    }
}
