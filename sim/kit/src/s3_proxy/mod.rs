//! A proxy in front of an S3 store that misbehaves on request.
use std::process::ExitCode;

/// What the command line says.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs it.
pub fn main(args: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet: {args:?}")
}
