//! The Job controller: pods for Jobs, back-off between them, and the end of a Job.
//!
//! As the real one (measured on 1.34): a failed pod is replaced after 10, 20, 40 … 600 s counted from its
//! end; the Job fails for good when more than `backoffLimit` pods failed; a pod being deleted counts as
//! failed unless it has already succeeded (`podReplacementPolicy: TerminatingOrFailed`). It keeps its
//! counts by pod uid in memory instead of the tracking finalizer, so pods that vanish are counted, too.
//! Only Jobs with one completion are made: others are treated as if `completions` were 1.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use apiserver::{Delete, Propagation};
use jiff::Timestamp;
use json::{Value, json};

use super::{
    Actor, Change, Cluster, Key, Next, View,
    cluster::{controller_of, is_deleting, name, set_condition, text, uid},
    resource,
};
use crate::record::What;

/// Pause after the first failed pod.
const BACKOFF_FIRST: Duration = Duration::from_secs(10);
/// Longest pause.
const BACKOFF_LIMIT: Duration = Duration::from_secs(600);

/// The Job controller.
pub struct Jobs {
    cluster: Cluster,
    tracks: Mutex<BTreeMap<String, Track>>,
}

/// What is known about the pods of one Job, by its uid.
#[derive(Clone, Default)]
struct Track {
    alive: BTreeSet<String>,
    succeeded: BTreeSet<String>,
    failed: BTreeMap<String, Timestamp>,
    made: u64,
}

/// The verdict on one pod.
enum PodState {
    Active,
    Succeeded,
    Failed(Timestamp),
}

impl Jobs {
    /// The actor on a cluster.
    pub fn new(cluster: &Cluster) -> Self {
        Self { cluster: cluster.for_caller("job-controller"), tracks: Mutex::default() }
    }

    fn state(&self, pod: &Value) -> PodState {
        match text(pod, "/status/phase") {
            "Succeeded" => PodState::Succeeded,
            "Failed" => PodState::Failed(finished_at(pod).unwrap_or_else(|| self.cluster.clock().now())),
            _ if is_deleting(pod) => PodState::Failed(self.cluster.clock().now()),
            _ => PodState::Active,
        }
    }

    fn pods(&self, job: &Value) -> Vec<Arc<Value>> {
        let mut pods = self.cluster.list(resource::POD, text(job, "/metadata/namespace"));
        pods.retain(|pod| {
            controller_of(pod).is_some_and(|(kind, _, owner)| kind == "Job" && owner == uid(job))
        });
        pods
    }

    /// Counts pods anew, and returns the track with the pods that are active.
    fn count(&self, job: &Value) -> (Track, Vec<Arc<Value>>) {
        let pods = self.pods(job);
        let mut tracks = self.tracks.lock().expect("no holder of the tracks panics");
        let track = tracks.entry(uid(job).to_owned()).or_default();
        let mut active = Vec::new();
        let mut present = BTreeSet::new();
        for pod in pods {
            let id = uid(&pod).to_owned();
            present.insert(id.clone());
            if track.succeeded.contains(&id) || track.failed.contains_key(&id) {
                continue;
            }
            match self.state(&pod) {
                PodState::Active => {
                    track.alive.insert(id);
                    active.push(pod);
                }
                PodState::Succeeded => {
                    track.alive.remove(&id);
                    track.succeeded.insert(id);
                }
                PodState::Failed(at) => {
                    track.alive.remove(&id);
                    track.failed.insert(id, at);
                    self.note(job, "pod-failed", name(&pod));
                }
            }
        }
        let vanished: Vec<String> = track.alive.difference(&present).cloned().collect();
        for id in vanished {
            track.alive.remove(&id);
            track.failed.insert(id, self.cluster.clock().now());
        }
        (track.clone(), active)
    }

    fn note(&self, job: &Value, operation: &str, detail: &str) {
        self.cluster.record().push(
            &format!("process/job-controller/{operation}/Job"),
            What::Job {
                namespace: text(job, "/metadata/namespace").to_owned(),
                name: name(job).to_owned(),
                operation: operation.to_owned(),
                detail: detail.to_owned(),
            },
        );
    }

