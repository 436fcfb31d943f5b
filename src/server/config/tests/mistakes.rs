//! Every kind of mistake names the place, the key, what is wrong and what would be right.

use super::super::keys::KEYS;
use super::super::load::{Sources, load};
use super::super::machine::HostMachine;
use super::{Config, Scratch, machine, mistakes_in, refused};

/// Asserts the only mistake of a file with one line in one section.
fn assert_mistake(section: &str, line: &str, sentence: &str) {
    let mistakes = mistakes_in(&format!("[{section}]\n{line}\n"));
    assert_eq!(mistakes, [format!("roomring.toml:2: {sentence}")], "{section} {line}");
}

#[test]
fn wrong_values_name_line_key_fault_and_remedy() {
    for (section, line, sentence) in [
        (
            "server",
            "cores = 0",
            "server.cores: 0 is out of range; it must be \"auto\", a number of executors from 1 to 1024, or a list of CPUs such as \"0,2-5\"",
        ),
        ("server", "pin = 1", "server.pin: 1 is a number; it must be true or false"),
        (
            "server",
            "max_connections = \"5\"",
            "server.max_connections: \"5\" is a string; it must be a whole number from 1 to 16000000",
        ),
        (
            "server",
            "max_connections = -5",
            "server.max_connections: -5 is out of range; it must be a whole number from 1 to 16000000",
        ),
        (
            "server",
            "max_connections = 1.5",
            "server.max_connections: 1.5 is a floating-point number; it must be a whole number from 1 to 16000000",
        ),
        (
            "server",
            "max_message_bytes = \"65MiB\"",
            "server.max_message_bytes: \"65MiB\" is out of range; it must be a size such as \"64KiB\", or a number of bytes, from 256 to 64MiB",
        ),
        (
            "server",
            "max_message_bytes = \"64KB\"",
            "server.max_message_bytes: \"64KB\" has the ambiguous unit \"KB\"; write KiB, MiB, GiB or TiB; it must be a size such as \"64KiB\", or a number of bytes, from 256 to 64MiB",
        ),
        (
            "server",
            "listen = []",
            "server.listen: the list is empty; it must be a list of different IP addresses and ports such as [\"127.0.0.1:8080\", \"[::1]:8080\"]",
        ),
        (
            "server",
            "listen = [\"localhost:1\"]",
            "server.listen: the list holds \"localhost:1\", which is not an IP address with a port; it must be a list of different IP addresses and ports such as [\"127.0.0.1:8080\", \"[::1]:8080\"]",
        ),
        (
            "server",
            "listen = [\"127.0.0.1:1\", \"127.0.0.1:1\"]",
            "server.listen: the list names 127.0.0.1:1 twice; it must be a list of different IP addresses and ports such as [\"127.0.0.1:8080\", \"[::1]:8080\"]",
        ),
        (
            "server",
            "echo_path = \"/ws\"",
            "server.echo_path: \"/ws\" is not valid; it must be a path such as \"/echo\" other than \"/ws\" and \"/health\", or \"\" for none",
        ),
        (
            "server",
            "node = \"a b\"",
            "server.node: \"a b\" is not valid; it must be \"auto\", or 1 to 64 letters, digits, '.', '_' and '-'",
        ),
        (
            "heartbeat",
            "interval = \"1\"",
            "heartbeat.interval: \"1\" has no unit; it must be a duration such as \"250ms\", \"30s\" or \"2h\", from 50ms to 1h",
        ),
        (
            "heartbeat",
            "interval = 25",
            "heartbeat.interval: 25 has no unit; it must be a duration such as \"250ms\", \"30s\" or \"2h\", from 50ms to 1h",
        ),
        (
            "heartbeat",
            "interval = \"0\"",
            "heartbeat.interval: \"0\" is out of range; it must be a duration such as \"250ms\", \"30s\" or \"2h\", from 50ms to 1h",
        ),
        (
            "heartbeat",
            "interval = \"1 week\"",
            "heartbeat.interval: \"1 week\" has an unknown unit; the units are ms, s, m, h, d; it must be a duration such as \"250ms\", \"30s\" or \"2h\", from 50ms to 1h",
        ),
        (
            "limits",
            "message_rate = \"fast\"",
            "limits.message_rate: \"fast\" is not a count per time; it must be a rate such as \"50/s\" or \"200/10s\", or \"0\" for no limit",
        ),
        (
            "limits",
            "memory_budget = \"120%\"",
            "limits.memory_budget: \"120%\" is out of range; it must be a percentage from \"1%\" to \"100%\", or a size such as \"2GiB\" of at least 16MiB",
        ),
        (
            "rooms",
            "slow_policy = \"wait\"",
            "rooms.slow_policy: \"wait\" is not one of the choices; it must be \"disconnect\", \"skip\" or \"latest\"",
        ),
        (
            "auth",
            "allowed_origins = [\"\"]",
            "auth.allowed_origins: the list holds \"\", which is not valid; it must be a list, each entry \"*\" or an origin such as \"https://*.example.com\", of at most 255 bytes",
        ),
        (
            "auth",
            "allowed_origins = [1]",
            "auth.allowed_origins: the list holds 1, which is a number; it must be a list, each entry \"*\" or an origin such as \"https://*.example.com\", of at most 255 bytes",
        ),
        (
            "auth",
            "allowed_origins = [\"https://app.example/\"]",
            "auth.allowed_origins: \"https://app.example/\" has \"/\" after the host, where an origin ends: write https://app.example",
        ),
        (
            "auth",
            "allowed_origins = [\"*\", \"https://app-*.example\"]",
            "auth.allowed_origins: \"https://app-*.example\" has a `*` inside the label \"app-*\"; `*` stands for one whole label, as in *.example.com",
        ),
        (
            "auth",
            "allowed_origins = [\"null\"]",
            "auth.allowed_origins: \"null\" is the origin of files, sandboxed frames and other pages without an origin; only \"*\" allows it",
        ),
        (
            "auth",
            "allowed_origins = [\"https://a.example https://b.example\"]",
            "auth.allowed_origins: \"https://a.example https://b.example\" contains a blank or a comma; write each origin as a separate string",
        ),
        (
            "server",
            "allowed_hosts = [\"chat.example:443\"]",
            "server.allowed_hosts: \"chat.example:443\" names a port, and ports are not compared: write chat.example",
        ),
        (
            "server",
            "forwarded_header = \"X-Real-IP\"",
            "server.forwarded_header: \"X-Real-IP\" is not one of the choices; it must be \"X-Forwarded-For\" or \"Forwarded\"",
        ),
        (
            "server",
            "trusted_proxies = [\"10.0.0.1/8\"]",
            "server.trusted_proxies: the list holds \"10.0.0.1/8\", which has bits set beyond its prefix; write \"10.0.0.0/8\" for the whole network; it must be a list, each entry a network such as \"10.0.0.0/8\" or an IP address",
        ),
        (
            "server",
            "proxy_protocol = true",
            "server.proxy_protocol: true needs server.trusted_proxies, which is empty; list the networks of the proxies that send the header",
        ),
        (
            "log",
            "level = \"loud\"",
            "log.level: \"loud\" is not a level; it must be a level (off, error, warn, info, debug, trace), also per target: \"info,roomring::io=debug\"",
        ),
        (
            "log",
            "level = \"info,roomring::io=loud\"",
            "log.level: \"info,roomring::io=loud\" holds \"loud\", which is not a level; it must be a level (off, error, warn, info, debug, trace), also per target: \"info,roomring::io=debug\"",
        ),
        (
            "trace",
            "otlp_endpoint = \"grpc://127.0.0.1:4317\"",
            "trace.otlp_endpoint: the value is not valid; it must be an http or https URL such as \"http://127.0.0.1:4318\", or \"\" for none",
        ),
        (
            "trace",
            "sample = \"2\"",
            "trace.sample: \"2\" is not between 0 and 1; it must be a fraction from 0 to 1 such as \"1/1000\" or \"0.001\"",
        ),
        (
            "control",
            "api_key = \"***\"",
            "control.api_key: holds the mask that print-config writes in place of a secret; write the secret itself",
        ),
        (
            "control",
            "api_key = \"two words\"",
            "control.api_key: the value is not valid; it must be a text of at most 256 visible ASCII characters, or \"\" for none",
        ),
        (
            "control",
            "api_key = 17",
            "control.api_key: the value is a number; it must be a text of at most 256 visible ASCII characters, or \"\" for none",
        ),
    ] {
        assert_mistake(section, line, sentence);
    }
}

