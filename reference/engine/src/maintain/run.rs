//! One maintenance cycle: the frame, and the tasks in Kopia's order.
//!
//! The schedule is written first, and the store's time of that write is the start of the run: a clock that
//! disagrees by more than five minutes stops it. Every task is recorded, failed ones too; the first failure
//! ends the run.

#![expect(clippy::cast_possible_wrap, reason = "sizes and counts stay far below 2^63")]

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{
    Cycle, MaintenanceKind, MaintenanceReport, Parameters, Safety, SafetyParameters, TaskReport,
    collect::{self, Tally},
    schedule::{FULL_DELETE, FULL_REWRITE, Run, SCHEDULE_BLOB, SNAPSHOT_GC, Schedule},
};
use crate::{
    content::{committed::Contents, session::put_compacted},
    error::Error,
    monitor::{Event, Monitor},
    snapshot::Snapshot,
    store::Metadata,
};

/// More disagreement between clocks is not safe.
const SKEW_SECONDS_MAX: i64 = 5 * 60;

/// A running cycle.
pub struct Maintenance<'a> {
    pub contents: &'a Contents,
    pub parameters: Parameters,
    pub monitor: &'a dyn Monitor,
    pub schedule: Schedule,
    pub start: Timestamp,
    pub safety: SafetyParameters,
    pub tasks: Vec<TaskReport>,
}

fn next(now: Timestamp, cycle: &Cycle) -> Option<Timestamp> {
    now.checked_add(SignedDuration::try_from(cycle.interval).ok()?).ok()
}

/// Runs one cycle. `snapshots` are read anew for it.
pub async fn run(
    contents: &Contents,
    parameters: Parameters,
    snapshots: impl AsyncFnOnce() -> Result<Vec<Snapshot>, Error>,
    kind: MaintenanceKind,
    safety: Safety,
    monitor: &dyn Monitor,
) -> Result<MaintenanceReport, Error> {
    let mut schedule = Schedule::load(contents).await?;
    let now = (contents.context.now)();
    if kind == MaintenanceKind::Full {
        schedule.next_full_maintenance = next(now, &parameters.full());
    }
    schedule.next_quick_maintenance = next(now, &parameters.quick());
    schedule.save(contents).await?;
    let start = contents.store.stat(SCHEDULE_BLOB).await?.modified;
    let skew_seconds = (contents.context.now)().as_second() - start.as_second();
    if skew_seconds.abs() > SKEW_SECONDS_MAX {
        return Err(Error::ClockSkew { skew_seconds });
    }
    contents.refresh().await?;
    let safety = match safety {
        Safety::Full => SafetyParameters::FULL,
        Safety::None => SafetyParameters::NONE,
    };
    let mut run = Maintenance { contents, parameters, monitor, schedule, start, safety, tasks: Vec::new() };
    match kind {
        MaintenanceKind::Quick => run.epochs_quick().await?,
        MaintenanceKind::Full => {
            let snapshots = snapshots().await?;
            run.full(&snapshots).await?;
        }
    }
    Ok(MaintenanceReport { kind, start, tasks: run.tasks })
}

impl Maintenance<'_> {
    /// Runs a task and records it, whatever came of it.
    async fn task<F: Future<Output = Result<Tally, Error>>>(
        &mut self,
        name: &'static str,
        work: F,
    ) -> Result<(), Error> {
        if self.monitor.cancelled() {
            return Err(Error::Cancelled);
        }
        self.monitor.event(Event::Task(name));
        let start = (self.contents.context.now)();
        let outcome = work.await;
        let end = (self.contents.context.now)();
        let error = outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
        self.schedule.record(name, Run { start, end, success: outcome.is_ok(), error, extra: None });
        self.schedule.save(self.contents).await?;
        let (count, bytes) = outcome?;
        self.tasks.push(TaskReport { name, count, bytes });
        Ok(())
    }

    async fn epochs_quick(&mut self) -> Result<(), Error> {
        let contents = self.contents;
        self.task("compact-single-epoch", compact_epoch(contents)).await?;
        self.task("advance-epoch", advance_epoch(contents)).await
    }

    async fn full(&mut self, snapshots: &[Snapshot]) -> Result<(), Error> {
        let (contents, start, safety) = (self.contents, self.start, self.safety.clone());
        self.task(SNAPSHOT_GC, collect::collect(contents, snapshots, start, &safety)).await?;
        if self.schedule.may_rewrite(&[FULL_REWRITE], &safety) {
            self.task(FULL_REWRITE, collect::rewrite(contents, &safety)).await?;
        }
        if let Some(time) = self.schedule.safe_drop_time((contents.context.now)(), &safety) {
            self.task("full-drop-deleted-content", drop_deleted(contents, time)).await?;
        }
        if self.schedule.may_delete((contents.context.now)(), &safety) {
            self.task(FULL_DELETE, collect::delete_orphans(contents, start, &safety)).await?;
        }
        self.epochs_quick().await?;
        self.task("generate-epoch-range-index", compact_range(contents)).await?;
        let epochs = &contents.secrets.format.epochs;
        let markers = contents.view().epochs.superseded_markers(epochs);
        self.task("cleanup-epoch-markers", delete_all(contents, markers)).await?;
        let indexes = contents.view().epochs.superseded_indexes(epochs);
        self.task("delete-superseded-epoch-indexes", delete_all(contents, indexes)).await?;
        let retention = self.parameters.log_retention.clone();
        self.task("cleanup-logs", clean_logs(contents, retention)).await
    }
}

