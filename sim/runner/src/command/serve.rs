//! `firedrill serve`: an embedded cluster in real time on loopback, for curl, kubectl and controllers.

use std::path::PathBuf;

/// Arguments of `firedrill serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 8001)]
    pub port: u16,
    /// Writes a kubeconfig for it to this file.
    #[arg(long, value_name = "FILE", default_value = "target/firedrill/kubeconfig")]
    pub kubeconfig: PathBuf,
    /// Who reconciles: the reference, or nobody, so that your own controller can.
    #[arg(long, value_enum, default_value_t)]
    pub subject: Served,
}

/// Who reconciles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Served {
    /// The reference controller and mover.
    #[default]
    Reference,
    /// Nobody.
    None,
}

/// Serves until interrupted.
pub fn command(args: &Args) -> anyhow::Result<u8> {
    anyhow::bail!("the bed cannot be served on port {} yet (kubeconfig {}, subject {:?})", args.port, args.kubeconfig.display(), args.subject)
}
