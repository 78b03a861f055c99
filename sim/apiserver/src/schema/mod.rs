//! Structural schemas of custom resources: pruning, defaulting, validation.
//!
//! Reads the `openAPIV3Schema` of a definition. Texts follow kube-openapi's validator as the API server shows
//! them. Does not evaluate `x-kubernetes-validations` (CEL rules); they are kept for `openapi` only.

mod validate;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use json::{Map, Value};
use regex::Regex;

use crate::access::{at, text};

/// One node of a schema.
#[derive(Debug, Default)]
pub(crate) struct Schema {
    pub kind: Option<String>,
    pub is_nullable: bool,
    pub properties: BTreeMap<String, Schema>,
    pub additional: Option<Box<Schema>>,
    pub items: Option<Box<Schema>>,
    pub preserves_unknown: bool,
    pub is_embedded_resource: bool,
    pub is_int_or_string: bool,
    pub list_type: String,
    pub list_map_keys: Vec<String>,
    pub is_atomic_map: bool,
    pub default: Option<Value>,
    /// Whether there is a default here or anywhere below.
    fills: bool,
    rules: Rules,
}

/// What a value must satisfy.
#[derive(Debug, Default)]
struct Rules {
    required: Vec<String>,
    enumeration: Vec<Value>,
    pattern: Option<(String, Option<Regex>)>,
    format: String,
    minimum: Option<f64>,
    maximum: Option<f64>,
    is_exclusive_minimum: bool,
    is_exclusive_maximum: bool,
    multiple_of: Option<f64>,
    min_length: Option<u64>,
    max_length: Option<u64>,
    min_items: Option<u64>,
    max_items: Option<u64>,
    min_properties: Option<u64>,
    max_properties: Option<u64>,
    all_of: Vec<Schema>,
    any_of: Vec<Schema>,
    one_of: Vec<Schema>,
    not: Option<Box<Schema>>,
}

impl Schema {
    /// Reads a schema. What is not understood is left out, as an older server does.
    pub fn parse(source: &Value) -> Self {
        let flag = |key: &str| source.get(key).and_then(Value::as_bool).unwrap_or(false);
        let count = |key: &str| source.get(key).and_then(Value::as_u64);
        let number = |key: &str| source.get(key).and_then(Value::as_f64);
        let many = |key: &str| {
            source
                .get(key)
                .and_then(Value::as_array)
                .map(|all| all.iter().map(Self::parse).collect())
                .unwrap_or_default()
        };
        let words = |key: &str| -> Vec<String> {
            source
                .get(key)
                .and_then(Value::as_array)
                .map(|all| all.iter().filter_map(Value::as_str).map(str::to_owned).collect())
                .unwrap_or_default()
        };
        let additional = match source.get("additionalProperties") {
            Some(Value::Bool(true)) => Some(Box::new(Self { preserves_unknown: true, ..Self::default() })),
            Some(schema @ Value::Object(_)) => Some(Box::new(Self::parse(schema))),
            _ => None,
        };
        let mut schema = Self {
            fills: false,
            kind: source.get("type").and_then(Value::as_str).map(str::to_owned),
            is_nullable: flag("nullable"),
            properties: source
                .get("properties")
                .and_then(Value::as_object)
                .map(|all| all.iter().map(|(name, schema)| (name.to_string(), Self::parse(schema))).collect())
                .unwrap_or_default(),
            additional,
            items: source
                .get("items")
                .filter(|items| items.is_object())
                .map(|items| Box::new(Self::parse(items))),
            preserves_unknown: flag("x-kubernetes-preserve-unknown-fields"),
            is_embedded_resource: flag("x-kubernetes-embedded-resource"),
            is_int_or_string: flag("x-kubernetes-int-or-string"),
            list_type: text(source, &["x-kubernetes-list-type"]).to_owned(),
            list_map_keys: words("x-kubernetes-list-map-keys"),
            is_atomic_map: text(source, &["x-kubernetes-map-type"]) == "atomic",
            default: source.get("default").cloned(),
            rules: Rules {
                required: words("required"),
                enumeration: source
                    .get("enum")
                    .and_then(Value::as_array)
                    .map(|all| all.to_vec())
                    .unwrap_or_default(),
                pattern: source
                    .get("pattern")
                    .and_then(Value::as_str)
                    .map(|pattern| (pattern.to_owned(), Regex::new(pattern).ok())),
                format: text(source, &["format"]).to_owned(),
                minimum: number("minimum"),
                maximum: number("maximum"),
                is_exclusive_minimum: flag("exclusiveMinimum"),
                is_exclusive_maximum: flag("exclusiveMaximum"),
                multiple_of: number("multipleOf"),
                min_length: count("minLength"),
                max_length: count("maxLength"),
                min_items: count("minItems"),
                max_items: count("maxItems"),
                min_properties: count("minProperties"),
                max_properties: count("maxProperties"),
                all_of: many("allOf"),
                any_of: many("anyOf"),
                one_of: many("oneOf"),
                not: source.get("not").map(|schema| Box::new(Self::parse(schema))),
            },
        };
        let below =
            schema.properties.values().chain(schema.additional.as_deref()).chain(schema.items.as_deref());
        schema.fills = schema.default.is_some() || below.into_iter().any(|schema| schema.fills);
        schema
    }

