//! Manifests: small labelled documents.
//!
//! Every document is an entry in some content with prefix `m`; of entries with the same identifier the one
//! with the greatest time counts, and a deletion is such an entry too. Putting and deleting happen in a
//! write session and become visible with its flush. It does not know what the documents mean.

use std::{
    borrow::Borrow,
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    compress::{self, Compressor},
    content::{
        self,
        committed::Contents,
        index::Entry,
        memo::Memo,
        session::{Piece, Session},
    },
    error::Error,
};

/// From so many manifest contents on, a writer merges them.
const COMPACT_FROM: usize = 16;
/// No manifest content unpacks to more.
const CONTENT_BYTES_MAX: u64 = 256 << 20;

/// The name of a manifest: 32 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Id(String);

impl Id {
    /// Takes a name as Kopia prints it.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }
    /// The name as Kopia prints it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Id {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Labels of a manifest; `type` is always among them.
pub type Labels = BTreeMap<String, String>;

/// Builds labels from pairs.
pub fn labels<const N: usize>(pairs: [(&str, &str); N]) -> Labels {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// A document as stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Stored {
    id: String,
    #[serde(default)]
    labels: Option<Labels>,
    modified: Timestamp,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
    #[serde(default)]
    data: Value,
}

#[derive(Serialize, Deserialize)]
struct Document {
    #[serde(default)]
    entries: Option<Vec<Stored>>,
}

/// A live document.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Its name.
    pub id: Id,
    stored: Arc<Stored>,
}

impl Manifest {
    /// When it was written.
    pub fn modified(&self) -> Timestamp {
        self.stored.modified
    }
    /// Its payload.
    pub fn data(&self) -> &Value {
        &self.stored.data
    }
}

/// What one content holds; a content never changes.
type Documents = Arc<Vec<Arc<Stored>>>;

/// Contents of manifests that this process has opened.
static OPENED: Memo<content::Id, Vec<Arc<Stored>>> = Memo::new();

/// Everything that is stored, at one moment.
#[derive(Debug, Default)]
struct Loaded {
    generation: u64,
    /// Winners, deletions included: a later deletion must still beat an earlier entry.
    winners: BTreeMap<Id, Arc<Stored>>,
    /// The manifest contents, and what each holds.
    contents: BTreeMap<content::Id, Documents>,
}

impl Loaded {
    fn take_in(&mut self, documents: &Documents) {
        for stored in documents.iter() {
            match self.winners.get_mut(stored.id.as_str()) {
                Some(known) if known.modified >= stored.modified => {}
                Some(known) => known.clone_from(stored),
                None => drop(self.winners.insert(Id::new(stored.id.clone()), stored.clone())),
            }
        }
    }
}

async fn documents(contents: &Contents, entry: &Entry) -> Result<Documents, Error> {
    let corrupt = |detail: String| Error::CorruptManifest { place: format!("content {}", entry.id), detail };
    let key = &contents.secrets.maintenance_key;
    let stored = contents.read_stored(entry).await?;
    if let Some(documents) = OPENED.recall(key, &entry.id, &stored) {
        return Ok(documents);
    }
    let packed = contents.open_stored(entry, &stored)?;
    let plain = compress::gunzip(&packed, CONTENT_BYTES_MAX).map_err(|error| corrupt(error.to_string()))?;
    let document: Document = serde_json::from_slice(&plain).map_err(|error| corrupt(error.to_string()))?;
    let documents: Documents =
        Arc::new(document.entries.unwrap_or_default().into_iter().map(Arc::new).collect());
    // What was read is a part of its pack.
    OPENED.remember(key, &entry.id, bytes::Bytes::copy_from_slice(&stored), documents.clone());
    Ok(documents)
}

/// The manifests of a repository, loaded when first needed after each change.
#[derive(Debug, Default)]
pub struct Manifests {
    loaded: Mutex<Arc<Loaded>>,
}

