//! The custom resources, one file a kind, and their definitions.
//!
//! [`all`] gives the definitions as an API server takes them: structural, without `nullable` (as the Go
//! generator writes them: a null is dropped, not stored), quantities as int-or-string.
//!
//! The schemas are stricter than VolSync's in nothing and more tolerant in one thing: other movers' blocks
//! (`restic`, `rclone`, …) are kept as they are, unread.
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Map, Value};

mod kopia_maintenance;
mod replication_destination;
mod replication_source;
mod shared;
mod volume_populator;
mod volume_snapshot;

pub use kopia_maintenance::*;
pub use replication_destination::*;
pub use replication_source::*;
pub use shared::*;
pub use volume_populator::*;
pub use volume_snapshot::*;

/// Gives every definition, sorted by name.
pub fn all() -> Vec<CustomResourceDefinition> {
    let mut all = vec![
        settled(&ReplicationSource::crd()),
        settled(&ReplicationDestination::crd()),
        settled(&KopiaMaintenance::crd()),
        settled(&VolumeSnapshot::crd()),
        settled(&VolumeSnapshotContent::crd()),
        settled(&VolumeSnapshotClass::crd()),
        settled(&VolumePopulator::crd()),
    ];
    all.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    all
}

/// The pattern of `resource.Quantity` in generated definitions.
const QUANTITY_PATTERN: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// Brings a derived definition into the form that the Go generator writes.
fn settled(crd: &CustomResourceDefinition) -> CustomResourceDefinition {
    let mut value = serde_json::to_value(crd).expect("a definition is plain data");
    if let Some(versions) = value.pointer_mut("/spec/versions").and_then(Value::as_array_mut) {
        for version in versions {
            if let Some(schema) = version.pointer_mut("/schema/openAPIV3Schema") {
                settle_schema(schema);
                if let Some(object) = schema.as_object_mut() {
                    object.entry("type").or_insert_with(|| "object".into());
                }
            }
        }
    }
    serde_json::from_value(value).expect("a settled definition is a definition")
}

/// Removes `nullable` and null defaults, completes quantities and shortens descriptions, in all depths.
fn settle_schema(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    object.remove("nullable");
    object.remove("title");
    if let Some(Value::Array(values)) = object.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if object.get("default").is_some_and(Value::is_null) {
        object.remove("default");
    }
    if object.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        object.remove("type");
        object.insert("anyOf".into(), serde_json::json!([{"type": "integer"}, {"type": "string"}]));
        object.insert("pattern".into(), QUANTITY_PATTERN.into());
        shorten(object);
        return;
    }
    shorten(object);
    for (keyword, below) in object.iter_mut() {
        match keyword.as_str() {
            "properties" => {
                for property in below.as_object_mut().into_iter().flat_map(Map::values_mut) {
                    settle_schema(property);
                }
            }
            "items" | "additionalProperties" => settle_schema(below),
            _ => {}
        }
    }
}

/// Keeps the first sentence of a description: Kubernetes' own types bring pages.
fn shorten(object: &mut Map<String, Value>) {
    let Some(Value::String(text)) = object.get_mut("description") else { return };
    let line = text.lines().next().unwrap_or_default();
    let end = line.find(". ").map_or(line.len(), |at| at + 1);
    *text = line[..end].to_owned();
}
