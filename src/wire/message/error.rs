//! Owns the protocol violation that ends a connection. Never decodes.

use crate::base::codes::CloseCode;
use crate::wire::deflate::InflateError;

/// The client violated the protocol: its connection must be closed with `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct ProtocolError {
    /// 1002, 1007 or 1009.
    pub code: CloseCode,
    /// Text for the log and the close reason.
    pub what: &'static str,
}

impl ProtocolError {
    pub(super) const fn violation(what: &'static str) -> Self {
        Self { code: CloseCode::Protocol, what }
    }

    pub(super) const fn invalid_utf8(what: &'static str) -> Self {
        Self { code: CloseCode::InvalidUtf8, what }
    }
}

impl From<InflateError> for ProtocolError {
    /// Invalid compressed data is data that is inconsistent with its message's type (RFC 6455 section 7.4.1: 1007).
    fn from(error: InflateError) -> Self {
        match error {
            InflateError::TooBig => {
                Self { code: CloseCode::TooBig, what: "the compressed message exceeds the size limit" }
            }
            InflateError::TooManyBlocks => {
                Self { code: CloseCode::TooBig, what: "the compressed message has too many blocks" }
            }
            InflateError::Corrupt => Self::invalid_utf8("the compressed message is not valid deflate data"),
        }
    }
}
