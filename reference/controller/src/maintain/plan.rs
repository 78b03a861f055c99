//! What to do about a KopiaMaintenance, as a function of what was observed.
//!
//! Pure. The order of checks is the original's, except that the safe profile lets an object go that is being
//! deleted before it judges it. Source: sections 5.1, 5.4 to 5.6 of the behaviour specification.
use std::time::Duration;

use api::{KopiaMaintenanceStatus, names as keys};
use contract::{ExitCode, Outcome};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::act::{Act, Kind, Status};
use crate::condition::{self, Claim};
use crate::cron::{Dialect, Schedule};
use crate::maintain::Observed;
use crate::maintain::objects::{self, FAILURES_MAX};
use crate::maintain::validate::{self, manual_tag, schedule_text};
use crate::names;
use crate::obstacle::Obstacle;

/// How often a scheduled maintenance is looked at.
const INTERVAL: Duration = Duration::from_mins(5);
/// The same under the safe profile, which looks again when a window ends; changes of Jobs wake it at once.
const INTERVAL_SAFE: Duration = Duration::from_mins(30);
/// How often after an error.
const ERROR_INTERVAL: Duration = Duration::from_mins(1);
/// How often a running manual Job is looked at.
const MANUAL_INTERVAL: Duration = Duration::from_secs(10);
/// Failures after which people are told once more.
const FAILURES_LOUD: i32 = 10;
/// How far back failed Jobs count.
const FAILURE_WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// Plans one step.
pub fn plan(observed: &Observed, now: Timestamp) -> Vec<Act> {
    let mut turn = Turn {
        observed,
        now,
        status: observed.maintenance.status.clone().unwrap_or_default(),
        acts: Vec::new(),
    };
    let metadata = &observed.maintenance.metadata;
    let is_leaving = metadata.deletion_timestamp.is_some();
    if is_leaving && !observed.is_original {
        return turn.leave();
    }
    turn.reset();
    if let Err(error) = check(observed) {
        turn.acts.push(Act::warning("ValidationFailed", error.to_string()));
        return turn.refuse(&error);
    }
    if is_leaving {
        return turn.leave();
    }
    let finalizers = metadata.finalizers.clone().unwrap_or_default();
    if !finalizers.iter().any(|one| one == keys::KOPIA_MAINTENANCE_FINALIZER) {
        let mut finalizers = finalizers;
        finalizers.push(keys::KOPIA_MAINTENANCE_FINALIZER.into());
        turn.acts.push(patch(observed, json!({"metadata": {"finalizers": finalizers}})));
        turn.acts.push(Act::Again);
        return turn.acts;
    }
    if !observed.maintenance.spec.enabled {
        return turn.disable();
    }
    if let Some(rival) = &observed.rival {
        return turn.yield_to(rival);
    }
    match manual_tag(&observed.maintenance.spec) {
        Some(tag) => turn.manual(tag),
        None => turn.scheduled(),
    }
}

fn patch(observed: &Observed, patch: Value) -> Act {
    Act::Patch { kind: Kind::Maintenance, name: observed.maintenance.name_any(), patch }
}

fn check(observed: &Observed) -> Result<(), validate::Error> {
    validate::check(&observed.maintenance.spec)?;
    match observed.missing.iter().next() {
        Some((kind, name)) => Err(validate::Error::Volume(Obstacle::NotFound { kind, name: name.clone() })),
        None => Ok(()),
    }
}

/// Says whose maintenance a repository is, if a run found that it is somebody else's.
pub fn foreign_owner(pods: &[Pod]) -> Option<String> {
    let (code, message) = pods.iter().rev().find_map(last_termination)?;
    let failure = Outcome::from_termination_message(&message?)?.failed()?.clone();
    if failure.code != ExitCode::MaintenanceForeign || code == 0 {
        return None;
    }
    let (_, rest) = failure.message.split_once("designated user: ")?;
    Some(rest.split([';', ' ']).next().unwrap_or(rest).to_owned())
}

