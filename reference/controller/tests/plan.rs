//! Plans by table: one observation, the acts that follow.
//!
//! Each row changes one thing about a sync that is otherwise in order, and says what the plan becomes, told
//! in short words.
use std::collections::BTreeMap;

use api::names as keys;
use controller::Profile;
use controller::act::{Act, Status};
use controller::observed::{Observed, Setting};
use controller::plan::plan;
use controller::subject::Subject;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::EnvVar;
use serde_json::{Value, json};

const NOW: &str = "2026-03-01T10:00:00Z";

fn setting(profile: Profile) -> Setting {
    Setting {
        profile,
        image: "mover".into(),
        proxies: BTreeMap::new(),
        log_bytes_max: 1024,
        job_backoff_limit: None,
    }
}

fn of<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object")
}

fn merge(base: &mut Value, change: Value) {
    match (base, change) {
        (Value::Object(base), Value::Object(change)) => {
            for (key, value) in change {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, change) => *base = change,
    }
}

fn source(profile: Profile, change: Value) -> Observed {
    let mut object = json!({
        "metadata": {"name": "app", "namespace": "t1", "uid": "u1", "generation": 1},
        "spec": {
            "sourcePVC": "data",
            "trigger": {"schedule": "30 * * * *"},
            "kopia": {"repository": "repo", "copyMethod": "Snapshot"},
        },
        "status": {"kopia": {}, "lastSyncStartTime": "2026-03-01T09:59:50Z"},
    });
    merge(&mut object, change);
    let mut observed = Observed::bare(Subject::Source(of(object)), setting(profile));
    observed.is_prepared = true;
    observed.claim = Some(of(json!({
        "metadata": {"name": "data", "namespace": "t1"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "csi",
                 "resources": {"requests": {"storage": "1Gi"}}, "volumeMode": "Filesystem"},
        "status": {"phase": "Bound", "capacity": {"storage": "2Gi"}},
    })));
    observed.copy_snapshot = Some(of(json!({
        "metadata": {"name": "volsync-app-src", "creationTimestamp": "2026-03-01T09:59:51Z"},
        "spec": {"source": {"persistentVolumeClaimName": "data"}},
        "status": {"boundVolumeSnapshotContentName": "c", "readyToUse": true, "restoreSize": "3Gi"},
    })));
    observed.secret_keys = Some(["KOPIA_PASSWORD", "KOPIA_REPOSITORY"].map(str::to_owned).into());
    observed
}

fn destination(profile: Profile, change: Value) -> Observed {
    let mut object = json!({
        "metadata": {"name": "dst", "namespace": "t1", "uid": "u2", "generation": 1},
        "spec": {
            "trigger": {"manual": "once"},
            "kopia": {"repository": "repo", "copyMethod": "Snapshot", "capacity": "1Gi",
                      "accessModes": ["ReadWriteOnce"], "sourceIdentity": {"sourceName": "app"}},
        },
        "status": {"kopia": {}, "lastSyncStartTime": "2026-03-01T09:59:50Z"},
    });
    merge(&mut object, change);
    let mut observed = Observed::bare(Subject::Destination(of(object)), setting(profile));
    observed.is_prepared = true;
    observed.secret_keys = Some(["KOPIA_PASSWORD", "KOPIA_REPOSITORY"].map(str::to_owned).into());
    observed
}

/// Adds the Job that the plan would make, with a status, and a pod of it.
fn with_job(observed: &mut Observed, status: Value, pod: Option<Value>) {
    let acts = plan(observed, NOW.parse().expect("an instant"));
    let job = acts.iter().find_map(|act| match act {
        Act::Create(object) => match &**object {
            controller::act::Object::Job(job) => Some(job.clone()),
            _ => None,
        },
        _ => None,
    });
    let mut job = job.unwrap_or_else(|| panic!("no Job is planned: {}", told(&acts).join("; ")));
    job.metadata.uid = Some("j1".into());
    job.status = Some(of(status));
    observed.job = Some(job);
    observed.pods = pod.into_iter().map(of).collect();
    observed.log = Some("the log".into());
    // What the plan made before the Job is there now.
    for act in acts {
        if let Act::Create(object) = act
            && let controller::act::Object::Claim(claim) = *object
        {
            let is_copy = claim.metadata.name.as_deref() == Some("volsync-app-src");
            if is_copy { observed.copy_claim = Some(claim) } else { observed.claim = Some(claim) }
        }
    }
    observed.account = Some(of(json!({})));
    (observed.has_role, observed.has_binding) = (true, true);
}

fn pod(phase: &str, exit_code: i32, message: &str) -> Value {
    json!({
        "metadata": {"name": "p1"},
        "status": {"phase": phase, "containerStatuses": [{
            "name": "kopia", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": exit_code, "message": message}},
        }]},
    })
}

fn complete() -> Value {
    json!({"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]})
}

const BACKED_UP: &str = r#"{"exitCode":0,"operation":"backup","ending":{"result":"backedUp"},"repository":{"uniqueId":"aa"},
    "snapshot":{"id":"s1","identity":{"username":"app","hostname":"t1","path":"/data"},"start":"2026-03-01T09:59:55Z","files":1,"bytes":1}}"#;
const RESTORED: &str = r#"{"exitCode":0,"operation":"restore","ending":{"result":"restored"},"repository":{"uniqueId":"aa"},
    "snapshot":{"id":"s1","identity":{"username":"app","hostname":"t1","path":"/data"},"start":"2026-03-01T09:59:55Z","files":1,"bytes":1}}"#;
const NOTHING: &str = r#"{"exitCode":0,"operation":"restore","ending":{"result":"nothingRestored","reason":"firstDeployment"},
    "repository":{"uniqueId":"aa"}}"#;

