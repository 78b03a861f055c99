//! Sets of field paths, in memory and as `fieldsV1`.

use std::collections::BTreeMap;
use std::fmt;

use json::{Map, Value, json};

use crate::typing::{ListKind, Typing};

/// One step of a path, spelled as in `fieldsV1`: `f:name`, `k:{"name":"x"}`, `v:"x"`.
type Element = String;

/// A set of field paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FieldSet {
    /// Whether the path that leads here is itself a member.
    is_member: bool,
    children: BTreeMap<Element, FieldSet>,
}

/// One path, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path(Vec<Element>);

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for element in &self.0 {
            match element.split_once(':') {
                Some(("f", name)) => write!(f, ".{name}")?,
                Some(("k", keys)) => {
                    let keys: Map = serde_json::from_str(keys).unwrap_or_default();
                    let shown: Vec<String> =
                        keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
                    write!(f, "[{}]", shown.join(","))?;
                }
                Some(("v", value)) => write!(f, "[={value}]")?,
                _ => write!(f, "[{element}]")?,
            }
        }
        Ok(())
    }
}

impl FieldSet {
    /// Reads `fieldsV1`.
    pub fn decode(encoded: &Value) -> Self {
        let mut set = Self::default();
        let Some(map) = encoded.as_object() else { return set };
        for (element, inner) in map {
            if element == "." {
                set.is_member = true;
                continue;
            }
            let mut child = Self::decode(inner);
            if child.children.is_empty() {
                child.is_member = true;
            }
            set.children.insert(element.to_string(), child);
        }
        set
    }

    /// Writes `fieldsV1`.
    pub fn encode(&self) -> Value {
        let mut map = Map::new();
        if self.is_member && !self.children.is_empty() {
            map.insert(".".to_owned(), json!({}));
        }
        for (element, child) in &self.children {
            map.insert(element.clone(), child.encode());
        }
        Value::Object(map)
    }

    /// Whether nothing is a member. Empty children are never kept, so one look is enough.
    pub fn is_empty(&self) -> bool {
        !self.is_member && self.children.is_empty()
    }

    fn combine(&self, other: &Self, rule: fn(bool, bool) -> bool) -> Self {
        let empty = Self::default();
        let mut children = BTreeMap::new();
        let mut keep = |element: &Element, child: Self| {
            if !child.is_empty() {
                children.insert(element.clone(), child);
            }
        };
        // Each element once: visiting common elements from both sides would double the work per level.
        for (element, child) in &self.children {
            keep(element, child.combine(other.children.get(element).unwrap_or(&empty), rule));
        }
        for (element, child) in &other.children {
            if !self.children.contains_key(element) {
                keep(element, empty.combine(child, rule));
            }
        }
        Self { is_member: rule(self.is_member, other.is_member), children }
    }

    /// Members of either.
    pub fn union(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a || b)
    }

    /// Members of this set alone.
    pub fn difference(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a && !b)
    }

    /// Members of both.
    pub fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a && b)
    }

    /// The members that have no member below them.
    pub fn leaves(&self) -> Vec<Path> {
        let mut found = Vec::new();
        self.leaves_at(&mut Vec::new(), &mut found);
        found
    }

    fn leaves_at(&self, path: &mut Vec<Element>, found: &mut Vec<Path>) {
        for (element, child) in &self.children {
            path.push(element.clone());
            child.leaves_at(path, found);
            path.pop();
        }
        if self.is_member && self.children.is_empty() {
            found.push(Path(path.clone()));
        }
    }

    /// Leaves whose value differs between two objects, and what only the second has.
    pub fn changed(typing: &Typing, old: &Value, new: &Value, old_fields: &Self, new_fields: &Self) -> Self {
        let mut changed = new_fields.difference(old_fields);
        let both = new_fields.intersection(old_fields);
        note_changes(typing, Some(old), Some(new), &both, &mut changed);
        changed
    }
}

fn note_changes(
    typing: &Typing,
    old: Option<&Value>,
    new: Option<&Value>,
    both: &FieldSet,
    changed: &mut FieldSet,
) {
    for (element, inner) in &both.children {
        let typing = step_typing(typing, element);
        let (old, new) = (old.and_then(|old| step(old, element)), new.and_then(|new| step(new, element)));
        let target = changed.children.entry(element.clone()).or_default();
        note_changes(&typing, old, new, inner, target);
        if inner.is_member && inner.children.is_empty() && old != new && !is_container(&typing, old, new) {
            target.is_member = true;
        }
        if target.is_empty() {
            changed.children.remove(element);
        }
    }
}

/// Whether both are containers whose members are compared one by one.
fn is_container(typing: &Typing, old: Option<&Value>, new: Option<&Value>) -> bool {
    match (old, new) {
        (Some(Value::Object(_)), Some(Value::Object(_))) => !typing.is_atomic_map(),
        (Some(Value::Array(_)), Some(Value::Array(items))) => typing.list(items) != ListKind::Atomic,
        _ => false,
    }
}

fn step_typing(typing: &Typing, element: &str) -> Typing {
    match element.split_once(':') {
        Some(("f", name)) => typing.field(name),
        _ => typing.item(),
    }
}

