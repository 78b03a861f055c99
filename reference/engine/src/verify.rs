//! Verification: is everything that snapshots name still there, and does it open?
use crate::{manifest, snapshot::{Damage, Filter}};

/// How to verify.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifyOptions {
    /// Which snapshots.
    pub which: Filter,
    /// Only these, when given.
    pub snapshots: Option<Vec<manifest::Id>>,
    /// Percentage of files to read completely, `0.0..=100.0`; the choice is drawn from the context.
    pub read_percent: f64,
    /// Stop after so many damages; `None` finds all.
    pub damages_max: Option<usize>,
}

impl Default for VerifyOptions {
    /// Every snapshot, every file read, every damage named.
    fn default() -> Self {
        Self { which: Filter::all(), snapshots: None, read_percent: 100.0, damages_max: None }
    }
}

/// The outcome of a verification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Snapshots walked.
    pub snapshots: u64,
    /// Directories read.
    pub directories: u64,
    /// Files and symlinks checked.
    pub files: u64,
    /// Files read completely.
    pub files_read: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Exactly the affected paths, per snapshot.
    pub damages: Vec<Damage>,
}

impl VerifyReport {
    /// Whether nothing is damaged.
    pub fn is_whole(&self) -> bool {
        self.damages.is_empty()
    }
}
