//! KopiaMaintenance: a CronJob for a schedule, a Job for a manual tag, and honest conditions about both.
//!
//! The safe profile adds three reports: a second KopiaMaintenance for one repository is refused with the
//! name of the first; a repository whose maintenance belongs to somebody else is named, and taken over only
//! by the annotation `firedrill.dev/take-ownership: <owner>`; a missed window is told. Source: section 5 of
//! the behaviour specification. Read next: [`plan`].
pub mod objects;
pub mod plan;
pub mod validate;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::{KopiaMaintenance, ReplicationSource, names as keys};
use k8s_openapi::ByteString;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use kube::runtime::controller::Action;

use crate::event::Recorder;
use crate::execute::{Error, Hands};
use crate::names;
use crate::plan::{prerequisite, run};
use crate::reconcile::Context;
use crate::subject::Subject;

/// How many rounds one reconcile may take.
const ROUNDS_MAX: usize = 4;

/// What was seen.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The object itself.
    pub maintenance: KopiaMaintenance,
    /// Whether the original's policy is in force.
    pub is_original: bool,
    /// Image of mover containers.
    pub image: String,
    /// How often the pod of a Job is tried again, instead of the original's number.
    pub job_backoff_limit: Option<i32>,
    /// Its CronJob.
    pub cron_job: Option<CronJob>,
    /// Its Jobs, scheduled and manual, oldest first.
    pub jobs: Vec<Job>,
    /// Pods of its Jobs since the last that completed, oldest first (safe profile).
    pub pods: Vec<Pod>,
    /// Whether the repository Secret exists.
    pub has_secret: bool,
    /// Whether the cache claim exists.
    pub has_cache_claim: bool,
    /// Objects that extra volumes name and that are missing.
    pub missing: BTreeSet<(&'static str, String)>,
    /// An older KopiaMaintenance of the same repository: `namespace/name` (safe profile).
    pub rival: Option<String>,
    /// Unique id of the repository, as backups through the same Secret know it (safe profile).
    pub known_repository: Option<String>,
}

/// Reconciles a KopiaMaintenance.
pub async fn reconcile(known: Arc<KopiaMaintenance>, context: Arc<Context>) -> Result<Action, Error> {
    let (namespace, name) = (known.namespace().unwrap_or_default(), known.name_any());
    let key = format!("KopiaMaintenance/{namespace}/{name}");
    for _ in 0..ROUNDS_MAX {
        let Some(observed) = observe(&context, &namespace, &name).await.map_err(Error::Cluster)? else {
            context.succeeded(&key);
            return Ok(Action::await_change());
        };
        let about = Recorder::reference(&observed.maintenance);
        let now = context.now();
        let hands = Hands {
            client: &context.client,
            namespace: &namespace,
            about: &about,
            name: &name,
            resource_version: observed.maintenance.resource_version(),
            recorder: &context.maintenance_recorder,
            metrics: &context.metrics,
            measured: None,
            known_status: observed
                .maintenance
                .status
                .as_ref()
                .and_then(|status| serde_json::to_value(status).ok()),
            now,
        };
        let next = hands.carry_out(plan::plan(&observed, now)).await?;
        let failures = observed.maintenance.status.as_ref().and_then(|status| status.maintenance_failures);
        context.metrics.maintenance(
            "firedrill_maintenance_failures",
            &namespace,
            &name,
            f64::from(failures.unwrap_or_default()),
        );
        let is_foreign = plan::foreign_owner(&observed.pods).is_some();
        context.metrics.maintenance(
            "firedrill_maintenance_owner_foreign",
            &namespace,
            &name,
            f64::from(is_foreign),
        );
        if !next.again {
            context.succeeded(&key);
            return Ok(next.after.map_or_else(Action::await_change, Action::requeue));
        }
    }
    Ok(Action::requeue(std::time::Duration::from_secs(1)))
}

