//! Which source wins, and how each is read.

use std::path::PathBuf;

use super::super::config_file::ConfigFile;
use super::super::load::{Sources, load};
use super::super::units::CoresSetting;
use super::{Scratch, machine, sentences};
use crate::server::config::Config;
use crate::server::config::lower::plan;

fn env(pairs: &[(&str, &str)]) -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn sets(sets: &[&str]) -> Vec<String> {
    sets.iter().map(ToString::to_string).collect()
}

fn loaded(sources: &Sources) -> Config {
    let (config, mistakes) = load(sources);
    assert_eq!(mistakes, []);
    config
}

#[test]
fn later_sources_win() {
    let scratch = Scratch::new("[server]\ncores = 2\nmax_connections = 2\nwarm_connections = 2\n");
    let config = loaded(&Sources {
        file: Some(scratch.path()),
        env: env(&[
            ("ROOMRING_SERVER__MAX_CONNECTIONS", "3"),
            ("ROOMRING_SERVER__WARM_CONNECTIONS", "3"),
            ("HOME", "/"),
        ]),
        sets: sets(&["server.warm_connections=4", "server.warm_connections=5"]),
        ..Sources::default()
    });
    let shown = |name| {
        let setting = config.get("server", name);
        (setting.value.clone(), setting.origin.to_string())
    };
    use crate::server::config::kind::SettingValue;
    let file = format!("{}:2", scratch.path().display());
    assert_eq!(shown("cores"), (SettingValue::Cores(CoresSetting::Count(2)), file));
    assert_eq!(shown("max_connections"), (SettingValue::Number(3), "ROOMRING_SERVER__MAX_CONNECTIONS".into()));
    assert_eq!(shown("warm_connections"), (SettingValue::Number(5), "--set".into()));
    assert_eq!(shown("pin"), (SettingValue::Bool(true), "default".into()));
}

#[test]
fn the_first_candidate_that_exists_is_read() {
    let scratch = Scratch::new("[server]\nnode = \"a\"\n");
    let candidates = vec![PathBuf::from("/nonexistent/roomring.toml"), scratch.path()];
    let config = loaded(&Sources { candidates: candidates.clone(), ..Sources::default() });
    assert_eq!(config.get("server", "node").text(), "a");
    assert_eq!(config.file, Some(ConfigFile { path: scratch.path(), is_empty: false }));
    let config = loaded(&Sources { candidates: candidates[..1].to_vec(), ..Sources::default() });
    assert_eq!(config, Config::default());
}

#[test]
fn only_a_file_that_is_not_there_is_passed_over() {
    use std::os::unix::fs::symlink;
    let scratch = Scratch::new("[server]\nnode = \"a\"\n");
    let path = |name: &str| scratch.0.path().join(name);
    std::fs::create_dir(path("folder")).expect("it can be made");
    for (target, link) in [("loop", "loop"), ("nothing", "dangling"), ("roomring.toml", "fine")] {
        symlink(target, path(link)).expect("a link can be made");
    }
    for absent in ["missing", "missing/missing", "folder/missing"] {
        let config = loaded(&Sources { candidates: vec![path(absent), path("fine")], ..Sources::default() });
        assert_eq!(config.get("server", "node").text(), "a", "{absent}");
    }
    for (there, words) in [
        ("folder", "folder is a directory, not a file"),
        ("dangling", "dangling cannot be read: No such file or directory (os error 2)"),
        ("loop", "loop cannot be read: Too many levels of symbolic links (os error 40)"),
        (
            "loop/x",
            "loop/x cannot be accessed: Too many levels of symbolic links (os error 40); make it accessible, or",
        ),
        (
            "roomring.toml/x",
            "roomring.toml/x cannot be accessed: Not a directory (os error 20); make it accessible, or",
        ),
        ("dangling/x", "dangling/x cannot be accessed: dangling is a symbolic link to nothing; make it accessible, or"),
    ] {
        let (config, mistakes) = load(&Sources { candidates: vec![path(there), path("fine")], ..Sources::default() });
        let sentences = sentences(&mistakes, scratch.0.path());
        assert_eq!(sentences.len(), 1, "{there}: {sentences:?}");
        assert!(sentences[0].starts_with(&format!("the configuration file {words}")), "{sentences:?}");
        assert_eq!(config, Config::default(), "{there}: none of the others is read instead");
    }
}

