//! The workload: fills the claims, writes each hour, and lets the days pass up to the fire.
//!
//! Promises that nothing is written while a copy of the claim is being taken, so that what a snapshot
//! must hold can be told, and that the fire comes just before a sync, when most would be lost.

use std::time::Duration;

use jiff::SignedDuration;
use jiff::Timestamp;
use json::json;
use scenario::tree::{Special, TreeSpec};
use testbed::bed::Bed;

use super::plan::{AppPlan, World};
use super::play::{Live, Play, Progress};

const HOUR: Duration = Duration::from_hours(1);

/// Fills a claim as the user that the manifests give.
pub(super) fn fill(bed: &Bed, live: &mut Live<'_>, seed: u64) {
    let Some(volume) = &live.volume else { return };
    let room = live.plan.capacity_bytes.unwrap_or(1 << 30) / 8;
    let mut spec = TreeSpec::plain(48, room.min(1 << 20), seed)
        .with(Special::HardLinks)
        .with(Special::Holes)
        .with(Special::Symlinks)
        .with(Special::EmptyDirectories)
        .with(Special::EmptyFiles)
        .with(Special::Xattrs)
        .with(Special::Database)
        .with(Special::Duplicates);
    if let Some(writer) = live.writer {
        spec = spec.owned_by(writer.uid, writer.fs_group.unwrap_or(writer.gid));
    }
    match volume.populate(&spec) {
        Ok(()) => live.states.push((bed.now(), volume.snapshot())),
        Err(error) => live.trouble = Some(format!("the claim cannot be filled: {error}")),
    }
}

/// Releases copies for claims whose copies wait for a trigger, as somebody must.
fn release_copies(bed: &mut Bed, claims: &[Live<'_>]) {
    for live in claims.iter().filter(|live| live.plan.copy_trigger) {
        let object = &live.plan.object;
        let waits = bed.get("PersistentVolumeClaim", &object.namespace, &object.name).is_some_and(|claim| {
            claim.pointer("/metadata/annotations/volsync.backube~1latest-copy-status")
                == Some(&json!("WaitingForTrigger"))
        });
        if waits {
            let patch =
                json!({"metadata": {"annotations": {"volsync.backube/copy-trigger": bed.now().to_string()}}});
            let _ = bed.patch("PersistentVolumeClaim", &object.namespace, &object.name, &patch);
        }
    }
}

/// Whether a source of the app is just now copying.
fn is_syncing(bed: &Bed, plan: &AppPlan) -> bool {
    plan.app.sources.iter().any(|source| {
        bed.get("ReplicationSource", &source.object.namespace, &source.object.name).is_some_and(|source| {
            source.pointer("/status/lastSyncStartTime").is_some_and(|time| !time.is_null())
        })
    })
}

/// Lets the days pass: the workload writes each hour, never while a copy of its claim is being taken.
pub(super) fn pass_days(
    bed: &mut Bed,
    world: &World,
    claims: &mut [Live<'_>],
    how: &Play,
    progress: Progress<'_>,
) {
    let begin = bed.now();
    let end = begin + SignedDuration::from_hours(24 * i64::from(how.days));
    let mut tick = 0_u64;
    // The workload writes at minute 37, which few schedules use.
    let past = begin.as_second().rem_euclid(3600);
    let mut next = begin + SignedDuration::from_secs((37 * 60 - past).rem_euclid(3600));
    while next <= end {
        if tick.is_multiple_of(24) {
            progress(&format!("day {} of {}", tick / 24 + 1, how.days));
        }
        bed.advance_to(next);
        release_copies(bed, claims);
        work(bed, world, claims, how.seed ^ tick);
        tick += 1;
        next += SignedDuration::try_from(HOUR).unwrap_or_default();
    }
    bed.advance_to(end);
    let upcoming = world
        .apps
        .iter()
        .flat_map(|plan| &plan.app.sources)
        .filter_map(|source| {
            bed.get("ReplicationSource", &source.object.namespace, &source.object.name)?
                .pointer("/status/nextSyncTime")?
                .as_str()?
                .parse::<Timestamp>()
                .ok()
        })
        .filter(|time| *time > end)
        .min();
    if let Some(upcoming) =
        upcoming.filter(|upcoming| upcoming.duration_since(end) < SignedDuration::from_hours(25))
    {
        let lead = upcoming - SignedDuration::from_secs(30);
        if lead > bed.now() {
            bed.advance_to(lead - SignedDuration::from_secs(10).min(lead.duration_since(bed.now())));
            work(bed, world, claims, how.seed ^ u64::MAX);
            bed.advance_to(lead);
        }
    }
}

fn work(bed: &mut Bed, world: &World, claims: &mut [Live<'_>], seed: u64) {
    for (at, live) in claims.iter_mut().enumerate() {
        let plan = &world.apps[live.app];
        if is_syncing(bed, plan) {
            let wait = Duration::from_mins(10);
            let _ = bed.wait_until("the copy to be over", wait, |bed| (!is_syncing(bed, plan)).then_some(()));
        }
        if is_syncing(bed, plan) {
            // A copy that hangs may be taken at any time: what it would hold could not be told.
            continue;
        }
        if let (Some(volume), None) = (&live.volume, &live.trouble) {
            match volume.work(seed.wrapping_mul(31).wrapping_add(at as u64), 4) {
                Ok(()) => live.states.push((bed.now(), volume.snapshot())),
                Err(error) => live.trouble = Some(format!("the workload cannot write: {error}")),
            }
        }
    }
}
