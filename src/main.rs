//! The program: parse the command line, do what it says, and tell how it went.

use clap::Parser as _;
use std::process::ExitCode;
use trunkline::cli::Cli;

/// Many small allocations on many threads: the system's allocator keeps more memory and takes more time for them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Cli::parse().run()
}
