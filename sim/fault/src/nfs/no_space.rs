//! No space: the export is full, or its quota is reached.
//!
//! The world: retention broken by a dead maintenance owner, other datasets on the NAS, a lowered quota. Kopia
//! must write a session marker before it can delete anything, so a full store cannot clean itself. A sound
//! subject fails the Job, leaves older snapshots verifiable and heals with the next sync after the lift; no
//! half-written blob counts as one.
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "nfs-no-space",
    seam: Seam::Nfs,
    survivable: true,
    about: "writes to the export answer ENOSPC or EDQUOT",
    aims_at: "mounts by actor; exports by name",
    sound: "the Job fails, older snapshots verify, the next sync after the lift heals",
};

/// The fault as data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Where it strikes.
    pub aim: Aim,
    /// EDQUOT in place of ENOSPC.
    pub quota: bool,
}

impl Effect for Spec {
    fn row(&self) -> &'static Row {
        &ROW
    }
    fn aim(&self) -> &Aim {
        &self.aim
    }
    fn reaches(&self, point: &Point) -> bool {
        point.seam == Seam::Nfs && matches!(point.operation.as_str(), "write" | "create" | "mkdir")
    }
    fn verdict(&self, _: &Point, _: &mut ChaCha8Rng, _: &mut BTreeSet<String>) -> Verdict {
        if self.quota {
            Verdict::fail("EDQUOT", "disk quota exceeded")
        } else {
            Verdict::fail("ENOSPC", "no space left on device")
        }
    }
}