    fn delete_pods(&self, pods: &[Arc<Value>]) {
        for pod in pods {
            let gone = self.cluster.delete(
                resource::POD,
                text(pod, "/metadata/namespace"),
                name(pod),
                &Delete::default(),
            );
            self.cluster.tolerate(gone);
        }
    }

    fn finish(&self, job: &Value, track: &Track, condition: &str, reason: &str, message: &str) {
        let now = self.cluster.timestamp();
        let (namespace, job_name) = (text(job, "/metadata/namespace"), name(job));
        let is_complete = condition == "Complete";
        let first = if is_complete { "SuccessCriteriaMet" } else { "FailureTarget" };
        // The real controller writes the decision first and the end when no pod is left.
        let decided = self.cluster.change_status(resource::JOB, namespace, job_name, |job| {
            set_condition(job, first, "True", reason, message, &now);
            drop_counts(job);
        });
        self.cluster.tolerate(decided);
        let ended = self.cluster.change_status(resource::JOB, namespace, job_name, |job| {
            set_condition(job, condition, "True", reason, message, &now);
            drop_counts(job);
            let status = job["status"].as_object_mut().expect("a condition was just set in it");
            if !track.succeeded.is_empty() {
                status.insert("succeeded".to_owned(), json!(track.succeeded.len()));
            }
            if !track.failed.is_empty() {
                status.insert("failed".to_owned(), json!(track.failed.len()));
            }
            if is_complete {
                status.insert("completionTime".to_owned(), json!(now));
            }
        });
        self.cluster.tolerate(ended);
        if is_complete {
            self.cluster.report(job, "Normal", "Completed", "Job completed");
            self.note(job, "complete", "");
        } else {
            self.cluster.report(job, "Warning", reason, message);
            self.note(job, "failed", reason);
        }
    }

    /// Makes a pod; false if the server refused, which the real controller tries again.
    fn create_pod(&self, job: &Value, attempt: u64) -> bool {
        let namespace = text(job, "/metadata/namespace");
        let template = &job["spec"]["template"];
        let suffix = pod_suffix(self.cluster.seed(), uid(job), attempt);
        let mut metadata = json!({
            "name": format!("{}-{suffix}", name(job)),
            "generateName": format!("{}-", name(job)),
            "namespace": namespace,
            "labels": template.pointer("/metadata/labels").cloned().unwrap_or(json!({})),
            "ownerReferences": [{
                "apiVersion": "batch/v1", "kind": "Job", "name": name(job), "uid": uid(job),
                "controller": true, "blockOwnerDeletion": true,
            }],
        });
        let labels = metadata["labels"].as_object_mut().expect("labels are an object");
        for (key, value) in [
            ("batch.kubernetes.io/controller-uid", uid(job)),
            ("controller-uid", uid(job)),
            ("batch.kubernetes.io/job-name", name(job)),
            ("job-name", name(job)),
        ] {
            labels.insert(key.to_owned(), json!(value));
        }
        if let Some(annotations) = template.pointer("/metadata/annotations") {
            metadata["annotations"] = annotations.clone();
        }
        let pod = json!({"metadata": metadata, "spec": template["spec"]});
        match self.cluster.create(resource::POD, pod) {
            Ok(pod) => {
                self.cluster.report(
                    job,
                    "Normal",
                    "SuccessfulCreate",
                    &format!("Created pod: {}", name(&pod)),
                );
                let mut tracks = self.tracks.lock().expect("no holder of the tracks panics");
                if let Some(track) = tracks.get_mut(uid(job)) {
                    track.made += 1;
                    track.alive.insert(uid(&pod).to_owned());
                }
                true
            }
            Err(failure) => {
                self.cluster.report(job, "Warning", "FailedCreate", &format!("Error creating: {failure}"));
                false
            }
        }
    }

