//! The maintenance schedule and record: a sealed blob, rewritten after every task.
//!
//! Also the pure rules that follow from the record: when rewriting and deleting is allowed, and up to
//! which time deletions are final. It runs nothing.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::SafetyParameters;
use crate::{
    blob,
    content::committed::Contents,
    encrypt::{seal, unseal},
    error::Error,
    store::ErrorKind,
};

/// The blob of the schedule.
pub const SCHEDULE_BLOB: &str = "kopia.maintenance";
/// Runs kept per task.
const RUNS_MAX: usize = 50;

pub const SNAPSHOT_GC: &str = "snapshot-gc";
pub const FULL_REWRITE: &str = "full-rewrite-contents";
pub const QUICK_REWRITE: &str = "quick-rewrite-contents";
pub const FULL_DELETE: &str = "full-delete-blobs";
pub const QUICK_DELETE: &str = "quick-delete-blobs";

/// One run of a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Whether it succeeded.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub success: bool,
    /// The failure.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// Kopia's statistics, kept as found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra: Option<Value>,
}

/// The schedule and the record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Schedule {
    /// When the next full cycle is due.
    pub next_full_maintenance: Option<Timestamp>,
    /// When the next quick cycle is due.
    pub next_quick_maintenance: Option<Timestamp>,
    /// Runs by task, newest first.
    pub runs: BTreeMap<String, Vec<Run>>,
}

const ASSOCIATED: &[u8] = b"maintenance";

impl Schedule {
    /// Reads the blob; an absent one is an empty schedule.
    pub async fn load(contents: &Contents) -> Result<Self, Error> {
        let corrupt = |detail: String| Error::CorruptBlob { blob: blob::Id::new(SCHEDULE_BLOB), detail };
        let bytes = match contents.store.get(SCHEDULE_BLOB, None).await {
            Ok(bytes) => bytes,
            Err(absent) if absent.kind == ErrorKind::NotFound => return Ok(Self::default()),
            Err(failure) => return Err(failure.into()),
        };
        let plain = unseal(&contents.secrets.maintenance_key, &bytes, ASSOCIATED)
            .map_err(|error| corrupt(error.to_string()))?;
        serde_json::from_slice(&plain).map_err(|error| corrupt(error.to_string()))
    }
    /// Writes the blob.
    pub async fn save(&self, contents: &Contents) -> Result<(), Error> {
        let plain = serde_json::to_vec(self).expect("plain data serialises");
        let sealed =
            seal(&contents.secrets.maintenance_key, contents.context.entropy.bytes(), &plain, ASSOCIATED);
        Ok(contents.store.put(SCHEDULE_BLOB, sealed.into()).await?)
    }
    /// Adds a run.
    pub fn record(&mut self, task: &str, run: Run) {
        let runs = self.runs.entry(task.to_owned()).or_default();
        runs.insert(0, run);
        runs.truncate(RUNS_MAX);
    }
    fn last_success(&self, tasks: &[&str]) -> Option<Timestamp> {
        let runs = tasks.iter().filter_map(|task| self.runs.get(*task)).flatten();
        runs.filter(|run| run.success).map(|run| run.end).max()
    }
    /// Whether short packs may be rewritten: never before the packs orphaned by the last rewrite are gone.
    pub fn may_rewrite(&self, rewrites: &[&str], safety: &SafetyParameters) -> bool {
        match self.last_success(rewrites) {
            Some(rewritten) if !safety.orphan_delay.is_zero() => {
                self.last_success(&[FULL_DELETE, QUICK_DELETE]).is_some_and(|deleted| deleted >= rewritten)
            }
            _ => true,
        }
    }
    /// Whether orphaned packs may be deleted: readers have had time to learn of the last rewrite.
    pub fn may_delete(&self, now: Timestamp, safety: &SafetyParameters) -> bool {
        self.last_success(&[FULL_REWRITE, QUICK_REWRITE])
            .is_none_or(|rewritten| now.duration_since(rewritten) >= safety.orphan_delay)
    }
    /// Up to which time deletions are final, if two collections far enough apart prove it.
    pub fn safe_drop_time(&self, now: Timestamp, safety: &SafetyParameters) -> Option<Timestamp> {
        if !safety.two_cycles {
            return Some(now);
        }
        let mut runs: Vec<&Run> =
            self.runs.get(SNAPSHOT_GC).into_iter().flatten().filter(|run| run.success).collect();
        runs.sort_by_key(|run| std::cmp::Reverse(run.start));
        let newest = runs.first()?.start;
        let earlier = runs[1..].iter().find(|run| newest.duration_since(run.end) > safety.gc_gap)?;
        earlier.start.checked_sub(safety.drop_margin).ok()
    }
}