    /// Reads the schema of one version of a definition; without one, everything is allowed.
    pub fn of_version(version: &Value) -> Self {
        at(version, &["schema", "openAPIV3Schema"])
            .map_or_else(|| Self { preserves_unknown: true, ..Self::default() }, Self::parse)
    }

    /// Drops fields that the schema does not know; returns their paths.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        let mut unknown = Vec::new();
        // A walk that may change shares nothing afterwards; nearly always there is nothing to prune.
        if !self.is_known(object, true) {
            self.prune_at(object, &mut Trail::default(), true, &mut unknown);
        }
        unknown
    }

    /// Whether pruning would leave everything as it is.
    fn is_known(&self, value: &Value, is_resource: bool) -> bool {
        match value {
            Value::Object(map) => map.iter().all(|(name, value)| {
                if is_resource && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
                    return true;
                }
                match self.properties.get(name.as_str()).or(self.additional.as_deref()) {
                    Some(schema) => schema.is_known(value, schema.is_embedded_resource),
                    None => self.preserves_unknown,
                }
            }),
            Value::Array(items) => self.items.as_ref().is_none_or(|schema| {
                items.iter().all(|item| schema.is_known(item, schema.is_embedded_resource))
            }),
            _ => true,
        }
    }

    fn prune_at(&self, value: &mut Value, trail: &mut Trail, is_resource: bool, unknown: &mut Vec<String>) {
        match value {
            Value::Object(map) => BTreeMap::retain(map, |name, value| {
                if is_resource && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
                    return true;
                }
                let known = self.properties.get(name.as_str()).or(self.additional.as_deref());
                trail.within(name, |trail| {
                    if let Some(schema) = known {
                        schema.prune_at(value, trail, schema.is_embedded_resource, unknown);
                    } else if !self.preserves_unknown {
                        unknown.push(trail.text().to_owned());
                    }
                });
                known.is_some() || self.preserves_unknown
            }),
            Value::Array(items) => {
                if let Some(schema) = &self.items {
                    for (index, item) in items.iter_mut().enumerate() {
                        trail.within_item(index, |trail| {
                            schema.prune_at(item, trail, schema.is_embedded_resource, unknown);
                        });
                    }
                }
            }
            _ => {}
        }
    }

    /// Fills in defaults of maps that are there.
    pub fn fill_defaults(&self, value: &mut Value) {
        if !self.fills {
            return;
        }
        match value {
            Value::Object(map) => {
                for (name, schema) in &self.properties {
                    schema.default_entry(map, name);
                }
                if let Some(schema) = self.additional.as_ref().filter(|schema| schema.fills) {
                    for (name, value) in map.iter_mut() {
                        if !self.properties.contains_key(name.as_str()) {
                            schema.fill_defaults(value);
                        }
                    }
                }
            }
            Value::Array(items) => {
                if let Some(schema) = self.items.as_ref().filter(|schema| schema.fills) {
                    for item in items {
                        schema.fill_defaults(item);
                    }
                }
            }
            _ => {}
        }
    }

    fn default_entry(&self, map: &mut Map, name: &str) {
        if let Some(default) = &self.default
            && map.get(name).is_none_or(|value| value.is_null() && !self.is_nullable)
        {
            map.insert(name.to_owned(), default.clone());
        }
        if self.fills
            && let Some(value) = map.get_mut(name)
        {
            self.fill_defaults(value);
        }
    }
}

/// Where a walk through a value stands, as messages write it: `spec.list[0].name`.
#[derive(Default)]
struct Trail(String);

impl Trail {
    fn from(path: &str) -> Self {
        Self(path.to_owned())
    }

    fn text(&self) -> &str {
        &self.0
    }

    fn below(mut self, name: &str) -> Self {
        self.enter(name);
        self
    }

    fn enter(&mut self, name: &str) {
        if !self.0.is_empty() {
            self.0.push('.');
        }
        self.0.push_str(name);
    }

    /// Goes down to a field and comes back.
    fn within(&mut self, name: &str, walk: impl FnOnce(&mut Self)) {
        let length = self.0.len();
        self.enter(name);
        walk(self);
        self.0.truncate(length);
    }

    /// Goes down to an item of a list and comes back.
    fn within_item(&mut self, index: usize, walk: impl FnOnce(&mut Self)) {
        let length = self.0.len();
        let _ = write!(self.0, "[{index}]");
        walk(self);
        self.0.truncate(length);
    }
}

#[cfg(test)]
mod tests {
    use json::json;

    use super::*;