/// Tells a plan in short words; measures are left out.
fn told(acts: &[Act]) -> Vec<String> {
    acts.iter()
        .filter_map(|act| {
            Some(match act {
                Act::Create(object) => format!("create {}", object.describe()),
                Act::Patch { kind, name, patch } => format!("patch {kind:?}/{name} {patch}"),
                Act::Delete { kind, name, .. } => format!("delete {kind:?}/{name}"),
                Act::Event { reason, .. } => format!("event {reason}"),
                Act::Status(status) => condition(status),
                Act::Requeue(after) => format!("again in {after:?}"),
                Act::Again => "again".into(),
                Act::Fail(_) => "fail".into(),
                Act::Measure(_) => return None,
            })
        })
        .collect()
}

fn condition(status: &Status) -> String {
    let mut status = status.clone();
    let sync = status.sync_mut().expect("a replication status");
    let all = sync.conditions.clone().unwrap_or_default();
    let said: Vec<String> =
        all.iter().map(|one| format!("{} {}: {}", one.type_, one.reason, one.message)).collect();
    said.join(" | ")
}

#[track_caller]
fn check(observed: &Observed, expected: &[&str]) {
    let acts = plan(observed, NOW.parse::<Timestamp>().expect("an instant"));
    assert_eq!(told(&acts), expected);
}

const RUNNING: &str = "Synchronizing SyncInProgress: Synchronization in-progress";

#[test]
fn a_new_object_starts_at_once() {
    for profile in [Profile::Safe, Profile::Original] {
        check(&source(profile, json!({"status": null})), &[RUNNING, "again"]);
    }
    // A paused one: the original starts, and calls the sync done; the safe profile does neither.
    let paused = json!({"status": null, "spec": {"paused": true}});
    check(
        &source(Profile::Safe, paused.clone()),
        &["Synchronizing Paused: Paused by spec.paused: no synchronization is started"],
    );
    check(&source(Profile::Original, paused), &[RUNNING, "again"]);
    check(
        &source(Profile::Original, json!({"spec": {"paused": true}})),
        &["Synchronizing CleanupInProgress: Cleanup in-progress", "again"],
    );
}

#[test]
fn everything_a_backup_needs_is_made_in_order() {
    for profile in [Profile::Safe, Profile::Original] {
        check(
            &source(profile, json!({})),
            &[
                "create PersistentVolumeClaim/volsync-app-src",
                "event PersistentVolumeClaimCreated",
                "create ServiceAccount/volsync-src-app",
                "create Role/volsync-src-app",
                "create RoleBinding/volsync-src-app",
                "create Job/volsync-src-app",
                RUNNING,
                "again in 60s",
            ],
        );
    }
}

