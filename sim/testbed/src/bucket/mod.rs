//! An object store in memory on the bed's clock.
//!
//! A [`Bucket`] is the provider's side: keys, bytes, times, damage at rest. A [`View`] of a prefix is a
//! store as a repository sees it. It promises what the store seam promises (read-after-write, whole blobs)
//! and is the same bucket for every view. Faults on the way, cost and witnesses stand in front of it, in
//! [`FaultyStore`], because they belong to who asks; damage at rest ([`rest`]) is carried out here. It
//! knows nothing of what the blobs hold, of versions, locks or credentials.
pub mod faulty;
pub mod rest;

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use engine::{
    context::Now,
    store::{Error, ErrorKind, Metadata, SharedStore, Store},
};
use fault::Register;
use jiff::Timestamp;

pub use faulty::{FaultyStore, Operation, Witness, blob_class};
use rest::{Damage, Medium};

/// A stored object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its bytes.
    pub bytes: Bytes,
    /// When it was last written, on the store's clock.
    pub modified: Timestamp,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Object>,
    damage: Damage,
}

struct Inner {
    name: String,
    now: Now,
    register: Register,
    state: Mutex<State>,
}

/// A bucket; clones are the same bucket.
#[derive(Clone)]
pub struct Bucket(Arc<Inner>);

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({})", self.0.name)
    }
}

impl Bucket {
    /// An empty bucket; its name is what at-rest faults aim at.
    pub fn new(name: impl Into<String>, now: Now, register: Register) -> Self {
        Self(Arc::new(Inner { name: name.into(), now, register, state: Mutex::default() }))
    }
    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }
    /// The part of it whose keys begin with `prefix` (empty for all), as a store of bare names.
    pub fn view(&self, prefix: impl Into<String>) -> SharedStore {
        Arc::new(View { bucket: self.clone(), prefix: prefix.into() })
    }
    /// Every object by key.
    pub fn objects(&self) -> BTreeMap<String, Object> {
        self.state().objects.clone()
    }
    /// Bytes stored.
    pub fn used(&self) -> u64 {
        self.state().objects.values().map(|object| object.bytes.len() as u64).sum()
    }
    /// Edits an object at rest, past every fault and without touching its time: `None` removes it, and an
    /// absent one is made by returning bytes. Tells whether there was one before.
    pub fn edit(&self, key: &str, change: impl FnOnce(Option<Bytes>) -> Option<Bytes>) -> bool {
        let now = (self.0.now)();
        let mut state = self.state();
        let before = state.objects.remove(key);
        let modified = before.as_ref().map_or(now, |object| object.modified);
        if let Some(bytes) = change(before.as_ref().map(|object| object.bytes.clone())) {
            state.objects.insert(key.to_owned(), Object { bytes, modified });
        }
        before.is_some()
    }
    /// Forgets everything, as a bucket deleted by hand.
    pub fn clear(&self) {
        self.state().objects.clear();
    }

    /// Locks the bucket after damage at rest that is due was done, and damage that was lifted undone.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.state.lock().expect("no holder of a bucket's lock panics");
        let State { objects, damage } = &mut *state;
        damage.settle(&self.0.register, &self.0.name, &mut Objects(objects));
        state
    }
}

struct Objects<'a>(&'a mut BTreeMap<String, Object>);

impl Medium for Objects<'_> {
    fn blobs(&self) -> Vec<(String, u64)> {
        // Faults aim at blob names, which are what follows the last slash of the prefix.
        self.0.iter().map(|(key, object)| (key.clone(), object.bytes.len() as u64)).collect()
    }
    fn blob_name<'a>(&self, key: &'a str) -> std::borrow::Cow<'a, str> {
        key.rsplit('/').next().unwrap_or(key).into()
    }
    fn take(&mut self, key: &str) -> Option<(Bytes, Timestamp)> {
        self.0.remove(key).map(|object| (object.bytes, object.modified))
    }
    fn give(&mut self, key: &str, bytes: Bytes, modified: Timestamp) {
        self.0.insert(key.to_owned(), Object { bytes, modified });
    }
}

struct View {
    bucket: Bucket,
    prefix: String,
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}", self.bucket, self.prefix)
    }
}

impl View {
    fn key(&self, id: &str) -> String {
        format!("{}{id}", self.prefix)
    }
}

fn absent(operation: &'static str, id: &str) -> Error {
    Error::new(ErrorKind::NotFound, operation, id, "The specified key does not exist.")
}

