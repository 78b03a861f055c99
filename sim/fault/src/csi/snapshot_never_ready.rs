//! Snapshot never ready: CreateSnapshot answers, but `ready_to_use` stays false.
//!
//! The world: a slow or wedged backend, a sidecar dropped by a chart upgrade. The volume snapshot is bound
//! and never becomes ready; no object shows a failure. `Swallow` means: answer with a handle and
//! `ready_to_use = false`. A sound subject makes no claim from such a snapshot, says what it waits for, and
//! goes on by itself after the lift.
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "csi-snapshot-never-ready",
    seam: Seam::Csi,
    survivable: true,
    about: "a snapshot is cut but ready_to_use stays false",
    aims_at: "snapshots by name",
    sound: "does not read from the snapshot, says what it waits for, goes on by itself after the lift",
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
        point.seam == Seam::Csi && point.operation == super::operation::CREATE_SNAPSHOT
    }
    fn verdict(&self, _: &Point, _: &mut ChaCha8Rng, _: &mut BTreeSet<String>) -> Verdict {
        Verdict::Swallow
    }
}
