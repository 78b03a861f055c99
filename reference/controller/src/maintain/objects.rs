//! The CronJob and the manual Job of a KopiaMaintenance.
//!
//! Functions of what was observed. The two pods differ where the original's do (no `/tmp` and fewer settings
//! in a manual Job). Source: sections 5.2, 5.3 and 5.5 of the behaviour specification.
use std::collections::BTreeMap;

use api::crd::CacheOptions;
use api::{KopiaMaintenance, names as keys};
use contract::environment as env;
use contract::pod as paths;
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, Job, JobSpec, JobTemplateSpec};
use k8s_openapi::api::core::v1::{
    Container, EnvFromSource, EnvVar, PersistentVolumeClaim, PersistentVolumeClaimSpec, PodSecurityContext,
    PodSpec, PodTemplateSpec, SecretEnvSource, SecurityContext, Volume, VolumeMount,
    VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;

use crate::maintain::Observed;
use crate::maintain::validate::schedule_text;
use crate::names;
use crate::plan::pod::{claim_volume, empty_directory, mover_volumes, security_context};

/// Failures after which a CronJob is suspended.
pub const FAILURES_MAX: i32 = 5;
/// How many pods a Job may lose.
const BACKOFF_LIMIT: i32 = 5;
/// How long a finished manual Job stays, seconds.
const MANUAL_TTL: i32 = 3600;

/// The reference that makes created objects a KopiaMaintenance's own.
pub fn owner(maintenance: &KopiaMaintenance) -> OwnerReference {
    OwnerReference {
        api_version: keys::API_VERSION.into(),
        block_owner_deletion: Some(true),
        controller: Some(true),
        kind: "KopiaMaintenance".into(),
        name: maintenance.name_any(),
        uid: maintenance.uid().unwrap_or_default(),
    }
}

fn labels(name: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (keys::KOPIA_MAINTENANCE.to_owned(), "true".to_owned()),
        (keys::MAINTENANCE_NAME.to_owned(), names::label_value(name)),
    ])
}

fn metadata(maintenance: &KopiaMaintenance, name: String, labels: BTreeMap<String, String>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: maintenance.namespace(),
        labels: Some(labels),
        owner_references: Some(vec![owner(maintenance)]),
        ..ObjectMeta::default()
    }
}

/// Builds the CronJob.
pub fn cron_job(observed: &Observed, failures: i32) -> CronJob {
    let maintenance = &observed.maintenance;
    let spec = &maintenance.spec;
    let name = maintenance.name_any();
    let mut all = labels(&name);
    for (key, value) in [("name", "volsync"), ("component", "kopia-maintenance"), ("managed-by", "volsync")] {
        all.insert(format!("app.kubernetes.io/{key}"), value.to_owned());
    }
    let mut pod_labels = spec.mover_pod_labels.clone().unwrap_or_default();
    pod_labels.extend(labels(&name));
    let (mut volumes, mut mounts) =
        (vec![empty_directory(paths::VOLUME_MAINTENANCE_TMP, None, None)], vec![mount("tmp", paths::TMP)]);
    with_volumes(observed, &mut volumes, &mut mounts);
    let context = spec
        .container_security_context
        .clone()
        .unwrap_or_else(|| SecurityContext { run_as_non_root: Some(true), ..security_context(false) });
    let pod = PodSpec {
        affinity: spec.affinity.clone(),
        containers: vec![container(observed, mounts, context)],
        node_selector: spec.node_selector.clone(),
        restart_policy: Some("OnFailure".into()),
        security_context: Some(pod_security_context(maintenance)),
        service_account_name: Some(spec.service_account_name.clone().unwrap_or_else(|| "default".into())),
        tolerations: spec.tolerations.clone(),
        volumes: Some(volumes),
        ..PodSpec::default()
    };
    CronJob {
        metadata: metadata(maintenance, cron_job_name(maintenance), all),
        spec: Some(CronJobSpec {
            concurrency_policy: Some("Forbid".into()),
            failed_jobs_history_limit: Some(spec.failed_jobs_history_limit),
            job_template: JobTemplateSpec {
                metadata: None,
                spec: Some(JobSpec {
                    active_deadline_seconds: Some(spec.active_deadline_seconds),
                    backoff_limit: Some(observed.job_backoff_limit.unwrap_or(BACKOFF_LIMIT)),
                    template: PodTemplateSpec {
                        metadata: Some(ObjectMeta { labels: Some(pod_labels), ..ObjectMeta::default() }),
                        spec: Some(pod),
                    },
                    ..JobSpec::default()
                }),
            },
            schedule: schedule_text(spec).to_owned(),
            successful_jobs_history_limit: Some(spec.successful_jobs_history_limit),
            suspend: Some(spec.suspend.unwrap_or_default() || failures >= FAILURES_MAX),
            ..CronJobSpec::default()
        }),
        status: None,
    }
}

