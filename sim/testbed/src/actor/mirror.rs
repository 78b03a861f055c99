//! The mirror of the cluster that actors look into: every object as the last write left it.
//!
//! It follows the server's tap, so that it is never stale; objects are shared, never copied. Events are also
//! filed by what they are about, because whoever reports one asks whether it is known. It writes nothing.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use apiserver::Verb;
use json::Value;

use super::{
    cluster::{Change, name, namespace, text},
    resource,
};

type ByName = BTreeMap<String, Arc<Value>>;

/// All objects, by `plural.group`, namespace and name.
#[derive(Default)]
pub(super) struct World {
    objects: BTreeMap<String, BTreeMap<String, ByName>>,
    kinds: BTreeMap<String, BTreeMap<String, Known>>,
    /// Events by namespace and the uid of the object that they are about, in order of name.
    events: BTreeMap<(String, String), ByName>,
}

/// Where the objects of a kind live, as far as one was ever seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// API group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Plural name.
    pub plural: String,
    /// Kind.
    pub kind: String,
}

impl Known {
    /// `v1` or `batch/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }
}

fn resource_key<'a>(group: &str, plural: &'a str) -> Cow<'a, str> {
    if group.is_empty() { Cow::Borrowed(plural) } else { Cow::Owned(format!("{plural}.{group}")) }
}

/// The value at a key, made when it is missing; the key is copied only then.
fn slot<'a, T: Default>(map: &'a mut BTreeMap<String, T>, key: &str) -> &'a mut T {
    if !map.contains_key(key) {
        map.insert(key.to_owned(), T::default());
    }
    map.get_mut(key).expect("it was made above")
}

fn hold_in(names: &mut ByName, name: &str, object: &Arc<Value>) {
    match names.get_mut(name) {
        Some(held) => *held = Arc::clone(object),
        None => drop(names.insert(name.to_owned(), Arc::clone(object))),
    }
}

impl World {
    /// Takes a write in.
    pub fn apply(&mut self, change: &Change) {
        if !self.kinds.get(&change.kind).is_some_and(|groups| groups.contains_key(&change.group)) {
            let known = Known {
                group: change.group.clone(),
                version: change.version.clone(),
                plural: change.resource.clone(),
                kind: change.kind.clone(),
            };
            self.kinds.entry(change.kind.clone()).or_default().insert(change.group.clone(), known);
        }
        if change.kind == resource::EVENT.kind {
            self.file_event(change);
        }
        let names =
            slot(slot(&mut self.objects, &resource_key(&change.group, &change.resource)), &change.namespace);
        if change.verb == Verb::Delete {
            names.remove(&change.name);
        } else {
            hold_in(names, &change.name, &change.object);
        }
    }

    fn file_event(&mut self, change: &Change) {
        let place = (change.namespace.clone(), text(&change.object, "/involvedObject/uid").to_owned());
        if change.verb != Verb::Delete {
            hold_in(self.events.entry(place).or_default(), &change.name, &change.object);
        } else if let Some(names) = self.events.get_mut(&place) {
            names.remove(&change.name);
            if names.is_empty() {
                self.events.remove(&place);
            }
        }
    }

    /// Takes in an object of the core group that was there before the tap.
    pub fn hold(&mut self, plural: &str, object: Arc<Value>) {
        let (namespace, name) = (namespace(&object).to_owned(), name(&object).to_owned());
        self.objects.entry(plural.to_owned()).or_default().entry(namespace).or_default().insert(name, object);
    }

    /// One object.
    pub fn get(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.objects.get(&*resource_key(group, plural))?.get(namespace)?.get(name).cloned()
    }

    /// All objects of a resource in a namespace, or in all (empty).
    pub fn list(&self, group: &str, plural: &str, namespace: &str) -> Vec<Arc<Value>> {
        let Some(namespaces) = self.objects.get(&*resource_key(group, plural)) else { return Vec::new() };
        if namespace.is_empty() {
            namespaces.values().flat_map(BTreeMap::values).cloned().collect()
        } else {
            namespaces.get(namespace).into_iter().flat_map(BTreeMap::values).cloned().collect()
        }
    }

    /// The events about an object, by name.
    pub fn events_about(&self, namespace: &str, uid: &str) -> impl Iterator<Item = &Arc<Value>> {
        let found = self.events.get(&(namespace.to_owned(), uid.to_owned()));
        found.into_iter().flat_map(BTreeMap::values)
    }

    /// The resource of a kind, given as `Kind` or `Kind.group`, of which an object was seen.
    pub fn known(&self, kind: &str) -> Option<&Known> {
        let (kind, group) = kind.split_once('.').map_or((kind, None), |(kind, group)| (kind, Some(group)));
        let groups = self.kinds.get(kind)?;
        match group {
            Some(group) => groups.get(group),
            None => groups.values().next(),
        }
    }
}
