//! The end of a sync: what the Job brought, the image, and clearing up.
//!
//! Pure. A success counts only if the mover says what it did (safe profile); the original believes the Job's
//! condition. Source: sections 2.7, 3.7 and 3.8 of the behaviour specification.
use std::time::Duration;

use api::crd::{CopyMethod, ImageReference, LatestMoverStatus, MoverResult};
use api::{VolumeSnapshot, names as keys};
use contract::outcome::NothingReason;
use contract::{Ending, Outcome};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::{Value, json};

use crate::act::{Act, Kind, Status};
use crate::condition::{self, Claim};
use crate::cron;
use crate::machine::Mode;
use crate::metrics::Measure;
use crate::names;
use crate::obstacle::Obstacle;
use crate::plan::volume::{self, Stop};
use crate::plan::{POLL_INTERVAL, Turn, known, pod, run};
use crate::subject::Role;

/// Plans after a Job that completed.
pub fn succeeded(
    mut turn: Turn<'_>,
    job: &Job,
    mode: &Result<Mode, cron::Error>,
    interval: Duration,
) -> Vec<Act> {
    let observed = turn.observed;
    if let Some(sync) = turn.status.sync_mut() {
        sync.latest_mover_status = Some(LatestMoverStatus {
            result: Some(MoverResult::Successful),
            logs: Some(observed.log.clone().unwrap_or_default()),
        });
    }
    if !observed.is_original() {
        if let Some(pod) = observed.pods.iter().find(|pod| !run::is_over(pod)) {
            let name = pod.metadata.name.clone().unwrap_or_default();
            let text = format!("waiting for Pod/{name} to end before its volume is used");
            return turn.wait(Claim::in_progress_with(&text), POLL_INTERVAL);
        }
        if let Err(what) = believe(&mut turn) {
            return disbelieved(turn, job, what);
        }
    }
    remember_limits(&mut turn);
    turn.measure(Measure::Success);
    if observed.subject.role() == Role::Source {
        return turn.complete(mode);
    }
    match run::image_method(observed.subject.volume().copy_method) {
        Err(obstacle) => turn.fail(obstacle),
        Ok(CopyMethod::Snapshot) => image(turn, mode, interval),
        Ok(_) => {
            let name = volume::destination_claim(&observed.subject);
            let image =
                ImageReference { api_group: String::new(), kind: "PersistentVolumeClaim".into(), name };
            offer(&mut turn, image);
            turn.complete(mode)
        }
    }
}

fn offer(turn: &mut Turn<'_>, image: ImageReference) {
    if let Status::Destination(status) = &mut turn.status {
        status.latest_image = Some(image);
    }
}

fn remember_limits(turn: &mut Turn<'_>) {
    let (metadata, content) = pod::cache_limits(&turn.observed.subject);
    match &mut turn.status {
        Status::Source(status) => {
            let kopia = status.kopia.get_or_insert_default();
            kopia.last_configured_metadata_cache_size_limit_mb = metadata;
            kopia.last_configured_content_cache_size_limit_mb = content;
        }
        Status::Destination(status) => {
            let kopia = status.kopia.get_or_insert_default();
            kopia.last_configured_metadata_cache_size_limit_mb = metadata;
            kopia.last_configured_content_cache_size_limit_mb = content;
            kopia.available_identities = None;
            kopia.snapshots_found = None;
        }
        Status::Maintenance(_) => {}
    }
}

/// The outcome that the newest succeeded pod left.
fn outcome(pods: &[Pod]) -> Option<Outcome> {
    let pod = pods.iter().rev().find(|pod| run::phase_of(pod) == Some("Succeeded"))?;
    Outcome::from_termination_message(&run::termination(pod)?.1?)
}