#[test]
fn a_snapshot_on_its_way_is_an_error_only_to_the_original() {
    let mut safe = source(Profile::Safe, json!({}));
    safe.copy_snapshot.as_mut().expect("set").status = None;
    check(
        &safe,
        &[
            "Synchronizing SyncInProgress: Synchronization in-progress: waiting for VolumeSnapshot/volsync-app-src to bind",
            "again in 60s",
        ],
    );
    let mut original = source(Profile::Original, json!({}));
    original.copy_snapshot = None;
    check(
        &original,
        &[
            "create VolumeSnapshot/volsync-app-src",
            "event VolumeSnapshotCreated",
            "Synchronizing Error: data PVC not available (possibly waiting for copy trigger)",
            "fail",
        ],
    );
    // Held in deletion: the safe profile names what holds it.
    let snapshot = safe.copy_snapshot.as_mut().expect("set");
    snapshot.metadata.deletion_timestamp = Some(of(json!("2026-03-01T09:59:55Z")));
    snapshot.metadata.finalizers = Some(vec!["example.org/hold".into()]);
    check(
        &safe,
        &[
            "Synchronizing SyncInProgress: Synchronization in-progress: waiting for VolumeSnapshot/volsync-app-src of an earlier sync to be deleted; held by finalizers: example.org/hold",
            "again in 60s",
        ],
    );
}

#[test]
fn missing_parts_are_told_after_what_comes_before_them_is_made() {
    let mut observed = source(Profile::Safe, json!({}));
    observed.secret_keys = None;
    let acts = plan(&observed, NOW.parse().expect("an instant"));
    let told = told(&acts);
    assert_eq!(told.last().map(String::as_str), Some("fail"));
    assert!(told.contains(&"create PersistentVolumeClaim/volsync-app-src".to_owned()), "{told:?}");
    assert!(told.contains(&"Synchronizing Error: Secret \"repo\" not found".to_owned()), "{told:?}");
    assert!(!told.iter().any(|line| line.contains("Job")), "{told:?}");
}

#[test]
fn a_backup_counts_only_with_an_outcome() {
    let mut observed = source(Profile::Safe, json!({}));
    with_job(&mut observed, complete(), Some(pod("Succeeded", 0, BACKED_UP)));
    check(&observed, &["Synchronizing CleanupInProgress: Cleanup in-progress", "again"]);
    // The defect that was measured: a mover told to stop ends with 0 and says nothing.
    observed.pods = vec![of(pod("Succeeded", 0, ""))];
    check(
        &observed,
        &[
            "delete Job/volsync-src-app",
            "Synchronizing Error: the mover Job completed, but does not say what it did: its pod left no outcome in the termination message",
            "fail",
        ],
    );
    let mut original = source(Profile::Original, json!({}));
    with_job(&mut original, complete(), Some(pod("Succeeded", 0, "")));
    check(&original, &["Synchronizing CleanupInProgress: Cleanup in-progress", "again"]);
}

#[test]
fn the_end_of_a_sync_remembers_repository_and_snapshot() {
    let mut observed = source(Profile::Safe, json!({}));
    with_job(&mut observed, complete(), Some(pod("Succeeded", 0, BACKED_UP)));
    let acts = plan(&observed, NOW.parse().expect("an instant"));
    let status = acts.iter().find_map(|act| match act {
        Act::Status(status) => match &**status {
            Status::Source(status) => Some(status.clone()),
            _ => None,
        },
        _ => None,
    });
    let status = status.expect("a status is written");
    let kopia = status.kopia.expect("set");
    assert_eq!(kopia.latest_snapshot_id.as_deref(), Some("s1"));
    assert_eq!(
        (kopia.repository_id.as_deref(), kopia.repository_secret.as_deref()),
        (Some("aa"), Some("repo"))
    );
    assert_eq!(status.sync.last_sync_duration.as_deref(), Some("10s"));
    assert_eq!(
        status.sync.next_sync_time.map(|time| time.0.to_string()).as_deref(),
        Some("2026-03-01T10:30:00Z")
    );
    assert_eq!(status.sync.latest_mover_status.and_then(|last| last.logs).as_deref(), Some("the log"));
    // The next mover is told which repository it must find.
    let next = source(
        Profile::Safe,
        json!({"status": {"kopia": {"repositoryID": "aa", "repositorySecret": "repo"}}}),
    );
    assert_eq!(variable(&next, "KOPIA_EXPECTED_UNIQUE_ID").as_deref(), Some("aa"));
    let moved = source(
        Profile::Safe,
        json!({"status": {"kopia": {"repositoryID": "aa", "repositorySecret": "other"}}}),
    );
    assert_eq!(variable(&moved, "KOPIA_EXPECTED_UNIQUE_ID"), None);
    let forgotten = source(
        Profile::Safe,
        json!({
            "metadata": {"annotations": {keys::FORGET_REPOSITORY: "aa"}},
            "status": {"kopia": {"repositoryID": "aa", "repositorySecret": "repo"}},
        }),
    );
    assert_eq!(variable(&forgotten, "KOPIA_EXPECTED_UNIQUE_ID"), None);
}

