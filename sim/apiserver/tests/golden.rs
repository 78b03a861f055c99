//! Defaulting and other filling-in, judged by objects of a real 1.34 server.
//!
//! Takes the objects of recorded runs (folder `FIREDRILL_GOLDEN_VOLSYNC`, or the one that lies beside a
//! checkout), strips them of what a server adds, creates them here and compares. Skips with a reason when
//! there is no recording.
//!
//! Does not check: managed fields (not recorded), generated parts of names, what other actors wrote later
//! (only first sights of an object are taken).

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use apiserver::{ApiServer, Direct, Options};
use json::{Value, json};

fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("FIREDRILL_GOLDEN_VOLSYNC").map(PathBuf::from);
    let beside = [4, 3].iter().filter_map(|up| {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(*up)?;
        Some(root.join("shared/golden-volsync"))
    });
    named.into_iter().chain(beside).find(|folder| folder.is_dir())
}

fn server() -> ApiServer {
    let now: jiff::Timestamp = "2026-11-21T11:36:00Z".parse().expect("a time");
    ApiServer::new(Options::new(Arc::new(move || now), 1))
}

/// First sights of objects, by kind.
fn recorded(folder: &std::path::Path) -> Vec<Value> {
    let mut objects = Vec::new();
    let mut cases: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder")
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .collect();
    cases.sort();
    for case in cases {
        let Ok(file) = std::fs::File::open(case.join("trace.jsonl.gz")) else { continue };
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).expect("a gzip file");
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).expect("a JSON line");
            if line["type"] == "ADDED" {
                objects.push(line["object"].clone());
            }
        }
    }
    objects
}

const SERVER_METADATA: &[&str] = &["uid", "resourceVersion", "creationTimestamp", "generation"];

fn drop_at(value: &mut Value, path: &str) {
    let (parent, last) = path.rsplit_once('/').expect("a pointer");
    if let Some(Value::Object(map)) = value.pointer_mut(parent) {
        map.remove(&last.replace("~1", "/"));
    }
}

/// Takes away what the server adds, so that creating it again must add it again.
fn strip(object: &Value) -> Value {
    let mut bare = object.clone();
    for key in SERVER_METADATA {
        drop_at(&mut bare, &format!("/metadata/{key}"));
    }
    drop_at(&mut bare, "/status");
    let strip_pod = |bare: &mut Value, at: &str| {
        for field in [
            "restartPolicy",
            "dnsPolicy",
            "schedulerName",
            "terminationGracePeriodSeconds",
            "securityContext",
            "serviceAccount",
            "enableServiceLinks",
            "tolerations",
            "priority",
            "preemptionPolicy",
        ] {
            // Only what equals the default can be left out.
            let value = bare.pointer(&format!("{at}/{field}")).cloned();
            let is_default = match (field, value) {
                ("restartPolicy", Some(value)) => value == "Always",
                ("terminationGracePeriodSeconds", Some(value)) => value == 30,
                ("securityContext", Some(value)) => value == json!({}),
                ("tolerations", Some(Value::Array(all))) => all.len() == 2 && at != "/spec/template/spec",
                (_, value) => value.is_some(),
            };
            if is_default {
                drop_at(bare, &format!("{at}/{field}"));
            }
        }
        for field in ["containers", "initContainers"] {
            let count =
                bare.pointer(&format!("{at}/{field}")).and_then(Value::as_array).map_or(0, |list| list.len());
            for index in 0..count {
                for name in
                    ["resources", "terminationMessagePath", "terminationMessagePolicy", "imagePullPolicy"]
                {
                    let path = format!("{at}/{field}/{index}/{name}");
                    if name != "resources" || bare.pointer(&path) == Some(&json!({})) {
                        drop_at(bare, &path);
                    }
                }
                if let Some(Value::Array(mounts)) =
                    bare.pointer_mut(&format!("{at}/{field}/{index}/volumeMounts"))
                {
                    mounts.retain(|mount| {
                        !mount["name"].as_str().is_some_and(|name| name.starts_with("kube-api-access-"))
                    });
                    if mounts.is_empty() {
                        drop_at(bare, &format!("{at}/{field}/{index}/volumeMounts"));
                    }
                }
            }
        }
        if let Some(Value::Array(volumes)) = bare.pointer_mut(&format!("{at}/volumes")) {
            volumes.retain(|volume| {
                !volume["name"].as_str().is_some_and(|name| name.starts_with("kube-api-access-"))
            });
            for volume in volumes.iter_mut() {
                drop_at(volume, "/secret/defaultMode");
                drop_at(volume, "/configMap/defaultMode");
            }
            if volumes.is_empty() {
                drop_at(bare, &format!("{at}/volumes"));
            }
        }
    };
    let strip_job = |bare: &mut Value, at: &str| {
        for label in [
            "batch.kubernetes.io~1controller-uid",
            "batch.kubernetes.io~1job-name",
            "controller-uid",
            "job-name",
        ] {
            drop_at(bare, &format!("{at}/template/metadata/labels/{label}"));
        }
        for field in ["selector", "manualSelector", "completionMode", "suspend", "podReplacementPolicy"] {
            drop_at(bare, &format!("{at}/{field}"));
        }
    };
    match object["kind"].as_str().unwrap_or_default() {
        "Pod" => strip_pod(&mut bare, "/spec"),
        "Job" => {
            // Labels that were taken over from the template come back the same way.
            if bare["metadata"]["labels"].get("controller-uid").is_some() {
                drop_at(&mut bare, "/metadata/labels");
            }
            strip_job(&mut bare, "/spec");
            strip_pod(&mut bare, "/spec/template/spec");
        }
        "CronJob" => {
            strip_pod(&mut bare, "/spec/jobTemplate/spec/template/spec");
            drop_at(&mut bare, "/spec/suspend");
        }
        "PersistentVolumeClaim" => {
            drop_at(&mut bare, "/spec/volumeMode");
            drop_at(&mut bare, "/metadata/finalizers");
            if bare["spec"].get("dataSourceRef").is_some() {
                drop_at(&mut bare, "/spec/dataSource");
            }
        }
        "PersistentVolume" => {
            drop_at(&mut bare, "/spec/volumeMode");
            if let Some(Value::Array(finalizers)) = bare.pointer_mut("/metadata/finalizers") {
                finalizers.retain(|finalizer| finalizer != "kubernetes.io/pv-protection");
            }
        }
        "Namespace" => {
            drop_at(&mut bare, "/spec/finalizers");
            drop_at(&mut bare, "/metadata/labels/kubernetes.io~1metadata.name");
        }
        _ => {}
    }
    bare
}

