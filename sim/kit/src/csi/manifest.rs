//! The command line of [`crate::manifests`]: `kit manifests … | kubectl apply -f -`.
use std::process::ExitCode;

use crate::{
    character::DriverSpec,
    manifests::{Driver, Options, csi},
};

/// What the command line says.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The image that has /kit
    #[arg(long)]
    kit_image: String,
    /// The image that has /csi-provisioner, /csi-snapshotter and /csi-resizer
    #[arg(long)]
    side_image: String,
    /// A driver as NAME=CHARACTER, its class called as the character (repeatable; default: one of each)
    #[arg(long = "driver", value_name = "NAME=CHARACTER")]
    drivers: Vec<DriverSpec>,
    /// CephFS: bytes per second that a copy from a snapshot makes; 0 is as fast as the disk
    #[arg(long, default_value_t = 0)]
    clone_rate: u64,
    /// Let side programs elect a leader: for more than one node
    #[arg(long)]
    leader_election: bool,
}

/// Runs it.
pub fn main(args: Args) -> anyhow::Result<ExitCode> {
    let mut options = Options::new(&args.kit_image, &args.side_image);
    if !args.drivers.is_empty() {
        options.drivers = args
            .drivers
            .iter()
            .map(|spec| Driver {
                name: spec.name.clone(),
                ..Driver::new(spec.character.name(), spec.character)
            })
            .collect();
    }
    options.clone_rate = args.clone_rate;
    options.has_leader_election = args.leader_election;
    print!("{}", csi(&options));
    Ok(ExitCode::SUCCESS)
}
