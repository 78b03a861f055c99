//! The scheduler, as far as volumes need one: pods go to a node when their claims allow it.
//!
//! Claims must exist, not be going away, and be bound; one that waits for its first consumer gets the node
//! written on it, and the pod waits until the volume is there. Node selectors are honoured, and a pod that
//! shares a ReadWriteOnce claim goes to the node where the claim is in use. It knows no resources, taints
//! or affinity. The texts of `FailedScheduling` are the real ones for a cluster of one node.

use std::sync::Arc;

use apiserver::Patch;
use json::{Value, json};

use super::{
    Actor, Change, Cluster, Key, Next, View,
    cluster::{is_deleting, name, namespace, set_condition, text},
    provisioner::{SELECTED_NODE, class_of, is_bound, waits_for_consumer},
    resource,
};
use crate::record::What;

/// The default scheduler.
pub struct Scheduler {
    cluster: Cluster,
}

impl Scheduler {
    /// The actor on a cluster.
    pub fn new(cluster: &Cluster) -> Self {
        Self { cluster: cluster.for_caller("default-scheduler") }
    }

    fn refuse(&self, pod: &Value, reason: &str) -> Next {
        let nodes = self.cluster.list(resource::NODE, "").len();
        let message = format!("0/{nodes} nodes are available: {reason}");
        self.cluster.report(pod, "Warning", "FailedScheduling", &message);
        let now = self.cluster.timestamp();
        let written = self.cluster.change_status(resource::POD, namespace(pod), name(pod), |pod| {
            set_condition(pod, "PodScheduled", "False", "Unschedulable", &message, &now);
        });
        self.cluster.tolerate(written);
        Next::Done
    }

    /// The node on which another pod uses one of the claims that only one node may use.
    fn node_of_user(&self, pod: &Value, claims: &[Arc<Value>]) -> Option<String> {
        let single: Vec<&str> = claims
            .iter()
            .filter(|claim| {
                let modes = claim.pointer("/spec/accessModes").and_then(Value::as_array);
                modes.is_some_and(|modes| {
                    modes.iter().all(|mode| mode == "ReadWriteOnce" || mode == "ReadWriteOncePod")
                })
            })
            .map(|claim| name(claim))
            .collect();
        self.cluster.list(resource::POD, namespace(pod)).into_iter().find_map(|other| {
            let uses = claims_of(&other).iter().any(|claim| single.contains(&claim.as_str()));
            let node = text(&other, "/spec/nodeName");
            (uses && !node.is_empty() && !is_finished(&other)).then(|| node.to_owned())
        })
    }
}

#[async_trait::async_trait]
impl Actor for Scheduler {
    fn name(&self) -> &str {
        self.cluster.caller()
    }

