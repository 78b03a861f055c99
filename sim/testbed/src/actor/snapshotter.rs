//! The snapshot controller and the snapshotter sidecar: volume snapshots, from the cut to the last finalizer.
//!
//! The controller pairs a VolumeSnapshot with a content and guards both with finalizers; the sidecar asks
//! the driver, retrying after 1 s doubling to 5 minutes. Names, finalizers, annotations, texts and the
//! order of changes are those of external-snapshotter 8. It does not know group snapshots, nor contents
//! made by hand without a `volumeSnapshotRef`.

use std::sync::Arc;

use apiserver::Delete;
use fault::Seam;
use json::{Value, json};

use super::{
    Actor, Change, Cluster, Key, Next, View,
    cluster::{is_deleting, name, namespace, text, timestamp, uid},
    driver::Drivers,
    provisioner::{RETRY, is_bound},
    resource,
};
use crate::quantity;

const BOUND: &str = "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection";
const AS_SOURCE: &str = "snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection";
const CONTENT_BOUND: &str = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection";
const CLAIM_AS_SOURCE: &str = "snapshot.storage.kubernetes.io/pvc-as-source-protection";
const BEING_DELETED: &str = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted";
const BEING_CREATED: &str = "snapshot.storage.kubernetes.io/volumesnapshot-being-created";
const DEFAULT_CLASS: &str = "snapshot.storage.kubernetes.io/is-default-class";

/// The common snapshot controller.
pub struct Controller {
    cluster: Cluster,
    faults: fault::Register,
}

impl Controller {
    /// The actor on a cluster.
    pub fn new(cluster: &Cluster, faults: fault::Register) -> Self {
        Self { cluster: cluster.for_caller("snapshot-controller"), faults }
    }

    fn class_of(&self, snapshot: &Value, driver: &str) -> Result<Arc<Value>, (&'static str, String)> {
        let wanted = text(snapshot, "/spec/volumeSnapshotClassName");
        if !wanted.is_empty() {
            return self.cluster.get(resource::SNAPSHOT_CLASS, "", wanted).ok_or_else(|| {
                let why = format!("volumesnapshotclass.snapshot.storage.k8s.io \"{wanted}\" not found");
                ("GetSnapshotClassFailed", format!("Failed to get snapshot class with error {why}"))
            });
        }
        let annotation = format!("/metadata/annotations/{}", DEFAULT_CLASS.replace('/', "~1"));
        let mut defaults: Vec<Arc<Value>> = self.cluster.list(resource::SNAPSHOT_CLASS, "");
        defaults.retain(|class| text(class, &annotation) == "true" && text(class, "/driver") == driver);
        let why = match defaults.len() {
            1 => return Ok(defaults.remove(0)),
            0 => "cannot find default snapshot class".to_owned(),
            many => format!("{many} default snapshot classes were found"),
        };
        Err((
            "SetDefaultSnapshotClassFailed",
            format!("Failed to set default snapshot class with error {why}"),
        ))
    }

    /// Says that the snapshot cannot be taken, in its status and in an event.
    fn fail(&self, snapshot: &Value, reason: &str, message: &str) -> Next {
        let now = self.cluster.timestamp();
        let told = self.cluster.change_status(
            resource::SNAPSHOT_OBJECT,
            namespace(snapshot),
            name(snapshot),
            |snapshot| {
                if !snapshot["status"].is_object() {
                    snapshot["status"] = json!({});
                }
                if text(snapshot, "/status/error/message") != message {
                    snapshot["status"]["error"] = json!({"time": now, "message": message});
                }
                snapshot["status"]["readyToUse"] = json!(false);
            },
        );
        self.cluster.tolerate(told);
        self.cluster.report(snapshot, "Warning", reason, message);
        RETRY
    }

