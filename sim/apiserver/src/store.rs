//! Objects, their history, and who watches them.
//!
//! One shelf holds the objects of one resource. Every accepted write gets the next resourceVersion of the
//! whole server, replaces the object, is kept as an event for watchers and late starters, and is told to the
//! tap. Objects are shared (`Arc`), never copied for a reader; their JSON text is made once.
//!
//! Does not know what objects mean: rules stand in `verbs` and `kinds`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use json::Value;
use tokio::sync::mpsc;

use crate::access::{list, set, text, uid};
use crate::resource::Resource;
use crate::selector::Selector;
use crate::server::{Verb, Write};
use crate::shape::PartialObject;

/// Namespace and name.
pub(crate) type Key = (String, String);

/// One object in one resourceVersion.
#[derive(Debug)]
pub(crate) struct Stored {
    pub value: Arc<Value>,
    pub version: u64,
    text: OnceLock<Bytes>,
    metadata_text: OnceLock<Bytes>,
}

impl Stored {
    fn new(value: Value, version: u64) -> Self {
        Self { value: Arc::new(value), version, text: OnceLock::new(), metadata_text: OnceLock::new() }
    }

    /// An object that was checked but not stored, as a dry run answers it.
    pub fn unsaved(value: Value, version: u64) -> Arc<Self> {
        Arc::new(Self::new(value, version))
    }

    /// The object as JSON text.
    pub fn text(&self) -> &Bytes {
        self.text.get_or_init(|| {
            Bytes::from(serde_json::to_vec(&*self.value).expect("JSON values have JSON text"))
        })
    }

    /// The object's metadata alone as JSON text.
    pub fn metadata_text(&self) -> &Bytes {
        self.metadata_text.get_or_init(|| PartialObject::of(&self.value).text())
    }
}

/// One change of a shelf.
#[derive(Debug)]
pub(crate) struct Event {
    pub version: u64,
    pub verb: Verb,
    pub object: Arc<Stored>,
    pub previous: Option<Arc<Stored>>,
    at: Timestamp,
}

/// How many events of a resource are kept, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    pub count: usize,
    pub age: Option<Duration>,
}

/// A watcher that gets the events it selected.
#[derive(Debug)]
struct Watcher {
    selector: Selector,
    events: mpsc::UnboundedSender<(Change, Arc<Event>)>,
}

/// What an event means to one watcher: an object can enter or leave a selection by a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    Modified,
    Deleted,
}

impl Event {
    /// Says what the event means to a watcher with this selector.
    pub fn change(&self, selector: &Selector) -> Option<Change> {
        let now = self.verb != Verb::Delete && selector.matches(&self.object.value);
        let before = self.previous.as_ref().is_some_and(|previous| selector.matches(&previous.value));
        match (before, now) {
            (false, true) => Some(Change::Added),
            (true, true) => Some(Change::Modified),
            (true, false) => Some(Change::Deleted),
            (false, false) => None,
        }
    }
}

/// The objects of one resource.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    pub objects: BTreeMap<Key, Arc<Stored>>,
    events: VecDeque<Arc<Event>>,
    watchers: Vec<Watcher>,
    /// The newest resourceVersion whose event is forgotten.
    compacted: u64,
}

impl Shelf {
    /// The selected objects in order.
    pub fn select<'a>(&'a self, selector: &'a Selector) -> impl Iterator<Item = (&'a Key, &'a Arc<Stored>)> {
        let namespace = selector.namespace();
        let everything = selector.is_everything();
        self.objects
            .range((namespace.to_owned(), String::new())..)
            .take_while(move |((at, _), _)| namespace.is_empty() || at == namespace)
            .filter(move |(_, stored)| everything || selector.matches(&stored.value))
    }

    /// Whether events after this resourceVersion are all still there.
    pub fn remembers(&self, version: u64) -> bool {
        version >= self.compacted
    }

    /// The oldest resourceVersion that a watch can start at.
    pub fn oldest(&self) -> u64 {
        self.compacted + 1
    }

    /// Events after a resourceVersion.
    pub fn since(&self, version: u64) -> impl Iterator<Item = &Arc<Event>> {
        let start = self.events.partition_point(|event| event.version <= version);
        self.events.range(start..)
    }

    /// The objects as they stood at a resourceVersion that is still remembered.
    pub fn as_of(&self, version: u64) -> BTreeMap<Key, Arc<Stored>> {
        let mut objects = self.objects.clone();
        for event in self.events.iter().rev().take_while(|event| event.version > version) {
            let value = &event.object.value;
            let key = (
                text(value, &["metadata", "namespace"]).to_owned(),
                text(value, &["metadata", "name"]).to_owned(),
            );
            match &event.previous {
                Some(previous) => objects.insert(key, Arc::clone(previous)),
                None => objects.remove(&key),
            };
        }
        objects
    }

    /// Adds a watcher for events from now on.
    pub fn watch(&mut self, selector: Selector) -> mpsc::UnboundedReceiver<(Change, Arc<Event>)> {
        self.watchers.retain(|watcher| !watcher.events.is_closed());
        let (events, receiver) = mpsc::unbounded_channel();
        self.watchers.push(Watcher { selector, events });
        receiver
    }

    fn record(&mut self, event: Event, retention: Retention) {
        let event = Arc::new(event);
        let oldest = retention.age.and_then(|age| event.at.checked_sub(age).ok());
        for watcher in &self.watchers {
            if let Some(change) = event.change(&watcher.selector) {
                // A closed receiver is swept when the next watcher comes.
                let _ = watcher.events.send((change, Arc::clone(&event)));
            }
        }
        self.events.push_back(event);
        let is_old = |event: &Event| oldest.is_some_and(|oldest| event.at < oldest);
        while self.events.len() > retention.count.max(1)
            || self.events.front().is_some_and(|event| is_old(event))
        {
            self.compacted = self.events.pop_front().map_or(self.compacted, |event| event.version);
        }
    }

    fn compact(&mut self) {
        if let Some(event) = self.events.back() {
            self.compacted = event.version;
        }
        self.events.clear();
    }
}

