//! The text of `log.level` as a filter. Installs nothing.

use tracing_subscriber::filter::{LevelFilter, Targets};

/// Targets named in one `log.level`.
const TARGETS_MAX: usize = 64;

/// Reads `level` or `level,target=level,…`; without a level of its own the rest stays at `info`.
/// `None` when a part is neither. The library's own parser would take a misspelt level for a target's name.
#[must_use]
pub fn parse_level(text: &str) -> Option<Targets> {
    let mut targets = Targets::new().with_default(LevelFilter::INFO);
    if text.split(',').count() > TARGETS_MAX {
        return None;
    }
    for part in text.split(',').map(str::trim) {
        match part.split_once('=') {
            None => targets = targets.with_default(level(part)?),
            Some((target, word)) if is_target(target.trim()) => {
                targets = targets.with_target(target.trim(), level(word.trim())?);
            }
            Some(_) => return None,
        }
    }
    Some(targets)
}

fn level(word: &str) -> Option<LevelFilter> {
    Some(match word {
        "off" => LevelFilter::OFF,
        "error" => LevelFilter::ERROR,
        "warn" => LevelFilter::WARN,
        "info" => LevelFilter::INFO,
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        _ => return None,
    })
}

fn is_target(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_:-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn levels_apply_by_target() {
        let targets = parse_level("warn, roomring::io=debug").expect("well formed");
        assert!(targets.would_enable("roomring::io::pump", &Level::DEBUG));
        assert!(!targets.would_enable("roomring::engine", &Level::INFO));
        assert!(targets.would_enable("roomring::engine", &Level::WARN));
        let targets = parse_level("roomring::io=off").expect("well formed");
        assert!(targets.would_enable("roomring::server", &Level::INFO));
        assert!(!targets.would_enable("roomring::io", &Level::ERROR));
    }

    #[test]
    fn misspelt_levels_are_refused() {
        for wrong in ["", "inof", "INFO ,", "info,", "roomring=loud", "=debug", "a b=debug", "info;debug"] {
            assert!(parse_level(wrong).is_none(), "{wrong}");
        }
    }
}
