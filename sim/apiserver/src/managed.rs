//! Who owns which field: `metadata.managedFields` and server-side apply.
//!
//! Each manager has a set of field paths per operation and subresource. An apply owns exactly what it
//! applied last: new fields join the object, fields that it no longer names leave it when nobody else owns
//! them, and a field of another manager with another value is a conflict unless forced. Other writes own
//! what they changed.
//!
//! Follows structured-merge-diff: maps merge by key, lists by the keys of their items (`typing`), everything
//! else is one value. Does not track versions separately: one entry per manager, operation and subresource.

use json::{Value, json};

use crate::access::{at, list, remove, set, text};
use crate::failure::{Failure, quoted};
use crate::fields::{FieldSet, Path, collect, keep_only_owned, merge_owned};
use crate::resource::Resource;
use crate::typing::Typing;

/// What an apply decided.
#[derive(Debug)]
pub(crate) struct Applied {
    manager: String,
    owned: FieldSet,
    entries: Vec<Entry>,
}

/// One manager's fields.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    manager: String,
    operation: String,
    api_version: String,
    subresource: String,
    time: String,
    fields: FieldSet,
}

const BEFORE_FIRST_APPLY: &str = "before-first-apply";

fn entries_of(object: &Value) -> Vec<Entry> {
    list(object, &["metadata", "managedFields"])
        .iter()
        .map(|entry| Entry {
            manager: text(entry, &["manager"]).to_owned(),
            operation: text(entry, &["operation"]).to_owned(),
            api_version: text(entry, &["apiVersion"]).to_owned(),
            subresource: text(entry, &["subresource"]).to_owned(),
            time: text(entry, &["time"]).to_owned(),
            fields: entry.get("fieldsV1").map(FieldSet::decode).unwrap_or_default(),
        })
        .collect()
}

fn write_entries(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.fields.is_empty());
    // Applies first, then by time and manager, as the real server orders them.
    entries.sort_by(|a, b| {
        (a.operation != "Apply", &a.time, &a.manager, &a.subresource).cmp(&(
            b.operation != "Apply",
            &b.time,
            &b.manager,
            &b.subresource,
        ))
    });
    if entries.is_empty() {
        remove(object, &["metadata", "managedFields"]);
        return;
    }
    let encoded: Vec<Value> = entries
        .into_iter()
        .map(|entry| {
            let mut shown = json!({
                "manager": entry.manager,
                "operation": entry.operation,
                "apiVersion": entry.api_version,
                "time": entry.time,
                "fieldsType": "FieldsV1",
                "fieldsV1": entry.fields.encode(),
            });
            if !entry.subresource.is_empty() {
                shown["subresource"] = json!(entry.subresource);
            }
            shown
        })
        .collect();
    set(object, &["metadata", "managedFields"], encoded);
}

/// The fields of an object that managers can own.
fn owned_fields(resource: &Resource, object: &Value) -> FieldSet {
    let mut bare = object.clone();
    strip(&mut bare);
    collect(&Typing::of(resource), &bare)
}

/// Leaves out what belongs to the server.
fn strip(object: &mut Value) {
    for key in ["apiVersion", "kind"] {
        remove(object, &[key]);
    }
    for key in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "resourceVersion",
        "generation",
        "managedFields",
        "selfLink",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        remove(object, &["metadata", key]);
    }
    if at(object, &["metadata"]).and_then(Value::as_object).is_some_and(|map| map.is_empty()) {
        remove(object, &["metadata"]);
    }
}

/// Records the manager of a new object. An apply that creates has recorded itself already.
pub(crate) fn track_create(resource: &Resource, manager: &str, now: &str, object: &mut Value) {
    let mut entries = entries_of(object);
    entries.retain(|entry| entry.operation == "Apply");
    let mut fields = owned_fields(resource, object);
    for entry in &entries {
        fields = fields.difference(&entry.fields);
    }
    if entries.is_empty() {
        entries.push(Entry {
            manager: manager.to_owned(),
            operation: "Update".to_owned(),
            api_version: resource.api_version(),
            subresource: String::new(),
            time: now.to_owned(),
            fields,
        });
    }
    write_entries(object, entries);
}