/// Builds the Job of a manual tag.
pub fn manual_job(observed: &Observed, tag: &str) -> Job {
    let maintenance = &observed.maintenance;
    let spec = &maintenance.spec;
    let name = maintenance.name_any();
    let mut all = labels(&name);
    all.insert(keys::MAINTENANCE_TYPE.into(), "manual".into());
    let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
    if !observed.is_original {
        // The root file system cannot be written; a mover without scratch space is the original's slip.
        volumes.push(empty_directory(paths::VOLUME_MAINTENANCE_TMP, None, None));
        mounts.push(mount("tmp", paths::TMP));
    }
    with_volumes(observed, &mut volumes, &mut mounts);
    let context =
        SecurityContext { run_as_non_root: Some(true), run_as_user: Some(1000), ..security_context(false) };
    let keep = |wanted: bool| (!observed.is_original && wanted).then_some(());
    let job_name = names::maintenance_job(&maintenance.namespace().unwrap_or_default(), &name, tag);
    Job {
        metadata: metadata(maintenance, job_name, all),
        spec: Some(JobSpec {
            active_deadline_seconds: Some(spec.active_deadline_seconds),
            backoff_limit: Some(observed.job_backoff_limit.unwrap_or(BACKOFF_LIMIT)),
            completions: Some(1),
            parallelism: Some(1),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: spec.mover_pod_labels.clone(), ..ObjectMeta::default() }),
                spec: Some(PodSpec {
                    affinity: spec.affinity.clone(),
                    containers: vec![container(observed, mounts, context)],
                    node_selector: keep(true).and(spec.node_selector.clone()),
                    restart_policy: Some("Never".into()),
                    security_context: Some(pod_security_context(maintenance)),
                    service_account_name: keep(true).and(spec.service_account_name.clone()),
                    tolerations: keep(true).and(spec.tolerations.clone()),
                    volumes: Some(volumes),
                    ..PodSpec::default()
                }),
            },
            ttl_seconds_after_finished: Some(MANUAL_TTL),
            ..JobSpec::default()
        }),
        status: None,
    }
}

/// Names the CronJob.
pub fn cron_job_name(maintenance: &KopiaMaintenance) -> String {
    names::maintenance_cron_job(&maintenance.namespace().unwrap_or_default(), &maintenance.name_any())
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.into(), mount_path: path.into(), ..VolumeMount::default() }
}

fn pod_security_context(maintenance: &KopiaMaintenance) -> PodSecurityContext {
    maintenance.spec.pod_security_context.clone().unwrap_or_else(|| PodSecurityContext {
        fs_group: Some(1000),
        run_as_non_root: Some(true),
        run_as_user: Some(1000),
        ..PodSecurityContext::default()
    })
}

/// Tells whether the cache is a claim, and which.
pub fn cache_claim(maintenance: &KopiaMaintenance) -> Option<String> {
    let spec = &maintenance.spec;
    if let Some(given) = spec.cache_pvc.clone().filter(|name| !name.is_empty()) {
        return Some(given);
    }
    wants_own_cache(&spec.cache).then(|| names::maintenance_cache(&maintenance.name_any()))
}

fn wants_own_cache(cache: &CacheOptions) -> bool {
    cache.cache_storage_class_name.as_ref().is_some_and(|class| !class.is_empty())
        || cache.cache_access_modes.as_ref().is_some_and(|modes| !modes.is_empty())
}

