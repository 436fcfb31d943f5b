//! Owns the options about TLS, compression, tokens and limits.

use clap::{Args, ValueEnum};

use crate::edge::Edge;
use crate::payload::PayloadKind;

/// Whether the server applies rate limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LimitsMode {
    /// No rate limits.
    #[default]
    Off,
    /// Rate limits that are too high to refuse anything.
    On,
}

/// Options of every scenario about TLS, compression, tokens and limits.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Edge")]
pub struct EdgeArgs {
    /// Uses TLS (as with a `wss://` URL) and trusts any certificate. A Roomring started by `--server` gets one.
    #[arg(long)]
    pub tls: bool,
    /// Uses TLS, and resumes sessions on reconnect.
    #[arg(long)]
    pub tls_resume: bool,
    /// Offers permessage-deflate (RFC 7692) and compresses messages.
    #[arg(long)]
    pub deflate: bool,
    /// Sends HS256 tokens, signed in advance. A Roomring started by `--server` gets their secret.
    #[arg(long)]
    pub jwt: bool,
    /// Secret of the tokens, for a server that is already running.
    #[arg(long, value_name = "SECRET", requires = "jwt")]
    pub jwt_secret: Option<String>,
    /// Enables the rate limits of a Roomring started by `--server`, too high to refuse anything.
    #[arg(long, value_enum, default_value_t)]
    pub limits: LimitsMode,
    /// Payload of publications: dots, or JSON objects with words of a chat.
    #[arg(long, value_enum, default_value_t)]
    pub payload: PayloadKind,
}

impl EdgeArgs {
    /// The parts that these options enable.
    #[must_use]
    pub fn edge(&self) -> Edge {
        Edge {
            tls: self.tls || self.tls_resume,
            tls_resume: self.tls_resume,
            deflate: self.deflate,
            jwt: self.jwt,
            limits: self.limits == LimitsMode::On,
        }
    }
}