/// Records which fields a write changed.
pub(crate) fn track_update(
    resource: &Resource,
    manager: &str,
    subresource: &str,
    now: &str,
    before: &Value,
    object: &mut Value,
) {
    // A client that sends its own list back is not believed; one that empties it resets it.
    let mut entries = entries_of(before);
    let typing = Typing::of(resource);
    let (old, new) = differing(before, object);
    let (mut old, mut new) = (old.unwrap_or_else(|| json!({})), new.unwrap_or_else(|| json!({})));
    strip(&mut old);
    strip(&mut new);
    if old == new {
        crate::access::copy(before, object, &["metadata", "managedFields"]);
        return;
    }
    let (old_fields, new_fields) = (collect(&typing, &old), collect(&typing, &new));
    let changed = FieldSet::changed(&typing, &old, &new, &old_fields, &new_fields);
    let removed = old_fields.difference(&new_fields);
    for entry in &mut entries {
        let is_self =
            entry.manager == manager && entry.operation == "Update" && entry.subresource == subresource;
        entry.fields = entry.fields.difference(&removed);
        if !is_self {
            entry.fields = entry.fields.difference(&changed);
        }
    }
    record(&mut entries, resource, manager, "Update", subresource, now, &changed);
    write_entries(object, entries);
}

/// The parts of two values that differ; most writes change little of an object.
fn differing(old: &Value, new: &Value) -> (Option<Value>, Option<Value>) {
    let (Value::Object(old_map), Value::Object(new_map)) = (old, new) else {
        return if old == new { (None, None) } else { (Some(old.clone()), Some(new.clone())) };
    };
    let (mut old_part, mut new_part) = (json::Map::new(), json::Map::new());
    for (key, old) in old_map {
        match new_map.get(key) {
            None => drop(old_part.insert(key.clone(), old.clone())),
            Some(new) => {
                let (old, new) = differing(old, new);
                old_part.extend(old.map(|old| (key.clone(), old)));
                new_part.extend(new.map(|new| (key.clone(), new)));
            }
        }
    }
    let added = new_map.iter().filter(|(key, _)| !old_map.contains_key(*key));
    new_part.extend(added.map(|(key, new)| (key.clone(), new.clone())));
    // A map that was empty before differs as a value of its own.
    let part = |part: json::Map, whole: &json::Map| {
        (!part.is_empty() || (whole.is_empty() && old != new)).then_some(Value::Object(part))
    };
    (part(old_part, old_map), part(new_part, new_map))
}

fn record(
    entries: &mut Vec<Entry>,
    resource: &Resource,
    manager: &str,
    operation: &str,
    subresource: &str,
    now: &str,
    fields: &FieldSet,
) {
    let found = entries.iter_mut().find(|entry| {
        entry.manager == manager && entry.operation == operation && entry.subresource == subresource
    });
    match found {
        Some(entry) => {
            let joined = entry.fields.union(fields);
            if joined != entry.fields || !fields.is_empty() {
                entry.fields = joined;
                now.clone_into(&mut entry.time);
            }
        }
        None => entries.push(Entry {
            manager: manager.to_owned(),
            operation: operation.to_owned(),
            api_version: resource.api_version(),
            subresource: subresource.to_owned(),
            time: now.to_owned(),
            fields: fields.clone(),
        }),
    }
}