/// Builds the cache claim, where the manifest asks for one of its own.
pub fn own_cache(maintenance: &KopiaMaintenance) -> Option<PersistentVolumeClaim> {
    let spec = &maintenance.spec;
    let is_given = spec.cache_pvc.as_ref().is_some_and(|name| !name.is_empty());
    if is_given || !wants_own_cache(&spec.cache) {
        return None;
    }
    let name = maintenance.name_any();
    let size = spec.cache.cache_capacity.clone().unwrap_or_else(|| Quantity("1Gi".into()));
    Some(PersistentVolumeClaim {
        metadata: metadata(maintenance, names::maintenance_cache(&name), labels(&name)),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(
                spec.cache.cache_access_modes.clone().unwrap_or_else(|| vec!["ReadWriteOnce".into()]),
            ),
            resources: Some(VolumeResourceRequirements {
                limits: None,
                requests: Some(BTreeMap::from([("storage".to_owned(), size)])),
            }),
            storage_class_name: spec.cache.cache_storage_class_name.clone(),
            volume_mode: Some("Filesystem".into()),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    })
}

fn with_volumes(observed: &Observed, volumes: &mut Vec<Volume>, mounts: &mut Vec<VolumeMount>) {
    let spec = &observed.maintenance.spec;
    let cache = if let Some(claim) = cache_claim(&observed.maintenance) {
        claim_volume(paths::VOLUME_MAINTENANCE_CACHE, &claim, false)
    } else {
        let limit = spec.cache.cache_capacity.clone().unwrap_or_else(|| Quantity("8Gi".into()));
        empty_directory(paths::VOLUME_MAINTENANCE_CACHE, Some(limit), None)
    };
    volumes.push(cache);
    mounts.push(mount(paths::VOLUME_MAINTENANCE_CACHE, paths::CACHE));
    for (volume, mount) in mover_volumes(spec.mover_volumes.as_deref().unwrap_or_default()) {
        volumes.push(volume);
        mounts.push(mount);
    }
}

fn container(observed: &Observed, mounts: Vec<VolumeMount>, context: SecurityContext) -> Container {
    let spec = &observed.maintenance.spec;
    let literal =
        |name: &str, value: &str| EnvVar { name: name.into(), value: Some(value.into()), value_from: None };
    let mut variables = vec![
        literal(env::DIRECTION, paths::DIRECTION_MAINTENANCE),
        literal(env::DATA_DIR, paths::DATA_BACKUP),
        literal(env::KOPIA_CACHE_DIR, paths::CACHE),
    ];
    let capacity_mib =
        spec.cache.cache_capacity.as_ref().and_then(crate::text::bytes).map(|bytes| bytes / (1 << 20));
    let limits = [
        (env::KOPIA_METADATA_CACHE_SIZE_LIMIT_MB, spec.cache.metadata_cache_size_limit_mb, 70),
        (env::KOPIA_CONTENT_CACHE_SIZE_LIMIT_MB, spec.cache.content_cache_size_limit_mb, 20),
    ];
    for (name, given, share) in limits {
        let limit = given.map(i64::from).or_else(|| capacity_mib.map(|mib| mib * share / 100));
        if let Some(limit) = limit.filter(|limit| *limit > 0) {
            variables.push(literal(name, &limit.to_string()));
        }
    }
    if observed.is_original {
        variables.push(literal(env::safe::MOVER_PROFILE, contract::Profile::Original.as_str()));
    } else {
        if let Some(id) = &observed.known_repository {
            variables.push(literal(env::safe::KOPIA_EXPECTED_UNIQUE_ID, id));
        }
        if let Some(from) =
            observed.maintenance.annotations().get(keys::TAKE_OWNERSHIP).filter(|from| !from.is_empty())
        {
            variables.push(literal(env::safe::KOPIA_MAINTENANCE_TAKEOVER_FROM, from));
        }
    }
    Container {
        name: paths::CONTAINER_MAINTENANCE.into(),
        image: Some(observed.image.clone()),
        image_pull_policy: Some("IfNotPresent".into()),
        command: Some(vec![paths::COMMAND.into()]),
        env: Some(variables),
        env_from: Some(vec![EnvFromSource {
            secret_ref: Some(SecretEnvSource { name: spec.repository.repository.clone(), optional: None }),
            ..EnvFromSource::default()
        }]),
        resources: Some(spec.resources.clone().unwrap_or_default()),
        security_context: Some(context),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}
