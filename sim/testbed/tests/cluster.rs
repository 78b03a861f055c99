//! A cluster without a subject: claims, Jobs, snapshots and pods live by themselves, on virtual time.

use std::time::Duration;

use json::{Value, json};
use testbed::{
    bed::{Bed, Options},
    subject::Subject,
};

const MINUTE: Duration = Duration::from_secs(60);

fn bed() -> Bed {
    Bed::start(Options { subject: Subject::None, ..Options::default() })
}

fn claim(name: &str, class: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "test"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class, "resources": {"requests": {"storage": "1Gi"}}},
    })
}

fn job(name: &str, script: &str, limit: u64) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "test"},
        "spec": {"backoffLimit": limit, "template": {"spec": {"restartPolicy": "Never", "containers": [
            {"name": "c", "image": "busybox", "command": ["sh", "-c", script]},
        ]}}},
    })
}

fn phase(object: &Value) -> &str {
    object.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default()
}

fn condition<'a>(object: &'a Value, class: &str) -> Option<&'a Value> {
    object.pointer("/status/conditions")?.as_array()?.iter().find(|each| each["type"] == class)
}

#[test]
fn an_immediate_claim_is_bound_and_released_with_its_volume() {
    let mut bed = bed();
    bed.create(&claim("data", "ceph-block")).expect("a claim");
    let bound = bed.wait_until("the claim to be bound", MINUTE, |bed| {
        bed.get("PersistentVolumeClaim", "test", "data").filter(|claim| phase(claim) == "Bound")
    });
    let bound = bound.expect("an immediate class binds at once");
    assert_eq!(bound.pointer("/status/capacity/storage"), Some(&json!("1Gi")));
    assert!(bed.bound_volume("test", "data").is_some());
    bed.delete("PersistentVolumeClaim", "test", "data").expect("deleted");
    bed.wait_until("claim and volume to be gone", MINUTE, |bed| {
        (bed.list("PersistentVolumeClaim", "test").is_empty() && bed.list("PersistentVolume", "").is_empty())
            .then_some(())
    })
    .expect("the reclaim policy is Delete");
}

#[test]
fn a_claim_that_waits_for_a_consumer_is_bound_by_one() {
    let mut bed = bed();
    bed.create(&claim("data", "openebs-hostpath")).expect("a claim");
    bed.advance(10 * MINUTE);
    assert_eq!(phase(&bed.get("PersistentVolumeClaim", "test", "data").expect("it exists")), "Pending");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app", "namespace": "test"},
        "spec": {
            "containers": [{"name": "c", "image": "app", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
        },
    });
    bed.create(&pod).expect("a pod");
    bed.wait_until("the pod to run", MINUTE, |bed| {
        bed.get("Pod", "test", "app").filter(|pod| phase(pod) == "Running")
    })
    .expect("the scheduler picks a node, the provisioner binds");
    bed.delete("PersistentVolumeClaim", "test", "data").expect("accepted");
    bed.advance(MINUTE);
    assert!(bed.get("PersistentVolumeClaim", "test", "data").is_some(), "a used claim is protected");
    bed.delete("Pod", "test", "app").expect("accepted");
    bed.wait_until("both to be gone", 2 * MINUTE, |bed| {
        (bed.list("Pod", "test").is_empty() && bed.list("PersistentVolumeClaim", "test").is_empty())
            .then_some(())
    })
    .expect("the protection ends with the pod");
}

#[test]
fn a_job_completes() {
    let mut bed = bed();
    bed.ensure_namespace("test");
    bed.create(&job("good", "sleep 5; echo done", 3)).expect("a Job");
    let done = bed.wait_until("the Job to complete", MINUTE, |bed| {
        bed.get("Job", "test", "good").filter(|job| condition(job, "Complete").is_some())
    });
    if done.is_err() {
        println!("{}", bed.record().to_ndjson());
    }
    let done = done.expect("it sleeps five seconds");
    assert_eq!(done.pointer("/status/succeeded"), Some(&json!(1)));
    let pods = bed.list("Pod", "test");
    assert_eq!(phase(&pods[0]), "Succeeded");
    assert_eq!(bed.pod_log("test", pods[0]["metadata"]["name"].as_str().expect("a name")), "done\n");
}

