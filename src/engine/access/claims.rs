//! Reads the claims of a token, strictly: a known claim that occurs twice or has the wrong type is refused by its name.
//! Unknown claims are ignored. Never compares a claim with a clock or an expectation.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::denied::{Cause, Denied};
use super::grants::{Allowed, Grant, Grants};
use crate::base::ids::UserName;
use crate::base::limits::{TOKEN_NAME_BYTES_MAX, TOKEN_PATTERN_BYTES_MAX, TOKEN_ROOMS_MAX};

/// The latest time that can be told exactly: the largest integer that every JSON reader keeps (2^53 - 1).
const TIME_MS_MAX: f64 = 9_007_199_254_740_991.0;

const NAMES: [&str; 8] = ["sub", "exp", "nbf", "iat", "aud", "iss", "name", "rooms"];

/// The claims of a token. Times are Unix milliseconds.
#[derive(Debug)]
pub(super) struct Claims {
    pub(super) user: UserName,
    pub(super) expires_at: u64,
    pub(super) not_before: Option<u64>,
    pub(super) audience: Vec<String>,
    pub(super) issuer: Option<String>,
    pub(super) name: Option<Box<str>>,
    pub(super) grants: Grants,
}

impl Claims {
    /// Reads the payload of a token.
    ///
    /// # Errors
    /// The claim at fault, and what would be right.
    pub(super) fn read(payload: &[u8]) -> Result<Self, Denied> {
        let object = || Denied::new(Cause::Malformed, "the token's claims are not a JSON object");
        let text = std::str::from_utf8(payload).map_err(|_| object())?;
        let fields: ClaimFields<'_> = serde_json::from_str(text).map_err(|_| object())?;
        if let Some(name) = fields.repeated {
            return Err(wrong(name, "is given twice"));
        }
        // Read for its type alone: the time when a token was issued decides nothing.
        fields.time("iat")?;
        Ok(Self {
            user: fields.user()?,
            expires_at: fields.time("exp")?.ok_or_else(|| wrong("exp", "is missing"))?,
            not_before: fields.time("nbf")?,
            audience: fields.audience()?,
            issuer: fields.text("iss")?,
            name: fields.name()?,
            grants: fields.grants()?,
        })
    }
}

fn wrong(name: &str, what: impl fmt::Display) -> Denied {
    Denied::new(Cause::Claim, format!("the token's claim `{name}` {what}"))
}

/// The known claims as written.
#[derive(Default)]
struct ClaimFields<'a> {
    values: [Option<&'a RawValue>; NAMES.len()],
    repeated: Option<&'static str>,
}

