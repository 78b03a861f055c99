//! The contents that indexes know: looking them up and reading them.
//!
//! Needs an opened format. Promises that what it returns is what was stored under that name (encryption is
//! authenticated and bound to the name). It does not write; [`super::session`] does.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use jiff::Timestamp;

use super::{
    Id,
    epoch::Epochs,
    index::{Entry, Index, Malformed},
    legacy,
    memo::Memo,
};
use crate::{
    blob, compress,
    context::Context,
    encrypt::{blob_identifier, content_identifier},
    error::Error,
    format::secrets::Secrets,
    store::{ErrorKind, Metadata, SharedStore},
};

/// How often loading is tried again when index blobs vanish meanwhile.
const LOAD_ATTEMPTS: usize = 10;
/// Index blobs fetched at the same time.
const LOAD_PARALLELISM: usize = 8;

/// Index blobs that this process has opened.
static OPENED: Memo<blob::Id, Index> = Memo::new();

/// Content, time, "is live", and which index says so.
type State = (Id, i64, bool, usize);

/// What the indexes say at one moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The epochs, where the repository has them.
    pub epochs: Epochs,
    /// When the listing was asked for.
    pub refreshed: Timestamp,
    /// Grows with every refresh that changed something.
    pub generation: u64,
    /// By name.
    indexes: Vec<(blob::Id, Arc<Index>)>,
    /// Every content, put together when first asked for.
    all: OnceLock<Arc<BTreeMap<Id, Entry>>>,
}

/// The contents of a repository.
#[derive(Debug)]
pub struct Contents {
    /// Where blobs are.
    pub store: SharedStore,
    /// Time, chance, identity.
    pub context: Context,
    /// Format and keys.
    pub secrets: Arc<Secrets>,
    view: Mutex<Arc<View>>,
    /// Indexes that we wrote ourselves since the last refresh, which need not be fetched.
    written: Mutex<BTreeMap<blob::Id, Arc<Index>>>,
}

