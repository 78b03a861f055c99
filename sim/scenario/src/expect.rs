//! Expectations: what a scenario looks at. None of them changes anything or lets time pass.
//!
//! Each names what it looks at in the user's words and says what must be there. An expectation holds
//! no truth of its own: what a volume held is known by the bed's ledger, who wrote it.

use json::Value;
use serde::{Deserialize, Serialize};

use crate::{
    fields::Fields,
    name::{Name, ObjectRef},
    quantity::Span,
};

/// What must be so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expect {
    /// A replication source has synchronised so many times.
    Synchronised {
        /// Which.
        source: Name,
        /// How often.
        times: Count,
    },
    /// A snapshot, restored into an empty tree, equals what a volume held.
    SnapshotHolds {
        /// Whose snapshot.
        source: Name,
        /// Which of them.
        #[serde(default)]
        which: Which,
        /// The volume.
        volume: Name,
        /// When the volume held it.
        #[serde(default)]
        at: Moment,
    },
    /// A claim holds what a volume held.
    ClaimHolds {
        /// The claim that is looked at.
        claim: Name,
        /// The volume.
        volume: Name,
        /// When the volume held it.
        #[serde(default)]
        at: Moment,
    },
    /// A claim holds nothing.
    ClaimEmpty(Name),
    /// A claim is bound, or is not.
    ClaimBound {
        /// Which.
        claim: Name,
        /// Whether.
        bound: bool,
    },
    /// So many snapshots of a replication source are in the repository.
    Snapshots {
        /// Whose.
        source: Name,
        /// How many.
        count: Count,
    },
    /// Each counted sync left one snapshot, and no snapshot lacks its sync.
    NoDuplicateSnapshot(Name),
    /// Under one replication source's identity, none of another's snapshots is to be seen.
    NotVisible {
        /// Whose snapshots.
        of: Name,
        /// Under whose identity.
        to: Name,
    },
    /// What the last run of a mover came to.
    LastRun {
        /// Which replication source or destination.
        of: ObjectRef,
        /// Successful or failed.
        result: RunResult,
    },
    /// A mover's Job of this replication has failed at least once.
    JobFailed(Name),
    /// The log of the mover's last run contains a text.
    MoverLog {
        /// Whose mover.
        of: ObjectRef,
        /// The text.
        contains: String,
    },
    /// A replication destination offers an image.
    LatestImage {
        /// Which.
        destination: Name,
        /// Whether.
        present: bool,
    },
    /// A replication destination calls nothing restored: no image, no successful run.
    NothingRestored(Name),
    /// A condition of an object.
    Condition {
        /// Which object.
        object: ObjectRef,
        /// The condition's type; any if not said.
        #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
        class: Option<String>,
        /// Text that its reason or message contains.
        contains: String,
    },
    /// An event about an object was seen during the run.
    Event {
        /// Which object.
        object: ObjectRef,
        /// `Normal` or `Warning`; any if not said.
        #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
        class: Option<String>,
        /// Text that its reason or message contains.
        contains: String,
    },
    /// An object exists, or does not.
    Exists {
        /// Which.
        object: ObjectRef,
        /// Whether.
        present: bool,
    },
    /// Fields of an object have values, by path from its root; null means absent.
    Object {
        /// Which.
        object: ObjectRef,
        /// The fields.
        has: Fields,
    },
    /// Every blob, content and file of a repository reads back.
    RepositoryVerifies(Name),
    /// Verification of a repository names exactly these paths.
    RepositoryFails {
        /// Which.
        repository: Name,
        /// The paths within the snapshots.
        naming: Vec<String>,
    },
    /// The newest snapshot of a volume restores, on a machine that has never seen the repository, to what the volume
    /// held when it was taken.
    RestoresElsewhere {
        /// Which repository.
        repository: Name,
        /// The volume, backed up into it by a replication source.
        volume: Name,
    },
    /// The repository is still the one it was when it was first seen.
    SameRepository(Name),
    /// The user and host that maintain a repository.
    MaintenanceOwner {
        /// Which.
        repository: Name,
        /// `user@host`.
        owner: String,
    },
    /// A fault has fired.
    FaultFired(String),
    /// A metric of the controller has a value.
    Metric {
        /// Its name.
        name: String,
        /// Labels that it must carry.
        #[serde(default, skip_serializing_if = "Fields::is_empty")]
        labels: Fields,
        /// Its value.
        value: Value,
    },
    /// A replication source is reported as overdue, or is not.
    Overdue {
        /// Which.
        source: Name,
        /// Whether.
        overdue: bool,
    },
    /// The last sync is at most so old.
    LastSyncWithin {
        /// Of which replication source.
        source: Name,
        /// How old.
        span: Span,
    },
    /// The replication source is busy with a sync, or is not.
    Synchronising {
        /// Which.
        source: Name,
        /// Whether.
        busy: bool,
    },
}

/// How many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Count {
    /// Exactly.
    Exactly(u32),
    /// At least.
    AtLeast(u32),
    /// At most.
    AtMost(u32),
}

impl Count {
    /// Whether a number is right.
    pub const fn allows(self, number: u32) -> bool {
        match self {
            Self::Exactly(wanted) => number == wanted,
            Self::AtLeast(least) => number >= least,
            Self::AtMost(most) => number <= most,
        }
    }
}

/// Which of a replication source's snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// The newest.
    #[default]
    Newest,
    /// So many before the newest.
    Before(u32),
    /// The newest at a remembered moment.
    AsOf(String),
}

/// When a volume held something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// When the snapshot that is looked at was taken.
    #[default]
    LastSync,
    /// At a remembered moment.
    Remembered(String),
    /// Just now.
    Now,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunResult {
    /// As `latestMoverStatus.result` says it.
    Successful,
    /// As `latestMoverStatus.result` says it.
    Failed,
}
