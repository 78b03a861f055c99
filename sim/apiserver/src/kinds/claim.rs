//! Claims, volumes and storage classes.

use json::{Value, json};

use crate::access::{self, at, copy, default, finalizers, remove, set, text};
use crate::failure::{Cause, Failure};
use crate::quantity;
use crate::state::State;

const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// Defaults of a claim; both spellings of its data source follow each other.
pub(super) fn default_claim(claim: &mut Value) {
    let Some(spec) = claim.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    default(spec, &["volumeMode"], "Filesystem");
    default(spec, &["resources"], json!({}));
    for field in ["dataSource", "dataSourceRef"] {
        if at(spec, &[field]).is_some_and(Value::is_null) {
            remove(spec, &[field]);
        }
    }
    mirror_data_source(spec);
}

/// `dataSource` and `dataSourceRef` say the same, unless the latter names another namespace.
fn mirror_data_source(spec: &mut Value) {
    let old = at(spec, &["dataSource"]).cloned();
    let new = at(spec, &["dataSourceRef"]).cloned();
    match (old, new) {
        (Some(old), None) => set(spec, &["dataSourceRef"], old),
        (None, Some(new)) if text(&new, &["namespace"]).is_empty() && is_old_source(&new) => {
            set(spec, &["dataSource"], new);
        }
        _ => {}
    }
}

/// The older field only takes claims and volume snapshots; the server still mirrors any reference into it.
fn is_old_source(_reference: &Value) -> bool {
    true
}

/// What the plug-ins StorageObjectInUseProtection and DefaultStorageClass add to a claim.
pub(super) fn fill_new_claim(state: &State, claim: &mut Value) {
    hold(claim, CLAIM_PROTECTION);
    set(claim, &["status"], json!({"phase": "Pending"}));
    if at(claim, &["spec", "storageClassName"]).is_some_and(|class| !class.is_null()) {
        return;
    }
    let Some(classes) = state.registry.by_kind("storage.k8s.io/v1", "StorageClass") else { return };
    // The newest default class wins, then the first name.
    let defaults = state.store.shelves[classes.shelf].objects.values().filter(|class| {
        at(&class.value, &["metadata", "annotations", DEFAULT_CLASS]).and_then(Value::as_str) == Some("true")
    });
    let newest = defaults.max_by(|a, b| {
        let created = |class: &Value| text(class, &["metadata", "creationTimestamp"]).to_owned();
        created(&a.value)
            .cmp(&created(&b.value))
            .then_with(|| access::name(&b.value).cmp(access::name(&a.value)))
    });
    if let Some(class) = newest {
        set(claim, &["spec", "storageClassName"], access::name(&class.value));
    }
}

fn hold(object: &mut Value, finalizer: &str) {
    if !finalizers(object).any(|held| held == finalizer) {
        let mut all: Vec<String> = finalizers(object).map(str::to_owned).collect();
        all.push(finalizer.to_owned());
        set(object, &["metadata", "finalizers"], all);
    }
}

/// Defaults of a volume.
pub(super) fn default_volume(volume: &mut Value) {
    let Some(spec) = volume.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    default(spec, &["persistentVolumeReclaimPolicy"], "Retain");
    default(spec, &["volumeMode"], "Filesystem");
    if at(spec, &["hostPath"]).is_some() {
        default(spec, &["hostPath", "type"], "");
    }
    if at(spec, &["claimRef"]).is_some() {
        default(spec, &["claimRef", "kind"], "PersistentVolumeClaim");
        default(spec, &["claimRef", "apiVersion"], "v1");
    }
}

/// What a new volume gets: protection and a status.
pub(super) fn fill_new_volume(state: &State, volume: &mut Value) {
    hold(volume, VOLUME_PROTECTION);
    let now = state.now();
    set(volume, &["status"], json!({"phase": "Pending", "lastPhaseTransitionTime": now}));
}

