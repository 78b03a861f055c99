//! `kit mount.nfs`: what `mount(8)` and the kubelet call as `/sbin/mount.nfs` on a node without the kernel's NFS.
//!
//! `mount.nfs nas:/export DIR -o hard,timeo=600` mounts the export at DIR through FUSE and ends; a daemon of its
//! own session serves the mount until it is unmounted, and then ends as well. It promises what the kernel's
//! client does: a hard mount waits for ever and goes on where it was, a soft one gives EIO, a stale handle is
//! ESTALE, `fsync` and `close` tell of every lost write. It has no locks across clients (as with `nolock`) and no
//! extended attributes; a process that waits for a hard mount cannot be killed until `umount -f`.
//! Exit codes are those of `mount(8)`: 1 for wrong use, 32 for a mount that failed. Read [`transport`] for the
//! retries, [`work`] for the procedures, [`fs`] for FUSE, [`daemon`] for the process.
pub mod convert;
pub mod daemon;
pub mod dial;
pub mod fs;
pub mod listing;
pub mod nodes;
pub mod options;
pub mod remote;
pub mod transport;
pub mod unstable;
pub mod work;

use std::{path::PathBuf, process::ExitCode};

use self::{dial::Source, options::Options};

/// What the command line says; `mount(8)` gives source, directory, flags and options in this order.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to mount: HOST:/PATH
    source: String,
    /// Where to mount it
    directory: PathBuf,
    /// Mount options, comma-separated
    #[arg(short = 'o', value_name = "OPTIONS", action = clap::ArgAction::Append)]
    options: Vec<String>,
    /// Read only
    #[arg(short = 'r')]
    read_only: bool,
    /// Read and write
    #[arg(short = 'w')]
    read_write: bool,
    /// Only check what was given
    #[arg(short = 'f')]
    fake: bool,
    /// Say more
    #[arg(short = 'v')]
    verbose: bool,
    /// Write no table of mounts; there is none to write
    #[arg(short = 'n')]
    no_table: bool,
    /// Accept unknown options; they are accepted anyway
    #[arg(short = 's')]
    sloppy: bool,
    /// Be the daemon
    #[arg(long, hide = true)]
    serve: bool,
}

/// `mount(8)`'s exit code for wrong use.
const WRONG_USE: u8 = 1;
/// `mount(8)`'s exit code for a mount that failed.
const FAILED: u8 = 32;

/// Mounts, or serves a mount.
pub fn main(args: Args) -> anyhow::Result<ExitCode> {
    let wrong_use = |sentence: &str| {
        eprintln!("mount.nfs: {sentence}");
        Ok(ExitCode::from(WRONG_USE))
    };
    let Some(source) = Source::parse(&args.source) else {
        return wrong_use(&format!("{:?} is not HOST:/PATH", args.source));
    };
    let mut list = args.options.join(",");
    for (is_given, option) in [(args.read_only, ",ro"), (args.read_write, ",rw")] {
        if is_given {
            list.push_str(option);
        }
    }
    let options = match Options::parse(&list) {
        Ok(options) => options,
        Err(error) => return wrong_use(&error.to_string()),
    };
    if args.serve {
        return daemon::serve(&source, &args.directory, &options);
    }
    if !args.directory.is_dir() {
        eprintln!("mount.nfs: mount point {} does not exist or is no directory", args.directory.display());
        return Ok(ExitCode::from(FAILED));
    }
    if args.verbose {
        for note in &options.notes {
            eprintln!("mount.nfs: note: {note}");
        }
    }
    if args.fake {
        return Ok(ExitCode::SUCCESS);
    }
    match daemon::start(&source, &args.directory, &list) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("mount.nfs: {error}");
            Ok(ExitCode::from(FAILED))
        }
    }
}
