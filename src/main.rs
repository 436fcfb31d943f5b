//! The `roomring` program.

use std::process::ExitCode;

/// The message path allocates small, short-lived blocks, some of which another core frees.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    roomring::server::main(std::env::args_os())
}