/// How careful each step is; section 9.8 of the format.
impl SafetyParameters {
    /// Kopia's defaults.
    pub const FULL: Self = Self {
        rewrite_age: SignedDuration::from_hours(2),
        gc_age: SignedDuration::from_hours(24),
        two_cycles: true,
        gc_gap: SignedDuration::from_hours(4),
        drop_margin: SignedDuration::from_hours(1),
        pack_age: SignedDuration::from_hours(24),
        session_age: SignedDuration::from_hours(96),
        orphan_delay: SignedDuration::from_hours(1),
    };
    /// Nobody else uses the repository.
    pub const NONE: Self = Self {
        rewrite_age: SignedDuration::ZERO,
        gc_age: SignedDuration::ZERO,
        two_cycles: false,
        gc_gap: SignedDuration::ZERO,
        drop_margin: SignedDuration::ZERO,
        pack_age: SignedDuration::ZERO,
        session_age: SignedDuration::ZERO,
        orphan_delay: SignedDuration::ZERO,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + minutes * 60).unwrap()
    }
    fn schedule(runs: &[(&str, i64, bool)]) -> Schedule {
        let mut schedule = Schedule::default();
        for (task, minutes, success) in runs {
            schedule.record(
                task,
                Run { start: at(*minutes), end: at(minutes + 1), success: *success, ..Run::default() },
            );
        }
        schedule
    }

    #[test]
    fn deletions_are_final_only_after_two_collections_far_apart() {
        let check = |runs: &[(&str, i64, bool)], expected: Option<i64>| {
            assert_eq!(
                schedule(runs).safe_drop_time(at(9999), &SafetyParameters::FULL),
                expected.map(at),
                "{runs:?}"
            );
        };
        check(&[], None);
        check(&[(SNAPSHOT_GC, 0, true)], None);
        check(&[(SNAPSHOT_GC, 0, true), (SNAPSHOT_GC, 241, true)], None);
        check(&[(SNAPSHOT_GC, 0, true), (SNAPSHOT_GC, 242, true)], Some(-60));
        check(&[(SNAPSHOT_GC, 0, true), (SNAPSHOT_GC, 242, false)], None);
        check(&[(SNAPSHOT_GC, 0, true), (SNAPSHOT_GC, 200, true), (SNAPSHOT_GC, 300, true)], Some(-60));
        assert_eq!(schedule(&[]).safe_drop_time(at(5), &SafetyParameters::NONE), Some(at(5)));
    }

    #[test]
    fn rewriting_and_deleting_alternate() {
        let (full, none) = (SafetyParameters::FULL, SafetyParameters::NONE);
        let rewritten = schedule(&[(FULL_REWRITE, 0, true)]);
        assert!(schedule(&[]).may_rewrite(&[FULL_REWRITE], &full) && schedule(&[]).may_delete(at(0), &full));
        assert!(
            !rewritten.may_rewrite(&[FULL_REWRITE], &full) && rewritten.may_rewrite(&[FULL_REWRITE], &none)
        );
        assert!(!rewritten.may_delete(at(60), &full) && rewritten.may_delete(at(61), &full));
        let deleted = schedule(&[(FULL_REWRITE, 0, true), (FULL_DELETE, 90, true)]);
        assert!(deleted.may_rewrite(&[FULL_REWRITE], &full));
    }

    #[test]
    fn only_the_newest_fifty_runs_are_kept() {
        let mut schedule = Schedule::default();
        for minutes in 0..60 {
            schedule.record(SNAPSHOT_GC, Run { start: at(minutes), ..Run::default() });
        }
        assert_eq!(schedule.runs[SNAPSHOT_GC].len(), 50);
        assert_eq!(schedule.runs[SNAPSHOT_GC][0].start, at(59));
    }
}
