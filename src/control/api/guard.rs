//! Access to the HTTP API: key, origin, rate and content type, checked before a request's body is read. Runs no operation.

use std::sync::Mutex;
use std::time::Duration;

use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, Method};
use subtle::ConstantTimeEq;

use crate::control::operations::{OperationError, OperationErrorCode};
use crate::engine::rates::{Bucket, Rate};

/// The header field of the API key.
pub const KEY_FIELD: &str = "x-api-key";

/// Rate of wrong keys answered by 401, beyond it by 429. Requests with the right key have a rate of their own.
const WRONG_KEYS: Option<Rate> = Rate::new(10, 1_000);

/// Requests in flight; beyond it 503.
pub(super) const REQUESTS_MAX: usize = 128;

/// Every request is answered within this time, reading its body included.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Checks the key, origin and rate of requests.
#[derive(Debug)]
pub(super) struct Guard {
    /// If empty, requests need none.
    key: String,
    /// `None`: no limit.
    rate: Option<Rate>,
    requests: Bucket,
    wrong_keys: Bucket,
}

impl Guard {
    /// With full buckets.
    pub fn new(key: String, rate: Option<Rate>) -> Self {
        Self { key, rate, requests: Bucket::default(), wrong_keys: Bucket::default() }
    }

    /// Replaces the key and the rate. Tokens that were taken stay taken, so that a reload gives no fresh burst.
    pub fn change(&mut self, key: String, rate: Option<Rate>, now_us: u64) {
        self.requests.change_rate(self.rate, rate, now_us);
        (self.key, self.rate) = (key, rate);
    }

    /// Admits a request.
    ///
    /// # Errors
    /// Becomes status 401, 403 or 429.
    pub fn admit(&mut self, headers: &HeaderMap, now_us: u64) -> Result<(), OperationError> {
        if !self.key.is_empty() && !self.has_key(headers) {
            let too_many = |wait_ms| OperationError::rate_limited("too many requests with a wrong X-API-Key", wait_ms);
            take(&mut self.wrong_keys, WRONG_KEYS, now_us).map_err(too_many)?;
            let message = "the X-API-Key header must carry the configured key (control.api_key)";
            return Err(OperationError::new(OperationErrorCode::Unauthorized, message));
        }
        check_origin(headers)?;
        let too_many =
            |wait_ms| OperationError::rate_limited("request rate over the limit (control.api_rate)", wait_ms);
        take(&mut self.requests, self.rate, now_us).map_err(too_many)
    }

    /// Compares in constant time for keys of one length.
    fn has_key(&self, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(KEY_FIELD).iter();
        let (Some(key), None) = (given.next(), given.next()) else { return false };
        bool::from(key.as_bytes().ct_eq(self.key.as_bytes()))
    }
}

/// Takes a token, or returns in how many milliseconds there will be one.
fn take(bucket: &mut Bucket, rate: Option<Rate>, now_us: u64) -> Result<(), u64> {
    let Some(rate) = rate else { return Ok(()) };
    bucket.try_take(rate, now_us)
}

/// The guard that all requests share.
pub(super) type SharedGuard = Mutex<Guard>;

/// Browsers name the site that a request comes from: only pages of this address may use the API.
fn check_origin(headers: &HeaderMap) -> Result<(), OperationError> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    match (authority, host) {
        (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host) => Ok(()),
        _ => Err(OperationError::forbidden("requests from pages of other sites are not allowed")),
    }
}

/// A body must be declared as JSON, which a form of another site cannot do. An empty body needs no type.
pub(super) fn check_content_type(method: &Method, headers: &HeaderMap) -> Result<(), OperationError> {
    let is_empty =
        headers.get(CONTENT_LENGTH).is_none_or(|length| length == "0") && !headers.contains_key("transfer-encoding");
    if method != Method::POST || (is_empty && !headers.contains_key(CONTENT_TYPE)) {
        return Ok(());
    }
    let is_json = |value: &str| {
        let kind = value.split(';').next().unwrap_or("").trim();
        kind.eq_ignore_ascii_case("application/json")
    };
    if headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(is_json) {
        return Ok(());
    }
    let message = "the Content-Type header must be application/json";
    Err(OperationError::new(OperationErrorCode::UnsupportedMediaType, message))
}

