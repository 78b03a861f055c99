//! `kit nfs-ctl`: turns a running server's switches, arms its faults, and shows how it stands.
//!
//! Prints the server's state as JSON after whatever was done, so that one call both acts and tells.
use std::{path::PathBuf, process::ExitCode};

use fault::Fault;

use crate::nfs_control::{Ask, Change, Full, SOCKET, Shown, Squash, Status};

/// What to do.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The server's control socket
    #[arg(long, default_value = SOCKET)]
    control: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// How the server stands
    Status,
    /// Show another directory to every client
    Show {
        /// Which
        which: Shown,
    },
    /// Replace the file system: old handles are stale, new mounts are good
    Renew,
    /// Map users: `none`, `root`, or UID:GID for everybody
    Squash {
        /// Whom
        whom: String,
    },
    /// Limit the bytes the export can hold, or `none`
    Quota {
        /// Bytes
        bytes: String,
    },
    /// Fail every write that needs space
    Full {
        /// With which error; without one, no longer
        error: Option<Full>,
    },
    /// Forbid changes, or allow them again
    ReadOnly {
        /// `true` or `false`
        #[arg(action = clap::ArgAction::Set, default_value_t = true)]
        on: bool,
    },
    /// Arm a fault, by name or as JSON ({"fault":"nfs-no-space","quota":true})
    Arm {
        /// The fault
        fault: String,
    },
    /// Lift the fault of this number
    Lift {
        /// Its number in the server's state
        id: u64,
    },
    /// Lift every fault and bring every switch back
    Reset,
}

/// Asks and prints.
pub fn main(args: Args) -> anyhow::Result<ExitCode> {
    let status: Status = crate::socket::ask(&args.control, &ask(args.verb)?)?;
    println!("{}", serde_json::to_string_pretty(&status)?);
    Ok(ExitCode::SUCCESS)
}

fn ask(verb: Verb) -> anyhow::Result<Ask> {
    Ok(match verb {
        Verb::Status => Ask::Status,
        Verb::Show { which } => Ask::Turn(Change::Show(which)),
        Verb::Renew => Ask::Turn(Change::Renew),
        Verb::Squash { whom } => Ask::Turn(Change::Squash(squash(&whom)?)),
        Verb::Quota { bytes } if bytes == "none" => Ask::Turn(Change::Quota(None)),
        Verb::Quota { bytes } => Ask::Turn(Change::Quota(Some(bytes.parse()?))),
        Verb::Full { error } => Ask::Turn(Change::Full(error)),
        Verb::ReadOnly { on } => Ask::Turn(Change::ReadOnly(on)),
        Verb::Arm { fault } if fault.starts_with('{') => Ask::Arm(serde_json::from_str(&fault)?),
        Verb::Arm { fault } => Ask::Arm(Fault::named(&fault)?),
        Verb::Lift { id } => Ask::Lift(id),
        Verb::Reset => Ask::Reset,
    })
}

fn squash(whom: &str) -> anyhow::Result<Squash> {
    match (whom, whom.split_once(':')) {
        ("none", _) => Ok(Squash::None),
        ("root", _) => Ok(Squash::Root),
        (_, Some((uid, gid))) => Ok(Squash::All { uid: uid.parse()?, gid: gid.parse()? }),
        _ => anyhow::bail!("{whom:?} is not `none`, `root` or UID:GID"),
    }
}
