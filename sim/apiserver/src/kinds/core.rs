//! Namespaces, secrets, config maps, services.

use base64::Engine as _;
use json::{Value, json};

use crate::access::{self, at, default, map_mut, remove, set, text};
use crate::failure::Cause;

/// Defaults of a namespace.
pub(super) fn default_namespace(namespace: &mut Value) {
    if !access::is_deleting(namespace) {
        default(namespace, &["spec", "finalizers"], json!(["kubernetes"]));
    }
}

/// Gives a namespace the label that selectors find it by.
pub(super) fn label_namespace(namespace: &mut Value) {
    let name = access::name(namespace).to_owned();
    set(namespace, &["metadata", "labels", "kubernetes.io/metadata.name"], name);
}

/// Defaults of a secret; plain strings are taken over into the data.
pub(super) fn default_secret(secret: &mut Value) {
    default(secret, &["type"], "Opaque");
    if let Some(Value::Object(plain)) = remove(secret, &["stringData"])
        && let Some(data) = map_mut(secret, &["data"])
    {
        for (key, value) in plain {
            let bytes = value.as_str().unwrap_or_default().as_bytes();
            data.insert(key, json!(base64::engine::general_purpose::STANDARD.encode(bytes)));
        }
    }
}

/// Defaults of a service.
pub(super) fn default_service(service: &mut Value) {
    let Some(spec) = service.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    default(spec, &["type"], "ClusterIP");
    default(spec, &["sessionAffinity"], "None");
    if text(spec, &["type"]) != "ExternalName" {
        default(spec, &["internalTrafficPolicy"], "Cluster");
    }
    for port in access::list_mut(spec, &["ports"]) {
        default(port, &["protocol"], "TCP");
        if let Some(number) = at(port, &["port"]).cloned() {
            default(port, &["targetPort"], number);
        }
    }
}

/// Checks the keys and sizes of a secret or config map.
pub(super) fn validate_data(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let is_secret = text(object, &["kind"]) == "Secret";
    let mut total = 0;
    for field in ["data", "binaryData"] {
        let Some(map) = at(object, &[field]).and_then(Value::as_object) else { continue };
        for (key, value) in map {
            let is_right = !key.is_empty()
                && key.len() <= 253
                && key != "."
                && !key.starts_with("..")
                && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
            if !is_right {
                causes.push(Cause::invalid(
                    format!("{field}[{key}]"),
                    &json!(key),
                    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
                ));
            }
            total += value.as_str().map_or(0, |text| if is_secret { text.len() * 3 / 4 } else { text.len() });
        }
    }
    if total > 1024 * 1024 {
        causes.push(Cause::too_long(if is_secret { "data" } else { "" }, 1024 * 1024));
    }
    causes
}

/// Checks that an immutable secret or config map stays, and a secret keeps its type.
pub(super) fn validate_data_update(before: &Value, after: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if text(before, &["type"]) != text(after, &["type"]) {
        causes.push(Cause::invalid("type", &json!(text(after, &["type"])), "field is immutable"));
    }
    if at(before, &["immutable"]) == Some(&json!(true)) {
        if at(after, &["immutable"]) != Some(&json!(true)) {
            causes.push(Cause::forbidden("immutable", "field is immutable when `immutable` is set"));
        }
        for field in ["data", "binaryData"] {
            if at(before, &[field]) != at(after, &[field]) {
                causes.push(Cause::forbidden(field, "field is immutable when `immutable` is set"));
            }
        }
    }
    causes
}
