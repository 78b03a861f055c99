//! Custom resource definitions and classes that a bed's cluster starts with.
//!
//! The subject's own kinds come from [`api::crd`]; here stand those of the storage world: volume snapshots
//! and volume populators, with schemas that keep what they are given.

use serde_json::{Value, json};

use super::{Binding, StorageClassSpec};
use crate::actor::provisioner::DEFAULT_CLASS;

/// The definitions of the storage world.
pub fn storage() -> Vec<Value> {
    let snapshot = "snapshot.storage.k8s.io";
    vec![
        definition(snapshot, "v1", "VolumeSnapshot", "volumesnapshots", true, true),
        definition(snapshot, "v1", "VolumeSnapshotContent", "volumesnapshotcontents", false, true),
        definition(snapshot, "v1", "VolumeSnapshotClass", "volumesnapshotclasses", false, false),
        definition("populator.storage.k8s.io", "v1beta1", "VolumePopulator", "volumepopulators", false, false),
    ]
}

fn definition(group: &str, version: &str, kind: &str, plural: &str, namespaced: bool, has_status: bool) -> Value {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{group}"),
            // The group is protected: the server asks for the approval that upstream carries.
            "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes-csi/external-snapshotter/pull/814"},
        },
        "spec": {
            "group": group,
            "scope": if namespaced { "Namespaced" } else { "Cluster" },
            "names": {"kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{
                "name": version, "served": true, "storage": true,
                "schema": {"openAPIV3Schema": open},
                "subresources": if has_status { json!({"status": {}}) } else { json!({}) },
            }],
        },
    })
}

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
