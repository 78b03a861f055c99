//! What is said to a running NFS server: its switches, faults and counters, as one JSON line asked and one answered.
//!
//! Names and meaning of the switches are those of the embedded bed's export, so that a scenario says the same on
//! both. `kit nfs-ctl` speaks this inside the server's container; a bed that runs it there needs only these
//! types. It holds no behaviour.
use std::collections::BTreeMap;

use fault::Fault;
use serde::{Deserialize, Serialize};

/// Where a server listens for control inside its container.
pub const SOCKET: &str = "/run/kit/nfs.sock";

/// Which directory the export shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "programs", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Shown {
    /// The right one.
    #[default]
    Right,
    /// The bare mount point beneath it, which keeps what is written into it.
    Empty,
    /// Some other directory.
    Other,
}

/// What a write to a full export answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "programs", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Full {
    /// The disk is full.
    Enospc,
    /// The quota is used up.
    Edquot,
}

/// How the server maps the users of its clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Squash {
    /// As they are.
    #[default]
    None,
    /// Root becomes nobody.
    Root,
    /// Everybody becomes this user and group.
    All {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
}

/// The switches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Switches {
    /// Which directory is shown.
    pub shown: Shown,
    /// How often the file system was replaced; handles of earlier ones are stale.
    pub generation: u64,
    /// How users are mapped.
    pub squash: Squash,
    /// The bytes the export can hold; beyond it, EDQUOT.
    pub quota: Option<u64>,
    /// Every write that needs space fails; what needs none works.
    pub full: Option<Full>,
    /// Nothing can be changed.
    pub read_only: bool,
}

/// One turn of a switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Shows another directory to everybody; the root's handle stays good, others are stale.
    Show(Shown),
    /// Replaces the file system under its mounts: their handles are stale from now on, new mounts are good.
    Renew,
    /// Maps users.
    Squash(Squash),
    /// Limits the bytes the export can hold.
    Quota(Option<u64>),
    /// Fails every write that needs space.
    Full(Option<Full>),
    /// Forbids changes.
    ReadOnly(bool),
    /// Brings everything back, except that replaced file systems stay replaced.
    Reset,
}

/// What can be asked of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// How it stands.
    Status,
    /// Turn a switch.
    Turn(Change),
    /// Arm a fault of the NFS seam.
    Arm(Fault),
    /// Lift the fault of this number.
    Lift(u64),
    /// Lift every fault and bring every switch back.
    Reset,
}

/// An armed or lifted fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Armed {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// How often it struck.
    pub firings: u64,
    /// Whether it no longer acts.
    pub is_over: bool,
}

/// What one operation was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Calls {
    /// Answered well.
    pub good: u64,
    /// Refused, by NFS's word for the reason.
    pub refused: BTreeMap<String, u64>,
}

/// How a server stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// What clients mount.
    pub export: String,
    /// The file system's number now.
    pub fsid: u64,
    /// The switches.
    pub switches: Switches,
    /// Bytes in the directory shown.
    pub used: u64,
    /// Connections open now.
    pub connections: u64,
    /// Answers by operation: `lookup`, `read`, `write`, `create`, `rename`, `remove`, `mkdir`, `list`, ...
    pub calls: BTreeMap<String, Calls>,
    /// Faults, in order of arming.
    pub faults: Vec<Armed>,
}
