//! Custom resource definitions: an object that makes endpoints.
//!
//! A definition is served from the moment it is stored; its status (accepted names, conditions, stored
//! versions) is written by the server's own `crd-controller` as part of the creation. Deleting a definition
//! deletes its objects, and waits for those that finalizers hold.
//!
//! Only conversion strategy `None` is known.

use std::sync::Arc;

use json::{Value, json};

use crate::access::{at, default, list, set, text};
use crate::failure::Cause;
use crate::resource::{Column, Custom, Resource, Scale};
use crate::schema::Schema;
use crate::server::{Verb, Write};
use crate::state::State;

/// The finalizer that keeps a definition until its objects are gone.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Fills in what a definition leaves out.
pub(crate) fn default_fields(definition: &mut Value) {
    let kind = text(definition, &["spec", "names", "kind"]).to_owned();
    default(definition, &["spec", "names", "singular"], kind.to_lowercase());
    default(definition, &["spec", "names", "listKind"], format!("{kind}List"));
    default(definition, &["spec", "conversion"], json!({"strategy": "None"}));
}

/// Checks a definition.
pub(crate) fn validate(definition: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let expected = format!(
        "{}.{}",
        text(definition, &["spec", "names", "plural"]),
        text(definition, &["spec", "group"])
    );
    let name = at(definition, &["metadata", "name"]).cloned().unwrap_or_default();
    if name != json!(expected) {
        causes.push(Cause::invalid("metadata.name", &name, "must be spec.names.plural+\".\"+spec.group"));
    }
    let scope = text(definition, &["spec", "scope"]);
    if !matches!(scope, "Namespaced" | "Cluster") {
        causes.push(if scope.is_empty() {
            Cause::required("spec.scope", "")
        } else {
            Cause::unsupported("spec.scope", &json!(scope), &["Cluster".to_owned(), "Namespaced".to_owned()])
        });
    }
    let versions = list(definition, &["spec", "versions"]);
    let stored = versions
        .iter()
        .filter(|version| version.get("storage").and_then(Value::as_bool) == Some(true))
        .count();
    if stored != 1 {
        causes.push(Cause::invalid(
            "spec.versions",
            &json!([]),
            "must have exactly one version marked as storage version",
        ));
    }
    for (index, version) in versions.iter().enumerate() {
        if at(version, &["schema", "openAPIV3Schema"]).is_none() {
            causes.push(Cause::required(
                format!("spec.versions[{index}].schema.openAPIV3Schema"),
                "schemas are required",
            ));
        }
    }
    causes
}

/// The status of a definition whose names were accepted.
pub(crate) fn status(definition: &Value, now: &str) -> Value {
    let stored: Vec<&str> = list(definition, &["spec", "versions"])
        .iter()
        .filter(|version| version.get("storage").and_then(Value::as_bool) == Some(true))
        .map(|version| text(version, &["name"]))
        .collect();
    let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message});
    json!({
        "acceptedNames": at(definition, &["spec", "names"]).cloned().unwrap_or_default(),
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "storedVersions": stored,
    })
}

/// Makes the endpoints of a stored definition live, or takes them away.
pub(crate) fn serve(state: &mut State, write: &Write) {
    let definition = &*write.object;
    let group = text(definition, &["spec", "group"]);
    let plural = text(definition, &["spec", "names", "plural"]);
    let old = state
        .registry
        .resources
        .values()
        .find(|resource| resource.group == group && resource.plural == plural);
    let old_shelf = old.map(|resource| resource.shelf);
    if write.verb == Verb::Delete {
        state.registry.remove(group, plural);
        return;
    }
    let shelf = old_shelf.unwrap_or_else(|| state.store.add_shelf());
    state.registry.remove(group, plural);
    for version in list(definition, &["spec", "versions"]) {
        if version.get("served").and_then(Value::as_bool) != Some(false) {
            state.registry.insert(resource(definition, version, shelf));
        }
    }
}

fn resource(definition: &Value, version: &Value, shelf: usize) -> Resource {
    let names = |key: &str| text(definition, &["spec", "names", key]).to_owned();
    let words = |key: &str| -> Vec<String> {
        list(definition, &["spec", "names", key])
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let path = |value: &Value, key: &str| -> Option<Vec<String>> {
        let path = value.get(key)?.as_str()?;
        Some(path.trim_start_matches('.').split('.').map(str::to_owned).collect())
    };
    Resource {
        group: text(definition, &["spec", "group"]).to_owned(),
        version: text(version, &["name"]).to_owned(),
        plural: names("plural"),
        singular: names("singular"),
        kind: names("kind"),
        list_kind: names("listKind"),
        short_names: words("shortNames"),
        categories: words("categories"),
        namespaced: text(definition, &["spec", "scope"]) == "Namespaced",
        has_status: at(version, &["subresources", "status"]).is_some(),
        scale: at(version, &["subresources", "scale"]).and_then(|scale| {
            Some(Scale {
                spec_replicas: path(scale, "specReplicasPath")?,
                status_replicas: path(scale, "statusReplicasPath")?,
                label_selector: path(scale, "labelSelectorPath"),
            })
        }),
        counts_generation: true,
        returns_deleted: false,
        orphans_by_default: false,
        is_review: false,
        custom: Some(Arc::new(Custom {
            schema: Schema::of_version(version),
            columns: columns(version),
            selectable_fields: list(version, &["selectableFields"])
                .iter()
                .map(|field| text(field, &["jsonPath"]).trim_start_matches('.').to_owned())
                .collect(),
        })),
        shelf,
    }
}

fn columns(version: &Value) -> Vec<Column> {
    let given = list(version, &["additionalPrinterColumns"]).iter().map(|column| Column {
        name: text(column, &["name"]).to_owned(),
        kind: text(column, &["type"]).to_owned(),
        format: text(column, &["format"]).to_owned(),
        description: text(column, &["description"]).to_owned(),
        priority: column.get("priority").and_then(Value::as_i64).unwrap_or(0),
        path: text(column, &["jsonPath"]).to_owned(),
    });
    let columns: Vec<Column> = given.collect();
    if !columns.is_empty() {
        return columns;
    }
    vec![Column {
        name: "Age".to_owned(),
        kind: "date".to_owned(),
        format: String::new(),
        description:
            "CreationTimestamp is a timestamp representing the server time when this object was created."
                .to_owned(),
        priority: 0,
        path: ".metadata.creationTimestamp".to_owned(),
    }]
}

/// Sets the status that a definition has once it is stored.
pub(crate) fn complete_new(definition: &mut Value, now: &str) {
    let status = status(definition, now);
    set(definition, &["status"], status);
    set(definition, &["metadata", "finalizers"], json!([CLEANUP]));
}