    fn write_counts(&self, job: &Value, track: &Track, active: &[Arc<Value>]) {
        let now = self.cluster.timestamp();
        let is_suspended = job.pointer("/spec/suspend") == Some(&json!(true));
        let ready = active.iter().filter(|pod| text(pod, "/status/phase") == "Running").count();
        let written =
            self.cluster.change_status(resource::JOB, text(job, "/metadata/namespace"), name(job), |job| {
                if !job["status"].is_object() {
                    job["status"] = json!({});
                }
                drop_counts(job);
                if is_suspended {
                    set_condition(job, "Suspended", "True", "JobSuspended", "Job suspended", &now);
                } else if condition_is(job, "Suspended", "True") {
                    set_condition(job, "Suspended", "False", "JobResumed", "Job resumed", &now);
                }
                let status = job["status"].as_object_mut().expect("made an object above");
                if !is_suspended && !status.contains_key("startTime") {
                    status.insert("startTime".to_owned(), json!(now));
                }
                for (field, count) in [
                    ("active", active.len()),
                    ("ready", ready),
                    ("succeeded", track.succeeded.len()),
                    ("failed", track.failed.len()),
                ] {
                    if count > 0 {
                        status.insert(field.to_owned(), json!(count));
                    }
                }
            });
        self.cluster.tolerate(written);
    }
}

#[async_trait::async_trait]
impl Actor for Jobs {
    fn name(&self) -> &str {
        self.cluster.caller()
    }

