//! Owns the parts of a run between clients and rooms: TLS, compression, tokens, limits. Options or a server's name
//! select them. Never applies them: the fleet and the launch do. Reads the store in a server's name, too.

use anyhow::bail;
use serde::{Deserialize, Serialize};

use crate::store::{self, StoreMode};

/// The parts of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Edge {
    /// Clients use TLS.
    pub tls: bool,
    /// Clients resume TLS sessions.
    pub tls_resume: bool,
    /// Clients offer permessage-deflate, and compress messages if the server agrees.
    pub deflate: bool,
    /// Clients send tokens.
    pub jwt: bool,
    /// The server applies rate limits.
    pub limits: bool,
}

/// The word for each part after a server's name, and its label.
const PARTS: [(&str, &str); 5] =
    [("tls", "TLS"), ("tls-resume", "TLS resumed"), ("deflate", "deflate"), ("jwt", "JWT"), ("limits", "limits")];

impl Edge {
    /// The parts of both.
    #[must_use]
    pub fn and(self, other: Edge) -> Edge {
        Edge {
            tls: self.tls || other.tls,
            tls_resume: self.tls_resume || other.tls_resume,
            deflate: self.deflate || other.deflate,
            jwt: self.jwt || other.jwt,
            limits: self.limits || other.limits,
        }
    }

    /// Splits off the parts after a server's name, as in `roomring+tls+commit`: the edge, the store if one is named, and
    /// the name. Other text with `+` may belong to a path.
    ///
    /// # Errors
    /// A word after a name without a path is not a part, or two stores are named.
    pub fn of_name(text: &str) -> anyhow::Result<(Edge, Option<StoreMode>, &str)> {
        let (mut edge, mut store, mut rest) = (Edge::default(), None, text);
        while let Some((before, word)) = rest.rsplit_once('+') {
            match word {
                "tls" => edge.tls = true,
                "tls-resume" => (edge.tls, edge.tls_resume) = (true, true),
                "deflate" => edge.deflate = true,
                "jwt" => edge.jwt = true,
                "limits" => edge.limits = true,
                "all" => edge = Edge { tls: true, deflate: true, jwt: true, limits: true, ..edge },
                _ => match StoreMode::named(word) {
                    Some(_) if store.is_some() => bail!("{text:?}: expected one store; got two"),
                    Some(mode) => store = Some(mode),
                    None if before.contains('=') => break,
                    None => {
                        let (words, stores) = (PARTS.map(|(word, _)| word).join(", "), store::WORDS.join(", "));
                        bail!("{text:?}: expected one of {words}, all, {stores}; got {word:?}");
                    }
                },
            }
            rest = before;
        }
        Ok((edge, store, rest))
    }

    /// The parts in words: `plain`, `TLS + JWT`.
    #[must_use]
    pub fn told(self) -> String {
        let has = [self.tls && !self.tls_resume, self.tls_resume, self.deflate, self.jwt, self.limits];
        let told = PARTS.iter().zip(has).filter_map(|((_, told), has)| has.then_some(*told)).collect::<Vec<_>>();
        if told.is_empty() { "plain".to_owned() } else { told.join(" + ") }
    }

    /// The options of the parts, which a server other than Roomring must refuse.
    #[must_use]
    pub fn options(self) -> Vec<&'static str> {
        let all = [(self.tls, "--tls"), (self.deflate, "--deflate"), (self.jwt, "--jwt"), (self.limits, "--limits on")];
        all.into_iter().filter_map(|(has, option)| has.then_some(option)).collect()
    }
}

/// A secret for one run, in letters and digits.
#[must_use]
pub fn new_secret() -> String {
    let mut rng = fastrand::Rng::new();
    (0..48).map(|_| rng.alphanumeric()).collect()
}

/// Replaces secrets in a command line by stars, because results include it.
#[must_use]
pub fn masked(words: impl IntoIterator<Item = String>) -> Vec<String> {
    const SECRET: &str = "--jwt-secret";
    let mut is_secret = false;
    let mask = |word: String| {
        let shown = match word.strip_prefix(SECRET) {
            _ if is_secret => "***".to_owned(),
            Some(rest) if rest.starts_with('=') => format!("{SECRET}=***"),
            _ => word.clone(),
        };
        is_secret = !is_secret && word == SECRET;
        shown
    };
    words.into_iter().map(mask).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_a_name() {
        let of = |text| Edge::of_name(text).expect("good");
        let (edge, store, rest) = of("roomring=/a+b/roomring+jwt+tls");
        assert_eq!((edge, rest), (Edge { tls: true, jwt: true, ..Edge::default() }, "roomring=/a+b/roomring"));
        assert_eq!(store, None);
        assert_eq!(edge.told(), "TLS + JWT");
        let (edge, _, rest) = of("roomring+tls-resume");
        assert_eq!((edge.told().as_str(), rest, edge.tls), ("TLS resumed", "roomring", true));
        assert_eq!(of("uws"), (Edge::default(), None, "uws"));
        let (edge, store, rest) = of("roomring+commit+tls");
        assert_eq!((edge.told().as_str(), store, rest), ("TLS", Some(StoreMode::Commit), "roomring"));
        assert!(Edge::of_name("roomring+commit+behind").is_err());
        assert_eq!(of("roomring+all").0.told(), "TLS + deflate + JWT + limits");
        assert_eq!(Edge::default().told(), "plain");
        let error = Edge::of_name("roomring+tsl").expect_err("no such part").to_string();
        assert!(error.contains("\"tsl\"") && error.contains("tls-resume"), "{error}");
    }

    #[test]
    fn secrets_are_not_saved() {
        let words = ["loadtest", "idle", "--jwt-secret", "a", "--jwt", "--jwt-secret=b", "x"].map(str::to_owned);
        let masked = masked(words);
        assert_eq!(masked, ["loadtest", "idle", "--jwt-secret", "***", "--jwt", "--jwt-secret=***", "x"]);
        assert_ne!(new_secret(), new_secret());
    }
}