#[test]
fn unknown_names_are_refused_with_the_nearest_known_one() {
    assert_mistake("server", "core = 2", "server.core: unknown key; did you mean server.cores?");
    assert_mistake("server", "interval = \"1s\"", "server.interval: unknown key; did you mean heartbeat.interval?");
    assert_eq!(mistakes_in("listen = 1"), ["roomring.toml:1: listen: unknown key; did you mean server.listen?"]);
    assert_eq!(
        mistakes_in("\n[sever]\ncores = 2"),
        ["roomring.toml:2: unknown section [sever]; did you mean [server]?"]
    );
    assert_eq!(
        mistakes_in("server = 1"),
        ["roomring.toml:1: server: this is a section, not a key; write [server] with its keys below it"]
    );
}

#[test]
fn broken_files_are_refused_by_line() {
    for (text, sentence) in [
        ("[server]\ncores = 2\ncores = 3\n", "3: invalid TOML: duplicate key \"cores\"; write it once"),
        ("[server]\n[log]\n[server]\n", "3: invalid TOML: duplicate key \"server\"; write it once"),
        (
            "[auth]\nhmac_secret = 'a'\n\"hmac_secret\" = 'hunter2'",
            "3: invalid TOML: duplicate key \"hmac_secret\"; write it once",
        ),
        (
            "[[rooms.class]]\npattern = 'a'\npattern = 'b'\n",
            "3: invalid TOML: duplicate key \"pattern\"; write it once",
        ),
        ("[server]\ncores\n", "2: invalid TOML: key with no value, expected `=`; got \"cores\""),
        (
            "[server]\nnode = web 1\n",
            "2: invalid TOML: string values must be quoted, expected literal string; got \"node = web 1\"",
        ),
        (
            "[auth]\nhmac_secret = hunter2\n",
            "2: invalid TOML: string values must be quoted, expected literal string; got \"hmac_secret\"…",
        ),
        ("[server\ncores = ", "1: invalid TOML: unclosed table, expected `]`; got \"[server\""),
    ] {
        assert_eq!(mistakes_in(text)[0], format!("roomring.toml:{sentence}"), "{text}");
    }
    let scratch = Scratch::new("");
    std::fs::write(scratch.path(), b"\xff").expect("writable");
    let (_, mistakes) = load(&Sources { file: Some(scratch.path()), ..Sources::default() });
    assert!(mistakes[0].to_string().ends_with("roomring.toml is not UTF-8"), "{mistakes:?}");
}

