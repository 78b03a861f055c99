//! Compares what came back with what had to come back.
//!
//! Promises that the state which must come back is the one that the workload had left when the last
//! completed sync began, as the record tells it, and that a fresh mount was read. Judges no app.

use std::collections::BTreeMap;
use std::time::Duration;

use gitops::model::{Claim, Writer};
use jiff::Timestamp;
use testbed::bed::Bed;
use testbed::ledger::{Entry, Ledger};
use testbed::oracle::restore::{Attribute, Carries, ReadBack, Report, compare};
use testbed::volume::{Character, FsGroupPolicy, Snapshot, Volume};

use super::history::History;
use super::plan::AppPlan;
use super::play::{ClaimOutcome, Live, warnings};

/// Compares one claim with the state that must have come back.
pub(super) fn judge(
    bed: &Bed,
    plan: &AppPlan,
    live: &Live<'_>,
    back: Result<Duration, String>,
    histories: &BTreeMap<(String, String), History>,
    times: (Timestamp, Timestamp, Option<Timestamp>),
) -> ClaimOutcome {
    let (filled, fire, as_of) = times;
    let claim = &live.plan.object;
    let history = source_of(plan, live.plan).and_then(|name| histories.get(&name));
    let limit = as_of.unwrap_or(fire);
    let first = live.states.first().map(|(at, _)| *at);
    // A sync before the claim was filled copied nothing.
    let moment = history.and_then(|history| {
        history
            .syncs
            .iter()
            .filter(|(begin, end)| {
                *end <= fire && *begin <= limit && first.is_some_and(|first| *begin >= first)
            })
            .map(|(begin, _)| *begin)
            .next_back()
    });
    let mut outcome = ClaimOutcome {
        moment,
        rpo_worst: history.map_or_else(
            || Duration::try_from(fire.duration_since(filled)).unwrap_or_default(),
            |history| history.worst_gap(filled, fire),
        ),
        ..untouched(live)
    };
    match back {
        Err(said) => {
            outcome.stalled = Some(said);
            return outcome;
        }
        Ok(rto) => outcome.rto = Some(rto),
    }
    let Some(mount) = bed.mount_claim(&claim.namespace, &claim.name) else {
        outcome.stalled = Some("the claim is bound to a volume that cannot be mounted".to_owned());
        return outcome;
    };
    let found = ReadBack::of(&mount);
    outcome.is_empty = found
        .paths
        .keys()
        .filter(|path| {
            !matches!(path.to_string().trim_matches('/'), "" | ".")
                && !path.to_string().contains("lost+found")
        })
        .count()
        == 0;
    let mut names = vec![claim.name.as_str()];
    names.extend(live.plan.filled_by.as_deref());
    names.extend(plan.app.destinations.iter().map(|destination| destination.object.name.as_str()));
    outcome.evidence = warnings(bed, &claim.namespace, &names);
    let state = |moment: Timestamp| live.states.iter().take_while(|(at, _)| *at <= moment).last();
    let Some(expected) = moment.and_then(state) else { return outcome };
    let carries = Carries::kopia().without_mount_point();
    let (report, group_bits) = against(&expected.1, &found, carries, live.writer, plan);
    if !report.is_equal() && !outcome.is_empty {
        outcome.equals = live
            .states
            .iter()
            .rev()
            .take(200)
            .find(|(_, snapshot)| against(snapshot, &found, carries, live.writer, plan).0.is_equal())
            .map(|(at, _)| *at);
    }
    outcome.report = Some(report);
    outcome.group_bits = group_bits;
    outcome
}

/// The source whose backups the claim's way back restores; else the first that reads the claim.
fn source_of(plan: &AppPlan, claim: &Claim) -> Option<(String, String)> {
    let destination = plan.app.destinations.iter().find(|destination| {
        claim.filled_by.as_deref() == Some(&destination.object.name)
            || destination.claim.as_deref() == Some(&claim.object.name)
    });
    let own: Vec<_> = plan.app.sources.iter().filter(|source| source.claim == claim.object.name).collect();
    let matching = destination.and_then(|destination| {
        own.iter().find(|source| {
            source.identity == destination.identity && source.mover.location == destination.mover.location
        })
    });
    matching.or(own.first()).map(|source| (source.object.namespace.clone(), source.object.name.clone()))
}

/// Compares as written, and if that differs as kubelet's fsGroup leaves it: that is the cluster's doing
/// on every mount, not the backup's.
fn against(
    snapshot: &Snapshot,
    found: &ReadBack,
    carries: Carries,
    writer: Option<Writer>,
    plan: &AppPlan,
) -> (Report, u64) {
    let expected = Ledger::new().record_snapshot(snapshot);
    let report = compare(&expected, found, carries);
    let only_group = !report.is_equal()
        && report.counts.keys().all(|attribute| matches!(attribute, Attribute::Mode | Attribute::Gid));
    if !only_group {
        return (report, 0);
    }
    let now = snapshot.at();
    let volume =
        Volume::from_snapshot("expected", Character::Rbd, std::sync::Arc::new(move || now), snapshot);
    let groups = plan
        .app
        .sources
        .iter()
        .filter_map(|source| source.mover.writer)
        .chain(plan.app.destinations.iter().filter_map(|destination| destination.mover.writer))
        .chain(writer);
    let mut changed = 0;
    for group in groups.filter_map(|writer| writer.fs_group) {
        changed = changed.max(volume.apply_fs_group(group, FsGroupPolicy::Always, false).changed);
    }
    let adjusted: Entry = Ledger::new().record(&volume);
    let second = compare(&adjusted, found, carries);
    if second.is_equal() { (second, changed) } else { (report, 0) }
}

/// The outcome of a claim of which nothing is known yet.
pub(super) fn untouched(live: &Live<'_>) -> ClaimOutcome {
    ClaimOutcome {
        claim: format!("{}/{}", live.plan.object.namespace, live.plan.object.name),
        never_filled: live.trouble.clone(),
        moment: None,
        stalled: None,
        report: None,
        is_empty: false,
        equals: None,
        rto: None,
        rpo_worst: Duration::ZERO,
        group_bits: 0,
        evidence: Vec::new(),
    }
}
