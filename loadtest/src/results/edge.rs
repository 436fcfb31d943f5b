//! Owns the result of `edge`: the cost of TLS, compression, tokens and limits in each scenario. Never shows it.

use serde::{Deserialize, Serialize};

use super::comparison::Comparison;

/// The result of `edge`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EdgeResult {
    /// The server's name.
    pub server: String,
    /// Bytes of payload in a publication.
    pub payload_bytes: usize,
    /// The scenarios.
    pub scenarios: Vec<EdgeScenario>,
}

/// One scenario with and without each part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EdgeScenario {
    /// Its name.
    pub name: String,
    /// The equivalent command line, without the parts.
    pub command: Vec<String>,
    /// The plain server first, then the server with each part.
    pub compared: Comparison,
    /// Parts that failed, with their reasons.
    pub failed: Vec<(String, String)>,
}

impl EdgeResult {
    /// Reasons why runs are invalid or missing.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        let of = |scenario: &EdgeScenario| {
            let failed = scenario.failed.iter().map(|(label, why)| (label.as_str(), why.as_str()));
            let all = scenario.compared.reasons().chain(failed);
            all.map(|(label, why)| format!("{}, {label}: {why}", scenario.name)).collect::<Vec<_>>()
        };
        self.scenarios.iter().flat_map(of).collect()
    }

    /// Whether all runs are complete and valid.
    #[must_use]
    pub fn valid(&self) -> bool {
        let mut runs = self.scenarios.iter().flat_map(|scenario| &scenario.compared.servers).flat_map(|of| &of.runs);
        runs.next().is_some() && self.reasons().is_empty()
    }
}
