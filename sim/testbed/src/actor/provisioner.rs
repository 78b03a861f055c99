//! The external provisioner: makes, grows and deletes volumes for claims.
//!
//! A claim is filled from a volume snapshot or a clone where its data source says so; a data source of a
//! foreign kind is left to a populator. Requests smaller than the source are refused, sources that are not
//! ready are tried again after 1 s, doubling to 5 minutes, with the real texts. What a driver does stands
//! in [`super::driver`].

use std::{sync::Arc, time::Duration};

use apiserver::Delete;
use json::{Value, json};

use super::{
    Actor, Change, Cluster, Key, Next, View,
    binder::claim_reference,
    cluster::{is_deleting, name, namespace, text, uid},
    driver::{Drivers, Source},
    protection::VOLUME_PROTECTION,
    resource,
};
use crate::quantity;

/// The annotation by which the scheduler tells where the first consumer will run.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// The annotation that marks the default class.
pub const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
const VOLUME_FINALIZER: &str = "external-provisioner.volume.kubernetes.io/finalizer";

/// Pause after the first refused call of a sidecar.
pub const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Longest pause of a sidecar.
pub const RETRY_LIMIT: Duration = Duration::from_secs(300);

/// The pause of a sidecar after a failed call.
pub const RETRY: Next = Next::Retry { first: RETRY_FIRST, limit: RETRY_LIMIT };

/// The provisioner sidecar of every driver.
pub struct Provisioner {
    cluster: Cluster,
    drivers: Arc<Drivers>,
}

impl Provisioner {
    /// The actor on a cluster.
    pub fn new(cluster: &Cluster, drivers: &Arc<Drivers>) -> Self {
        Self { cluster: cluster.for_caller("csi-provisioner"), drivers: Arc::clone(drivers) }
    }

    /// What a claim is to be filled from: `Ok(None)` if somebody else fills it.
    fn source_of(&self, claim: &Value) -> Result<Option<Source>, String> {
        let reference = match &claim["spec"]["dataSourceRef"] {
            Value::Null => &claim["spec"]["dataSource"],
            reference => reference,
        };
        if reference.is_null() {
            return Ok(Some(Source::Empty));
        }
        let (group, kind, source) =
            (text(reference, "/apiGroup"), text(reference, "/kind"), text(reference, "/name"));
        let space = match text(reference, "/namespace") {
            "" => namespace(claim),
            other => other,
        };
        let wanted = quantity::bytes(text(claim, "/spec/resources/requests/storage"));
        match (group, kind) {
            ("snapshot.storage.k8s.io", "VolumeSnapshot") => {
                self.snapshot_source(space, source, wanted).map(Some)
            }
            ("", "PersistentVolumeClaim") => self.claim_source(claim, space, source, wanted).map(Some),
            _ => Ok(None),
        }
    }

    fn snapshot_source(&self, space: &str, source: &str, wanted: u64) -> Result<Source, String> {
        let handle_error = |why: String| {
            format!("error getting handle for DataSource Type VolumeSnapshot by Name {source}: {why}")
        };
        let snapshot = self
            .cluster
            .get(resource::SNAPSHOT_OBJECT, space, source)
            .ok_or_else(|| handle_error(format!("error getting snapshot {source} from api server: volumesnapshots.snapshot.storage.k8s.io \"{source}\" not found")))?;
        let content_name = text(&snapshot, "/status/boundVolumeSnapshotContentName");
        if content_name.is_empty() {
            return Err(handle_error(format!("snapshot {source} not bound")));
        }
        if is_deleting(&snapshot) {
            return Err(handle_error(format!("snapshot {source} is currently being deleted")));
        }
        if snapshot.pointer("/status/readyToUse") != Some(&json!(true)) {
            return Err(handle_error(format!("snapshot {source} is not Ready")));
        }
        let content = self.cluster.get(resource::SNAPSHOT_CONTENT, "", content_name).ok_or_else(|| {
            handle_error(format!("error getting snapshotcontent {content_name} for snapshot {source}"))
        })?;
        let size = content.pointer("/status/restoreSize").and_then(Value::as_u64).unwrap_or_default();
        if wanted < size {
            return Err(handle_error(format!(
                "requested volume size {wanted} is less than the size {size} for the source snapshot {source}"
            )));
        }
        Ok(Source::Snapshot(text(&content, "/status/snapshotHandle").to_owned()))
    }

