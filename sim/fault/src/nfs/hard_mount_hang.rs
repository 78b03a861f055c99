//! Hard-mount hang: the export does not answer; requests wait.
//!
//! The world: NAS reboot, network cut, daemon down. With a hard mount the process sleeps in the kernel and
//! even SIGKILL waits; with a soft mount the same fault is felt as EIO after the time-out. A sound subject
//! hangs visibly (the sync is overdue and says so), starts no second writer, and finishes after the lift
//! without a duplicate.
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "nfs-hard-mount-hang",
    seam: Seam::Nfs,
    survivable: true,
    about: "the export does not answer; hard mounts wait, soft mounts time out with EIO",
    aims_at: "mounts by actor; exports by name",
    sound: "overdue is reported while it hangs; resumes after the lift; no duplicate",
};

/// The fault as data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Where it strikes.
    pub aim: Aim,
    /// Only what writes waits: clients mount, look and read as before.
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
        Verdict::Hang
    }
}
