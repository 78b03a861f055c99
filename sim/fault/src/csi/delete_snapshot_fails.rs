//! DeleteSnapshot fails: the driver answers an error for as long as the fault is armed.
//!
//! The world: a missing delete secret, pending clones, a broken pool. The sidecar keeps
//! `volumesnapshotcontent-bound-protection`, the volume snapshot stays with a deletion timestamp, and because
//! names are fixed per replication source the next sync waits for it. A sound subject says what it waits for,
//! reports no false success, and resumes by itself after the lift (the sidecar retries within 5 minutes).
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "csi-delete-snapshot-fails",
    seam: Seam::Csi,
    survivable: true,
    about: "DeleteSnapshot answers an error, so a volume snapshot stays deleting",
    aims_at: "snapshots by name",
    sound: "no false success, says what it waits for, overdue is reported, resumes by itself after the lift",
};

/// The fault as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Where it strikes.
    pub aim: Aim,
    /// The gRPC code.
    pub code: String,
    /// The driver's text.
    pub message: String,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            aim: Aim::default(),
            code: "Internal".to_owned(),
            message: "failed to delete snapshot: rbd: ret=-16, Device or resource busy".to_owned(),
        }
    }
}

impl Effect for Spec {
    fn row(&self) -> &'static Row {
        &ROW
    }
    fn aim(&self) -> &Aim {
        &self.aim
    }
    fn reaches(&self, point: &Point) -> bool {
        point.seam == Seam::Csi && point.operation == super::operation::DELETE_SNAPSHOT
    }
    fn verdict(&self, _: &Point, _: &mut ChaCha8Rng, _: &mut BTreeSet<String>) -> Verdict {
        Verdict::fail(self.code.as_str(), self.message.as_str())
    }
}
