//! The persistent volume controller: pairs claims with volumes and lets volumes go.
//!
//! A claim takes the volume that names it, the volume it names, or the smallest free one that fits;
//! otherwise it asks its class's provisioner and says so in an event. A bound claim whose volume is gone is
//! `Lost`; a claim that names a volume bound to another is told `ClaimMisbound`. A volume whose claim went
//! is `Released`. It neither provisions nor deletes anything itself.

use std::sync::Arc;

use json::{Value, json};

use super::{
    Actor, Change, Cluster, Key, Next, View,
    cluster::{is_deleting, name, namespace, text, uid},
    provisioner::{SELECTED_NODE, class_of, waits_for_consumer},
    resource,
};
use crate::quantity;

/// The persistent volume controller.
pub struct Binder {
    cluster: Cluster,
}

impl Binder {
    /// The actor on a cluster.
    pub fn new(cluster: &Cluster) -> Self {
        Self { cluster: cluster.for_caller("persistentvolume-controller") }
    }

    fn volume_for(&self, claim: &Value) -> Option<Arc<Value>> {
        let wanted = text(claim, "/spec/volumeName");
        if !wanted.is_empty() {
            return self.cluster.get(resource::VOLUME, "", wanted);
        }
        let volumes = self.cluster.list(resource::VOLUME, "");
        if let Some(volume) = volumes.iter().find(|volume| !is_deleting(volume) && names_claim(volume, claim))
        {
            return Some(Arc::clone(volume));
        }
        if claim["spec"]["dataSource"].is_object() || claim["spec"]["dataSourceRef"].is_object() {
            return None;
        }
        let mut free: Vec<&Arc<Value>> = volumes.iter().filter(|volume| fits(volume, claim)).collect();
        free.sort_by_key(|volume| {
            (quantity::bytes(text(volume, "/spec/capacity/storage")), name(volume).to_owned())
        });
        free.first().map(|volume| Arc::clone(volume))
    }

    fn bind(&self, claim: &Value, volume: &Value) {
        let (namespace, claim_name, volume_name) = (namespace(claim), name(claim), name(volume));
        let by_us = text(claim, "/spec/volumeName").is_empty();
        let reference = self.cluster.change(resource::VOLUME, "", volume_name, |volume| {
            if text(volume, "/spec/claimRef/uid") != uid(claim) {
                volume["spec"]["claimRef"] = claim_reference(claim);
            }
        });
        self.cluster.tolerate(reference);
        let phase = self
            .cluster
            .change_status(resource::VOLUME, "", volume_name, |volume| set_phase(volume, "Bound"));
        self.cluster.tolerate(phase);
        let spec = self.cluster.change(resource::CLAIM, namespace, claim_name, |claim| {
            claim["spec"]["volumeName"] = json!(volume_name);
            let annotations = annotations(claim);
            annotations.insert("pv.kubernetes.io/bind-completed".to_owned(), json!("yes"));
            if by_us {
                annotations.insert("pv.kubernetes.io/bound-by-controller".to_owned(), json!("yes"));
            }
        });
        self.cluster.tolerate(spec);
        let status = self.cluster.change_status(resource::CLAIM, namespace, claim_name, |claim| {
            claim["status"] = json!({
                "phase": "Bound",
                "accessModes": volume.pointer("/spec/accessModes"),
                "capacity": volume.pointer("/spec/capacity"),
            });
        });
        self.cluster.tolerate(status);
    }

    fn ask_provisioner(&self, claim: &Value) {
        let Some(class) = class_of(&self.cluster, claim) else {
            let class = text(claim, "/spec/storageClassName");
            let (reason, message) = if class.is_empty() {
                (
                    "FailedBinding",
                    "no persistent volumes available for this claim and no storage class is set".to_owned(),
                )
            } else {
                ("ProvisioningFailed", format!("storageclass.storage.k8s.io \"{class}\" not found"))
            };
            let kind = if reason == "FailedBinding" { "Normal" } else { "Warning" };
            return self.cluster.report(claim, kind, reason, &message);
        };
        let selected = text(claim, &format!("/metadata/annotations/{}", SELECTED_NODE.replace('/', "~1")));
        if waits_for_consumer(&class) && selected.is_empty() {
            let message = "waiting for first consumer to be created before binding";
            return self.cluster.report(claim, "Normal", "WaitForFirstConsumer", message);
        }
        let provisioner = text(&class, "/provisioner").to_owned();
        let written = self.cluster.change(resource::CLAIM, namespace(claim), name(claim), |claim| {
            let annotations = annotations(claim);
            annotations
                .insert("volume.beta.kubernetes.io/storage-provisioner".to_owned(), json!(provisioner));
            annotations.insert("volume.kubernetes.io/storage-provisioner".to_owned(), json!(provisioner));
        });
        self.cluster.tolerate(written);
        let message = format!(
            "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the \
             system administrator. If volume creation is delayed, please verify that the provisioner is running and \
             correctly registered."
        );
        self.cluster.report(claim, "Normal", "ExternalProvisioning", &message);
    }

