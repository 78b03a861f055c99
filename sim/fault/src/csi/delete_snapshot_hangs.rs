//! DeleteSnapshot hangs: the driver does not answer before the lift.
//!
//! The world: the backend stalls inside the call and comes back later; unlike
//! [`super::operation_lock`] nothing stays behind afterwards. A sound subject does what it does for
//! [`super::delete_snapshot_fails`].
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "csi-delete-snapshot-hangs",
    seam: Seam::Csi,
    survivable: true,
    about: "DeleteSnapshot does not answer until the backend is back",
    aims_at: "snapshots by name",
    sound: "no false success, says what it waits for, overdue is reported, resumes by itself after the lift",
};

/// The fault as data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Where it strikes.
    pub aim: Aim,
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
        Verdict::Hang
    }
}