    fn claim_source(&self, claim: &Value, space: &str, source: &str, wanted: u64) -> Result<Source, String> {
        let handle_error = |why: String| {
            format!("error getting handle for DataSource Type PersistentVolumeClaim by Name {source}: {why}")
        };
        let from = self
            .cluster
            .get(resource::CLAIM, space, source)
            .ok_or_else(|| handle_error(format!("error getting PVC {source} (namespace \"{space}\") from api server: persistentvolumeclaim \"{source}\" not found")))?;
        if is_deleting(&from) {
            return Err(handle_error(format!("the PVC DataSource {source} is currently being deleted")));
        }
        let volume = self.cluster.get(resource::VOLUME, "", text(&from, "/spec/volumeName"));
        let Some(volume) = volume.filter(|_| is_bound(&from)) else {
            return Err(handle_error(format!(
                "the PVC DataSource {source} must have a status of Bound.  Got  {}",
                text(&from, "/status/phase")
            )));
        };
        let driver = class_of(&self.cluster, claim)
            .map(|class| text(&class, "/provisioner").to_owned())
            .unwrap_or_default();
        if text(&volume, "/spec/csi/driver") != driver {
            return Err(handle_error(format!(
                "the source PV {} is not provisioned by {driver}",
                name(&volume)
            )));
        }
        let size = quantity::bytes(text(&volume, "/spec/capacity/storage"));
        if wanted < size {
            return Err(handle_error(format!(
                "error, new PVC request must be greater than or equal in size to the specified PVC data source, requested {wanted} but source is {size}"
            )));
        }
        Ok(Source::Volume(text(&volume, "/spec/csi/volumeHandle").to_owned()))
    }

    async fn provision(&self, claim: &Value) -> Next {
        let provisioner =
            text(claim, &format!("/metadata/annotations/{}", PROVISIONER.replace('/', "~1"))).to_owned();
        let (Some(class), Some(driver)) = (class_of(&self.cluster, claim), self.drivers.get(&provisioner))
        else {
            return Next::Done;
        };
        if waits_for_consumer(&class)
            && text(claim, &format!("/metadata/annotations/{}", SELECTED_NODE.replace('/', "~1"))).is_empty()
        {
            return Next::Done;
        }
        let cluster = self.cluster.for_caller(driver.component());
        let title = format!(
            "External provisioner is provisioning volume for claim \"{}/{}\"",
            namespace(claim),
            name(claim)
        );
        let source = match self.source_of(claim) {
            Ok(Some(source)) => source,
            Ok(None) => {
                cluster.report(
                    claim,
                    "Normal",
                    "Provisioning",
                    "Assuming an external populator will provision the volume",
                );
                return Next::Done;
            }
            Err(why) => {
                cluster.report(claim, "Normal", "Provisioning", &title);
                let message =
                    format!("failed to provision volume with StorageClass \"{}\": {why}", name(&class));
                cluster.report(claim, "Warning", "ProvisioningFailed", &message);
                return RETRY;
            }
        };
        cluster.report(claim, "Normal", "Provisioning", &title);
        let volume_name = format!("pvc-{}", uid(claim));
        let bytes = quantity::bytes(text(claim, "/spec/resources/requests/storage"));
        match driver.create_volume(&volume_name, name(claim), bytes, source).await {
            Ok(handle) => self.publish(claim, &class, &volume_name, &handle, bytes, &cluster),
            Err(error) => {
                let message =
                    format!("failed to provision volume with StorageClass \"{}\": {error}", name(&class));
                cluster.report(claim, "Warning", "ProvisioningFailed", &message);
                RETRY
            }
        }
    }

    fn publish(
        &self,
        claim: &Value,
        class: &Value,
        volume_name: &str,
        handle: &str,
        bytes: u64,
        cluster: &Cluster,
    ) -> Next {
        let provisioner = text(class, "/provisioner");
        // Sizes are rounded as drivers do: the claim's own spelling is kept.
        let capacity = match text(claim, "/spec/resources/requests/storage") {
            "" => quantity::text(bytes),
            spelling => spelling.to_owned(),
        };
        let mut reference = claim_reference(claim);
        reference["resourceVersion"] = json!(text(claim, "/metadata/resourceVersion"));
        let volume = json!({
            "metadata": {
                "name": volume_name,
                "annotations": {"pv.kubernetes.io/provisioned-by": provisioner},
                "finalizers": [VOLUME_FINALIZER, VOLUME_PROTECTION],
            },
            "spec": {
                "capacity": {"storage": capacity},
                "accessModes": claim["spec"]["accessModes"],
                "claimRef": reference,
                "persistentVolumeReclaimPolicy": match text(class, "/reclaimPolicy") { "" => "Delete", policy => policy },
                "storageClassName": name(class),
                "volumeMode": match text(claim, "/spec/volumeMode") { "" => "Filesystem", mode => mode },
                "csi": {"driver": provisioner, "volumeHandle": handle},
            },
            "status": {"phase": "Pending"},
        });
        match self.cluster.create(resource::VOLUME, volume) {
            Ok(_) => {
                let message = format!("Successfully provisioned volume {volume_name}");
                cluster.report(claim, "Normal", "ProvisioningSucceeded", &message);
            }
            Err(failure) if failure.reason == "AlreadyExists" => {}
            Err(failure) => {
                tracing::warn!(volume = volume_name, %failure, "a volume could not be published");
                return RETRY;
            }
        }
        Next::Done
    }