/// Where an object stands: shelf, namespace, name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub shelf: usize,
    pub key: Key,
}

/// Everything that is stored.
#[derive(Debug)]
pub(crate) struct Store {
    /// The newest resourceVersion.
    pub version: u64,
    pub shelves: Vec<Shelf>,
    retention: Retention,
    /// Who stands where, by uid.
    uids: BTreeMap<String, Place>,
    /// Dependents by the uid of an owner, whether or not the owner is there.
    dependents: BTreeMap<String, BTreeSet<Place>>,
}

impl Store {
    pub fn new(shelves: usize, retention: Retention) -> Self {
        Self {
            version: 1,
            shelves: (0..shelves).map(|_| Shelf::default()).collect(),
            retention,
            uids: BTreeMap::new(),
            dependents: BTreeMap::new(),
        }
    }

    /// Adds an empty shelf.
    pub fn add_shelf(&mut self) -> usize {
        self.shelves.push(Shelf::default());
        self.shelves.len() - 1
    }

    pub fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Option<&Arc<Stored>> {
        self.shelves[resource.shelf].objects.get(&(namespace.to_owned(), name.to_owned()))
    }

    pub fn at(&self, place: &Place) -> Option<&Arc<Stored>> {
        self.shelves[place.shelf].objects.get(&place.key)
    }

    pub fn place_of(&self, uid: &str) -> Option<&Place> {
        self.uids.get(uid)
    }

    pub fn dependents_of(&self, uid: &str) -> Vec<Place> {
        self.dependents.get(uid).map(|places| places.iter().cloned().collect()).unwrap_or_default()
    }

    /// Forgets all events.
    pub fn compact(&mut self) {
        for shelf in &mut self.shelves {
            shelf.compact();
        }
    }

    /// Stores the new state of an object, or removes it, under the next resourceVersion.
    pub fn commit(
        &mut self,
        now: Timestamp,
        resource: &Resource,
        caller: &str,
        subresource: &str,
        verb: Verb,
        mut object: Value,
    ) -> Write {
        self.version += 1;
        let version = self.version;
        set(&mut object, &["metadata", "resourceVersion"], version.to_string());
        let key = (
            text(&object, &["metadata", "namespace"]).to_owned(),
            text(&object, &["metadata", "name"]).to_owned(),
        );
        let place = Place { shelf: resource.shelf, key };
        let stored = Arc::new(Stored::new(object, version));
        let shelf = &mut self.shelves[resource.shelf];
        let previous = match verb {
            Verb::Delete => shelf.objects.remove(&place.key),
            Verb::Create | Verb::Update => shelf.objects.insert(place.key.clone(), Arc::clone(&stored)),
        };
        shelf.record(
            Event { version, verb, object: Arc::clone(&stored), previous: previous.clone(), at: now },
            self.retention,
        );
        if let Some(previous) = &previous {
            self.forget(&place, &previous.value);
        }
        if verb != Verb::Delete {
            self.index(&place, &stored.value);
        }
        Write {
            caller: caller.to_owned(),
            verb,
            group: resource.group.clone(),
            version: resource.version.clone(),
            resource: resource.plural.clone(),
            subresource: subresource.to_owned(),
            kind: resource.kind.clone(),
            namespace: place.key.0,
            name: place.key.1,
            resource_version: version,
            object: Arc::clone(&stored.value),
            previous: previous.map(|previous| Arc::clone(&previous.value)),
        }
    }

    fn index(&mut self, place: &Place, object: &Value) {
        self.uids.insert(uid(object).to_owned(), place.clone());
        for owner in list(object, &["metadata", "ownerReferences"]) {
            self.dependents.entry(text(owner, &["uid"]).to_owned()).or_default().insert(place.clone());
        }
    }

    fn forget(&mut self, place: &Place, object: &Value) {
        self.uids.remove(uid(object));
        for owner in list(object, &["metadata", "ownerReferences"]) {
            let owner = text(owner, &["uid"]);
            if let Some(places) = self.dependents.get_mut(owner) {
                places.remove(place);
                if places.is_empty() {
                    self.dependents.remove(owner);
                }
            }
        }
    }
}
