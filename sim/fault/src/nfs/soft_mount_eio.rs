//! Soft-mount EIO: the client gives up on a request and the process reads EIO.
//!
//! The world: `soft` or `softerr` in the mount options and a server that misses `timeo` times `retrans`.
//! Asynchronous writes may already be lost when the error shows. A sound subject fails the Job; older
//! snapshots verify; the next sync heals.
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "nfs-soft-mount-eio",
    seam: Seam::Nfs,
    survivable: true,
    about: "requests end with EIO after the soft mount's time-out",
    aims_at: "mounts by actor; exports by name; a share of requests by percent",
    sound: "the Job fails, older snapshots verify, the next sync heals",
};

/// The fault as data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Where it strikes.
    pub aim: Aim,
    /// Only operations that change something.
    pub writes_only: bool,
}

impl Effect for Spec {
    fn row(&self) -> &'static Row {
        &ROW
    }
    fn aim(&self) -> &Aim {
        &self.aim
    }
    fn reaches(&self, point: &Point) -> bool {
        point.seam == Seam::Nfs && (!self.writes_only || super::WRITES.contains(&point.operation.as_str()))
    }
    fn verdict(&self, _: &Point, _: &mut ChaCha8Rng, _: &mut BTreeSet<String>) -> Verdict {
        Verdict::fail("EIO", "input/output error")
    }
}