#[test]
fn a_value_whose_part_is_missing_is_refused_by_one_sentence() {
    for (section, line, sentence) in [
        (
            "rooms",
            "inboxes = true",
            "rooms.inboxes: true needs inboxes, which this version does not have yet; it must be false",
        ),
        (
            "store",
            "kind = \"postgres\"",
            "store.kind: \"postgres\" needs database storage, which this version does not have yet; it must be \"memory\" or \"embedded\"",
        ),
        (
            "store",
            "url = \"postgres://localhost/roomring\"",
            "store.url: a value needs database storage, which this version does not have yet; it must be \"\"",
        ),
        (
            "link",
            "kind = \"redis\"",
            "link.kind: \"redis\" needs the link between machines, which this version does not have yet; it must be \"none\"",
        ),
    ] {
        assert_mistake(section, line, sentence);
    }
}

#[test]
fn every_key_that_needs_a_missing_part_takes_its_default_when_written_out() {
    for key in KEYS.iter().filter(|key| key.lacks.is_some()) {
        let default = key.kind.render(&key.default_value());
        assert_eq!(mistakes_in(&format!("[{}]\n{} = {default}\n", key.section, key.name)), [""; 0], "{}", key.path());
    }
}

#[test]
fn values_that_do_not_fit_together_are_refused() {
    for (text, sentence) in [
        (
            "[heartbeat]\ninterval = \"60s\"",
            "roomring.toml:2: heartbeat.timeout: \"60s\" is not longer than heartbeat.interval, \"60s\"; it must be longer, or connections time out before they are pinged",
        ),
        (
            "[rooms]\nhistory_on_join = 301",
            "roomring.toml:2: rooms.history_on_join: 301 is more than history_on_join_max, 300; it must be at most that",
        ),
        (
            "[[rooms.class]]\npattern = \"a\"\nhistory_on_join_max = 49",
            "roomring.toml:3: rooms.class.history_on_join: 50 is more than history_on_join_max, 49; it must be at most that",
        ),
        (
            "[server]\nmax_connections = 5\nwarm_connections = 6",
            "roomring.toml:3: server.warm_connections: 6 is more than server.max_connections, 5; it must be at most that",
        ),
        (
            "[server]\ncores = 5",
            "roomring.toml:2: server.cores: 5 executors are more than the 4 CPUs that this process may use; it must be at most 4, or server.pin must be false",
        ),
        (
            "[server]\ncores = \"3-4\"",
            "roomring.toml:2: server.cores: CPU 4 is not one that this process may use; it must be among \"0-3\"",
        ),
        (
            "[server]\ncores = \"0-1\"\npin = false",
            "roomring.toml:2: server.cores: a list of CPUs needs server.pin = true; with false it must be a number of executors",
        ),
        (
            "[limits]\nmemory_budget = \"9GiB\"",
            "roomring.toml:2: limits.memory_budget: 9GiB is more than the 8192 MiB that this process may use; it must be at most that",
        ),
        (
            "[server]\nlisten = [\"0.0.0.0:1\"]",
            "roomring.toml:2: auth.mode: anyone could connect to 0.0.0.0:1, which is not a loopback address; set auth.mode = \"jwt\" or \"accounts\", or write auth.mode = \"open\" to allow that",
        ),
        (
            "[auth]\nmode = \"accounts\"\nhmac_secret = \"hunter2\"",
            "roomring.toml:3: auth.hmac_secret: cannot be combined with auth.mode = \"accounts\", whose tokens are signed with a key that the store keeps; remove it, or set auth.mode = \"jwt\"",
        ),
        (
            "[server]\nlisten = [\"127.0.0.1:8081\"]",
            "roomring.toml:2: control.listen: 127.0.0.1:8081 is also in server.listen; use another address or port",
        ),
        (
            "[control]\nlisten = \"0.0.0.0:1\"",
            "roomring.toml:2: control.listen: 0.0.0.0:1 is not a loopback address and control.api_key is empty: anyone who reaches it could use the API; set control.api_key, or listen on a loopback address such as 127.0.0.1:1",
        ),
    ] {
        assert_eq!(mistakes_in(text), [sentence], "{text}");
    }
    assert_eq!(mistakes_in("[server]\nlisten = [\"0.0.0.0:1\"]\n[auth]\nmode = \"open\""), [""; 0]);
    assert_eq!(mistakes_in("[control]\nlisten = \"0.0.0.0:1\"\napi_key = \"sesame\""), [""; 0]);
    assert_eq!(mistakes_in("[server]\nlisten = [\"[::1]:1\", \"127.9.9.9:1\"]"), [""; 0]);
}

