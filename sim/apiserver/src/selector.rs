//! Label and field selectors.
//!
//! The grammar is that of `k8s.io/apimachinery/pkg/labels`: `a=b`, `a==b`, `a!=b`, `a in (x, y)`,
//! `a notin (x)`, `a`, `!a`, joined by commas. Field selectors know only `=`, `==` and `!=`, and only the
//! fields that the resource allows.

use std::collections::BTreeSet;

use json::Value;

use crate::access::{at, text};
use crate::failure::{Failure, quoted};
use crate::resource::Resource;

/// What a list, watch or collection deletion selects.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<FieldRequirement>,
    namespace: String,
}

#[derive(Debug, Clone)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    Exists,
    Absent,
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
}

#[derive(Debug, Clone)]
struct FieldRequirement {
    path: String,
    value: String,
    is_equal: bool,
}

impl Selector {
    /// Parses the selectors of a request on a resource.
    pub fn parse(resource: &Resource, namespace: &str, labels: &str, fields: &str) -> Result<Self, Failure> {
        let fields = parse_fields(fields)?;
        for field in &fields {
            if !is_selectable(resource, &field.path) {
                return Err(Failure::bad_request(format!(
                    "Unable to find {} that match label selector {}, field selector {}: field label not supported: {}",
                    quoted(&format!("{}, Resource={}", gv(resource), resource.plural)),
                    quoted(labels),
                    quoted(&format!(
                        "{}{}{}",
                        field.path,
                        if field.is_equal { "=" } else { "!=" },
                        field.value
                    )),
                    field.path
                )));
            }
        }
        Ok(Self { labels: parse_labels(labels)?, fields, namespace: namespace.to_owned() })
    }

    /// The namespace that is looked at; empty for all.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whether an object is selected.
    pub fn matches(&self, object: &Value) -> bool {
        (self.namespace.is_empty() || text(object, &["metadata", "namespace"]) == self.namespace)
            && self.labels.iter().all(|requirement| requirement.matches(at(object, &["metadata", "labels"])))
            && self
                .fields
                .iter()
                .all(|field| (field_of(object, &field.path) == field.value) == field.is_equal)
    }

    /// Whether everything in the namespace is selected.
    pub fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }
}

fn gv(resource: &Resource) -> String {
    format!("{}/{}", resource.group, resource.version)
}

impl Requirement {
    fn matches(&self, labels: Option<&Value>) -> bool {
        let value = labels.and_then(|labels| labels.get(&self.key)).and_then(Value::as_str);
        match &self.test {
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
            Test::In(values) => value.is_some_and(|value| values.contains(value)),
            Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
        }
    }
}

/// Reads a field as selectors see it: absent is empty, booleans and numbers are their text.
fn field_of(object: &Value, path: &str) -> String {
    // Core events name the object as `involvedObject`, the newer spelling as `regarding`.
    let found = path.split('.').try_fold(object, |value, key| value.get(key));
    match found {
        Some(Value::String(text)) => text.to_string(),
        Some(Value::Bool(flag)) => flag.to_string(),
        Some(Value::Number(number)) => number.to_string(),
        _ => match path {
            "spec.unschedulable" => "false".to_owned(),
            _ => String::new(),
        },
    }
}

fn is_selectable(resource: &Resource, path: &str) -> bool {
    if path == "metadata.name" || path == "metadata.namespace" {
        return true;
    }
    if let Some(custom) = &resource.custom {
        return custom.selectable_fields.iter().any(|field| field == path);
    }
    let allowed: &[&str] = match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        ("", "events") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("events.k8s.io", "events") => &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "reason",
            "reportingController",
            "type",
        ],
        ("", "secrets") => &["type"],
        ("", "namespaces") => &["status.phase"],
        ("", "nodes") => &["spec.unschedulable"],
        ("", "services") => &["spec.clusterIP", "spec.type"],
        ("", "replicationcontrollers") | ("apps", "replicasets") => &["status.replicas"],
        ("batch", "jobs") => &["status.successful"],
        _ => &[],
    };
    allowed.contains(&path)
}

