//! OOM kill: the process dies by SIGKILL at a named point, without a word.
//!
//! The world: a memory limit, an index that grew. Exit code 137, reason `OOMKilled`; whatever was not
//! acknowledged by the store is not there. A sound subject counts nothing, tries again, and the repository
//! verifies.
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "process-oom-kill",
    seam: Seam::Process,
    survivable: true,
    about: "the kernel kills a process for memory at a named point",
    aims_at: "any point of any seam: seam, operation, actor, class and number (skip)",
    sound: "counts nothing, tries again, the repository verifies",
};

/// The fault as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Where it strikes.
    pub aim: Aim,
    /// The seam at whose point it strikes.
    pub seam: Seam,
    /// Pattern over that seam's operations.
    pub operation: String,
}

impl Default for Spec {
    fn default() -> Self {
        Self { aim: Aim::default(), seam: Seam::Store, operation: "put".to_owned() }
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
        point.seam == self.seam && crate::aim::matches(&self.operation, &point.operation)
    }
    fn verdict(&self, _: &Point, _: &mut ChaCha8Rng, memory: &mut BTreeSet<String>) -> Verdict {
        // Once, unless the aim says how often: the next attempt is to get through.
        if self.aim.times.is_none() && !memory.insert("struck".to_owned()) {
            return Verdict::Proceed;
        }
        Verdict::Kill(9)
    }
}
