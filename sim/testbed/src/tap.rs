//! From a write of the API server to lines of the record.
//!
//! Selects what a timeline needs from an object and notices what people read: events and conditions. It
//! decides nothing and writes nothing back.

use std::collections::BTreeMap;

use apiserver::{Verb, Write};
use json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    actor::cluster::{is_deleting, text},
    record::{Record, What},
};

/// Status and spec fields shown for each kind, as JSON pointers.
fn pointers(kind: &str) -> &'static [&'static str] {
    match kind {
        "Pod" => &["/status/phase", "/spec/nodeName"],
        "Job" => &["/status/active", "/status/succeeded", "/status/failed"],
        "CronJob" => &["/status/lastScheduleTime", "/status/lastSuccessfulTime", "/spec/suspend"],
        "PersistentVolumeClaim" => &["/status/phase", "/spec/volumeName", "/spec/storageClassName"],
        "PersistentVolume" => &["/status/phase", "/spec/claimRef/namespace", "/spec/claimRef/name"],
        "VolumeSnapshot" => &[
            "/spec/source/persistentVolumeClaimName",
            "/status/boundVolumeSnapshotContentName",
            "/status/readyToUse",
            "/status/restoreSize",
        ],
        "VolumeSnapshotContent" => &["/status/snapshotHandle", "/status/readyToUse"],
        "ReplicationSource" | "ReplicationDestination" => &[
            "/status/lastSyncStartTime",
            "/status/lastSyncTime",
            "/status/lastSyncDuration",
            "/status/nextSyncTime",
            "/status/lastManualSync",
            "/status/latestMoverStatus/result",
            "/status/latestImage/kind",
            "/status/latestImage/name",
        ],
        "KopiaMaintenance" => &[
            "/status/lastMaintenanceTime",
            "/status/nextScheduledMaintenance",
            "/status/maintenanceFailures",
            "/status/lastManualSync",
        ],
        _ => &[],
    }
}

/// Appends what a write means to the record.
pub fn record(record: &Record, write: &Write, verbose: bool) {
    if write.kind == "Event" {
        if write.verb != Verb::Delete {
            cluster_event(record, write);
        }
        return;
    }
    let verb = match write.verb {
        Verb::Create => "create",
        Verb::Update if write.subresource.is_empty() => "update",
        Verb::Update => "update-status",
        Verb::Delete => "delete",
    };
    let mut fields: BTreeMap<String, Value> = pointers(&write.kind)
        .iter()
        .filter_map(|pointer| {
            let value = write.object.pointer(pointer).filter(|value| !value.is_null())?;
            Some((pointer.trim_start_matches('/').replace('/', "."), value.clone()))
        })
        .collect();
    if is_deleting(&write.object) {
        fields.insert("deleting".to_owned(), Value::Bool(true));
    }
    let resource = if write.group.is_empty() {
        format!("{}/{}", write.version, write.resource)
    } else {
        format!("{}/{}/{}", write.group, write.version, write.resource)
    };
    let digest = if verbose { digest(&write.object) } else { String::new() };
    record.push(
        &format!("api/{}/{verb}/{}", write.caller, write.kind),
        What::ApiWrite {
            caller: write.caller.clone(),
            verb: verb.to_owned(),
            resource,
            object_kind: write.kind.clone(),
            namespace: write.namespace.clone(),
            name: write.name.clone(),
            resource_version: write.resource_version,
            digest,
            fields,
        },
    );
    if write.verb != Verb::Delete && !matches!(write.kind.as_str(), "Pod" | "Node") {
        conditions(record, write);
    }
}

fn digest(object: &Value) -> String {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    let mut text = hex::encode(Sha256::digest(object.to_string().as_bytes()));
    text.truncate(16);
    text
}

fn cluster_event(record: &Record, write: &Write) {
    let object = &write.object;
    // Both spellings: core/v1 (involvedObject, message) and events.k8s.io/v1 (regarding, note).
    let either = |one: &str, other: &str| match text(object, one) {
        "" => text(object, other).to_owned(),
        found => found.to_owned(),
    };
    let kind = either("/involvedObject/kind", "/regarding/kind");
    let name = either("/involvedObject/name", "/regarding/name");
    let component = either("/source/component", "/reportingComponent");
    let component =
        if component.is_empty() { text(object, "/reportingController").to_owned() } else { component };
    let count = object["count"]
        .as_u64()
        .or_else(|| object.pointer("/series/count").and_then(Value::as_u64))
        .unwrap_or(1);
    let reason = text(object, "/reason").to_owned();
    record.push(
        &format!("event/{component}/{reason}/{kind}"),
        What::ClusterEvent {
            namespace: write.namespace.clone(),
            object: format!("{kind}/{name}"),
            class: text(object, "/type").to_owned(),
            reason,
            message: either("/message", "/note"),
            component,
            count,
        },
    );
}

fn conditions(record: &Record, write: &Write) {
    let empty = json::List::default();
    let list =
        |object| Value::pointer(object, "/status/conditions").and_then(Value::as_array).unwrap_or(&empty);
    let before = write.previous.as_deref().map_or(&empty, list);
    let after = list(&write.object);
    for condition in after {
        let class = text(condition, "/type");
        let shown = ["/status", "/reason", "/message"];
        let is_same = |old: &&Value| shown.iter().all(|field| text(old, field) == text(condition, field));
        if before.iter().filter(|old| text(old, "/type") == class).any(|old| is_same(&old)) {
            continue;
        }
        record.push(
            &format!("condition/{}/{class}/{}", write.caller, write.kind),
            What::Condition {
                namespace: write.namespace.clone(),
                object: format!("{}/{}", write.kind, write.name),
                class: class.to_owned(),
                status: text(condition, "/status").to_owned(),
                reason: text(condition, "/reason").to_owned(),
                message: text(condition, "/message").to_owned(),
            },
        );
    }
}
