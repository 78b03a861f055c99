//! Applies kustomize patches: strategic merge and JSON 6902.
//!
//! Promises that a patch finds its targets before substitution, by the literal names, as kustomize
//! does, and that a patch which finds none is a refused build. Lists of objects with names are merged
//! by name in workloads only; custom resources have their lists replaced, as kustomize does without a
//! schema.

use serde_json::Value;

use super::refused;
use crate::model::Problem;
use crate::yaml::{Document, Origin, Stream, parse};

/// Applies a patch text, of one or several documents, to every target.
pub(super) fn apply(
    text: &str,
    target: Option<&Value>,
    documents: &mut [Document],
    origin: &Origin,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for chunk in Stream::new(text.as_bytes(), &origin.file).flatten() {
        let patch = match parse(&chunk.text, origin) {
            Ok(patch) => patch,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        let mut hits = 0;
        for document in documents.iter_mut() {
            let is_target = match target {
                Some(target) => selects(target, document),
                None => is_same(&patch, document),
            };
            if !is_target {
                continue;
            }
            hits += 1;
            if let Some(operations) = patch.as_array() {
                for operation in operations {
                    if let Err(message) = operate(&mut document.value, operation) {
                        problems.push(refused(
                            format!("a JSON patch of {} fails: {message}", document.title()),
                            "correct the path; kustomize refuses the build",
                            origin.clone(),
                        ));
                    }
                }
            } else {
                let by_name =
                    document.group().is_empty() || document.group() == "apps" || document.group() == "batch";
                let (kind, name) = (document.kind().to_owned(), document.name().to_owned());
                merge(&mut document.value, &patch, by_name);
                if target.is_some() {
                    // A target's patch may carry any name; it never renames.
                    document.value["kind"] = kind.into();
                    document.value["metadata"]["name"] = name.into();
                }
            }
        }
        if hits == 0 && target.is_none() {
            let name = patch.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            let kind = patch.get("kind").and_then(Value::as_str).unwrap_or_default();
            problems.push(refused(
                format!("a patch for {kind}/{name} finds no such resource: kustomize refuses the build"),
                "names are compared before substitution: write the same text in both",
                origin.clone(),
            ));
        }
    }
    problems
}

fn is_same(patch: &Value, document: &Document) -> bool {
    let text = |pointer: &str| patch.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    text("/kind") == document.kind()
        && text("/metadata/name") == document.name()
        && text("/apiVersion").rsplit_once('/').map_or("", |(group, _)| group) == document.group()
        && (text("/metadata/namespace").is_empty() || text("/metadata/namespace") == document.namespace())
}

fn selects(target: &Value, document: &Document) -> bool {
    let field = |key: &str| target.get(key).and_then(Value::as_str).unwrap_or_default();
    let version = document.api_version().rsplit('/').next().unwrap_or_default();
    let pattern = |key: &str, actual: &str| {
        let wanted = field(key);
        wanted.is_empty()
            || wanted == actual
            || regex::Regex::new(&format!("^(?:{wanted})$")).is_ok_and(|regex| regex.is_match(actual))
    };
    let labels = |key: &str, marks: &str| {
        field(key).split(',').map(str::trim).filter(|term| !term.is_empty()).all(|term| {
            let actual = |name: &str| document.str(&["metadata", marks, name.trim()]);
            if let Some((name, value)) = term.split_once("!=") {
                actual(name) != Some(value.trim())
            } else if let Some((name, value)) = term.split_once('=') {
                actual(name) == Some(value.trim_start_matches('=').trim())
            } else if let Some(name) = term.strip_prefix('!') {
                actual(name).is_none()
            } else {
                actual(term).is_some()
            }
        })
    };
    (field("group").is_empty() || field("group") == document.group())
        && (field("version").is_empty() || field("version") == version)
        && pattern("kind", document.kind())
        && pattern("name", document.name())
        && pattern("namespace", document.namespace())
        && labels("labelSelector", "labels")
        && labels("annotationSelector", "annotations")
}

fn merge(into: &mut Value, patch: &Value, by_name: bool) {
    let (Value::Object(target), Value::Object(changes)) = (&mut *into, patch) else {
        *into = patch.clone();
        return;
    };
    if changes.get("$patch").and_then(Value::as_str) == Some("replace") {
        let mut fresh = changes.clone();
        fresh.remove("$patch");
        *into = Value::Object(fresh);
        return;
    }
    for (key, change) in changes.iter().filter(|(key, _)| key.as_str() != "$patch") {
        if change.is_null() || change.get("$patch").and_then(Value::as_str) == Some("delete") {
            target.remove(key);
            continue;
        }
        match target.get_mut(key) {
            Some(Value::Array(items))
                if by_name && change.as_array().is_some_and(|changes| named(changes)) && named(items) =>
            {
                for change in change.as_array().into_iter().flatten() {
                    match items.iter_mut().find(|item| item["name"] == change["name"]) {
                        Some(item) => merge(item, change, by_name),
                        None => items.push(change.clone()),
                    }
                }
            }
            Some(slot) => merge(slot, change, by_name),
            None => {
                target.insert(key.clone(), change.clone());
            }
        }
    }
}

fn named(items: &[Value]) -> bool {
    !items.is_empty() && items.iter().all(|item| item.get("name").is_some())
}

/// One operation of RFC 6902.
fn operate(value: &mut Value, operation: &Value) -> Result<(), String> {
    let text =
        |key: &str| operation.get(key).and_then(Value::as_str).ok_or_else(|| format!("{key} is missing"));
    let path = text("path")?;
    match text("op")? {
        "add" => insert(value, path, operation.get("value").cloned().unwrap_or_default()),
        "replace" => {
            let slot =
                value.pointer_mut(path).ok_or_else(|| format!("{path} is not there to be replaced"))?;
            *slot = operation.get("value").cloned().unwrap_or_default();
            Ok(())
        }
        "remove" => take(value, path).map(|_| ()),
        "copy" => {
            let from = value.pointer(text("from")?).cloned().ok_or_else(|| "from is not there".to_owned())?;
            insert(value, path, from)
        }
        "move" => {
            let from = take(value, text("from")?)?;
            insert(value, path, from)
        }
        "test" => {
            if value.pointer(path) == operation.get("value") {
                Ok(())
            } else {
                Err(format!("the test of {path} fails"))
            }
        }
        other => Err(format!("{other} is no operation")),
    }
}

fn split(path: &str) -> Result<(&str, String), String> {
    let (parent, last) =
        path.rsplit_once('/').ok_or_else(|| format!("{path} does not begin with a slash"))?;
    Ok((parent, last.replace("~1", "/").replace("~0", "~")))
}

fn insert(value: &mut Value, path: &str, new: Value) -> Result<(), String> {
    if path.is_empty() {
        *value = new;
        return Ok(());
    }
    let (parent, last) = split(path)?;
    match value.pointer_mut(parent).ok_or_else(|| format!("{parent} is not there"))? {
        Value::Object(map) => {
            map.insert(last, new);
        }
        Value::Array(items) if last == "-" => items.push(new),
        Value::Array(items) => {
            let at: usize = last.parse().map_err(|_| format!("{last} is no index"))?;
            if at > items.len() {
                return Err(format!("{at} is beyond the end"));
            }
            items.insert(at, new);
        }
        _ => return Err(format!("{parent} is neither a mapping nor a list")),
    }
    Ok(())
}

fn take(value: &mut Value, path: &str) -> Result<Value, String> {
    let (parent, last) = split(path)?;
    let gone = match value.pointer_mut(parent) {
        Some(Value::Object(map)) => map.remove(&last),
        Some(Value::Array(items)) => {
            last.parse::<usize>().ok().filter(|at| *at < items.len()).map(|at| items.remove(at))
        }
        _ => None,
    };
    gone.ok_or_else(|| format!("{path} is not there to be removed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document(value: Value) -> Document {
        Document::made(value, Origin::new("f", 1))
    }

    #[expect(clippy::needless_pass_by_value, reason = "a table of literals reads better")]
    #[track_caller]
    fn check(target: Option<Value>, patch: &str, before: Value, after: Value) {
        let mut documents = [document(before)];
        let problems = apply(patch, target.as_ref(), &mut documents, &Origin::new("k", 1));
        assert_eq!(problems, []);
        assert_eq!(documents[0].value, after);
    }

    #[test]
    fn both_kinds_of_patches_change_their_targets() {
        let source = json!({"apiVersion": "volsync.backube/v1alpha1", "kind": "ReplicationSource", "metadata": {"name": "${APP}"}, "spec": {"trigger": {"schedule": "0 * * * *"}, "kopia": {"accessModes": ["a", "b"]}}});
        let mut expected = source.clone();
        expected["spec"]["trigger"]["schedule"] = json!("0 5 * * *");
        check(
            None,
            "apiVersion: volsync.backube/v1alpha1\nkind: ReplicationSource\nmetadata: {name: '${APP}'}\nspec: {trigger: {schedule: 0 5 * * *}}",
            source.clone(),
            expected.clone(),
        );
        check(
            Some(json!({"kind": "ReplicationSource"})),
            "- {op: replace, path: /spec/trigger/schedule, value: 0 5 * * *}",
            source.clone(),
            expected,
        );
        let mut fewer = source.clone();
        fewer["spec"]["kopia"] = json!({"accessModes": ["c"]});
        check(Some(json!({"name": "[$].*"})), "spec: {kopia: {accessModes: [c]}}", source.clone(), fewer);
        let mut added = source.clone();
        added["spec"]["kopia"]["accessModes"] = json!(["a", "b", "c"]);
        check(
            Some(json!({"group": "volsync.backube"})),
            "- {op: add, path: /spec/kopia/accessModes/-, value: c}",
            source.clone(),
            added,
        );
        let mut gone = source.clone();
        gone["spec"].as_object_mut().unwrap().remove("trigger");
        check(Some(json!({"version": "v1alpha1"})), "spec: {trigger: null}", source.clone(), gone.clone());
        check(
            Some(json!({"kind": "Replication.*"})),
            "- {op: remove, path: /spec/trigger}",
            source.clone(),
            gone,
        );
        check(Some(json!({"kind": "Other"})), "- {op: remove, path: /spec/trigger}", source.clone(), source);
    }

    #[test]
    fn a_patch_without_target_is_a_refused_build() {
        let mut documents =
            [document(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}))];
        let problems = apply(
            "apiVersion: v1\nkind: Secret\nmetadata: {name: b}",
            None,
            &mut documents,
            &Origin::new("k", 1),
        );
        assert_eq!(problems.len(), 1);
        let problems = apply(
            "- {op: replace, path: /spec/x, value: 1}",
            Some(&json!({"kind": "Secret"})),
            &mut documents,
            &Origin::new("k", 1),
        );
        assert_eq!(problems.len(), 1);
    }
}
