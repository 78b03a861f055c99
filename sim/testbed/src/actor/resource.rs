//! The resources that actors read and write, with the few facts a request needs.

/// A resource: where its objects live and what they are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Version.
    pub version: &'static str,
    /// Plural name in paths.
    pub plural: &'static str,
    /// Resource kind.
    pub kind: &'static str,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
}

impl Resource {
    const fn new(
        group: &'static str,
        version: &'static str,
        plural: &'static str,
        kind: &'static str,
    ) -> Self {
        Self { group, version, plural, kind, namespaced: true }
    }
    const fn of_cluster(
        group: &'static str,
        version: &'static str,
        plural: &'static str,
        kind: &'static str,
    ) -> Self {
        Self { group, version, plural, kind, namespaced: false }
    }
    /// `v1` or `batch/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

const SNAPSHOT: &str = "snapshot.storage.k8s.io";

/// Pods.
pub const POD: Resource = Resource::new("", "v1", "pods", "Pod");
/// Claims.
pub const CLAIM: Resource = Resource::new("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim");
/// Volumes.
pub const VOLUME: Resource = Resource::of_cluster("", "v1", "persistentvolumes", "PersistentVolume");
/// Secrets.
pub const SECRET: Resource = Resource::new("", "v1", "secrets", "Secret");
/// ConfigMaps.
pub const CONFIG_MAP: Resource = Resource::new("", "v1", "configmaps", "ConfigMap");
/// Events.
pub const EVENT: Resource = Resource::new("", "v1", "events", "Event");
/// Namespaces.
pub const NAMESPACE: Resource = Resource::of_cluster("", "v1", "namespaces", "Namespace");
/// Nodes.
pub const NODE: Resource = Resource::of_cluster("", "v1", "nodes", "Node");
/// ServiceAccounts.
pub const SERVICE_ACCOUNT: Resource = Resource::new("", "v1", "serviceaccounts", "ServiceAccount");
/// Jobs.
pub const JOB: Resource = Resource::new("batch", "v1", "jobs", "Job");
/// CronJobs.
pub const CRON_JOB: Resource = Resource::new("batch", "v1", "cronjobs", "CronJob");
/// Deployments.
pub const DEPLOYMENT: Resource = Resource::new("apps", "v1", "deployments", "Deployment");
/// StatefulSets.
pub const STATEFUL_SET: Resource = Resource::new("apps", "v1", "statefulsets", "StatefulSet");
/// StorageClasses.
pub const STORAGE_CLASS: Resource =
    Resource::of_cluster("storage.k8s.io", "v1", "storageclasses", "StorageClass");
/// Volume snapshots.
pub const SNAPSHOT_OBJECT: Resource = Resource::new(SNAPSHOT, "v1", "volumesnapshots", "VolumeSnapshot");
/// Volume snapshot contents.
pub const SNAPSHOT_CONTENT: Resource =
    Resource::of_cluster(SNAPSHOT, "v1", "volumesnapshotcontents", "VolumeSnapshotContent");
/// Volume snapshot classes.
pub const SNAPSHOT_CLASS: Resource =
    Resource::of_cluster(SNAPSHOT, "v1", "volumesnapshotclasses", "VolumeSnapshotClass");
