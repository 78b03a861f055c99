//! The mover's Job: pod, volumes, environment.
//!
//! A function of what was observed. Order and names are the original's: admission policies append to the
//! lists and match the names. Source: sections 3.5, 3.6 and 6.3 of the behaviour specification.
use std::collections::BTreeMap;

use api::crd::MoverVolume;
use api::names as keys;
use contract::environment::{self as env, Environment, Value};
use contract::pod as paths;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, EnvVar, EnvVarSource, KeyToPath,
    PersistentVolumeClaimVolumeSource, PodSpec, PodTemplateSpec, SecretKeySelector, SecretVolumeSource,
    SecurityContext, Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::names;
use crate::observed::Observed;
use crate::obstacle::Obstacle;
use crate::plan::volume::{Cache, Data};
use crate::subject::{Role, Subject};
use crate::text::bytes;

/// How many pods a Job may lose before it fails for good.
pub const BACKOFF_LIMIT: i32 = 8;
/// Share of the cache that metadata and content may take, percent.
const CACHE_SHARES: (i64, i64) = (70, 20);
/// File-based credentials: key of the Secret, file below the mount, mode.
const CREDENTIAL_FILES: [(&str, &str, i32); 3] = [
    (env::GOOGLE_APPLICATION_CREDENTIALS, "gcs.json", 0o400),
    (env::GOOGLE_DRIVE_CREDENTIALS, "gdrive.json", 0o400),
    (env::SFTP_KEY_FILE, "sftp_key", 0o600),
];

/// What the rest of the plan has settled.
pub struct Parts<'a> {
    /// The data volume.
    pub data: &'a Data,
    /// The cache volume.
    pub cache: &'a Cache,
    /// The account's name.
    pub account: &'a str,
    /// The repository Secret's name.
    pub repository: &'a str,
}

/// Builds the mover's Job.
pub fn job(observed: &Observed, parts: &Parts<'_>) -> Result<Job, Obstacle> {
    let subject = &observed.subject;
    let name = names::job(subject.role(), subject.name());
    let mover = subject.mover();
    let (volumes, mounts) = volumes(observed, parts);
    let (node_selector, tolerations) = placement(observed)?;
    let mut pod_labels = mover.mover_pod_labels.clone().unwrap_or_default();
    pod_labels.extend(subject.labels(false));
    let annotations = (!observed.is_original()).then(|| {
        let generation = subject.metadata().generation.unwrap_or_default();
        BTreeMap::from([(keys::GENERATION.to_owned(), generation.to_string())])
    });
    let argument = match subject.role() {
        Role::Source => paths::ARGUMENT_BACKUP,
        Role::Destination => paths::ARGUMENT_RESTORE,
    };
    let container = Container {
        name: paths::CONTAINER.into(),
        image: Some(observed.setting.image.clone()),
        command: Some(vec![paths::COMMAND.into()]),
        args: Some(vec![argument.into()]),
        env: Some(variables(observed, parts)),
        resources: Some(mover.mover_resources.clone().unwrap_or_default()),
        security_context: Some(security_context(observed.is_privileged)),
        volume_mounts: Some(mounts),
        ..Container::default()
    };
    Ok(Job {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(subject.namespace().into()),
            labels: Some(subject.labels(true)),
            annotations,
            owner_references: Some(vec![subject.owner()]),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            backoff_limit: Some(observed.setting.job_backoff_limit.unwrap_or(BACKOFF_LIMIT)),
            parallelism: Some(1),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    name: Some(name),
                    labels: Some(pod_labels),
                    ..ObjectMeta::default()
                }),
                spec: Some(PodSpec {
                    affinity: mover.mover_affinity.clone(),
                    containers: vec![container],
                    node_selector,
                    restart_policy: Some("Never".into()),
                    security_context: Some(mover.mover_security_context.clone().unwrap_or_default()),
                    service_account_name: Some(parts.account.to_owned()),
                    tolerations,
                    volumes: Some(volumes),
                    ..PodSpec::default()
                }),
            },
            ..JobSpec::default()
        }),
        status: None,
    })
}

