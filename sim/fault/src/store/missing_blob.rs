//! Missing blob: a stored blob is gone while indexes still speak of it.
//!
//! The world: a bucket life-cycle rule, a partial mirror, unsafe maintenance. New backups go on deduplicating
//! against contents that no longer exist. The victim is chosen by seed among the blobs of the aimed class;
//! lifting puts it back. A sound subject's verify names the blob and the paths; what does not need it restores.
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "store-missing-blob",
    seam: Seam::Store,
    survivable: false,
    about: "a stored blob vanishes",
    aims_at: "stores by name; blobs by class or by name",
    sound: "verify names the blob and the affected paths; the rest restores; new snapshots do not count as whole",
};

/// The fault as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Where it strikes.
    pub aim: Aim,
    /// Pattern over the store's name.
    pub store: String,
    /// Pattern over blob names; `p*` is any pack of file contents, `q*` any of directories and manifests.
    pub blob: String,
}

impl Default for Spec {
    fn default() -> Self {
        Self { aim: Aim::default(), store: "*".to_owned(), blob: "p*".to_owned() }
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

/// What was struck, so that the lift can undo it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victim {
    /// The blob.
    pub blob: String,
}

impl Spec {
    /// Picks a victim among the holder's blobs, given in a stable order with their lengths; `None` when
    /// none fits yet.
    pub fn choose(&self, blobs: &[(String, u64)], seed: u64) -> Option<Victim> {
        let candidates: Vec<&(String, u64)> =
            blobs.iter().filter(|(name, _)| crate::aim::matches(&self.blob, name)).collect();
        let ((blob, _), _) = super::pick(&candidates, seed)?;
        Some(Victim { blob: blob.clone() })
    }
}