/// The entry of an apply that creates its object.
pub(crate) fn first_apply(resource: &Resource, manager: &str, now: &str, wanted: &Value) -> Value {
    let mut object = json!({"metadata": {}});
    let fields = owned_fields(resource, wanted);
    let entry = Entry {
        manager: manager.to_owned(),
        operation: "Apply".to_owned(),
        api_version: resource.api_version(),
        subresource: String::new(),
        time: now.to_owned(),
        fields,
    };
    write_entries(&mut object, vec![entry]);
    list(&object, &["metadata", "managedFields"]).first().cloned().unwrap_or_else(|| {
        json!({"manager": manager, "operation": "Apply", "apiVersion": resource.api_version(), "time": now, "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {}}})
    })
}

/// Merges an applied configuration into the stored object.
///
/// # Errors
/// 409 that names every manager and field in the way, unless forced.
pub(crate) fn merge(
    resource: &Resource,
    manager: &str,
    subresource: &str,
    force: bool,
    before: &Value,
    wanted: &Value,
) -> Result<(Value, Applied), Failure> {
    let typing = Typing::of(resource);
    let mut wanted = wanted.clone();
    if subresource == "status" {
        let status = wanted.get("status").cloned();
        wanted = json!({"metadata": {}});
        if let Some(status) = status {
            set(&mut wanted, &["status"], status);
        }
    } else if resource.has_status {
        remove(&mut wanted, &["status"]);
    }
    let mut bare_before = before.clone();
    strip(&mut bare_before);
    let mut given_version = None;
    if let Some(version) = at(&wanted, &["metadata", "resourceVersion"])
        .and_then(Value::as_str)
        .filter(|version| !version.is_empty())
    {
        given_version = Some(version.to_owned());
    }
    strip(&mut wanted);
    let mut entries = entries_of(before);
    if entries.is_empty() {
        entries.push(Entry {
            manager: BEFORE_FIRST_APPLY.to_owned(),
            operation: "Update".to_owned(),
            api_version: resource.api_version(),
            subresource: String::new(),
            time: text(before, &["metadata", "creationTimestamp"]).to_owned(),
            fields: collect(&typing, &bare_before),
        });
    }
    let is_self = |entry: &Entry| {
        entry.manager == manager && entry.operation == "Apply" && entry.subresource == subresource
    };
    let owned = collect(&typing, &wanted);
    let mut merged = bare_before.clone();
    merge_owned(&typing, &mut merged, &wanted);
    // Fields of others that would get another value.
    let merged_fields = collect(&typing, &merged);
    let before_fields = collect(&typing, &bare_before);
    let changed = FieldSet::changed(&typing, &bare_before, &merged, &before_fields, &merged_fields);
    let mut conflicts: Vec<(String, Vec<Path>)> = Vec::new();
    for entry in entries.iter().filter(|entry| !is_self(entry)) {
        let taken = entry.fields.intersection(&changed);
        if !taken.is_empty() {
            let with = if entry.subresource.is_empty() {
                format!("{} using {}", quoted(&entry.manager), entry.api_version)
            } else {
                format!(
                    "{} with subresource {} using {}",
                    quoted(&entry.manager),
                    quoted(&entry.subresource),
                    entry.api_version
                )
            };
            let with = if entry.operation == "Apply" { quoted(&entry.manager) } else { with };
            conflicts.push((with, taken.leaves()));
        }
    }
    if !conflicts.is_empty() && !force {
        return Err(conflict(&conflicts));
    }
    for entry in &mut entries {
        if entry.manager != manager || entry.operation != "Apply" || entry.subresource != subresource {
            entry.fields = entry.fields.difference(&changed);
        }
    }
    // Fields that this manager applied before and no longer names go, unless somebody else owns them.
    if let Some(last) = entries.iter().find(|entry| is_self(entry)) {
        let mut dropped = last.fields.difference(&owned);
        for entry in entries.iter().filter(|entry| !is_self(entry)) {
            dropped = dropped.difference(&entry.fields);
        }
        let others = entries
            .iter()
            .filter(|entry| !is_self(entry))
            .fold(owned.clone(), |all, entry| all.union(&entry.fields));
        keep_only_owned(&typing, &mut merged, &dropped, &others);
    }
    let mut object = merged;
    for key in ["apiVersion", "kind"] {
        crate::access::copy(before, &mut object, &[key]);
    }
    for key in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
        "resourceVersion",
    ] {
        crate::access::copy(before, &mut object, &["metadata", key]);
    }
    if let Some(version) = given_version {
        set(&mut object, &["metadata", "resourceVersion"], version);
    }
    Ok((object, Applied { manager: manager.to_owned(), owned, entries }))
}

/// Records an apply.
pub(crate) fn track_apply(
    resource: &Resource,
    applied: Applied,
    subresource: &str,
    now: &str,
    before: &Value,
    object: &mut Value,
) {
    let Applied { manager, owned, mut entries } = applied;
    let last = entries
        .iter()
        .find(|entry| {
            entry.manager == manager && entry.operation == "Apply" && entry.subresource == subresource
        })
        .cloned();
    entries.retain(|entry| {
        !(entry.manager == manager && entry.operation == "Apply" && entry.subresource == subresource)
    });
    let (mut old, mut new) = (before.clone(), object.clone());
    strip(&mut old);
    strip(&mut new);
    let is_same = old == new && last.as_ref().is_some_and(|last| last.fields == owned);
    let time = last.filter(|_| is_same).map_or_else(|| now.to_owned(), |last| last.time);
    entries.push(Entry {
        manager,
        operation: "Apply".to_owned(),
        api_version: resource.api_version(),
        subresource: subresource.to_owned(),
        time,
        fields: owned,
    });
    write_entries(object, entries);
}

fn conflict(conflicts: &[(String, Vec<Path>)]) -> Failure {
    let count: usize = conflicts.iter().map(|(_, paths)| paths.len()).sum();
    let mut causes = Vec::new();
    let mut parts = Vec::new();
    for (with, paths) in conflicts {
        let shown: Vec<String> = paths.iter().map(Path::to_string).collect();
        for path in &shown {
            causes.push((path.clone(), format!("conflict with {with}")));
        }
        parts.push(match shown.as_slice() {
            [one] => format!("conflict with {with}: {one}"),
            many => format!("conflicts with {with}:\n- {}", many.join("\n- ")),
        });
    }
    let plural = if count == 1 { "" } else { "s" };
    let message = format!("Apply failed with {count} conflict{plural}: {}", parts.join("\n"));
    Failure::apply_conflict(causes, message)
}
