//! A CSI driver of our own: volumes on the node, snapshots, clones, and faults on request.
//!
//! One process serves several drivers; a driver is a name and a [`Character`]. Each has the three CSI services
//! on its own socket and registers itself with the kubelet. Volumes are directories below a root, given to pods
//! through FUSE (capacity, atomic snapshots, lost write-back) or as plain bind mounts; snapshots and clones are
//! full copies with every attribute. What exists stands on disk and survives a restart; operations in flight
//! and their locks live in memory only, as ceph-csi's do. What a call meets is asked of the
//! [`fault::Register`], under the names of the embedded bed: the actor is the driver, the class is the claim's
//! or volume snapshot's name as far as the sidecars tell it (`--extra-create-metadata`), else the handle.
//!
//! It does not do: raw block volumes, topology (nodes that share the root share the volumes), secrets,
//! group snapshots. Read [`driver`] for calls and locks, [`inventory`] for what is on disk, then the services.
mod controller;
pub mod ctl;
pub mod driver;
mod identity;
pub mod inventory;
mod kubelet;
pub mod manifest;
mod mounts;
mod node;
mod proto;
mod serve;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, process::ExitCode};

pub use crate::character::{Character, DriverSpec};
pub use serve::{Options, run};

/// Where the control socket is in the driver's container.
pub const CONTROL_SOCKET: &str = "/run/firedrill/csi-control.sock";

/// What the command line says.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A driver to serve: `NAME=CHARACTER`, the character being rbd, cephfs or hostpath (repeatable)
    #[arg(long = "driver", value_name = "NAME=CHARACTER", required = true)]
    drivers: Vec<DriverSpec>,
    /// This node's name
    #[arg(long, env = "NODE_NAME")]
    node: String,
    /// Where volumes and snapshots are kept
    #[arg(long, default_value = "/var/lib/firedrill-csi")]
    root: PathBuf,
    /// The kubelet's folder, at the same path as the kubelet sees it
    #[arg(long, default_value = "/var/lib/kubelet")]
    kubelet: PathBuf,
    /// The control socket
    #[arg(long, default_value = CONTROL_SOCKET)]
    control: PathBuf,
    /// Seed of chances in faults
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// CephFS: bytes per second that a copy from a snapshot makes; 0 is as fast as the disk
    #[arg(long, default_value_t = 0)]
    clone_rate: u64,
}

/// Runs it until the process is told to stop.
pub fn main(args: Args) -> anyhow::Result<ExitCode> {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()),
        )
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let options = Options {
        drivers: args.drivers,
        node: args.node,
        root: args.root,
        kubelet: args.kubelet,
        control: args.control,
        seed: args.seed,
        clone_rate: args.clone_rate,
    };
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(options))?;
    Ok(ExitCode::SUCCESS)
}