/// Notes when the phase of a volume changes.
pub(super) fn note_phase(state: &State, before: &Value, volume: &mut Value) {
    if text(before, &["status", "phase"]) == text(volume, &["status", "phase"]) {
        if at(volume, &["status", "lastPhaseTransitionTime"]).is_none() {
            copy(before, volume, &["status", "lastPhaseTransitionTime"]);
        }
    } else if at(volume, &["status", "lastPhaseTransitionTime"])
        == at(before, &["status", "lastPhaseTransitionTime"])
        || at(volume, &["status", "lastPhaseTransitionTime"]).is_none()
    {
        let now = state.now();
        set(volume, &["status", "lastPhaseTransitionTime"], now);
    }
}

/// Defaults of a storage class.
pub(super) fn default_class(class: &mut Value) {
    default(class, &["reclaimPolicy"], "Delete");
    default(class, &["volumeBindingMode"], "Immediate");
}

/// Checks a claim.
pub(super) fn validate_claim(claim: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    match at(claim, &["spec", "accessModes"]).and_then(Value::as_array) {
        Some(modes) if !modes.is_empty() => {
            let supported = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
            for mode in modes {
                if !mode.as_str().is_some_and(|mode| supported.contains(&mode)) {
                    causes.push(Cause::unsupported("spec.accessModes", mode, &supported.map(str::to_owned)));
                }
            }
        }
        _ => causes.push(Cause::required("spec.accessModes", "at least 1 access mode is required")),
    }
    match at(claim, &["spec", "resources", "requests", "storage"]) {
        None => causes.push(Cause::required("spec.resources[storage]", "")),
        Some(size) => match quantity::parse(size) {
            Some(amount) if amount > 0 => {}
            _ => causes.push(Cause::invalid("spec.resources[storage]", size, "must be greater than zero")),
        },
    }
    let mode = text(claim, &["spec", "volumeMode"]);
    if !matches!(mode, "" | "Filesystem" | "Block") {
        causes.push(Cause::unsupported(
            "spec.volumeMode",
            &json!(mode),
            &["Block".to_owned(), "Filesystem".to_owned()],
        ));
    }
    if let Some(reference) = at(claim, &["spec", "dataSourceRef"]) {
        for field in ["name", "kind"] {
            if text(reference, &[field]).is_empty() {
                causes.push(Cause::required(format!("spec.dataSourceRef.{field}"), ""));
            }
        }
        let group = text(reference, &["apiGroup"]);
        if group.is_empty() && text(reference, &["kind"]) != "PersistentVolumeClaim" {
            causes.push(Cause::invalid(
                "spec.dataSourceRef",
                &json!(text(reference, &["kind"])),
                "must be 'PersistentVolumeClaim' when referencing the default apiGroup",
            ));
        }
        let old = at(claim, &["spec", "dataSource"]);
        if text(reference, &["namespace"]).is_empty() && old.is_some_and(|old| old != reference) {
            causes.push(Cause::invalid("spec", &json!("dataSource"), "must match dataSourceRef"));
        }
    }
    causes
}

/// Refuses to grow a claim whose class does not allow it (plug-in PersistentVolumeClaimResize).
pub(super) fn check_resize(state: &State, before: &Value, after: &Value) -> Result<(), Failure> {
    let size =
        |claim: &Value| at(claim, &["spec", "resources", "requests", "storage"]).and_then(quantity::parse);
    let (Some(old), Some(new)) = (size(before), size(after)) else { return Ok(()) };
    if new <= old {
        return Ok(());
    }
    let refuse = |why: &str| Err(Failure::forbidden("", "persistentvolumeclaims", access::name(before), why));
    if text(before, &["status", "phase"]) != "Bound" {
        return refuse("only bound persistent volume claims can be expanded");
    }
    let class = text(before, &["spec", "storageClassName"]);
    let allows = state
        .registry
        .by_kind("storage.k8s.io/v1", "StorageClass")
        .and_then(|classes| state.store.get(classes, "", class))
        .is_some_and(|class| at(&class.value, &["allowVolumeExpansion"]) == Some(&json!(true)));
    if allows {
        return Ok(());
    }
    refuse(
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
    )
}

