//! What is said over the control socket of a double: faults armed, lifted and counted, and what it holds.
//!
//! A conversation is one line of JSON each way over a Unix socket: a [`Request`], then a [`Reply`]. Faults are
//! those of the room `fault`, as data. The socket is for a bed that reaches it by `kit csi-ctl` inside the
//! container; it authenticates nobody.
#[cfg(feature = "programs")]
pub mod server;

use std::collections::BTreeMap;

use fault::Fault;
use serde::{Deserialize, Serialize};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Arm a fault; answered by [`Reply::Armed`].
    Arm(Fault),
    /// Lift a fault by number; answered by [`Reply::Done`].
    Lift(u64),
    /// Lift all faults of a name.
    LiftNamed(String),
    /// Lift all faults.
    LiftAll,
    /// Which faults were armed, and how often they fired; answered by [`Reply::Faults`].
    Faults,
    /// What the drivers hold; answered by [`Reply::Inventory`].
    Inventory,
    /// Lose what lives in memory only, as a restarted process does: operations in flight and their locks.
    Restart,
    /// Let the mounts of the volumes that fit a pattern (over claim names and handles) forget cached bytes.
    Evict(String),
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Reply {
    /// The number of the fault that was armed.
    Armed(u64),
    /// It was done, to so many.
    Done(u64),
    /// The faults, in order of arming.
    Faults(Vec<Armed>),
    /// The drivers by name.
    Inventory(BTreeMap<String, Inventory>),
    /// It was not done, and why.
    Refused(String),
}

/// A fault that was armed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Armed {
    /// Its number.
    pub id: u64,
    /// The fault.
    pub fault: Fault,
    /// How often it fired.
    pub firings: u64,
    /// Whether it no longer acts.
    pub is_over: bool,
    /// Where it fired, the last hundred: `csi:rbd.firedrill.dev:DeleteSnapshot:nightly#0 hang`.
    pub fired: Vec<String>,
}

/// What a driver holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Inventory {
    /// What it is like: `rbd`, `cephfs` or `hostpath`.
    pub character: String,
    /// Its volumes by handle.
    pub volumes: BTreeMap<String, Held>,
    /// Its snapshots by handle.
    pub snapshots: BTreeMap<String, Held>,
    /// Ids of operations in flight.
    pub in_flight: Vec<String>,
    /// How often each RPC was called, by method and gRPC code: `DeleteSnapshot/Ok`.
    pub calls: BTreeMap<String, u64>,
}

/// A volume or snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Held {
    /// The name in the request that made it.
    pub name: String,
    /// The claim or volume snapshot it is for, `namespace/name`, as far as the sidecars told.
    pub object: String,
    /// Its size.
    pub bytes: u64,
    /// The handle of what it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Nodes that have it staged, and targets where it is published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub used_by: Vec<String>,
}
