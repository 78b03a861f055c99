//! The objects that the controller makes are those that the real operator made, in eleven recorded runs.
//!
//! For each recorded Job, claim, VolumeSnapshot, account, role and CronJob of the operator, the state of the
//! cluster at that moment is rebuilt from the recording, planned with the original's profile, and compared:
//! labels, owner, specification. What an API server fills in is taken off the recorded side. The folder is
//! named by `FIREDRILL_GOLDEN_VOLSYNC`, by default `../shared/golden-volsync` beside the workspace; without
//! it the test says so and passes.
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use api::crd::CopyMethod;
use api::{KopiaMaintenance, ReplicationDestination, ReplicationSource, names as keys};
use controller::Profile;
use controller::act::{Act, Object};
use controller::observed::{Observed, Setting};
use controller::subject::Subject;
use controller::{identity, maintain, names};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

fn folder() -> Option<PathBuf> {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden-volsync");
    let folder = std::env::var_os("FIREDRILL_GOLDEN_VOLSYNC").map_or_else(default, PathBuf::from);
    folder.is_dir().then_some(folder)
}

/// One line of a recording.
struct Notice {
    type_: String,
    kind: String,
    name: String,
    object: Value,
}

fn trace(case: &Path) -> Vec<Notice> {
    let file = std::fs::File::open(case.join("trace.jsonl.gz")).expect("a recording");
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("a gzip of lines");
    text.lines()
        .map(|line| {
            let mut line: Value = serde_json::from_str(line).expect("a line of JSON");
            let word = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
            let (type_, kind, name) = (word("type"), word("kind"), word("name"));
            Notice { type_, kind, name, object: line["object"].take() }
        })
        .collect()
}

/// The cluster as the recording has shown it so far.
#[derive(Default)]
struct Cluster(BTreeMap<(String, String), Value>);

