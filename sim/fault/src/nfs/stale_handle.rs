//! Stale handle: the export was replaced under its mounts.
//!
//! The world: a dataset rolled back, a re-export with another fsid, a container server recreated. Handles of
//! existing mounts answer ESTALE for as long as those mounts live; new mounts are good. The verdict
//! `Corrupt("fsid")` tells the export to begin a new generation, once; the staleness of old mounts is not
//! undone by the lift. A sound subject fails the Job; a new pod succeeds.
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "nfs-stale-handle",
    seam: Seam::Nfs,
    survivable: true,
    about: "the export's fsid changes: existing mounts answer ESTALE, new mounts are good",
    aims_at: "the first matching request",
    sound: "the Job fails, older snapshots verify, the next sync (a new mount) heals",
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
        point.seam == Seam::Nfs
    }
    fn verdict(&self, _: &Point, _: &mut ChaCha8Rng, memory: &mut BTreeSet<String>) -> Verdict {
        if memory.insert("struck".to_owned()) {
            Verdict::Corrupt("fsid".to_owned())
        } else {
            Verdict::Proceed
        }
    }
}
