//! The text of `log.level` as a filter. Installs nothing.

use tracing_subscriber::filter::{LevelFilter, Targets};

use super::units::ValueError;

/// Targets named in one `log.level`.
const TARGETS_MAX: usize = 64;

/// Reads `level` or `level,target=level,…`; without a level of its own the rest stays at `info`. The library's own parser
/// would take a misspelled level for a target's name.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_level(text: &str) -> Result<Targets, ValueError> {
    let mut targets = Targets::new().with_default(LevelFilter::INFO);
    if text.split(',').count() > TARGETS_MAX {
        return Err(format!("has more than {TARGETS_MAX} parts"));
    }
    let wrong = |part: &str, noun: &str| match part == text {
        true => format!("is not {noun}"),
        false => format!("holds {part:?}, which is not {noun}"),
    };
    for part in text.split(',').map(str::trim) {
        let (target, word) =
            part.split_once('=').map_or((None, part), |(target, word)| (Some(target.trim()), word.trim()));
        let level = level(word).ok_or_else(|| wrong(word, "a level"))?;
        targets = match target {
            None => targets.with_default(level),
            Some(target) if is_target(target) => targets.with_target(target, level),
            Some(target) => return Err(wrong(target, "a target")),
        };
    }
    Ok(targets)
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
    fn misspelled_levels_are_refused() {
        for wrong in ["", "inof", "INFO ,", "info,", "roomring=loud", "=debug", "a b=debug", "info;debug"] {
            assert!(parse_level(wrong).is_err(), "{wrong}");
        }
    }
}