    fn create_content(&self, snapshot: &Value) -> Next {
        let (space, snapshot_name) = (namespace(snapshot), name(snapshot));
        let claim_name = text(snapshot, "/spec/source/persistentVolumeClaimName");
        let failed = |why: &str| {
            self.fail(
                snapshot,
                "SnapshotContentCreationFailed",
                &format!("Failed to create snapshot content with error {why}"),
            )
        };
        let Some(claim) = self.cluster.get(resource::CLAIM, space, claim_name) else {
            return failed(&format!(
                "snapshot controller failed to update {snapshot_name} on API server: cannot get claim from snapshot"
            ));
        };
        if !is_bound(&claim) {
            return failed(&format!(
                "the PVC {claim_name} is not yet bound to a PV, will not attempt to take a snapshot"
            ));
        }
        let Some(volume) = self.cluster.get(resource::VOLUME, "", text(&claim, "/spec/volumeName")) else {
            return failed(&format!(
                "failed to retrieve PV {} from the API server",
                text(&claim, "/spec/volumeName")
            ));
        };
        let driver = text(&volume, "/spec/csi/driver");
        if driver.is_empty() {
            return failed(&format!("cannot find CSI PersistentVolumeSource for volume {}", name(&volume)));
        }
        let class = match self.class_of(snapshot, driver) {
            Ok(class) => class,
            Err((reason, message)) => return self.fail(snapshot, reason, &message),
        };
        if text(&class, "/driver") != driver {
            return failed("driver does not match the one of the volume snapshot class");
        }
        if is_deleting(&claim) {
            return failed(&format!(
                "cannot add finalizer on claim [{claim_name}] for snapshot [{space}/{snapshot_name}]: claim is being deleted"
            ));
        }
        let filled = self.cluster.change(resource::SNAPSHOT_OBJECT, space, snapshot_name, |snapshot| {
            snapshot["spec"]["volumeSnapshotClassName"] = json!(name(&class));
        });
        self.cluster.tolerate(filled);
        self.cluster.set_finalizer(resource::CLAIM, space, claim_name, CLAIM_AS_SOURCE, true);
        let mut metadata = json!({"name": content_name(snapshot), "finalizers": [CONTENT_BOUND]});
        let secret = |field: &str| {
            text(&class, &format!("/parameters/csi.storage.k8s.io~1snapshotter-{field}")).to_owned()
        };
        let (secret_name, secret_namespace) = (secret("secret-name"), secret("secret-namespace"));
        if !secret_name.is_empty() {
            metadata["annotations"] = json!({
                "snapshot.storage.kubernetes.io/deletion-secret-name": secret_name,
                "snapshot.storage.kubernetes.io/deletion-secret-namespace": secret_namespace,
            });
        }
        let content = json!({
            "metadata": metadata,
            "spec": {
                "deletionPolicy": text(&class, "/deletionPolicy"),
                "driver": driver,
                "source": {"volumeHandle": text(&volume, "/spec/csi/volumeHandle")},
                "sourceVolumeMode": match text(&claim, "/spec/volumeMode") { "" => "Filesystem", mode => mode },
                "volumeSnapshotClassName": name(&class),
                "volumeSnapshotRef": {
                    "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "namespace": space,
                    "name": snapshot_name, "uid": uid(snapshot), "resourceVersion": text(snapshot, "/metadata/resourceVersion"),
                },
            },
        });
        match self.cluster.create(resource::SNAPSHOT_CONTENT, content) {
            Ok(_) => {
                let message = format!(
                    "Waiting for a snapshot {space}/{snapshot_name} to be created by the CSI driver."
                );
                self.cluster.report(snapshot, "Normal", "CreatingSnapshot", &message);
                Next::Done
            }
            Err(failure) => failed(&failure.to_string()),
        }
    }