#[test]
fn addresses_that_nobody_can_connect_to_are_refused_with_the_reason() {
    for (address, why) in [
        ("[::ffff:127.0.0.1]:8080", "is an IPv4 address in the form of IPv6; write \"127.0.0.1:8080\""),
        ("[::ffff:0.0.0.0]:0", "is an IPv4 address in the form of IPv6; write \"0.0.0.0:0\""),
        ("224.0.0.1:8080", "is a multicast address"),
        ("[ff02::1]:8080", "is a multicast address"),
        ("255.255.255.255:8080", "is the broadcast address"),
        ("[fe80::1]:8080", "is a link-local address without its interface; write it as in \"[fe80::1%2]:8080\""),
        ("localhost:8080", "is not an IP address with a port"),
        ("127.0.0.1", "is not an IP address with a port"),
    ] {
        let listen = mistakes_in(&format!("[server]\nlisten = [\"127.0.0.1:1\", \"{address}\"]"));
        assert_eq!(listen.len(), 1, "{listen:?}");
        let beginning =
            format!("roomring.toml:2: server.listen: the list holds \"{address}\", which {why}; it must be");
        assert!(listen[0].starts_with(&beginning), "{listen:?}\n{beginning}");
        let control = mistakes_in(&format!("[control]\nlisten = \"{address}\""));
        assert_eq!(control.len(), 1, "{control:?}");
        let beginning = format!("roomring.toml:2: control.listen: \"{address}\" {why}; it must be");
        assert!(control[0].starts_with(&beginning), "{control:?}\n{beginning}");
    }
    assert_eq!(mistakes_in("[auth]\nmode = \"open\"\n[server]\nlisten = [\"[fe80::1%2]:8080\"]"), [""; 0]);
}

