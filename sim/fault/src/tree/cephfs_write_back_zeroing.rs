//! CephFS write-back zeroing: data pages are dropped at write-back, metadata is kept.
//!
//! The world: CephFS kernel mounts with `read_from_replica=localize` against Ceph 20.2.0. `write` succeeds
//! into the page cache and size, mode and times reach the MDS; the OSD refuses the write-back with EINVAL,
//! the pages are dropped, an error is latched in the mapping. The writer's own mount goes on showing the
//! bytes as long as they are cached; every other mount reads zeros up to the size. A sound subject syncs and
//! looks at the answer, or reads back from the medium; it never calls such a restore done. Once lifted, new
//! writes hold; what was dropped stays lost. Source: ceph/ceph#62806, ceph/ceph-csi#5772, rook/rook#16839.
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "cephfs-write-back-zeroing",
    seam: Seam::Tree,
    survivable: true,
    about: "data pages of a CephFS volume are dropped at write-back; size, mode and times stay, other mounts read zeros",
    aims_at: "mounts by actor; class cephfs/dense or cephfs/sparse",
    sound: "sees the error of the final sync or reads the zeros back; publishes nothing as restored; heals with the next restore after the lift",
};

/// The fault as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Where it strikes.
    pub aim: Aim,
    /// Whether sync reports the latched EINVAL; kernels before 5.8 lose it in `syncfs`.
    pub reported: bool,
}

impl Default for Spec {
    fn default() -> Self {
        Self { aim: Aim::default(), reported: true }
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
        point.seam == Seam::Tree && point.operation == "write-back" && point.class.starts_with("cephfs/")
    }
    fn verdict(&self, _: &Point, _: &mut ChaCha8Rng, _: &mut BTreeSet<String>) -> Verdict {
        if self.reported { Verdict::fail("EINVAL", "invalid argument") } else { Verdict::Swallow }
    }
}
