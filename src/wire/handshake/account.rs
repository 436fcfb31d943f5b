//! Reads the head of a request about an account (PROTOCOL section 1, "Accounts"): which path, by whom, and how long its body
//! is. Never reads the body, and never judges an origin or a token.

use super::forwarded::ForwardedFields;
use super::headers::Headers;
use super::refusal::HttpRefusal;
use crate::base::limits::ACCOUNT_BODY_BYTES_MAX;

/// A path of accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountPath {
    /// `/account/register`
    Register,
    /// `/account/token`
    Token,
    /// `/account/password`
    Password,
}

impl AccountPath {
    /// The path of this name.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        match path {
            "/account/register" => Some(AccountPath::Register),
            "/account/token" => Some(AccountPath::Token),
            "/account/password" => Some(AccountPath::Password),
            _ => None,
        }
    }
}

/// What a request does at an account path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountMethod {
    /// `POST`.
    Post {
        /// Bytes of the body that follows, or why it is not taken: 400, 411 or 413.
        body_bytes: Result<usize, HttpRefusal>,
        /// The client sends the body only when it is told to go on (RFC 9110 section 10.1.1).
        expects_continue: bool,
    },
    /// `OPTIONS`: a browser asks whether a page may make a request.
    Options,
    /// Any other one, for which the response is 405.
    Other {
        /// It is HEAD: the response has no content.
        is_head: bool,
    },
}

/// The head of a request about an account.
#[derive(Debug, PartialEq, Eq)]
pub struct AccountHead {
    /// Which path.
    pub path: AccountPath,
    /// What it does there.
    pub method: AccountMethod,
    /// The requested host, perhaps with a port. `None` only for HTTP/1.0.
    pub host: Option<String>,
    /// The `Origin` header.
    pub origin: Option<String>,
    /// The token of `Authorization: Bearer`.
    pub token: Option<String>,
    /// The proxy headers that name the client's address. Anyone can write them.
    pub forwarded: ForwardedFields,
}

impl AccountHead {
    /// Bytes of memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let optional = [&self.host, &self.origin, &self.token];
        size_of::<Self>() + optional.into_iter().flatten().map(String::len).sum::<usize>()
    }
}

/// Reads a request with this method to this path.
///
/// # Errors
/// 400: a header that may occur once is given twice, or is not UTF-8.
pub(super) fn read(
    path: AccountPath,
    method: &str,
    host: Option<String>,
    headers: Headers<'_>,
) -> Result<AccountHead, HttpRefusal> {
    let method = match method {
        "POST" => AccountMethod::Post {
            body_bytes: body_bytes(headers),
            expects_continue: headers.has_token("expect", "100-continue"),
        },
        "OPTIONS" => AccountMethod::Options,
        _ => AccountMethod::Other { is_head: method == "HEAD" },
    };
    Ok(AccountHead {
        path,
        method,
        host,
        origin: headers.single("origin")?.map(str::to_owned),
        token: headers.bearer().map(str::to_owned),
        forwarded: ForwardedFields::read(headers),
    })
}

/// The length of the body, which must be given ahead (RFC 9110 section 8.6).
fn body_bytes(headers: Headers<'_>) -> Result<usize, HttpRefusal> {
    let required = || HttpRefusal::new(411, "length_required", "the header Content-Length must give the body's length");
    if headers.all("transfer-encoding").next().is_some() {
        return Err(required());
    }
    let text = headers.single("content-length")?.ok_or_else(required)?;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HttpRefusal::bad_request("the header Content-Length must be a number of bytes"));
    }
    // A number that is too long to read is too large in any case.
    match text.parse() {
        Ok(bytes @ 0..=ACCOUNT_BODY_BYTES_MAX) => Ok(bytes),
        _ => {
            let message = format!("the body must be at most {ACCOUNT_BODY_BYTES_MAX} bytes");
            Err(HttpRefusal::new(413, "too_large", message))
        }
    }
}