    /// Copies what the content says into the snapshot.
    fn follow_content(&self, snapshot: &Value, content: &Value) {
        let (space, snapshot_name) = (namespace(snapshot), name(snapshot));
        let was_created = !text(snapshot, "/status/creationTime").is_empty();
        let was_ready = snapshot.pointer("/status/readyToUse") == Some(&json!(true));
        let creation = content.pointer("/status/creationTime").and_then(Value::as_i64);
        let is_ready = content.pointer("/status/readyToUse") == Some(&json!(true));
        let written =
            self.cluster.change_status(resource::SNAPSHOT_OBJECT, space, snapshot_name, |snapshot| {
                if !snapshot["status"].is_object() {
                    snapshot["status"] = json!({});
                }
                let status = &mut snapshot["status"];
                status["boundVolumeSnapshotContentName"] = json!(name(content));
                status["readyToUse"] = json!(is_ready);
                if let Some(nanoseconds) = creation {
                    let time = jiff::Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or_default();
                    status["creationTime"] = json!(timestamp(time));
                }
                if let Some(size) = content.pointer("/status/restoreSize").and_then(Value::as_u64) {
                    status["restoreSize"] = json!(quantity::text(size));
                }
                match content.pointer("/status/error") {
                    Some(error) if !error.is_null() => status["error"] = error.clone(),
                    _ => {
                        status.as_object_mut().expect("made an object above").remove("error");
                    }
                }
            });
        self.cluster.tolerate(written);
        if creation.is_some() && !was_created {
            let message =
                format!("Snapshot {space}/{snapshot_name} was successfully created by the CSI driver.");
            self.cluster.report(snapshot, "Normal", "SnapshotCreated", &message);
        }
        if is_ready && !was_ready {
            let message = format!("Snapshot {space}/{snapshot_name} is ready to use.");
            self.cluster.report(snapshot, "Normal", "SnapshotReady", &message);
            self.release_claim(snapshot);
        }
    }

    /// Takes the protection off the source claim when no other snapshot of it is being cut.
    fn release_claim(&self, snapshot: &Value) {
        let (space, claim) = (namespace(snapshot), text(snapshot, "/spec/source/persistentVolumeClaimName"));
        let others = self.cluster.list(resource::SNAPSHOT_OBJECT, space);
        let is_needed = others.iter().any(|other| {
            uid(other) != uid(snapshot)
                && text(other, "/spec/source/persistentVolumeClaimName") == claim
                && !is_deleting(other)
                && other.pointer("/status/readyToUse") != Some(&json!(true))
        });
        if !is_needed {
            self.cluster.set_finalizer(resource::CLAIM, space, claim, CLAIM_AS_SOURCE, false);
        }
    }

    async fn delete(&self, snapshot: &Value, content: Option<Arc<Value>>) -> Next {
        let (space, snapshot_name) = (namespace(snapshot), name(snapshot));
        let claims = self.cluster.list(resource::CLAIM, space);
        let is_source = claims.iter().any(|claim| {
            !is_bound(claim)
                && !is_deleting(claim)
                && text(claim, "/status/phase") == "Pending"
                && text(claim, "/spec/dataSource/kind") == "VolumeSnapshot"
                && text(claim, "/spec/dataSource/name") == snapshot_name
        });
        if is_source {
            self.cluster.report(
                snapshot,
                "Warning",
                "SnapshotDeletePending",
                "Snapshot is being used to restore a PVC",
            );
            return RETRY;
        }
        self.release_claim(snapshot);
        if let Some(content) = content
            && text(&content, "/spec/deletionPolicy") == "Delete"
        {
            let marked = self.cluster.change(resource::SNAPSHOT_CONTENT, "", name(&content), |content| {
                if !content["metadata"]["annotations"].is_object() {
                    content["metadata"]["annotations"] = json!({});
                }
                content["metadata"]["annotations"][BEING_DELETED] = json!("yes");
            });
            self.cluster.tolerate(marked);
            if !is_deleting(&content) {
                let gone =
                    self.cluster.delete(resource::SNAPSHOT_CONTENT, "", name(&content), &Delete::default());
                self.cluster.tolerate(gone);
            }
            if self.cluster.get(resource::SNAPSHOT_CONTENT, "", name(&content)).is_some() {
                return Next::Done;
            }
        }
        let (_, verdict) = self
            .faults
            .pass(Seam::Csi, "snapshot-controller", fault::csi::operation::REMOVE_FINALIZER, snapshot_name)
            .await;
        if let fault::Verdict::Fail { message, .. } = verdict {
            self.cluster.report(snapshot, "Warning", "SnapshotFinalizerError", &message);
            return RETRY;
        }
        self.cluster.set_finalizer(resource::SNAPSHOT_OBJECT, space, snapshot_name, AS_SOURCE, false);
        self.cluster.set_finalizer(resource::SNAPSHOT_OBJECT, space, snapshot_name, BOUND, false);
        Next::Done
    }

