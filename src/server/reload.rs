//! Reloading the configuration on SIGHUP: which keys changed, which of them take effect now, and which at the next start.
//! Never changes a service itself.

use std::path::PathBuf;

use super::config::Config;
use super::config::config_file::{self, ConfigFile};
use super::config::key::{Key, Reload};
use super::config::keys::KEYS;
use super::config::load::{Sources, load};
use super::config::lower::{Plan, plan};
use super::config::machine::HostMachine;
use super::config::origin::{Mistake, ValueOrigin};
use super::cores::Cores;
use super::log::Log;

/// The keys that differ between two configurations.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    /// Keys that take effect now.
    now: Vec<String>,
    /// Keys that take effect at the next start.
    later: Vec<String>,
}

/// Reads the sources again and applies the keys that can change while the server runs. `current` becomes the configuration
/// in effect. Returns its plan for the services, or `None` after a mistake, which changes nothing.
pub fn reload(
    sources: &Sources,
    machine: &HostMachine,
    current: &mut Config,
    log: &Log,
    cores: &Cores,
) -> Option<Plan> {
    let config = match read(sources, machine, current) {
        Ok(config) => config,
        Err(mistakes) => return refuse(&mistakes),
    };
    let changes = changes(current, &config);
    // Keys that need a restart keep their old value, and count as changed until then.
    let mut next = current.clone();
    for (index, key) in KEYS.iter().enumerate() {
        if key.reload == Reload::Hangup && !waits(key, current, &config) {
            next.adopt(index, &config);
        }
    }
    next.file.clone_from(&config.file);
    if same_classes(current, &config, |key| key.reload == Reload::Restart) {
        next.classes.clone_from(&config.classes);
    }
    let plan = match plan(&next, machine) {
        Ok(plan) => plan,
        Err(mistakes) => return refuse(&mistakes),
    };
    log.set_level(plan.log_level.clone());
    cores.configure(&plan.settings);
    *current = next;
    let (changed, needs_restart) = (changes.now.join(","), changes.later.join(","));
    let file = current.file.as_ref().map_or_else(|| "none".into(), ConfigFile::shown);
    tracing::info!(file, changed, needs_restart, "configuration reloaded");
    warn_of_another(sources, current);
    Some(plan)
}

fn refuse(mistakes: &[Mistake]) -> Option<Plan> {
    for mistake in mistakes {
        tracing::error!(%mistake, "keeping the previous configuration");
    }
    None
}

/// Whether a key that could take effect now depends on another that cannot: whether an address uses TLS, and which
/// tokens connections need, stays the same while the server listens on it.
fn waits(key: &Key, old: &Config, new: &Config) -> bool {
    let differs = |section, name, read: fn(&str) -> bool| {
        read(old.get(section, name).text()) != read(new.get(section, name).text())
    };
    let has_another_mode = || old.get("auth", "mode").text() != new.get("auth", "mode").text();
    match key.section {
        "tls" => differs("tls", "certificate", str::is_empty),
        "auth" => key.name != "allowed_origins" && has_another_mode(),
        "accounts" => has_another_mode(),
        _ => false,
    }
}

/// Reads the sources. The file that was read before must still be there and not be empty: while it is being replaced, its
/// keys and limits must not fall back to the defaults.
fn read(sources: &Sources, machine: &HostMachine, current: &Config) -> Result<Config, Vec<Mistake>> {
    let before = current.file.as_ref();
    let file = before.map(|file| file.path.clone()).or_else(|| sources.file.clone());
    let (config, mut mistakes) = load(&Sources { file, ..sources.clone() });
    if let (Some(before), Some(now)) = (before, &config.file)
        && now.is_empty
        && !before.is_empty
    {
        let text = format!("the configuration file {} is empty, and was not when it was last read", now.shown());
        mistakes.push(Mistake::unreadable(&ValueOrigin::Default, "", text));
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    plan(&config, machine).map(|_| config)
}

/// Warns if the next start would read another file than the one in use.
fn warn_of_another(sources: &Sources, current: &Config) {
    let Some(used) = current.file.as_ref().filter(|_| sources.file.is_none()) else { return };
    if let Some(other) = another(sources, used) {
        tracing::warn!(used = used.shown(), other = %other.display(), "the next start will read another configuration file");
    }
}

fn another<'a>(sources: &'a Sources, used: &ConfigFile) -> Option<&'a PathBuf> {
    let first = config_file::first(&sources.candidates).unwrap_or_else(|(path, _)| Some(path));
    first.filter(|path| **path != used.path)
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

