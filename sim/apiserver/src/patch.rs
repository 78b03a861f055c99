//! JSON patch and strategic merge patch.

use json::{Map, Value, json};

use crate::failure::{Cause, Failure};
use crate::resource::Resource;
use crate::state::invalid;

/// Applies an RFC 6902 patch.
///
/// # Errors
/// 400 when it is not one; 422 when an operation fails, as the real server answers.
pub(crate) fn json(
    resource: &Resource,
    name: &str,
    object: &mut Value,
    operations: &Value,
) -> Result<(), Failure> {
    let patch: json_patch::Patch = json::from_value(operations.clone())
        .map_err(|error| Failure::bad_request(format!("error decoding patch: {error}")))?;
    let mut plain = object.take().into();
    let patched = json_patch::patch(&mut plain, &patch);
    *object = plain.into();
    patched.map_err(|error| {
        if matches!(error.kind, json_patch::PatchErrorKind::TestFailed) {
            let cause = Cause::invalid("patch", &json!(error.path.to_string()), "testing value failed");
            invalid(resource, name, &[cause])
        } else {
            let mut failure = invalid(resource, name, &[]);
            "the server rejected our request due to an error in our request".clone_into(&mut failure.message);
            failure
        }
    })
}

/// Where the items of a list are told apart, by field name: what Go's `patchMergeKey` tags say.
///
/// The name of a list field is enough for the built-in types: the same name has the same key wherever it
/// merges, except `ports` (see [`merge_key`]). Lists that are not named here are replaced.
const MERGE_KEYS: &[(&str, &str)] = &[
    ("containers", "name"),
    ("initContainers", "name"),
    ("ephemeralContainers", "name"),
    ("env", "name"),
    ("volumes", "name"),
    ("volumeMounts", "mountPath"),
    ("volumeDevices", "devicePath"),
    ("imagePullSecrets", "name"),
    ("secrets", "name"),
    ("hostAliases", "ip"),
    ("topologySpreadConstraints", "topologyKey"),
    ("conditions", "type"),
    ("addresses", "type"),
    ("taints", "key"),
    ("ownerReferences", "uid"),
    ("webhooks", "name"),
    ("resourceClaims", "name"),
    ("podIPs", "ip"),
    ("hostIPs", "ip"),
    ("validations", "name"),
];

/// Lists of plain values that merge as sets.
const SETS: &[&str] = &["finalizers"];

fn merge_key<'a>(field: &str, items: &[Value]) -> Option<&'a str> {
    if field == "ports" {
        // Containers tell ports apart by `containerPort`, services by `port`.
        let is_container = items.iter().any(|item| item.get("containerPort").is_some());
        return Some(if is_container { "containerPort" } else { "port" });
    }
    MERGE_KEYS.iter().find(|(name, _)| *name == field).map(|(_, key)| *key)
}

/// Applies a strategic merge patch to an object of a built-in type.
///
/// Knows `$patch: delete|replace|merge`, `$retainKeys`, `$deleteFromPrimitiveList/…` and
/// `$setElementOrder/…`.
pub(crate) fn strategic(object: &mut Value, change: &Value) -> Result<(), Failure> {
    let (Some(map), Some(change)) = (object.as_object_mut(), change.as_object()) else {
        return Err(Failure::bad_request("error decoding patch: expected a JSON object"));
    };
    merge_maps(map, change)
}

fn merge_maps(map: &mut Map, change: &Map) -> Result<(), Failure> {
    match change.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            *map = change
                .iter()
                .filter(|(key, _)| !key.starts_with('$'))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            return Ok(());
        }
        Some("delete") => {
            map.clear();
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => return Err(Failure::bad_request(format!("unknown patch directive {other}"))),
    }
    if let Some(kept) = change.get("$retainKeys").and_then(Value::as_array) {
        map.retain(|key, _| kept.iter().any(|kept| kept == key));
    }
    for (key, value) in change {
        if let Some(field) = key.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(items), Some(gone)) =
                (map.get_mut(field).and_then(Value::as_array_mut), value.as_array())
            {
                items.retain(|item| !gone.contains(item));
            }
            continue;
        }
        if key.starts_with('$') {
            continue;
        }
        match (map.get_mut(key), value) {
            (_, Value::Null) => {
                map.remove(key);
            }
            (Some(Value::Object(inner)), Value::Object(change)) => merge_maps(inner, change)?,
            (Some(Value::Array(items)), Value::Array(changes)) => merge_lists(key, items, changes)?,
            _ => {
                let mut cleaned = value.clone();
                drop_directives(&mut cleaned);
                map.insert(key.clone(), cleaned);
            }
        }
    }
    for (key, order) in change {
        if let (Some(field), Some(order)) = (key.strip_prefix("$setElementOrder/"), order.as_array())
            && let Some(items) = map.get_mut(field).and_then(Value::as_array_mut)
        {
            reorder(field, items, order);
        }
    }
    Ok(())
}

