//! Where configuration comes from and what is said about it (OPERATIONS, "Configuration").

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::client::Client;
use crate::command_line::{assert_failed, run};
use crate::http;
use crate::server::{Server, clean, eventually, finish, program, scratch};

/// A configuration file of its own for each test.
fn file(name: &str, text: &str) -> PathBuf {
    let path = scratch("configuration").join(name);
    std::fs::write(&path, text).expect("the build's folder for tests can be written");
    path
}

fn text_of(path: &Path) -> &str {
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

/// Puts something else in a file's place.
type Make = fn(&Path);

/// Every command that reads a configuration.
const COMMANDS: &[&[&str]] = &[
    &[],
    &["serve"],
    &["check-config"],
    &["print-config"],
    &["doctor"],
    &["token", "--user", "ann"],
    &["rooms"],
    &["drain"],
];

#[test]
fn a_file_that_cannot_be_read_is_not_passed_over_by_any_command() {
    let folder = scratch("unreadable");
    let file = folder.join("roomring.toml");
    let clear = || {
        let _ = std::fs::remove_file(&file).or_else(|_| std::fs::remove_dir(&file));
    };
    let make: [(Make, &str); 4] = [
        (|file| symlink(file, file).expect("a link can be made"), "Too many levels of symbolic links"),
        (|file| symlink("nothing", file).expect("a link can be made"), "No such file or directory"),
        (|file| std::fs::create_dir(file).expect("it can be made"), "is a directory"),
        (make_pipe, "is a pipe"),
    ];
    for (make, why) in make {
        clear();
        make(&file);
        for arguments in COMMANDS {
            let mut command = program();
            command.current_dir(&folder).args(*arguments);
            assert_failed(&finish(command), 2, &["roomring.toml", why]);
        }
        assert_failed(&run(&["check-config", "--config", text_of(&file)]), 2, &[text_of(&file), why]);
    }
    clear();
    let below = self::file("plain.toml", "").join("roomring.toml");
    assert_failed(&run(&["--config", text_of(&below)]), 2, &[text_of(&below), "Not a directory"]);
}

fn make_pipe(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.expect("mkfifo can be started").success(), "{path:?}");
}

#[test]
fn a_folder_without_permission_does_not_hide_a_file() {
    let folder = scratch("forbidden");
    let allow = |mode| std::fs::set_permissions(&folder, PermissionsExt::from_mode(mode)).expect("it is this user's");
    allow(0o700);
    std::fs::write(folder.join("roomring.toml"), "[auth]\nmode = \"jwt\"\n").expect("it can be written");
    let is_root = std::fs::metadata("/proc/self").expect("there is a /proc").uid() == 0;
    // Root reads everything by capabilities, which the program is not given.
    let prefix = if is_root { "setpriv --bounding-set=-dac_override,-dac_read_search" } else { "" };
    let script = format!("cd \"$1\" && chmod 0 . && shift && exec {prefix} \"$@\"");
    for arguments in COMMANDS {
        let mut command = Command::new("sh");
        clean(&mut command);
        command.args(["-c", &script, "sh"]).arg(&folder).arg(env!("CARGO_BIN_EXE_roomring")).args(*arguments);
        let finished = finish(command);
        allow(0o700);
        assert_failed(&finished, 2, &["roomring.toml", "cannot be accessed", "Permission denied", "--config"]);
    }
}

/// A server with an API key from a file, to which the file can then be anything.
struct Reloaded {
    server: Server,
    file: PathBuf,
}

impl Reloaded {
    fn start(name: &str) -> Self {
        let file = self::file(name, Self::TEXT);
        let mut command = program();
        command.arg("--config").arg(&file).args(["--set", "server.cores=1", "--set", "server.pin=false"]);
        Self { server: Server::spawn(command), file }
    }

    const TEXT: &str = "[control]\napi_key = \"sesame\"\n";

    /// Sends SIGHUP and gives the log's next line with this word.
    fn hang_up(&self, word: &str) -> String {
        let lines = || -> Vec<String> {
            self.server.stderr.get().lines().filter(|line| line.contains(word)).map(str::to_owned).collect()
        };
        let before = lines().len();
        self.server.signal("HUP");
        eventually(word, || lines().get(before).cloned())
    }

