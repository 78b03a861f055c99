//! A running sync: from the data volume to the end of the mover's Job.
//!
//! Pure. The order of preparation is the original's: what comes before a missing part exists already.
//! Source: sections 2.6, 2.7 and 2.9 of the behaviour specification.
use std::time::Duration;

use api::crd::{CopyMethod, LatestMoverStatus, MoverResult};
use api::names as keys;
use contract::{ExitCode, Outcome};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use crate::act::{Act, Kind, Status};
use crate::condition::Claim;
use crate::cron;
use crate::log;
use crate::machine::Mode;
use crate::metrics::Measure;
use crate::observed::Observed;
use crate::obstacle::Obstacle;
use crate::plan::volume::{self, Cache, Stop};
use crate::plan::{POLL_INTERVAL, Turn, copy_trigger, finish, known, pod, prerequisite, template};
use crate::subject::{Role, Subject};
use crate::text::bytes;

/// Plans one step of a running sync.
pub fn synchronize(mut turn: Turn<'_>, mode: &Result<Mode, cron::Error>) -> Vec<Act> {
    let observed = turn.observed;
    if observed.is_original() && observed.subject.is_paused() {
        return turn.complete(mode);
    }
    let interval = turn.tell_overdue(mode);
    if !observed.is_prepared {
        return match &observed.job {
            Some(job) => progress(turn, job, mode, interval),
            None => turn.wait(Claim::in_progress(), POLL_INTERVAL),
        };
    }
    if let (Subject::Destination(_), false) = (&observed.subject, observed.is_original())
        && let Err(obstacle) = image_method(observed.subject.volume().copy_method)
    {
        return turn.fail(obstacle);
    }
    let wanted = match prepare(&mut turn) {
        Ok(wanted) => wanted,
        Err(stop) => return stopped(turn, stop, interval),
    };
    match &observed.job {
        None => create(turn, wanted, interval),
        Some(job) if job.metadata.deletion_timestamp.is_some() => turn.wait(
            detail(observed.is_original(), "waiting for the earlier mover Job to be deleted"),
            POLL_INTERVAL,
        ),
        Some(job) => {
            let is_settled = is(job, "Complete") || is(job, "Failed");
            let is_changed = !template::is_same(&wanted, job) && (observed.is_original() || !is_settled);
            if is_changed {
                return replace(turn, job, interval);
            }
            adopt(&mut turn, job);
            progress(turn, job, mode, interval)
        }
    }
}

/// A destination makes an image by Snapshot or offers the claim itself.
pub fn image_method(method: Option<CopyMethod>) -> Result<CopyMethod, Obstacle> {
    const ALLOWED: &str = "Direct, None, or Snapshot";
    match method {
        None => Err(Obstacle::CopyMethod { given: "", allowed: ALLOWED }),
        Some(CopyMethod::Clone) => Err(Obstacle::CopyMethod { given: "Clone", allowed: ALLOWED }),
        Some(method) => Ok(method),
    }
}

/// What a sync waits for is a detail that the original does not tell.
fn detail(is_original: bool, text: &str) -> Claim {
    if is_original { Claim::in_progress() } else { Claim::in_progress_with(text) }
}

/// Plans everything up to the Job and gives the Job that is wanted.
fn prepare(turn: &mut Turn<'_>) -> Result<Job, Stop> {
    let observed = turn.observed;
    turn.measure(Measure::Connectivity(true));
    let data = volume::of_subject(observed, turn.now, &mut turn.acts)?;
    let cache = volume::cache(observed, &data, turn.now, &mut turn.acts)?;
    let cache_bytes = match &cache {
        Cache::Directory(limit) => bytes(limit),
        Cache::Claim(_) => observed.subject.cache().cache_capacity.as_ref().and_then(bytes).or(Some(1 << 30)),
    };
    turn.measure(Measure::Cache {
        bytes: cache_bytes.unwrap_or_default(),
        is_claim: matches!(cache, Cache::Claim(_)),
    });
    let account = prerequisite::account(observed, &mut turn.acts)?;
    let repository = known::secret_name(observed);
    prerequisite::check(observed, &repository)?;
    let parts = pod::Parts { data: &data, cache: &cache, account: &account, repository: &repository };
    let wanted = pod::job(observed, &parts)?;
    let identity = observed.subject.identity(observed.found.as_ref());
    if let Status::Destination(status) = &mut turn.status {
        status.kopia.get_or_insert_default().requested_identity = Some(identity.user_at_host());
    }
    Ok(wanted)
}