impl<'a> ClaimFields<'a> {
    /// A claim as written; `null` stands for a missing one.
    fn get(&self, name: &str) -> Option<&'a str> {
        let at = NAMES.iter().position(|known| *known == name).expect("it is in the list");
        self.values[at].map(RawValue::get).filter(|value| *value != "null")
    }

    fn text(&self, name: &str) -> Result<Option<String>, Denied> {
        let Some(value) = self.get(name) else { return Ok(None) };
        serde_json::from_str(value).map(Some).map_err(|_| wrong(name, "must be a string"))
    }

    fn user(&self) -> Result<UserName, Denied> {
        let user = self.text("sub")?.ok_or_else(|| wrong("sub", "is missing"))?;
        UserName::new(&user).map_err(|error| wrong("sub", error))
    }

    /// Seconds, whole or not (RFC 7519 section 2, NumericDate), as milliseconds.
    fn time(&self, name: &str) -> Result<Option<u64>, Denied> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let seconds: Option<f64> = serde_json::from_str(value).ok();
        match seconds {
            Some(seconds) if seconds >= 0.0 => Ok(Some((seconds * 1_000.0).min(TIME_MS_MAX) as u64)),
            _ => Err(wrong(name, "must be a number of seconds since 1970")),
        }
    }

    fn audience(&self) -> Result<Vec<String>, Denied> {
        let Some(value) = self.get("aud") else { return Ok(Vec::new()) };
        let one = serde_json::from_str(value).map(|one: String| vec![one]);
        one.or_else(|_| serde_json::from_str(value)).map_err(|_| wrong("aud", "must be a string or a list of strings"))
    }

    fn name(&self) -> Result<Option<Box<str>>, Denied> {
        let Some(name) = self.text("name")? else { return Ok(None) };
        if name.len() > TOKEN_NAME_BYTES_MAX || name.chars().any(char::is_control) {
            let rule = format!("must be at most {TOKEN_NAME_BYTES_MAX} bytes without control characters");
            return Err(wrong("name", rule));
        }
        Ok(Some(name.into()))
    }

    /// Absent: whatever the server's configuration allows. Present but unreadable, also `null`: refused, since it was meant
    /// to limit something.
    fn grants(&self) -> Result<Grants, Denied> {
        const FORM: &str = "must be a list of patterns, or an object of patterns, each with a list of `join`, `publish`, \
                            `admin`";
        let at = NAMES.iter().position(|known| *known == "rooms").expect("it is in the list");
        let Some(value) = self.values[at].map(RawValue::get) else { return Ok(Grants::unlimited()) };
        let RoomGrants(rooms) = match value.starts_with('[') {
            true => serde_json::from_str(value).map(|patterns: Vec<String>| {
                let both = Allowed::JOIN | Allowed::PUBLISH;
                RoomGrants(patterns.into_iter().map(|pattern| (pattern, Some(both))).collect())
            }),
            false => serde_json::from_str(value),
        }
        .map_err(|_| wrong("rooms", FORM))?;
        if rooms.len() > TOKEN_ROOMS_MAX {
            return Err(wrong("rooms", format_args!("has more than {TOKEN_ROOMS_MAX} patterns")));
        }
        let grant = |(pattern, allowed): (String, Option<Allowed>)| {
            if pattern.is_empty() || pattern.len() > TOKEN_PATTERN_BYTES_MAX || pattern.chars().any(char::is_control) {
                let rule = format!(
                    "has a pattern that is not 1 to {TOKEN_PATTERN_BYTES_MAX} bytes without control characters"
                );
                return Err(wrong("rooms", rule));
            }
            let allowed = allowed.ok_or_else(|| wrong("rooms", FORM))?;
            Ok(Grant { pattern: pattern.into(), allowed })
        };
        Ok(Grants::of(rooms.into_iter().map(grant).collect::<Result<_, _>>()?))
    }
}

impl<'a> Deserialize<'a> for ClaimFields<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ClaimFieldsVisitor)
    }
}

struct ClaimFieldsVisitor;

impl<'a> Visitor<'a> for ClaimFieldsVisitor {
    type Value = ClaimFields<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<ClaimFields<'a>, A::Error> {
        let mut fields = ClaimFields::default();
        while let Some(name) = map.next_key::<String>()? {
            let Some(at) = NAMES.iter().position(|known| *known == name) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if fields.values[at].replace(map.next_value()?).is_some() {
                fields.repeated.get_or_insert(NAMES[at]);
            }
        }
        Ok(fields)
    }
}

/// Patterns and what they allow; `None` for an unknown word. A pattern that occurs twice counts twice.
struct RoomGrants(Vec<(String, Option<Allowed>)>);

impl<'a> Deserialize<'a> for RoomGrants {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RoomGrantsVisitor)
    }
}

struct RoomGrantsVisitor;

impl<'a> Visitor<'a> for RoomGrantsVisitor {
    type Value = RoomGrants;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<RoomGrants, A::Error> {
        let mut rooms = Vec::new();
        while let Some((pattern, words)) = map.next_entry::<String, Vec<String>>()? {
            let mut words = words.iter().map(|word| Allowed::from_word(word));
            let allowed = words.try_fold(Allowed::NOTHING, |all, one| Some(all | one?));
            rooms.push((pattern, allowed));
        }
        Ok(RoomGrants(rooms))
    }
}