    fn keys(&self, change: &Change, _: &View<'_>) -> Vec<Key> {
        match change.kind.as_str() {
            "Job" if change.caller == self.cluster.caller() => Vec::new(),
            "Job" => vec![Key::new(resource::JOB, &change.namespace, &change.name)],
            "Pod" => match controller_of(&change.object) {
                Some(("Job", owner, _)) => vec![Key::new(resource::JOB, &change.namespace, owner)],
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &Key) -> Next {
        let Some(job) = self.cluster.get(resource::JOB, &key.namespace, &key.name) else { return Next::Done };
        if is_deleting(&job) {
            return Next::Done;
        }
        if let Some(finished) = finished_since(&job) {
            self.tracks.lock().expect("no holder of the tracks panics").remove(uid(&job));
            return self.expire(&job, finished);
        }
        let (track, active) = self.count(&job);
        let spec = &job["spec"];
        let now = self.cluster.clock().now();
        let backoff_limit = spec["backoffLimit"].as_u64().unwrap_or(6);
        let restarts: u64 = active.iter().map(|pod| restart_count(pod)).sum();
        let on_failure = text(&job, "/spec/template/spec/restartPolicy") == "OnFailure";

        if track.failed.len() as u64 > backoff_limit
            || (on_failure && restarts > 0 && restarts >= backoff_limit)
        {
            self.delete_pods(&active);
            let message = "Job has reached the specified backoff limit";
            self.finish(&job, &track, "Failed", "BackoffLimitExceeded", message);
            return Next::After(Duration::ZERO);
        }
        let deadline = spec["activeDeadlineSeconds"]
            .as_u64()
            .zip(text(&job, "/status/startTime").parse::<Timestamp>().ok());
        let mut until_deadline = None;
        if let Some((seconds, started)) = deadline {
            let age = Duration::try_from(now.duration_since(started)).unwrap_or_default();
            let limit = Duration::from_secs(seconds);
            if age >= limit {
                self.delete_pods(&active);
                let message = "Job was active longer than specified deadline";
                self.finish(&job, &track, "Failed", "DeadlineExceeded", message);
                return Next::After(Duration::ZERO);
            }
            until_deadline = Some(limit.saturating_sub(age));
        }
        if !track.succeeded.is_empty() {
            self.finish(
                &job,
                &track,
                "Complete",
                "CompletionsReached",
                "Reached expected number of succeeded pods",
            );
            return Next::After(Duration::ZERO);
        }
        let wanted = u64::from(spec["suspend"] != true && spec["parallelism"].as_u64().unwrap_or(1) > 0);
        if wanted == 0 {
            self.delete_pods(&active);
            self.write_counts(&job, &track, &[]);
            return Next::Done;
        }
        let mut pause = None;
        if active.is_empty() {
            match backoff_left(&track, now) {
                Some(left) => pause = Some(left),
                None => {
                    if !self.create_pod(&job, track.made) {
                        return Next::Retry {
                            first: Duration::from_secs(1),
                            limit: Duration::from_secs(360),
                        };
                    }
                    if !track.failed.is_empty() {
                        self.note(
                            &job,
                            "retry",
                            &format!("pod {} after {} failures", track.made + 1, track.failed.len()),
                        );
                    }
                }
            }
        }
        let (track, active) = self.count(&job);
        self.write_counts(&job, &track, &active);
        match pause.into_iter().chain(until_deadline).min() {
            Some(wait) => Next::After(wait),
            None => Next::Done,
        }
    }
}

impl Jobs {
    /// Deletes a finished Job when its time to live is over.
    fn expire(&self, job: &Value, finished: Timestamp) -> Next {
        let Some(ttl) = job["spec"]["ttlSecondsAfterFinished"].as_u64() else { return Next::Done };
        let age = Duration::try_from(self.cluster.clock().now().duration_since(finished)).unwrap_or_default();
        let ttl = Duration::from_secs(ttl);
        if age < ttl {
            return Next::After(ttl.saturating_sub(age));
        }
        let options = Delete { propagation: Some(Propagation::Background), ..Delete::default() };
        let gone = self.cluster.delete(resource::JOB, text(job, "/metadata/namespace"), name(job), &options);
        self.cluster.tolerate(gone);
        Next::Done
    }
}

fn drop_counts(job: &mut Value) {
    if let Some(status) = job["status"].as_object_mut() {
        for field in ["active", "ready", "succeeded", "failed"] {
            status.remove(field);
        }
    }
}

fn condition_is(job: &Value, class: &str, status: &str) -> bool {
    let conditions = job.pointer("/status/conditions").and_then(Value::as_array);
    conditions.is_some_and(|list| list.iter().any(|each| each["type"] == class && each["status"] == status))
}

/// When the Job ended, if it has.
fn finished_since(job: &Value) -> Option<Timestamp> {
    let conditions = job.pointer("/status/conditions")?.as_array()?;
    let end = conditions
        .iter()
        .find(|each| (each["type"] == "Complete" || each["type"] == "Failed") && each["status"] == "True")?;
    text(end, "/lastTransitionTime").parse().ok()
}

/// When the last container of a pod ended.
fn finished_at(pod: &Value) -> Option<Timestamp> {
    let statuses = pod.pointer("/status/containerStatuses")?.as_array()?;
    statuses.iter().filter_map(|status| text(status, "/state/terminated/finishedAt").parse().ok()).max()
}

fn restart_count(pod: &Value) -> u64 {
    let statuses = pod.pointer("/status/containerStatuses").and_then(Value::as_array);
    statuses.into_iter().flatten().filter_map(|status| status["restartCount"].as_u64()).sum()
}

/// What is left of the pause before the next pod; `None` if there is none.
fn backoff_left(track: &Track, now: Timestamp) -> Option<Duration> {
    let last = track.failed.values().max()?;
    let doublings = u32::try_from(track.failed.len() - 1).unwrap_or(u32::MAX).min(16);
    let pause = BACKOFF_FIRST.saturating_mul(1 << doublings).min(BACKOFF_LIMIT);
    let passed = Duration::try_from(now.duration_since(*last)).unwrap_or_default();
    let left = pause.saturating_sub(passed);
    (!left.is_zero()).then_some(left)
}

/// Five characters as the API server generates them (no vowels, so that no words come out).
pub fn pod_suffix(seed: u64, owner: &str, attempt: u64) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let bytes = crate::seed::bytes(seed, &["pod-suffix", owner, &attempt.to_string()]);
    bytes[..5].iter().map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_between_pods_doubles_from_ten_seconds_to_ten_minutes() {
        let at = |seconds| Timestamp::from_second(seconds).expect("a small number of seconds");
        let mut track = Track::default();
        let pauses: Vec<u64> = (0..8)
            .map(|n| {
                track.failed.insert(format!("pod-{n}"), at(1000 + n));
                backoff_left(&track, at(1000 + n)).expect("a failure calls for a pause").as_secs()
            })
            .collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 600, 600]);
        assert_eq!(backoff_left(&track, at(1607)), None, "the pause is over 600 s after the last failure");
    }
}
