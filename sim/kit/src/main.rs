//! The program `kit`: picks one of the doubles by subcommand, or by the name it is called by.
//!
//! A link named `mount.nfs` (or `mount.nfs4`) to this program is the mount helper: `mount(8)` cannot pass a
//! subcommand. Nothing else happens here.
use std::{ffi::OsString, path::Path, process::ExitCode};

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "kit",
    about = "Doubles for a real cluster: CSI driver, NFS, S3 faults, and a hand in a pod",
    version
)]
struct Kit {
    #[command(subcommand)]
    double: Double,
}

#[derive(Subcommand)]
enum Double {
    /// A CSI driver whose volumes live in a directory of the node; faults by a control socket
    Csi(kit::csi::Args),
    /// Arms, lifts and lists faults of a running driver; restarts it
    CsiCtl(kit::csi::ctl::Args),
    /// Prints what to apply so that the CSI drivers run in a cluster
    Manifests(kit::csi::manifest::Args),
    /// Carries a tree with all attributes into or out of a directory
    Hand(kit::hand::Args),
    /// An NFSv3 server with faults
    NfsServer(kit::nfs::server::Args),
    /// Turns the switches of a running NFS server and arms its faults
    NfsCtl(kit::nfs::ctl::Args),
    /// Mounts an NFSv3 export through FUSE; what mount(8) calls as /sbin/mount.nfs
    #[command(name = "mount.nfs", alias = "mount.nfs4", alias = "mount-nfs")]
    MountNfs(kit::nfs::mount::Args),
    /// A proxy in front of an S3 store, with faults
    S3Proxy(kit::s3_proxy::Args),
    /// Arms and lifts the troubles of a running S3 proxy
    S3Ctl(kit::s3_proxy::ctl::Args),
}

/// Called as `mount.nfs` through a link: the subcommand is the name.
fn arguments() -> Vec<OsString> {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let called = arguments.first().and_then(|name| Path::new(name).file_name()?.to_str().map(str::to_owned));
    if let Some(name) = called.filter(|name| name.starts_with("mount.nfs")) {
        arguments.insert(1, name.into());
    }
    arguments
}

fn main() -> anyhow::Result<ExitCode> {
    match Kit::parse_from(arguments()).double {
        Double::Csi(args) => kit::csi::main(args),
        Double::CsiCtl(args) => kit::csi::ctl::main(args),
        Double::Manifests(args) => kit::csi::manifest::main(args),
        Double::Hand(args) => kit::hand::main(args),
        Double::NfsServer(args) => kit::nfs::server::main(args),
        Double::NfsCtl(args) => kit::nfs::ctl::main(args),
        Double::MountNfs(args) => kit::nfs::mount::main(args),
        Double::S3Proxy(args) => kit::s3_proxy::main(args),
        Double::S3Ctl(args) => kit::s3_proxy::ctl::main(args),
    }
}