    fn keys(&self, change: &Change, view: &View<'_>) -> Vec<Key> {
        match change.kind.as_str() {
            "Pod"
                if change.caller != self.cluster.caller()
                    && text(&change.object, "/spec/nodeName").is_empty() =>
            {
                vec![Key::new(resource::POD, &change.namespace, &change.name)]
            }
            "PersistentVolumeClaim" => view
                .list(resource::POD, &change.namespace)
                .iter()
                .filter(|pod| text(pod, "/spec/nodeName").is_empty() && claims_of(pod).contains(&change.name))
                .map(|pod| Key::new(resource::POD, &change.namespace, name(pod)))
                .collect(),
            "Node" => view
                .list(resource::POD, "")
                .iter()
                .filter(|pod| text(pod, "/spec/nodeName").is_empty())
                .map(|pod| Key::new(resource::POD, namespace(pod), name(pod)))
                .collect(),
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &Key) -> Next {
        let Some(pod) = self.cluster.get(resource::POD, &key.namespace, &key.name) else { return Next::Done };
        if is_deleting(&pod) || !text(&pod, "/spec/nodeName").is_empty() {
            return Next::Done;
        }
        let mut claims = Vec::new();
        for claim_name in claims_of(&pod) {
            let Some(claim) = self.cluster.get(resource::CLAIM, &key.namespace, &claim_name) else {
                return self
                    .refuse(&pod, &format!("persistentvolumeclaim \"{claim_name}\" not found. not found"));
            };
            if is_deleting(&claim) {
                return self.refuse(
                    &pod,
                    &format!("persistentvolumeclaim \"{claim_name}\" is being deleted. not found"),
                );
            }
            claims.push(claim);
        }
        let selector =
            pod.pointer("/spec/nodeSelector").and_then(Value::as_object).cloned().unwrap_or_default();
        let nodes = self.cluster.list(resource::NODE, "");
        let fitting: Vec<&Arc<Value>> = nodes
            .iter()
            .filter(|node| {
                let labels = node.pointer("/metadata/labels");
                node["spec"]["unschedulable"] != true
                    && selector
                        .iter()
                        .all(|(label, wanted)| labels.and_then(|labels| labels.get(label)) == Some(wanted))
            })
            .collect();
        if fitting.is_empty() {
            return self.refuse(
                &pod,
                &format!("{} node(s) didn't match Pod's node affinity/selector. not found", nodes.len()),
            );
        }
        let user = self.node_of_user(&pod, &claims);
        let node = fitting.iter().find(|node| Some(name(node)) == user.as_deref()).unwrap_or(&fitting[0]);
        for claim in claims.iter().filter(|claim| !is_bound(claim)) {
            let class = class_of(&self.cluster, claim);
            if !class.as_deref().is_some_and(waits_for_consumer) {
                return self.refuse(&pod, "pod has unbound immediate PersistentVolumeClaims. not found");
            }
            let written = self.cluster.change(resource::CLAIM, &key.namespace, name(claim), |claim| {
                if !claim["metadata"]["annotations"].is_object() {
                    claim["metadata"]["annotations"] = json!({});
                }
                claim["metadata"]["annotations"][SELECTED_NODE] = json!(name(node));
            });
            self.cluster.tolerate(written);
        }
        if claims.iter().any(|claim| !is_bound(claim)) {
            return Next::Done;
        }
        let now = self.cluster.timestamp();
        let mut scheduled = json!({"status": pod["status"]});
        set_condition(&mut scheduled, "PodScheduled", "True", "", "", &now);
        let binding = json!({"spec": {"nodeName": name(node)}, "status": {"conditions": scheduled["status"]["conditions"]}});
        let bound = self.cluster.direct().patch(
            "v1",
            "Pod",
            &key.namespace,
            &key.name,
            "binding",
            Patch::Merge(binding),
        );
        if let Err(failure) = bound {
            tracing::warn!(pod = %key.name, %failure, "a pod could not be bound to its node");
            return Next::Done;
        }
        let message = format!("Successfully assigned {}/{} to {}", key.namespace, key.name, name(node));
        self.cluster.report(&pod, "Normal", "Scheduled", &message);
        self.cluster.record().push(
            "process/scheduler/scheduled/Pod",
            What::Pod {
                namespace: key.namespace.clone(),
                name: key.name.clone(),
                operation: "scheduled".to_owned(),
                detail: name(node).to_owned(),
            },
        );
        Next::Done
    }
}

/// The claims that a pod mounts, in the order of its volumes; generic ephemeral volumes by their claim's name.
pub fn claims_of(pod: &Value) -> Vec<String> {
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array);
    volumes
        .into_iter()
        .flatten()
        .filter_map(|volume| {
            match volume.pointer("/persistentVolumeClaim/claimName").and_then(Value::as_str) {
                Some(claim) => Some(claim.to_owned()),
                None => volume.get("ephemeral").map(|_| format!("{}-{}", name(pod), text(volume, "/name"))),
            }
        })
        .collect()
}

/// Whether all containers of a pod have ended for good.
pub fn is_finished(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}
