//! A field or a type that the custom resource does not have.
//!
//! The schema is the one the API server enforces: unknown fields are pruned there in silence, wrong
//! types are refused.

use std::sync::LazyLock;

use serde_json::Value;

use super::Findings;
use crate::model::{Model, Object, Problem, Severity};

/// Schemas by kind.
static SCHEMAS: LazyLock<Vec<(String, Value)>> = LazyLock::new(|| {
    api::crd::all()
        .iter()
        .filter_map(|definition| {
            let value = serde_json::to_value(definition).ok()?;
            let kind = value.pointer("/spec/names/kind")?.as_str()?.to_owned();
            Some((kind, value.pointer("/spec/versions/0/schema/openAPIV3Schema")?.clone()))
        })
        .collect()
});

pub(super) fn check(model: &Model, findings: &mut Findings) {
    for (index, app) in super::known(model) {
        let objects = app.sources.iter().map(|source| ("ReplicationSource", &source.object)).chain(
            app.destinations.iter().map(|destination| ("ReplicationDestination", &destination.object)),
        );
        for (kind, object) in objects {
            findings.extend(of(kind, object).into_iter().map(|problem| (Some(index), problem)));
        }
    }
    for maintenance in &model.maintenance {
        findings
            .extend(of("KopiaMaintenance", &maintenance.object).into_iter().map(|problem| (None, problem)));
    }
}

fn of(kind: &str, object: &Object) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let (Some((_, schema)), Some(spec)) =
        (SCHEMAS.iter().find(|(name, _)| name == kind), object.object.get("spec"))
    {
        walk(
            spec,
            schema.pointer("/properties/spec").unwrap_or(&Value::Null),
            "spec",
            &mut |path, message, severity, cure| {
                let problem = Problem::new(
                    "unknown-field",
                    severity,
                    format!("{kind}/{}: {path} {message}", object.name),
                    cure,
                );
                problems.push(problem.at(object.origin.clone()));
            },
        );
    }
    problems
}

fn walk(value: &Value, schema: &Value, path: &str, report: &mut dyn FnMut(&str, String, Severity, String)) {
    let any = schema.get("x-kubernetes-preserve-unknown-fields").and_then(Value::as_bool) == Some(true);
    let either = schema.get("x-kubernetes-int-or-string").and_then(Value::as_bool) == Some(true);
    if value.is_null() || schema.is_null() {
        return;
    }
    let wanted = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    let fits = match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        _ => true,
    };
    if !fits && !either {
        report(
            path,
            format!("is {value}, and must be of type {wanted}: the API server refuses the object"),
            Severity::Error,
            format!("write a {wanted}"),
        );
        return;
    }
    if let (Some(allowed), Some(_)) = (schema.get("enum").and_then(Value::as_array), value.as_str())
        && !allowed.contains(value)
    {
        let words: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        report(
            path,
            format!("is {value}: the API server refuses the object"),
            Severity::Error,
            format!("use one of {}", words.join(", ")),
        );
    }
    if let (Some(map), Some(known)) = (value.as_object(), schema.get("properties").and_then(Value::as_object))
    {
        for (key, inner) in map {
            let path = format!("{path}.{key}");
            match known.get(key) {
                Some(schema) => walk(inner, schema, &path, report),
                None if any => {}
                None => report(
                    &path,
                    "is not a field: the API server drops it".into(),
                    Severity::Warning,
                    near(key, known.keys().map(String::as_str)),
                ),
            }
        }
    } else if let (Some(items), Some(schema)) = (value.as_array(), schema.get("items")) {
        for (at, item) in items.iter().enumerate() {
            walk(item, schema, &format!("{path}[{at}]"), report);
        }
    } else if let (Some(map), Some(schema)) =
        (value.as_object(), schema.get("additionalProperties").filter(|schema| schema.is_object()))
    {
        for (key, item) in map {
            walk(item, schema, &format!("{path}.{key}"), report);
        }
    }
}

/// The known field that a wrong one was probably meant to be.
fn near<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> String {
    let lower = key.to_lowercase();
    known
        .map(|name| (distance(&lower, &name.to_lowercase()), name))
        .min()
        .filter(|(distance, _)| *distance <= key.len() / 2)
        .map_or_else(|| "remove it".to_owned(), |(_, name)| format!("remove it, or write {name}"))
}

fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