fn stopped(mut turn: Turn<'_>, stop: Stop, interval: Duration) -> Vec<Act> {
    let observed = turn.observed;
    if let (Some(claim), true) =
        (&observed.claim, observed.copy_snapshot.is_none() && observed.copy_claim.is_none())
        && let copy_trigger::Gate::Wait { timed_out: true, .. } = copy_trigger::gate(claim, turn.now)
        && observed.subject.role() == Role::Source
        && matches!(observed.subject.volume().copy_method, Some(CopyMethod::Snapshot | CopyMethod::Clone))
        && let Some(sync) = turn.status.sync_mut()
    {
        let name = claim.metadata.name.clone().unwrap_or_default();
        sync.latest_mover_status = Some(LatestMoverStatus {
            result: Some(MoverResult::Failed),
            logs: Some(format!("Timed out waiting for copy-trigger to be modified for pvc {name}")),
        });
    }
    match stop {
        Stop::Wait(text) => {
            let claim = detail(observed.is_original(), &text);
            turn.wait(claim, interval)
        }
        Stop::Fail(obstacle) => {
            turn.measure(Measure::Connectivity(false));
            turn.measure(Measure::Failure(failure_reason(&obstacle)));
            if let Some(kind) = configuration_error(&obstacle) {
                turn.measure(Measure::ConfigurationError(kind));
            }
            turn.fail(obstacle)
        }
    }
}

fn failure_reason(obstacle: &Obstacle) -> &'static str {
    match obstacle {
        Obstacle::TemplateChanged => "job_creation_failed",
        _ => "prerequisites_failed",
    }
}

fn configuration_error(obstacle: &Obstacle) -> Option<&'static str> {
    match obstacle {
        Obstacle::Fields { holder: "secret", .. } | Obstacle::Field { holder: "secret", .. } => {
            Some("repository_validation_failed")
        }
        Obstacle::Fields { .. } | Obstacle::Field { .. } => Some("custom_ca_validation_failed"),
        Obstacle::PolicyTwice
        | Obstacle::PolicyJson
        | Obstacle::PolicyLarge { .. }
        | Obstacle::PolicyMissing { .. } => Some("policy_config_validation_failed"),
        Obstacle::NotFound { kind: "Secret", .. } => Some("repository_validation_failed"),
        _ => None,
    }
}

/// Creates the Job; the safe profile waits until no pod of an earlier one works any more.
fn create(mut turn: Turn<'_>, wanted: Job, interval: Duration) -> Vec<Act> {
    let observed = turn.observed;
    if !observed.is_original()
        && let Some(pod) = observed.pods.iter().find(|pod| !is_over(pod))
    {
        let name = pod.metadata.name.clone().unwrap_or_default();
        return turn.wait(
            Claim::in_progress_with(&format!("waiting for Pod/{name} of an earlier mover Job to end")),
            POLL_INTERVAL,
        );
    }
    if observed.subject.is_paused() {
        // Safe profile: an object paused in the middle of a sync starts no mover.
        return turn.wait(Claim::in_progress_with("paused before the mover Job was made"), interval);
    }
    turn.act(Act::create(wanted));
    // What went wrong before stays in sight while the next attempt runs.
    let failed = observed
        .subject
        .sync()
        .latest_mover_status
        .is_some_and(|last| last.result == Some(MoverResult::Failed) && !observed.is_original());
    let claim = if failed {
        Claim::in_progress_with("the last mover Job failed, a new one was started")
    } else {
        Claim::in_progress()
    };
    turn.wait(claim, interval)
}

/// Deletes a Job whose template is not wanted any more.
fn replace(mut turn: Turn<'_>, job: &Job, interval: Duration) -> Vec<Act> {
    turn.act(delete(job));
    if turn.observed.is_original() {
        return stopped(turn, Stop::Fail(Obstacle::TemplateChanged), interval);
    }
    turn.wait(
        Claim::in_progress_with("the mover Job is made anew because the specification changed"),
        POLL_INTERVAL,
    )
}

/// Deletes a Job, and no later one of its name.
pub fn delete(job: &Job) -> Act {
    Act::Delete {
        kind: Kind::Job,
        name: job.metadata.name.clone().unwrap_or_default(),
        uid: job.metadata.uid.clone(),
        resource_version: None,
    }
}

/// Brings generation and parallelism of a Job up to date (safe profile).
fn adopt(turn: &mut Turn<'_>, job: &Job) {
    let observed = turn.observed;
    if observed.is_original() {
        return;
    }
    let name = job.metadata.name.clone().unwrap_or_default();
    let generation = observed.subject.metadata().generation.unwrap_or_default().to_string();
    let known = job.metadata.annotations.as_ref().and_then(|annotations| annotations.get(keys::GENERATION));
    if known != Some(&generation) {
        let patch = json!({"metadata": {"annotations": {keys::GENERATION: generation}}});
        turn.act(Act::Patch { kind: Kind::Job, name: name.clone(), patch });
    }
    let parallelism = job.spec.as_ref().and_then(|spec| spec.parallelism).unwrap_or(1);
    let wanted = i32::from(!observed.subject.is_paused());
    if parallelism != wanted && !is(job, "Complete") && !is(job, "Failed") {
        turn.act(Act::Patch { kind: Kind::Job, name, patch: json!({"spec": {"parallelism": wanted}}) });
    }
}

