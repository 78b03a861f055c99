//! Maintenance: collecting what no snapshot needs, never a byte too early.
//!
//! The order of tasks, the waiting times and the record are Kopia's, so that Kopia and this engine can take
//! turns. One identity owns it. It does not verify snapshots.

mod collect;
pub(crate) mod run;
pub(crate) mod schedule;

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Which cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MaintenanceKind {
    /// Compacts indexes.
    Quick,
    /// Collects garbage, rewrites short packs, deletes orphaned packs, compacts indexes.
    Full,
}

/// How careful to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Safety {
    /// Correct with other clients at work.
    #[default]
    Full,
    /// Correct only when nobody else uses the repository.
    None,
}

/// How often a cycle runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// Whether it runs at all.
    pub enabled: bool,
    /// How often.
    pub interval: std::time::Duration,
}

/// One recorded run of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRun {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// The failure; `None` when it succeeded.
    pub error: Option<String>,
}

/// What the repository tells about its maintenance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaintenanceInfo {
    /// `user@host`; empty when nobody owns it.
    pub owner: String,
    /// The quick cycle.
    pub quick: Cycle,
    /// The full cycle.
    pub full: Cycle,
    /// When the next quick cycle is due; `None` when none ever ran.
    pub next_quick: Option<Timestamp>,
    /// When the next full cycle is due; `None` when none ever ran.
    pub next_full: Option<Timestamp>,
    /// Runs per task (Kopia's names), newest first, at most 50.
    pub runs: BTreeMap<String, Vec<TaskRun>>,
}

/// What one task did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskReport {
    /// Kopia's name of the task.
    pub name: &'static str,
    /// How many things (contents, packs, index blobs) it dealt with.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The outcome of a maintenance run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaintenanceReport {
    /// Which cycle ran.
    pub kind: MaintenanceKind,
    /// The store's time at its start.
    pub start: Timestamp,
    /// What each task did, in order; tasks that were not due are absent.
    pub tasks: Vec<TaskReport>,
}

/// Waiting times of the steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SafetyParameters {
    /// Contents younger than this are not rewritten.
    rewrite_age: SignedDuration,
    /// Contents younger than this are not collected.
    gc_age: SignedDuration,
    /// Whether deletions become final only after two collections.
    two_cycles: bool,
    /// How far apart those are.
    gc_gap: SignedDuration,
    /// How much earlier than the first of them a deletion must be.
    drop_margin: SignedDuration,
    /// Packs younger than this are not deleted.
    pack_age: SignedDuration,
    /// Sessions older than this own nothing any more.
    session_age: SignedDuration,
    /// How long after a rewrite orphans stay.
    orphan_delay: SignedDuration,
}

/// The payload of the maintenance manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Parameters {
    /// `user@host`.
    pub owner: String,
    quick: CycleDocument,
    full: CycleDocument,
    log_retention: BTreeMap<String, i64>,
    extend_object_locks: bool,
    list_parallelism: i64,
    #[serde(flatten)]
    other: Map<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CycleDocument {
    enabled: bool,
    interval: i64,
}

impl Default for Parameters {
    /// What Kopia gives new repositories, without an owner.
    fn default() -> Self {
        const HOUR: i64 = 3_600_000_000_000;
        let retention = [("maxTotalSize", 1 << 30), ("maxCount", 10_000), ("maxAge", 30 * 24 * HOUR)];
        Self {
            owner: String::new(),
            quick: CycleDocument { enabled: true, interval: HOUR },
            full: CycleDocument { enabled: true, interval: 24 * HOUR },
            log_retention: retention.map(|(name, value)| (name.to_owned(), value)).into(),
            extend_object_locks: false,
            list_parallelism: 0,
            other: Map::new(),
        }
    }
}

impl CycleDocument {
    fn cycle(&self) -> Cycle {
        Cycle {
            enabled: self.enabled,
            interval: Duration::from_nanos(u64::try_from(self.interval).unwrap_or(0)),
        }
    }
}

impl Parameters {
    /// The same under another owner.
    pub(crate) fn owned_by(self, owner: &str) -> Self {
        Self { owner: owner.to_owned(), ..self }
    }
    pub(crate) fn quick(&self) -> Cycle {
        self.quick.cycle()
    }
    pub(crate) fn full(&self) -> Cycle {
        self.full.cycle()
    }
}