/// Reads a variable of the Job that is planned.
fn variable(observed: &Observed, name: &str) -> Option<String> {
    whole_variable(observed, name)?.value
}

fn whole_variable(observed: &Observed, name: &str) -> Option<EnvVar> {
    let acts = plan(observed, NOW.parse().expect("an instant"));
    let job = acts.iter().find_map(|act| match act {
        Act::Create(object) => match &**object {
            controller::act::Object::Job(job) => Some(job.clone()),
            _ => None,
        },
        _ => None,
    })?;
    let pod = job.spec?.template.spec?;
    pod.containers[0].env.clone()?.into_iter().find(|variable| variable.name == name)
}

#[test]
fn how_long_a_store_is_asked_again_is_a_key_of_the_repository_secret() {
    let mut observed = source(Profile::Safe, json!({}));
    assert_eq!(whole_variable(&observed, "S3_RETRY_SECONDS"), None);
    observed.secret_keys.as_mut().expect("set").insert("S3_RETRY_SECONDS".to_owned());
    let from = whole_variable(&observed, "S3_RETRY_SECONDS").and_then(|variable| variable.value_from);
    let key = from.and_then(|from| from.secret_key_ref).expect("the variable comes from a Secret");
    assert_eq!((key.name.as_str(), key.key.as_str()), ("repo", "S3_RETRY_SECONDS"));
    observed.setting.profile = Profile::Original;
    assert_eq!(whole_variable(&observed, "S3_RETRY_SECONDS"), None, "the original has no such key");
}

#[test]
fn a_mover_is_told_which_sync_it_works_for() {
    let safe = source(Profile::Safe, json!({}));
    assert_eq!(variable(&safe, "KOPIA_SYNC").as_deref(), Some("u1/2026-03-01T09:59:50Z"));
    assert_eq!(variable(&source(Profile::Original, json!({})), "KOPIA_SYNC"), None);
    assert_eq!(variable(&destination(Profile::Safe, json!({})), "KOPIA_SYNC"), None);
}

#[test]
fn failing_attempts_are_in_sight_at_once() {
    let failure = r#"{"exitCode":13,"ending":{"result":"failed","code":"wrong-password","message":"the password is wrong"}}"#;
    let mut observed = source(Profile::Safe, json!({}));
    with_job(&mut observed, json!({"active": 1, "failed": 2}), Some(pod("Failed", 13, failure)));
    check(
        &observed,
        &[
            "Synchronizing SyncInProgress: Synchronization in-progress: 2 of 9 attempts of the mover failed, the last with exit code 13: the password is wrong",
            "again in 60s",
        ],
    );
    let mut original = source(Profile::Original, json!({}));
    with_job(&mut original, json!({"active": 1, "failed": 2}), Some(pod("Failed", 13, failure)));
    check(&original, &[RUNNING, "again in 60s"]);
    // A Job that failed for good is recorded, deleted and made anew.
    observed.job.as_mut().expect("set").status = Some(of(json!({
        "failed": 9, "conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}],
    })));
    check(
        &observed,
        &[
            "delete Job/volsync-src-app",
            "Synchronizing SyncInProgress: Synchronization in-progress: the mover Job failed, the last attempt with exit code 13: the password is wrong",
            "again in 5s",
        ],
    );
}

#[test]
fn a_new_mover_waits_for_the_old_one_to_end() {
    let mut observed = source(Profile::Safe, json!({}));
    observed.pods = vec![of(json!({"metadata": {"name": "old"}, "status": {"phase": "Running"}}))];
    let told_safe = told(&plan(&observed, NOW.parse().expect("an instant")));
    assert!(!told_safe.iter().any(|line| line.contains("Job/")), "{told_safe:?}");
    assert!(told_safe.iter().any(|line| line.contains("waiting for Pod/old of an earlier mover Job to end")));
    observed.setting.profile = Profile::Original;
    let told_original = told(&plan(&observed, NOW.parse().expect("an instant")));
    assert!(told_original.contains(&"create Job/volsync-src-app".to_owned()), "{told_original:?}");
}

