//! The little of OpenAPI that clients ask before they write.
//!
//! `kubectl` only wants to know whether the server validates fields by itself (parameter `fieldValidation`
//! of a resource's PATCH); it does, so no schema of built-in types is needed.

use json::{Map, Value, json};

use crate::failure::Failure;
use crate::request::Answer;
use crate::resource::{Registry, Resource};

/// Answers below `/openapi`.
pub(crate) fn answer(registry: &Registry, parts: &[&str], _accept: &str) -> Result<Answer, Failure> {
    match parts {
        ["v2"] => Ok(Answer::json(
            200,
            &json!({"swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1.34.0"}, "paths": {}, "definitions": {}}),
        )),
        ["v3"] => {
            let mut paths = Map::new();
            for (group, versions) in registry.groups() {
                for version in versions {
                    let path = if group.is_empty() {
                        format!("api/{version}")
                    } else {
                        format!("apis/{group}/{version}")
                    };
                    paths.insert(path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}")}));
                }
            }
            Ok(Answer::json(200, &json!({ "paths": paths })))
        }
        ["v3", "api", version] => document(registry, "", version),
        ["v3", "apis", group, version] => document(registry, group, version),
        _ => Err(Failure::no_such_path()),
    }
}

fn document(registry: &Registry, group: &str, version: &str) -> Result<Answer, Failure> {
    let mut paths = Map::new();
    for resource in
        registry.resources.values().filter(|resource| resource.group == group && resource.version == version)
    {
        paths.insert(path_of(resource), json!({ "patch": patch_of(resource) }));
    }
    if paths.is_empty() {
        return Err(Failure::no_such_path());
    }
    Ok(Answer::json(
        200,
        &json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.34.0"}, "paths": paths, "components": {"schemas": {}}}),
    ))
}

fn path_of(resource: &Resource) -> String {
    let root = if resource.group.is_empty() {
        format!("/api/{}", resource.version)
    } else {
        format!("/apis/{}/{}", resource.group, resource.version)
    };
    let scope = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
    format!("{root}{scope}/{}/{{name}}", resource.plural)
}

fn patch_of(resource: &Resource) -> Value {
    let parameter =
        |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
    json!({
        "operationId": format!("patch{}", resource.kind),
        "parameters": [parameter("dryRun"), parameter("fieldManager"), parameter("fieldValidation"), parameter("force")],
        "requestBody": {"content": {
            "application/json-patch+json": {},
            "application/merge-patch+json": {},
            "application/apply-patch+yaml": {},
        }},
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
    })
}