async fn observe(context: &Context, namespace: &str, name: &str) -> Result<Option<Observed>, kube::Error> {
    let client = context.client.clone();
    let maintenances: Api<KopiaMaintenance> = Api::namespaced(client.clone(), namespace);
    let Some(maintenance) = maintenances.get_opt(name).await? else { return Ok(None) };
    let is_original = context.setting.profile.is_original();
    let mut observed = Observed {
        is_original,
        image: context.setting.image.clone(),
        job_backoff_limit: context.setting.job_backoff_limit,
        cron_job: Api::<CronJob>::namespaced(client.clone(), namespace)
            .get_opt(&names::maintenance_cron_job(namespace, name))
            .await?,
        jobs: Vec::new(),
        pods: Vec::new(),
        has_secret: false,
        has_cache_claim: true,
        missing: BTreeSet::new(),
        rival: None,
        known_repository: None,
        maintenance,
    };
    let marked =
        ListParams::default().labels(&format!("{}={}", keys::MAINTENANCE_NAME, names::label_value(name)));
    observed.jobs =
        oldest_first(Api::<Job>::namespaced(client.clone(), namespace).list(&marked).await?.items);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let secret_name = observed.maintenance.spec.repository.repository.clone();
    let secret = if secret_name.is_empty() { None } else { secrets.get_opt(&secret_name).await? };
    observed.has_secret = secret.is_some();
    if let Some(claim) = objects::own_cache(&observed.maintenance) {
        observed.has_cache_claim = claims.get_opt(&claim.name_any()).await?.is_some();
    }
    for extra in observed.maintenance.spec.mover_volumes.iter().flatten() {
        if let Some((kind, needed)) = prerequisite::needed(extra) {
            let exists = match kind {
                "Secret" => secrets.get_opt(&needed).await?.is_some(),
                _ => claims.get_opt(&needed).await?.is_some(),
            };
            if !exists {
                observed.missing.insert((kind, needed));
            }
        }
    }
    if !is_original {
        let pods = Api::<Pod>::namespaced(client.clone(), namespace);
        // What the pods of a completed Job say, and those of Jobs before it, is no trouble any more.
        let completed = observed.jobs.iter().rposition(|job| run::is(job, "Complete"));
        for job in &observed.jobs[completed.map_or(0, |completed| completed + 1)..] {
            let of_job = ListParams::default().labels(&format!("job-name={}", job.name_any()));
            observed.pods.extend(oldest_first(pods.list(&of_job).await?.items));
        }
        observed.rival = rival(context, &observed.maintenance, secret.as_ref()).await?;
        let sources: Api<ReplicationSource> = Api::namespaced(client, namespace);
        let mut known = sources.list(&ListParams::default()).await?.items;
        known.sort_by_key(ResourceExt::name_any);
        observed.known_repository = known
            .into_iter()
            .filter_map(|source| Subject::Source(source).known_repository())
            .find(|(through, _)| *through == secret_name)
            .map(|(_, id)| id);
    }
    Ok(Some(observed))
}

fn oldest_first<K: ResourceExt>(mut objects: Vec<K>) -> Vec<K> {
    objects.sort_by_key(|object| (object.meta().creation_timestamp.clone(), object.name_any()));
    objects
}

/// Finds an older, enabled KopiaMaintenance of the same repository.
async fn rival(
    context: &Context,
    maintenance: &KopiaMaintenance,
    secret: Option<&Secret>,
) -> Result<Option<String>, kube::Error> {
    let Some(secret) = secret else { return Ok(None) };
    let all: Api<KopiaMaintenance> = Api::all(context.client.clone());
    let seniority = |one: &KopiaMaintenance| {
        (one.metadata.creation_timestamp.clone(), one.namespace().unwrap_or_default(), one.name_any())
    };
    let mut others = all.list(&ListParams::default()).await?.items;
    others.sort_by_key(seniority);
    for other in others {
        let is_senior = seniority(&other) < seniority(maintenance);
        if !is_senior || !other.spec.enabled || other.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let namespace = other.namespace().unwrap_or_default();
        let theirs: Api<Secret> = Api::namespaced(context.client.clone(), &namespace);
        let Some(their_secret) = theirs.get_opt(&other.spec.repository.repository).await? else { continue };
        let is_same_secret = their_secret.uid() == secret.uid();
        let is_same_place = match (place(secret), place(&their_secret)) {
            (Some(ours), Some(theirs)) if is_local(&ours) => {
                // A path means the same only with the same volumes around it.
                ours == theirs
                    && other.namespace() == maintenance.namespace()
                    && other.spec.mover_volumes == maintenance.spec.mover_volumes
            }
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => false,
        };
        if is_same_secret || is_same_place {
            return Ok(Some(format!("{namespace}/{}", other.name_any())));
        }
    }
    Ok(None)
}

/// The keys of a Secret that say where a repository is, without its credentials.
const PLACE_KEYS: [&str; 9] = [
    "KOPIA_REPOSITORY",
    "KOPIA_S3_BUCKET",
    "KOPIA_S3_ENDPOINT",
    "AWS_S3_ENDPOINT",
    "KOPIA_AZURE_CONTAINER",
    "KOPIA_GCS_BUCKET",
    "KOPIA_B2_BUCKET",
    "WEBDAV_URL",
    "SFTP_PATH",
];

fn place(secret: &Secret) -> Option<BTreeMap<&'static str, Vec<u8>>> {
    let data: BTreeMap<String, ByteString> = secret.data.clone().unwrap_or_default();
    let place: BTreeMap<&'static str, Vec<u8>> =
        PLACE_KEYS.iter().filter_map(|key| Some((*key, data.get(*key)?.0.clone()))).collect();
    (!place.is_empty()).then_some(place)
}

fn is_local(place: &BTreeMap<&'static str, Vec<u8>>) -> bool {
    place.get("KOPIA_REPOSITORY").is_some_and(|url| url.starts_with(b"filesystem://"))
}
