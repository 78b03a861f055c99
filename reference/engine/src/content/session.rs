//! A write session: contents are named, deduplicated, packed, and made visible all at once.
//!
//! Order of writes: session marker, packs, index, removal of the marker. A session that is dropped half
//! way leaves packs that no index names, which maintenance collects; nothing of it becomes visible. The
//! bytes written do not depend on the number of threads. Entries of one flush are in one index blob (or one
//! set), so that readers see all of it or nothing.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    Id,
    committed::Contents,
    index::{self, Entry, Index},
    pack::Pack,
};
use crate::{
    blob,
    compress::Compressor,
    encrypt::{NONCE_BYTES, content_identifier},
    error::Error,
};

/// A content to be written.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Prefix letter.
    pub prefix: Option<u8>,
    /// Its bytes.
    pub data: Bytes,
    /// How to compress it.
    pub compressor: Option<Compressor>,
}

/// What was written, for the outcome of an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes of packs and indexes.
    pub bytes: u64,
    /// Contents stored anew.
    pub contents: u64,
}

/// A write session.
#[derive(Debug)]
pub struct Session<'a> {
    contents: &'a Contents,
    id: String,
    marker: Option<blob::Id>,
    packs: BTreeMap<u8, Pack>,
    /// Entries that the next flush makes visible.
    pending: BTreeMap<Id, Entry>,
    written: Written,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Marker<'a> {
    id: &'a str,
    start_time: Timestamp,
    checkpoint_time: Timestamp,
    username: &'a str,
    hostname: &'a str,
}

/// The suffix of session names: 30-day periods since 2000.
fn session_period(now: Timestamp) -> i64 {
    const FIRST: i64 = 946_684_800;
    (now.as_second() - FIRST).div_euclid(30 * 86_400)
}

/// Runs a pure function over items, on several threads if asked; results are in the order of the items.
pub fn map_in_order<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    function: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    if threads <= 1 || items.len() <= 1 {
        return items.iter().map(function).collect();
    }
    let share = items.len().div_ceil(threads);
    std::thread::scope(|scope| {
        let function = &function;
        let workers: Vec<_> = items
            .chunks(share)
            .map(|part| scope.spawn(move || part.iter().map(function).collect::<Vec<_>>()))
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("kernels do not panic")).collect()
    })
}

impl<'a> Session<'a> {
    /// Starts a session; writes nothing yet.
    ///
    /// # Errors
    /// [`Error::UnsupportedFeature`] for repositories that this engine only reads.
    pub fn new(contents: &'a Contents) -> Result<Self, Error> {
        let format = &contents.secrets.format;
        if !format.epochs.enabled || format.index_version != 2 || contents.secrets.replica.is_some() {
            let feature = format!("writing format version {} (this engine only reads it)", format.version);
            return Err(Error::UnsupportedFeature { feature });
        }
        let now = (contents.context.now)();
        let id = format!("s{}{:x}", hex::encode(contents.context.entropy.bytes::<8>()), session_period(now));
        Ok(Self {
            contents,
            id,
            marker: None,
            packs: BTreeMap::new(),
            pending: BTreeMap::new(),
            written: Written::default(),
        })
    }
    fn now_seconds(&self) -> i64 {
        (self.contents.context.now)().as_second()
    }
    /// What was written so far.
    pub fn written(&self) -> Written {
        self.written
    }
    /// The entry of a content as the next flush would leave it.
    pub fn find(&self, id: &Id) -> Result<Option<Entry>, Error> {
        match self.pending.get(id) {
            Some(entry) => Ok(Some(entry.clone())),
            None => self.contents.view().find(id),
        }
    }
    /// A timestamp that wins over whatever any index says about the content.
    fn winning_timestamp(&self, id: &Id) -> Result<i64, Error> {
        let known = match self.pending.get(id) {
            Some(entry) => Some(entry.timestamp),
            None => self.contents.view().find_hidden(id)?.map(|entry| entry.timestamp),
        };
        Ok(known.map_or(self.now_seconds(), |known| self.now_seconds().max(known + 1)))
    }

