//! SIGTERM: the pod is told to stop (drain, eviction, pause in the middle of a run).
//!
//! The world: kubelet sends SIGTERM and, after the grace period, SIGKILL. The real operator's script answers
//! SIGTERM with the code of the last finished command, 0, and the sync counts although nothing was backed up
//! (`mover-sigterm-reported-successful`). A sound mover ends non-zero, nothing is counted, the next run heals.
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "process-sigterm",
    seam: Seam::Process,
    survivable: true,
    about: "a process is sent SIGTERM at a named point",
    aims_at: "any point of any seam: seam, operation, actor, class and number (skip)",
    sound: "ends non-zero, nothing is counted, the next run heals",
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
        Verdict::Kill(15)
    }
}
