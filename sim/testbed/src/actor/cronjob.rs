//! The CronJob controller: Jobs on a schedule.
//!
//! Names, annotations and events as the real one; a missed time is caught up once (the newest one only),
//! `Forbid` skips while a Job runs, `Replace` deletes it first; old Jobs go by the history limits. Times
//! are UTC, or the zone that `spec.timeZone` names. It does not know the warning for more than 100 missed times.

pub mod schedule;

use std::{sync::Arc, time::Duration};

use apiserver::{Delete, Propagation};
use jiff::Timestamp;
use json::{Value, json};

use self::schedule::Schedule;
use super::{
    Actor, Change, Cluster, Key, Next, View,
    cluster::{controller_of, is_deleting, name, text, timestamp, uid},
    resource,
};

/// The CronJob controller.
pub struct CronJobs {
    cluster: Cluster,
}

impl CronJobs {
    /// The actor on a cluster.
    pub fn new(cluster: &Cluster) -> Self {
        Self { cluster: cluster.for_caller("cronjob-controller") }
    }

    fn jobs(&self, cron_job: &Value) -> Vec<Arc<Value>> {
        let mut jobs = self.cluster.list(resource::JOB, text(cron_job, "/metadata/namespace"));
        jobs.retain(|job| controller_of(job).is_some_and(|(_, _, owner)| owner == uid(cron_job)));
        jobs
    }

    fn delete_job(&self, cron_job: &Value, job: &Value, reason: &str) {
        let options = Delete { propagation: Some(Propagation::Background), ..Delete::default() };
        let gone = self.cluster.delete(resource::JOB, text(job, "/metadata/namespace"), name(job), &options);
        self.cluster.tolerate(gone);
        self.cluster.report(cron_job, "Normal", reason, &format!("Deleted job {}", name(job)));
    }

    fn trim_history(&self, cron_job: &Value, jobs: &[Arc<Value>]) {
        for (condition, field, default) in
            [("Complete", "successfulJobsHistoryLimit", 3), ("Failed", "failedJobsHistoryLimit", 1)]
        {
            let limit = cron_job["spec"][field].as_u64().unwrap_or(default) as usize;
            let mut finished: Vec<&Arc<Value>> =
                jobs.iter().filter(|job| end_of(job) == Some(condition)).collect();
            finished.sort_by_key(|job| (text(job, "/status/startTime").to_owned(), name(job).to_owned()));
            for job in finished.iter().take(finished.len().saturating_sub(limit)) {
                self.delete_job(cron_job, job, "SuccessfulDelete");
            }
        }
    }

    fn create_job(&self, cron_job: &Value, scheduled: Timestamp) -> Option<Arc<Value>> {
        let template = &cron_job["spec"]["jobTemplate"];
        let mut metadata = json!({
            "name": format!("{}-{}", name(cron_job), scheduled.as_second() / 60),
            "namespace": text(cron_job, "/metadata/namespace"),
            "annotations": template.pointer("/metadata/annotations").cloned().unwrap_or(json!({})),
            "ownerReferences": [{
                "apiVersion": "batch/v1", "kind": "CronJob", "name": name(cron_job), "uid": uid(cron_job),
                "controller": true, "blockOwnerDeletion": true,
            }],
        });
        metadata["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"] =
            json!(timestamp(scheduled));
        if let Some(labels) = template.pointer("/metadata/labels") {
            metadata["labels"] = labels.clone();
        }
        match self.cluster.create(resource::JOB, json!({"metadata": metadata, "spec": template["spec"]})) {
            Ok(job) => {
                self.cluster.report(
                    cron_job,
                    "Normal",
                    "SuccessfulCreate",
                    &format!("Created job {}", name(&job)),
                );
                Some(job)
            }
            Err(failure) => {
                self.cluster.report(
                    cron_job,
                    "Warning",
                    "FailedCreate",
                    &format!("Error creating job: {failure}"),
                );
                None
            }
        }
    }

    /// Notes ended Jobs and the running ones in the status; returns the running ones.
    fn write_status(&self, cron_job: &Value, jobs: &[Arc<Value>]) -> Vec<Arc<Value>> {
        let listed: Vec<&str> = cron_job
            .pointer("/status/active")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|reference| text(reference, "/uid"))
            .collect();
        let (ended, running): (Vec<_>, Vec<_>) = jobs.iter().cloned().partition(|job| end_of(job).is_some());
        for job in ended.iter().filter(|job| listed.contains(&uid(job))) {
            let how = end_of(job).unwrap_or_default();
            let message = format!("Saw completed job: {}, condition: {how}", name(job));
            self.cluster.report(cron_job, "Normal", "SawCompletedJob", &message);
        }
        let newest = ended
            .iter()
            .filter(|job| end_of(job) == Some("Complete"))
            .map(|job| text(job, "/status/completionTime").to_owned())
            .max();
        let active: Vec<Value> = running
            .iter()
            .map(|job| {
                json!({"apiVersion": "batch/v1", "kind": "Job", "namespace": text(job, "/metadata/namespace"), "name": name(job),
                    "uid": uid(job), "resourceVersion": text(job, "/metadata/resourceVersion")})
            })
            .collect();
        let written = self.cluster.change_status(
            resource::CRON_JOB,
            text(cron_job, "/metadata/namespace"),
            name(cron_job),
            |cron_job| {
                if !cron_job["status"].is_object() {
                    cron_job["status"] = json!({});
                }
                let known =
                    cron_job.pointer("/status/active").and_then(Value::as_array).cloned().unwrap_or_default();
                let uids = |list: &[Value]| {
                    list.iter().map(|each| text(each, "/uid").to_owned()).collect::<Vec<_>>()
                };
                if uids(&known) != uids(&active) {
                    if active.is_empty() {
                        cron_job["status"].as_object_mut().expect("an object").remove("active");
                    } else {
                        cron_job["status"]["active"] = json!(active);
                    }
                }
                if let Some(newest) = newest
                    && newest.as_str() > text(cron_job, "/status/lastSuccessfulTime")
                {
                    cron_job["status"]["lastSuccessfulTime"] = json!(newest);
                }
            },
        );
        self.cluster.tolerate(written);
        running
    }
}