#[test]
fn a_changed_specification_replaces_the_job() {
    let check_with = |profile: Profile, expected: &[&str]| {
        let mut observed = source(profile, json!({}));
        with_job(&mut observed, json!({"active": 1}), None);
        let Subject::Source(source) = &mut observed.subject else { unreachable!("a source was built") };
        source.spec.kopia.as_mut().expect("set").parallelism = Some(4);
        check(&observed, expected);
    };
    check_with(
        Profile::Original,
        &[
            "delete Job/volsync-src-app",
            "Synchronizing Error: unable to update object. Deleting object so it can be recreated",
            "fail",
        ],
    );
    check_with(
        Profile::Safe,
        &[
            "delete Job/volsync-src-app",
            "Synchronizing SyncInProgress: Synchronization in-progress: the mover Job is made anew because the specification changed",
            "again in 5s",
        ],
    );
}

#[test]
fn a_late_sync_says_so() {
    let late = json!({"status": {"lastSyncTime": "2026-03-01T07:00:10Z", "lastSyncStartTime": "2026-03-01T08:00:00Z"}});
    let mut observed = source(Profile::Safe, late);
    with_job(&mut observed, json!({"active": 1}), None);
    let said = told(&plan(&observed, NOW.parse().expect("an instant")));
    assert_eq!(said[0], "event SyncOverdue");
    assert!(said[1].contains("Overdue DeadlineMissed"), "{said:?}");
    observed.setting.profile = Profile::Original;
    let said = told(&plan(&observed, NOW.parse().expect("an instant")));
    assert!(!said.iter().any(|line| line.contains("verdue")), "{said:?}");
}

#[test]
fn an_image_is_offered_when_it_can_be_used() {
    let image = |ready: Option<bool>| {
        Some(of(json!({
            "metadata": {"name": "volsync-dst-dest-20260301100000"},
            "spec": {"source": {}},
            "status": {"boundVolumeSnapshotContentName": "c", "readyToUse": ready},
        })))
    };
    let observed = |profile: Profile| {
        let mut observed = destination(profile, json!({}));
        with_job(&mut observed, complete(), Some(pod("Succeeded", 0, RESTORED)));
        observed
    };
    let mut safe = observed(Profile::Safe);
    let acts = plan(&safe, NOW.parse().expect("an instant"));
    let said = told(&acts);
    assert_eq!(
        said[..3],
        [
            "patch Claim/volsync-dst-dest {\"metadata\":{\"annotations\":{\"volsync.backube/snapname\":\"volsync-dst-dest-20260301100000\"}}}",
            "create VolumeSnapshot/volsync-dst-dest-20260301100000",
            "event VolumeSnapshotCreated",
        ]
    );
    let annotate = |observed: &mut Observed| {
        observed.claim.as_mut().expect("made").metadata.annotations =
            Some([(keys::SNAPNAME.to_owned(), "volsync-dst-dest-20260301100000".to_owned())].into());
    };
    annotate(&mut safe);
    safe.image = image(Some(false));
    let said = told(&plan(&safe, NOW.parse().expect("an instant")));
    assert!(said[0].contains("to become ready to use"), "{said:?}");
    safe.image = image(Some(true));
    let said = told(&plan(&safe, NOW.parse().expect("an instant")));
    assert!(said[0].contains("Restored SnapshotRestored: snapshot s1 of app@t1 was restored"), "{said:?}");
    // The original takes it as soon as it is bound.
    let mut original = observed(Profile::Original);
    annotate(&mut original);
    original.image = image(Some(false));
    check(&original, &["Synchronizing CleanupInProgress: Cleanup in-progress", "again"]);
}

#[test]
fn a_restore_that_brought_nothing_says_so() {
    let mut observed = destination(Profile::Safe, json!({"spec": {"kopia": {"copyMethod": "Direct"}}}));
    with_job(&mut observed, complete(), Some(pod("Succeeded", 0, NOTHING)));
    let said = told(&plan(&observed, NOW.parse().expect("an instant")));
    assert_eq!(said[0], "event NothingRestored");
    assert!(said[1].contains("Restored NothingRestored: nothing restored for app@t1"), "{said:?}");
    // Once a backup of the identity is known, the mover is told, so that nothing passes silently.
    let mut later = destination(Profile::Safe, json!({}));
    assert_eq!(variable(&later, "KOPIA_BACKUP_KNOWN"), None);
    later.siblings = vec![of(json!({
        "metadata": {"name": "app", "namespace": "t1"},
        "spec": {"kopia": {"repository": "repo"}},
        "status": {"kopia": {"latestSnapshotID": "s1", "repositoryID": "aa", "repositorySecret": "repo"}},
    }))];
    assert_eq!(variable(&later, "KOPIA_BACKUP_KNOWN").as_deref(), Some("true"));
    assert_eq!(variable(&later, "KOPIA_EXPECTED_UNIQUE_ID").as_deref(), Some("aa"));
}

