//! Finalizers that keep claims while pods use them, and volumes while claims are bound to them.

use super::{
    Actor, Change, Cluster, Key, Next, View,
    cluster::{is_deleting, name, namespace, text},
    resource,
    scheduler::{claims_of, is_finished},
};

/// The finalizer of claims.
pub const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
/// The finalizer of volumes.
pub const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";

/// The two protection controllers.
pub struct Protection {
    cluster: Cluster,
}

impl Protection {
    /// The actor on a cluster.
    pub fn new(cluster: &Cluster) -> Self {
        Self { cluster: cluster.for_caller("pvc-protection-controller") }
    }
}

#[async_trait::async_trait]
impl Actor for Protection {
    fn name(&self) -> &str {
        self.cluster.caller()
    }

    fn keys(&self, change: &Change, view: &View<'_>) -> Vec<Key> {
        match change.kind.as_str() {
            "PersistentVolumeClaim" if is_deleting(&change.object) => {
                vec![Key::new(resource::CLAIM, &change.namespace, &change.name)]
            }
            "PersistentVolume" if is_deleting(&change.object) => {
                vec![Key::new(resource::VOLUME, "", &change.name)]
            }
            "Pod" => claims_of(&change.object)
                .iter()
                .filter(|claim| {
                    view.get(resource::CLAIM, &change.namespace, claim)
                        .is_some_and(|claim| is_deleting(&claim))
                })
                .map(|claim| Key::new(resource::CLAIM, &change.namespace, claim))
                .collect(),
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &Key) -> Next {
        if key.kind == resource::VOLUME.kind {
            let Some(volume) = self.cluster.get(resource::VOLUME, "", &key.name) else { return Next::Done };
            if is_deleting(&volume) && text(&volume, "/status/phase") != "Bound" {
                self.cluster.set_finalizer(resource::VOLUME, "", &key.name, VOLUME_PROTECTION, false);
            }
            return Next::Done;
        }
        let Some(claim) = self.cluster.get(resource::CLAIM, &key.namespace, &key.name) else {
            return Next::Done;
        };
        let users = self.cluster.list(resource::POD, namespace(&claim));
        // A pod that has no node yet does not use the claim: the scheduler will refuse it.
        let is_used = users.iter().any(|pod| {
            !is_finished(pod)
                && !text(pod, "/spec/nodeName").is_empty()
                && claims_of(pod).iter().any(|used| used == name(&claim))
        });
        if is_deleting(&claim) && !is_used {
            self.cluster.set_finalizer(resource::CLAIM, &key.namespace, &key.name, CLAIM_PROTECTION, false);
        }
        Next::Done
    }
}
