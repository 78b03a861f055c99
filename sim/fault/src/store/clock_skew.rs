//! Clock skew: the store's clock stands so far off that it refuses what is signed by ours.
//!
//! The world: a NAS that lost its battery, a node without NTP. S3 tolerates fifteen minutes between a request's
//! time and its own; beyond them no key helps. A sound subject fails the Job, and says that it is the clock.
use std::collections::BTreeSet;

use jiff::SignedDuration;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "store-clock-skew",
    seam: Seam::Store,
    survivable: true,
    about: "the store's clock is off, and signed requests are refused as too far from it",
    aims_at: "Jobs by actor; class <store>/<blob class>",
    sound: "fails the Job without a false success, naming the clock; the next sync heals",
};

/// What S3 tolerates.
const TOLERATED: SignedDuration = SignedDuration::from_mins(15);

/// The fault as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Where it strikes.
    pub aim: Aim,
    /// How far the store's clock is ahead; up to fifteen minutes nothing happens.
    pub by: SignedDuration,
}

impl Default for Spec {
    fn default() -> Self {
        Self { aim: Aim::default(), by: SignedDuration::from_mins(20) }
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
        point.seam == Seam::Store && self.by.abs() > TOLERATED
    }
    fn verdict(&self, _: &Point, _: &mut ChaCha8Rng, _: &mut BTreeSet<String>) -> Verdict {
        Verdict::fail(
            "403",
            "RequestTimeTooSkewed: The difference between the request time and the server's time is too large.; set \
             the clock of the node or of the store",
        )
    }
}