/// Checks that a claim's spec only changes where it may.
pub(super) fn validate_claim_update(before: &Value, after: &Value) -> Vec<Cause> {
    let mut frozen = at(before, &["spec"]).cloned().unwrap_or_default();
    let new = at(after, &["spec"]).cloned().unwrap_or_default();
    if text(&frozen, &["volumeName"]).is_empty() {
        // Binding a claim is a change of its spec.
        copy(&new, &mut frozen, &["volumeName"]);
    }
    if at(&frozen, &["storageClassName"]).is_none() {
        copy(&new, &mut frozen, &["storageClassName"]);
    }
    copy(&new, &mut frozen, &["resources"]);
    copy(&new, &mut frozen, &["volumeAttributesClassName"]);
    let mut causes = Vec::new();
    if frozen != new {
        causes.push(Cause::forbidden(
            "spec",
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
        ));
    }
    let size =
        |claim: &Value| at(claim, &["spec", "resources", "requests", "storage"]).and_then(quantity::parse);
    if let (Some(old), Some(now)) = (size(before), size(after)) {
        let reached = at(before, &["status", "capacity", "storage"]).and_then(quantity::parse);
        if now < old && reached.is_none_or(|reached| now <= reached) {
            causes.push(Cause::forbidden(
                "spec.resources.requests.storage",
                "field can not be less than status.capacity",
            ));
        }
    }
    causes
}

/// Checks a volume.
pub(super) fn validate_volume(volume: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if at(volume, &["spec", "accessModes"]).and_then(Value::as_array).is_none_or(|list| list.is_empty()) {
        causes.push(Cause::required("spec.accessModes", ""));
    }
    if at(volume, &["spec", "capacity", "storage"]).is_none() {
        causes.push(Cause::required("spec.capacity", ""));
    }
    let sources = [
        "hostPath",
        "nfs",
        "csi",
        "local",
        "iscsi",
        "rbd",
        "cephfs",
        "fc",
        "awsElasticBlockStore",
        "gcePersistentDisk",
        "azureDisk",
        "azureFile",
        "vsphereVolume",
        "glusterfs",
        "cinder",
        "flexVolume",
        "flocker",
        "portworxVolume",
        "quobyte",
        "scaleIO",
        "storageos",
        "photonPersistentDisk",
    ];
    let count = sources.iter().filter(|source| at(volume, &["spec", source]).is_some()).count();
    if count == 0 {
        causes.push(Cause::required("spec", "must specify a volume type"));
    }
    causes
}

/// Checks that a volume keeps its source.
pub(super) fn validate_volume_update(before: &Value, after: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for source in ["csi", "nfs", "hostPath", "local"] {
        if at(before, &["spec", source]) != at(after, &["spec", source]) {
            causes.push(Cause::forbidden(
                "spec.persistentvolumesource",
                "spec.persistentvolumesource is immutable after creation",
            ));
            break;
        }
    }
    if at(before, &["spec", "volumeMode"]) != at(after, &["spec", "volumeMode"]) {
        causes.push(Cause::invalid(
            "spec.volumeMode",
            at(after, &["spec", "volumeMode"]).unwrap_or(&Value::Null),
            "field is immutable",
        ));
    }
    causes
}

/// Checks that a storage class keeps what volumes were made by.
pub(super) fn validate_class_update(before: &Value, after: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if at(before, &["parameters"]) != at(after, &["parameters"]) {
        causes.push(Cause::forbidden("parameters", "updates to parameters are forbidden."));
    }
    if text(before, &["provisioner"]) != text(after, &["provisioner"]) {
        causes.push(Cause::forbidden("provisioner", "updates to provisioner are forbidden."));
    }
    for field in ["reclaimPolicy", "volumeBindingMode"] {
        if at(before, &[field]) != at(after, &[field]) {
            let detail = if field == "reclaimPolicy" {
                "updates to reclaimPolicy are forbidden."
            } else {
                "field is immutable"
            };
            causes.push(if field == "reclaimPolicy" {
                Cause::forbidden(field, detail)
            } else {
                Cause::invalid(field, at(after, &[field]).unwrap_or(&Value::Null), detail)
            });
        }
    }
    causes
}