/// The container's security context; privileged namespaces add three capabilities and root.
pub fn security_context(privileged: bool) -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            add: privileged.then(|| vec!["DAC_OVERRIDE".into(), "CHOWN".into(), "FOWNER".into()]),
            drop: Some(vec!["ALL".into()]),
        }),
        privileged: Some(false),
        read_only_root_filesystem: Some(true),
        run_as_user: privileged.then_some(0),
        ..SecurityContext::default()
    }
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.into(), mount_path: path.into(), ..VolumeMount::default() }
}

fn read_only(name: &str, path: &str) -> VolumeMount {
    VolumeMount { read_only: Some(true), ..mount(name, path) }
}

/// An empty directory in a pod.
pub fn empty_directory(name: &str, size_limit: Option<Quantity>, medium: Option<&str>) -> Volume {
    Volume {
        name: name.into(),
        empty_dir: Some(EmptyDirVolumeSource { size_limit, medium: medium.map(Into::into) }),
        ..Volume::default()
    }
}

/// A claim in a pod.
pub fn claim_volume(name: &str, claim: &str, read_only: bool) -> Volume {
    Volume {
        name: name.into(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim.into(),
            read_only: read_only.then_some(true),
        }),
        ..Volume::default()
    }
}

/// The extra volumes of a mover and where they are mounted.
pub fn mover_volumes(volumes: &[MoverVolume]) -> Vec<(Volume, VolumeMount)> {
    volumes
        .iter()
        .map(|extra| {
            let name = format!("{}{}", paths::VOLUME_MOVER_PREFIX, extra.mount_path);
            let source = extra.volume_source.clone();
            let volume = Volume {
                name: name.clone(),
                secret: source.secret,
                nfs: source.nfs,
                persistent_volume_claim: source.persistent_volume_claim,
                ..Volume::default()
            };
            (volume, mount(&name, &format!("{}/{}", paths::MOVER_VOLUMES, extra.mount_path)))
        })
        .collect()
}

fn volumes(observed: &Observed, parts: &Parts<'_>) -> (Vec<Volume>, Vec<VolumeMount>) {
    let subject = &observed.subject;
    let role = subject.role();
    let data_path = match role {
        Role::Source => paths::DATA_BACKUP,
        Role::Destination => paths::DATA_RESTORE,
    };
    let mut all = vec![
        (
            claim_volume(paths::VOLUME_DATA, &parts.data.claim, parts.data.read_only),
            mount(paths::VOLUME_DATA, data_path),
        ),
        (empty_directory(paths::VOLUME_TMP, None, Some("Memory")), mount(paths::VOLUME_TMP, paths::TMP)),
    ];
    if role == Role::Destination {
        all.push((
            empty_directory(paths::VOLUME_RESTORE, None, None),
            mount(paths::VOLUME_RESTORE, paths::RESTORE),
        ));
    }
    let cache = match parts.cache {
        Cache::Directory(limit) => empty_directory(paths::VOLUME_CACHE, Some(limit.clone()), None),
        Cache::Claim(name) => claim_volume(paths::VOLUME_CACHE, name, false),
    };
    all.push((cache, mount(paths::VOLUME_CACHE, paths::CACHE)));
    if let Some(custom_ca) = subject.custom_ca() {
        let secret = custom_ca.secret_name.filter(|name| !name.is_empty());
        let items = Some(vec![KeyToPath {
            key: custom_ca.key.unwrap_or_default(),
            path: paths::CUSTOM_CA_FILE.into(),
            mode: None,
        }]);
        let volume = held(paths::VOLUME_CUSTOM_CA, secret, custom_ca.config_map_name, items, None);
        all.push((volume, mount(paths::VOLUME_CUSTOM_CA, paths::CUSTOM_CA)));
    }
    if let Some(config) = subject.policy_config() {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let (secret, config_map) = (given(config.secret_name), given(config.config_map_name));
        if secret.is_some() || config_map.is_some() {
            let volume = held(paths::VOLUME_POLICY, secret, config_map, None, Some(0o644));
            all.push((volume, read_only(paths::VOLUME_POLICY, paths::POLICY)));
        }
    }
    let items = credential_items(observed);
    if !items.is_empty() {
        let volume = held(
            paths::VOLUME_CREDENTIALS,
            Some(parts.repository.to_owned()),
            None,
            Some(items),
            Some(0o400),
        );
        all.push((volume, read_only(paths::VOLUME_CREDENTIALS, paths::CREDENTIALS)));
    }
    all.extend(mover_volumes(&subject.mover().mover_volumes.unwrap_or_default()));
    all.into_iter().unzip()
}