    fn schema() -> Schema {
        Schema::parse(&json!({
            "type": "object",
            "properties": {"spec": {"type": "object", "required": ["size"], "properties": {
                "size": {"type": "integer", "minimum": 1, "maximum": 9},
                "mode": {"type": "string", "enum": ["Direct", "None"], "default": "Direct"},
                "port": {"x-kubernetes-int-or-string": true},
                "capacity": {"anyOf": [{"type": "integer"}, {"type": "string"}], "pattern": "^[0-9]+(Mi|Gi)?$", "x-kubernetes-int-or-string": true},
                "when": {"type": "string", "format": "date-time"},
                "name": {"type": "string", "minLength": 2, "maxLength": 4, "pattern": "^a"},
                "list": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "object", "properties": {"on": {"type": "boolean", "default": true}}}},
                "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            }}},
        }))
    }

    fn check(spec: &Value, expected: &[&str]) {
        let causes = schema().validate(&json!({ "spec": spec }));
        let found: Vec<String> = causes.iter().map(crate::failure::Cause::sentence).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn wrong_values_are_named_as_the_real_server_names_them() {
        check(&json!({"size": 1}), &[]);
        check(&json!({}), &["spec.size: Required value"]);
        check(
            &json!({"size": 0}),
            &["spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"],
        );
        check(
            &json!({"size": 10}),
            &["spec.size: Invalid value: 10: spec.size in body should be less than or equal to 9"],
        );
        check(
            &json!({"size": "1"}),
            &[r#"spec.size: Invalid value: "string": spec.size in body must be of type integer: "string""#],
        );
        check(
            &json!({"size": 1, "mode": "Foo"}),
            &[r#"spec.mode: Unsupported value: "Foo": supported values: "Direct", "None""#],
        );
        check(
            &json!({"size": 1, "mode": null}),
            &[r#"spec.mode: Invalid value: "null": spec.mode in body must be of type string: "null""#],
        );
        check(&json!({"size": 1, "port": 80, "capacity": "5Gi"}), &[]);
        check(&json!({"size": 1, "capacity": 5}), &[]);
        check(
            &json!({"size": 1, "port": true}),
            &[
                r#"spec.port: Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean""#,
            ],
        );
        check(
            &json!({"size": 1, "capacity": "5Xi"}),
            &[
                r#"spec.capacity: Invalid value: "5Xi": spec.capacity in body should match '^[0-9]+(Mi|Gi)?$'"#,
            ],
        );
        check(&json!({"size": 1, "when": "2026-01-01T00:00:00Z"}), &[]);
        check(
            &json!({"size": 1, "when": "today"}),
            &[r#"spec.when: Invalid value: "today": spec.when in body must be of type date-time: "today""#],
        );
        check(
            &json!({"size": 1, "name": "a"}),
            &[r#"spec.name: Invalid value: "a": spec.name in body should be at least 2 chars long"#],
        );
        check(&json!({"size": 1, "name": "abcde"}), &["spec.name: Too long: may not be more than 4 bytes"]);
        check(
            &json!({"size": 1, "name": "bcd"}),
            &[r#"spec.name: Invalid value: "bcd": spec.name in body should match '^a'"#],
        );
        check(
            &json!({"size": 1, "list": []}),
            &["spec.list: Invalid value: []: spec.list in body should have at least 1 items"],
        );
        check(
            &json!({"size": 1, "list": [{}, {}, {}]}),
            &["spec.list: Too many: 3: must have at most 2 items"],
        );
        check(
            &json!({"size": 1, "list": [{"on": "x"}]}),
            &[
                r#"spec.list[0].on: Invalid value: "string": spec.list[0].on in body must be of type boolean: "string""#,
            ],
        );
        check(&json!({"size": 1, "tags": ["a", "a"]}), &[r#"spec.tags[1]: Duplicate value: "a""#]);
        check(
            &json!({"size": 1, "labels": {"a": 1}}),
            &[
                r#"spec.labels.a: Invalid value: "integer": spec.labels.a in body must be of type string: "integer""#,
            ],
        );
    }

    #[test]
    fn unknown_fields_are_pruned_where_the_schema_does_not_keep_them() {
        let mut object = json!({"kind": "K", "metadata": {"x": 1}, "spec": {"a": 1, "list": [{"b": 1}], "labels": {"c": "d"}, "free": {"e": {"f": 1}}}});
        assert_eq!(schema().prune(&mut object), ["spec.a", "spec.list[0].b"]);
        assert_eq!(
            object,
            json!({"kind": "K", "metadata": {"x": 1}, "spec": {"list": [{}], "labels": {"c": "d"}, "free": {"e": {"f": 1}}}})
        );
    }

    #[test]
    fn defaults_fill_maps_that_are_there() {
        let mut object = json!({"spec": {"list": [{}, {"on": false}]}});
        schema().fill_defaults(&mut object);
        assert_eq!(object, json!({"spec": {"mode": "Direct", "list": [{"on": true}, {"on": false}]}}));
        let mut bare = json!({});
        schema().fill_defaults(&mut bare);
        assert_eq!(bare, json!({}));
    }
}