fn parse_fields(fields: &str) -> Result<Vec<FieldRequirement>, Failure> {
    let mut requirements = Vec::new();
    for term in fields.split(',').map(str::trim).filter(|term| !term.is_empty()) {
        let (path, value, is_equal) = if let Some((path, value)) = term.split_once("!=") {
            (path, value, false)
        } else if let Some((path, value)) = term.split_once("==") {
            (path, value, true)
        } else if let Some((path, value)) = term.split_once('=') {
            (path, value, true)
        } else {
            return Err(Failure::bad_request(format!(
                "invalid selector: {}; can't understand {}",
                quoted(fields),
                quoted(term)
            )));
        };
        requirements.push(FieldRequirement {
            path: path.trim().to_owned(),
            value: value.trim().to_owned(),
            is_equal,
        });
    }
    Ok(requirements)
}

fn parse_labels(labels: &str) -> Result<Vec<Requirement>, Failure> {
    let mut requirements = Vec::new();
    let mut rest = labels.trim();
    while !rest.is_empty() {
        let (term, after) = next_term(rest);
        requirements.push(parse_requirement(term.trim()).ok_or_else(|| {
            Failure::bad_request(format!(
                "unable to parse requirement: found {}, expected: identifier, comma or ')'",
                quoted(term)
            ))
        })?);
        rest = after.trim_start();
    }
    Ok(requirements)
}

/// Splits at the first comma outside parentheses.
fn next_term(text: &str) -> (&str, &str) {
    let mut depth = 0;
    for (index, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => return (&text[..index], &text[index + 1..]),
            _ => {}
        }
    }
    (text, "")
}

fn parse_requirement(term: &str) -> Option<Requirement> {
    let made = |key: &str, test: Test| {
        let key = key.trim();
        (!key.is_empty() && !key.contains(char::is_whitespace))
            .then(|| Requirement { key: key.to_owned(), test })
    };
    let one = |value: &str| BTreeSet::from([value.trim().to_owned()]);
    if let Some(key) = term.strip_prefix('!') {
        return made(key, Test::Absent);
    }
    if let Some(open) = term.find('(') {
        let values: BTreeSet<String> =
            term[open + 1..].strip_suffix(')')?.split(',').map(|value| value.trim().to_owned()).collect();
        let (key, word) = term[..open].trim().rsplit_once(char::is_whitespace)?;
        return match word {
            "in" => made(key, Test::In(values)),
            "notin" => made(key, Test::NotIn(values)),
            _ => None,
        };
    }
    if let Some((key, value)) = term.split_once("!=") {
        return made(key, Test::NotIn(one(value)));
    }
    if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        return made(key, Test::In(one(value)));
    }
    made(term, Test::Exists)
}

/// Whether the labels of an object satisfy a `LabelSelector` (`matchLabels`, `matchExpressions`).
pub(crate) fn label_selector_matches(selector: &Value, labels: Option<&Value>) -> bool {
    let has = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
    let labels_match = selector
        .get("matchLabels")
        .and_then(Value::as_object)
        .is_none_or(|wanted| wanted.iter().all(|(key, value)| has(key) == value.as_str()));
    let expressions_match =
        selector.get("matchExpressions").and_then(Value::as_array).is_none_or(|expressions| {
            expressions.iter().all(|expression| {
                let value = has(text(expression, &["key"]));
                let listed = value.is_some_and(|value| {
                    expression
                        .get("values")
                        .and_then(Value::as_array)
                        .is_some_and(|values| values.iter().any(|v| v == value))
                });
                match text(expression, &["operator"]) {
                    "In" => listed,
                    "NotIn" => !listed,
                    "Exists" => value.is_some(),
                    "DoesNotExist" => value.is_none(),
                    _ => false,
                }
            })
        });
    labels_match && expressions_match
}

#[cfg(test)]
mod tests {
    use json::json;

    use super::*;

    fn check(selector: &str, labels: &Value, expected: bool) {
        let requirements = parse_labels(selector).expect("selector parses");
        let matches = requirements.iter().all(|requirement| requirement.matches(Some(labels)));
        assert_eq!(matches, expected, "{selector} on {labels}");
    }

    #[test]
    fn label_selectors_follow_the_grammar() {
        let labels = json!({"app": "a", "tier": "x"});
        check("", &labels, true);
        check("app=a", &labels, true);
        check("app==a,tier!=x", &labels, false);
        check("app in (a, b),tier notin (y)", &labels, true);
        check("app in (b)", &labels, false);
        check("missing notin (y)", &labels, true);
        check("missing!=y", &labels, true);
        check("!missing,app", &labels, true);
        check("!app", &labels, false);
        check("missing=", &labels, false);
        assert!(parse_labels("app in a").is_err());
        assert!(parse_labels("a b").is_err());
    }
}
