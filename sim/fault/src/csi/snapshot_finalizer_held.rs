//! Finalizer held: the snapshot controller does not take its finalizer off a volume snapshot.
//!
//! The world: the snapshot is still the source of a claim, or
//! `provisioner.storage.kubernetes.io/volumesnapshot-as-source-protection` was orphaned
//! (kubernetes-csi/external-provisioner#1507). Deletion never ends. A sound subject says what it waits for and
//! never edits the finalizer itself.
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "csi-snapshot-finalizer-held",
    seam: Seam::Csi,
    survivable: true,
    about: "a finalizer stays on a deleted volume snapshot",
    aims_at: "volume snapshots by name",
    sound: "says what it waits for, edits no finalizer of others, resumes by itself after the lift",
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
        point.seam == Seam::Csi && point.operation == super::operation::REMOVE_FINALIZER
    }
    fn verdict(&self, _: &Point, _: &mut ChaCha8Rng, _: &mut BTreeSet<String>) -> Verdict {
        Verdict::Hang
    }
}
