//! A part of something: a fraction such as "1/1000" or a number from 0 to 1 such as "0.001".

/// The part in 2^-64; the whole is `u64::MAX`. `None`: not a part.
#[must_use]
pub fn parse_part(text: &str) -> Option<u64> {
    let part = match text.split_once('/') {
        Some((some, all)) => {
            let (some, all) = (digits(some)?, digits(all)?);
            if all == 0.0 { return None } else { some / all }
        }
        None => digits(text)?,
    };
    // The conversion keeps within the bounds of the type.
    (0.0..=1.0).contains(&part).then_some((part * 2_f64.powi(64)) as u64)
}

/// Digits with at most one point among them: what else a float may be (signs, exponents, names) is no plain number.
fn digits(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && text.len() <= 20;
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_fractions_or_numbers_up_to_one() {
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
            assert_eq!(parse_part(text), expected, "{text:?}");
        }
        let thousandth = parse_part("1/1000").expect("a part");
        assert!(thousandth.abs_diff(u64::MAX / 1_000) < 1 << 20, "{thousandth}");
    }
}