/// A volume of a Secret or, failing that, of a ConfigMap.
fn held(
    name: &str,
    secret: Option<String>,
    config_map: Option<String>,
    items: Option<Vec<KeyToPath>>,
    default_mode: Option<i32>,
) -> Volume {
    match secret {
        Some(secret) => Volume {
            name: name.into(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(secret),
                items,
                default_mode,
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        },
        None => Volume {
            name: name.into(),
            config_map: Some(ConfigMapVolumeSource {
                name: config_map.unwrap_or_default(),
                items,
                default_mode,
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
    }
}

fn has_key(observed: &Observed, key: &str) -> bool {
    observed.secret_keys.as_ref().is_some_and(|keys| keys.contains(key))
}

fn credential_items(observed: &Observed) -> Vec<KeyToPath> {
    CREDENTIAL_FILES
        .iter()
        .filter(|(key, _, _)| has_key(observed, key))
        .map(|(key, path, mode)| KeyToPath { key: (*key).into(), path: (*path).into(), mode: Some(*mode) })
        .collect()
}

/// Limits of the metadata and content cache in MiB: given, derived from the capacity, or none.
pub fn cache_limits(subject: &Subject) -> (Option<i32>, Option<i32>) {
    let options = subject.cache();
    let capacity_mib = options.cache_capacity.as_ref().and_then(bytes).map(|bytes| bytes / (1 << 20));
    let derived = |share: i64| capacity_mib.map(|mib| i32::try_from(mib * share / 100).unwrap_or(i32::MAX));
    (
        options.metadata_cache_size_limit_mb.or_else(|| derived(CACHE_SHARES.0)),
        options.content_cache_size_limit_mb.or_else(|| derived(CACHE_SHARES.1)),
    )
}

/// The mover's environment, in the original's order.
fn variables(observed: &Observed, parts: &Parts<'_>) -> Vec<EnvVar> {
    let subject = &observed.subject;
    let mover = subject.mover();
    let volumes = mover.mover_volumes.unwrap_or_default();
    let repository_volume = volumes
        .iter()
        .find(|volume| volume.volume_source.persistent_volume_claim.is_some())
        .map(|volume| volume.mount_path.as_str());
    let data_directory = match subject.role() {
        Role::Source => paths::DATA_BACKUP,
        Role::Destination => paths::DATA_RESTORE,
    };
    let identity = subject.identity(observed.found.as_ref());
    let mut table = Environment::new().with_repository(data_directory, parts.repository, repository_volume);
    table = match subject {
        Subject::Source(_) => source_variables(observed, table),
        Subject::Destination(_) => destination_variables(observed, table, identity.path_override.as_ref()),
    };
    let (metadata_mib, content_mib) = cache_limits(subject);
    let configured = subject.configured_limits();
    let is_configured = configured == (metadata_mib, content_mib) && configured != (None, None);
    let capacity = subject.cache().cache_capacity.as_ref().and_then(bytes);
    table = table
        .flag(env::KOPIA_SKIP_CACHE_CONFIG, is_configured && observed.is_original())
        .optional(env::KOPIA_METADATA_CACHE_SIZE_LIMIT_MB, metadata_mib.filter(|limit| *limit > 0))
        .optional(env::KOPIA_CONTENT_CACHE_SIZE_LIMIT_MB, content_mib.filter(|limit| *limit > 0))
        .literal(env::KOPIA_CACHE_CAPACITY_BYTES, capacity.unwrap_or(8 << 30));
    for name in env::PROXY {
        table = table.optional(name, observed.setting.proxies.get(name));
    }
    table = table
        .literal(env::KOPIA_OVERRIDE_USERNAME, &identity.username)
        .literal(env::KOPIA_OVERRIDE_HOSTNAME, &identity.hostname)
        .flag(env::KOPIA_DISCOVER_SNAPSHOTS, subject.role() == Role::Destination)
        .optional(env::DEBUG_MOVER, subject.annotation(keys::ENABLE_DEBUG_MOVER).map(|_| "1"));
    table = late_variables(observed, table, parts.repository);
    table.into_variables().into_iter().map(variable).collect()
}

fn source_variables(observed: &Observed, table: Environment) -> Environment {
    let Subject::Source(source) = &observed.subject else { return table };
    let Some(kopia) = &source.spec.kopia else { return table };
    let retain = kopia.retain.unwrap_or_default();
    let actions = kopia.actions.clone().unwrap_or_default();
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let table = table
        .optional(env::KOPIA_COMPRESSION, given(&kopia.compression))
        .optional(env::KOPIA_PARALLELISM, kopia.parallelism)
        .optional(env::KOPIA_SOURCE_PATH_OVERRIDE, given(&kopia.source_path_override))
        .optional(env::KOPIA_RETAIN_HOURLY, retain.hourly)
        .optional(env::KOPIA_RETAIN_DAILY, retain.daily)
        .optional(env::KOPIA_RETAIN_WEEKLY, retain.weekly)
        .optional(env::KOPIA_RETAIN_MONTHLY, retain.monthly)
        .optional(env::KOPIA_RETAIN_YEARLY, retain.yearly)
        .optional(env::KOPIA_RETAIN_LATEST, retain.latest)
        .optional(env::KOPIA_BEFORE_SNAPSHOT, given(&actions.before_snapshot))
        .optional(env::KOPIA_AFTER_SNAPSHOT, given(&actions.after_snapshot));
    additional(observed, table, kopia.additional_args.as_deref())
}

fn destination_variables(observed: &Observed, table: Environment, path: Option<&String>) -> Environment {
    let Subject::Destination(destination) = &observed.subject else { return table };
    let Some(kopia) = &destination.spec.kopia else { return table };
    let table = table
        .optional(env::KOPIA_RESTORE_AS_OF, kopia.restore_as_of.clone())
        .optional(env::KOPIA_SHALLOW, kopia.shallow)
        .optional(env::KOPIA_PREVIOUS, kopia.previous)
        .optional(env::KOPIA_SOURCE_PATH_OVERRIDE, path)
        .flag(env::KOPIA_ENABLE_FILE_DELETION, kopia.enable_file_deletion.unwrap_or_default());
    additional(observed, table, kopia.additional_args.as_deref())
}

fn additional(observed: &Observed, table: Environment, args: Option<&[String]>) -> Environment {
    let args = args.unwrap_or_default();
    if observed.is_original() && !args.is_empty() {
        return table.literal(env::KOPIA_ADDITIONAL_ARGS, args.join(env::ARGUMENT_SEPARATOR));
    }
    table.additional_args(args)
}

/// Certificate authority, policy files, credential files, and what only this reference knows.
fn late_variables(observed: &Observed, mut table: Environment, repository: &str) -> Environment {
    let subject = &observed.subject;
    if subject.custom_ca().is_some() {
        table = table.literal(env::CUSTOM_CA, format!("{}/{}", paths::CUSTOM_CA, paths::CUSTOM_CA_FILE));
    }
    if let Some(config) = subject.policy_config() {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        table = table.optional(env::KOPIA_STRUCTURED_REPOSITORY_CONFIG, given(&config.repository_config));
        if given(&config.secret_name).is_some() || given(&config.config_map_name).is_some() {
            let file =
                |text: &Option<String>, default: &str| given(text).unwrap_or_else(|| default.to_owned());
            table = table
                .literal(env::KOPIA_CONFIG_PATH, paths::POLICY)
                .literal(
                    env::KOPIA_GLOBAL_POLICY_FILE,
                    file(&config.global_policy_filename, "global-policy.json"),
                )
                .literal(
                    env::KOPIA_REPOSITORY_CONFIG_FILE,
                    file(&config.repository_config_filename, "repository.config"),
                );
        }
    }
    for (key, path, _) in CREDENTIAL_FILES {
        if has_key(observed, key) {
            table = table.literal(key, format!("{}/{path}", paths::CREDENTIALS));
        }
    }
    table = table.literal(env::PRIVILEGED_MOVER, u8::from(observed.is_privileged));
    if observed.is_original() {
        return table.literal(env::safe::MOVER_PROFILE, observed.setting.profile.as_str());
    }
    let known = crate::plan::known::repository(observed);
    table = match subject {
        Subject::Source(_) => table.optional(env::safe::KOPIA_SYNC, sync(subject)),
        Subject::Destination(_) => {
            table.optional(env::safe::KOPIA_FIRST_DEPLOYMENT, subject.annotation(keys::FIRST_DEPLOYMENT))
        }
    };
    if has_key(observed, env::safe::S3_RETRY_SECONDS) {
        table = table.secret(env::safe::S3_RETRY_SECONDS, repository, true);
    }
    table
        .optional(env::safe::KOPIA_EXPECTED_UNIQUE_ID, known)
        .flag(env::safe::KOPIA_BACKUP_KNOWN, crate::plan::known::has_backup(observed))
}

/// Names the running sync; two sources that share an identity and begin in the same second stay apart.
fn sync(subject: &Subject) -> Option<String> {
    let uid = subject.metadata().uid.as_deref()?;
    Some(format!("{uid}/{}", subject.sync().last_sync_start_time?.0))
}

/// A variable in the form of a pod.
pub fn variable(variable: env::Variable) -> EnvVar {
    match variable.value {
        Value::Literal(value) => EnvVar { name: variable.name, value: Some(value), value_from: None },
        Value::SecretKey { secret, key, is_optional } => EnvVar {
            name: variable.name,
            value: None,
            value_from: Some(EnvVarSource {
                secret_key_ref: Some(SecretKeySelector { name: secret, key, optional: Some(is_optional) }),
                ..EnvVarSource::default()
            }),
        },
    }
}

/// Node selector and tolerations that bring a mover to a claim in use.
type Placement = (Option<BTreeMap<String, String>>, Option<Vec<Toleration>>);

fn placement(observed: &Observed) -> Result<Placement, Obstacle> {
    const HOSTNAME: &str = "kubernetes.io/hostname";
    let Some((pod, node_labels)) = &observed.consumer else { return Ok((None, None)) };
    let spec = pod.spec.clone().unwrap_or_default();
    let node = spec.node_name.unwrap_or_default();
    match node_labels {
        Some(labels) => {
            let Some(hostname) = labels.get(HOSTNAME) else { return Err(Obstacle::HostnameLabel { node }) };
            Ok((Some(BTreeMap::from([(HOSTNAME.to_owned(), hostname.clone())])), spec.tolerations))
        }
        None if observed.is_original() => Err(Obstacle::not_found("Node", node)),
        // A consumer that no node has taken yet does not tell where to go.
        None => Ok((None, None)),
    }
}
