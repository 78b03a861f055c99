//! Clock drift: one pod's clock runs faster or slower.
//!
//! The world: a virtual machine with a bad clock source. The offset grows with time since `from`. A sound
//! subject does what it does for [`super::jump`].
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};
use jiff::{SignedDuration, Timestamp};

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "clock-drift",
    seam: Seam::Clock,
    survivable: true,
    about: "an actor's clock runs at another pace",
    aims_at: "actors",
    sound: "reports the skew; retention and restores stay right",
};

/// The fault as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Where it strikes.
    pub aim: Aim,
    /// How much faster; negative is slower.
    pub parts_per_million: i64,
    /// When both clocks agreed.
    pub from: Timestamp,
}

impl Default for Spec {
    fn default() -> Self {
        Self { aim: Aim::default(), parts_per_million: 100, from: Timestamp::UNIX_EPOCH }
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
        let _ = point;
        false
    }
    fn verdict(&self, _: &Point, _: &mut ChaCha8Rng, _: &mut BTreeSet<String>) -> Verdict {
        Verdict::Proceed
    }
}

impl Spec {
    /// What to add to the bed's time `now`.
    pub fn offset(&self, now: Timestamp) -> SignedDuration {
        let nanos = now.duration_since(self.from).as_nanos() * i128::from(self.parts_per_million) / 1_000_000;
        let bounded = nanos.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        SignedDuration::from_nanos(bounded as i64)
    }
}