    fn assert_guarded(&self) {
        assert_eq!(http::get(self.server.control, "/api/rooms").status, 401);
        let answer = http::send(self.server.control, "GET", "/api/rooms", "X-API-Key: sesame\r\n", b"");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[test]
fn a_file_that_went_away_or_was_emptied_changes_nothing_on_a_hang_up() {
    let reloaded = Reloaded::start("gone.toml");
    let file = &reloaded.file;
    reloaded.assert_guarded();
    let remove = || std::fs::remove_file(file).expect("it is there");
    let assert_kept = |why: &str| {
        let line = reloaded.hang_up("keeping the previous configuration");
        assert!(line.contains(text_of(file)) && line.contains(why), "{line}");
        reloaded.assert_guarded();
    };
    std::fs::write(file, "").expect("it can be written");
    assert_kept("is empty");
    std::fs::write(file, " \n\n").expect("it can be written");
    assert_kept("is empty");
    remove();
    assert_kept("No such file");
    symlink(file, file).expect("a link can be made");
    assert_kept("Too many levels");
    remove();
    make_pipe(file);
    assert_kept("is a pipe");
    remove();
    std::fs::write(file, format!("{}api_rate = \"7/s\"\n", Reloaded::TEXT)).expect("it can be written");
    let line = reloaded.hang_up("configuration reloaded");
    assert!(line.contains("control.api_rate") && !line.contains("control.api_key"), "{line}");
    reloaded.assert_guarded();
}

#[test]
fn a_file_that_appears_is_read_on_a_hang_up() {
    let folder = scratch("appears");
    let file = folder.join("roomring.toml");
    let _ = std::fs::remove_file(&file);
    let mut command = program();
    command.current_dir(&folder).args(["--set", "server.cores=1", "--set", "server.pin=false"]);
    let reloaded = Reloaded { server: Server::spawn(command), file };
    std::fs::write(&reloaded.file, Reloaded::TEXT).expect("it can be written");
    let line = reloaded.hang_up("configuration reloaded");
    assert!(line.contains("roomring.toml") && line.contains("control.api_key"), "{line}");
    reloaded.assert_guarded();
}

#[test]
fn a_pipe_in_the_place_of_a_file_hangs_nothing() {
    let folder = scratch("pipes");
    let pipe = folder.join("pipe");
    let _ = std::fs::remove_file(&pipe);
    make_pipe(&pipe);
    let keys = ["tls.certificate", "tls.key", "auth.public_key_file", "auth.jwks"];
    for key in keys {
        let setting = format!("{key}={}", text_of(&pipe));
        for command in [&["check-config"][..], &["serve"], &["doctor"]] {
            let finished = run(&[command, &["--set", &setting]].concat());
            assert_failed(&finished, 2, &[key, text_of(&pipe), "is a pipe"]);
        }
    }
    let reloaded = Reloaded::start("pipe.toml");
    for key in keys {
        let (section, name) = key.split_once('.').expect("a section and a name");
        let table = format!("{}[{section}]\n{name} = {:?}\n", Reloaded::TEXT, text_of(&pipe));
        std::fs::write(&reloaded.file, table).expect("it can be written");
        let line = reloaded.hang_up(&format!("{key}: "));
        assert!(line.contains("is a pipe") && line.contains("keeping the previous configuration"), "{line}");
        // The thread that reads files answers here too.
        reloaded.assert_guarded();
    }
}

#[test]
fn variables_of_kubernetes_services_keep_no_command_from_starting() {
    let mut command = program();
    command.arg("check-config");
    for (name, value) in [
        ("ROOMRING_SERVICE_HOST", "10.0.0.1"),
        ("ROOMRING_CONTROL_SERVICE_HOST", "10.0.0.2"),
        ("ROOMRING_CONTROL_SERVICE_PORT_API", "8081"),
        ("ROOMRING_CONTROL_PORT", "tcp://10.0.0.2:8081"),
        ("ROOMRING_CONTROL_PORT_8081_TCP", "tcp://10.0.0.2:8081"),
        ("ROOMRING_LOG__LEVEL", "debug\n"),
    ] {
        command.env(name, value);
    }
    let finished = finish(command);
    assert_eq!((finished.code, finished.stderr.as_str()), (0, ""), "{finished:?}");
}

#[test]
fn a_byte_order_mark_before_the_configuration_is_taken() {
    let file = file("mark.toml", "\u{feff}[server]\nnode = \"marked\"\n");
    let printed = run(&["print-config", "--config", text_of(&file)]);
    assert_eq!((printed.code, printed.stderr.as_str()), (0, ""), "{printed:?}");
    assert!(printed.stdout.contains("node = \"marked\""), "{printed:?}");
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
