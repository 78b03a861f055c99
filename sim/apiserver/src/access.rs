//! Short ways into JSON objects.
//!
//! Paths are lists of map keys; lists are left to the caller. Reading never fails: what is missing or of
//! another type reads as absent.

use json::{Map, Value};

/// Returns the value at a path of map keys.
pub(crate) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.as_object()?.get(*key))
}

/// Returns the value at a path of map keys, to be changed.
pub(crate) fn at_mut<'a>(value: &'a mut Value, path: &[&str]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, key| value.as_object_mut()?.get_mut(key))
}

/// Returns the string at a path, or the empty string.
pub(crate) fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    at(value, path).and_then(Value::as_str).unwrap_or_default()
}

/// Returns the whole number at a path.
pub(crate) fn number(value: &Value, path: &[&str]) -> Option<i64> {
    at(value, path).and_then(Value::as_i64)
}

/// Returns the list at a path, or an empty one.
pub(crate) fn list<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path).and_then(Value::as_array).map_or(&[], |list| list.as_slice())
}

/// Returns the list at a path, to be changed; empty when there is none.
pub(crate) fn list_mut<'a>(value: &'a mut Value, path: &[&str]) -> &'a mut [Value] {
    at_mut(value, path).and_then(Value::as_array_mut).map_or(&mut [], |list| list.as_mut_slice())
}

/// Returns the map at a path, made when it is missing or null; `None` when something else stands in the way.
pub(crate) fn map_mut<'a>(value: &'a mut Value, path: &[&str]) -> Option<&'a mut Map> {
    let mut value = value;
    for key in path {
        if value.is_null() {
            *value = Value::Object(Map::new());
        }
        value = value.as_object_mut()?.entry(*key).or_insert(Value::Null);
    }
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut()
}

/// Sets the value at a path; maps on the way are made. Does nothing when a scalar stands in the way.
pub(crate) fn set(value: &mut Value, path: &[&str], new: impl Into<Value>) {
    if let [parents @ .., last] = path
        && let Some(map) = map_mut(value, parents)
    {
        map.insert((*last).to_owned(), new.into());
    }
}

/// Sets the value at a path unless one stands there (null counts as absent).
pub(crate) fn default(value: &mut Value, path: &[&str], new: impl Into<Value>) {
    if at(value, path).is_none_or(Value::is_null) {
        set(value, path, new);
    }
}

/// Removes the value at a path and returns it.
pub(crate) fn remove(value: &mut Value, path: &[&str]) -> Option<Value> {
    let [parents @ .., last] = path else { return None };
    at_mut(value, parents)?.as_object_mut()?.remove(last)
}

/// Copies a path from one object to another; removes it there when it is absent here.
pub(crate) fn copy(from: &Value, to: &mut Value, path: &[&str]) {
    match at(from, path) {
        // Comparing is cheaper than copying.
        Some(value) if at(to, path) == Some(value) => {}
        Some(value) => set(to, path, value.clone()),
        None => {
            remove(to, path);
        }
    }
}

/// `metadata.name`.
pub(crate) fn name(object: &Value) -> &str {
    text(object, &["metadata", "name"])
}

/// `metadata.namespace`.
pub(crate) fn namespace(object: &Value) -> &str {
    text(object, &["metadata", "namespace"])
}

/// `metadata.uid`.
pub(crate) fn uid(object: &Value) -> &str {
    text(object, &["metadata", "uid"])
}

/// Whether a deletion has begun.
pub(crate) fn is_deleting(object: &Value) -> bool {
    at(object, &["metadata", "deletionTimestamp"]).is_some_and(|value| !value.is_null())
}

/// `metadata.finalizers`.
pub(crate) fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    list(object, &["metadata", "finalizers"]).iter().filter_map(Value::as_str)
}
