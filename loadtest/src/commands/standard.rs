//! What the command lines of the suite and of `edge` have in common.

/// Options that `FAST` stands for.
const FAST: &str = "--connections 1000 --room-size 100 --settle 500ms --warmup 1s --duration 4s";

/// The words of a command line, with `FAST` for the options that most share; with `quick`, one that is over soon.
pub fn words(line: &str, quick: bool) -> Vec<String> {
    let all = line.replace("FAST", FAST);
    let mut words: Vec<String> = all.split_whitespace().map(str::to_owned).collect();
    if quick {
        shorten(&mut words);
    }
    words
}

/// Makes a command line one that is over soon: with less time, and fewer idle connections.
fn shorten(words: &mut [String]) {
    for at in 1..words.len() {
        let shorter = match (words[at - 1].as_str(), words[at].as_str()) {
            ("--duration", _) => "1s",
            ("--every", _) => "500ms",
            ("--warmup" | "--settle", "1s" | "500ms") => "250ms",
            ("--connections", "5000" | "18000") => "2000",
            _ => continue,
        };
        words[at] = shorter.to_owned();
    }
}

/// The CPU of the server (0) or the generator (1), when there are two.
pub fn default_cpu(place: usize) -> Option<String> {
    let cpus = core_affinity::get_core_ids().unwrap_or_default();
    cpus.get(place).filter(|_| cpus.len() >= 2).map(|cpu| cpu.id.to_string())
}
