//! What the server knows about the objects of built-in resources: defaults, rules, admission.
//!
//! One file per family. Three moments: `default_fields` at every decoding, `fill_new`/`complete_new` when an
//! object is made (before and after it has a name and a uid), `validate_*` before it is stored.

mod batch;
mod claim;
mod core;
mod pod;
mod workload;

use json::Value;

use crate::access::{is_deleting, remove, set, text};
use crate::crd;
use crate::failure::{Cause, Failure};
use crate::resource::Resource;
use crate::state::State;

/// Fills in the defaults of a built-in object.
pub(crate) fn default_fields(resource: &Resource, object: &mut Value) {
    if resource.custom.is_some() {
        return;
    }
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => pod::default_fields(object),
        ("batch", "jobs") => batch::default_job(object),
        ("batch", "cronjobs") => batch::default_cron_job(object),
        ("", "persistentvolumeclaims") => claim::default_claim(object),
        ("", "persistentvolumes") => claim::default_volume(object),
        ("storage.k8s.io", "storageclasses") => claim::default_class(object),
        ("", "namespaces") => core::default_namespace(object),
        ("", "secrets") => core::default_secret(object),
        ("", "services") => core::default_service(object),
        ("apps", _) => workload::default_fields(resource, object),
        ("apiextensions.k8s.io", _) => crd::default_fields(object),
        _ => {}
    }
}

/// Fills in what admission plug-ins of the real server add to a new object; may refuse it.
pub(crate) fn fill_new(state: &mut State, resource: &Resource, object: &mut Value) -> Result<(), Failure> {
    match (resource.group.as_str(), resource.plural.as_str()) {
        _ if resource.custom.is_some() => Ok(()),
        ("", "pods") => pod::fill_new(state, object),
        ("", "persistentvolumeclaims") => {
            claim::fill_new_claim(state, object);
            Ok(())
        }
        ("", "persistentvolumes") => {
            claim::fill_new_volume(state, object);
            Ok(())
        }
        ("", "namespaces") => {
            set(object, &["status"], json::json!({"phase": "Active"}));
            Ok(())
        }
        ("batch", "jobs" | "cronjobs")
        | ("apps", "deployments" | "statefulsets" | "daemonsets" | "replicasets") => {
            set(object, &["status"], json::json!({}));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Whether a new object, as it was sent, shares its labels with its template.
pub(crate) fn shares_labels(resource: &Resource, object: &Value) -> bool {
    resource.is("batch", "jobs") && batch::shares_labels(object)
}

/// Fills in what needs the name and uid of a new object.
pub(crate) fn complete_new(state: &State, resource: &Resource, object: &mut Value, shares_labels: bool) {
    match (resource.group.as_str(), resource.plural.as_str()) {
        _ if resource.custom.is_some() => {}
        ("batch", "jobs") => batch::label_job(object, shares_labels),
        ("", "namespaces") => core::label_namespace(object),
        ("apiextensions.k8s.io", _) => crd::complete_new(object, &state.now()),
        _ => {}
    }
}

/// Checks a new object.
pub(crate) fn validate_new(resource: &Resource, object: &Value) -> Vec<Cause> {
    match (resource.group.as_str(), resource.plural.as_str()) {
        _ if resource.custom.is_some() => Vec::new(),
        ("", "pods") => pod::validate_spec(&object["spec"], "spec"),
        ("batch", "jobs") => batch::validate_job(object),
        ("batch", "cronjobs") => batch::validate_cron_job(object),
        ("", "persistentvolumeclaims") => claim::validate_claim(object),
        ("", "persistentvolumes") => claim::validate_volume(object),
        ("", "secrets" | "configmaps") => core::validate_data(object),
        ("apps", _) => workload::validate(resource, object),
        ("apiextensions.k8s.io", _) => crd::validate(object),
        _ => Vec::new(),
    }
}

/// Adjusts an update before it is checked; may refuse it.
pub(crate) fn prepare_update(
    state: &State,
    resource: &Resource,
    subresource: &str,
    before: &Value,
    object: &mut Value,
) -> Result<(), Failure> {
    match (resource.group.as_str(), resource.plural.as_str()) {
        _ if resource.custom.is_some() => Ok(()),
        ("", "persistentvolumeclaims") if subresource.is_empty() => {
            claim::check_resize(state, before, object)
        }
        ("", "persistentvolumes") if subresource == "status" => {
            claim::note_phase(state, before, object);
            Ok(())
        }
        ("", "namespaces") if subresource.is_empty() => {
            crate::access::copy(before, object, &["spec", "finalizers"]);
            core::label_namespace(object);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Checks an update against the stored object.
pub(crate) fn validate_update(
    resource: &Resource,
    subresource: &str,
    before: &Value,
    object: &Value,
) -> Vec<Cause> {
    if resource.custom.is_some() || subresource == "status" {
        return Vec::new();
    }
    let mut causes = match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") if subresource.is_empty() => pod::validate_update(before, object),
        ("batch", "jobs") => batch::validate_job_update(before, object),
        ("", "persistentvolumeclaims") => claim::validate_claim_update(before, object),
        ("", "persistentvolumes") => claim::validate_volume_update(before, object),
        ("", "secrets" | "configmaps") => core::validate_data_update(before, object),
        ("storage.k8s.io", "storageclasses") => claim::validate_class_update(before, object),
        ("apps", _) => workload::validate_update(resource, before, object),
        _ => Vec::new(),
    };
    if !matches!((resource.group.as_str(), resource.plural.as_str()), ("", "pods") | ("batch", "jobs")) {
        causes.extend(validate_new(resource, object));
    }
    causes
}

/// How long a marked object may still live.
pub(crate) fn grace_period(resource: &Resource, object: &Value, asked: Option<i64>) -> i64 {
    if resource.is("", "pods") { pod::grace_period(object, asked) } else { 0 }
}

/// What else a deletion mark changes.
pub(crate) fn mark_deleting(resource: &Resource, object: &mut Value) {
    if resource.is("", "namespaces") && is_deleting(object) {
        set(object, &["status", "phase"], "Terminating");
    }
}

/// Removes a string field that is empty, as Go's `omitempty` does.
fn drop_empty(object: &mut Value, path: &[&str]) {
    if crate::access::at(object, path).is_some() && text(object, path).is_empty() {
        remove(object, path);
    }
}