/// Takes the mover's outcome into the status, or says why it cannot be believed.
fn believe(turn: &mut Turn<'_>) -> Result<(), String> {
    let observed = turn.observed;
    let Some(outcome) = outcome(&observed.pods) else {
        return Err("its pod left no outcome in the termination message".into());
    };
    if !outcome.is_success() {
        return Err(format!("its pod succeeded, but reports exit code {}", outcome.exit_code));
    }
    let id = outcome.snapshot.as_ref().map(|snapshot| snapshot.id.clone()).filter(|id| !id.is_empty());
    let repository = outcome.repository.as_ref().map(|repository| repository.unique_id.clone());
    let secret = known::secret_name(observed);
    let identity = observed.subject.identity(observed.found.as_ref()).user_at_host();
    match (&mut turn.status, &outcome.ending) {
        (Status::Source(status), Ending::BackedUp) => {
            let Some(id) = id else { return Err("it reports a backup without a snapshot id".into()) };
            let kopia = status.kopia.get_or_insert_default();
            kopia.latest_snapshot_id = Some(id);
            if let Some(repository) = repository {
                kopia.repository_id = Some(repository);
                kopia.repository_secret = Some(secret);
            }
        }
        (Status::Source(_), Ending::SourceEmpty) => {
            let claim = observed.subject_claim();
            turn.act(Act::warning(
                "NothingBackedUp",
                format!("PersistentVolumeClaim/{claim} is empty: no snapshot was made"),
            ));
        }
        (Status::Destination(status), ending @ (Ending::Restored | Ending::NothingRestored { .. })) => {
            let kopia = status.kopia.get_or_insert_default();
            if let Some(repository) = repository {
                kopia.repository_id = Some(repository);
                kopia.repository_secret = Some(secret);
            }
            let claim = if let Ending::NothingRestored { reason } = ending {
                let why = match reason {
                    NothingReason::FirstDeployment => {
                        "nothing like it is in the repository: first deployment"
                    }
                    NothingReason::NothingFound => "no snapshot was found",
                };
                let message = format!("nothing restored for {identity}: {why}; the volume is empty");
                let known = condition::find(status.sync.conditions.as_ref(), condition::RESTORED);
                if known.is_none_or(|known| known.message != message) {
                    turn.acts.push(Act::warning("NothingRestored", message.clone()));
                }
                Claim { type_: condition::RESTORED, holds: false, reason: "NothingRestored", message }
            } else {
                let Some(id) = id else { return Err("it reports a restore without a snapshot id".into()) };
                kopia.restored_snapshot_id = Some(id.clone());
                let message = format!("snapshot {id} of {identity} was restored");
                Claim { type_: condition::RESTORED, holds: true, reason: "SnapshotRestored", message }
            };
            turn.say(claim);
        }
        (_, ending) => return Err(format!("it reports {ending:?}, which is not what was asked")),
    }
    Ok(())
}

/// A Job that completed without doing what it was asked is a failure: tell, delete, try again.
fn disbelieved(mut turn: Turn<'_>, job: &Job, what: String) -> Vec<Act> {
    let log = turn.observed.log.clone().unwrap_or_default();
    let obstacle = Obstacle::NoOutcome { what };
    if let Some(sync) = turn.status.sync_mut() {
        sync.latest_mover_status = Some(LatestMoverStatus {
            result: Some(MoverResult::Failed),
            logs: Some(format!("{obstacle}\n{log}")),
        });
    }
    turn.measure(Measure::Failure("no_outcome"));
    turn.act(run::delete(job));
    turn.fail(obstacle)
}

/// Plans the image snapshot of a destination.
fn image(mut turn: Turn<'_>, mode: &Result<Mode, cron::Error>, interval: Duration) -> Vec<Act> {
    let observed = turn.observed;
    let claim_name = volume::destination_claim(&observed.subject);
    let Some(claim) = &observed.claim else {
        return turn.fail(Obstacle::not_found("PersistentVolumeClaim", claim_name));
    };
    let annotated =
        claim.metadata.annotations.as_ref().and_then(|annotations| annotations.get(keys::SNAPNAME)).cloned();
    let name = annotated.clone().unwrap_or_else(|| names::image(&claim_name, turn.now));
    if annotated.is_none() {
        let patch = json!({"metadata": {"annotations": {keys::SNAPNAME: name}}});
        turn.act(Act::Patch { kind: Kind::Claim, name: claim_name.clone(), patch });
    }
    let is_original = observed.is_original();
    let waiting = |text: &str| if is_original { Claim::in_progress() } else { Claim::in_progress_with(text) };
    let Some(snapshot) = &observed.image else {
        turn.acts.extend(volume::snapshot_of(observed, &name, &claim_name, false));
        let text = format!("waiting for the image VolumeSnapshot/{name} to be taken");
        return turn.wait(waiting(&text), interval);
    };
    let mut told = Vec::new();
    let served = volume::serves(observed, snapshot, &name, false, turn.now, &mut told);
    turn.acts.extend(told);
    match served {
        Err(Stop::Wait(text)) => return turn.wait(waiting(&text), interval),
        Err(Stop::Fail(_)) => return turn.wait(Claim::in_progress(), interval),
        Ok(()) => {}
    }
    if let Some(old) = &observed.latest_image
        && old.metadata.name.as_deref() != Some(name.as_str())
        && !has_label(old, keys::DO_NOT_DELETE)
    {
        let patch = json!({"metadata": {"labels": {keys::CLEANUP: observed.subject.uid()}}});
        turn.act(Act::Patch {
            kind: Kind::Snapshot,
            name: old.metadata.name.clone().unwrap_or_default(),
            patch,
        });
    }
    offer(
        &mut turn,
        ImageReference { api_group: keys::SNAPSHOT_GROUP.into(), kind: "VolumeSnapshot".into(), name },
    );
    turn.complete(mode)
}