impl View {
    fn index(&self, id: &blob::Id) -> Option<&Arc<Index>> {
        let at = self.indexes.binary_search_by(|(known, _)| known.cmp(id)).ok()?;
        Some(&self.indexes[at].1)
    }
    /// The winning entry, even if the watermark hides it.
    pub fn find_hidden(&self, id: &Id) -> Result<Option<Entry>, Error> {
        let mut winner: Option<Entry> = None;
        for (blob, index) in &self.indexes {
            let found = index
                .find(id)
                .map_err(|error| Error::CorruptIndex { blob: blob.clone(), detail: error.to_string() })?;
            if let Some(found) = found
                && winner.as_ref().is_none_or(|winner| found.beats(winner))
            {
                winner = Some(found);
            }
        }
        Ok(winner)
    }
    /// Whether a deletion is final.
    fn is_hidden(&self, entry: &Entry) -> bool {
        entry.is_deleted && self.epochs.watermark.is_some_and(|watermark| entry.timestamp <= watermark)
    }
    /// The entry of a content, deleted ones included.
    pub fn find(&self, id: &Id) -> Result<Option<Entry>, Error> {
        Ok(self.find_hidden(id)?.filter(|entry| !self.is_hidden(entry)))
    }
    /// The entries that win among those with the prefix (or all), by content; `is_wanted` looks at time and
    /// "is live" of a winner before its entry is unpacked.
    fn winners(
        &self,
        states: impl Fn(&Index, &mut Vec<State>, usize) -> Result<(), Malformed>,
        is_wanted: impl Fn(i64, bool) -> bool,
    ) -> Result<Vec<Entry>, Error> {
        let mut all: Vec<State> = Vec::with_capacity(8 * self.indexes.len());
        for (n, (_, index)) in self.indexes.iter().enumerate() {
            states(index, &mut all, n).map_err(|error| self.corrupt(n, &error))?;
        }
        // The winner of each content comes last among its states: newest, and live if equally new.
        all.sort(); // merges the sorted runs that the indexes are
        let mut winners = Vec::new();
        for same in all.chunk_by(|(one, ..), (other, ..)| one == other) {
            if same.last().is_some_and(|(_, time, is_live, _)| is_wanted(*time, *is_live)) {
                winners.extend(self.winner(same)?);
            }
        }
        Ok(winners)
    }
    /// The entry that wins among the sorted states of one content.
    fn winner(&self, same: &[State]) -> Result<Option<Entry>, Error> {
        let Some((id, time, is_live, _)) = same.last() else { return Ok(None) };
        let mut winner: Option<Entry> = None;
        let equals = |state: &&State| state.1 == *time && state.2 == *is_live;
        for (.., n) in same.iter().rev().take_while(equals) {
            let found = self.indexes[*n].1.find(id).map_err(|error| self.corrupt(*n, &error))?;
            if let Some(found) = found
                && winner.as_ref().is_none_or(|winner| found.beats(winner))
            {
                winner = Some(found);
            }
        }
        Ok(winner)
    }
    fn corrupt(&self, n: usize, error: &Malformed) -> Error {
        Error::CorruptIndex { blob: self.indexes[n].0.clone(), detail: error.to_string() }
    }
    /// The winners among the entries of some index blobs, hidden ones included.
    pub fn merge_blobs(&self, blobs: &[Metadata]) -> Result<BTreeMap<Id, Entry>, Error> {
        let indexes = blobs.iter().map(|blob| {
            let id = blob::Id::new(blob.id.as_str());
            let index = self.index(&id).cloned();
            index
                .map(|index| (id.clone(), index))
                .ok_or(Error::CorruptIndex { blob: id, detail: "it was not loaded".to_owned() })
        });
        let part = Self { indexes: indexes.collect::<Result<_, _>>()?, ..Self::default() };
        part.merged()
    }
    fn merged(&self) -> Result<BTreeMap<Id, Entry>, Error> {
        let watermark = self.epochs.watermark;
        let states = |index: &Index, all: &mut Vec<State>, n: usize| {
            for state in index.states() {
                let (id, time, is_live) = state?;
                all.push((id, time, is_live, n));
            }
            Ok(())
        };
        let is_seen =
            |time: i64, is_live: bool| is_live || watermark.is_none_or(|watermark| time > watermark);
        let winners = self.winners(states, is_seen)?;
        Ok(winners.into_iter().map(|entry| (entry.id, entry)).collect())
    }
    /// Every content, deleted ones included.
    pub fn all(&self) -> Result<Arc<BTreeMap<Id, Entry>>, Error> {
        if let Some(all) = self.all.get() {
            return Ok(all.clone());
        }
        let all = Arc::new(self.merged()?);
        Ok(self.all.get_or_init(|| all).clone())
    }
    /// What indexes say about manifests, sorted.
    fn manifest_states(&self, indexes: impl Iterator<Item = usize>) -> Result<Vec<State>, Error> {
        let mut all: Vec<State> = Vec::new();
        for n in indexes {
            let states = self.indexes[n].1.manifest_states().map_err(|error| self.corrupt(n, &error))?;
            all.extend(states.iter().map(|(id, time, is_live)| (*id, *time, *is_live, n)));
        }
        all.sort(); // merges the sorted runs that the indexes are
        Ok(all)
    }
    /// The live manifest contents, in order.
    ///
    /// Compacted indexes keep every manifest that ever was, and stay for days; what they say together is
    /// worked out once.
    pub fn live_manifests(&self) -> Result<Vec<Entry>, Error> {
        let is_compacted = |n: &usize| {
            let name = self.indexes[*n].0.as_str();
            name.starts_with("xs") || name.starts_with("xr")
        };
        let (compacted, fresh): (Vec<usize>, Vec<usize>) = (0..self.indexes.len()).partition(is_compacted);
        let settled = Settled::of(self, &compacted)?;
        let mut live = settled.live.clone();
        for same in self.manifest_states(fresh.into_iter())?.chunk_by(|(one, ..), (other, ..)| one == other) {
            let Some((id, time, is_live, _)) = same.last() else { continue };
            let before = settled.state_of(id);
            if before > Some((*time, *is_live)) {
                continue;
            }
            let found = if *is_live { self.winner(same)? } else { None };
            let known = live.get(id).filter(|_| before == Some((*time, *is_live)));
            if let (Some(known), Some(found)) = (known, &found)
                && !found.beats(known)
            {
                continue;
            }
            match found {
                Some(found) => drop(live.insert(*id, found)),
                None => drop(live.remove(id)),
            }
        }
        Ok(live.into_values().collect())
    }
}

/// What some compacted indexes say together about manifests.
#[derive(Debug)]
struct Settled {
    indexes: Vec<Arc<Index>>,
    /// The newest state of each content, sorted: its time, and whether it is live.
    states: Vec<(Id, i64, bool)>,
    live: BTreeMap<Id, Entry>,
}

/// What was worked out last; a process opens few repositories in turn.
static SETTLED: Mutex<Vec<Arc<Settled>>> = Mutex::new(Vec::new());
/// So many are remembered.
const SETTLED_MAX: usize = 16;

