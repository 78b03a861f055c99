//! Maintenance: collecting what no snapshot needs, never a byte too early.
use std::collections::BTreeMap;

use jiff::Timestamp;

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