impl Manifests {
    async fn load(&self, contents: &Contents) -> Result<Arc<Loaded>, Error> {
        let view = contents.view();
        let known = self.loaded.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.generation == view.generation {
            return Ok(known);
        }
        let live = view.live_manifests()?;
        let kept = live.iter().filter(|entry| known.contents.contains_key(&entry.id)).count();
        // Where nothing has gone, what is new joins what is known; otherwise all is put together again.
        let mut loaded = if kept == known.contents.len() {
            Loaded { winners: known.winners.clone(), contents: known.contents.clone(), generation: 0 }
        } else {
            Loaded::default()
        };
        loaded.generation = view.generation;
        for entry in live {
            if loaded.contents.contains_key(&entry.id) {
                continue;
            }
            let documents = match known.contents.get(&entry.id) {
                Some(documents) => documents.clone(),
                None => documents(contents, &entry).await?,
            };
            loaded.take_in(&documents);
            loaded.contents.insert(entry.id, documents);
        }
        let loaded = Arc::new(loaded);
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = loaded.clone();
        Ok(loaded)
    }
    /// The live manifests that carry all these labels, oldest first.
    pub async fn find(&self, contents: &Contents, wanted: &Labels) -> Result<Vec<Manifest>, Error> {
        let loaded = self.load(contents).await?;
        let mut found: Vec<Manifest> = loaded
            .winners
            .iter()
            .filter(|(_, stored)| !stored.deleted)
            .filter_map(|(id, stored)| {
                let labels = stored.labels.as_ref()?;
                let is_wanted = wanted.iter().all(|(key, value)| labels.get(key) == Some(value));
                is_wanted.then(|| Manifest { id: id.clone(), stored: stored.clone() })
            })
            .collect();
        found.sort_by(|a, b| (a.modified(), &a.id).cmp(&(b.modified(), &b.id)));
        Ok(found)
    }
    /// Starts a change.
    pub async fn edit<'a>(&'a self, contents: &'a Contents) -> Result<Edit<'a>, Error> {
        Ok(Edit { contents, loaded: self.load(contents).await?, changes: Vec::new() })
    }
}

/// Changes of manifests that belong together.
#[derive(Debug)]
pub struct Edit<'a> {
    contents: &'a Contents,
    loaded: Arc<Loaded>,
    changes: Vec<Stored>,
}

impl Edit<'_> {
    /// Now, but later than whatever is replaced.
    fn after(&self, victim: Option<Timestamp>) -> Timestamp {
        let now = (self.contents.context.now)();
        victim.map_or(now, |victim| {
            now.max(victim.saturating_add(SignedDuration::from_nanos(1)).unwrap_or(now))
        })
    }
    /// Adds a document.
    pub fn put(&mut self, labels: Labels, data: Value) -> Id {
        let id = hex::encode(self.contents.context.entropy.bytes::<16>());
        let modified = self.after(None);
        self.changes.push(Stored { id: id.clone(), labels: Some(labels), modified, deleted: false, data });
        Id(id)
    }
    /// Deletes a document; nothing happens if it is not there.
    pub fn delete(&mut self, id: &Id) {
        if let Some(stored) = self.loaded.winners.get(id).filter(|stored| !stored.deleted) {
            let modified = self.after(Some(stored.modified));
            self.changes.push(Stored {
                id: id.0.clone(),
                labels: None,
                modified,
                deleted: true,
                data: Value::Null,
            });
        }
    }
    /// Replaces whatever carries these labels by one document.
    pub fn replace(&mut self, labels: Labels, data: Value) -> Id {
        /// Kopia keeps this distance, so that clocks that differ a little do not swap the two.
        const DISTANCE: SignedDuration = SignedDuration::from_millis(100);
        let carries = |stored: &Stored| {
            !stored.deleted
                && stored
                    .labels
                    .as_ref()
                    .is_some_and(|found| labels.iter().all(|(key, value)| found.get(key) == Some(value)))
        };
        let victims: Vec<(Id, Timestamp)> = self
            .loaded
            .winners
            .iter()
            .filter(|(_, stored)| carries(stored))
            .map(|(id, stored)| (id.clone(), stored.modified))
            .collect();
        for (victim, _) in &victims {
            self.delete(victim);
        }
        let id = self.put(labels, data);
        if let (Some(newest), Some(put)) =
            (victims.iter().map(|(_, modified)| *modified).max(), self.changes.last_mut())
        {
            put.modified = put.modified.max(newest.saturating_add(DISTANCE).unwrap_or(put.modified));
        }
        id
    }
    /// Whether there is anything to write.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
    /// Puts the changes into a session; they become visible with its flush. Merges all manifest contents when
    /// there are many.
    pub async fn write(self, session: &mut Session<'_>) -> Result<(), Error> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let mut entries = self.changes;
        if self.loaded.contents.len() >= COMPACT_FROM {
            let mut winners: BTreeMap<Id, Stored> =
                self.loaded.winners.iter().map(|(id, stored)| (id.clone(), Stored::clone(stored))).collect();
            for change in entries {
                winners.insert(Id::new(change.id.clone()), change);
            }
            // All contents are replaced at once, so that markers of deletion have done their work.
            entries = winners.into_values().filter(|stored| !stored.deleted).collect();
            for content in self.loaded.contents.keys() {
                session.delete(content)?;
            }
        }
        let plain = serde_json::to_vec(&Document { entries: Some(entries) }).expect("plain data serialises");
        let compressor = Compressor::named("zstd-fastest").expect("zstd-fastest is built in");
        let piece = Piece { prefix: Some(b'm'), data: compress::gzip(&plain).into(), compressor };
        session.write(piece).await?;
        Ok(())
    }
}
