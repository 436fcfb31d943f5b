//! `roomring token`: signs a token for one user with the configured secret. Verifies none.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value, json};

use super::args::TokenRequest;
use super::config::Config;
use super::config::units::{duration_text, parse_duration};
use crate::base::ids::check_name;
use crate::base::limits::{TOKEN_PATTERN_BYTES_MAX, TOKEN_ROOMS_MAX};

/// Shortest and longest lifetime.
const TTL_MS_MIN: u64 = 1_000;
const TTL_MS_MAX: u64 = 3_650 * 86_400_000;

/// Signs a token that is valid from now on.
///
/// # Errors
/// One sentence that names the flag or key at fault.
pub fn sign(config: &Config, request: &TokenRequest, now_unix_ms: u64) -> Result<String, String> {
    let TokenRequest { user, ttl, rooms } = request;
    check_name(user).map_err(|error| format!("--user {error}"))?;
    let range = format!(
        "it must be a duration such as \"1h\", from {} to {}",
        duration_text(TTL_MS_MIN),
        duration_text(TTL_MS_MAX)
    );
    let ttl_ms = parse_duration(ttl).map_err(|wrong| format!("--ttl: {ttl:?} {wrong}; {range}"))?;
    if !(TTL_MS_MIN..=TTL_MS_MAX).contains(&ttl_ms) {
        return Err(format!("--ttl: {ttl:?} is out of range; {range}"));
    }
    if rooms.len() > TOKEN_ROOMS_MAX {
        return Err(format!("--room is given {} times; it may be given at most {TOKEN_ROOMS_MAX} times", rooms.len()));
    }
    let is_pattern =
        |room: &String| (1..=TOKEN_PATTERN_BYTES_MAX).contains(&room.len()) && !room.chars().any(char::is_control);
    if let Some(room) = rooms.iter().find(|room| !is_pattern(room)) {
        let rule = format!("1 to {TOKEN_PATTERN_BYTES_MAX} bytes without control characters, such as \"news:*\"");
        return Err(format!(
            "--room: {:?} is not a pattern; it must have {rule}",
            room.chars().take(60).collect::<String>()
        ));
    }
    let text = |name| config.get("auth", name).text();
    if text("hmac_secret").is_empty() {
        let ways = "set it in the file, in ROOMRING_AUTH__HMAC_SECRET or with --set";
        return Err(format!("auth.hmac_secret: is empty, but signing a token needs it; {ways}"));
    }
    let now_s = now_unix_ms / 1_000;
    let mut claims = Map::new();
    claims.insert("sub".into(), json!(user));
    claims.insert("iat".into(), json!(now_s));
    // Rounded up: tokens last a fraction of a second longer rather than shorter.
    claims.insert("exp".into(), json!((now_unix_ms + ttl_ms).div_ceil(1_000)));
    for (claim, name) in [("aud", "audience"), ("iss", "issuer")] {
        if !text(name).is_empty() {
            claims.insert(claim.into(), json!(text(name)));
        }
    }
    if !rooms.is_empty() {
        claims.insert("rooms".into(), json!(rooms));
    }
    let key = EncodingKey::from_secret(text("hmac_secret").as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &Value::Object(claims), &key)
        .map_err(|error| format!("cannot sign the token: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::access::{Allowed, Expected, Keys, Material, Renewal};
    use crate::server::config::load::{Sources, load};

    fn config(sets: &[&str]) -> Config {
        let (config, mistakes) =
            load(&Sources { sets: sets.iter().map(ToString::to_string).collect(), ..Sources::default() });
        assert_eq!(mistakes, []);
        config
    }

    fn request(user: &str, ttl: &str, rooms: &[&str]) -> TokenRequest {
        let rooms = rooms.iter().map(ToString::to_string).collect();
        TokenRequest { user: user.into(), ttl: ttl.into(), rooms }
    }

    #[test]
    fn a_signed_token_verifies_with_the_requested_claims() {
        let config = config(&["auth.hmac_secret=s", "auth.audience=chat", "auth.issuer=me"]);
        let token = sign(&config, &request("zoë", "90s", &["news:*"]), 1_700_000_000_500).expect("signed");
        let expected = Expected { audience: "chat".into(), issuer: "me".into(), leeway_ms: 0 };
        let keys = Keys::new(Material::from_secret("s"), expected, Renewal::None);
        let access = keys.verify(&token, 1_700_000_000_500).expect("its own token");
        assert_eq!((&*access.user, access.expires_at), ("zoë", 1_700_000_091_000));
        assert!(
            access.grants.allow("news:1", Allowed::JOIN | Allowed::PUBLISH) && !access.grants.allow("a", Allowed::JOIN)
        );
    }

    #[test]
    fn errors_are_one_sentence() {
        let with_secret = config(&["auth.hmac_secret=hunter2"]);
        for (config, request, named) in [
            (&config(&[]), request("a", "1h", &[]), "auth.hmac_secret: is empty"),
            (&with_secret, request("", "1h", &[]), "--user must not be empty"),
            (&with_secret, request("a\nb", "1h", &[]), "--user must not contain control"),
            (&with_secret, request("a", "0s", &[]), "--ttl: \"0s\" is out of range"),
            (&with_secret, request("a", "1", &[]), "--ttl: \"1\" has no unit"),
            (&with_secret, request("a", "99999d", &[]), "--ttl: \"99999d\" is out of range"),
            (&with_secret, request("a", "1h", &[""]), "--room: \"\" is not a pattern"),
            (&with_secret, request("a", "1h", &["x"; 65]), "--room is given 65 times"),
        ] {
            let sentence = sign(config, &request, 0).expect_err(named);
            assert!(sentence.contains(named) && !sentence.contains('\n'), "{sentence}");
            assert!(!sentence.contains("hunter2"), "{sentence}");
        }
    }
}
