//! Unavailable: the store answers 503.
//!
//! The world: MinIO on a rebooting NAS, a provider's brown-out. A sound subject retries, then fails the Job
//! without a false success; nothing is half-written; the next sync heals.
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "store-unavailable",
    seam: Seam::Store,
    survivable: true,
    about: "operations on the store answer 503",
    aims_at: "Jobs by actor; class <store>/<blob class>",
    sound: "retries, fails the Job without a false success, the next sync heals",
};

/// The fault as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Where it strikes.
    pub aim: Aim,
    /// Pattern over the operations struck.
    pub operation: String,
}

impl Default for Spec {
    fn default() -> Self {
        Self { aim: Aim::default(), operation: "*".to_owned() }
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
        point.seam == Seam::Store && crate::aim::matches(&self.operation, &point.operation)
    }
    fn verdict(&self, _: &Point, _: &mut ChaCha8Rng, _: &mut BTreeSet<String>) -> Verdict {
        Verdict::fail("503", "Service Unavailable")
    }
}
