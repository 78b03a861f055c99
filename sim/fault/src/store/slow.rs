//! Slow: each answer of the store comes late.
//!
//! The world: a saturated uplink, a provider that throttles, a NAS that scrubs. A sound subject takes longer
//! and reports it; deadlines hold; no data is at stake.
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};
use jiff::SignedDuration;

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "store-slow",
    seam: Seam::Store,
    survivable: true,
    about: "operations on the store are answered late",
    aims_at: "Jobs by actor; class <store>/<blob class>",
    sound: "finishes later; overdue is reported; deadlines hold",
};

/// The fault as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Where it strikes.
    pub aim: Aim,
    /// How much later.
    pub by: SignedDuration,
}

impl Default for Spec {
    fn default() -> Self {
        Self { aim: Aim::default(), by: SignedDuration::from_secs(1) }
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
        point.seam == Seam::Store
    }
    fn verdict(&self, _: &Point, _: &mut ChaCha8Rng, _: &mut BTreeSet<String>) -> Verdict {
        Verdict::Delay(self.by.try_into().unwrap_or_default())
    }
}