    /// Writes one content; returns its name.
    pub async fn write(&mut self, piece: Piece) -> Result<Id, Error> {
        Ok(self.write_all(vec![piece], 1).await?[0])
    }
    /// Writes contents; returns their names in order.
    pub async fn write_all(&mut self, pieces: Vec<Piece>, threads: usize) -> Result<Vec<Id>, Error> {
        let secrets = &self.contents.secrets;
        let ids =
            map_in_order(&pieces, threads, |piece| Id::new(piece.prefix, &secrets.hasher.hash(&piece.data)));
        // New ones, each once, with nonces drawn in order so that threads cannot change the bytes.
        let mut fresh: Vec<(usize, i64, [u8; NONCE_BYTES])> = Vec::new();
        let mut seen = BTreeSet::new();
        for (n, id) in ids.iter().enumerate() {
            if seen.insert(*id) && self.find(id)?.is_none_or(|entry| entry.is_deleted) {
                fresh.push((n, self.winning_timestamp(id)?, self.contents.context.entropy.bytes()));
            }
        }
        let sealed = map_in_order(&fresh, threads, |(n, _, nonce)| {
            let piece = &pieces[*n];
            let compressed = piece
                .compressor
                .and_then(|compressor| Some((compressor.id(), compressor.compress(&piece.data)?)));
            let (compression, payload) =
                compressed.as_ref().map_or((0, &piece.data[..]), |(id, payload)| (*id, &payload[..]));
            (compression, secrets.encryptor.encrypt(content_identifier(ids[*n].hash()), *nonce, payload))
        });
        for ((n, timestamp, _), (compression, stored)) in fresh.into_iter().zip(sealed) {
            self.append(ids[n], pieces[n].data.len() as u32, timestamp, false, compression, &stored).await?;
        }
        Ok(ids)
    }
    async fn append(
        &mut self,
        id: Id,
        length: u32,
        timestamp: i64,
        is_deleted: bool,
        compression: u32,
        stored: &[u8],
    ) -> Result<(), Error> {
        let letter = if id.prefix().is_some() { b'q' } else { b'p' };
        let entropy = &self.contents.context.entropy;
        let pack = self.packs.entry(letter).or_insert_with(|| {
            let name = format!("{}{}-{}", char::from(letter), hex::encode(entropy.bytes::<16>()), self.id);
            Pack::new(blob::Id::new(name), entropy)
        });
        let entry = Entry {
            id,
            timestamp,
            pack: pack.id.clone(),
            offset: 0,
            packed_length: 0,
            original_length: length,
            is_deleted,
            format_version: self.contents.secrets.format.version as u8,
            compression,
            encryption_key: 0,
        };
        let entry = pack.append(stored, &entry);
        self.pending.insert(id, entry);
        self.written.contents += 1;
        if pack.len() >= self.contents.secrets.format.pack_bytes_max {
            self.put_pack(letter).await?;
        }
        Ok(())
    }
    /// Marks a content deleted; nothing to do if it is unknown or already marked.
    pub fn delete(&mut self, id: &Id) -> Result<(), Error> {
        if let Some(entry) = self.find(id)?.filter(|entry| !entry.is_deleted) {
            let timestamp = self.now_seconds().max(entry.timestamp + 1);
            self.pending.insert(*id, Entry { is_deleted: true, timestamp, ..entry });
        }
        Ok(())
    }
    /// Stores a content again in a new pack; `undelete` clears its deletion mark, otherwise the mark stays.
    pub async fn rewrite(&mut self, entry: &Entry, undelete: bool) -> Result<(), Error> {
        let data = self.contents.read_entry(entry).await?;
        let compressor = Compressor::with_id(entry.compression);
        let nonce = self.contents.context.entropy.bytes();
        let compressed =
            compressor.and_then(|compressor| Some((compressor.id(), compressor.compress(&data)?)));
        let (compression, payload) =
            compressed.as_ref().map_or((0, &data[..]), |(id, payload)| (*id, &payload[..]));
        let stored =
            self.contents.secrets.encryptor.encrypt(content_identifier(entry.id.hash()), nonce, payload);
        let timestamp = self.now_seconds().max(entry.timestamp + 1);
        self.append(
            entry.id,
            data.len() as u32,
            timestamp,
            entry.is_deleted && !undelete,
            compression,
            &stored,
        )
        .await
    }

