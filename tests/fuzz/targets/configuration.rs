//! Configurations: any file, variable or `--set` is accepted, or each mistake is reported in one line.

use roomring::server::config::load::{Sources, load};
use roomring::server::config::lower::plan;
use roomring::server::config::machine::HostMachine;
use roomring::server::config::print;

/// Parts of configurations.
pub const WORDS: &[&[u8]] = &[
    b"[server]\n",
    b"[limits]\n",
    b"[[rooms.class]]\n",
    b"pattern = \"a*\"\n",
    b"listen = [\"[::]:0\", \"127.0.0.1:1\"]\n",
    b"memory_budget = \"60%\"\n",
    b"= \"18446744073709551615GiB\"",
    b"= \"10/0s\"",
    b"= inf",
    b"= 1979-05-27",
    b"\"\"\"",
    b"\"a.b\".c",
    b"= -1",
    b"***",
    b"0x",
];

pub fn run(input: &[u8]) {
    let file = std::env::temp_dir().join(format!("roomring-fuzz-{}.toml", std::process::id()));
    std::fs::write(&file, input).expect("there is room for a scratch file");
    // Lines of the same text as settings of a command line, and the first as a variable's value.
    let lines = String::from_utf8_lossy(input);
    let mut lines = lines.lines().filter(|line| !line.contains('\0'));
    let env = vec![("ROOMRING_LIMITS__MESSAGE_RATE".into(), lines.next().unwrap_or_default().into())];
    let sets = lines.take(4).map(str::to_owned).collect();
    let (config, mut mistakes) = load(&Sources { file: Some(file.clone()), candidates: Vec::new(), env, sets });
    let machine = HostMachine { cpus: vec![0, 1], parallelism: 2, memory_bytes: 8 << 30, host: None };
    match plan(&config, &machine) {
        Ok(plan) => assert!(!plan.cpus.is_empty() && plan.settings.memory_budget_bytes > 0),
        Err(more) => {
            assert!(!more.is_empty(), "what is refused is told");
            mistakes.extend(more);
        }
    }
    for mistake in mistakes {
        let told = mistake.to_string();
        assert!(!told.contains('\n') && !told.contains('\r'), "one line: {told:?}");
    }
    let _ = print::render(&config);
    let _ = std::fs::remove_file(file);
}

pub fn seeds() -> Vec<Vec<u8>> {
    let files = [
        "[server]\ncores = 2\nlisten = \"127.0.0.1:0\"\nmax_connections = 1000\n[auth]\nmode = \"open\"\n",
        "[limits]\nmessage_rate = \"50/s\"\nmemory_budget = \"60%\"\noutbox_bytes = \"1MiB\"\n\
         [heartbeat]\ninterval = \"25s\"\ntimeout = \"1m\"\n",
        "[rooms]\nhistory_size = 100\nslow_policy = \"skip\"\n[[rooms.class]]\npattern = \"news:*\"\n\
         presence = false\nhistory_on_join = 9\n[[rooms.class]]\npattern = 1\n",
        "server.cores = \"auto\"\nserver.cores=2\nrooms.class=[{pattern=\"a\"}]\ncompression.enabled=true\n",
        "[tls]\ncertificate = \"/nowhere\"\nkey = \"\"\n[unknown]\na = {b = [1, 2.5, 1979-05-27]}\n",
        "50/s\nlimits.connect_rate=100/m\nauth.hmac_secret=***\nlog.level=debug,io=trace\n",
        "[server\n",
    ];
    files.iter().map(|file| file.as_bytes().to_vec()).collect()
}
