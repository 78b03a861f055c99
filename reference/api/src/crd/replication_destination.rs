//! ReplicationDestination: restores a claim and offers an image of it.
//!
//! Source: sections 1.1, 1.6 and 1.8 of the behaviour specification.
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::replication_source::IDENTITY_PATTERN;
use super::{
    CacheOptions, CustomCa, External, MoverConfig, OtherMovers, PolicyConfig, SyncStatus, Trigger,
    VolumeOptions,
};

/// What a ReplicationDestination asks for.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "volsync.backube",
    version = "v1alpha1",
    kind = "ReplicationDestination",
    plural = "replicationdestinations",
    singular = "replicationdestination",
    namespaced,
    status = "ReplicationDestinationStatus",
    derive = "PartialEq",
    doc = "ReplicationDestination defines the destination for a replicated volume",
    printcolumn = r#"{"name":"Last sync","type":"string","format":"date-time","jsonPath":".status.lastSyncTime"}"#,
    printcolumn = r#"{"name":"Duration","type":"string","jsonPath":".status.lastSyncDuration"}"#,
    printcolumn = r#"{"name":"Next sync","type":"string","format":"date-time","jsonPath":".status.nextSyncTime"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ReplicationDestinationSpec {
    /// When to restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// Stops replication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// The Kopia mover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kopia: Option<KopiaDestination>,
    /// A method of another controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<External>,
    /// Other movers.
    #[serde(flatten)]
    pub other: OtherMovers,
}

/// The Kopia mover of a ReplicationDestination.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KopiaDestination {
    /// Name of the repository Secret; may be found through `sourceIdentity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Certificate authority of the repository's server.
    #[serde(default, rename = "customCA", skip_serializing_if = "Option::is_none")]
    pub custom_ca: Option<CustomCa>,
    /// An existing claim to restore into instead of a created one.
    #[serde(default, rename = "destinationPVC", skip_serializing_if = "Option::is_none")]
    pub destination_pvc: Option<String>,
    /// Deletes the created claim at the end of a sync.
    #[serde(default, rename = "cleanupTempPVC", skip_serializing_if = "Option::is_none")]
    pub cleanup_temp_pvc: Option<bool>,
    /// Deletes the cache claim at the end of a sync.
    #[serde(default, rename = "cleanupCachePVC", skip_serializing_if = "Option::is_none")]
    pub cleanup_cache_pvc: Option<bool>,
    /// Restores the newest snapshot not younger than this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub restore_as_of: Option<String>,
    /// How many newer snapshots are skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<i32>,
    /// Size of the window looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shallow: Option<i32>,
    /// The ReplicationSource to restore from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_identity: Option<SourceIdentity>,
    /// User name of the identity; needs `hostname`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = IDENTITY_PATTERN))]
    pub username: Option<String>,
    /// Host name of the identity; needs `username`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = IDENTITY_PATTERN))]
    pub hostname: Option<String>,
    /// Removes what is not in the snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_file_deletion: Option<bool>,
    /// Policy and repository configuration files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_config: Option<PolicyConfig>,
    /// More arguments for Kopia.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    pub additional_args: Option<Vec<String>>,
    /// Claims and snapshots.
    #[serde(flatten)]
    pub volume: VolumeOptions,
    /// The cache.
    #[serde(flatten)]
    pub cache: CacheOptions,
    /// The mover's pod.
    #[serde(flatten)]
    pub mover: MoverConfig,
}

/// Names the ReplicationSource whose snapshots are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceIdentity {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_name: Option<String>,
    /// Its namespace; by default that of the ReplicationDestination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_namespace: Option<String>,
    /// Its claim; switches the look-up of the source off.
    #[serde(default, rename = "sourcePVCName", skip_serializing_if = "Option::is_none")]
    pub source_pvc_name: Option<String>,
    /// Path recorded in the snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^/.*"))]
    pub source_path_override: Option<String>,
}

/// What became of a ReplicationDestination.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicationDestinationStatus {
    /// The shared part.
    #[serde(flatten)]
    pub sync: SyncStatus,
    /// The image of the last successful restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_image: Option<ImageReference>,
    /// The Kopia mover's part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kopia: Option<KopiaDestinationStatus>,
}

/// Names an object in the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageReference {
    /// API group, empty for the core group.
    pub api_group: String,
    /// Resource kind.
    pub kind: String,
    /// Name.
    pub name: String,
}

/// The Kopia mover's part of a ReplicationDestination's status.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KopiaDestinationStatus {
    /// The identity whose snapshots were asked for, `user@host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_identity: Option<String>,
    /// How many snapshots were found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshots_found: Option<i32>,
    /// Identities found in the repository after a failed restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_identities: Option<Vec<AvailableIdentity>>,
    /// Metadata cache limit of the last successful Job.
    #[serde(
        default,
        rename = "lastConfiguredMetadataCacheSizeLimitMB",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_configured_metadata_cache_size_limit_mb: Option<i32>,
    /// Content cache limit of the last successful Job.
    #[serde(
        default,
        rename = "lastConfiguredContentCacheSizeLimitMB",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_configured_content_cache_size_limit_mb: Option<i32>,
    /// Unique id of the repository that was restored from (ours; safe profile).
    #[serde(default, rename = "repositoryID", skip_serializing_if = "Option::is_none")]
    pub repository_id: Option<String>,
    /// The repository Secret that `repositoryID` was seen through (ours; safe profile).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository_secret: Option<String>,
    /// Id of the restored snapshot (ours; safe profile). Absent when nothing was restored.
    #[serde(default, rename = "restoredSnapshotID", skip_serializing_if = "Option::is_none")]
    pub restored_snapshot_id: Option<String>,
}

/// An identity found in a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AvailableIdentity {
    /// `user@host`.
    pub identity: String,
    /// How many snapshots it has.
    pub snapshot_count: i32,
    /// End of the newest one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_snapshot: Option<Time>,
}
