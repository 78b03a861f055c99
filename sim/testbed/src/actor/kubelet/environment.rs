//! The environment of a container, as kubelet resolves it.
//!
//! Literals, `$(NAME)` references, keys of Secrets and ConfigMaps, whole Secrets and ConfigMaps, and the
//! few fields that pods ask of themselves. What is required and missing is an error with kubelet's text; it
//! keeps the container from starting and is tried again.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use json::Value;

use crate::actor::{
    Cluster,
    cluster::{name, namespace, text, uid},
    resource,
};

/// Resolves the environment of a container; the error is kubelet's text (`CreateContainerConfigError`).
pub fn resolve(
    cluster: &Cluster,
    pod: &Value,
    container: &Value,
) -> Result<BTreeMap<String, String>, String> {
    let mut variables = BTreeMap::new();
    for source in container["envFrom"].as_array().into_iter().flatten() {
        let prefix = text(source, "/prefix");
        for (kind, field) in [("secret", "secretRef"), ("configmap", "configMapRef")] {
            let reference = &source[field];
            if reference.is_null() {
                continue;
            }
            let Some(data) = read_all(cluster, kind, namespace(pod), text(reference, "/name")) else {
                if reference["optional"] == true {
                    continue;
                }
                return Err(format!("{kind} \"{}\" not found", text(reference, "/name")));
            };
            variables.extend(data.into_iter().map(|(key, value)| (format!("{prefix}{key}"), lossy(&value))));
        }
    }
    for variable in container["env"].as_array().into_iter().flatten() {
        let variable_name = text(variable, "/name").to_owned();
        let from = &variable["valueFrom"];
        let value = if from.is_null() {
            Some(expand(text(variable, "/value"), &variables))
        } else if from["secretKeyRef"].is_object() {
            key_of(cluster, "secret", namespace(pod), &from["secretKeyRef"])?
        } else if from["configMapKeyRef"].is_object() {
            key_of(cluster, "configmap", namespace(pod), &from["configMapKeyRef"])?
        } else {
            Some(field_of(pod, text(from, "/fieldRef/fieldPath")))
        };
        if let Some(value) = value {
            variables.insert(variable_name, value);
        }
    }
    Ok(variables)
}

/// The maps in which a Secret or ConfigMap holds its keys, the stronger first, and whether values are in base64.
fn holders(kind: &str) -> [(&'static str, bool); 2] {
    if kind == "secret" {
        // The server folds stringData into data; accept both.
        [("stringData", false), ("data", true)]
    } else {
        [("binaryData", true), ("data", false)]
    }
}

fn read(value: &Value, is_encoded: bool) -> Vec<u8> {
    let value = value.as_str().unwrap_or_default();
    if is_encoded { STANDARD.decode(value).unwrap_or_default() } else { value.as_bytes().to_vec() }
}

fn find(cluster: &Cluster, kind: &str, space: &str, object: &str) -> Option<Arc<Value>> {
    let resource = if kind == "secret" { resource::SECRET } else { resource::CONFIG_MAP };
    cluster.get(resource, space, object)
}

/// All keys of a Secret or ConfigMap, decoded; `None` if it does not exist.
pub fn read_all(
    cluster: &Cluster,
    kind: &str,
    space: &str,
    object: &str,
) -> Option<BTreeMap<String, Vec<u8>>> {
    let object = find(cluster, kind, space, object)?;
    let mut data = BTreeMap::new();
    for (holder, is_encoded) in holders(kind).into_iter().rev() {
        let keys = object[holder].as_object().into_iter().flatten();
        data.extend(keys.map(|(key, value)| (key.to_string(), read(value, is_encoded))));
    }
    Some(data)
}

fn key_of(cluster: &Cluster, kind: &str, space: &str, reference: &Value) -> Result<Option<String>, String> {
    let (name, key) = (text(reference, "/name"), text(reference, "/key"));
    let is_optional = reference["optional"] == true;
    let Some(object) = find(cluster, kind, space, name) else {
        return if is_optional { Ok(None) } else { Err(format!("{kind} \"{name}\" not found")) };
    };
    let found = holders(kind).into_iter().find_map(|(holder, is_encoded)| {
        object[holder].get(key).map(|value| lossy(&read(value, is_encoded)))
    });
    match found {
        None if !is_optional => {
            let kind = if kind == "secret" { "Secret" } else { "ConfigMap" };
            Err(format!("couldn't find key {key} in {kind} {space}/{name}"))
        }
        found => Ok(found),
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Replaces `$(NAME)` by what was defined before; `$$(NAME)` stays as `$(NAME)`.
fn expand(value: &str, variables: &BTreeMap<String, String>) -> String {
    let mut expanded = String::new();
    let mut rest = value;
    while let Some(at) = rest.find("$(") {
        let (before, from) = rest.split_at(at);
        let Some(end) = from.find(')') else { break };
        if let Some(escaped) = before.strip_suffix('$') {
            expanded.push_str(escaped);
            expanded.push_str(&from[..=end]);
        } else {
            expanded.push_str(before);
            match variables.get(&from[2..end]) {
                Some(known) => expanded.push_str(known),
                None => expanded.push_str(&from[..=end]),
            }
        }
        rest = &from[end + 1..];
    }
    expanded.push_str(rest);
    expanded
}

fn field_of(pod: &Value, path: &str) -> String {
    match path {
        "metadata.name" => name(pod).to_owned(),
        "metadata.namespace" => namespace(pod).to_owned(),
        "metadata.uid" => uid(pod).to_owned(),
        "spec.nodeName" => text(pod, "/spec/nodeName").to_owned(),
        "spec.serviceAccountName" => text(pod, "/spec/serviceAccountName").to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_to_earlier_variables_are_replaced() {
        let known = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        for (value, expected) in [
            ("x$(A)y", "x1y"),
            ("$(B)", "$(B)"),
            ("$$(A)", "$(A)"),
            ("$(A", "$(A"),
            ("", ""),
            ("$(A)$(A)", "11"),
        ] {
            assert_eq!(expand(value, &known), expected, "{value}");
        }
    }
}