/// Exit code and message of a container that ended, be it restarted meanwhile.
fn last_termination(pod: &Pod) -> Option<(i32, Option<String>)> {
    let container = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    let states = [container.state.as_ref(), container.last_state.as_ref()];
    let terminated = states.into_iter().flatten().find_map(|state| state.terminated.as_ref())?;
    Some((terminated.exit_code, terminated.message.clone()))
}

struct Turn<'a> {
    observed: &'a Observed,
    now: Timestamp,
    status: KopiaMaintenanceStatus,
    acts: Vec<Act>,
}

impl Turn<'_> {
    fn say(&mut self, type_: &'static str, holds: bool, reason: &'static str, message: impl Into<String>) {
        let generation = self.observed.maintenance.metadata.generation;
        let claim = Claim { type_, holds, reason, message: message.into() };
        condition::set(&mut self.status.conditions, claim, generation, self.now);
    }

    /// Writes the status; a look alone is no news.
    fn end(mut self, last: Vec<Act>) -> Vec<Act> {
        self.status.observed_generation = self.observed.maintenance.metadata.generation;
        if let Some(conditions) = &mut self.status.conditions {
            conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
        }
        let known = self.observed.maintenance.status.clone().unwrap_or_default();
        self.status.last_reconcile_time.clone_from(&known.last_reconcile_time);
        if self.status != known {
            self.status.last_reconcile_time = Some(Time(self.now));
            self.acts.push(Act::Status(Box::new(Status::Maintenance(self.status))));
        }
        self.acts.extend(last);
        self.acts
    }

    fn healthy(&mut self) {
        let failures = self.status.maintenance_failures.unwrap_or_default();
        if failures >= FAILURES_MAX {
            let message = format!("Maintenance has failed {failures} times in a row");
            self.say("MaintenanceHealthy", false, "ExcessiveFailures", message);
        } else {
            self.say("MaintenanceHealthy", true, "OperatingNormally", "Maintenance is operating normally");
        }
    }

    /// Serves the annotation `reset-failures`.
    fn reset(&mut self) {
        let wanted = self.observed.maintenance.annotations().get(keys::RESET_FAILURES).map(String::as_str);
        if wanted != Some("true") {
            return;
        }
        self.acts
            .push(patch(self.observed, json!({"metadata": {"annotations": {keys::RESET_FAILURES: null}}})));
        self.acts.push(Act::normal("FailuresReset", "Maintenance failure counter has been reset"));
        // MAN-7: the original's update overwrites the counter that it has just zeroed.
        if !self.observed.is_original {
            self.status.maintenance_failures = None;
        }
    }

    fn refuse(mut self, error: &validate::Error) -> Vec<Act> {
        let message = format!("Reconcile failed: {error}");
        self.say("Ready", false, "ReconcileFailed", message.clone());
        self.say("Progressing", true, "ReconcileError", message);
        self.healthy();
        self.end(vec![Act::Requeue(ERROR_INTERVAL)])
    }

    fn leave(mut self) -> Vec<Act> {
        self.drop_cron_job();
        let metadata = &self.observed.maintenance.metadata;
        let mut finalizers = metadata.finalizers.clone().unwrap_or_default();
        if finalizers.iter().any(|one| one == keys::KOPIA_MAINTENANCE_FINALIZER) {
            finalizers.retain(|one| one != keys::KOPIA_MAINTENANCE_FINALIZER);
            self.acts.push(patch(self.observed, json!({"metadata": {"finalizers": finalizers}})));
        }
        self.acts
    }

    fn drop_cron_job(&mut self) {
        if let Some(cron_job) = &self.observed.cron_job
            && cron_job.metadata.deletion_timestamp.is_none()
        {
            self.acts.push(Act::Delete {
                kind: Kind::CronJob,
                name: cron_job.name_any(),
                uid: cron_job.uid(),
                resource_version: None,
            });
        }
        self.status.active_cron_job = None;
    }

    fn drop_job(&mut self, job: &Job) {
        if job.metadata.deletion_timestamp.is_none() {
            self.acts.push(crate::plan::run::delete(job));
        }
    }

    fn disable(mut self) -> Vec<Act> {
        self.drop_cron_job();
        self.say("Ready", false, "MaintenanceDisabled", "Maintenance is disabled");
        self.say("Progressing", false, "MaintenanceDisabled", "Maintenance is disabled");
        if self
            .status
            .conditions
            .as_ref()
            .is_none_or(|all| all.iter().all(|one| one.type_ != "MaintenanceHealthy"))
        {
            self.healthy();
        }
        self.end(Vec::new())
    }

    /// A repository has one maintenance; the later one stands back and says for whom.
    fn yield_to(mut self, rival: &str) -> Vec<Act> {
        self.drop_cron_job();
        let message = format!("KopiaMaintenance {rival} maintains this repository already");
        let known = condition::find(self.status.conditions.as_ref(), "Ready");
        if known.is_none_or(|known| known.message != message) {
            self.acts.push(Act::warning("RepositoryTaken", message.clone()));
        }
        self.say("Ready", false, "RepositoryTaken", message.clone());
        self.say("Progressing", false, "RepositoryTaken", message.clone());
        self.say("MaintenanceHealthy", false, "RepositoryTaken", message);
        self.end(vec![Act::Requeue(INTERVAL)])
    }

    fn is_manual(job: &Job) -> bool {
        job.labels().get(keys::MAINTENANCE_TYPE).map(String::as_str) == Some("manual")
    }

    fn scheduled(mut self) -> Vec<Act> {
        let observed = self.observed;
        for job in observed.jobs.iter().filter(|job| Self::is_manual(job)) {
            self.drop_job(job);
        }
        self.count_failures();
        let failures = self.status.maintenance_failures.unwrap_or_default();
        if !observed.has_secret {
            let secret = &observed.maintenance.spec.repository.repository;
            let namespace = observed.maintenance.namespace().unwrap_or_default();
            let cause = format!("repository secret {secret} not found in namespace {namespace}");
            self.acts.push(Act::warning("CronJobFailed", format!("Failed to ensure CronJob: {cause}")));
            self.say("Ready", false, "ReconcileFailed", format!("Reconcile failed: {cause}"));
            self.say("Progressing", true, "ReconcileError", format!("Reconcile failed: {cause}"));
            self.healthy();
            return self.end(vec![Act::Requeue(ERROR_INTERVAL)]);
        }
        if let (Some(claim), false) = (objects::own_cache(&observed.maintenance), observed.has_cache_claim) {
            self.acts.push(Act::create(claim));
        }
        let wanted = objects::cron_job(observed, failures);
        let name = wanted.name_any();
        match &observed.cron_job {
            None => {
                self.acts.push(Act::create(wanted));
                self.acts.push(Act::normal("CronJobCreated", format!("Created maintenance CronJob {name}")));
            }
            Some(known) => {
                if let Some(patch) = update(&wanted, known, observed.is_original) {
                    self.acts.push(Act::Patch { kind: Kind::CronJob, name: name.clone(), patch });
                }
                self.tell_suspension(known, failures);
                let last = known.status.as_ref().and_then(|status| status.last_successful_time.clone());
                if last.is_some() {
                    self.status.last_maintenance_time = last;
                }
            }
        }
        let repository = &observed.maintenance.spec.repository.repository;
        let message = format!("Maintenance CronJob {name} is active for repository {repository}");
        self.say("Ready", true, "MaintenanceActive", message);
        self.say("Progressing", false, "ReconcileComplete", "CronJob successfully configured");
        self.status.active_cron_job = Some(name);
        let schedule = Schedule::parse(schedule_text(&observed.maintenance.spec), Dialect::FieldsOnly).ok();
        let next = schedule.as_ref().and_then(|schedule| schedule.next_after(self.now));
        self.status.next_scheduled_maintenance = next.map(Time);
        self.healthy();
        let mut interval = INTERVAL;
        if !observed.is_original {
            self.tell_trouble(schedule.as_ref());
            let left = self.window(schedule.as_ref()).map(|(_, end)| end.duration_since(self.now));
            let left = left.and_then(|left| Duration::try_from(left + SignedDuration::from_secs(1)).ok());
            interval = left.map_or(INTERVAL_SAFE, |left| left.min(INTERVAL_SAFE));
        }
        // What a failing pod says has to be read before its Job ends and takes it along.
        let is_running = observed
            .jobs
            .iter()
            .any(|job| !["Complete", "Failed"].iter().any(|end| crate::plan::run::is(job, end)));
        if is_running && !observed.is_original {
            interval = MANUAL_INTERVAL;
        }
        self.end(vec![Act::Requeue(interval)])
    }

    fn tell_suspension(&mut self, known: &k8s_openapi::api::batch::v1::CronJob, failures: i32) {
        let was_suspended = known.spec.as_ref().and_then(|spec| spec.suspend).unwrap_or_default();
        if failures >= FAILURES_MAX && !was_suspended {
            self.acts.push(Act::warning(
                "CronJobSuspended",
                format!(
                    "CronJob suspended due to {failures} consecutive failures. Add annotation 'volsync.backube/reset-failures=true' to reset."
                ),
            ));
        }
        if failures >= FAILURES_LOUD {
            self.acts.push(Act::warning(
                "ExcessiveScheduledFailures",
                format!("Scheduled maintenance has failed {failures} times. Check the maintenance Jobs."),
            ));
        }
    }

    /// Counts failed Jobs of the last day, as long as there was no success in it.
    fn count_failures(&mut self) {
        let observed = self.observed;
        let last_success = observed
            .cron_job
            .as_ref()
            .and_then(|cron_job| cron_job.status.as_ref())
            .and_then(|status| status.last_successful_time.as_ref())
            .map(|time| time.0);
        let failed = |since: Option<Timestamp>| {
            let jobs = observed.jobs.iter().filter(|job| !Self::is_manual(job));
            jobs.filter(|job| {
                failed_at(job).is_some_and(|at| {
                    self.now.duration_since(at) <= FAILURE_WINDOW && since.is_none_or(|since| at > since)
                })
            })
            .count()
        };
        let count = if observed.is_original {
            if last_success.is_some() { 0 } else { failed(None) }
        } else {
            failed(last_success)
        };
        let before = self.status.maintenance_failures.unwrap_or_default();
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        // History limits remove failed Jobs: without a success the count never falls.
        let count = if last_success.is_none() || (!observed.is_original && count > 0) {
            count.max(before)
        } else {
            count
        };
        self.status.maintenance_failures = (count > 0).then_some(count);
    }

    /// The window that waits for a success, and by when it must have come: until the next window, or as long
    /// as the longest run takes.
    fn window(&self, schedule: Option<&Schedule>) -> Option<(Timestamp, Timestamp)> {
        let maintenance = &self.observed.maintenance;
        let since = self.status.last_maintenance_time.as_ref();
        let since = since.or(maintenance.metadata.creation_timestamp.as_ref())?.0;
        let grace = SignedDuration::from_secs(maintenance.spec.active_deadline_seconds);
        let schedule = schedule?;
        let window = schedule.next_after(since)?;
        Some((window, schedule.next_after(window)?.min(window + grace)))
    }

    /// Tells about a foreign owner and a missed window (safe profile).
    fn tell_trouble(&mut self, schedule: Option<&Schedule>) {
        let observed = self.observed;
        // The pods of a Job that failed for good are gone: what they said holds until a run succeeds.
        let before = observed.maintenance.status.as_ref();
        let known = before.filter(|before| before.last_maintenance_time == self.status.last_maintenance_time);
        let owner = foreign_owner(&observed.pods).or_else(|| known?.repository_owner.clone());
        self.status.repository_owner.clone_from(&owner);
        let suspended = observed.maintenance.spec.suspend.unwrap_or_default();
        let missed =
            self.window(schedule).and_then(|(window, end)| (self.now > end && !suspended).then_some(window));
        let (reason, message) = match (owner, missed) {
            (Some(owner), _) => (
                "OwnerForeign",
                format!(
                    "maintenance of the repository belongs to {owner}; to take it over on purpose, annotate {}: \"{owner}\"",
                    keys::TAKE_OWNERSHIP
                ),
            ),
            (None, Some(window)) => (
                "MaintenanceMissed",
                format!(
                    "no maintenance has succeeded since the window of {}",
                    window.strftime("%Y-%m-%dT%H:%M:%SZ")
                ),
            ),
            (None, None) => return,
        };
        let known = observed.maintenance.status.as_ref().and_then(|status| {
            condition::find(status.conditions.as_ref(), "MaintenanceHealthy")
                .map(|known| known.message.clone())
        });
        if known.as_ref() != Some(&message) {
            self.acts.push(Act::warning(reason, message.clone()));
        }
        self.say("MaintenanceHealthy", false, reason, message);
    }

    fn manual(mut self, tag: &str) -> Vec<Act> {
        let observed = self.observed;
        self.drop_cron_job();
        let namespace = observed.maintenance.namespace().unwrap_or_default();
        let name = names::maintenance_job(&namespace, &observed.maintenance.name_any(), tag);
        for job in observed.jobs.iter().filter(|job| job.name_any() != name && Self::is_manual(job)) {
            self.drop_job(job);
        }
        if self.status.last_manual_sync.as_deref() == Some(tag) {
            return self.manual_done(None);
        }
        if self.status.maintenance_failures.unwrap_or_default() >= FAILURES_MAX {
            let failures = self.status.maintenance_failures.unwrap_or_default();
            let message = format!("blocked after {failures} failures");
            self.acts.push(Act::warning("MaintenanceBlocked", format!("Manual maintenance {message}")));
            self.status.last_manual_sync = Some(tag.to_owned());
            return self.manual_done(Some(message));
        }
        let Some(job) = observed.jobs.iter().find(|job| job.name_any() == name) else {
            if !observed.has_secret {
                let secret = &observed.maintenance.spec.repository.repository;
                let cause = format!("repository secret {secret} not found in namespace {namespace}");
                self.acts.push(Act::warning(
                    "JobCreationFailed",
                    format!("Failed to create maintenance Job: {cause}"),
                ));
                return self.manual_done(Some(cause));
            }
            if let (Some(claim), false) =
                (objects::own_cache(&observed.maintenance), observed.has_cache_claim)
            {
                self.acts.push(Act::create(claim));
            }
            self.acts.push(Act::create(objects::manual_job(observed, tag)));
            self.acts.push(Act::Requeue(MANUAL_INTERVAL));
            return self.acts;
        };
        let status = job.status.clone().unwrap_or_default();
        let has_failed = if observed.is_original {
            status.failed.unwrap_or_default() > 0
        } else {
            crate::plan::run::is(job, "Failed")
        };
        if status.succeeded.unwrap_or_default() > 0 {
            self.status.last_manual_sync = Some(tag.to_owned());
            self.status.last_maintenance_time = Some(Time(self.now));
            self.status.maintenance_failures = None;
            self.acts.push(Act::normal(
                "ManualMaintenanceCompleted",
                format!("Manual maintenance completed successfully with tag: {tag}"),
            ));
            return self.manual_done(None);
        }
        if has_failed {
            let owner = foreign_owner(&observed.pods);
            self.status.maintenance_failures = Some(self.status.maintenance_failures.unwrap_or_default() + 1);
            self.status.last_manual_sync = Some(tag.to_owned());
            self.status.repository_owner.clone_from(&owner);
            self.acts.push(Act::warning(
                "ManualMaintenanceFailed",
                format!("Manual maintenance failed with tag: {tag}"),
            ));
            self.drop_job(job);
            let why = owner.map_or_else(
                || format!("manual maintenance with tag {tag} failed"),
                |owner| format!("maintenance of the repository belongs to {owner}; to take it over on purpose, annotate {}: \"{owner}\"", keys::TAKE_OWNERSHIP),
            );
            return self.manual_done(Some(why));
        }
        self.acts.push(Act::Requeue(MANUAL_INTERVAL));
        self.acts
    }

    /// Conditions after a manual run; the original always claims that it could not create a CronJob.
    fn manual_done(mut self, trouble: Option<String>) -> Vec<Act> {
        if self.observed.is_original {
            self.say("Ready", false, "CronJobCreationFailed", "Failed to create maintenance CronJob");
            self.say("Progressing", true, "CreatingCronJob", "Creating maintenance CronJob");
            self.healthy();
            return self.end(Vec::new());
        }
        self.say("Progressing", false, "ReconcileComplete", "Waiting for a new manual tag");
        if let Some(why) = trouble {
            self.say("Ready", false, "ManualMaintenanceFailed", why.clone());
            self.say("MaintenanceHealthy", false, "ManualMaintenanceFailed", why);
            return self.end(vec![Act::Requeue(ERROR_INTERVAL)]);
        }
        // A failed tag stays in sight until another one succeeds.
        let is_known_bad = condition::find(self.status.conditions.as_ref(), "Ready")
            .is_some_and(|ready| ready.reason == "ManualMaintenanceFailed")
            && self.status.maintenance_failures.is_some();
        if !is_known_bad {
            self.say("Ready", true, "ManualMaintenance", "Maintenance runs by manual tag");
            self.healthy();
        }
        self.end(Vec::new())
    }
}