fn merge_lists(field: &str, items: &mut Vec<Value>, changes: &[Value]) -> Result<(), Failure> {
    let directive = |change: &Value| change.get("$patch").and_then(Value::as_str).map(str::to_owned);
    if changes.iter().any(|change| directive(change).as_deref() == Some("replace")) {
        *items = changes.iter().filter(|change| directive(change).is_none()).cloned().collect();
        return Ok(());
    }
    if SETS.contains(&field) {
        for change in changes {
            if !items.contains(change) {
                items.push(change.clone());
            }
        }
        return Ok(());
    }
    let is_keyed = changes.iter().chain(items.iter()).all(Value::is_object);
    let Some(key) = merge_key(field, if changes.is_empty() { items } else { changes }).filter(|_| is_keyed)
    else {
        *items = changes.to_vec();
        return Ok(());
    };
    for change in changes {
        let Some(wanted) = change.get(key) else {
            return Err(Failure::bad_request(format!(
                "map: {change} does not contain declared merge key: {key}"
            )));
        };
        let found = items.iter().position(|item| item.get(key) == Some(wanted));
        match (found, directive(change).as_deref()) {
            (Some(index), Some("delete")) => {
                items.remove(index);
            }
            (None, Some("delete")) => {}
            (Some(index), _) => {
                if let (Some(map), Some(change)) = (items[index].as_object_mut(), change.as_object()) {
                    merge_maps(map, change)?;
                }
            }
            (None, _) => {
                let mut cleaned = change.clone();
                drop_directives(&mut cleaned);
                items.push(cleaned);
            }
        }
    }
    Ok(())
}

/// Puts the items that the order names first in that order; others keep their place behind them.
fn reorder(field: &str, items: &mut [Value], order: &[Value]) {
    let key = merge_key(field, items).unwrap_or_default();
    let rank = |item: &Value| {
        order
            .iter()
            .position(|wanted| {
                wanted == item || wanted.get(key).is_some_and(|wanted| item.get(key) == Some(wanted))
            })
            .unwrap_or(order.len())
    };
    items.sort_by_key(rank);
}

fn drop_directives(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, value| !key.starts_with('$') && !value.is_null());
            map.values_mut().for_each(drop_directives);
        }
        Value::Array(items) => {
            items.retain(|item| item.get("$patch").and_then(Value::as_str) != Some("delete"));
            items.iter_mut().for_each(drop_directives);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(object: Value, change: &Value, expected: &Value) {
        let mut found = object;
        strategic(&mut found, change).expect("patch applies");
        assert_eq!(&found, expected, "{change}");
    }

    #[test]
    fn strategic_merge_tells_list_items_apart_by_their_key() {
        check(
            json!({"spec": {"containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b"}]}}),
            &json!({"spec": {"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}]}]}}),
            &json!({"spec": {"containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}, {"name": "b"}]}}),
        );
        check(
            json!({"spec": {"volumes": [{"name": "a"}, {"name": "b"}], "args": ["1", "2"]}}),
            &json!({"spec": {"volumes": [{"name": "a", "$patch": "delete"}], "args": ["3"]}}),
            &json!({"spec": {"volumes": [{"name": "b"}], "args": ["3"]}}),
        );
        check(
            json!({"metadata": {"finalizers": ["a", "b"]}, "status": {"conditions": [{"type": "Ready", "status": "False"}]}}),
            &json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
            &json!({"metadata": {"finalizers": ["b"]}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
        );
        check(
            json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {}}}}),
            &json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
            &json!({"spec": {"strategy": {"type": "Recreate"}}}),
        );
        check(
            json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}),
            &json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "a", "image": "2"}]}}),
            &json!({"spec": {"containers": [{"name": "b"}, {"name": "a", "image": "2"}]}}),
        );
        check(
            json!({"data": {"a": "1", "b": "2"}}),
            &json!({"data": {"a": null}}),
            &json!({"data": {"b": "2"}}),
        );
    }
}