fn has_label(snapshot: &VolumeSnapshot, key: &str) -> bool {
    snapshot.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(key))
}

/// Plans an idle object: clears up after a sync, then waits or starts the next.
pub fn clean_up(mut turn: Turn<'_>, mode: &Result<Mode, cron::Error>) -> Vec<Act> {
    let Ok(mode) = mode else { return turn.start_unless_paused() };
    let observed = turn.observed;
    turn.acts.extend(removals(&turn));
    let sync = observed.subject.sync();
    let next = sync.last_sync_time.as_ref().and_then(|last| mode.next_sync(last.0));
    if let Some(sync) = turn.status.sync_mut() {
        sync.next_sync_time = next.map(Time);
        let is_due = mode.is_due(sync, turn.now);
        if is_due {
            return turn.start_unless_paused();
        }
    }
    turn.say(match mode {
        Mode::Schedule(_) if observed.subject.is_paused() && !observed.is_original() => Claim::paused(),
        Mode::Schedule(_) => Claim::waiting_for_schedule(),
        _ => Claim::waiting_for_manual(),
    });
    let pause = next.map(|next| Act::Requeue(until(next, turn.now)));
    turn.end(pause.into_iter().collect())
}

fn until(next: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(next.duration_since(now)).unwrap_or_default()
}

/// Tells whether an idle object still has to be cleared up: its condition does not say that it waits.
pub fn wants_clearing(status: &api::SyncStatus) -> bool {
    let condition = condition::find(status.conditions.as_ref(), condition::SYNCHRONIZING);
    condition.is_none_or(|condition| {
        !matches!(condition.reason.as_str(), "WaitingForSchedule" | "WaitingForManual" | "Paused")
    })
}

/// What has to go at the end of a sync, in the original's order.
fn removals(turn: &Turn<'_>) -> Vec<Act> {
    let observed = turn.observed;
    let subject = &observed.subject;
    if !wants_clearing(&subject.sync()) {
        return Vec::new();
    }
    let mut acts = Vec::new();
    if subject.role() == Role::Destination
        && let Some(claim) = &observed.claim
        && claim
            .metadata
            .annotations
            .as_ref()
            .is_some_and(|annotations| annotations.contains_key(keys::SNAPNAME))
    {
        let patch = json!({"metadata": {"annotations": {keys::SNAPNAME: null}}});
        acts.push(Act::Patch { kind: Kind::Claim, name: volume::destination_claim(subject), patch });
    }
    let left = &observed.temporaries;
    acts.extend(left.claims.iter().filter_map(|claim| deletion(Kind::Claim, &claim.metadata)));
    acts.extend(left.snapshots.iter().filter_map(|snapshot| snapshot_removal(snapshot, subject.uid())));
    acts.extend(left.jobs.iter().filter_map(|job| deletion(Kind::Job, &job.metadata)));
    acts
}

fn deletion(kind: Kind, metadata: &ObjectMeta) -> Option<Act> {
    metadata.deletion_timestamp.is_none().then(|| Act::Delete {
        kind,
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone(),
        resource_version: None,
    })
}

/// Deletes a VolumeSnapshot of ours, or lets go of it when somebody else needs it.
fn snapshot_removal(snapshot: &VolumeSnapshot, uid: &str) -> Option<Act> {
    let metadata = &snapshot.metadata;
    if has_label(snapshot, keys::DO_NOT_DELETE) {
        return Some(relinquish(snapshot, uid));
    }
    if others(snapshot, uid).is_empty() {
        let mut act = deletion(Kind::Snapshot, metadata)?;
        if let Act::Delete { resource_version, .. } = &mut act {
            resource_version.clone_from(&metadata.resource_version);
        }
        return Some(act);
    }
    let patch = json!({"metadata": {"ownerReferences": others(snapshot, uid)}});
    Some(Act::Patch { kind: Kind::Snapshot, name: metadata.name.clone().unwrap_or_default(), patch })
}

fn others(snapshot: &VolumeSnapshot, uid: &str) -> Vec<Value> {
    let owners = snapshot.metadata.owner_references.clone().unwrap_or_default();
    owners.iter().filter(|owner| owner.uid != uid).map(|owner| json!(owner)).collect()
}

/// Gives a VolumeSnapshot up: drops our owner reference and labels (`do-not-delete`).
pub fn relinquish(snapshot: &VolumeSnapshot, uid: &str) -> Act {
    let patch = json!({"metadata": {
        "ownerReferences": others(snapshot, uid),
        "labels": {keys::CLEANUP: null, keys::CREATED_BY: null},
    }});
    Act::Patch { kind: Kind::Snapshot, name: snapshot.metadata.name.clone().unwrap_or_default(), patch }
}
