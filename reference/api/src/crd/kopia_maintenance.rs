//! KopiaMaintenance: maintains a repository on a schedule or by a tag.
//!
//! Source: section 1.9 of the behaviour specification.
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, PodSecurityContext, ResourceRequirements, SecurityContext, Toleration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CacheOptions, CustomCa, MoverVolume, SCHEDULE_PATTERN, Trigger};

/// What a KopiaMaintenance asks for.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "volsync.backube",
    version = "v1alpha1",
    kind = "KopiaMaintenance",
    plural = "kopiamaintenances",
    singular = "kopiamaintenance",
    namespaced,
    status = "KopiaMaintenanceStatus",
    derive = "PartialEq",
    doc = "KopiaMaintenance maintains a Kopia repository",
    printcolumn = r#"{"name":"Repository","type":"string","jsonPath":".spec.repository.repository"}"#,
    printcolumn = r#"{"name":"Enabled","type":"boolean","jsonPath":".spec.enabled"}"#,
    printcolumn = r#"{"name":"Schedule","type":"string","jsonPath":".spec.schedule"}"#,
    printcolumn = r#"{"name":"Suspended","type":"boolean","jsonPath":".spec.suspend"}"#,
    printcolumn = r#"{"name":"Last Maintenance","type":"date","jsonPath":".status.lastMaintenanceTime"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct KopiaMaintenanceSpec {
    /// The repository.
    pub repository: MaintainedRepository,
    /// When to run; a schedule or a manual tag, not both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// Deprecated schedule; `trigger.schedule` wins.
    #[serde(default = "default_schedule")]
    #[schemars(regex(pattern = SCHEDULE_PATTERN))]
    pub schedule: String,
    /// Whether maintenance runs at all.
    #[serde(default = "default_enabled")]
    pub enabled: bool,
    /// Suspends the CronJob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// Successful Jobs that are kept.
    #[serde(default = "default_successful_jobs")]
    #[schemars(range(min = 0))]
    pub successful_jobs_history_limit: i32,
    /// Failed Jobs that are kept.
    #[serde(default = "default_failed_jobs")]
    #[schemars(range(min = 0))]
    pub failed_jobs_history_limit: i32,
    /// Longest run of a Job.
    #[serde(default = "default_deadline")]
    #[schemars(range(min = 600))]
    pub active_deadline_seconds: i64,
    /// Resources of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Account of scheduled Jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Security context of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_security_context: Option<PodSecurityContext>,
    /// Security context of the container in scheduled Jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_security_context: Option<SecurityContext>,
    /// Labels added to the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mover_pod_labels: Option<BTreeMap<String, String>>,
    /// Node selector of scheduled Jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Tolerations of scheduled Jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerations: Option<Vec<Toleration>>,
    /// Affinity of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// An existing claim for the cache; wins over the other cache fields.
    #[serde(default, rename = "cachePVC", skip_serializing_if = "Option::is_none")]
    pub cache_pvc: Option<String>,
    /// Extra volumes, mounted below `/mnt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mover_volumes: Option<Vec<MoverVolume>>,
    /// The cache.
    #[serde(flatten)]
    pub cache: CacheOptions,
}

/// The repository that is maintained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MaintainedRepository {
    /// Name of the repository Secret, in the namespace of the KopiaMaintenance.
    #[schemars(length(min = 1))]
    pub repository: String,
    /// Certificate authority of the repository's server.
    #[serde(default, rename = "customCA", skip_serializing_if = "Option::is_none")]
    pub custom_ca: Option<CustomCa>,
    /// Informational.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository_type: Option<String>,
}

/// What became of a KopiaMaintenance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KopiaMaintenanceStatus {
    /// The generation that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Name of the CronJob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_cron_job: Option<String>,
    /// When it was last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reconcile_time: Option<Time>,
    /// End of the last successful run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_maintenance_time: Option<Time>,
    /// When the next run begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_scheduled_maintenance: Option<Time>,
    /// Failed runs in a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_failures: Option<i32>,
    /// The manual tag that was last served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_manual_sync: Option<String>,
    /// The owner that the repository named when a run found another one (ours; safe profile).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository_owner: Option<String>,
    /// Conditions: `Ready`, `Progressing`, `MaintenanceHealthy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,
}

fn default_schedule() -> String {
    "0 2 * * *".into()
}
fn default_enabled() -> bool {
    true
}
fn default_successful_jobs() -> i32 {
    3
}
fn default_failed_jobs() -> i32 {
    1
}
fn default_deadline() -> i64 {
    10_800
}
