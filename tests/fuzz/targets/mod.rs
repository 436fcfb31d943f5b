//! What is fuzzed: plain functions that take any bytes and panic when a rule is broken. The same list serves the seeded
//! test and libFuzzer. No target keeps anything from one input for the next.

pub mod configuration;
pub mod decoder;
pub mod deflate;
pub mod forms;
pub mod handshake;
pub mod keys;
pub mod proxy;
pub mod session;
pub mod tls;

/// One target.
pub struct Target {
    /// Of its test, its folder in the corpus, and its libFuzzer binary.
    pub name: &'static str,
    /// Panics when a rule is broken.
    pub run: fn(&[u8]),
    /// Inputs that reach its parts.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// What mutations put in.
    pub words: &'static [&'static [u8]],
    /// Mutations in one run of the test: the whole takes some seconds without optimisation.
    pub runs: u64,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "decoder", run: decoder::run, seeds: decoder::seeds, words: decoder::WORDS, runs: 20_000 },
    Target {
        name: "server_frames",
        run: decoder::run_server,
        seeds: decoder::server_seeds,
        words: decoder::WORDS,
        runs: 10_000,
    },
    Target { name: "head", run: handshake::run, seeds: handshake::seeds, words: handshake::WORDS, runs: 1_500 },
    Target {
        name: "head_fields",
        run: handshake::run_fields,
        seeds: handshake::field_seeds,
        words: handshake::WORDS,
        runs: 10_000,
    },
    Target {
        name: "account_body",
        run: handshake::run_account_body,
        seeds: handshake::account_body_seeds,
        words: handshake::ACCOUNT_WORDS,
        runs: 20_000,
    },
    Target { name: "json", run: forms::run_json, seeds: forms::json_seeds, words: forms::WORDS, runs: 30_000 },
    Target { name: "binary", run: forms::run_binary, seeds: forms::binary_seeds, words: forms::WORDS, runs: 20_000 },
    Target { name: "proxy", run: proxy::run, seeds: proxy::seeds, words: proxy::WORDS, runs: 10_000 },
    Target { name: "deflate", run: deflate::run, seeds: deflate::seeds, words: &[], runs: 3_000 },
    Target { name: "tokens", run: keys::run_tokens, seeds: keys::token_seeds, words: keys::WORDS, runs: 10_000 },
    Target { name: "keys", run: keys::run_keys, seeds: keys::key_seeds, words: keys::WORDS, runs: 5_000 },
    Target {
        name: "configuration",
        run: configuration::run,
        seeds: configuration::seeds,
        words: configuration::WORDS,
        runs: 1_500,
    },
    Target { name: "tls", run: tls::run, seeds: tls::seeds, words: tls::WORDS, runs: 2_000 },
    Target { name: "session", run: session::run, seeds: session::seeds, words: session::WORDS, runs: 1_500 },
];

/// The first byte of an input, and the rest.
pub fn byte_of(input: &[u8]) -> (u8, &[u8]) {
    input.split_first().map_or((0, input), |(first, rest)| (*first, rest))
}