    /// A content made beforehand, which the snapshot names.
    fn bind_given_content(&self, snapshot: &Value) -> Next {
        let wanted = text(snapshot, "/spec/source/volumeSnapshotContentName");
        let Some(content) = self.cluster.get(resource::SNAPSHOT_CONTENT, "", wanted) else {
            return self.fail(snapshot, "SnapshotContentMissing", "VolumeSnapshotContent is missing");
        };
        if text(&content, "/spec/volumeSnapshotRef/name") != name(snapshot)
            || text(&content, "/spec/volumeSnapshotRef/namespace") != namespace(snapshot)
        {
            return self.fail(
                snapshot,
                "SnapshotMisbound",
                "VolumeSnapshot is bound to a VolumeSnapshotContent which is bound to another VolumeSnapshot",
            );
        }
        let bound = self.cluster.change(resource::SNAPSHOT_CONTENT, "", wanted, |content| {
            content["spec"]["volumeSnapshotRef"]["uid"] = json!(uid(snapshot));
        });
        self.cluster.tolerate(bound);
        self.follow_content(snapshot, &content);
        Next::Done
    }
}

#[async_trait::async_trait]
impl Actor for Controller {
    fn name(&self) -> &str {
        self.cluster.caller()
    }

    fn keys(&self, change: &Change, view: &View<'_>) -> Vec<Key> {
        match change.kind.as_str() {
            // Its own writes call for nothing: what is left to do waits for others or for the retry.
            _ if change.caller == self.cluster.caller() => Vec::new(),
            "VolumeSnapshot" => vec![Key::new(resource::SNAPSHOT_OBJECT, &change.namespace, &change.name)],
            "VolumeSnapshotContent" => {
                let reference = &change.object["spec"]["volumeSnapshotRef"];
                vec![Key::new(
                    resource::SNAPSHOT_OBJECT,
                    text(reference, "/namespace"),
                    text(reference, "/name"),
                )]
            }
            // A claim that became bound, or that needs its source no longer.
            "PersistentVolumeClaim" => view
                .list(resource::SNAPSHOT_OBJECT, &change.namespace)
                .iter()
                .filter(|snapshot| is_deleting(snapshot))
                .map(|snapshot| Key::new(resource::SNAPSHOT_OBJECT, namespace(snapshot), name(snapshot)))
                .collect(),
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &Key) -> Next {
        let Some(snapshot) = self.cluster.get(resource::SNAPSHOT_OBJECT, &key.namespace, &key.name) else {
            return Next::Done;
        };
        let content = match text(&snapshot, "/spec/source/volumeSnapshotContentName") {
            "" => self.cluster.get(resource::SNAPSHOT_CONTENT, "", &content_name(&snapshot)),
            given => self.cluster.get(resource::SNAPSHOT_CONTENT, "", given),
        };
        if is_deleting(&snapshot) {
            return self.delete(&snapshot, content).await;
        }
        let guarded = self.cluster.change(resource::SNAPSHOT_OBJECT, &key.namespace, &key.name, |snapshot| {
            let mut finalizers = snapshot
                .pointer("/metadata/finalizers")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            for wanted in [AS_SOURCE, BOUND] {
                if !finalizers.iter().any(|each| each == wanted) {
                    finalizers.push(json!(wanted));
                }
            }
            snapshot["metadata"]["finalizers"] = json!(finalizers);
        });
        self.cluster.tolerate(guarded);
        if !text(&snapshot, "/spec/source/volumeSnapshotContentName").is_empty() {
            return self.bind_given_content(&snapshot);
        }
        match content {
            Some(content) => {
                self.follow_content(&snapshot, &content);
                Next::Done
            }
            None => self.create_content(&snapshot),
        }
    }
}

/// The snapshotter sidecar of every driver.
pub struct Sidecar {
    cluster: Cluster,
    drivers: Arc<Drivers>,
}

impl Sidecar {
    /// The actor on a cluster.
    pub fn new(cluster: &Cluster, drivers: &Arc<Drivers>) -> Self {
        Self { cluster: cluster.for_caller("csi-snapshotter"), drivers: Arc::clone(drivers) }
    }

