//! Reads HTTP/1.1 request heads on the data port and writes the responses before a WebSocket opens (PROTOCOL section 1,
//! RFC 6455 section 4.2). Never decides who may connect.
//!
//! `head` reads a request head with `headers`, `host`, `account` and `upgrade`; `account` reads what precedes the body of a
//! request about an account; `upgrade` reads an opening handshake with `query`,
//! `extensions` and `forwarded`; `request` and `refusal` are the results, `response` the answers.

mod account;
mod extensions;
mod forwarded;
mod head;
mod headers;
mod host;
pub mod lexer;
mod origin;
mod query;
mod quote;
mod refusal;
mod request;
mod response;
#[cfg(test)]
mod tests;
mod upgrade;

pub use account::{AccountHead, AccountMethod, AccountPath};
pub use extensions::DeflateOffer;
pub use forwarded::{ForwardedAddress, ForwardedFields, ForwardedHeader};
pub use head::{Head, parse_head, parse_head_offering};
pub use host::{check_host_pattern, host_matches, host_of, parse_address};
pub use origin::{check_origin_pattern, origin_allowed};
pub use quote::quoted;
pub use refusal::HttpRefusal;
pub use request::{HttpRequest, Upgrade};
pub use response::{
    AnswerHeaders, accept_deflate_response, accept_response, json_response, json_response_with, no_content_response,
    refusal_response, refusal_response_with, without_content,
};
