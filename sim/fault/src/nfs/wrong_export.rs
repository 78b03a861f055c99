//! Wrong export: the mount shows another directory, or an empty one.
//!
//! The world: the NAS boots and its encrypted pool stays locked, so the export shows the empty mount
//! point beneath; or a path is mistyped. `connect` finds no repository, and a script that then creates
//! one splits the history in two. `Corrupt("empty")` and `Corrupt("other")` tell the export which
//! directory to show; the lift brings the right one back. A sound subject refuses, since the repository
//! is not the one it knew, and never creates another one silently.
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "nfs-wrong-export",
    seam: Seam::Nfs,
    survivable: true,
    about: "the export shows an empty directory, or another one",
    aims_at: "mounts by actor; exports by name",
    sound: "refuses: the repository is not the one it knew; creates none; goes on after the lift",
};

/// What stands in the right directory's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shown {
    /// Nothing: the bare mount point.
    #[default]
    Empty,
    /// Another directory, which keeps what is written into it.
    Other,
}

/// The fault as data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Where it strikes.
    pub aim: Aim,
    /// What is shown.
    pub shown: Shown,
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
    fn verdict(&self, _: &Point, _: &mut ChaCha8Rng, _: &mut BTreeSet<String>) -> Verdict {
        Verdict::Corrupt(match self.shown {
            Shown::Empty => "empty".to_owned(),
            Shown::Other => "other".to_owned(),
        })
    }
}
