//! The validity period of a certificate (RFC 5280 section 4.1.2.5). Checks nothing else: clients do.

/// Unix seconds; times before 1970 are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Not before.
    pub begins_s: u64,
    /// Not after.
    pub ends_s: u64,
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

impl Validity {
    /// The period of a certificate in DER; `None` if it is malformed.
    pub fn of(der: &[u8]) -> Option<Validity> {
        let (certificate, _) = expect(der, SEQUENCE)?;
        let (mut fields, _) = expect(certificate, SEQUENCE)?;
        if let Some((_, rest)) = expect(fields, VERSION) {
            fields = rest;
        }
        // Serial number, signature algorithm, issuer.
        for tag in [INTEGER, SEQUENCE, SEQUENCE] {
            fields = expect(fields, tag)?.1;
        }
        let (times, _) = expect(fields, SEQUENCE)?;
        let (begins_s, rest) = time(times)?;
        let (ends_s, _) = time(rest)?;
        Some(Validity { begins_s, ends_s })
    }

    /// The period in which both are valid.
    pub fn and(self, other: Validity) -> Validity {
        Validity { begins_s: self.begins_s.max(other.begins_s), ends_s: self.ends_s.min(other.ends_s) }
    }
}

/// The content of a value with this tag, and what follows it.
fn expect(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = value(der)?;
    (found == tag).then_some((content, rest))
}

/// Tag, content, and what follows (X.690 section 8.1; DER has one-byte tags here and definite lengths).
fn value(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [tag, first, rest @ ..] = der else { return None };
    let (length, rest) = match usize::from(*first) {
        short @ 0..=0x7f => (short, rest),
        long @ 0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(long - 0x80)?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`, and what follows it.
fn time(der: &[u8]) -> Option<(u64, &[u8])> {
    let (tag, text, rest) = value(der)?;
    let digits = text.strip_suffix(b"Z")?;
    let number = |digits: &[u8]| {
        digits
            .iter()
            .try_fold(0_u64, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0')))
    };
    let (year, digits) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let year = number(&digits[..2])?;
            (if year < 50 { 2000 + year } else { 1900 + year }, &digits[2..])
        }
        (GENERALIZED_TIME, 14) => (number(&digits[..4])?, &digits[4..]),
        _ => return None,
    };
    let field = |at: usize, range: std::ops::RangeInclusive<u64>| {
        number(&digits[at..at + 2]).filter(|number| range.contains(number))
    };
    let (month, day) = (field(0, 1..=12)?, field(2, 1..=31)?);
    let (hour, minute, second) = (field(4, 0..=23)?, field(6, 0..=59)?, field(8, 0..=60)?);
    let days = days_since_1970(year, month, day);
    Some((days.map_or(0, |days| days * 86_400 + hour * 3_600 + minute * 60 + second), rest))
}

/// In the Gregorian calendar, counting years from March, so that a leap day is a year's last.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    (year * 365 + year / 4 - year / 100 + year / 400 + of_year).checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(tag: u8, text: &str) -> Option<u64> {
        let der = [&[tag, text.len() as u8], text.as_bytes()].concat();
        time(&der).map(|(seconds, rest)| {
            assert_eq!(rest, b"");
            seconds
        })
    }

    #[test]
    fn times_are_read_in_both_forms() {
        assert_eq!(seconds(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(seconds(UTC_TIME, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(seconds(GENERALIZED_TIME, "20500101000000Z"), Some(2_524_608_000));
        assert_eq!(seconds(UTC_TIME, "240229120000Z"), Some(1_709_208_000));
        assert_eq!(seconds(UTC_TIME, "500101000000Z"), Some(0), "1950");
        assert_eq!(seconds(GENERALIZED_TIME, "99991231235959Z"), Some(253_402_300_799));
        for wrong in ["700101000000", "7001010000Z", "701301000000Z", "700100000000Z", "70010100000xZ", "Z", ""] {
            assert_eq!(seconds(UTC_TIME, wrong), None, "{wrong}");
        }
        assert_eq!(seconds(INTEGER, "700101000000Z"), None);
    }

    #[test]
    fn a_certificate_that_is_cut_or_changed_is_none() {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".into()]).expect("a valid name");
        params.not_before = rcgen::date_time_ymd(2024, 2, 29);
        params.not_after = rcgen::date_time_ymd(2051, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let der = certificate.der().to_vec();
        let validity = Validity { begins_s: 1_709_164_800, ends_s: 2_556_144_000 };
        assert_eq!(Validity::of(&der), Some(validity));
        for length in 0..der.len() {
            assert_eq!(Validity::of(&der[..length]), None, "{length} of {}", der.len());
        }
        // Whatever is changed, nothing panics.
        for at in 0..der.len() {
            let mut changed = der.clone();
            changed[at] ^= 0xff;
            let _ = Validity::of(&changed);
        }
        let later = Validity { begins_s: 5, ends_s: u64::MAX };
        assert_eq!(validity.and(later), validity);
    }
}
