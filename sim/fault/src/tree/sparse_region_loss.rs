//! Sparse-region loss: written regions of a sparse file are lost on CephFS, and nothing says so.
//!
//! The world: users' guides blame "sparse file handling" for restored files full of zeros on CephFS claims,
//! while the same restore onto RBD is good. The sources do not bear that out (see `control-sparse-restore`
//! in the incident catalogue), so this fault is the guides' hypothesis made concrete: at write-back of a file
//! with holes or whole blocks of zeros, its data is lost, metadata stays, and sync reports success. A sound
//! subject finds it only by reading back from the medium. The runbook restores through an RBD destination.
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "sparse-region-loss",
    seam: Seam::Tree,
    survivable: true,
    about: "the written regions of a sparse file are lost on a CephFS volume; sync reports success (hypothesis of users' guides)",
    aims_at: "mounts by actor; class cephfs/sparse",
    sound: "finds the zeros by reading back from the medium and fails; the same snapshot restores through RBD",
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
        point.seam == Seam::Tree && point.operation == "write-back" && point.class == "cephfs/sparse"
    }
    fn verdict(&self, _: &Point, _: &mut ChaCha8Rng, _: &mut BTreeSet<String>) -> Verdict {
        Verdict::Swallow
    }
}