async fn delete_all(contents: &Contents, blobs: Vec<Metadata>) -> Result<Tally, Error> {
    let (mut count, mut bytes) = (0, 0);
    for blob in blobs {
        contents.store.delete(&blob.id).await?;
        count += 1;
        bytes += blob.length;
    }
    if count > 0 {
        contents.refresh().await?;
    }
    Ok((count, bytes))
}

async fn compact_epoch(contents: &Contents) -> Result<Tally, Error> {
    let Some((epoch, blobs)) = contents.view().epochs.to_compact() else { return Ok((0, 0)) };
    let merged = contents.view().merge_blobs(&blobs)?;
    if merged.is_empty() {
        return Ok((0, 0));
    }
    let (_, bytes) = put_compacted(contents, &merged, &format!("xs{epoch}_")).await?;
    contents.refresh().await?;
    Ok((blobs.len() as u64, bytes))
}

async fn compact_range(contents: &Contents) -> Result<Tally, Error> {
    let Some((first, last, blobs)) = contents.view().epochs.to_compact_range(&contents.secrets.format.epochs)
    else {
        return Ok((0, 0));
    };
    let merged = contents.view().merge_blobs(&blobs)?;
    if merged.is_empty() {
        return Ok((0, 0));
    }
    let (_, bytes) = put_compacted(contents, &merged, &format!("xr{first}_{last}_")).await?;
    contents.refresh().await?;
    Ok((blobs.len() as u64, bytes))
}

async fn advance_epoch(contents: &Contents) -> Result<Tally, Error> {
    let view = contents.view();
    if !view.epochs.should_advance(&contents.secrets.format.epochs) {
        return Ok((0, 0));
    }
    let marker = format!("xe{}", view.epochs.current + 1);
    contents.store.put(&marker, "epoch-marker".into()).await?;
    // No look at it in this run, as in Kopia: a range that covered the epoch which settles by it would keep
    // that epoch from being compacted by itself, and its index blobs from ever being deleted.
    Ok((1, 0))
}

async fn drop_deleted(contents: &Contents, time: Timestamp) -> Result<Tally, Error> {
    let seconds = time.as_second();
    let view = contents.view();
    if seconds <= 0 || view.epochs.watermark.is_some_and(|watermark| watermark >= seconds) {
        return Ok((0, 0));
    }
    let before = view.all()?.len();
    contents.store.put(&format!("xw{seconds}"), "deletion-watermark".into()).await?;
    contents.refresh().await?;
    Ok((before.saturating_sub(contents.view().all()?.len()) as u64, 0))
}

/// Deletes diagnostics of Kopia: from the first that exceeds count, size or age, that one and all older ones.
async fn clean_logs(contents: &Contents, retention: BTreeMap<String, i64>) -> Result<Tally, Error> {
    let limit =
        |name: &str, default: i64| retention.get(name).copied().filter(|limit| *limit > 0).unwrap_or(default);
    let (bytes_max, count_max) = (limit("maxTotalSize", 1 << 30), limit("maxCount", 10_000));
    let age_max = SignedDuration::from_nanos(limit("maxAge", 30 * 86_400 * 1_000_000_000));
    let mut logs = contents.store.list("_log_").await?;
    logs.sort_by(|a, b| (b.modified, &b.id).cmp(&(a.modified, &a.id)));
    let now = (contents.context.now)();
    let (mut bytes, mut kept) = (0, 0);
    for log in &logs {
        bytes += log.length as i64;
        if bytes > bytes_max || kept as i64 >= count_max || now.duration_since(log.modified) > age_max {
            break;
        }
        kept += 1;
    }
    delete_all(contents, logs.split_off(kept)).await
}