    fn mark_creating(&self, content: &Value, wanted: bool) {
        let marked = self.cluster.change(resource::SNAPSHOT_CONTENT, "", name(content), |content| {
            let annotations = &mut content["metadata"]["annotations"];
            if wanted {
                if !annotations.is_object() {
                    *annotations = json!({});
                }
                annotations[BEING_CREATED] = json!("yes");
            } else if let Some(annotations) = annotations.as_object_mut() {
                annotations.remove(BEING_CREATED);
                if annotations.is_empty() {
                    content["metadata"].as_object_mut().expect("metadata is an object").remove("annotations");
                }
            }
        });
        self.cluster.tolerate(marked);
    }

    async fn create(&self, content: &Value) -> Next {
        let Some(driver) = self.drivers.get(text(content, "/spec/driver")) else { return Next::Done };
        let snapshot_name = text(content, "/spec/volumeSnapshotRef/name");
        self.mark_creating(content, true);
        let request = format!("snapshot-{}", text(content, "/spec/volumeSnapshotRef/uid"));
        let result =
            driver.create_snapshot(&request, snapshot_name, text(content, "/spec/source/volumeHandle")).await;
        match result {
            Ok(cut) => {
                let written =
                    self.cluster.change_status(resource::SNAPSHOT_CONTENT, "", name(content), |content| {
                        content["status"] = json!({
                            "snapshotHandle": cut.handle,
                            "creationTime": i64::try_from(cut.at.as_nanosecond()).unwrap_or(i64::MAX),
                            "restoreSize": cut.bytes,
                            "readyToUse": cut.is_ready,
                        });
                    });
                self.cluster.tolerate(written);
                self.mark_creating(content, false);
                // A driver that says "not yet" is asked again.
                if cut.is_ready { Next::Done } else { RETRY }
            }
            Err(error) => {
                if error.is_final() {
                    self.mark_creating(content, false);
                }
                let message = format!(
                    "Failed to check and update snapshot content: failed to take snapshot of the volume {}: \"{error}\"",
                    text(content, "/spec/source/volumeHandle")
                );
                let now = self.cluster.timestamp();
                let written =
                    self.cluster.change_status(resource::SNAPSHOT_CONTENT, "", name(content), |content| {
                        if !content["status"].is_object() {
                            content["status"] = json!({});
                        }
                        if text(content, "/status/error/message") != message {
                            content["status"]["error"] = json!({"time": now, "message": message});
                        }
                        content["status"]["readyToUse"] = json!(false);
                    });
                self.cluster.tolerate(written);
                self.cluster.report(content, "Warning", "SnapshotContentCheckandUpdateFailed", &message);
                RETRY
            }
        }
    }

