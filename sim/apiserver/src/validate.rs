//! Names, labels and other metadata: what every object must keep to.
//!
//! Texts follow `k8s.io/apimachinery/pkg/util/validation`.

use json::Value;

use crate::access::{at, finalizers, is_deleting, list, text};
use crate::failure::{Cause, quoted};
use crate::resource::Resource;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const DNS_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const QUALIFIED_NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// What is wrong with a string as an RFC 1123 subdomain.
pub(crate) fn subdomain(value: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if value.len() > 253 {
        wrong.push("must be no more than 253 characters".to_owned());
    }
    if !value.split('.').all(is_label) {
        wrong.push(SUBDOMAIN.to_owned());
    }
    wrong
}

/// What is wrong with a string as an RFC 1123 label.
pub(crate) fn label(value: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if value.len() > 63 {
        wrong.push("must be no more than 63 characters".to_owned());
    }
    if !is_label(value) {
        wrong.push(LABEL.to_owned());
    }
    wrong
}

fn dns_1035(value: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if value.len() > 63 {
        wrong.push("must be no more than 63 characters".to_owned());
    }
    if !is_label(value) || !value.starts_with(|letter: char| letter.is_ascii_lowercase()) {
        wrong.push(DNS_1035.to_owned());
    }
    wrong
}

/// What is wrong with a string as a label value.
pub(crate) fn label_value(value: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if value.len() > 63 {
        wrong.push("must be no more than 63 characters".to_owned());
    }
    if !value.is_empty() && !is_name_part(value) {
        wrong.push(LABEL_VALUE.to_owned());
    }
    wrong
}

/// What is wrong with a string as a qualified name (`prefix/name`).
pub(crate) fn qualified_name(value: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let (prefix, name) = match value.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, value),
    };
    if let Some(prefix) = prefix {
        if prefix.is_empty() {
            wrong.push("prefix part must be non-empty".to_owned());
        } else {
            wrong.extend(subdomain(prefix).into_iter().map(|text| format!("prefix part {text}")));
        }
    }
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        wrong.push("name part must be no more than 63 characters".to_owned());
    }
    if !is_name_part(name) {
        wrong.push(QUALIFIED_NAME.to_owned());
    }
    wrong
}

fn is_label(value: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !value.is_empty()
        && value.bytes().all(|byte| inner(byte) || byte == b'-')
        && value.bytes().next().is_some_and(inner)
        && value.bytes().next_back().is_some_and(inner)
}

fn is_name_part(value: &str) -> bool {
    !value.is_empty()
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && value.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && value.bytes().next_back().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

/// Checks the metadata of any object.
pub(crate) fn metadata(resource: &Resource, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    name(resource, text(object, &["metadata", "name"]), &mut causes);
    let maps = [("labels", true), ("annotations", false)];
    for (field, has_strict_values) in maps {
        let path = format!("metadata.{field}");
        match at(object, &["metadata", field]) {
            None | Some(Value::Null) => {}
            Some(Value::Object(map)) => {
                let mut total = 0;
                for (key, value) in map {
                    let checked = if has_strict_values { key.to_string() } else { key.to_lowercase() };
                    for wrong in qualified_name(&checked) {
                        causes.push(Cause::invalid(&path, &Value::String(key.clone()), &wrong));
                    }
                    let Some(value) = value.as_str() else {
                        causes.push(Cause::invalid_word(&path, type_of(value), "must be of type string"));
                        continue;
                    };
                    total += key.len() + value.len();
                    if has_strict_values {
                        for wrong in label_value(value) {
                            causes.push(Cause::invalid(&path, &Value::from(value), &wrong));
                        }
                    }
                }
                if !has_strict_values && total > 256 * 1024 {
                    causes.push(Cause::too_long(&path, 256 * 1024));
                }
            }
            Some(other) => causes.push(Cause::invalid_word(&path, type_of(other), "must be of type object")),
        }
    }
    for (index, owner) in list(object, &["metadata", "ownerReferences"]).iter().enumerate() {
        for (field, detail) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if text(owner, &[field]).is_empty() {
                causes.push(Cause::invalid(
                    format!("metadata.ownerReferences.{field}"),
                    &Value::from(""),
                    detail,
                ));
            }
        }
        if index > 0
            && owner.get("controller").and_then(Value::as_bool) == Some(true)
            && list(object, &["metadata", "ownerReferences"])[..index]
                .iter()
                .any(|other| other.get("controller").and_then(Value::as_bool) == Some(true))
        {
            causes.push(Cause::invalid(
                "metadata.ownerReferences",
                &list(object, &["metadata", "ownerReferences"]).iter().cloned().collect(),
                "Only one reference can have Controller set to true",
            ));
        }
    }
    for finalizer in finalizers(object) {
        for wrong in qualified_name(finalizer) {
            causes.push(Cause::invalid("metadata.finalizers", &Value::from(finalizer), &wrong));
        }
    }
    causes
}

fn name(resource: &Resource, name: &str, causes: &mut Vec<Cause>) {
    let is_free = resource.group == "rbac.authorization.k8s.io";
    let wrong = if is_free {
        path_segment(name)
    } else if resource.is("", "namespaces") {
        label(name)
    } else if resource.is("", "services") {
        dns_1035(name)
    } else {
        subdomain(name)
    };
    let value = Value::from(name);
    causes.extend(wrong.iter().map(|detail| Cause::invalid("metadata.name", &value, detail)));
    if resource.is("batch", "cronjobs") && name.len() > 52 {
        causes.push(Cause::invalid("metadata.name", &value, "must be no more than 52 characters"));
    }
}

fn path_segment(name: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if name == "." || name == ".." {
        wrong.push(format!("may not be '{name}'"));
    }
    for letter in ['/', '%'] {
        if name.contains(letter) {
            wrong.push(format!("may not contain '{letter}'"));
        }
    }
    wrong
}

/// Checks what an update may not do to metadata.
pub(crate) fn metadata_update(before: &Value, after: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if is_deleting(before) {
        let added: Vec<String> = finalizers(after)
            .filter(|finalizer| !finalizers(before).any(|held| held == *finalizer))
            .map(quoted)
            .collect();
        if !added.is_empty() {
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.join(", ")
            );
            causes.push(Cause::forbidden("metadata.finalizers", &detail));
        }
    }
    causes
}

/// The JSON type of a value as messages name it.
pub(crate) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: fn(&str) -> Vec<String>, value: &str, is_right: bool) {
        assert_eq!(rule(value).is_empty(), is_right, "{value:?}: {:?}", rule(value));
    }

    #[test]
    fn names_follow_the_rules_of_their_kind() {
        check(subdomain, "a.b-c.9", true);
        check(subdomain, "", false);
        check(subdomain, "a..b", false);
        check(subdomain, "A", false);
        check(subdomain, "-a", false);
        check(subdomain, &"a".repeat(254), false);
        check(label, "a.b", false);
        check(label, &"a".repeat(63), true);
        check(label, &"a".repeat(64), false);
        check(dns_1035, "9a", false);
        check(label_value, "", true);
        check(label_value, "A_b.c", true);
        check(label_value, "a/b", false);
        check(qualified_name, "volsync.backube/cleanup", true);
        check(qualified_name, "/x", false);
        check(qualified_name, "x/", false);
    }
}
