//! Looks at the cluster for a replication object: everything its plan needs, and nothing it does not.
//!
//! Reads through the API, never through a cache, so that a plan does not act on the past. What is read
//! depends on the state: an idle object costs one read, a running Job two; as long as the data volume is on
//! its way, nothing is read but what it is made from.
use std::collections::{BTreeMap, BTreeSet};

use api::crd::CopyMethod;
use api::names as keys;
use api::{ReplicationSource, VolumeSnapshot};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, Node, PersistentVolumeClaim, Pod, Secret, ServiceAccount,
};
use k8s_openapi::api::rbac::v1::{Role as RbacRole, RoleBinding};
use kube::api::{Api, ListParams, LogParams};
use kube::{Client, ResourceExt};

use crate::identity;
use crate::log;
use crate::machine::{self, State};
use crate::names;
use crate::observed::{Observed, Setting};
use crate::plan::{finish, known, prerequisite, run, volume};
use crate::subject::{Method, Role, Subject};

/// Reads what a plan needs.
pub async fn observe(
    client: &Client,
    subject: Subject,
    setting: Setting,
    now: Timestamp,
) -> Result<Observed, kube::Error> {
    let mut observed = Observed::bare(subject, setting);
    if observed.subject.method(observed.setting.profile) != Method::Kopia {
        return Ok(observed);
    }
    let look = Look { client, namespace: observed.subject.namespace().to_owned(), now };
    match machine::state(&observed.subject.sync()) {
        State::Initial => {}
        State::Synchronizing => look.running(&mut observed).await?,
        State::CleaningUp => look.ended(&mut observed).await?,
    }
    Ok(observed)
}

struct Look<'a> {
    client: &'a Client,
    namespace: String,
    now: Timestamp,
}