/// Tells whether a Job has a condition.
pub fn is(job: &Job, type_: &str) -> bool {
    conditions(job).any(|(condition, _)| condition == type_)
}

fn conditions(job: &Job) -> impl Iterator<Item = (String, Option<String>)> {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    conditions
        .into_iter()
        .filter(|condition| condition.status == "True")
        .map(|condition| (condition.type_, condition.reason))
}

/// Tells whether a pod has ended.
pub fn is_over(pod: &Pod) -> bool {
    matches!(pod.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"))
}

/// Plans by the state of the Job.
fn progress(mut turn: Turn<'_>, job: &Job, mode: &Result<Mode, cron::Error>, interval: Duration) -> Vec<Act> {
    let observed = turn.observed;
    if is(job, "Complete") {
        return finish::succeeded(turn, job, mode, interval);
    }
    if is(job, "Failed") {
        return failed(turn, job);
    }
    let losses = job.status.as_ref().and_then(|status| status.failed).unwrap_or_default();
    if losses > 0 {
        turn.measure(Measure::JobRetry);
    }
    if losses == 0 || observed.is_original() {
        let claim = if observed.subject.is_paused() && !observed.is_original() {
            Claim::in_progress_with("paused, the mover Job runs no pod")
        } else {
            Claim::in_progress()
        };
        return turn.wait(claim, interval);
    }
    let attempts = observed.setting.job_backoff_limit.unwrap_or(pod::BACKOFF_LIMIT) + 1;
    let last = last_failure(observed).map_or_else(String::new, |text| format!(", the last with {text}"));
    let text = format!("{losses} of {attempts} attempts of the mover failed{last}");
    turn.wait(Claim::in_progress_with(&text), interval)
}

/// Records a Job that failed for good and makes room for the next.
fn failed(mut turn: Turn<'_>, job: &Job) -> Vec<Act> {
    let observed = turn.observed;
    let mut logs = observed.log.clone().unwrap_or_default();
    if let Status::Destination(status) = &mut turn.status {
        let discovery = log::discovery(&logs);
        if let Some(text) = discovery.sentence() {
            logs = format!("{text}\n{logs}");
        }
        let kopia = status.kopia.get_or_insert_default();
        if !discovery.available.is_empty() {
            kopia.available_identities = Some(discovery.available.clone());
        }
    }
    if let Some(sync) = turn.status.sync_mut() {
        sync.latest_mover_status =
            Some(LatestMoverStatus { result: Some(MoverResult::Failed), logs: Some(logs) });
    }
    let reason = conditions(job).find(|(type_, _)| type_ == "Failed").and_then(|(_, reason)| reason);
    turn.measure(Measure::Failure(match reason.as_deref() {
        Some("BackoffLimitExceeded") => "BackoffLimitExceeded",
        Some("DeadlineExceeded") => "DeadlineExceeded",
        _ => "job_failed",
    }));
    turn.act(delete(job));
    let claim = if observed.is_original() {
        Claim::in_progress()
    } else {
        let last =
            last_failure(observed).map_or_else(String::new, |text| format!(", the last attempt with {text}"));
        Claim::in_progress_with(&format!("the mover Job failed{last}"))
    };
    turn.wait(claim, POLL_INTERVAL)
}

/// What makes a restore that finds nothing go on, if it is the first deployment that it looks like.
fn cure(observed: &Observed) -> String {
    let Subject::Destination(_) = &observed.subject else { return String::new() };
    let identity = observed.subject.identity(observed.found.as_ref()).user_at_host();
    format!(
        "; if it has never been backed up, annotate the ReplicationDestination with {}: {identity}",
        api::names::FIRST_DEPLOYMENT
    )
}

/// Says how the newest failed pod ended: its exit code and the mover's own words.
fn last_failure(observed: &Observed) -> Option<String> {
    let (code, message) =
        observed.pods.iter().rev().filter(|pod| phase_of(pod) == Some("Failed")).find_map(termination)?;
    let words = message
        .as_deref()
        .and_then(Outcome::from_termination_message)
        .and_then(|outcome| outcome.failed().cloned())
        .map(|failure| match failure.code {
            ExitCode::RepositoryMissing | ExitCode::OnlyAlike => failure.message + &cure(observed),
            _ => failure.message,
        });
    Some(match words {
        Some(words) => format!("exit code {code}: {words}"),
        None => format!("exit code {code}"),
    })
}

/// The phase of a pod.
pub fn phase_of(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

/// Exit code and termination message of a mover's container.
pub fn termination(pod: &Pod) -> Option<(i32, Option<String>)> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let container = statuses
        .iter()
        .find(|status| status.name == contract::pod::CONTAINER)
        .or_else(|| statuses.first())?;
    let terminated = container.state.as_ref()?.terminated.as_ref()?;
    Some((terminated.exit_code, terminated.message.clone()))
}
