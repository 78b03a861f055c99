//! Clock jump: one pod's clock stands off by a constant.
//!
//! The world: a node without time synchronisation. Snapshots are stamped in the future or the past, Kopia
//! refuses maintenance beyond five minutes of skew, S3 refuses signatures beyond fifteen. A sound subject
//! chooses snapshots by what the repository says and reports the skew; nothing newer is expired for it.
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};
use jiff::SignedDuration;

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "clock-jump",
    seam: Seam::Clock,
    survivable: true,
    about: "an actor's clock stands off by a constant",
    aims_at: "actors",
    sound: "reports the skew; retention and restores stay right",
};

/// The fault as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Where it strikes.
    pub aim: Aim,
    /// How far ahead; negative is behind.
    pub by: SignedDuration,
}

impl Default for Spec {
    fn default() -> Self {
        Self { aim: Aim::default(), by: SignedDuration::from_hours(1) }
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
    /// What to add to the bed's time.
    pub fn offset(&self) -> SignedDuration {
        self.by
    }
}
