//! What the server tells about itself: versions, groups, resources, health.

use std::sync::Arc;

use json::{Value, json};

use crate::failure::Failure;
use crate::request::Answer;
use crate::resource::{Registry, Resource, api_version};

const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// Answers paths that are about the server.
pub(crate) fn answer(registry: &Registry, parts: &[&str], accept: &str) -> Result<Answer, Failure> {
    let wants_aggregate =
        accept.split(',').next().is_some_and(|form| form.contains("as=APIGroupDiscoveryList"));
    match parts {
        ["version"] => Ok(Answer::json(200, &version())),
        ["healthz" | "livez" | "readyz", ..] => Ok(Answer::text("ok")),
        ["api"] if wants_aggregate => Ok(aggregate(registry, true)),
        ["apis"] if wants_aggregate => Ok(aggregate(registry, false)),
        ["api"] => Ok(Answer::json(
            200,
            &json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        )),
        ["apis"] => {
            let groups: Vec<Value> = registry
                .groups()
                .iter()
                .filter(|(group, _)| !group.is_empty())
                .map(|(group, versions)| group_of(group, versions))
                .collect();
            Ok(Answer::json(200, &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})))
        }
        ["apis", group] => {
            let groups = registry.groups();
            let versions = groups.get(*group).ok_or_else(Failure::no_such_path)?;
            let mut shown = group_of(group, versions);
            shown["kind"] = json!("APIGroup");
            shown["apiVersion"] = json!("v1");
            Ok(Answer::json(200, &shown))
        }
        ["api", version] => resources(registry, "", version),
        ["apis", group, version] => resources(registry, group, version),
        [] => Ok(Answer::json(
            200,
            &json!({"paths": ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]}),
        )),
        _ => Err(Failure::no_such_path()),
    }
}

fn version() -> Value {
    json!({
        "major": "1",
        "minor": "34",
        "emulationMajor": "1",
        "emulationMinor": "34",
        "gitVersion": "v1.34.0+firedrill",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "2025-08-27T10:17:44Z",
        "goVersion": "none",
        "compiler": "rustc",
        "platform": "simulated",
    })
}

fn group_of(group: &str, versions: &[String]) -> Value {
    let listed: Vec<Value> = versions
        .iter()
        .map(|version| json!({"groupVersion": api_version(group, version), "version": version}))
        .collect();
    json!({"name": group, "versions": listed, "preferredVersion": listed.first()})
}

fn of_version<'a>(
    registry: &'a Registry,
    group: &'a str,
    version: &'a str,
) -> impl Iterator<Item = &'a Arc<Resource>> {
    registry.resources.values().filter(move |resource| resource.group == group && resource.version == version)
}

fn resources(registry: &Registry, group: &str, version: &str) -> Result<Answer, Failure> {
    let mut listed = Vec::new();
    for resource in of_version(registry, group, version) {
        let mut shown = json!({
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": verbs(resource),
        });
        if !resource.short_names.is_empty() {
            shown["shortNames"] = json!(resource.short_names);
        }
        if !resource.categories.is_empty() {
            shown["categories"] = json!(resource.categories);
        }
        listed.push(shown);
        for (name, kind, verbs) in subresources(resource) {
            let (group, version) = scale_version(kind);
            let mut shown = json!({
                "name": format!("{}/{name}", resource.plural),
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": kind,
                "verbs": verbs,
            });
            if !version.is_empty() {
                shown["group"] = json!(group);
                shown["version"] = json!(version);
            }
            listed.push(shown);
        }
    }
    if listed.is_empty() {
        return Err(Failure::no_such_path());
    }
    Ok(Answer::json(
        200,
        &json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version(group, version), "resources": listed}),
    ))
}

fn verbs(resource: &Resource) -> &'static [&'static str] {
    if resource.is_review { &["create"] } else { VERBS }
}

fn scale_version(kind: &str) -> (&'static str, &'static str) {
    match kind {
        "Scale" => ("autoscaling", "v1"),
        "Eviction" => ("policy", "v1"),
        "TokenRequest" => ("authentication.k8s.io", "v1"),
        _ => ("", ""),
    }
}

/// Name, kind and verbs of the subresources.
fn subresources(resource: &Resource) -> Vec<(&'static str, &str, &'static [&'static str])> {
    let mut found: Vec<(&str, &str, &[&str])> = Vec::new();
    if resource.is("", "pods") {
        found.extend([
            ("binding", "Binding", ["create"].as_slice()),
            ("eviction", "Eviction", &["create"]),
            ("log", "Pod", &["get"]),
        ]);
    }
    if resource.is("", "namespaces") {
        found.push(("finalize", "Namespace", &["update"]));
    }
    if resource.is("", "serviceaccounts") {
        found.push(("token", "TokenRequest", &["create"]));
    }
    if resource.scale.is_some() {
        found.push(("scale", "Scale", &["get", "patch", "update"]));
    }
    if resource.has_status {
        found.push(("status", resource.kind.as_str(), &["get", "patch", "update"]));
    }
    found
}

/// The aggregated form: everything in one answer.
fn aggregate(registry: &Registry, is_core: bool) -> Answer {
    let mut items = Vec::new();
    for (group, versions) in registry.groups() {
        if group.is_empty() != is_core {
            continue;
        }
        let versions: Vec<Value> = versions
            .iter()
            .map(|version| {
                let resources: Vec<Value> = of_version(registry, &group, version)
                    .map(|resource| {
                        let nested: Vec<Value> = subresources(resource)
                            .into_iter()
                            .map(|(name, kind, verbs)| {
                                let (kind_group, kind_version) = scale_version(kind);
                                json!({
                                    "subresource": name,
                                    "responseKind": {"group": kind_group, "version": kind_version, "kind": kind},
                                    "verbs": verbs,
                                })
                            })
                            .collect();
                        let mut shown = json!({
                            "resource": resource.plural,
                            "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
                            "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
                            "singularResource": resource.singular,
                            "verbs": verbs(resource),
                        });
                        if !resource.short_names.is_empty() {
                            shown["shortNames"] = json!(resource.short_names);
                        }
                        if !resource.categories.is_empty() {
                            shown["categories"] = json!(resource.categories);
                        }
                        if !nested.is_empty() {
                            shown["subresources"] = json!(nested);
                        }
                        shown
                    })
                    .collect();
                json!({"version": version, "resources": resources, "freshness": "Current"})
            })
            .collect();
        let metadata = if group.is_empty() { json!({}) } else { json!({ "name": group }) };
        items.push(json!({"metadata": metadata, "versions": versions}));
    }
    let body = json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items});
    match Answer::json(200, &body) {
        Answer::Whole { code, body, warnings, .. } => Answer::Whole {
            code,
            content_type: "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            body,
            warnings,
        },
        watch @ Answer::Watch(_) => watch,
    }
}
