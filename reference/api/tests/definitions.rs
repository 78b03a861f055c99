//! The definitions: what `charts/firedrill/crds/` holds is what the types say, and what an API server takes.
//!
//! `FIREDRILL_BLESS=1 cargo test -p api --test definitions` writes the files anew.
use std::path::PathBuf;

use serde_json::{Value, json};

fn crds_directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../charts/firedrill/crds")
}

fn definitions() -> Vec<(String, Value)> {
    api::crd::all()
        .into_iter()
        .map(|crd| {
            let plural = crd.spec.names.plural.clone();
            let group = crd.spec.group.clone();
            (format!("{group}_{plural}.yaml"), serde_json::to_value(&crd).expect("plain data"))
        })
        .collect()
}

fn definition(kind: &str) -> Value {
    definitions()
        .into_iter()
        .map(|(_, crd)| crd)
        .find(|crd| crd["spec"]["names"]["kind"] == kind)
        .unwrap_or_else(|| panic!("no definition of {kind}"))
}

/// Looks a property up by its path in the schema of a kind.
fn property(kind: &str, path: &str) -> Value {
    let crd = definition(kind);
    let mut schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    for part in path.split('.') {
        schema = if part == "[]" { &schema["items"] } else { &schema["properties"][part] };
    }
    assert!(!schema.is_null(), "{kind} has no {path}");
    schema.clone()
}

#[test]
fn the_chart_holds_what_the_types_say() {
    let bless = std::env::var_os("FIREDRILL_BLESS").is_some();
    if bless {
        std::fs::create_dir_all(crds_directory()).expect("the chart's directory can be made");
    }
    for (name, crd) in definitions() {
        let path = crds_directory().join(&name);
        if bless {
            let text = serde_saphyr::to_string(&crd).expect("a definition prints");
            std::fs::write(&path, format!("# Generated from reference/api; do not edit.\n{text}"))
                .expect("writable");
        }
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let kept: Value = serde_saphyr::from_str(&text).expect("the chart's file is YAML");
        assert_eq!(
            kept, crd,
            "{name} differs from the types; run with FIREDRILL_BLESS=1 and review the change"
        );
    }
}

#[test]
fn schemas_are_structural() {
    /// Visits every schema: a structural one has a type (or is int-or-string, or preserves) in all depths.
    fn visit(schema: &Value, path: &str) {
        let object = schema.as_object().unwrap_or_else(|| panic!("{path} is not an object schema: {schema}"));
        for forbidden in ["nullable", "$ref", "oneOf", "allOf", "definitions", "$schema", "title", "const"] {
            assert!(!object.contains_key(forbidden), "{path} has {forbidden}");
        }
        let free = object.get("x-kubernetes-int-or-string").is_some()
            || object.get("x-kubernetes-preserve-unknown-fields").is_some();
        assert!(free || object.get("type").is_some_and(Value::is_string), "{path} has no single type");
        assert_ne!(object.get("default"), Some(&Value::Null), "{path} defaults to null");
        if let Some(Value::Object(properties)) = object.get("properties") {
            for (name, below) in properties {
                visit(below, &format!("{path}.{name}"));
            }
        }
        for keyword in ["items", "additionalProperties"] {
            if let Some(below) = object.get(keyword) {
                visit(below, &format!("{path}.{keyword}"));
            }
        }
    }
    for (name, crd) in definitions() {
        visit(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &name);
    }
}

#[test]
fn fields_carry_the_original_s_rules() {
    fn check(kind: &str, path: &str, expected: &Value) {
        let schema = property(kind, path);
        for (keyword, value) in expected.as_object().expect("rules are an object") {
            assert_eq!(schema.get(keyword), Some(value), "{kind} {path} {keyword} in {schema}");
        }
    }
    let modes = json!(["Direct", "None", "Clone", "Snapshot"]);
    for kind in ["ReplicationSource", "ReplicationDestination"] {
        check(kind, "spec.kopia.copyMethod", &json!({"type": "string", "enum": modes}));
        check(kind, "spec.kopia.capacity", &json!({"x-kubernetes-int-or-string": true}));
        check(kind, "spec.kopia.accessModes", &json!({"type": "array", "minItems": 1}));
        check(kind, "spec.kopia.additionalArgs", &json!({"maxItems": 20}));
        check(kind, "spec.kopia.metadataCacheSizeLimitMB", &json!({"type": "integer", "format": "int32"}));
        check(kind, "spec.kopia.customCA.configMapName", &json!({"type": "string"}));
        check(kind, "spec.kopia.moverVolumes.[].volumeSource.nfs.server", &json!({"type": "string"}));
        check(kind, "spec.restic", &json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
        check(kind, "status.lastSyncTime", &json!({"type": "string", "format": "date-time"}));
    }
    check("ReplicationSource", "spec.trigger.schedule", &json!({"pattern": api::crd::SCHEDULE_PATTERN}));
    check("ReplicationSource", "spec.sourcePVC", &json!({"type": "string"}));
    check("ReplicationSource", "spec.kopia.sourcePathOverride", &json!({"pattern": "^/.*"}));
    check(
        "ReplicationDestination",
        "spec.kopia.restoreAsOf",
        &json!({"type": "string", "format": "date-time"}),
    );
    check("ReplicationDestination", "spec.kopia.destinationPVC", &json!({"type": "string"}));
    check("KopiaMaintenance", "spec.schedule", &json!({"default": "0 2 * * *"}));
    check("KopiaMaintenance", "spec.enabled", &json!({"default": true, "type": "boolean"}));
    check("KopiaMaintenance", "spec.activeDeadlineSeconds", &json!({"default": 10_800, "minimum": 600.0}));
    check("KopiaMaintenance", "spec.repository.repository", &json!({"minLength": 1}));
}

#[test]
fn names_the_original_does_not_have_are_absent() {
    let source = property("ReplicationSource", "spec.kopia");
    for absent in
        ["snapshotClassName", "maintenanceIntervalDays", "repositoryPVC", "volume", "cache", "mover"]
    {
        assert!(source["properties"].get(absent).is_none(), "{absent}");
    }
    let destination = property("ReplicationDestination", "spec.kopia");
    for absent in ["restoreTime", "compression", "parallelism", "retain", "actions", "sourcePathOverride"] {
        assert!(destination["properties"].get(absent).is_none(), "{absent}");
    }
}

#[test]
fn every_kind_with_status_serves_it_apart() {
    for (name, crd) in definitions() {
        let version = &crd["spec"]["versions"][0];
        let has_status = !version["schema"]["openAPIV3Schema"]["properties"]["status"].is_null();
        assert_eq!(has_status, !version["subresources"]["status"].is_null(), "{name}");
    }
}