#[test]
fn addresses_that_take_each_others_port_are_refused() {
    let mistakes = |listen: &str, control: &str| {
        let text = format!("[auth]\nmode = \"open\"\n[server]\nlisten = [{listen}]\n[control]\nlisten = \"{control}\"");
        mistakes_in(&text)
            .iter()
            .map(|sentence| sentence.split_once(": ").expect("a place").1.to_owned())
            .collect::<Vec<_>>()
    };
    let own = "127.0.0.1:9";
    for listen in ["\"0.0.0.0:1\", \"[::]:1\"", "\"127.0.0.1:1\", \"[::]:1\"", "\"0.0.0.0:0\", \"127.0.0.1:0\""] {
        assert_eq!(mistakes(listen, own), [""; 0], "{listen}");
    }
    for (listen, sentence) in [
        ("\"0.0.0.0:1\", \"127.0.0.1:1\"", "127.0.0.1:1 overlaps 0.0.0.0:1; list only one of them"),
        ("\"[::1]:1\", \"127.0.0.1:1\", \"[::]:1\"", "[::]:1 overlaps [::1]:1; list only one of them"),
    ] {
        assert_eq!(mistakes(listen, own), [format!("server.listen: {sentence}")], "{listen}");
    }
    for (listen, control) in [("0.0.0.0:9", own), ("[::]:9", own), ("[::]:9", "[::1]:9")] {
        let sentence =
            format!("control.listen: {control} is covered by {listen} in server.listen; use another address or port");
        assert_eq!(mistakes(&format!("\"{listen}\""), control), [sentence], "{listen}");
    }
}

