//! Read error: opening a file of a volume gives EIO.
//!
//! The world: a failing disk, an inactive placement group, a snapshot clone whose parent is damaged. The
//! backup meets it in the middle of a walk. A sound subject fails the run, names the path, and does not store
//! a snapshot that pretends to be complete; the next run heals. Nothing is lost by the fault itself.
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "tree-read-error",
    seam: Seam::Tree,
    survivable: true,
    about: "reading a file of the volume answers EIO",
    aims_at: "mounts by actor; class by character",
    sound: "fails the run naming the path, stores no snapshot as complete, heals with the next run",
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
        point.seam == Seam::Tree && point.operation == "open"
    }
    fn verdict(&self, _: &Point, _: &mut ChaCha8Rng, _: &mut BTreeSet<String>) -> Verdict {
        Verdict::fail("EIO", "input/output error")
    }
}