/// Goes one step into a value.
fn step<'a>(value: &'a Value, element: &str) -> Option<&'a Value> {
    match element.split_once(':')? {
        ("f", name) => value.get(name),
        ("k", keys) => {
            let keys: Map = serde_json::from_str(keys).ok()?;
            value.as_array()?.iter().find(|item| has_keys(item, &keys))
        }
        ("v", wanted) => {
            let wanted: Value = serde_json::from_str(wanted).ok()?;
            value.as_array()?.iter().find(|item| **item == wanted)
        }
        _ => None,
    }
}

fn has_keys(item: &Value, keys: &Map) -> bool {
    keys.iter().all(|(key, wanted)| match item.get(key) {
        Some(found) => found == wanted,
        None => Typing::default_key(key).as_ref() == Some(wanted),
    })
}

fn keys_of(item: &Value, names: &[String]) -> Map {
    names
        .iter()
        .filter_map(|name| {
            Some((name.clone(), item.get(name).cloned().or_else(|| Typing::default_key(name))?))
        })
        .collect()
}

/// The fields of a value.
pub(crate) fn collect(typing: &Typing, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    match value {
        Value::Object(map) if !typing.is_atomic_map() => {
            for (name, value) in map {
                let mut child = collect(&typing.field(name), value);
                // A map of fields is a member only when it is empty; its fields are members otherwise.
                if child.children.is_empty() {
                    child.is_member = true;
                }
                set.children.insert(format!("f:{name}"), child);
            }
        }
        Value::Array(items) => match typing.list(items) {
            ListKind::Atomic => set.is_member = true,
            ListKind::Set => {
                for item in items {
                    set.children
                        .insert(format!("v:{item}"), FieldSet { is_member: true, ..FieldSet::default() });
                }
            }
            ListKind::Keyed(names) => {
                for item in items {
                    let mut child = collect(&typing.item(), item);
                    child.is_member = true;
                    set.children.insert(format!("k:{}", Value::Object(keys_of(item, &names))), child);
                }
            }
        },
        _ => set.is_member = true,
    }
    set
}

/// Puts what is wanted into a value; what is not named stays.
pub(crate) fn merge_owned(typing: &Typing, value: &mut Value, wanted: &Value) {
    match (&mut *value, wanted) {
        (Value::Object(map), Value::Object(wanted)) if !typing.is_atomic_map() => {
            for (name, wanted) in wanted {
                match map.get_mut(name) {
                    Some(value) => merge_owned(&typing.field(name), value, wanted),
                    None => {
                        map.insert(name.clone(), wanted.clone());
                    }
                }
            }
        }
        (Value::Array(items), Value::Array(wanted)) => match typing.list(wanted) {
            ListKind::Atomic => value.clone_from(&Value::Array(wanted.clone())),
            ListKind::Set => {
                for item in wanted {
                    if !items.contains(item) {
                        items.push(item.clone());
                    }
                }
            }
            ListKind::Keyed(names) => {
                for item in wanted {
                    let keys = keys_of(item, &names);
                    match items.iter_mut().find(|found| has_keys(found, &keys)) {
                        Some(found) => merge_owned(&typing.item(), found, item),
                        None => items.push(item.clone()),
                    }
                }
            }
        },
        (value, wanted) => value.clone_from(wanted),
    }
}

/// Removes dropped fields from a value, with everything below that nobody else owns.
pub(crate) fn keep_only_owned(typing: &Typing, value: &mut Value, dropped: &FieldSet, owned: &FieldSet) {
    let nothing = FieldSet::default();
    for (element, inner) in &dropped.children {
        let others = owned.children.get(element).unwrap_or(&nothing);
        if !others.is_empty() {
            if let Some(value) = step_mut(value, element) {
                keep_only_owned(&step_typing(typing, element), value, inner, others);
            }
            continue;
        }
        let is_whole = inner.is_member;
        if is_whole {
            take_away(value, element);
        } else if let Some(found) = step_mut(value, element) {
            keep_only_owned(&step_typing(typing, element), found, inner, others);
            let is_hollow = found.as_object().is_some_and(|map| map.is_empty())
                || found.as_array().is_some_and(|list| list.is_empty());
            if is_hollow {
                take_away(value, element);
            }
        }
    }
}

fn step_mut<'a>(value: &'a mut Value, element: &str) -> Option<&'a mut Value> {
    match element.split_once(':')? {
        ("f", name) => value.get_mut(name),
        ("k", keys) => {
            let keys: Map = serde_json::from_str(keys).ok()?;
            value.as_array_mut()?.iter_mut().find(|item| has_keys(item, &keys))
        }
        _ => None,
    }
}

fn take_away(value: &mut Value, element: &str) {
    match (element.split_once(':'), value) {
        (Some(("f", name)), Value::Object(map)) => {
            map.remove(name);
        }
        (Some(("k", keys)), Value::Array(items)) => {
            let keys: Map = serde_json::from_str(keys).unwrap_or_default();
            items.retain(|item| !has_keys(item, &keys));
        }
        (Some(("v", wanted)), Value::Array(items)) => {
            let wanted: Value = serde_json::from_str(wanted).unwrap_or_default();
            items.retain(|item| *item != wanted);
        }
        _ => {}
    }
}