    async fn put_marker(&mut self) -> Result<(), Error> {
        if self.marker.is_some() {
            return Ok(());
        }
        let context = &self.contents.context;
        let now = (context.now)();
        let marker = Marker {
            id: &self.id,
            start_time: now,
            checkpoint_time: now,
            username: &context.client.username,
            hostname: &context.client.hostname,
        };
        let plain = serde_json::to_vec(&marker).expect("plain data serialises");
        let (id, sealed) = self.seal_blob("s", &plain, &format!("-{}", self.id));
        self.contents.store.put(id.as_str(), sealed.into()).await?;
        self.marker = Some(id);
        Ok(())
    }
    /// Names and encrypts a blob by the hash of its plain bytes.
    fn seal_blob(&self, head: &str, plain: &[u8], tail: &str) -> (blob::Id, Vec<u8>) {
        let hash = self.contents.secrets.hasher.hash(plain);
        let sealed = self.contents.secrets.encryptor.encrypt(
            content_identifier(&hash),
            self.contents.context.entropy.bytes(),
            plain,
        );
        (blob::Id::new(format!("{head}{}{tail}", hex::encode(hash))), sealed)
    }
    async fn put_pack(&mut self, letter: u8) -> Result<(), Error> {
        self.put_marker().await?;
        if let Some(pack) = self.packs.remove(&letter) {
            let (id, bytes) = pack.finish(&self.contents.secrets, &self.contents.context.entropy);
            self.written.bytes += bytes.len() as u64;
            self.contents.store.put(id.as_str(), bytes.into()).await?;
        }
        Ok(())
    }
    /// Makes everything so far visible, at once. The session may go on afterwards.
    ///
    /// # Errors
    /// [`Error::EpochPassed`] when the write came too late to be seen; nothing of it is visible then.
    pub async fn flush(&mut self) -> Result<(), Error> {
        let letters: Vec<u8> = self.packs.keys().copied().collect();
        for letter in letters {
            self.put_pack(letter).await?;
        }
        if !self.pending.is_empty() {
            let entries: Vec<Entry> = std::mem::take(&mut self.pending).into_values().collect();
            self.put_index(&entries).await?;
        }
        if let Some(marker) = self.marker.take() {
            self.contents.store.delete(marker.as_str()).await?;
        }
        Ok(())
    }
    async fn put_index(&mut self, entries: &[Entry]) -> Result<(), Error> {
        const STALE_NANOS_DIVISOR: i64 = 4;
        let plain = index::build(entries);
        let limit =
            i128::from(self.contents.secrets.format.epochs.epoch_refresh_frequency / STALE_NANOS_DIVISOR);
        let age =
            (self.contents.context.now)().as_nanosecond() - self.contents.view().refreshed.as_nanosecond();
        if age > limit {
            self.contents.refresh().await?;
        }
        let epoch = self.contents.view().epochs.current;
        let (id, sealed) = self.seal_blob(&format!("xn{epoch}_"), &plain, &format!("-{}-c1", self.id));
        self.written.bytes += sealed.len() as u64;
        self.contents.store.put(id.as_str(), sealed.into()).await?;
        self.contents.remember(id.clone(), Index::parse(plain.into()).expect("we just built it"));
        self.contents.refresh().await?;
        let current = self.contents.view().epochs.current;
        if current >= epoch + 2 {
            self.contents.store.delete(id.as_str()).await?;
            self.contents.refresh().await?;
            return Err(Error::EpochPassed { epoch, current });
        }
        Ok(())
    }
}

/// Merges index blobs into one compacted blob and puts it under `head`; returns its name and bytes.
pub async fn put_compacted(
    contents: &Contents,
    entries: &BTreeMap<Id, Entry>,
    head: &str,
) -> Result<(blob::Id, u64), Error> {
    let sorted: Vec<Entry> = entries.values().cloned().collect();
    let plain = index::build(&sorted);
    let entropy = &contents.context.entropy;
    let hash = contents.secrets.hasher.hash(&plain);
    let sealed = contents.secrets.encryptor.encrypt(content_identifier(&hash), entropy.bytes(), &plain);
    let id = blob::Id::new(format!("{head}{}-s{}-c1", hex::encode(hash), hex::encode(entropy.bytes::<8>())));
    let bytes = sealed.len() as u64;
    contents.store.put(id.as_str(), sealed.into()).await?;
    Ok((id, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_periods_are_those_of_the_specification() {
        let check = |time: &str, expected: &str| {
            assert_eq!(format!("{:x}", session_period(time.parse().unwrap())), expected);
        };
        check("2024-06-01T00:00:00Z", "129");
        check("2026-01-01T00:00:00Z", "13c");
    }

    #[test]
    fn threads_do_not_change_the_order() {
        let items: Vec<u32> = (0..101).collect();
        for threads in 1..6 {
            assert_eq!(
                map_in_order(&items, threads, |item| item * 2),
                items.iter().map(|item| item * 2).collect::<Vec<_>>()
            );
        }
    }
}