#[test]
fn words_are_read_by_the_kind_of_their_key() {
    let config = loaded(&Sources {
        env: env(&[
            ("ROOMRING_SERVER__LISTEN", "127.0.0.1:1,[::1]:2"),
            ("ROOMRING_CONTROL__LISTEN", "[::1]:9"),
            ("ROOMRING_SERVER__MAX_MESSAGE_BYTES", "65536"),
            ("ROOMRING_SERVER__PIN", "false"),
            ("ROOMRING_AUTH__ALLOWED_ORIGINS", ""),
            ("ROOMRING_LOG__LEVEL", "\"warn\""),
        ]),
        sets: sets(&[
            "server.cores=2",
            "server.max_connections=1_000",
            "heartbeat.interval=1s",
            "limits.message_rate=0",
            "auth.allowed_origins=[\"https://a=b\", \"https://c\"]",
            "server.echo_path=",
        ]),
        ..Sources::default()
    });
    let addresses: Vec<String> = config.get("server", "listen").addresses().iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["127.0.0.1:1", "[::1]:2"]);
    assert_eq!(config.get("control", "listen").addresses()[0].to_string(), "[::1]:9");
    assert_eq!(config.get("server", "max_message_bytes").number(), 65_536);
    assert!(!config.get("server", "pin").flag());
    assert_eq!(config.get("log", "level").level().to_string(), "warn");
    assert_eq!(*config.get("server", "cores").cores(), CoresSetting::Count(2));
    assert_eq!(config.get("server", "max_connections").number(), 1_000);
    assert_eq!(config.get("heartbeat", "interval").number(), 1_000);
    assert_eq!(config.get("auth", "allowed_origins").texts(), ["https://a=b", "https://c"]);
}

#[test]
fn classes_can_come_from_every_source() {
    let scratch =
        Scratch::new("[[rooms.class]]\npattern = \"a*\"\nhistory_size = 1\n[[rooms.class]]\npattern = \"*\"\n");
    let file = Sources { file: Some(scratch.path()), ..Sources::default() };
    let history = |config: &Config, room: &str| {
        plan(config, &machine()).expect("nothing to complain about").settings.room(room).history_size
    };
    let config = loaded(&file);
    assert_eq!((history(&config, "ab"), history(&config, "b")), (1, 1_000));
    let set = sets(&["rooms.class=[{pattern = \"a*\", history_size = 3}]"]);
    let config = loaded(&Sources { sets: set, ..file });
    assert_eq!((config.classes.len(), history(&config, "ab")), (1, 3));
    let config = loaded(&Sources {
        env: env(&[("ROOMRING_ROOMS__CLASS", "[{pattern = 'b', history_size = 4}]")]),
        ..Sources::default()
    });
    assert_eq!(history(&config, "b"), 4);
    assert_eq!(config.classes[0].origin.to_string(), "ROOMRING_ROOMS__CLASS");
}

#[test]
fn every_bad_source_is_named() {
    let (config, mistakes) = load(&Sources {
        file: Some(PathBuf::from("/nonexistent/x.toml")),
        env: env(&[
            ("ROOMRING_SERVER__CORES", "many"),
            ("ROOMRING_SERVER_CORES", "2"),
            ("ROOMRING_HEARTBEAT__INTERVALL", "2s"),
            ("ROOMRING_ROOMS__CLASS", "nonsense"),
            ("ROOMRING_AUTH__HMAC_SECRET", "a\u{7}secret"),
        ]),
        sets: sets(&["server.pin=maybe", "server.core=2", "cores=2", "nonsense", "heartbeat.timeout=1", "log.level"]),
        ..Sources::default()
    });
    assert_eq!(config.settings().filter(|(_, s)| s.origin != super::Origin::Default).count(), 0);
    let expected = [
        "the configuration file /nonexistent/x.toml cannot be read: No such file or directory (os error 2)",
        "ROOMRING_AUTH__HMAC_SECRET: auth.hmac_secret: the value holds a control character; it must be a text without \
         control characters",
        "ROOMRING_HEARTBEAT__INTERVALL: unknown variable; did you mean ROOMRING_HEARTBEAT__INTERVAL \
         (heartbeat.interval)?",
        "ROOMRING_ROOMS__CLASS: rooms.class: \"nonsense\" is invalid TOML (",
        "ROOMRING_SERVER_CORES: unknown variable; did you mean ROOMRING_SERVER__CORES (server.cores)?",
        "ROOMRING_SERVER__CORES: server.cores: \"many\" is not \"auto\", a number or a list of CPUs; it must be \
         \"auto\", a number of executors from 1 to 1024, or a list of CPUs such as \"0,2-5\"",
        "--set server.pin: \"maybe\" is not a boolean; it must be true or false",
        "--set server.core: unknown key; did you mean server.cores?",
        "--set cores: unknown key; did you mean server.cores?",
        "--set: expected SECTION.KEY=VALUE, such as server.cores=2; got \"nonsense\"",
        "--set heartbeat.timeout: \"1\" has no unit; it must be a duration such as \"250ms\", \"30s\" or \"2h\", from \
         100ms to 2h",
        "--set: expected SECTION.KEY=VALUE, such as server.cores=2; got \"log.level\"",
    ];
    let sentences = sentences(&mistakes, std::path::Path::new("/"));
    assert_eq!(sentences.len(), expected.len(), "{sentences:#?}");
    for (sentence, expected) in sentences.iter().zip(expected) {
        assert!(sentence.starts_with(expected), "{sentence}\nis not\n{expected}");
    }
}