    fn reconcile_claim(&self, key: &Key) {
        let Some(claim) = self.cluster.get(resource::CLAIM, &key.namespace, &key.name) else { return };
        let is_bound = text(&claim, "/status/phase") == "Bound";
        let volume = self.volume_for(&claim);
        match volume {
            Some(volume)
                if names_claim(&volume, &claim) || text(&volume, "/spec/claimRef/name").is_empty() =>
            {
                let is_complete = is_bound
                    && text(&volume, "/status/phase") == "Bound"
                    && text(&volume, "/spec/claimRef/uid") == uid(&claim);
                if !is_complete && (!is_deleting(&claim) || is_bound) {
                    self.bind(&claim, &volume);
                }
            }
            Some(_) if is_bound => {
                let status =
                    self.cluster.change_status(resource::CLAIM, &key.namespace, &key.name, |claim| {
                        set_phase(claim, "Lost");
                    });
                self.cluster.tolerate(status);
                let message = "Two claims are bound to the same volume, this one is bound incorrectly";
                self.cluster.report(&claim, "Warning", "ClaimMisbound", message);
            }
            Some(_) => {
                let message = format!(
                    "volume \"{}\" already bound to a different claim.",
                    text(&claim, "/spec/volumeName")
                );
                self.cluster.report(&claim, "Warning", "FailedBinding", &message);
            }
            None if is_bound => {
                let status =
                    self.cluster.change_status(resource::CLAIM, &key.namespace, &key.name, |claim| {
                        set_phase(claim, "Lost");
                    });
                self.cluster.tolerate(status);
                let message = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
                self.cluster.report(&claim, "Warning", "ClaimLost", message);
            }
            None if text(&claim, "/status/phase") == "Lost" || is_deleting(&claim) => {}
            None => {
                if text(&claim, "/status/phase").is_empty() {
                    let status =
                        self.cluster.change_status(resource::CLAIM, &key.namespace, &key.name, |claim| {
                            set_phase(claim, "Pending");
                        });
                    self.cluster.tolerate(status);
                }
                self.ask_provisioner(&claim);
            }
        }
    }

    fn reconcile_volume(&self, key: &Key) {
        let Some(volume) = self.cluster.get(resource::VOLUME, "", &key.name) else { return };
        let claim_name = text(&volume, "/spec/claimRef/name");
        let phase = if claim_name.is_empty() {
            "Available"
        } else {
            let claim =
                self.cluster.get(resource::CLAIM, text(&volume, "/spec/claimRef/namespace"), claim_name);
            let wanted = text(&volume, "/spec/claimRef/uid");
            match claim {
                Some(claim) if wanted.is_empty() || uid(&claim) == wanted => return,
                _ if wanted.is_empty() => "Available",
                _ => "Released",
            }
        };
        let status =
            self.cluster.change_status(resource::VOLUME, "", &key.name, |volume| set_phase(volume, phase));
        self.cluster.tolerate(status);
    }
}

#[async_trait::async_trait]
impl Actor for Binder {
    fn name(&self) -> &str {
        self.cluster.caller()
    }

    fn keys(&self, change: &Change, view: &View<'_>) -> Vec<Key> {
        match change.kind.as_str() {
            "PersistentVolumeClaim" => {
                let mut keys = vec![Key::new(resource::CLAIM, &change.namespace, &change.name)];
                let volume = text(&change.object, "/spec/volumeName");
                if !volume.is_empty() {
                    keys.push(Key::new(resource::VOLUME, "", volume));
                }
                keys
            }
            "PersistentVolume" => {
                let mut keys = vec![Key::new(resource::VOLUME, "", &change.name)];
                let references = [Some(&change.object), change.previous.as_ref()];
                for volume in references.into_iter().flatten() {
                    let claim = text(volume, "/spec/claimRef/name");
                    if !claim.is_empty() {
                        keys.push(Key::new(resource::CLAIM, text(volume, "/spec/claimRef/namespace"), claim));
                    }
                }
                if text(&change.object, "/status/phase") == "Available" {
                    keys.extend(pending(view));
                }
                keys.dedup();
                keys
            }
            "StorageClass" => pending(view),
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &Key) -> Next {
        if key.kind == resource::CLAIM.kind {
            self.reconcile_claim(key);
        } else {
            self.reconcile_volume(key);
        }
        Next::Done
    }
}

fn pending(view: &View<'_>) -> Vec<Key> {
    let claims = view.list(resource::CLAIM, "");
    let waiting = claims.iter().filter(|claim| text(claim, "/status/phase") == "Pending");
    waiting.map(|claim| Key::new(resource::CLAIM, namespace(claim), name(claim))).collect()
}

fn names_claim(volume: &Value, claim: &Value) -> bool {
    let wanted = text(volume, "/spec/claimRef/uid");
    text(volume, "/spec/claimRef/namespace") == namespace(claim)
        && text(volume, "/spec/claimRef/name") == name(claim)
        && (wanted.is_empty() || wanted == uid(claim))
}

fn fits(volume: &Value, claim: &Value) -> bool {
    let modes = |value: &Value| {
        value.pointer("/spec/accessModes").and_then(Value::as_array).cloned().unwrap_or_default()
    };
    text(volume, "/spec/claimRef/name").is_empty()
        && !is_deleting(volume)
        && text(volume, "/spec/storageClassName") == text(claim, "/spec/storageClassName")
        && modes(claim).iter().all(|mode| modes(volume).contains(mode))
        && quantity::bytes(text(volume, "/spec/capacity/storage"))
            >= quantity::bytes(text(claim, "/spec/resources/requests/storage"))
}

/// The reference to a claim that a volume carries.
pub fn claim_reference(claim: &Value) -> Value {
    json!({
        "kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": namespace(claim), "name": name(claim),
        "uid": uid(claim), "resourceVersion": text(claim, "/metadata/resourceVersion"),
    })
}

fn set_phase(object: &mut Value, phase: &str) {
    if !object["status"].is_object() {
        object["status"] = json!({});
    }
    object["status"]["phase"] = json!(phase);
}

fn annotations(object: &mut Value) -> &mut json::Map {
    let annotations = &mut object["metadata"]["annotations"];
    if !annotations.is_object() {
        *annotations = json!({});
    }
    annotations.as_object_mut().expect("made an object above")
}
