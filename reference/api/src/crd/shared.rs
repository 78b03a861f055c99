//! What replication sources and destinations have in common: triggers, volumes, mover settings, status.
//!
//! Blocks that VolSync inlines are flattened here, so a manifest does not see them. Source: sections 1.2,
//! 1.4, 1.7 and 1.8 of the behaviour specification.
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, NFSVolumeSource, PersistentVolumeClaimVolumeSource, PodSecurityContext, ResourceRequirements,
    SecretVolumeSource,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The pattern of every schedule field, as loose as the original's.
pub const SCHEDULE_PATTERN: &str =
    r"^(@(annually|yearly|monthly|weekly|daily|hourly))|((((\d+,)*\d+|(\d+(\/|-)\d+)|\*(\/\d+)?)\s?){5})$";

/// When a sync runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trigger {
    /// A cron expression, evaluated in the controller's time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = SCHEDULE_PATTERN))]
    pub schedule: Option<String>,
    /// A tag; any change of it requests one run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manual: Option<String>,
}

/// How a point-in-time copy of a volume is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CopyMethod {
    /// No copy: work on the volume itself.
    Direct,
    /// Deprecated spelling of `Direct`.
    None,
    /// A clone of the claim.
    Clone,
    /// A VolumeSnapshot.
    Snapshot,
}

impl CopyMethod {
    /// Gives the word of the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "Direct",
            Self::None => "None",
            Self::Clone => "Clone",
            Self::Snapshot => "Snapshot",
        }
    }
}

impl JsonSchema for CopyMethod {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CopyMethod".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "enum": ["Direct", "None", "Clone", "Snapshot"]})
    }
}

/// Which claims and snapshots a sync makes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeOptions {
    /// How the copy is made; there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_method: Option<CopyMethod>,
    /// Size of the created claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Quantity>,
    /// Storage class of created claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,
    /// Access modes of created claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub access_modes: Option<Vec<String>>,
    /// Class of created VolumeSnapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_snapshot_class_name: Option<String>,
}

/// A certificate authority for the repository's server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CustomCa {
    /// Secret that holds the certificate; wins over the ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// ConfigMap that holds the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_name: Option<String>,
    /// Key inside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// The mover's cache.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CacheOptions {
    /// Size of the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_capacity: Option<Quantity>,
    /// Storage class of the cache claim; its presence makes the cache a claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_storage_class_name: Option<String>,
    /// Access modes of the cache claim; their presence makes the cache a claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub cache_access_modes: Option<Vec<String>>,
    /// Limit of the metadata cache in MiB; unset derives it, 0 means no limit.
    #[serde(default, rename = "metadataCacheSizeLimitMB", skip_serializing_if = "Option::is_none")]
    pub metadata_cache_size_limit_mb: Option<i32>,
    /// Limit of the content cache in MiB; unset derives it, 0 means no limit.
    #[serde(default, rename = "contentCacheSizeLimitMB", skip_serializing_if = "Option::is_none")]
    pub content_cache_size_limit_mb: Option<i32>,
}

/// Policy and repository configuration files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyConfig {
    /// Secret that holds the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// ConfigMap that holds the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_name: Option<String>,
    /// Name of the global policy file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global_policy_filename: Option<String>,
    /// Name of the repository configuration file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository_config_filename: Option<String>,
    /// Repository configuration as JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository_config: Option<String>,
}

/// Settings of the mover's pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MoverConfig {
    /// Security context of the pod, given as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mover_security_context: Option<PodSecurityContext>,
    /// Account to use instead of a created one; it must exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mover_service_account: Option<String>,
    /// Labels added to the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mover_pod_labels: Option<BTreeMap<String, String>>,
    /// Resources of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mover_resources: Option<ResourceRequirements>,
    /// Affinity of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mover_affinity: Option<Affinity>,
    /// Extra volumes, mounted below `/mnt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mover_volumes: Option<Vec<MoverVolume>>,
}

/// An extra volume of a mover.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MoverVolume {
    /// One path element; the volume is mounted at `/mnt/<mountPath>`.
    pub mount_path: String,
    /// What is mounted.
    pub volume_source: MoverVolumeSource,
}

/// Where an extra volume comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MoverVolumeSource {
    /// A Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretVolumeSource>,
    /// An NFS export.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nfs: Option<NFSVolumeSource>,
    /// A claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<PersistentVolumeClaimVolumeSource>,
}

/// A replication method of another controller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct External {
    /// Which controller is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Its parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<BTreeMap<String, String>>,
}

/// Blocks of movers that are recognised by name and kept unread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OtherMovers {
    /// The restic mover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "preserved")]
    pub restic: Option<Value>,
    /// The rclone mover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "preserved")]
    pub rclone: Option<Value>,
    /// The rsync (ssh) mover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "preserved")]
    pub rsync: Option<Value>,
    /// The rsync over TLS mover.
    #[serde(default, rename = "rsyncTLS", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "preserved")]
    pub rsync_tls: Option<Value>,
    /// The syncthing mover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "preserved")]
    pub syncthing: Option<Value>,
}

impl OtherMovers {
    /// Names the movers that are present, in a fixed order.
    pub fn present(&self) -> Vec<&'static str> {
        [
            ("rclone", self.rclone.is_some()),
            ("restic", self.restic.is_some()),
            ("rsync", self.rsync.is_some()),
            ("rsyncTLS", self.rsync_tls.is_some()),
            ("syncthing", self.syncthing.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, present)| present.then_some(name))
        .collect()
    }
}

/// An object whose fields are kept without a schema.
pub(crate) fn preserved(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// The status that both kinds share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncStatus {
    /// Conditions; the one of VolSync is `Synchronizing`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,
    /// When the running sync began; absent between syncs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync_start_time: Option<Time>,
    /// When the last completed sync ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync_time: Option<Time>,
    /// How long the last sync took, as a Go duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync_duration: Option<String>,
    /// When the next scheduled sync begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_sync_time: Option<Time>,
    /// The manual tag that was last served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_manual_sync: Option<String>,
    /// How the last mover Job ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_mover_status: Option<LatestMoverStatus>,
    /// Status of external methods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<BTreeMap<String, String>>,
}

/// How a mover Job ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LatestMoverStatus {
    /// Success or failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<MoverResult>,
    /// The tail of the mover's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<String>,
}

/// Success or failure of a mover Job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MoverResult {
    /// The Job completed.
    Successful,
    /// The Job failed for good.
    Failed,
}

impl JsonSchema for MoverResult {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "MoverResult".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "enum": ["Successful", "Failed"]})
    }
}