#[test]
fn a_queue_holds_two_of_the_largest_messages() {
    let sentence =
        "limits.outbox_bytes: 131071 is less than twice server.max_message_bytes, 64KiB; it must be at least 128KiB";
    assert_eq!(mistakes_in("[limits]\noutbox_bytes = 131_071"), [format!("roomring.toml:2: {sentence}")]);
    assert_eq!(mistakes_in("[limits]\noutbox_bytes = \"128KiB\""), [""; 0]);
    let sentence =
        "limits.outbox_bytes: 1MiB is less than twice server.max_message_bytes, 1MiB; it must be at least 2MiB";
    assert_eq!(mistakes_in("[server]\nmax_message_bytes = \"1MiB\""), [format!("roomring.toml:2: {sentence}")]);
}

#[test]
fn bad_classes_are_refused() {
    let mistakes = mistakes_in(
        "[[rooms.class]]\nhistory_size = 1\n[[rooms.class]]\npattern = \"a\"\nhistory_sise = 1\nsession_ttl = \"1m\"\n\
         pattern_ = 1\nroom_message_rate = \"5/s\"\nhistory_size = -1\n[[rooms.class]]\npattern = \"a\"\n\
         [[rooms.class]]\npattern = \"\"\n",
    );
    let expected = [
        "roomring.toml:1: rooms.class: the class has no pattern; add one, such as pattern = \"news:*\"",
        "roomring.toml:5: rooms.class.history_sise: unknown key in a class; did you mean history_size?",
        "roomring.toml:6: rooms.class.session_ttl: a class of rooms cannot set this key; set rooms.session_ttl for all rooms",
        "roomring.toml:7: rooms.class.pattern_: unknown key in a class; did you mean pattern?",
        "roomring.toml:9: rooms.class.history_size: -1 is out of range; it must be a whole number from 0 to 1000000",
        "roomring.toml:11: rooms.class.pattern: \"a\" is already the pattern of the class at roomring.toml:4; write one class for it",
        "roomring.toml:13: rooms.class.pattern: \"\" is not valid; it must be 1 to 256 bytes without control characters, such as \"news:*\"",
    ];
    assert_eq!(mistakes, expected);
    assert_eq!(
        mistakes_in("[rooms]\nclass = 3"),
        [
            "roomring.toml:2: rooms.class: 3 is not a list; it must be a list of tables such as [[rooms.class]] or [{pattern = \"news:*\"}]"
        ]
    );
}

#[test]
fn missing_certificates_are_found_and_all_mistakes_come_at_once() {
    let mistakes = mistakes_in(
        "[server]\ncores = \"all\"\nlisten = [\"0.0.0.0:1\"]\n[tls]\ncertificate = \"/nonexistent/c.pem\"\n[logs]\n\
         [heartbeat]\ntimeout = \"1s\"\n",
    );
    let beginnings = [
        "roomring.toml:2: server.cores: \"all\" is not",
        "roomring.toml:6: unknown section [logs]",
        "roomring.toml:5: tls.certificate: \"/nonexistent/c.pem\" cannot be read: No such file",
        "roomring.toml:5: tls.key: is empty; TLS needs both",
        "roomring.toml:3: auth.mode: anyone could connect to 0.0.0.0:1",
        "roomring.toml:8: heartbeat.timeout: \"1s\" is not longer than heartbeat.interval, \"25s\"",
    ];
    assert_eq!(mistakes.len(), beginnings.len(), "{mistakes:#?}");
    for (mistake, beginning) in mistakes.iter().zip(beginnings) {
        assert!(mistake.starts_with(beginning), "{mistake}\ndoes not begin with\n{beginning}");
    }
}