impl Cluster {
    fn see(&mut self, notice: &Notice) {
        let key = (notice.kind.clone(), notice.name.clone());
        if notice.type_ == "DELETED" {
            self.0.remove(&key);
        } else {
            self.0.insert(key, notice.object.clone());
        }
    }
    fn get<T: serde::de::DeserializeOwned>(&self, kind: &str, name: &str) -> Option<T> {
        let object = self.0.get(&(kind.to_owned(), name.to_owned()))?;
        Some(serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{kind}/{name}: {error}")))
    }
    /// A running pod of somebody else that uses a claim, and the labels of its node.
    fn consumer(&self, claim: &str) -> Option<(Pod, Option<BTreeMap<String, String>>)> {
        let pod = self.0.iter().find_map(|((kind, _), pod)| {
            let volumes = pod["spec"]["volumes"].as_array()?;
            let uses = volumes.iter().any(|volume| volume["persistentVolumeClaim"]["claimName"] == claim);
            let is_ours = pod["metadata"]["labels"][keys::CREATED_BY] == keys::CREATED_BY_VOLSYNC;
            (kind == "Pod" && uses && !is_ours && pod["status"]["phase"] == "Running").then_some(pod)
        })?;
        let pod: Pod = serde_json::from_value(pod.clone()).expect("a pod");
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
        Some((pod, Some(BTreeMap::from([("kubernetes.io/hostname".to_owned(), node)]))))
    }
    fn keys_of_secret(&self, name: &str) -> Option<BTreeSet<String>> {
        // The recording keeps no data of Secrets; the operator made Jobs only where these keys were there.
        self.0.get(&("Secret".to_owned(), name.to_owned()))?;
        Some(["KOPIA_REPOSITORY", "KOPIA_PASSWORD"].map(str::to_owned).into())
    }
    fn owner(&self, object: &Value) -> Option<Subject> {
        let owner = &object["metadata"]["ownerReferences"][0];
        let name = owner["name"].as_str()?;
        let mut subject = match owner["kind"].as_str()? {
            "ReplicationSource" => Subject::Source(self.get("ReplicationSource", name)?),
            "ReplicationDestination" => Subject::Destination(self.get("ReplicationDestination", name)?),
            _ => return None,
        };
        // Notifications of different kinds are not in order: the sync has begun.
        let begun = Some(Time(Timestamp::UNIX_EPOCH));
        match &mut subject {
            Subject::Source(ReplicationSource { status, .. }) => {
                status.get_or_insert_default().sync.last_sync_start_time = begun;
            }
            Subject::Destination(ReplicationDestination { status, .. }) => {
                status.get_or_insert_default().sync.last_sync_start_time = begun;
            }
        }
        Some(subject)
    }
}

const IMAGE: &str = "kind.local/volsync:1";

fn setting() -> Setting {
    Setting {
        profile: Profile::Original,
        image: IMAGE.into(),
        proxies: BTreeMap::new(),
        log_bytes_max: 1024,
        job_backoff_limit: None,
    }
}

/// What the operator saw when it made an object.
fn observed(cluster: &Cluster, subject: Subject, with_snapshot: bool) -> Observed {
    let mut observed = Observed::bare(subject, setting());
    observed.is_prepared = true;
    let namespace: Value = cluster.get("Namespace", observed.subject.namespace()).unwrap_or_default();
    observed.is_privileged = namespace["metadata"]["annotations"][keys::PRIVILEGED_MOVERS] == "true";
    observed.claim = cluster.get("PersistentVolumeClaim", &observed.subject_claim());
    if with_snapshot {
        let name = names::copy(observed.subject.name());
        observed.copy_snapshot = cluster.get("VolumeSnapshot", &name);
        if let Some(snapshot) = &mut observed.copy_snapshot {
            snapshot.metadata.deletion_timestamp = None;
            let status = snapshot.status.get_or_insert_default();
            status.bound_volume_snapshot_content_name = Some("content".into());
            status.ready_to_use = Some(true);
        }
    }
    if let Subject::Destination(destination) = &observed.subject {
        let kopia = destination.spec.kopia.clone().unwrap_or_default();
        observed.found = identity::wants_look_up(observed.subject.namespace(), &kopia)
            .and_then(|(_, name)| cluster.get("ReplicationSource", &name));
    }
    observed.secret_keys = cluster.keys_of_secret(&controller::plan::known::secret_name(&observed));
    for extra in observed.subject.mover().mover_volumes.unwrap_or_default() {
        if let Some(needed) = controller::plan::prerequisite::needed(&extra) {
            observed.mover_volumes.insert(needed, true);
        }
    }
    if matches!(observed.subject.volume().copy_method, Some(CopyMethod::Direct | CopyMethod::None)) {
        observed.consumer = cluster.consumer(&observed.subject_claim());
    }
    if observed.subject.mover().mover_service_account.is_some() {
        observed.account = Some(k8s_openapi::api::core::v1::ServiceAccount::default());
    }
    observed
}

/// Fields that an API server or another controller fills in.
const FILLED_IN: [&str; 22] = [
    "terminationMessagePath",
    "terminationMessagePolicy",
    "terminationGracePeriodSeconds",
    "dnsPolicy",
    "schedulerName",
    "serviceAccount",
    "selector",
    "manualSelector",
    "completionMode",
    "suspend",
    "podReplacementPolicy",
    "completions",
    "defaultMode",
    "imagePullPolicy",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
    "controller-uid",
    "job-name",
    "volumeName",
    "status",
    "nodeName",
    "uid",
];

/// Takes off what is filled in, what is empty, and the variable that tells our mover its profile.
fn bare(value: &Value) -> Value {
    match value {
        Value::Object(object) => Value::Object(
            object
                .iter()
                .filter(|(key, _)| !FILLED_IN.contains(&key.as_str()))
                .map(|(key, value)| (key.clone(), bare(value)))
                .filter(|(_, value)| !is_empty(value))
                .collect(),
        ),
        Value::Array(array) => {
            Value::Array(array.iter().filter(|one| one["name"] != "MOVER_PROFILE").map(bare).collect())
        }
        other => other.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty) || value == &json!([])
}

fn essence(object: &Value) -> Value {
    bare(&json!({
        "labels": object["metadata"]["labels"],
        "ownerReferences": object["metadata"]["ownerReferences"],
        "spec": object["spec"],
        "rules": object["rules"],
        "roleRef": object["roleRef"],
        "subjects": object["subjects"],
    }))
}

fn created(acts: &[Act], kind: &str, name: &str) -> Option<Value> {
    acts.iter().find_map(|act| {
        let Act::Create(object) = act else { return None };
        if object.describe() != format!("{kind}/{name}") {
            return None;
        }
        let value = match &**object {
            Object::Claim(object) => serde_json::to_value(object),
            Object::Snapshot(object) => serde_json::to_value(object),
            Object::Account(object) => serde_json::to_value(object),
            Object::Role(object) => serde_json::to_value(object),
            Object::Binding(object) => serde_json::to_value(object),
            Object::Job(object) => serde_json::to_value(object),
            Object::CronJob(object) => serde_json::to_value(object),
        };
        Some(value.expect("plain data"))
    })
}

fn maintenance_acts(cluster: &Cluster, object: &Value) -> Option<Vec<Act>> {
    let name = object["metadata"]["ownerReferences"][0]["name"].as_str()?;
    let mut maintenance: KopiaMaintenance = cluster.get("KopiaMaintenance", name)?;
    maintenance.metadata.finalizers = Some(vec![keys::KOPIA_MAINTENANCE_FINALIZER.into()]);
    let observed = maintain::Observed {
        maintenance,
        is_original: true,
        image: IMAGE.into(),
        job_backoff_limit: None,
        cron_job: None,
        jobs: Vec::new(),
        pods: Vec::new(),
        has_secret: true,
        has_cache_claim: true,
        missing: BTreeSet::new(),
        rival: None,
        known_repository: None,
    };
    Some(maintain::plan::plan(&observed, Timestamp::UNIX_EPOCH))
}

/// Compares one recorded object; none if it is not the operator's.
fn compare(cluster: &Cluster, notice: &Notice) -> Option<Result<(), String>> {
    let acts = match notice.object["metadata"]["ownerReferences"][0]["kind"].as_str()? {
        "KopiaMaintenance" => maintenance_acts(cluster, &notice.object)?,
        "ReplicationSource" | "ReplicationDestination" => {
            let subject = cluster.owner(&notice.object)?;
            let is_copy = notice.kind == "VolumeSnapshot";
            let observed = observed(cluster, subject, !is_copy);
            controller::plan::plan(&observed, Timestamp::UNIX_EPOCH)
        }
        _ => return None,
    };
    let Some(planned) = created(&acts, &notice.kind, &notice.name) else {
        let told =
            acts.iter().filter(|act| matches!(act, Act::Fail(_) | Act::Requeue(_))).collect::<Vec<_>>();
        return Some(Err(format!("{}/{} is not planned: {told:?}", notice.kind, notice.name)));
    };
    let (recorded, planned) = (essence(&notice.object), essence(&planned));
    Some(if recorded == planned {
        Ok(())
    } else {
        let mut lines = Vec::new();
        differences(&recorded, &planned, "", &mut lines);
        Err(format!("{}/{}\n  {}", notice.kind, notice.name, lines.join("\n  ")))
    })
}

/// Tells where two values differ.
fn differences(recorded: &Value, planned: &Value, path: &str, lines: &mut Vec<String>) {
    match (recorded, planned) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for key in keys {
                differences(&recorded[key], &planned[key], &format!("{path}.{key}"), lines);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (at, (a, b)) in a.iter().zip(b).enumerate() {
                differences(a, b, &format!("{path}[{at}]"), lines);
            }
        }
        (a, b) if a != b => lines.push(format!("{path}: recorded {a}, planned {b}")),
        _ => {}
    }
}

