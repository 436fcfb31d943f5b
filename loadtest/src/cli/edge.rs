//! Options about TLS, compression, tokens and limits.

use clap::{Args, ValueEnum};

use crate::edge::Edge;
use crate::payload::PayloadKind;

/// Whether limits are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LimitsMode {
    /// The server counts nothing.
    #[default]
    Off,
    /// It counts, and has room for what a load test does.
    On,
}

/// Options about it, of every scenario.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Edge")]
pub struct EdgeArgs {
    /// Clients speak TLS (as with a `wss://` URL) and trust any certificate; a Roomring that is started here gets one.
    #[arg(long)]
    pub tls: bool,
    /// TLS, and a client that connects again resumes a session where it can.
    #[arg(long)]
    pub tls_resume: bool,
    /// Clients offer permessage-deflate (RFC 7692), compress what they send, and inflate what comes compressed.
    #[arg(long)]
    pub deflate: bool,
    /// Clients show HS256 tokens, signed before they connect; a Roomring that is started here gets a secret for them.
    #[arg(long)]
    pub jwt: bool,
    /// The secret that signs them, for a server that is not started here.
    #[arg(long, value_name = "SECRET", requires = "jwt")]
    pub jwt_secret: Option<String>,
    /// A Roomring that is started here counts against its limits; the rates are raised so far that none refuses.
    #[arg(long, value_enum, default_value_t)]
    pub limits: LimitsMode,
    /// What publications carry: dots, or JSON objects with the words of a chat.
    #[arg(long, value_enum, default_value_t)]
    pub payload: PayloadKind,
}

impl EdgeArgs {
    /// What these options ask for.
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
