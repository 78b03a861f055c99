//! `firedrill images`: builds, lists and removes the container images of the kind tier.
//!
//! Needs a Docker Engine, and for building root, Go and debootstrap; no registry of images. What is there and
//! current is left alone.

use clap::ValueEnum as _;
use cluster::{
    engine,
    image::{self, Part},
    progress::Monitor,
};

/// Arguments of `firedrill images`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Builds what is missing or outdated: expect a quarter of an hour from nothing on two cores, nothing when all is there.
    Build {
        /// What to build; everything a kind suite needs where nothing is named.
        #[arg(value_enum)]
        parts: Vec<Name>,
    },
    /// Lists the images at the engine, and whether they come from this version's recipe.
    List,
    /// Removes the images from the engine.
    Remove {
        /// Removes everything cached for building as well.
        #[arg(long)]
        cache: bool,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Name {
    /// The node image, with Kubernetes and the CSI side programs.
    Node,
    /// The S3 server.
    Minio,
    /// The `helm` command, unless there is one on PATH.
    Helm,
}

/// Does what the arguments say.
pub fn command(args: &Args) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            code = cluster::Run::interrupted() => {
                eprintln!("interrupted: the next build goes on here");
                Ok(u8::try_from(code).unwrap_or(1))
            }
            done = act(args) => done.map(|()| 0),
        }
    })
}

async fn act(args: &Args) -> anyhow::Result<()> {
    let docker = engine::connect().await?;
    match &args.what {
        What::Build { parts } => {
            let named = if parts.is_empty() { Name::value_variants() } else { parts.as_slice() };
            let parts: Vec<_> = named.iter().map(|name| part(*name)).collect();
            let built = image::build(&docker, &parts, &Monitor::lines()).await?;
            print(&built);
        }
        What::List => print(&image::list(&docker).await?),
        What::Remove { cache } => {
            for name in image::remove(&docker, *cache).await? {
                println!("removed {name}");
            }
        }
    }
    Ok(())
}

fn part(name: Name) -> Part {
    match name {
        Name::Node => Part::Node,
        Name::Minio => Part::Minio,
        Name::Helm => Part::Helm,
    }
}

fn print(images: &[image::Listed]) {
    if images.is_empty() {
        println!("no image of ours is at the engine: `firedrill images build` makes them");
    }
    for image in images {
        let state = if image.current { "current" } else { "outdated: build it again" };
        println!("{:<36} {:>5} MB  {state}", image.name, image.bytes / 1_000_000);
    }
}
