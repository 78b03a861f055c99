//! Nodes and classes that a bed's cluster starts with; the custom kinds come from [`api::crd`].

use json::{Value, json};

use super::{Binding, StorageClassSpec};
use crate::actor::provisioner::DEFAULT_CLASS;

/// A node as the kubelet registers it.
pub fn node(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
        }},
        "spec": {},
    })
}

/// The StorageClass of a class.
pub fn storage_class(class: &StorageClassSpec) -> Value {
    let mut metadata = json!({"name": class.name});
    if class.is_default {
        metadata["annotations"] = json!({DEFAULT_CLASS: "true"});
    }
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": metadata,
        "provisioner": class.provisioner, "reclaimPolicy": "Delete", "allowVolumeExpansion": class.can_expand,
        "volumeBindingMode": match class.binding {
            Binding::Immediate => "Immediate",
            Binding::WaitForFirstConsumer => "WaitForFirstConsumer",
        },
    })
}

/// The VolumeSnapshotClass of a class, if its driver cuts snapshots.
pub fn snapshot_class(class: &StorageClassSpec) -> Option<Value> {
    let name = class.snapshot_class.as_ref()?;
    Some(json!({
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass",
        "metadata": {"name": name, "annotations": {"snapshot.storage.kubernetes.io/is-default-class": "true"}},
        "driver": class.provisioner, "deletionPolicy": "Delete",
    }))
}
