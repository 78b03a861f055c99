//! RPC fails: the named RPCs answer an error for as long as the fault is armed.
//!
//! The world: a full pool, a missing secret, an image that is still watched. Sidecars and kubelet retry with
//! growing pauses and show the text in events. DeleteVolume by default: the claim goes, its volume stays
//! behind, `Released` or `Failed`. A sound subject reports no false success and resumes by itself.
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "csi-rpc-fails",
    seam: Seam::Csi,
    survivable: true,
    about: "the named RPCs answer an error",
    aims_at: "volumes or snapshots by name; RPCs by name",
    sound: "no false success, says what it waits for, resumes by itself after the lift",
};

/// The fault as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Where it strikes.
    pub aim: Aim,
    /// The RPCs it strikes, by gRPC's name of the method.
    pub operations: Vec<String>,
    /// The gRPC code.
    pub code: String,
    /// The driver's text.
    pub message: String,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            aim: Aim::default(),
            operations: vec![super::operation::DELETE_VOLUME.to_owned()],
            code: "Internal".to_owned(),
            message: "rbd image is still being used".to_owned(),
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
        point.seam == Seam::Csi && self.operations.contains(&point.operation)
    }
    fn verdict(&self, _: &Point, _: &mut ChaCha8Rng, _: &mut BTreeSet<String>) -> Verdict {
        Verdict::fail(self.code.as_str(), self.message.as_str())
    }
}
