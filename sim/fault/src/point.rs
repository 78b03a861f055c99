//! Where a fault may enter, and what a double is told to do there.
//!
//! A [`Point`] names one operation so that a fault can aim at it, the record can show it and an explorer
//! can enumerate it. Names are stable: the same run gives the same points. It holds no behaviour.
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

impl Seam {
    /// The seam's name, as scenarios and point ids spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Tree => "tree",
            Self::Api => "api",
            Self::Csi => "csi",
            Self::Process => "process",
            Self::Nfs => "nfs",
            Self::Clock => "clock",
        }
    }
}

impl fmt::Display for Seam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
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
    /// On which class of thing: `main/p` packs, `main/xn` indexes, a volume or snapshot name.
    pub class: String,
    /// How many times this (seam, actor, operation, class) has happened before.
    pub nth: u64,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}:{}#{}", self.seam, self.actor, self.operation, self.class, self.nth)
    }
}

/// What a double must do at a point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
    /// Do it with altered bytes or on another thing; the mask tells how (see the fault's own file).
    Corrupt(String),
    /// End the process at this point with this signal.
    Kill(i32),
}

impl Verdict {
    /// Builds a failure.
    pub fn fail(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Fail { code: code.into(), message: message.into() }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proceed => f.write_str("proceed"),
            Self::Fail { code, message } => write!(f, "fail {code}: {message}"),
            Self::Hang => f.write_str("hang"),
            Self::Delay(by) => write!(f, "delay {}ms", by.as_millis()),
            Self::Swallow => f.write_str("swallow"),
            Self::Corrupt(mask) => write!(f, "corrupt {mask}"),
            Self::Kill(signal) => write!(f, "kill {signal}"),
        }
    }
}
