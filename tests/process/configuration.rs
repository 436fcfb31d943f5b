//! Where configuration comes from and what is said about it (OPERATIONS, "Configuration").

use std::path::PathBuf;

use crate::client::Client;
use crate::command_line::{assert_failed, run};
use crate::server::{Server, finish, program, scratch};

/// A configuration file of its own for each test.
fn file(name: &str, text: &str) -> PathBuf {
    let path = scratch("configuration").join(name);
    std::fs::write(&path, text).expect("the build's folder for tests can be written");
    path
}

fn text_of(path: &std::path::Path) -> &str {
    path.to_str().expect("the build's folder has a plain name")
}

#[test]
fn later_sources_win() {
    let file = file(
        "layers.toml",
        "[server]\nnode = \"from-file\"\nmax_message_bytes = \"8KiB\"\n[heartbeat]\ninterval = \"7s\"\n",
    );
    let mut command = program();
    command.arg("--config").arg(&file);
    command.env("ROOMRING_SERVER__NODE", "from-environment").env("ROOMRING_HEARTBEAT__INTERVAL", "8s");
    command.args(["--set", "heartbeat.interval=9s", "--set", "server.cores=1", "--set", "server.pin=false"]);
    let server = Server::spawn(command);
    let welcome = Client::connect(&server, "alice").welcome;
    assert_eq!(welcome["max_message_bytes"], 8192, "from the file: {welcome}");
    assert_eq!(welcome["node"], "from-environment", "over the file: {welcome}");
    assert_eq!(welcome["heartbeat_ms"], 9000, "over the environment: {welcome}");
}

#[test]
fn a_file_in_the_working_directory_is_found() {
    let folder = scratch("working");
    std::fs::write(folder.join("roomring.toml"), "[server]\nnode = \"here\"\n").expect("it can be written");
    let mut command = program();
    command.current_dir(&folder).arg("print-config");
    let printed = finish(command);
    assert_eq!(printed.code, 0, "{printed:?}");
    let line = printed.stdout.lines().find(|line| line.starts_with("node = ")).expect("the key is printed");
    assert!(line.contains(r#""here""#) && line.contains("roomring.toml:2"), "{line}");
}

#[test]
fn print_config_prints_every_key_with_its_origin_and_reads_back() {
    let file =
        file("print.toml", "[rooms]\nhistory_size = 5\n\n[[rooms.class]]\npattern = \"news:*\"\nhistory_size = 6\n");
    let mut command = program();
    command.args(["print-config", "--config"]).arg(&file).env("ROOMRING_LOG__LEVEL", "warn");
    let printed = finish(command);
    assert_eq!((printed.code, printed.stderr.as_str()), (0, ""), "{printed:?}");
    let line = |start: &str| {
        let found = printed.stdout.lines().find(|line| line.starts_with(start));
        found.unwrap_or_else(|| panic!("{start} is printed: {printed:?}"))
    };
    assert!(line("history_size = 5").ends_with(&format!("# {}:2", text_of(&file))), "{}", printed.stdout);
    assert!(line("level = \"warn\"").contains("ROOMRING_LOG__LEVEL"), "{}", printed.stdout);
    assert!(line("max_message_bytes = ").ends_with("# default"), "{}", printed.stdout);
    for section in ["server", "control", "auth", "rooms", "limits", "heartbeat", "compression", "store", "link", "log"]
    {
        line(&format!("[{section}]"));
    }
    let again = self::file("again.toml", &printed.stdout);
    let second = run(&["print-config", "--config", text_of(&again)]);
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split("  # ").next().expect("a first part").to_owned()).collect()
    };
    assert_eq!(values(&second.stdout), values(&printed.stdout), "what is printed is a configuration");
}

#[test]
fn check_config_reports_every_mistake_with_its_place() {
    let good = file("good.toml", "[server]\ncores = 1\n");
    assert_eq!(run(&["check-config", "--config", text_of(&good)]).code, 0);
    let text = "[server]\ncoers = 2\nmax_message_bytes = \"1TiB\"\n\n[heartbeat]\ninterval = \"x\"\n\n[tls]\n\
                certificate = \"/no/such.crt\"\n";
    let bad = file("bad.toml", text);
    let finished = run(&["check-config", "--config", text_of(&bad)]);
    assert_eq!(finished.code, 2, "{finished:?}");
    let said = format!("{}{}", finished.stdout, finished.stderr);
    for (line, key) in
        [(2, "server.coers"), (3, "server.max_message_bytes"), (6, "heartbeat.interval"), (9, "tls.certificate")]
    {
        let place = format!("{}:{line}", text_of(&bad));
        let found = said.lines().any(|said| said.contains(&place) && said.contains(key));
        assert!(found, "{place} {key}: {said}");
    }
    assert!(said.contains("server.cores") && said.contains("/no/such.crt"), "{said}");
}

#[test]
fn a_file_that_is_not_toml_names_the_line() {
    let broken = file("broken.toml", "[server]\ncores = \n");
    let finished = run(&["--config", text_of(&broken)]);
    assert_failed(&finished, 2, &[text_of(&broken), "2"]);
}