#[test]
fn variables_that_kubernetes_makes_for_a_service_are_no_keys() {
    let config = loaded(&Sources {
        env: env(&[
            ("ROOMRING_SERVICE_HOST", "10.0.0.1"),
            ("ROOMRING_SERVICE_PORT", "8080"),
            ("ROOMRING_SERVICE_PORT_WS", "8080"),
            ("ROOMRING_PORT", "tcp://10.0.0.1:8080"),
            ("ROOMRING_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("ROOMRING_CONTROL_SERVICE_HOST", "10.0.0.2"),
            ("ROOMRING_CONTROL_SERVICE_PORT", "8081"),
            ("ROOMRING_CONTROL_PORT", "tcp://10.0.0.2:8081"),
            ("ROOMRING_CONTROL_PORT_8081_TCP", "tcp://10.0.0.2:8081"),
            ("ROOMRING_CONTROL_PORT_8081_TCP_PROTO", "tcp"),
        ]),
        ..Sources::default()
    });
    assert_eq!(config, Config::default());
    for (name, value, nearest) in [
        // A port that someone meant to set is not ignored.
        ("ROOMRING_PORT", "8080", "ROOMRING_"),
        ("ROOMRING_CONTROL_PORT", "8081", "ROOMRING_CONTROL__"),
        ("ROOMRING_SERVER__NODE_SERVICE_HOST", "a", "ROOMRING_SERVER__"),
        ("ROOMRING_CONTROL__PORT", "tcp://10.0.0.2:8081", "ROOMRING_CONTROL__"),
    ] {
        let (_, mistakes) = load(&Sources { env: env(&[(name, value)]), ..Sources::default() });
        let sentences = sentences(&mistakes, std::path::Path::new("/"));
        assert_eq!(sentences.len(), 1, "{name}");
        assert!(
            sentences[0].starts_with(&format!("{name}: unknown variable; did you mean {nearest}")),
            "{sentences:?}"
        );
    }
}

/// A value with blanks around it, as files, shells and secret stores leave them.
fn around(value: &str) -> [String; 4] {
    [format!("{value}\n"), format!("{value}\r\n"), format!(" {value}\t"), format!("\u{feff}{value} ")]
}

#[test]
fn blanks_around_a_word_do_not_count_whatever_its_kind() {
    for key in super::KEYS {
        // A value that differs from the default, but for keys that have one alone.
        let value = match key.path().as_str() {
            "server.listen" => "127.0.0.1:1,[::1]:2",
            "control.listen" => "[::1]:9",
            "server.cores" => "0,2-3",
            "server.trusted_proxies" => "[\"10.0.0.0/8\"]",
            "auth.hmac_secret" | "control.api_key" => "sesame",
            "auth.allowed_origins" => "https://a.example",
            "rooms.slow_policy" => "skip",
            "limits.message_rate" => "7/s",
            "heartbeat.interval" => "7s",
            "log.level" => "debug",
            _ => key.default,
        };
        let read = |sources: &Sources| loaded(sources).get(key.section, key.name).value.clone();
        let plain = read(&Sources { env: env(&[(&key.env_name(), value)]), ..Sources::default() });
        for padded in around(value) {
            let by_env = Sources { env: env(&[(&key.env_name(), &padded)]), ..Sources::default() };
            assert_eq!(read(&by_env), plain, "{} {padded:?}", key.env_name());
            let by_set = Sources { sets: vec![format!("{}={padded}", key.path())], ..Sources::default() };
            assert_eq!(read(&by_set), plain, "{} {padded:?}", key.path());
        }
    }
    for padded in around("[{pattern = \"a\"}]") {
        let config = loaded(&Sources { env: env(&[("ROOMRING_ROOMS__CLASS", &padded)]), ..Sources::default() });
        assert_eq!(config.classes.len(), 1, "{padded:?}");
    }
    // Quotes keep them.
    let quoted =
        loaded(&Sources { env: env(&[("ROOMRING_AUTH__HMAC_SECRET", "\" sesame \"\n")]), ..Sources::default() });
    assert_eq!(quoted.get("auth", "hmac_secret").text(), " sesame ");
}

#[test]
fn blanks_in_a_file_count_in_texts_alone() {
    let scratch = Scratch::new(
        "[auth]\nhmac_secret = \" sesame \"\n[heartbeat]\ninterval = \" 7s \"\n[limits]\nmessage_rate = \" 7/s\"\n\
         memory_budget = \"50% \"\noutbox_bytes = \" 2MiB\"\n[rooms]\nslow_policy = \"skip \"\n\
         [control]\nlisten = \" 127.0.0.1:9 \"\n",
    );
    let config = loaded(&Sources { file: Some(scratch.path()), ..Sources::default() });
    assert_eq!(config.get("auth", "hmac_secret").text(), " sesame ");
    assert_eq!(config.get("heartbeat", "interval").number(), 7_000);
    assert_eq!(config.get("limits", "message_rate").rate().map(|rate| rate.count.get()), Some(7));
    assert_eq!(config.get("limits", "outbox_bytes").number(), 2 << 20);
    assert_eq!(config.get("rooms", "slow_policy").text(), "skip");
    assert_eq!(config.get("control", "listen").addresses()[0].port(), 9);
}