/// When a Job failed for good by losing its pods or running out of time.
fn failed_at(job: &Job) -> Option<Timestamp> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let failed = conditions.iter().find(|condition| {
        condition.type_ == "Failed"
            && condition.status == "True"
            && matches!(condition.reason.as_deref(), Some("BackoffLimitExceeded" | "DeadlineExceeded"))
    })?;
    failed.last_transition_time.as_ref().map(|time| time.0)
}

/// The patch that brings a CronJob up to date, if it needs one. The original leaves environment alone.
fn update(
    wanted: &k8s_openapi::api::batch::v1::CronJob,
    known: &k8s_openapi::api::batch::v1::CronJob,
    is_original: bool,
) -> Option<Value> {
    let mut wanted = serde_json::to_value(&wanted.spec).ok()?;
    let known = serde_json::to_value(&known.spec).ok()?;
    let container = "/jobTemplate/spec/template/spec/containers/0";
    if is_original {
        for field in ["env", "envFrom"] {
            let theirs =
                known.pointer(container).map(|container| container[field].clone()).unwrap_or_default();
            if let Some(ours) = wanted.pointer_mut(container) {
                ours[field] = theirs;
            }
        }
    }
    (!covers(&known, &wanted)).then(|| json!({"spec": wanted}))
}

/// Tells whether everything that is wanted is known; lists must have equal length, so that a removed entry
/// is noticed.
fn covers(known: &Value, wanted: &Value) -> bool {
    match (known, wanted) {
        (Value::Object(known), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| covers(known.get(key).unwrap_or(&Value::Null), value))
        }
        (Value::Array(known), Value::Array(wanted)) => {
            known.len() == wanted.len()
                && known.iter().zip(wanted).all(|(known, wanted)| covers(known, wanted))
        }
        (Value::Null, Value::Object(wanted)) => wanted.is_empty(),
        (Value::Null, Value::Array(wanted)) => wanted.is_empty(),
        (known, wanted) => known == wanted,
    }
}
