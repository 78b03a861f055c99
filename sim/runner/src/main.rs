//! The `firedrill` command.

use std::process::ExitCode;

use clap::Parser as _;

/// A cluster in one process is millions of small JSON values: allocating them is what a run does most.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match runner::command::Firedrill::parse().run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("firedrill: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            ExitCode::from(runner::command::EXIT_INPUT)
        }
    }
}
