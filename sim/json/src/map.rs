//! Maps that share their entries with their copies.

use std::collections::BTreeMap;
use std::collections::btree_map::{self, Entry};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::{Text, Value};

/// A sorted map from text to values: a `BTreeMap` in everything but that copies are cheap and that a key may be given
/// as any text. Changing a shared one copies this level.
#[derive(Clone, Default)]
pub struct Map(Arc<BTreeMap<Text, Value>>);

impl Map {
    /// Makes an empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a value and gives the one that stood there.
    pub fn insert(&mut self, key: impl Into<Text>, value: impl Into<Value>) -> Option<Value> {
        Arc::make_mut(&mut self.0).insert(key.into(), value.into())
    }

    /// Takes a value out; a map without it is left shared.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        if self.0.contains_key(key) { Arc::make_mut(&mut self.0).remove(key) } else { None }
    }

    /// The value of a key, to be changed; a map without it is left shared.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        if self.0.contains_key(key) { Arc::make_mut(&mut self.0).get_mut(key) } else { None }
    }

    /// The place of a key.
    pub fn entry(&mut self, key: impl Into<Text>) -> Entry<'_, Text, Value> {
        Arc::make_mut(&mut self.0).entry(key.into())
    }

    /// Keeps the entries that are wanted; a map of which all are wanted is left shared.
    pub fn retain(&mut self, mut wanted: impl FnMut(&Text, &Value) -> bool) {
        let unwanted: Vec<Text> =
            self.0.iter().filter(|(key, value)| !wanted(key, value)).map(|(key, _)| key.clone()).collect();
        if !unwanted.is_empty() {
            let entries = Arc::make_mut(&mut self.0);
            for key in unwanted {
                entries.remove(&key);
            }
        }
    }
}

impl Deref for Map {
    type Target = BTreeMap<Text, Value>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Map {
    fn deref_mut(&mut self) -> &mut Self::Target {
        Arc::make_mut(&mut self.0)
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl<K: Into<Text>, V: Into<Value>> FromIterator<(K, V)> for Map {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let entries = entries.into_iter().map(|(key, value)| (key.into(), value.into()));
        Self(Arc::new(entries.collect()))
    }
}

impl<K: Into<Text>, V: Into<Value>> Extend<(K, V)> for Map {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        let mut entries = entries.into_iter().peekable();
        if entries.peek().is_some() {
            Arc::make_mut(&mut self.0).extend(entries.map(|(key, value)| (key.into(), value.into())));
        }
    }
}

impl IntoIterator for Map {
    type Item = (Text, Value);
    type IntoIter = btree_map::IntoIter<Text, Value>;
    fn into_iter(self) -> Self::IntoIter {
        Arc::unwrap_or_clone(self.0).into_iter()
    }
}

impl<'a> IntoIterator for &'a Map {
    type Item = (&'a Text, &'a Value);
    type IntoIter = btree_map::Iter<'a, Text, Value>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a mut Map {
    type Item = (&'a Text, &'a mut Value);
    type IntoIter = btree_map::IterMut<'a, Text, Value>;
    fn into_iter(self) -> Self::IntoIter {
        Arc::make_mut(&mut self.0).iter_mut()
    }
}