#[async_trait::async_trait]
impl Store for View {
    async fn get(&self, id: &str, range: Option<Range<u64>>) -> Result<Bytes, Error> {
        let state = self.bucket.state();
        let object = state.objects.get(&self.key(id)).ok_or_else(|| absent("get", id))?;
        let Some(range) = range else { return Ok(object.bytes.clone()) };
        if range.start > range.end || range.end > object.bytes.len() as u64 {
            let detail = format!("range {range:?} of {} bytes is not satisfiable", object.bytes.len());
            return Err(Error::new(ErrorKind::Truncated, "get", id, detail));
        }
        Ok(object.bytes.slice(range.start as usize..range.end as usize))
    }
    async fn put(&self, id: &str, bytes: Bytes) -> Result<(), Error> {
        let modified = (self.bucket.0.now)();
        self.bucket.state().objects.insert(self.key(id), Object { bytes, modified });
        Ok(())
    }
    async fn put_new(&self, id: &str, bytes: Bytes) -> Result<(), Error> {
        let modified = (self.bucket.0.now)();
        let mut state = self.bucket.state();
        let key = self.key(id);
        if state.objects.contains_key(&key) {
            return Err(Error::new(
                ErrorKind::Exists,
                "put",
                id,
                "At least one of the pre-conditions did not hold",
            ));
        }
        state.objects.insert(key, Object { bytes, modified });
        Ok(())
    }
    async fn list(&self, prefix: &str) -> Result<Vec<Metadata>, Error> {
        let state = self.bucket.state();
        let from = self.key(prefix);
        let found = state.objects.range(from.clone()..).take_while(|(key, _)| key.starts_with(&from));
        Ok(found
            .map(|(key, object)| Metadata {
                id: key[self.prefix.len()..].to_owned(),
                length: object.bytes.len() as u64,
                modified: object.modified,
            })
            .filter(|found| !found.id.contains('/'))
            .collect())
    }
    async fn stat(&self, id: &str) -> Result<Metadata, Error> {
        let state = self.bucket.state();
        let object = state.objects.get(&self.key(id)).ok_or_else(|| absent("stat", id))?;
        Ok(Metadata { id: id.to_owned(), length: object.bytes.len() as u64, modified: object.modified })
    }
    async fn delete(&self, id: &str) -> Result<(), Error> {
        self.bucket.state().objects.remove(&self.key(id));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use fault::{Fault, store};

    use super::*;

    fn bucket(register: &Register) -> Bucket {
        Bucket::new("main", Arc::new(|| Timestamp::UNIX_EPOCH), register.clone())
    }

    #[tokio::test]
    async fn what_was_put_is_got_and_prefixes_do_not_see_each_other() {
        let bucket = bucket(&Register::new(1));
        let (a, b, all) = (bucket.view("a/"), bucket.view("b/"), bucket.view(""));
        a.put("p1", Bytes::from_static(b"0123456789")).await.unwrap();
        b.put("p1", Bytes::from_static(b"other")).await.unwrap();
        assert_eq!(a.get("p1", Some(2..5)).await.unwrap(), "234");
        assert_eq!(a.get("p1", Some(5..11)).await.unwrap_err().kind, ErrorKind::Truncated);
        assert_eq!(a.get("p2", None).await.unwrap_err().kind, ErrorKind::NotFound);
        assert_eq!(a.put_new("p1", Bytes::new()).await.unwrap_err().kind, ErrorKind::Exists);
        assert_eq!(a.stat("p1").await.unwrap().length, 10);
        assert_eq!(a.list("p").await.unwrap().len(), 1);
        assert_eq!(all.list("").await.unwrap().len(), 0, "keys below another prefix are not names");
        a.delete("p1").await.unwrap();
        a.delete("p1").await.unwrap();
        assert_eq!(b.get("p1", None).await.unwrap(), "other");
        assert_eq!(bucket.used(), 5);
    }

    #[tokio::test]
    async fn rot_strikes_one_pack_once_and_lifting_restores_the_bytes() {
        let register = Register::new(7);
        let bucket = bucket(&register);
        let store = bucket.view("repo/");
        let id = register.arm(store::bit_rot::Spec::default());
        store.put("q1", Bytes::from(vec![1; 100])).await.unwrap();
        assert_eq!(register.firings(id), 0, "no pack is there yet");
        for name in ["p1", "p2", "p3"] {
            store.put(name, Bytes::from(vec![2; 100])).await.unwrap();
        }
        let before: BTreeMap<String, Object> = ["p1", "p2", "p3"]
            .map(|name| (format!("repo/{name}"), bucket.objects()[&format!("repo/{name}")].clone()))
            .into();
        let changed = |objects: &BTreeMap<String, Object>| {
            objects
                .iter()
                .filter(|(key, object)| {
                    key.contains('p')
                        && key.ends_with(|c: char| c.is_ascii_digit())
                        && !key.ends_with("q1")
                        && object.bytes != vec![2; 100]
                })
                .count()
        };
        assert_eq!(changed(&before), 1, "one bit of one pack, seen through every road");
        assert_eq!(register.firings(id), 1);
        register.lift(id);
        assert_eq!(changed(&bucket.objects()), 0);
    }

    #[tokio::test]
    async fn a_missing_blob_is_absent_until_the_lift() {
        let register = Register::new(7);
        let bucket = bucket(&register);
        let store = bucket.view("");
        store.put("p1", Bytes::from_static(b"x")).await.unwrap();
        let id = register.arm(Fault::named("store-missing-blob").unwrap());
        assert_eq!(store.get("p1", None).await.unwrap_err().kind, ErrorKind::NotFound);
        assert!(store.list("p").await.unwrap().is_empty());
        register.lift(id);
        assert_eq!(store.get("p1", None).await.unwrap(), "x");
    }
}
