//! The mount helper: NFSv3 by FUSE, as mount(8) calls it.
use std::process::ExitCode;

/// What the command line says.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs it.
pub fn main(args: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet: {args:?}")
}