/// Makes generated values equal.
fn mask(object: &Value) -> Value {
    let mut text = object.clone();
    for key in ["uid", "resourceVersion", "creationTimestamp"] {
        drop_at(&mut text, &format!("/metadata/{key}"));
    }
    drop_at(&mut text, "/metadata/managedFields");
    if text["kind"] == "PersistentVolume" {
        drop_at(&mut text, "/status/lastPhaseTransitionTime");
        if let Some(Value::Array(all)) = text.pointer_mut("/metadata/finalizers") {
            all.sort_by_key(ToString::to_string);
        }
    }
    let uid = object["metadata"]["uid"].as_str().unwrap_or("none").to_owned();
    let masked = text.to_string().replace(&uid, "<uid>");
    let pattern = regex::Regex::new("kube-api-access-[a-z0-9]{5}").expect("a pattern");
    serde_json::from_str(&pattern.replace_all(&masked, "kube-api-access-x")).expect("JSON")
}

fn differences(expected: &Value, found: &Value, path: &str, all: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for key in keys {
                differences(
                    a.get(key).unwrap_or(&Value::Null),
                    b.get(key).unwrap_or(&Value::Null),
                    &format!("{path}.{key}"),
                    all,
                );
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differences(a, b, &format!("{path}[{index}]"), all);
            }
        }
        (a, b) if a == b => {}
        (a, b) => all.push(format!("{path}: real {a}, here {b}")),
    }
}

/// Makes what an object needs before it can be created.
fn prepare(user: &Direct, object: &Value) {
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    if !namespace.is_empty() {
        // Both may be there already.
        let _ =
            user.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}));
        let account = object.pointer("/spec/serviceAccountName").and_then(Value::as_str).unwrap_or("default");
        let _ = user.create(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": namespace}}));
    }
}

#[test]
fn golden_objects_are_filled_in_as_the_real_server_fills_them_in() {
    let Some(folder) = folder() else {
        println!("skipped: no recorded runs (set FIREDRILL_GOLDEN_VOLSYNC)");
        return;
    };
    let kinds = ["Namespace", "Pod", "Job", "CronJob", "PersistentVolumeClaim", "PersistentVolume"];
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong: BTreeMap<String, usize> = BTreeMap::new();
    for object in recorded(&folder) {
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        if !kinds.contains(&kind.as_str()) || object["metadata"].get("deletionTimestamp").is_some() {
            continue;
        }
        let server = server();
        let user = server.direct("user");
        let mut bare = strip(&object);
        if kind == "Pod" {
            // Pods of a recorded node: everything below is written by others after creation.
            if object["spec"].get("nodeName").is_some() {
                continue;
            }
        }
        prepare(&user, &object);
        // References to owners that are not there would be collected.
        let owners = bare["metadata"].as_object_mut().and_then(|metadata| metadata.remove("ownerReferences"));
        let created = user.create(bare).unwrap_or_else(|failure| panic!("{kind}: {failure}\n{object}"));
        let mut expected = mask(&object);
        if owners.is_some() {
            drop_at(&mut expected, "/metadata/ownerReferences");
        }
        let mut found = Vec::new();
        differences(&expected, &mask(&created), &kind, &mut found);
        *counts.entry(kind.clone()).or_default() += 1;
        for difference in found {
            *wrong.entry(difference).or_default() += 1;
        }
    }
    println!("compared {counts:?}");
    assert!(
        kinds.iter().all(|kind| counts.contains_key(*kind)),
        "the recording holds every kind: {counts:?}"
    );
    let shown: Vec<String> =
        wrong.iter().map(|(difference, count)| format!("{count} x {difference}")).collect();
    assert!(shown.is_empty(), "{} kinds of difference:\n{}", shown.len(), shown.join("\n"));
}

#[test]
fn the_comparison_can_fail() {
    let mut all = Vec::new();
    differences(&json!({"a": [{"b": 1}]}), &json!({"a": [{"b": 2, "c": 1}]}), "", &mut all);
    assert_eq!(all, [".a[0].b: real 1, here 2", ".a[0].c: real null, here 1"]);
}