#[test]
fn a_declared_first_deployment_is_handed_on_and_offered_as_the_cure() {
    let plain = destination(Profile::Safe, json!({}));
    assert_eq!(variable(&plain, "KOPIA_FIRST_DEPLOYMENT"), None);
    let said = json!({"metadata": {"annotations": {keys::FIRST_DEPLOYMENT: "app@t1"}}});
    let declared = destination(Profile::Safe, said.clone());
    assert_eq!(variable(&declared, "KOPIA_FIRST_DEPLOYMENT").as_deref(), Some("app@t1"));
    assert_eq!(variable(&destination(Profile::Original, said), "KOPIA_FIRST_DEPLOYMENT"), None);
}

#[test]
fn an_unusable_copy_method_is_told_before_the_restore_runs() {
    let clone = json!({"spec": {"kopia": {"copyMethod": "Clone"}}});
    check(
        &destination(Profile::Safe, clone.clone()),
        &["Synchronizing Error: unsupported copyMethod: Clone -- must be Direct, None, or Snapshot", "fail"],
    );
    let said = told(&plan(&destination(Profile::Original, clone), NOW.parse().expect("an instant")));
    assert!(said.contains(&"create Job/volsync-dst-dst".to_owned()), "{said:?}");
}

#[test]
fn an_idle_object_clears_up_and_waits() {
    let idle = json!({"status": {
        "lastSyncStartTime": null, "lastSyncTime": "2026-03-01T09:29:00Z",
        "conditions": [{"type": "Synchronizing", "status": "False", "reason": "CleanupInProgress", "message": "",
                        "lastTransitionTime": "2026-03-01T09:30:00Z"}],
    }});
    let mut observed = source(Profile::Safe, idle);
    observed.temporaries.claims = vec![of(json!({"metadata": {"name": "volsync-app-src"}}))];
    let snapshot = |name: &str, extra: Value| {
        let mut snapshot = json!({
            "metadata": {"name": name, "ownerReferences": [
                {"apiVersion": "v1", "kind": "ReplicationSource", "name": "app", "uid": "u1"}]},
            "spec": {"source": {}},
        });
        merge(&mut snapshot, extra);
        of(snapshot)
    };
    observed.temporaries.snapshots = vec![
        snapshot("kept", json!({"metadata": {"labels": {keys::DO_NOT_DELETE: ""}}})),
        snapshot("plain", json!({})),
        snapshot(
            "used",
            json!({"metadata": {"ownerReferences": [
            {"apiVersion": "v1", "kind": "ReplicationSource", "name": "app", "uid": "u1"},
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": "vs-prime-x", "uid": "x"}]}}),
        ),
    ];
    observed.temporaries.jobs = vec![of(json!({"metadata": {"name": "volsync-src-app"}}))];
    check(
        &observed,
        &[
            "delete Claim/volsync-app-src",
            "patch Snapshot/kept {\"metadata\":{\"labels\":{\"app.kubernetes.io/created-by\":null,\"volsync.backube/cleanup\":null},\"ownerReferences\":[]}}",
            "delete Snapshot/plain",
            "patch Snapshot/used {\"metadata\":{\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolumeClaim\",\"name\":\"vs-prime-x\",\"uid\":\"x\"}]}}",
            "delete Job/volsync-src-app",
            // The next scheduled time is past: what is due starts at once.
            RUNNING,
            "again",
        ],
    );
    let later = json!({"status": {"lastSyncStartTime": null, "lastSyncTime": "2026-03-01T10:00:00Z"}});
    check(
        &source(Profile::Safe, later),
        &["Synchronizing WaitingForSchedule: Waiting for next scheduled synchronization", "again in 1800s"],
    );
}

#[test]
fn a_schedule_that_only_the_definition_likes_is_told_after_the_first_sync() {
    let odd = |status: Value| json!({"spec": {"trigger": {"schedule": "12345"}}, "status": status});
    let mut first = source(Profile::Safe, odd(json!({})));
    with_job(&mut first, complete(), Some(pod("Succeeded", 0, BACKED_UP)));
    check(&first, &["Synchronizing Error: expected exactly 5 fields, found 1: [12345]", "fail"]);
    check(
        &source(Profile::Safe, odd(json!({"lastSyncTime": "2026-03-01T09:00:00Z"}))),
        &["Synchronizing Error: expected exactly 5 fields, found 1: [12345]", "fail"],
    );
}
