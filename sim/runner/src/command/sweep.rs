//! `firedrill sweep`: removes what runs on real clusters left at the Docker Engine.
//!
//! Every run does the same for dead runs when it begins; this is for those who do not want to wait for one, and for
//! what `--keep` left. What a living run uses is not touched, unless its id is given.

use cluster::{
    engine,
    sweep::{self, Which},
};

/// Arguments of `firedrill sweep`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Removes everything of this run, kept or not, whether or not it still runs.
    #[arg(conflicts_with = "kept")]
    run: Option<String>,
    /// Removes what runs that have ended were told to keep.
    #[arg(long)]
    kept: bool,
}

/// Does what the arguments say.
pub fn command(args: &Args) -> anyhow::Result<u8> {
    let which = match &args.run {
        Some(run) => Which::Run(run),
        None if args.kept => Which::Kept,
        None => Which::LeftBehind,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let swept = runtime.block_on(async {
        let docker = engine::connect().await?;
        sweep::sweep(&docker, which).await
    })?;
    let groups = [
        ("container", &swept.containers),
        ("network", &swept.networks),
        ("volume", &swept.volumes),
        ("loop device", &swept.loops),
    ];
    for (what, names) in groups {
        names.iter().for_each(|name| println!("removed {what} {name}"));
    }
    swept.directories.iter().for_each(|path| println!("removed {}", path.display()));
    if swept.is_empty() {
        println!("nothing to remove");
    }
    Ok(0)
}
