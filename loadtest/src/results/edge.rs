//! What TLS, compression, tokens and limits cost, scenario by scenario.

use serde::{Deserialize, Serialize};

use super::comparison::Comparison;

/// What all of it costs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EdgeResult {
    /// The server's name.
    pub server: String,
    /// Bytes of payload in a publication.
    pub payload_bytes: usize,
    /// One for each scenario.
    pub scenarios: Vec<EdgeScenario>,
}

/// One scenario with and without the parts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EdgeScenario {
    /// Its name.
    pub name: String,
    /// The command line that does the same, without the parts.
    pub command: Vec<String>,
    /// Plain first; the others by their parts.
    pub compared: Comparison,
    /// Parts that could not be run, and why.
    pub failed: Vec<(String, String)>,
}

impl EdgeResult {
    /// Why some of it cannot be believed, or is not there.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        let of = |scenario: &EdgeScenario| {
            let failed = scenario.failed.iter().map(|(label, why)| (label.as_str(), why.as_str()));
            let all = scenario.compared.reasons().chain(failed);
            all.map(|(label, why)| format!("{}, {label}: {why}", scenario.name)).collect::<Vec<_>>()
        };
        self.scenarios.iter().flat_map(of).collect()
    }

    /// Whether everything was run and can be believed.
    #[must_use]
    pub fn valid(&self) -> bool {
        let mut runs = self.scenarios.iter().flat_map(|scenario| &scenario.compared.servers).flat_map(|of| &of.runs);
        runs.next().is_some() && self.reasons().is_empty()
    }
}