#[test]
fn a_failing_job_gives_up_after_its_back_off() {
    let mut bed = bed();
    bed.ensure_namespace("test");
    let begin = bed.now();
    bed.create(&job("bad", "exit 3", 8)).expect("a Job");
    let failed = bed.wait_until("the Job to fail", 60 * MINUTE, |bed| {
        bed.get("Job", "test", "bad").filter(|job| condition(job, "Failed").is_some())
    });
    let failed = failed.expect("it fails for good");
    assert_eq!(condition(&failed, "Failed").expect("it is there")["reason"], "BackoffLimitExceeded");
    assert_eq!(failed.pointer("/status/failed"), Some(&json!(9)));
    // Measured on the real controller: about 31 minutes with a limit of 8.
    let minutes = bed.now().duration_since(begin).as_secs() / 60;
    assert!((30..=32).contains(&minutes), "{minutes} minutes");
}

#[test]
fn a_deleted_pod_of_a_job_counts_as_failed_and_is_replaced() {
    let mut bed = bed();
    bed.ensure_namespace("test");
    bed.create(&job("long", "sleep 300", 3)).expect("a Job");
    let pod = bed
        .wait_until("a pod to run", MINUTE, |bed| {
            bed.list("Pod", "test").into_iter().find(|pod| phase(pod) == "Running")
        })
        .expect("it starts");
    bed.evict_pod("test", pod["metadata"]["name"].as_str().expect("a name"));
    let done = bed
        .wait_until("the Job to complete", 20 * MINUTE, |bed| {
            bed.get("Job", "test", "long").filter(|job| condition(job, "Complete").is_some())
        })
        .expect("a second pod does the work");
    assert_eq!(done.pointer("/status/failed"), Some(&json!(1)));
}

#[test]
fn a_volume_snapshot_becomes_ready_and_fills_a_claim() {
    let mut bed = bed();
    bed.create(&claim("data", "ceph-block")).expect("a claim");
    bed.create(&json!({
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "metadata": {"name": "cut", "namespace": "test"},
        "spec": {"source": {"persistentVolumeClaimName": "data"}},
    }))
    .expect("a snapshot");
    bed.wait_until("the snapshot to be ready", 5 * MINUTE, |bed| {
        bed.get("VolumeSnapshot", "test", "cut")
            .filter(|cut| cut.pointer("/status/readyToUse") == Some(&json!(true)))
    })
    .expect("it is cut once the claim is bound");
    let mut copy = claim("copy", "ceph-block");
    copy["spec"]["dataSource"] =
        json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "cut"});
    bed.create(&copy).expect("a claim from it");
    let mut small = copy.clone();
    small["metadata"]["name"] = json!("small");
    small["spec"]["resources"]["requests"]["storage"] = json!("512Mi");
    bed.create(&small).expect("accepted, but never filled");
    bed.wait_until("the copy to be bound", MINUTE, |bed| {
        bed.get("PersistentVolumeClaim", "test", "copy").filter(|claim| phase(claim) == "Bound")
    })
    .expect("it is large enough");
    bed.advance(10 * MINUTE);
    assert_eq!(phase(&bed.get("PersistentVolumeClaim", "test", "small").expect("it exists")), "Pending");
    bed.delete("PersistentVolumeClaim", "test", "small").expect("accepted");
    bed.delete("VolumeSnapshot", "test", "cut").expect("accepted");
    bed.wait_until("snapshot and content to be gone", 10 * MINUTE, |bed| {
        (bed.list("VolumeSnapshot", "test").is_empty() && bed.list("VolumeSnapshotContent", "").is_empty())
            .then_some(())
    })
    .expect("every finalizer is taken off");
}

#[test]
fn a_cron_job_makes_jobs_and_forgets_old_ones() {
    let mut bed = bed();
    bed.ensure_namespace("test");
    bed.create(&json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "hourly", "namespace": "test"},
        "spec": {"schedule": "0 * * * *", "successfulJobsHistoryLimit": 2, "jobTemplate": {"spec": job("x", "true", 1)["spec"]}},
    }))
    .expect("a CronJob");
    bed.advance(5 * 60 * MINUTE + MINUTE);
    let jobs = bed.list("Job", "test");
    assert_eq!(jobs.len(), 2, "{jobs:?}");
    let cron_job = bed.get("CronJob", "test", "hourly").expect("it exists");
    assert_eq!(cron_job.pointer("/status/lastScheduleTime"), Some(&json!("2026-01-01T05:00:00Z")));
}

#[test]
fn the_same_seed_gives_the_same_record() {
    let run = || {
        let mut bed = bed();
        bed.create(&claim("data", "ceph-block")).expect("a claim");
        bed.create(&job("bad", "exit 1", 2)).expect("a Job");
        bed.advance(10 * MINUTE);
        bed.record().to_ndjson()
    };
    let first = run();
    assert!(first.lines().count() > 50, "something happened");
    assert_eq!(first, run());
}