#[test]
fn tokens_need_a_key_and_keys_need_to_be_readable() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("writable");
        path.display().to_string()
    };
    let jwt = "[auth]\nmode = \"jwt\"\n";
    assert_eq!(
        mistakes_in(jwt),
        [
            "roomring.toml:2: auth.mode: \"jwt\" needs a key to verify tokens with; set auth.hmac_secret, auth.public_key_file or auth.jwks"
        ]
    );
    for more in ["hmac_secret = \"secret\"", "jwks = \"https://idp.example/keys\"", "jwks = \"http://127.0.0.1:1/k\""] {
        assert_eq!(mistakes_in(&format!("{jwt}{more}\n")), [""; 0], "{more}");
        assert_eq!(mistakes_in(&format!("[auth]\n{more}\n")), [""; 0], "keys without tokens harm nobody: {more}");
    }
    let (text, empty) = (file("text.pem", "no key"), file("empty.json", "{}"));
    let large = file("large.json", &" ".repeat(300 * 1024));
    let missing = directory.path().join("missing").display().to_string();
    for (name, path, words) in [
        ("public_key_file", &text, "holds no PEM block"),
        ("public_key_file", &missing, "cannot be read: No such file"),
        ("public_key_file", &directory.path().display().to_string(), "is a directory, not a file"),
        ("jwks", &empty, "is not a JSON Web Key Set"),
        ("jwks", &file("marked.json", "\u{feff}{\"keys\": []}"), "holds no public key"),
        ("jwks", &large, "is larger than 256 KiB"),
        ("jwks", &missing, "cannot be read: No such file"),
    ] {
        let mistakes = mistakes_in(&format!("{jwt}{name} = \"{path}\"\n"));
        assert_eq!(mistakes.len(), 1, "{mistakes:#?}");
        let beginning = format!("roomring.toml:3: auth.{name}: {path:?} {words}");
        assert!(mistakes[0].starts_with(&beginning), "{}\ndoes not begin with\n{beginning}", mistakes[0]);
    }
    let key = rcgen::KeyPair::generate().expect("a key");
    let marked = file("marked.pem", &format!("\u{feff}{}", key.public_key_pem()));
    assert_eq!(mistakes_in(&format!("{jwt}public_key_file = \"{marked}\"\n")), [""; 0]);
    let both = mistakes_in(&format!("{jwt}public_key_file = \"{text}\"\njwks = \"{empty}\"\nleeway = \"1h\"\n"));
    assert_eq!(both.len(), 3, "all at once: {both:#?}");
    let scheme = mistakes_in(&format!("{jwt}jwks = \"ftp://idp.example/keys\"\n"));
    assert!(
        scheme[0].starts_with("roomring.toml:3: auth.jwks: the value is not valid; it must be the path of a file"),
        "{scheme:?}"
    );
}

#[test]
fn files_that_are_no_certificate_and_no_key_are_found() {
    let mistakes = mistakes_in("[tls]\ncertificate = \"/dev/null/c\"\nkey = \"/proc/self/status\"\n");
    let beginnings = [
        "roomring.toml:2: tls.certificate: \"/dev/null/c\" cannot be read: Not a directory",
        "roomring.toml:3: tls.key: \"/proc/self/status\" holds no private key; it must be a PEM file",
    ];
    assert_eq!(mistakes.len(), beginnings.len(), "{mistakes:#?}");
    for (mistake, beginning) in mistakes.iter().zip(beginnings) {
        assert!(mistake.starts_with(beginning), "{mistake}\ndoes not begin with\n{beginning}");
    }
}

#[test]
fn a_window_remembers_so_many() {
    assert_eq!(
        mistakes_in("[limits]\nmessage_rate_per_user = \"1000001/h\"\n"),
        [
            "roomring.toml:2: limits.message_rate_per_user: \"1000001/1h\" counts more than 1000000 publishes; it must count at most that"
        ]
    );
    assert_eq!(mistakes_in("[limits]\nmessage_rate_per_user = \"1000000/h\"\n"), [""; 0]);
}

#[test]
fn a_small_machine_is_no_mistake_by_default() {
    let small = HostMachine { cpus: vec![7], parallelism: 1, memory_bytes: 64 << 20, host: None };
    assert_eq!(refused(&Config::default(), &small), []);
    assert_eq!(refused(&Config::default(), &machine()), []);
}