#[async_trait::async_trait]
impl Actor for CronJobs {
    fn name(&self) -> &str {
        self.cluster.caller()
    }

    fn keys(&self, change: &Change, _: &View<'_>) -> Vec<Key> {
        match change.kind.as_str() {
            "CronJob" if change.caller == self.cluster.caller() => Vec::new(),
            "CronJob" => vec![Key::new(resource::CRON_JOB, &change.namespace, &change.name)],
            "Job" => match controller_of(&change.object) {
                Some(("CronJob", owner, _)) => vec![Key::new(resource::CRON_JOB, &change.namespace, owner)],
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &Key) -> Next {
        let Some(cron_job) = self.cluster.get(resource::CRON_JOB, &key.namespace, &key.name) else {
            return Next::Done;
        };
        if is_deleting(&cron_job) {
            return Next::Done;
        }
        let jobs = self.jobs(&cron_job);
        let running = self.write_status(&cron_job, &jobs);
        self.trim_history(&cron_job, &jobs);
        if cron_job["spec"]["suspend"] == true {
            return Next::Done;
        }
        let schedule =
            match Schedule::parse(text(&cron_job, "/spec/schedule"), text(&cron_job, "/spec/timeZone")) {
                Ok(schedule) => schedule,
                Err(error) => {
                    let message =
                        format!("unparseable schedule: {:?} : {error}", text(&cron_job, "/spec/schedule"));
                    self.cluster.report(&cron_job, "Warning", "UnparseableSchedule", &message);
                    return Next::Done;
                }
            };
        let now = self.cluster.clock().now();
        let since =
            [text(&cron_job, "/status/lastScheduleTime"), text(&cron_job, "/metadata/creationTimestamp")]
                .into_iter()
                .filter_map(|time| time.parse::<Timestamp>().ok())
                .max()
                .unwrap_or(now);
        let mut due = None;
        let mut next = schedule.after(since);
        while let Some(time) = next.filter(|time| *time <= now) {
            due = Some(time);
            next = schedule.after(time);
        }
        let wait = next.map(|time| Duration::try_from(time.duration_since(now)).unwrap_or_default());
        let again = wait.map_or(Next::Done, Next::After);
        let Some(scheduled) = due else { return again };
        if let Some(limit) = cron_job["spec"]["startingDeadlineSeconds"].as_i64()
            && now.duration_since(scheduled).as_secs() > limit
        {
            return again;
        }
        match text(&cron_job, "/spec/concurrencyPolicy") {
            "Forbid" if !running.is_empty() => {
                let message =
                    "Not starting job because prior execution is running and concurrency policy is Forbid";
                self.cluster.report(&cron_job, "Normal", "JobAlreadyActive", message);
                // The end of the running Job wakes us; the missed time is then caught up.
                return again;
            }
            "Replace" => running.iter().for_each(|job| self.delete_job(&cron_job, job, "SuccessfulDelete")),
            _ => {}
        }
        if let Some(job) = self.create_job(&cron_job, scheduled) {
            let written = self.cluster.change_status(resource::CRON_JOB, &key.namespace, &key.name, |cron_job| {
                if !cron_job["status"].is_object() {
                    cron_job["status"] = json!({});
                }
                cron_job["status"]["lastScheduleTime"] = json!(timestamp(scheduled));
                let reference = json!({"apiVersion": "batch/v1", "kind": "Job", "namespace": key.namespace, "name": name(&job),
                    "uid": uid(&job), "resourceVersion": text(&job, "/metadata/resourceVersion")});
                match cron_job["status"]["active"].as_array_mut() {
                    Some(active) => active.push(reference),
                    None => cron_job["status"]["active"] = json!([reference]),
                }
            });
            self.cluster.tolerate(written);
        }
        again
    }
}

/// `Complete` or `Failed`, if the Job has ended.
fn end_of(job: &Value) -> Option<&'static str> {
    let conditions = job.pointer("/status/conditions")?.as_array()?;
    ["Complete", "Failed"]
        .into_iter()
        .find(|class| conditions.iter().any(|each| each["type"] == *class && each["status"] == "True"))
}
