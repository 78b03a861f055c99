//! Server away: the NFS server's machine is down, frozen, or cut off the network.
//!
//! The world: a NAS that is switched off or rebooting, one whose disks or kernel stand still, a cable pulled or a
//! firewall turned. Clients of a hard mount wait in all three, whatever the reason; what differs is what they see
//! on the wire: connections refused, connections that stay open and silent, packets that vanish. New mounts fail
//! and are tried again. A sound subject waits visibly, counts nothing, and goes on where it was when the server is
//! back.
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "nfs-server-away",
    seam: Seam::Nfs,
    survivable: true,
    about: "the server is stopped, paused or cut off the network; nothing answers",
    aims_at: "the whole server: every mount of every export",
    sound: "waits visibly; nothing is counted; resumes after the lift; no duplicate",
};

/// What happened to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// Switched off: connections are refused or break.
    #[default]
    Stopped,
    /// Frozen: connections stay open and silent.
    Paused,
    /// Cut off: packets vanish.
    Cut,
}

/// The fault as data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Where it strikes.
    pub aim: Aim,
    /// What happened to the server; in a simulation all look alike.
    pub how: How,
}

impl Effect for Spec {
    fn row(&self) -> &'static Row {
        &ROW
    }
    fn aim(&self) -> &Aim {
        &self.aim
    }
    fn reaches(&self, point: &Point) -> bool {
        point.seam == Seam::Nfs
    }
    fn verdict(&self, _: &Point, _: &mut ChaCha8Rng, _: &mut BTreeSet<String>) -> Verdict {
        Verdict::Hang
    }
}
