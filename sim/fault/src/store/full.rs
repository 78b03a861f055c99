//! Full: the store has no room for anything new.
//!
//! The world: a MinIO whose disk is full, a bucket quota, a provider's cap on space. What is there can be read and
//! deleted. A sound subject fails the Job without a false success, and what it stored before stays whole.
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "store-full",
    seam: Seam::Store,
    survivable: true,
    about: "the store has no room: what writes is answered 507",
    aims_at: "Jobs by actor; class <store>/<blob class>",
    sound: "fails the Job without a false success; older backups stay whole; the next sync with room heals",
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
        point.seam == Seam::Store && point.operation == "put"
    }
    fn verdict(&self, _: &Point, _: &mut ChaCha8Rng, _: &mut BTreeSet<String>) -> Verdict {
        Verdict::fail(
            "507",
            "XMinioStorageFull: Storage backend has reached its minimum free drive threshold.",
        )
    }
}
