//! ReplicationSource: backs a claim up.
//!
//! Source: sections 1.1, 1.3, 1.5 and 1.8 of the behaviour specification.
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    CacheOptions, CustomCa, External, MoverConfig, OtherMovers, PolicyConfig, SyncStatus, Trigger,
    VolumeOptions,
};

/// The pattern of user and host names of a Kopia identity.
pub(super) const IDENTITY_PATTERN: &str = r"^[a-zA-Z0-9]([a-zA-Z0-9._-]*[a-zA-Z0-9])?$";

/// What a ReplicationSource asks for.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "volsync.backube",
    version = "v1alpha1",
    kind = "ReplicationSource",
    plural = "replicationsources",
    singular = "replicationsource",
    namespaced,
    status = "ReplicationSourceStatus",
    derive = "PartialEq",
    doc = "ReplicationSource defines the source for a replicated volume",
    printcolumn = r#"{"name":"Source","type":"string","jsonPath":".spec.sourcePVC"}"#,
    printcolumn = r#"{"name":"Last sync","type":"string","format":"date-time","jsonPath":".status.lastSyncTime"}"#,
    printcolumn = r#"{"name":"Duration","type":"string","jsonPath":".status.lastSyncDuration"}"#,
    printcolumn = r#"{"name":"Next sync","type":"string","format":"date-time","jsonPath":".status.nextSyncTime"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ReplicationSourceSpec {
    /// Claim to back up, in the same namespace.
    #[serde(default, rename = "sourcePVC", skip_serializing_if = "Option::is_none")]
    pub source_pvc: Option<String>,
    /// When to back up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// Stops replication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// The Kopia mover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kopia: Option<KopiaSource>,
    /// A method of another controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<External>,
    /// Other movers.
    #[serde(flatten)]
    pub other: OtherMovers,
}

/// The Kopia mover of a ReplicationSource.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KopiaSource {
    /// Name of the repository Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Certificate authority of the repository's server.
    #[serde(default, rename = "customCA", skip_serializing_if = "Option::is_none")]
    pub custom_ca: Option<CustomCa>,
    /// How many snapshots are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retain: Option<Retain>,
    /// Name of a compressor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<String>,
    /// How many files are read at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<i32>,
    /// Commands around the snapshot, run in the mover's container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actions: Option<Actions>,
    /// Policy and repository configuration files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_config: Option<PolicyConfig>,
    /// User name of the identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = IDENTITY_PATTERN))]
    pub username: Option<String>,
    /// Host name of the identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = IDENTITY_PATTERN))]
    pub hostname: Option<String>,
    /// Path recorded in the snapshot instead of `/data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^/.*"))]
    pub source_path_override: Option<String>,
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

/// How many snapshots are kept; keys that are not set inherit Kopia's defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retain {
    /// One an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hourly: Option<i32>,
    /// One a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily: Option<i32>,
    /// One a week.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weekly: Option<i32>,
    /// One a month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly: Option<i32>,
    /// One a year.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yearly: Option<i32>,
    /// The newest ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<i32>,
}

/// Commands around a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Actions {
    /// Runs before; a failure ends the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_snapshot: Option<String>,
    /// Runs after; a failure only warns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_snapshot: Option<String>,
}

/// What became of a ReplicationSource.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicationSourceStatus {
    /// The shared part.
    #[serde(flatten)]
    pub sync: SyncStatus,
    /// The Kopia mover's part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kopia: Option<KopiaSourceStatus>,
}

/// The Kopia mover's part of a ReplicationSource's status.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KopiaSourceStatus {
    /// In the original's schema, never set there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_maintenance: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>,
    /// In the original's schema, never set there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_scheduled_maintenance: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>,
    /// In the original's schema, never set there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_failures: Option<i32>,
    /// In the original's schema, never set there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kopia_maintenance: Option<String>,
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
    /// Unique id of the repository that backups went to (ours; safe profile).
    #[serde(default, rename = "repositoryID", skip_serializing_if = "Option::is_none")]
    pub repository_id: Option<String>,
    /// The repository Secret that `repositoryID` was seen through (ours; safe profile).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository_secret: Option<String>,
    /// Id of the newest snapshot that a sync made (ours; safe profile).
    #[serde(default, rename = "latestSnapshotID", skip_serializing_if = "Option::is_none")]
    pub latest_snapshot_id: Option<String>,
}