    fn grow(&self, claim: &Value) {
        let wanted = text(claim, "/spec/resources/requests/storage");
        let volume_name = text(claim, "/spec/volumeName");
        let Some(volume) = self.cluster.get(resource::VOLUME, "", volume_name) else { return };
        if quantity::bytes(wanted) <= quantity::bytes(text(&volume, "/spec/capacity/storage")) {
            return;
        }
        if let Some(driver) = self.drivers.get(text(&volume, "/spec/csi/driver")) {
            driver.expand(text(&volume, "/spec/csi/volumeHandle"), quantity::bytes(wanted));
        }
        let resizer = self.cluster.for_caller("csi-resizer");
        let grown = resizer.change(resource::VOLUME, "", volume_name, |volume| {
            volume["spec"]["capacity"]["storage"] = json!(wanted);
        });
        resizer.tolerate(grown);
        let told = resizer.change_status(resource::CLAIM, namespace(claim), name(claim), |claim| {
            claim["status"]["capacity"]["storage"] = json!(wanted);
        });
        resizer.tolerate(told);
        resizer.report(claim, "Normal", "FileSystemResizeSuccessful", "Resize of volume succeeded");
    }

    async fn remove(&self, volume: &Value) -> Next {
        let is_ours = volume.pointer("/spec/csi/volumeHandle").is_some();
        let policy = text(volume, "/spec/persistentVolumeReclaimPolicy");
        if !is_ours || text(volume, "/status/phase") != "Released" && !is_deleting(volume) {
            return Next::Done;
        }
        if policy == "Delete" && text(volume, "/status/phase") != "Bound" {
            let Some(driver) = self.drivers.get(text(volume, "/spec/csi/driver")) else { return Next::Done };
            let claim = text(volume, "/spec/claimRef/name");
            if let Err(error) = driver.delete_volume(text(volume, "/spec/csi/volumeHandle"), claim).await {
                let cluster = self.cluster.for_caller(driver.component());
                cluster.report(volume, "Warning", "VolumeFailedDelete", &error.to_string());
                return RETRY;
            }
            let gone = self.cluster.delete(resource::VOLUME, "", name(volume), &Delete::default());
            self.cluster.tolerate(gone);
            self.cluster.set_finalizer(resource::VOLUME, "", name(volume), VOLUME_FINALIZER, false);
        } else if is_deleting(volume) {
            self.cluster.set_finalizer(resource::VOLUME, "", name(volume), VOLUME_FINALIZER, false);
        }
        Next::Done
    }
}

#[async_trait::async_trait]
impl Actor for Provisioner {
    fn name(&self) -> &str {
        self.cluster.caller()
    }

    fn keys(&self, change: &Change, view: &View<'_>) -> Vec<Key> {
        match change.kind.as_str() {
            _ if change.caller == self.cluster.caller() || change.caller == "csi-resizer" => Vec::new(),
            "PersistentVolumeClaim" => vec![Key::new(resource::CLAIM, &change.namespace, &change.name)],
            "PersistentVolume" => vec![Key::new(resource::VOLUME, "", &change.name)],
            // A snapshot that became ready does not wake the real provisioner: it waits for its retry.
            "StorageClass" => view
                .list(resource::CLAIM, "")
                .iter()
                .filter(|claim| !is_bound(claim))
                .map(|claim| Key::new(resource::CLAIM, namespace(claim), name(claim)))
                .collect(),
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &Key) -> Next {
        if key.kind == resource::VOLUME.kind {
            return match self.cluster.get(resource::VOLUME, "", &key.name) {
                Some(volume) => self.remove(&volume).await,
                None => Next::Done,
            };
        }
        let Some(claim) = self.cluster.get(resource::CLAIM, &key.namespace, &key.name) else {
            return Next::Done;
        };
        if is_bound(&claim) {
            self.grow(&claim);
            return Next::Done;
        }
        let is_asked =
            claim.pointer(&format!("/metadata/annotations/{}", PROVISIONER.replace('/', "~1"))).is_some();
        let is_open = text(&claim, "/spec/volumeName").is_empty() && text(&claim, "/status/phase") != "Lost";
        let is_made = self.cluster.get(resource::VOLUME, "", &format!("pvc-{}", uid(&claim))).is_some();
        if is_asked && is_open && !is_made && !is_deleting(&claim) {
            self.provision(&claim).await
        } else {
            Next::Done
        }
    }
}

/// The class of a claim, if it names one that exists.
pub fn class_of(cluster: &Cluster, claim: &Value) -> Option<Arc<Value>> {
    let class = text(claim, "/spec/storageClassName");
    if class.is_empty() { None } else { cluster.get(resource::STORAGE_CLASS, "", class) }
}

/// Whether a class binds at first use.
pub fn waits_for_consumer(class: &Value) -> bool {
    text(class, "/volumeBindingMode") == "WaitForFirstConsumer"
}

/// Whether a claim is bound.
pub fn is_bound(claim: &Value) -> bool {
    text(claim, "/status/phase") == "Bound" && !text(claim, "/spec/volumeName").is_empty()
}
