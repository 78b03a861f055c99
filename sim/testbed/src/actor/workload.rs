//! Deployments and StatefulSets, reduced to what backups see: pods that use claims.
//!
//! A Deployment owns its pods directly (no ReplicaSet stands between), a StatefulSet numbers them and makes
//! the claims of its templates. Pods that end are replaced. Rolling updates are not modelled: a changed
//! template replaces all pods at once.

use std::sync::Arc;

use apiserver::Delete;
use json::{Value, json};

use super::{
    Actor, Change, Cluster, Key, Next, Resource, View,
    cluster::{controller_of, is_deleting, name, namespace, text, uid},
    job::pod_suffix,
    resource,
    scheduler::is_finished,
};

/// The workload controllers.
pub struct Workloads {
    cluster: Cluster,
}

const TEMPLATE: &str = "firedrill.dev/template";

impl Workloads {
    /// The actor on a cluster.
    pub fn new(cluster: &Cluster) -> Self {
        Self { cluster: cluster.for_caller("workload-controller") }
    }

    fn pods(&self, owner: &Value) -> Vec<Arc<Value>> {
        let mut pods = self.cluster.list(resource::POD, namespace(owner));
        pods.retain(|pod| controller_of(pod).is_some_and(|(_, _, id)| id == uid(owner)));
        pods
    }

    fn remove(&self, pod: &Value) {
        let gone = self.cluster.delete(resource::POD, namespace(pod), name(pod), &Delete::default());
        self.cluster.tolerate(gone);
    }

    fn create(&self, resource: Resource, owner: &Value, pod_name: &str, digest: &str, volumes: Vec<Value>) {
        let template = &owner["spec"]["template"];
        let mut spec = template["spec"].clone();
        if !volumes.is_empty() {
            let mut all = spec["volumes"].as_array().cloned().unwrap_or_default();
            all.extend(volumes);
            spec["volumes"] = json!(all);
        }
        let mut annotations = template.pointer("/metadata/annotations").cloned().unwrap_or(json!({}));
        annotations[TEMPLATE] = json!(digest);
        let pod = json!({
            "metadata": {
                "name": pod_name, "namespace": namespace(owner),
                "labels": template.pointer("/metadata/labels").cloned().unwrap_or(json!({})),
                "annotations": annotations,
                "ownerReferences": [{
                    "apiVersion": resource.api_version(), "kind": resource.kind, "name": name(owner), "uid": uid(owner),
                    "controller": true, "blockOwnerDeletion": true,
                }],
            },
            "spec": spec,
        });
        if let Err(failure) = self.cluster.create(resource::POD, pod) {
            self.cluster.report(owner, "Warning", "FailedCreate", &format!("Error creating: {failure}"));
        }
    }

    /// Makes the claims of a StatefulSet's templates for one pod; returns the pod's volumes.
    fn claims(&self, owner: &Value, pod_name: &str) -> Vec<Value> {
        let templates = owner
            .pointer("/spec/volumeClaimTemplates")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        templates
            .iter()
            .map(|template| {
                let claim_name = format!("{}-{pod_name}", name(template));
                if self.cluster.get(resource::CLAIM, namespace(owner), &claim_name).is_none() {
                    let mut claim = template.clone();
                    claim["metadata"]["name"] = json!(claim_name);
                    claim["metadata"]["namespace"] = json!(namespace(owner));
                    claim.as_object_mut().expect("a claim is an object").remove("status");
                    let made = self.cluster.create(resource::CLAIM, claim).map(|_| ());
                    self.cluster.tolerate(made);
                }
                json!({"name": name(template), "persistentVolumeClaim": {"claimName": claim_name}})
            })
            .collect()
    }
}

#[async_trait::async_trait]
impl Actor for Workloads {
    fn name(&self) -> &str {
        self.cluster.caller()
    }

    fn keys(&self, change: &Change, _: &View<'_>) -> Vec<Key> {
        match change.kind.as_str() {
            "Deployment" => vec![Key::new(resource::DEPLOYMENT, &change.namespace, &change.name)],
            "StatefulSet" => vec![Key::new(resource::STATEFUL_SET, &change.namespace, &change.name)],
            "Pod" => match controller_of(&change.object) {
                Some(("Deployment", owner, _)) => {
                    vec![Key::new(resource::DEPLOYMENT, &change.namespace, owner)]
                }
                Some(("StatefulSet", owner, _)) => {
                    vec![Key::new(resource::STATEFUL_SET, &change.namespace, owner)]
                }
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &Key) -> Next {
        let resource =
            if key.kind == resource::DEPLOYMENT.kind { resource::DEPLOYMENT } else { resource::STATEFUL_SET };
        let Some(owner) = self.cluster.get(resource, &key.namespace, &key.name) else { return Next::Done };
        if is_deleting(&owner) {
            return Next::Done;
        }
        let digest = crate::seed::hex(0, &["template", &owner["spec"]["template"].to_string()], 10);
        let wanted = owner["spec"]["replicas"].as_u64().unwrap_or(1) as usize;
        let annotation = format!("/metadata/annotations/{}", TEMPLATE.replace('/', "~1"));
        let mut alive = Vec::new();
        for pod in self.pods(&owner) {
            if is_finished(&pod) || (text(&pod, &annotation) != digest && !is_deleting(&pod)) {
                self.remove(&pod);
            } else if !is_deleting(&pod) {
                alive.push(pod);
            }
        }
        for pod in alive.iter().skip(wanted) {
            self.remove(pod);
        }
        alive.truncate(wanted);
        let taken: Vec<String> = self.pods(&owner).iter().map(|pod| name(pod).to_owned()).collect();
        let mut attempt = 0;
        let mut ordinal = 0;
        for _ in alive.len()..wanted {
            let (pod_name, volumes) = if resource == resource::STATEFUL_SET {
                while taken.contains(&format!("{}-{ordinal}", key.name)) {
                    ordinal += 1;
                }
                let pod_name = format!("{}-{ordinal}", key.name);
                ordinal += 1;
                let volumes = self.claims(&owner, &pod_name);
                (pod_name, volumes)
            } else {
                let generation = self.cluster.timestamp();
                let pod_name = loop {
                    let suffix =
                        pod_suffix(self.cluster.seed(), &format!("{}{generation}", uid(&owner)), attempt);
                    let candidate = format!("{}-{digest}-{suffix}", key.name);
                    attempt += 1;
                    if !taken.contains(&candidate) {
                        break candidate;
                    }
                };
                (pod_name, Vec::new())
            };
            self.create(resource, &owner, &pod_name, &digest, volumes);
        }
        let pods = self.pods(&owner);
        let ready =
            pods.iter().filter(|pod| text(pod, "/status/phase") == "Running" && !is_deleting(pod)).count();
        let written = self.cluster.change_status(resource, &key.namespace, &key.name, |owner| {
            if !owner["status"].is_object() {
                owner["status"] = json!({});
            }
            let generation = owner["metadata"]["generation"].clone();
            let status = owner["status"].as_object_mut().expect("made an object above");
            for (field, count) in [
                ("replicas", pods.len()),
                ("readyReplicas", ready),
                ("availableReplicas", ready),
                ("updatedReplicas", pods.len()),
            ] {
                status.insert(field.to_owned(), json!(count));
            }
            if !generation.is_null() {
                status.insert("observedGeneration".to_owned(), generation);
            }
        });
        self.cluster.tolerate(written);
        Next::Done
    }
}
