//! Owns the clients' tokens: HS256, one per client, signed before any client connects. Never verifies one.

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde::Serialize;

use crate::plan::WorkerPlan;

/// Lifetime of a token, longer than any run.
const VALID: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Serialize)]
struct ClientClaims {
    /// The user.
    sub: String,
    /// Unix time, in seconds.
    iat: u64,
    exp: u64,
}

/// Signs a token for each client of a plan; returns none if the plan has no secret.
///
/// # Errors
/// The clock is set before 1970, or a token cannot be signed.
pub fn sign(plan: &WorkerPlan) -> anyhow::Result<Vec<String>> {
    let Some(secret) = &plan.secret else { return Ok(Vec::new()) };
    let key = EncodingKey::from_secret(secret.as_bytes());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("the clock is set before 1970")?;
    let (iat, exp) = (now.as_secs(), (now + VALID).as_secs());
    let token = |client| {
        let claims = ClientClaims { sub: plan.user_name(client), iat, exp };
        encode(&Header::default(), &claims, &key).context("cannot sign a token")
    };
    (0..plan.clients).map(token).collect()
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};

    use super::*;
    use crate::dialect::Dialect;
    use crate::fleet::address::Target;
    use crate::plan::Scenario;
    use crate::scenario::tests::plan_of;

    #[test]
    fn each_client_has_a_token_in_its_name() {
        let target = Target::parse("ws://127.0.0.1:9/").expect("an address");
        let mut plan = plan_of(Scenario::Idle, Dialect::json(), target);
        assert!(sign(&plan).expect("nothing to sign").is_empty());
        plan.secret = Some("a secret of this test".into());
        let tokens = sign(&plan).expect("signed");
        assert_eq!(tokens.len(), plan.clients as usize);
        let read = |secret: &str, token: &str| {
            let key = DecodingKey::from_secret(secret.as_bytes());
            decode::<serde_json::Value>(token, &key, &Validation::new(Algorithm::HS256))
        };
        for (client, token) in (0..).zip(&tokens) {
            let claims = read("a secret of this test", token).expect("valid").claims;
            assert_eq!(claims["sub"].as_str(), Some(plan.user_name(client).as_str()));
        }
        assert!(read("another", &tokens[0]).is_err());
    }
}
