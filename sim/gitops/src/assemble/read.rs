//! Reads single claims, sources and destinations out of rendered resources.
//!
//! Promises to take wrong types and missing fields as findings with a place, and to go on.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Placed, Secrets, object};
use crate::identity;
use crate::model::{Claim, Destination, Export, Location, Mover, Policy, Problem, Severity, Source, Writer};
use crate::storage::bytes;

pub(crate) struct Context<'a, 'b> {
    pub(crate) placed: &'a [Placed],
    pub(crate) secrets: &'b mut Secrets<'a>,
    pub(crate) policies: &'b [Policy],
}

/// A claim, source or destination and the position of its resource.
pub(crate) enum Part {
    Claim(usize, Claim),
    Source(usize, Source),
    Destination(usize, Destination),
}

pub(crate) fn parts(context: &mut Context<'_, '_>, problems: &mut Vec<Problem>) -> Vec<Part> {
    let mut parts = Vec::new();
    for at in 0..context.placed.len() {
        let item = &context.placed[at];
        let document = &item.document;
        if !document.value.get("spec").is_some_and(Value::is_object)
            && matches!(
                document.kind(),
                "PersistentVolumeClaim" | "ReplicationSource" | "ReplicationDestination"
            )
        {
            problems.push(
                Problem::new(
                    "wrong-type",
                    Severity::Broken,
                    format!("{} has no spec that is a mapping", document.title()),
                    "write its spec; the API server refuses it",
                )
                .at(document.line_of(&["spec"])),
            );
            continue;
        }
        match (document.group(), document.kind()) {
            ("", "PersistentVolumeClaim") => parts.push(Part::Claim(at, claim(item))),
            ("volsync.backube", "ReplicationSource") if document.at(&["spec", "kopia"]).is_some() => {
                let source = source(context, at);
                parts.push(Part::Source(at, source));
            }
            ("volsync.backube", "ReplicationDestination") if document.at(&["spec", "kopia"]).is_some() => {
                let destination = destination(context, at);
                parts.push(Part::Destination(at, destination));
            }
            _ => {}
        }
    }
    parts
}

fn strings(value: Option<&Value>) -> Vec<String> {
    value
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// A quantity written as text or as a number.
fn quantity(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::String(text) => bytes(text),
        Value::Number(number) => number.as_u64(),
        _ => None,
    }
}

fn claim(item: &Placed) -> Claim {
    let document = &item.document;
    let reference = document.at(&["spec", "dataSourceRef"]).or_else(|| document.at(&["spec", "dataSource"]));
    let filled_by = reference
        .filter(|reference| reference.get("kind").and_then(Value::as_str) == Some("ReplicationDestination"))
        .and_then(|reference| reference.get("name")?.as_str().map(str::to_owned));
    Claim {
        object: object(item),
        capacity_bytes: quantity(document.at(&["spec", "resources", "requests", "storage"])),
        class: document.str(&["spec", "storageClassName"]).map(str::to_owned),
        access_modes: strings(document.at(&["spec", "accessModes"])),
        filled_by,
        copy_trigger: document
            .str(&["metadata", "annotations", "volsync.backube/use-copy-trigger"])
            .is_some(),
        declared: true,
    }
}

/// NFS exports of `moverVolumes`.
pub(crate) fn exports(kopia: Option<&Value>) -> Vec<Export> {
    let mut found = Vec::new();
    for volume in
        kopia.and_then(|kopia| kopia.get("moverVolumes")).and_then(Value::as_array).into_iter().flatten()
    {
        let text = |pointer: &str| volume.pointer(pointer).and_then(Value::as_str);
        if let (Some(server), Some(path), Some(at)) =
            (text("/volumeSource/nfs/server"), text("/volumeSource/nfs/path"), text("/mountPath"))
        {
            found.push(Export {
                server: server.to_owned(),
                path: path.to_owned(),
                mounted_at: format!("/mnt/{at}"),
            });
        }
    }
    found
}

/// The user in a security context.
pub(crate) fn writer(security: Option<&Value>) -> Option<Writer> {
    let number = |key: &str| security?.get(key)?.as_u64().and_then(|number| u32::try_from(number).ok());
    let fs_group = number("fsGroup");
    let uid = number("runAsUser")?;
    Some(Writer { uid, gid: number("runAsGroup").or(fs_group).unwrap_or(0), fs_group })
}

