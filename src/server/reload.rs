//! SIGHUP: what has changed in the configuration, what of it takes effect now, and what waits for the next start.

use super::config::Config;
use super::config::keys::{KEYS, Key, Reload};
use super::config::load::{Sources, load};
use super::config::lower::{Plan, plan};
use super::config::machine::Machine;
use super::config::origin::Mistake;
use super::cores::Cores;
use super::log::Log;

/// What differs between two configurations.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    /// Keys that take effect now.
    now: Vec<String>,
    /// Keys that take effect at the next start.
    later: Vec<String>,
}

/// Reads the sources again. With any mistake everything stays as it is; otherwise what can change while the server runs
/// does so at once, and `current` becomes what holds now. Gives what holds now, for the parts that take it over.
pub fn reload(sources: &Sources, machine: &Machine, current: &mut Config, log: &Log, cores: &Cores) -> Option<Plan> {
    let config = match read(sources, machine) {
        Ok(config) => config,
        Err(mistakes) => return refuse(&mistakes),
    };
    let changes = changes(current, &config);
    // A key that waits for the next start counts as changed until then.
    let mut next = current.clone();
    for (index, key) in KEYS.iter().enumerate() {
        if key.reload == Reload::Hangup && !waits(key, current, &config) {
            next.adopt(index, &config);
        }
    }
    if same_classes(current, &config, |key| key.reload == Reload::Restart) {
        next.classes.clone_from(&config.classes);
    }
    let plan = match plan(&next, machine) {
        Ok(plan) => plan,
        Err(mistakes) => return refuse(&mistakes),
    };
    log.set_level(plan.level.clone());
    cores.configure(&plan.settings);
    *current = next;
    let (changed, needs_restart) = (changes.now.join(","), changes.later.join(","));
    tracing::info!(changed, needs_restart, "configuration read again");
    Some(plan)
}

fn refuse(mistakes: &[Mistake]) -> Option<Plan> {
    for mistake in mistakes {
        tracing::error!(%mistake, "the configuration is kept as it was");
    }
    None
}

/// Whether a key that could take effect now waits for another that cannot: what an address speaks, and who may connect
/// to it, stays as it is while it is listened on.
fn waits(key: &Key, old: &Config, new: &Config) -> bool {
    let differs = |section, name, read: fn(&str) -> bool| {
        read(old.get(section, name).text()) != read(new.get(section, name).text())
    };
    match key.section {
        "tls" => differs("tls", "certificate", str::is_empty),
        "auth" => key.name != "allowed_origins" && differs("auth", "mode", |mode| mode == "jwt"),
        _ => false,
    }
}

fn read(sources: &Sources, machine: &Machine) -> Result<Config, Vec<Mistake>> {
    let (config, mistakes) = load(sources);
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    plan(&config, machine).map(|_| config)
}

fn changes(old: &Config, new: &Config) -> Changes {
    let mut changes = Changes::default();
    for ((index, one), (_, other)) in old.settings().zip(new.settings()) {
        let key = &KEYS[index];
        match key.reload {
            _ if one.value == other.value => {}
            Reload::Hangup if waits(key, old, new) => changes.later.push(key.path()),
            Reload::Hangup => changes.now.push(key.path()),
            Reload::Restart => changes.later.push(key.path()),
        }
    }
    if !same_classes(old, new, |key| key.reload == Reload::Restart) {
        changes.later.push("rooms.class".into());
    } else if !same_classes(old, new, |_| true) {
        changes.now.push("rooms.class".into());
    }
    changes
}

/// Whether both have the same classes, as far as the keys go that count.
fn same_classes(old: &Config, new: &Config, counts: impl Fn(&Key) -> bool) -> bool {
    old.classes.len() == new.classes.len()
        && old.classes.iter().zip(&new.classes).all(|(one, other)| one.is_same_as(other, &counts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(sets: &[&str]) -> Config {
        let sets = sets.iter().map(ToString::to_string).collect();
        let (config, mistakes) = load(&Sources { sets, ..Sources::default() });
        assert_eq!(mistakes, []);
        config
    }

    #[test]
    fn changes_are_told_by_when_they_take_effect() {
        let old = config(&["log.level=info", "server.max_connections=5"]);
        assert_eq!(changes(&old, &old), Changes::default());
        let new = config(&["log.level=debug", "rooms.class=[{pattern='a'}]", "rooms.presence=true"]);
        let expected = Changes {
            now: vec!["log.level".into()],
            later: vec!["server.max_connections".into(), "rooms.class".into()],
        };
        assert_eq!(changes(&old, &new), expected);
    }

    #[test]
    fn the_rate_of_a_class_takes_effect_now_and_what_else_it_says_at_the_next_start() {
        let class = |text: &str| config(&[&format!("rooms.class=[{{pattern='a',{text}}}]")]);
        let old = class("room_message_rate='1/s'");
        let rooms_class = || vec!["rooms.class".to_owned()];
        let now = Changes { now: rooms_class(), later: Vec::new() };
        assert_eq!(changes(&old, &class("room_message_rate='2/s'")), now);
        assert_eq!(changes(&old, &class("")), now);
        let later = Changes { now: Vec::new(), later: rooms_class() };
        assert_eq!(changes(&old, &class("room_message_rate='2/s',presence=false")), later);
    }

    #[test]
    fn tls_is_renewed_now_and_switched_at_the_next_start() {
        let plain = config(&[]);
        let one = config(&["tls.certificate=a.pem", "tls.key=a.key"]);
        let other = config(&["tls.certificate=b.pem", "tls.key=b.key"]);
        let keys = || vec!["tls.certificate".to_owned(), "tls.key".to_owned()];
        assert_eq!(changes(&one, &other), Changes { now: keys(), later: Vec::new() });
        assert_eq!(changes(&plain, &one), Changes { now: Vec::new(), later: keys() });
        assert_eq!(changes(&one, &plain), Changes { now: Vec::new(), later: keys() });
    }
}
