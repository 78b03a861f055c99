//! Faults: when, where, what, as data, and the register that arms, fires and lifts them.
//!
//! A seam's double asks the [`Register`] at every operation, with a stable [`Point`]; the register answers
//! with a [`Verdict`] which the double carries out. It promises that every firing is counted and seen by
//! the observer; it never reads a clock and draws chance only from its seed. It does not know what a
//! repository, a volume or a cluster is. (First cut: the fault room completes it.)

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// The place where an outside thing enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seam {
    /// An object store or a repository directory.
    Store,
    /// A volume's file tree.
    Tree,
    /// The Kubernetes API.
    Api,
    /// The CSI driver's RPCs.
    Csi,
    /// Pods and the processes in them.
    Process,
    /// An NFS export.
    Nfs,
    /// The clock.
    Clock,
}

/// One operation at a seam, named so that faults can aim at it and the record can show it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Point {
    /// Which seam.
    pub seam: Seam,
    /// Who acts: `volsync-src-app`, `csi-snapshotter`, a claim's name.
    pub actor: String,
    /// What: `put`, `get`, `DeleteSnapshot`, `write-back`, `start`.
    pub operation: String,
    /// On which class of thing: `p` packs, `xn` indexes, a volume or snapshot name.
    pub class: String,
    /// How many times this (seam, actor, operation, class) has happened before.
    pub nth: u64,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}/{}/{}#{}", self.seam, self.actor, self.operation, self.class, self.nth)
    }
}

/// What a double must do at a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Carry on.
    Proceed,
    /// Fail with an error code of the seam (`EIO`, `ESTALE`, `DeadlineExceeded`, `503`) and its text.
    Fail {
        /// The seam's code.
        code: String,
        /// The text that goes with it.
        message: String,
    },
    /// Do not answer before the fault is lifted.
    Hang,
    /// Answer later.
    Delay(Duration),
    /// Say it was done, and do not do it.
    Swallow,
    /// Do it with altered bytes; the mask tells how (see the fault's own file).
    Corrupt(String),
    /// End the process at this point with this signal or exit code.
    Kill(i32),
}