impl Look<'_> {
    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn running(&self, observed: &mut Observed) -> Result<(), kube::Error> {
        let subject = observed.subject.clone();
        if observed.is_original() && subject.is_paused() {
            return Ok(());
        }
        let job_name = names::job(subject.role(), subject.name());
        observed.job = self.api::<Job>().get_opt(&job_name).await?;
        let is_settled =
            observed.job.as_ref().is_some_and(|job| run::is(job, "Complete") || run::is(job, "Failed"));
        if wants_pods(observed, is_settled) {
            observed.pods = self.pods(&job_name).await?;
        }
        if is_settled {
            observed.log = self.mover_log(observed).await;
        }
        if is_settled && subject.role() == Role::Destination {
            self.image(observed).await?;
        }
        if !observed.is_original() && is_job_current(observed, is_settled) {
            observed.found = self.found(&subject).await?;
            return Ok(());
        }
        self.prepare(observed).await
    }

    async fn pods(&self, job: &str) -> Result<Vec<Pod>, kube::Error> {
        let mut pods =
            self.api::<Pod>().list(&ListParams::default().labels(&format!("job-name={job}"))).await?.items;
        pods.sort_by_key(|pod| (pod.metadata.creation_timestamp.clone(), pod.metadata.name.clone()));
        Ok(pods)
    }

    /// The log of the newest succeeded pod, or of the newest failed one, or of the newest at all.
    async fn mover_log(&self, observed: &Observed) -> Option<String> {
        let completed = observed.job.as_ref().is_some_and(|job| run::is(job, "Complete"));
        let wanted = if completed { "Succeeded" } else { "Failed" };
        let newest = |phase: &str| observed.pods.iter().rev().find(|pod| run::phase_of(pod) == Some(phase));
        let pod = newest(wanted).or_else(|| newest("Running"))?;
        let params = LogParams { container: Some(contract::pod::CONTAINER.into()), ..LogParams::default() };
        match self.api::<Pod>().logs(&pod.name_any(), &params).await {
            Ok(log) => Some(log::kept(observed.subject.role(), &log, observed.setting.log_bytes_max)),
            Err(error) => {
                tracing::warn!(%error, pod = pod.name_any(), "the mover's log could not be read");
                None
            }
        }
    }

    async fn image(&self, observed: &mut Observed) -> Result<(), kube::Error> {
        let Subject::Destination(destination) = &observed.subject else { return Ok(()) };
        observed.claim = self.api().get_opt(&volume::destination_claim(&observed.subject)).await?;
        let annotations = observed.claim.as_ref().and_then(|claim| claim.metadata.annotations.clone());
        let snapshots: Api<VolumeSnapshot> = self.api();
        if let Some(name) = annotations.and_then(|annotations| annotations.get(keys::SNAPNAME).cloned()) {
            observed.image = snapshots.get_opt(&name).await?;
        }
        let latest = destination.status.as_ref().and_then(|status| status.latest_image.clone());
        if let Some(latest) = latest.filter(|latest| latest.kind == "VolumeSnapshot") {
            observed.latest_image = snapshots.get_opt(&latest.name).await?;
        }
        Ok(())
    }

    async fn ended(&self, observed: &mut Observed) -> Result<(), kube::Error> {
        if !finish::wants_clearing(&observed.subject.sync()) {
            return Ok(());
        }
        let marked = ListParams::default().labels(&format!("{}={}", keys::CLEANUP, observed.subject.uid()));
        observed.temporaries.claims = sorted(self.api().list(&marked).await?.items);
        observed.temporaries.snapshots = sorted(self.api().list(&marked).await?.items);
        observed.temporaries.jobs = sorted(self.api().list(&marked).await?.items);
        if observed.subject.role() == Role::Destination {
            observed.claim = self.api().get_opt(&volume::destination_claim(&observed.subject)).await?;
        }
        Ok(())
    }

    /// Reads everything that a Job is made from.
    async fn prepare(&self, observed: &mut Observed) -> Result<(), kube::Error> {
        let subject = observed.subject.clone();
        observed.is_prepared = true;
        self.volumes(observed, &subject).await?;
        // Without its data volume a plan ends; it is asked again when that changes.
        if volume::of_subject(observed, self.now, &mut Vec::new()).is_err() {
            return Ok(());
        }
        if observed.job.is_none() && !observed.is_original() {
            observed.pods = self.pods(&names::job(subject.role(), subject.name())).await?;
        }
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let annotations = namespaces.get(&self.namespace).await?.metadata.annotations.unwrap_or_default();
        observed.is_privileged =
            annotations.get(keys::PRIVILEGED_MOVERS).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let account = subject.mover().mover_service_account.filter(|name| !name.is_empty());
        let own = names::account(subject.role(), subject.name());
        observed.account = self.api::<ServiceAccount>().get_opt(account.as_deref().unwrap_or(&own)).await?;
        if account.is_none() {
            observed.has_role = self.api::<RbacRole>().get_opt(&own).await?.is_some();
            observed.has_binding = self.api::<RoleBinding>().get_opt(&own).await?.is_some();
        }
        for extra in subject.mover().mover_volumes.unwrap_or_default() {
            if let Some((kind, name)) = prerequisite::needed(&extra) {
                let exists = match kind {
                    "Secret" => self.api::<Secret>().get_opt(&name).await?.is_some(),
                    _ => self.api::<PersistentVolumeClaim>().get_opt(&name).await?.is_some(),
                };
                observed.mover_volumes.insert((kind, name), exists);
            }
        }
        observed.found = self.found(&subject).await?;
        observed.secret_keys = self.secret_keys(&known::secret_name(observed)).await?;
        if let Some(custom_ca) = subject.custom_ca() {
            observed.custom_ca_keys = match custom_ca.secret_name.filter(|name| !name.is_empty()) {
                Some(name) => self.secret_keys(&name).await?,
                None => self.config_map_keys(&custom_ca.config_map_name.unwrap_or_default()).await?,
            };
        }
        if let Some(policy) = subject.policy_config() {
            let given = |text: Option<String>| text.filter(|text| !text.is_empty());
            observed.has_policy_files = match (given(policy.secret_name), given(policy.config_map_name)) {
                (Some(name), None) => self.secret_keys(&name).await?.is_some(),
                (None, Some(name)) => self.config_map_keys(&name).await?.is_some(),
                _ => false,
            };
        }
        if !observed.is_original() {
            self.siblings(observed, &subject).await?;
        }
        Ok(())
    }

    async fn volumes(&self, observed: &mut Observed, subject: &Subject) -> Result<(), kube::Error> {
        let claims: Api<PersistentVolumeClaim> = self.api();
        if observed.claim.is_none() {
            observed.claim = get_named(&claims, &observed.subject_claim()).await?;
        }
        let method = subject.volume().copy_method;
        if subject.role() == Role::Source {
            let copy = names::copy(subject.name());
            if method == Some(CopyMethod::Snapshot) {
                observed.copy_snapshot = self.api().get_opt(&copy).await?;
            }
            if matches!(method, Some(CopyMethod::Snapshot | CopyMethod::Clone)) {
                observed.copy_claim = claims.get_opt(&copy).await?;
            }
        }
        let cache = subject.cache();
        if cache.cache_storage_class_name.is_some() || cache.cache_access_modes.is_some() {
            observed.cache_claim = claims.get_opt(&names::cache(subject.role(), subject.name())).await?;
        }
        let is_direct = matches!(method, Some(CopyMethod::Direct | CopyMethod::None));
        let mut used: Vec<String> = Vec::new();
        if is_direct && let Some(claim) = &observed.claim {
            let is_shared = claim
                .status
                .as_ref()
                .and_then(|status| status.access_modes.as_ref())
                .is_some_and(|modes| modes.iter().any(|mode| mode == "ReadWriteMany"));
            if !is_shared {
                used.push(claim.name_any());
            }
        }
        let extras = subject.mover().mover_volumes.unwrap_or_default();
        let first = extras.iter().find_map(|extra| extra.volume_source.persistent_volume_claim.as_ref());
        used.extend(first.map(|claim| claim.claim_name.clone()));
        if !used.is_empty() {
            observed.consumer = self.consumer(&used).await?;
        }
        Ok(())
    }

    /// Finds a pod of somebody else that uses one of the claims, the first claim first, running pods before
    /// pending ones.
    async fn consumer(
        &self,
        claims: &[String],
    ) -> Result<Option<(Pod, Option<BTreeMap<String, String>>)>, kube::Error> {
        let mut pods = sorted(self.api::<Pod>().list(&ListParams::default()).await?.items);
        pods.retain(|pod| {
            pod.labels().get(keys::CREATED_BY).map(String::as_str) != Some(keys::CREATED_BY_VOLSYNC)
        });
        let uses = |pod: &Pod, claim: &String| {
            let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.clone()).unwrap_or_default();
            volumes.iter().any(|volume| {
                volume.persistent_volume_claim.as_ref().is_some_and(|source| source.claim_name == *claim)
            })
        };
        let found = claims.iter().find_map(|claim| {
            ["Running", "Pending"].iter().find_map(|phase| {
                pods.iter().find(|pod| run::phase_of(pod) == Some(phase) && uses(pod, claim))
            })
        });
        let Some(pod) = found else { return Ok(None) };
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).filter(|name| !name.is_empty());
        let nodes: Api<Node> = Api::all(self.client.clone());
        let labels = match node {
            Some(node) => nodes.get_opt(&node).await?.map(|node| node.metadata.labels.unwrap_or_default()),
            None => None,
        };
        Ok(Some((pod.clone(), labels)))
    }

    /// Reads the replication source that a destination's identity names.
    async fn found(&self, subject: &Subject) -> Result<Option<ReplicationSource>, kube::Error> {
        let Subject::Destination(destination) = subject else { return Ok(None) };
        let kopia = destination.spec.kopia.clone().unwrap_or_default();
        match identity::wants_look_up(&self.namespace, &kopia) {
            Some((namespace, name)) => {
                Api::<ReplicationSource>::namespaced(self.client.clone(), &namespace).get_opt(&name).await
            }
            None => Ok(None),
        }
    }

    /// Reads the replication sources that may know the repository or have made the wanted backups.
    async fn siblings(&self, observed: &mut Observed, subject: &Subject) -> Result<(), kube::Error> {
        let is_known = subject.role() == Role::Source && subject.known_repository().is_some();
        if is_known {
            return Ok(());
        }
        observed.siblings = sorted(self.api::<ReplicationSource>().list(&ListParams::default()).await?.items);
        if let Subject::Destination(destination) = subject {
            let identity = destination.spec.kopia.as_ref().and_then(|kopia| kopia.source_identity.as_ref());
            let elsewhere = identity
                .and_then(|identity| identity.source_namespace.clone())
                .filter(|namespace| !namespace.is_empty() && *namespace != self.namespace);
            if let Some(namespace) = elsewhere {
                let sources: Api<ReplicationSource> = Api::namespaced(self.client.clone(), &namespace);
                observed.siblings.extend(sorted(sources.list(&ListParams::default()).await?.items));
            }
        }
        Ok(())
    }

    async fn secret_keys(&self, name: &str) -> Result<Option<BTreeSet<String>>, kube::Error> {
        let secret: Option<Secret> = get_named(&self.api(), name).await?;
        Ok(secret.map(|secret| {
            let data = secret.data.unwrap_or_default().into_keys();
            data.chain(secret.string_data.unwrap_or_default().into_keys()).collect()
        }))
    }

    async fn config_map_keys(&self, name: &str) -> Result<Option<BTreeSet<String>>, kube::Error> {
        let config_map: Option<ConfigMap> = get_named(&self.api(), name).await?;
        Ok(config_map.map(|config_map| {
            let data = config_map.data.unwrap_or_default().into_keys();
            data.chain(config_map.binary_data.unwrap_or_default().into_keys()).collect()
        }))
    }
}

