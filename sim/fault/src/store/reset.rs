//! Reset: the connection breaks in the middle of a body.
//!
//! The world: a load balancer that restarts, a NAT table that is full, a mobile uplink. What was being put is not
//! stored; of what was being got, a part has come. A double that moves whole blobs breaks every body, one on the
//! wire only those that are long enough. A sound subject tries again or fails the Job, and never takes half of a
//! body for all of it.
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "store-reset",
    seam: Seam::Store,
    survivable: true,
    about: "the connection to the store is reset in the middle of a body",
    aims_at: "Jobs by actor; class <store>/<blob class>; operations put, get, list",
    sound: "tries again, or fails the Job without a false success; half a body is never taken for all of it",
};

/// What a client's system says.
const WORDS: &str = "connection reset by peer";

/// The fault as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Where it strikes.
    pub aim: Aim,
    /// Pattern over the operations struck; those without a body never are.
    pub operation: String,
    /// So many bytes of the body pass first.
    pub after_bytes: u64,
}

impl Default for Spec {
    fn default() -> Self {
        // Less than the smallest thing that a repository holds: the sealed format blob has several hundred bytes.
        Self { aim: Aim::default(), operation: "*".to_owned(), after_bytes: 100 }
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
            && matches!(point.operation.as_str(), "put" | "get" | "list")
            && crate::aim::matches(&self.operation, &point.operation)
    }
    fn verdict(&self, _: &Point, _: &mut ChaCha8Rng, _: &mut BTreeSet<String>) -> Verdict {
        Verdict::fail("ECONNRESET", WORDS)
    }
}