    async fn delete(&self, content: &Value) -> Next {
        let annotation = |key: &str| {
            content.pointer(&format!("/metadata/annotations/{}", key.replace('/', "~1"))).is_some()
        };
        if annotation(BEING_CREATED) {
            return Next::Done;
        }
        let handle = text(content, "/status/snapshotHandle");
        let is_asked = annotation(BEING_DELETED)
            && text(content, "/spec/deletionPolicy") == "Delete"
            && !handle.is_empty();
        if is_asked {
            let secret =
                text(content, "/metadata/annotations/snapshot.storage.kubernetes.io~1deletion-secret-name");
            let secret_namespace = text(
                content,
                "/metadata/annotations/snapshot.storage.kubernetes.io~1deletion-secret-namespace",
            );
            if !secret.is_empty() && self.cluster.get(resource::SECRET, secret_namespace, secret).is_none() {
                self.cluster.report(
                    content,
                    "Warning",
                    "SnapshotDeleteError",
                    "Failed to get snapshot credentials",
                );
                return RETRY;
            }
            let Some(driver) = self.drivers.get(text(content, "/spec/driver")) else { return Next::Done };
            if let Err(error) =
                driver.delete_snapshot(handle, text(content, "/spec/volumeSnapshotRef/name")).await
            {
                let message = format!("failed to delete snapshot \"{}\", err: {error}", name(content));
                let now = self.cluster.timestamp();
                let written =
                    self.cluster.change_status(resource::SNAPSHOT_CONTENT, "", name(content), |content| {
                        if text(content, "/status/error/message") != message {
                            content["status"]["error"] = json!({"time": now, "message": message});
                        }
                    });
                self.cluster.tolerate(written);
                self.cluster.report(content, "Warning", "SnapshotDeleteError", "Failed to delete snapshot");
                return RETRY;
            }
            let cleared =
                self.cluster.change_status(resource::SNAPSHOT_CONTENT, "", name(content), |content| {
                    if let Some(status) = content["status"].as_object_mut() {
                        for field in ["snapshotHandle", "creationTime", "restoreSize", "readyToUse", "error"]
                        {
                            status.remove(field);
                        }
                    }
                });
            self.cluster.tolerate(cleared);
        }
        self.cluster.set_finalizer(resource::SNAPSHOT_CONTENT, "", name(content), CONTENT_BOUND, false);
        Next::Done
    }
}

#[async_trait::async_trait]
impl Actor for Sidecar {
    fn name(&self) -> &str {
        self.cluster.caller()
    }

    fn keys(&self, change: &Change, _: &View<'_>) -> Vec<Key> {
        match change.kind.as_str() {
            "VolumeSnapshotContent" if change.caller != self.cluster.caller() => {
                vec![Key::new(resource::SNAPSHOT_CONTENT, "", &change.name)]
            }
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &Key) -> Next {
        let Some(content) = self.cluster.get(resource::SNAPSHOT_CONTENT, "", &key.name) else {
            return Next::Done;
        };
        if is_deleting(&content) {
            return self.delete(&content).await;
        }
        let is_cut = !text(&content, "/status/snapshotHandle").is_empty();
        let is_ready = content.pointer("/status/readyToUse") == Some(&json!(true));
        let is_given = !text(&content, "/spec/source/snapshotHandle").is_empty();
        if is_given {
            if !is_cut {
                let written =
                    self.cluster.change_status(resource::SNAPSHOT_CONTENT, "", &key.name, |content| {
                        let handle = content["spec"]["source"]["snapshotHandle"].clone();
                        content["status"] = json!({"snapshotHandle": handle, "readyToUse": true});
                    });
                self.cluster.tolerate(written);
            }
            return Next::Done;
        }
        if is_cut && is_ready { Next::Done } else { self.create(&content).await }
    }
}

fn content_name(snapshot: &Value) -> String {
    format!("snapcontent-{}", uid(snapshot))
}