#[cfg(test)]
mod tests {
    use super::super::status::status_of;
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().expect("a field"));
        }
        headers
    }

    fn status(guard: &mut Guard, fields: &[(&'static str, &str)]) -> u16 {
        guard.admit(&headers(fields), 0).map_or_else(|refused| status_of(refused.code).as_u16(), |()| 200)
    }

    #[test]
    fn a_configured_key_is_needed() {
        let mut guard = Guard::new("sesame".into(), None);
        for (fields, expected) in [
            (&[("x-api-key", "sesame")][..], 200),
            (&[], 401),
            (&[("x-api-key", "")], 401),
            (&[("x-api-key", "sesam")], 401),
            (&[("x-api-key", "sesame2")], 401),
            (&[("x-api-key", "sesame"), ("x-api-key", "other")], 401),
        ] {
            assert_eq!(status(&mut guard, fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn wrong_keys_are_limited_apart_from_right_ones() {
        let mut guard = Guard::new("sesame".into(), None);
        let answers: Vec<u16> = (0..30).map(|_| status(&mut guard, &[("x-api-key", "guess")])).collect();
        assert_eq!(answers.iter().filter(|status| **status == 401).count(), 20);
        assert_eq!(answers[29], 429);
        assert_eq!(status(&mut guard, &[("x-api-key", "sesame")]), 200);
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let mut guard = Guard::new(String::new(), None);
        let host = ("host", "localhost:8081");
        assert_eq!(status(&mut guard, &[host, ("origin", "http://localhost:8081")]), 200);
        for origin in ["http://localhost:9000", "https://evil.example", "null", ""] {
            assert_eq!(status(&mut guard, &[host, ("origin", origin)]), 403, "{origin}");
        }
    }

    #[test]
    fn the_rate_is_shared_by_all_requests() {
        let mut guard = Guard::new(String::new(), Rate::new(2, 1_000));
        let answers: Vec<u16> = (0..5).map(|_| status(&mut guard, &[])).collect();
        assert_eq!(answers, [200, 200, 200, 200, 429]);
    }

    #[test]
    fn a_change_takes_effect_at_once_and_gives_no_fresh_burst() {
        let mut guard = Guard::new("sesame".into(), Rate::new(2, 3_600_000));
        let ask = |guard: &mut Guard, key: &str| status(guard, &[("x-api-key", key)]);
        assert_eq!([(); 5].map(|()| ask(&mut guard, "sesame")), [200, 200, 200, 200, 429]);
        assert_eq!([(); 21].map(|()| ask(&mut guard, "guess"))[19..], [401, 429]);
        guard.change("sesame".into(), Rate::new(2, 3_600_000), 0);
        assert_eq!(
            (ask(&mut guard, "sesame"), ask(&mut guard, "guess")),
            (429, 429),
            "a reload does not refill the buckets"
        );
        guard.change("sesame".into(), Rate::new(1_000, 1_000), 0);
        assert_eq!(ask(&mut guard, "sesame"), 200, "looser");
        guard.change("sesame".into(), Rate::new(1, 1_000), 0);
        assert_eq!(ask(&mut guard, "sesame"), 429, "tighter");
        guard.change("other".into(), None, 0);
        assert_eq!((ask(&mut guard, "sesame"), ask(&mut guard, "other")), (429, 200), "off, and another key");
    }

    #[test]
    fn bodies_are_declared_as_json() {
        let check =
            |method: Method, fields: &[(&'static str, &str)]| check_content_type(&method, &headers(fields)).is_ok();
        let length = ("content-length", "2");
        assert!(check(Method::POST, &[length, ("content-type", "application/json")]));
        assert!(check(Method::POST, &[length, ("content-type", "Application/JSON; charset=utf-8")]));
        assert!(check(Method::POST, &[]) && check(Method::POST, &[("content-length", "0")]));
        assert!(check(Method::GET, &[("content-type", "text/plain")]));
        assert!(!check(Method::POST, &[length]));
        assert!(!check(Method::POST, &[("transfer-encoding", "chunked")]));
        for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
            assert!(!check(Method::POST, &[length, ("content-type", kind)]), "{kind}");
        }
    }
}