impl Settled {
    /// What these indexes of a view say; known already if they are the very same.
    fn of(view: &View, numbers: &[usize]) -> Result<Arc<Self>, Error> {
        let indexes = || numbers.iter().map(|n| &view.indexes[*n].1);
        let is_same = |known: &Arc<Self>| {
            known.indexes.len() == numbers.len()
                && known.indexes.iter().zip(indexes()).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        let known = SETTLED
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .find(|known| is_same(known))
            .cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let mut settled =
            Self { indexes: indexes().cloned().collect(), states: Vec::new(), live: BTreeMap::new() };
        for same in
            view.manifest_states(numbers.iter().copied())?.chunk_by(|(one, ..), (other, ..)| one == other)
        {
            let Some((id, time, is_live, _)) = same.last() else { continue };
            settled.states.push((*id, *time, *is_live));
            if *is_live && let Some(winner) = view.winner(same)? {
                settled.live.insert(*id, winner);
            }
        }
        let settled = Arc::new(settled);
        let mut all = SETTLED.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(0, settled.clone());
        all.truncate(SETTLED_MAX);
        Ok(settled)
    }
    fn state_of(&self, id: &Id) -> Option<(i64, bool)> {
        let at = self.states.binary_search_by(|(known, ..)| known.cmp(id)).ok()?;
        Some((self.states[at].1, self.states[at].2))
    }
}

/// Fetches and opens one index blob.
pub async fn load_index(
    store: SharedStore,
    secrets: Arc<Secrets>,
    blob: blob::Id,
) -> Result<(blob::Id, Arc<Index>), Error> {
    let bytes = store.get(blob.as_str(), None).await?;
    if let Some(index) = OPENED.recall(&secrets.maintenance_key, &blob, &bytes) {
        return Ok((blob, index));
    }
    let corrupt = |detail: String| Error::CorruptIndex { blob: blob.clone(), detail };
    let identifier =
        blob_identifier(blob.as_str()).ok_or_else(|| corrupt("its name holds no hash".to_owned()))?;
    let plain = secrets.encryptor.decrypt(&identifier, &bytes).map_err(|error| corrupt(error.to_string()))?;
    let index = Index::parse(plain.into()).map_err(|error| corrupt(error.to_string()))?;
    if !index.is_empty() && index.key_bytes() != 1 + secrets.hasher.output_bytes() {
        return Err(corrupt("its keys have another length than the repository's hashes".to_owned()));
    }
    let index = Arc::new(index);
    OPENED.remember(&secrets.maintenance_key, &blob, bytes, index.clone());
    Ok((blob, index))
}

impl Contents {
    /// Loads the indexes.
    pub async fn open(store: SharedStore, context: Context, secrets: Arc<Secrets>) -> Result<Self, Error> {
        let contents = Self { store, context, secrets, view: Mutex::default(), written: Mutex::default() };
        contents.refresh().await?;
        Ok(contents)
    }
    /// What the indexes say now.
    pub fn view(&self) -> Arc<View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// Takes an index that we wrote ourselves, so that the next refresh need not fetch it.
    pub fn remember(&self, blob: blob::Id, index: Index) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).insert(blob, Arc::new(index));
    }
    /// Lists again, and fetches index blobs that are new.
    pub async fn refresh(&self) -> Result<(), Error> {
        let mut attempt = 1;
        loop {
            match self.load().await {
                Err(Error::Store(vanished))
                    if vanished.kind == ErrorKind::NotFound && attempt < LOAD_ATTEMPTS =>
                {
                    attempt += 1;
                }
                other => return other,
            }
        }
    }
    async fn load(&self) -> Result<(), Error> {
        let refreshed = (self.context.now)();
        let id = |blob: &Metadata| blob::Id::new(blob.id.as_str());
        let (epochs, live): (Epochs, Vec<blob::Id>) = if self.secrets.format.epochs.enabled {
            let epochs = Epochs::new(self.store.list("x").await?);
            let live = epochs.live().map(id).collect();
            (epochs, live)
        } else {
            let live = legacy::live(&self.store, &self.secrets).await?;
            (Epochs::default(), live.iter().map(id).collect())
        };
        let known = self.view();
        let mut indexes = Vec::with_capacity(live.len());
        let mut wanted = Vec::new();
        {
            let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            for id in live {
                match known.index(&id).or_else(|| written.get(&id)) {
                    Some(index) => indexes.push((id, index.clone())),
                    None => wanted.push(load_index(self.store.clone(), self.secrets.clone(), id)),
                }
            }
        }
        let mut loading = stream::iter(wanted).buffered(LOAD_PARALLELISM);
        while let Some(loaded) = loading.next().await {
            indexes.push(loaded?);
        }
        drop(loading);
        indexes.sort_by(|(one, _), (other, _)| one.cmp(other));
        self.written.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let is_same = known.generation > 0
            && known.indexes.iter().map(|(id, _)| id).eq(indexes.iter().map(|(id, _)| id))
            && known.epochs.watermark == epochs.watermark;
        let generation = if is_same { known.generation } else { known.generation + 1 };
        let all = if is_same { known.all.clone() } else { OnceLock::new() };
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(View { epochs, refreshed, generation, indexes, all });
        Ok(())
    }

    /// Reads a content, deleted ones included.
    ///
    /// # Errors
    /// [`Error::MissingContent`], [`Error::MissingPack`], [`Error::CorruptContent`], [`Error::Store`].
    pub async fn read(&self, id: &Id) -> Result<Bytes, Error> {
        let entry = self.view().find(id)?.ok_or(Error::MissingContent { content: *id })?;
        self.read_entry(&entry).await
    }
    /// Reads a content where its entry says it is.
    pub async fn read_entry(&self, entry: &Entry) -> Result<Bytes, Error> {
        let stored = self.read_stored(entry).await?;
        self.open_stored(entry, &stored)
    }
    /// Fetches the bytes of a content as they are stored.
    pub async fn read_stored(&self, entry: &Entry) -> Result<Bytes, Error> {
        let range = u64::from(entry.offset)..u64::from(entry.offset) + u64::from(entry.packed_length);
        self.store.get(entry.pack.as_str(), Some(range)).await.map_err(|failure| match failure.kind {
            ErrorKind::NotFound | ErrorKind::Truncated => {
                Error::MissingPack { content: entry.id, pack: entry.pack.clone(), detail: failure.detail }
            }
            _ => Error::Store(failure),
        })
    }
    /// Decrypts and decompresses the stored bytes of a content.
    pub fn open_stored(&self, entry: &Entry, stored: &[u8]) -> Result<Bytes, Error> {
        let corrupt =
            |detail: String| Error::CorruptContent { content: entry.id, pack: entry.pack.clone(), detail };
        if entry.encryption_key != 0 {
            return Err(Error::UnsupportedFeature {
                feature: format!("encryption key {}", entry.encryption_key),
            });
        }
        let identifier = content_identifier(entry.id.hash());
        let payload =
            self.secrets.encryptor.decrypt(identifier, stored).map_err(|error| corrupt(error.to_string()))?;
        if entry.compression == compress::NONE {
            return Ok(payload.into());
        }
        match compress::decompress(entry.compression, &payload, u64::from(entry.original_length)) {
            Ok(data) if data.len() == entry.original_length as usize => Ok(data.into()),
            Ok(data) => {
                Err(corrupt(format!("it has {} bytes instead of {}", data.len(), entry.original_length)))
            }
            Err(compress::Undecodable::Unsupported(name)) => {
                Err(Error::UnsupportedFeature { feature: format!("compressor {name}") })
            }
            Err(error) => Err(corrupt(error.to_string())),
        }
    }
    /// Reads a content and checks that its bytes hash to its name.
    pub async fn read_checked(&self, entry: &Entry) -> Result<Bytes, Error> {
        let data = self.read_entry(entry).await?;
        if self.secrets.hasher.hash(&data) != entry.id.hash() {
            let detail = "its bytes do not hash to its name".to_owned();
            return Err(Error::CorruptContent { content: entry.id, pack: entry.pack.clone(), detail });
        }
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::content::index::build;

    /// Few contents, times and packs, so that they collide.
    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let one =
            (0..4_u8, 0..4_i64, any::<bool>(), 0..2_u8).prop_map(|(hash, time, is_deleted, pack)| Entry {
                id: Id::new(Some(b'm'), &[hash; 16]),
                timestamp: 1_700_000_000 + time,
                pack: blob::Id::new(format!("q{pack}")),
                offset: 32,
                packed_length: 39,
                original_length: 11,
                is_deleted,
                format_version: 3,
                compression: 0,
                encryption_key: 0,
            });
        prop::collection::btree_map(0..4_u8, one, 0..4).prop_map(|entries| {
            let by_id: BTreeMap<Id, Entry> = entries.into_values().map(|entry| (entry.id, entry)).collect();
            by_id.into_values().collect()
        })
    }

    proptest! {
        #[test]
        fn live_manifests_are_the_live_winners_whatever_is_compacted(
            fresh in prop::collection::vec(entries(), 0..4),
            compacted in prop::collection::vec(entries(), 0..4),
        ) {
            let named = |head: &'static str, all: Vec<Vec<Entry>>| {
                all.into_iter().enumerate().map(move |(n, entries)| {
                    let index = Index::parse(build(&entries).into()).unwrap();
                    (blob::Id::new(format!("{head}{n}_x")), Arc::new(index))
                })
            };
            let indexes = named("xn", fresh).chain(named("xs", compacted)).collect();
            let view = View { indexes, ..View::default() };
            let winners = view.merged().unwrap();
            let expected: Vec<Entry> = winners.into_values().filter(|entry| !entry.is_deleted).collect();
            // Twice: the second answer comes from what is remembered.
            prop_assert_eq!(&view.live_manifests().unwrap(), &expected);
            prop_assert_eq!(&view.live_manifests().unwrap(), &expected);
        }
    }
}
