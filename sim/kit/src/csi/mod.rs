//! A CSI driver of our own: directories, FUSE volumes or images on the node, snapshots, clones, faults.
use std::process::ExitCode;

pub mod ctl;

/// What the command line says.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs it.
pub fn main(args: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet: {args:?}")
}