/// Where a mover's repository stands, and the password for it.
pub(crate) fn locate(
    context: &mut Context<'_, '_>,
    item: &Placed,
    repository: &str,
    exports: &[Export],
    job: &str,
) -> (Option<Location>, Option<String>) {
    if repository.is_empty() {
        return (None, None);
    }
    let mut mounts: Vec<(String, String, String)> = exports
        .iter()
        .map(|export| (export.mounted_at.clone(), export.server.clone(), export.path.clone()))
        .collect();
    for policy in context.policies.iter().filter(|policy| {
        policy.object.cluster == item.cluster || policy.object.cluster.is_empty() || item.cluster.is_empty()
    }) {
        if let Some(mount) = policy.mounts.as_ref().filter(|_| policy.is_for(job)) {
            mounts.push((mount.mounted_at.clone(), mount.server.clone(), mount.path.clone()));
        }
    }
    let secret = context.secrets.get(&item.cluster, &item.namespace, repository, &item.document);
    (crate::secret::location(&secret.values, &mounts), secret.values.get("KOPIA_PASSWORD").cloned())
}

fn mover(
    context: &mut Context<'_, '_>,
    item: &Placed,
    kopia: &Value,
    repository: String,
    job: &str,
) -> Mover {
    let text = |key: &str| kopia.get(key).and_then(Value::as_str).map(str::to_owned);
    let exports = exports(Some(kopia));
    let (location, password) = locate(context, item, &repository, &exports, job);
    Mover {
        repository,
        copy_method: text("copyMethod").unwrap_or_default(),
        class: text("storageClassName"),
        snapshot_class: text("volumeSnapshotClassName"),
        writer: writer(kopia.get("moverSecurityContext")),
        exports,
        location,
        password,
    }
}

fn source(context: &mut Context<'_, '_>, at: usize) -> Source {
    let item = &context.placed[at];
    let document = &item.document;
    let kopia = document.at(&["spec", "kopia"]).cloned().unwrap_or_default();
    let text = |path: &[&str]| document.str(path).map(str::to_owned).filter(|text| !text.is_empty());
    let retain: BTreeMap<String, i64> = kopia
        .get("retain")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_i64()?)))
        .collect();
    let repository = kopia.get("repository").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mover = mover(context, item, &kopia, repository, "volsync-src-");
    Source {
        object: object(item),
        claim: text(&["spec", "sourcePVC"]).unwrap_or_default(),
        schedule: text(&["spec", "trigger", "schedule"]),
        manual: text(&["spec", "trigger", "manual"]),
        paused: document.at(&["spec", "paused"]) == Some(&Value::Bool(true)),
        identity: identity::of_source(document.name(), &item.namespace, &kopia),
        retain,
        mover,
    }
}

fn destination(context: &mut Context<'_, '_>, at: usize) -> Destination {
    let item = &context.placed[at];
    let document = &item.document;
    let kopia = document.at(&["spec", "kopia"]).cloned().unwrap_or_default();
    let placed = context.placed;
    let find = |namespace: &str, name: &str| {
        placed
            .iter()
            .find(|other| {
                other.document.is("volsync.backube", "ReplicationSource")
                    && other.cluster == item.cluster
                    && other.namespace == namespace
                    && other.document.name() == name
            })
            .and_then(|other| other.document.at(&["spec", "kopia"]).cloned())
    };
    let (identity, repository) = identity::of_destination(document.name(), &item.namespace, &kopia, &find);
    let mover = mover(context, item, &kopia, repository.unwrap_or_default(), "volsync-dst-");
    let text = |path: &[&str]| document.str(path).map(str::to_owned).filter(|text| !text.is_empty());
    Destination {
        object: object(item),
        manual: text(&["spec", "trigger", "manual"]),
        schedule: text(&["spec", "trigger", "schedule"]),
        claim: text(&["spec", "kopia", "destinationPVC"]),
        capacity_bytes: quantity(kopia.get("capacity")),
        identity,
        mover,
    }
}