/// Whether both have the same classes by the keys that `counts` selects.
fn same_classes(old: &Config, new: &Config, counts: impl Fn(&Key) -> bool) -> bool {
    old.classes.len() == new.classes.len()
        && old.classes.iter().zip(&new.classes).all(|(one, other)| one.is_same_as(other, &counts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_was_read_must_not_become_empty() {
        let folder = tempfile::tempdir().expect("a scratch directory");
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str| std::fs::write(path(name), text).expect("writable");
        let machine = HostMachine::detect();
        let sources = Sources { candidates: vec![path("near.toml"), path("far.toml")], ..Sources::default() };
        let keys = "[control]\napi_key = \"sesame\"\n";

        // The first file to appear is read, and stays the one in use.
        let none = read(&sources, &machine, &Config::default()).expect("nothing is wrong");
        assert_eq!(none.file, None);
        write("far.toml", keys);
        let far = read(&sources, &machine, &none).expect("nothing is wrong");
        assert_eq!(far.get("control", "api_key").text(), "sesame");
        assert_eq!(another(&sources, far.file.as_ref().expect("it was read")), None);
        write("near.toml", "[control]\napi_key = \"other\"\n");
        let again = read(&sources, &machine, &far).expect("nothing is wrong");
        assert_eq!(again.get("control", "api_key").text(), "sesame");
        assert_eq!(another(&sources, again.file.as_ref().expect("it was read")), Some(&path("near.toml")));

        let refused = |why: &str| {
            let mistakes = read(&sources, &machine, &far).expect_err(why);
            assert_eq!(mistakes.len(), 1, "{mistakes:?}");
            let sentence = mistakes[0].to_string();
            assert!(sentence.starts_with(&format!("the configuration file {} {why}", path("far.toml").display())));
        };
        for empty in ["", " \n\t\n", "\u{feff}"] {
            write("far.toml", empty);
            refused("is empty, and was not when it was last read");
        }
        std::fs::remove_file(path("far.toml")).expect("it was there");
        refused("cannot be read: No such file or directory");
        std::os::unix::fs::symlink("far.toml", path("far.toml")).expect("a link can be made");
        refused("cannot be read: Too many levels of symbolic links");
        std::fs::remove_file(path("far.toml")).expect("it was there");
        std::fs::create_dir(path("far.toml")).expect("it can be made");
        refused("is a directory, not a file");
    }

    #[test]
    fn a_file_that_was_empty_may_stay_empty() {
        let folder = tempfile::tempdir().expect("a scratch directory");
        let file = folder.path().join("roomring.toml");
        let sources = Sources { file: Some(file.clone()), ..Sources::default() };
        std::fs::write(&file, "").expect("writable");
        let (empty, mistakes) = load(&sources);
        assert_eq!(mistakes, []);
        assert!(read(&sources, &HostMachine::detect(), &empty).is_ok());
        std::fs::write(&file, "# defaults\n").expect("writable");
        let commented = read(&sources, &HostMachine::detect(), &empty).expect("nothing is wrong");
        assert!(read(&sources, &HostMachine::detect(), &commented).is_ok(), "a comment is not empty");
    }

    fn config(sets: &[&str]) -> Config {
        let sets = sets.iter().map(ToString::to_string).collect();
        let (config, mistakes) = load(&Sources { sets, ..Sources::default() });
        assert_eq!(mistakes, []);
        config
    }

    #[test]
    fn changes_are_grouped_by_when_they_take_effect() {
        let old = config(&["log.level=info", "server.warm_connections=5"]);
        assert_eq!(changes(&old, &old), Changes::default());
        let new = config(&["log.level=debug", "rooms.class=[{pattern='a'}]", "rooms.presence=true"]);
        let expected = Changes {
            now: vec!["log.level".into()],
            later: vec!["server.warm_connections".into(), "rooms.class".into()],
        };
        assert_eq!(changes(&old, &new), expected);
    }

    #[test]
    fn the_rate_of_a_class_takes_effect_now_and_its_other_keys_at_the_next_start() {
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
