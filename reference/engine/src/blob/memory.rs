//! A store in memory, on a clock that is given to it.
//!
//! Stands for an object store in tests and simulations; it keeps all promises of the seam and has no
//! faults of its own. Damage is done through [`MemoryStore::damage`], at rest.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use jiff::Timestamp;

use crate::{
    context::Now,
    store::{Error, ErrorKind, Metadata, Store},
};

type Blobs = BTreeMap<String, (Bytes, Timestamp)>;

/// A store in memory.
pub struct MemoryStore {
    now: Now,
    blobs: Mutex<Blobs>,
}

impl MemoryStore {
    /// An empty store whose times come from this clock.
    pub fn new(now: Now) -> Self {
        Self { now, blobs: Mutex::new(BTreeMap::new()) }
    }
    fn blobs(&self) -> MutexGuard<'_, Blobs> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Changes a blob at rest, keeping its time; `None` removes it. False if there is no such blob.
    pub fn damage(&self, id: &str, change: impl FnOnce(&mut Vec<u8>) -> Option<()>) -> bool {
        let mut blobs = self.blobs();
        let Some((bytes, modified)) = blobs.get(id).cloned() else { return false };
        let mut altered = bytes.to_vec();
        match change(&mut altered) {
            Some(()) => blobs.insert(id.to_owned(), (altered.into(), modified)),
            None => blobs.remove(id),
        };
        true
    }
    /// Every blob with its bytes and time, by name.
    pub fn contents(&self) -> BTreeMap<String, (Bytes, Timestamp)> {
        self.blobs().clone()
    }
    /// Puts a blob at rest with a time of its own.
    pub fn insert(&self, id: &str, bytes: Bytes, modified: Timestamp) {
        self.blobs().insert(id.to_owned(), (bytes, modified));
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("blobs", &self.blobs().len()).finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl Store for MemoryStore {
    async fn get(&self, id: &str, range: Option<Range<u64>>) -> Result<Bytes, Error> {
        let blobs = self.blobs();
        let (bytes, _) =
            blobs.get(id).ok_or_else(|| Error::new(ErrorKind::NotFound, "get", id, "no such blob"))?;
        let Some(range) = range else { return Ok(bytes.clone()) };
        if range.start > range.end || range.end > bytes.len() as u64 {
            let detail = format!("range {range:?} reaches beyond its {} bytes", bytes.len());
            return Err(Error::new(ErrorKind::Truncated, "get", id, detail));
        }
        Ok(bytes.slice(range.start as usize..range.end as usize))
    }
    async fn put(&self, id: &str, bytes: Bytes) -> Result<(), Error> {
        let now = (self.now)();
        self.blobs().insert(id.to_owned(), (bytes, now));
        Ok(())
    }
    async fn put_new(&self, id: &str, bytes: Bytes) -> Result<(), Error> {
        let now = (self.now)();
        let mut blobs = self.blobs();
        if blobs.contains_key(id) {
            return Err(Error::new(ErrorKind::Exists, "put", id, "a blob of that name exists"));
        }
        blobs.insert(id.to_owned(), (bytes, now));
        Ok(())
    }
    async fn list(&self, prefix: &str) -> Result<Vec<Metadata>, Error> {
        let blobs = self.blobs();
        let found = blobs.range(prefix.to_owned()..).take_while(|(id, _)| id.starts_with(prefix));
        Ok(found
            .map(|(id, (bytes, modified))| Metadata {
                id: id.clone(),
                length: bytes.len() as u64,
                modified: *modified,
            })
            .collect())
    }
    async fn stat(&self, id: &str) -> Result<Metadata, Error> {
        let blobs = self.blobs();
        let (bytes, modified) =
            blobs.get(id).ok_or_else(|| Error::new(ErrorKind::NotFound, "stat", id, "no such blob"))?;
        Ok(Metadata { id: id.to_owned(), length: bytes.len() as u64, modified: *modified })
    }
    async fn delete(&self, id: &str) -> Result<(), Error> {
        self.blobs().remove(id);
        Ok(())
    }
}