/// Pods of a Job tell how it ended and how its attempts failed.
fn wants_pods(observed: &Observed, is_settled: bool) -> bool {
    observed.job.as_ref().is_some_and(|job| {
        let has_failed = job.status.as_ref().and_then(|status| status.failed).unwrap_or_default() > 0;
        is_settled || (has_failed && !observed.is_original())
    })
}

/// A Job made for the present generation, or settled, needs no second look at what it was made from.
fn is_job_current(observed: &Observed, is_settled: bool) -> bool {
    let Some(job) = &observed.job else { return false };
    let generation = observed.subject.metadata().generation.unwrap_or_default().to_string();
    let known = job.metadata.annotations.as_ref().and_then(|annotations| annotations.get(keys::GENERATION));
    job.metadata.deletion_timestamp.is_none() && (is_settled || known == Some(&generation))
}

/// Reads an object; an empty name names nothing.
async fn get_named<K>(api: &Api<K>, name: &str) -> Result<Option<K>, kube::Error>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    if name.is_empty() { Ok(None) } else { api.get_opt(name).await }
}

/// Sorts by name: a list's order is the server's business.
fn sorted<K: ResourceExt>(mut objects: Vec<K>) -> Vec<K> {
    objects.sort_by_key(ResourceExt::name_any);
    objects
}
