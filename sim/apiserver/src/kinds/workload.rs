//! Deployments, stateful sets, daemon sets, replica sets.

use json::{Value, json};

use super::pod;
use crate::access::{at, default, list_mut, text};
use crate::failure::Cause;
use crate::resource::Resource;
use crate::selector::label_selector_matches;

/// Defaults of a workload.
pub(super) fn default_fields(resource: &Resource, object: &mut Value) {
    let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    pod::default_spec(spec, &["template", "spec"]);
    match resource.plural.as_str() {
        "deployments" => {
            default(spec, &["replicas"], 1);
            default(spec, &["revisionHistoryLimit"], 10);
            default(spec, &["progressDeadlineSeconds"], 600);
            default(spec, &["strategy", "type"], "RollingUpdate");
            if text(spec, &["strategy", "type"]) == "RollingUpdate" {
                default(spec, &["strategy", "rollingUpdate", "maxUnavailable"], "25%");
                default(spec, &["strategy", "rollingUpdate", "maxSurge"], "25%");
            }
        }
        "statefulsets" => {
            default(spec, &["replicas"], 1);
            default(spec, &["revisionHistoryLimit"], 10);
            default(spec, &["podManagementPolicy"], "OrderedReady");
            default(spec, &["updateStrategy", "type"], "RollingUpdate");
            if text(spec, &["updateStrategy", "type"]) == "RollingUpdate" {
                default(spec, &["updateStrategy", "rollingUpdate", "partition"], 0);
            }
            default(spec, &["persistentVolumeClaimRetentionPolicy", "whenDeleted"], "Retain");
            default(spec, &["persistentVolumeClaimRetentionPolicy", "whenScaled"], "Retain");
            for claim in list_mut(spec, &["volumeClaimTemplates"]) {
                default(claim, &["apiVersion"], "v1");
                default(claim, &["kind"], "PersistentVolumeClaim");
                default(claim, &["spec", "volumeMode"], "Filesystem");
                default(claim, &["status", "phase"], "Pending");
            }
        }
        "daemonsets" => {
            default(spec, &["revisionHistoryLimit"], 10);
            default(spec, &["updateStrategy", "type"], "RollingUpdate");
            if text(spec, &["updateStrategy", "type"]) == "RollingUpdate" {
                default(spec, &["updateStrategy", "rollingUpdate", "maxUnavailable"], 1);
                default(spec, &["updateStrategy", "rollingUpdate", "maxSurge"], 0);
            }
        }
        "replicasets" => default(spec, &["replicas"], 1),
        _ => {}
    }
}

/// Checks a workload.
pub(super) fn validate(resource: &Resource, object: &Value) -> Vec<Cause> {
    if resource.plural == "controllerrevisions" {
        return Vec::new();
    }
    let mut causes = Vec::new();
    match at(object, &["spec", "selector"]) {
        None => causes.push(Cause::required("spec.selector", "")),
        Some(selector) => {
            let labels = at(object, &["spec", "template", "metadata", "labels"]);
            if !label_selector_matches(selector, labels) {
                let shown = labels.cloned().unwrap_or_else(|| json!({}));
                causes.push(Cause::invalid(
                    "spec.template.metadata.labels",
                    &shown,
                    "`selector` does not match template `labels`",
                ));
            }
        }
    }
    let template = at(object, &["spec", "template", "spec"]).unwrap_or(&Value::Null);
    causes.extend(pod::validate_spec(template, "spec.template.spec"));
    if text(template, &["restartPolicy"]) != "Always" && !template.is_null() {
        let supported = ["Always".to_owned()];
        causes.push(Cause::unsupported(
            "spec.template.spec.restartPolicy",
            &json!(text(template, &["restartPolicy"])),
            &supported,
        ));
    }
    causes
}

/// Checks that a workload keeps its selector, and a stateful set most of its spec.
pub(super) fn validate_update(resource: &Resource, before: &Value, after: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if resource.plural == "statefulsets" {
        let mut frozen = before["spec"].clone();
        for field in [
            "replicas",
            "ordinals",
            "template",
            "updateStrategy",
            "revisionHistoryLimit",
            "persistentVolumeClaimRetentionPolicy",
            "minReadySeconds",
        ] {
            crate::access::copy(&after["spec"], &mut frozen, &[field]);
        }
        if frozen != after["spec"] {
            causes.push(Cause::forbidden("spec", "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"));
        }
    } else if resource.plural != "controllerrevisions" {
        let selector = at(after, &["spec", "selector"]);
        if selector != at(before, &["spec", "selector"]) {
            causes.push(Cause::invalid(
                "spec.selector",
                selector.unwrap_or(&Value::Null),
                "field is immutable",
            ));
        }
    }
    causes
}