#[test]
fn recorded_objects_are_planned_alike() {
    let Some(folder) = folder() else {
        println!("skipped: no recordings of the real operator (FIREDRILL_GOLDEN_VOLSYNC)");
        return;
    };
    let mut cases: Vec<_> = std::fs::read_dir(&folder)
        .expect("readable")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.join("trace.jsonl.gz").is_file())
        .collect();
    cases.sort();
    let (mut alike, mut different) = (0, Vec::new());
    for case in &cases {
        let mut cluster = Cluster::default();
        let mut seen = BTreeSet::new();
        for notice in trace(case) {
            cluster.see(&notice);
            let is_new = notice.type_ == "ADDED"
                && seen.insert((notice.kind.clone(), notice.object["metadata"]["uid"].to_string()));
            // Images bear the second of their making; the plan tables cover them.
            let is_image = notice.kind == "VolumeSnapshot"
                && notice.object["metadata"]["ownerReferences"][0]["kind"] == "ReplicationDestination";
            if !is_new || is_image {
                continue;
            }
            // The operator saw the cluster without what it was about to make.
            let key = (notice.kind.clone(), notice.name.clone());
            let itself = cluster.0.remove(&key);
            let compared = compare(&cluster, &notice);
            cluster.0.extend(itself.map(|object| (key, object)));
            match compared {
                None => {}
                Some(Ok(())) => alike += 1,
                Some(Err(text)) => {
                    different
                        .push(format!("{}: {text}", case.file_name().unwrap_or_default().to_string_lossy()));
                }
            }
        }
    }
    println!(
        "{alike} recorded objects of {} cases are planned alike, {} are not",
        cases.len(),
        different.len()
    );
    assert!(different.is_empty(), "{}", different.join("\n\n"));
    assert!(alike > 200, "only {alike} objects were compared");
}
