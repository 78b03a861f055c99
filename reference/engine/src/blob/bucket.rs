//! A store in a bucket, through the `object_store` crate.
//!
//! [`BucketStore`] makes a [`Store`] of anything that `object_store` reaches: [`super::s3`] for real
//! buckets, its memory for tests. Kopia's layout in a bucket is flat: the key is the prefix followed by the
//! blob's name; keys with a further `/` and `.storageconfig` are no blobs.
//!
//! It promises what the seam promises, as far as the bucket does: read-after-write, whole objects. Times are
//! cut to whole seconds, because a bucket tells milliseconds in a listing and seconds in a header, and the
//! same blob must have one time. The epochs can live with that: everything they compare store times by is
//! minutes long or more (`epoch refresh` 20 min, `min_epoch_duration` hours), and of two index blobs within
//! one second either may be called the newer.
//! It retries nothing itself and caches nothing; the retries of the S3 client are below it.
use std::{fmt, ops::Range, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;
use object_store::{
    GetOptions, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
    PutPayload,
    list::{PaginatedListOptions, PaginatedListStore},
    path::Path,
};

use super::answer;
use crate::store::{Error, ErrorKind, Metadata, Store};

/// Blobs up to this size are written in one request: an ordinary pack (20 MiB and a content) is, so that a
/// killed mover leaves no parts of an unfinished upload that somebody pays for and nobody sees.
const WHOLE_BYTES_MAX: usize = 48 << 20;
/// Size of the parts of larger ones; S3 wants at least 5 MiB and at most 10,000 of them.
const PART_BYTES: usize = 16 << 20;
/// Kopia's own file next to the blobs, which it never lists.
const STORAGE_CONFIG: &str = ".storageconfig";

/// A bucket, or the part of it below a prefix.
pub struct BucketStore {
    objects: Arc<dyn ObjectStore>,
    /// Lists by the beginning of a name, where the bucket can; else whole directories are listed.
    pages: Option<Arc<dyn PaginatedListStore>>,
    prefix: String,
    part_bytes: usize,
    whole_bytes_max: usize,
}

impl BucketStore {
    /// Any store that `object_store` knows; a prefix is empty or ends in `/`.
    ///
    /// # Caveats
    /// Every listing reads all keys below the prefix; use [`Self::paged`] where the store can do better.
    pub fn new(objects: Arc<dyn ObjectStore>, prefix: impl Into<String>) -> Self {
        Self {
            objects,
            pages: None,
            prefix: prefix.into(),
            part_bytes: PART_BYTES,
            whole_bytes_max: WHOLE_BYTES_MAX,
        }
    }
    /// A store that lists by the beginning of a name, as S3 does.
    pub fn paged<S: ObjectStore + PaginatedListStore>(store: Arc<S>, prefix: impl Into<String>) -> Self {
        Self { pages: Some(store.clone()), ..Self::new(store, prefix) }
    }
    /// Writes blobs longer than `whole_bytes_max` in parts of `part_bytes`.
    #[must_use]
    pub fn with_parts(self, whole_bytes_max: usize, part_bytes: usize) -> Self {
        Self { part_bytes: part_bytes.max(1), whole_bytes_max, ..self }
    }

    fn key(&self, operation: &'static str, id: &str) -> Result<Path, Error> {
        Path::parse(format!("{}{id}", self.prefix))
            .map_err(|error| Error::new(ErrorKind::Misconfigured, operation, id, error.to_string()))
    }
    fn metadata(&self, found: &ObjectMeta) -> Option<Metadata> {
        let id = found.location.as_ref().strip_prefix(self.prefix.as_str())?;
        (!id.is_empty() && !id.contains('/') && id != STORAGE_CONFIG).then(|| Metadata {
            id: id.to_owned(),
            length: found.size,
            modified: Timestamp::from_second(found.last_modified.timestamp())
                .unwrap_or(Timestamp::UNIX_EPOCH),
        })
    }
    async fn list_pages(
        &self,
        pages: &dyn PaginatedListStore,
        prefix: &str,
    ) -> object_store::Result<Vec<ObjectMeta>> {
        let start = format!("{}{prefix}", self.prefix);
        let start = (!start.is_empty()).then_some(start);
        let mut found = Vec::new();
        let mut page_token = None;
        loop {
            let options = PaginatedListOptions {
                delimiter: Some("/".into()),
                page_token: page_token.take(),
                ..PaginatedListOptions::default()
            };
            let page = pages.list_paginated(start.as_deref(), options).await?;
            found.extend(page.result.objects);
            page_token = page.page_token;
            if page_token.is_none() {
                return Ok(found);
            }
        }
    }
    async fn list_directory(&self, prefix: &str) -> object_store::Result<Vec<ObjectMeta>> {
        let directory = self.prefix.trim_end_matches('/');
        let directory = if directory.is_empty() { None } else { Some(Path::parse(directory)?) };
        let start = format!("{}{prefix}", self.prefix);
        let listed = self.objects.list_with_delimiter(directory.as_ref()).await?.objects;
        Ok(listed.into_iter().filter(|found| found.location.as_ref().starts_with(&start)).collect())
    }
    /// Uploads in parts; the blob is seen only when all of them are there.
    async fn put_parts(&self, key: &Path, bytes: &Bytes) -> object_store::Result<()> {
        let mut upload = self.objects.put_multipart(key).await?;
        let Err(error) = send_parts(&mut *upload, bytes, self.part_bytes).await else { return Ok(()) };
        // The answer to the last request may have got lost, and its repetition been refused. Blobs of this
        // size are written once under a name of their own: one of this length is ours.
        if self.objects.head(key).await.is_ok_and(|found| found.size == bytes.len() as u64) {
            return Ok(());
        }
        // What cannot be taken back now is left to the bucket's own rule for unfinished uploads.
        let _ = upload.abort().await;
        Err(error)
    }
}

/// One part at a time: a mover has other transfers beside this one, and memory to mind.
async fn send_parts(
    upload: &mut dyn MultipartUpload,
    bytes: &Bytes,
    part_bytes: usize,
) -> object_store::Result<()> {
    for start in (0..bytes.len()).step_by(part_bytes) {
        let part = bytes.slice(start..(start + part_bytes).min(bytes.len()));
        upload.put_part(PutPayload::from_bytes(part)).await?;
    }
    upload.complete().await.map(drop)
}

impl fmt::Debug for BucketStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BucketStore({}, {:?})", self.objects, self.prefix)
    }
}

#[async_trait::async_trait]
impl Store for BucketStore {
    async fn get(&self, id: &str, range: Option<Range<u64>>) -> Result<Bytes, Error> {
        let key = self.key("get", id)?;
        let wrong = |error| answer::error(error, "get", id);
        let Some(range) = range else {
            return self.objects.get(&key).await.map_err(wrong)?.bytes().await.map_err(wrong);
        };
        let beyond = |length: u64| {
            let detail = format!("range {range:?} reaches beyond its {length} bytes");
            Error::new(ErrorKind::Truncated, "get", id, detail)
        };
        if range.start >= range.end {
            // No bucket can be asked for nothing.
            let length = self.objects.head(&key).await.map_err(wrong)?.size;
            return if range.start > range.end || range.end > length {
                Err(beyond(length))
            } else {
                Ok(Bytes::new())
            };
        }
        let options = GetOptions { range: Some(range.clone().into()), ..GetOptions::default() };
        let got = match self.objects.get_opts(&key, options).await {
            Ok(got) => got,
            Err(error) => {
                let error = wrong(error);
                // A range that begins beyond the end is refused, each store in its own words.
                if matches!(error.kind, ErrorKind::Truncated | ErrorKind::Io) {
                    let length = self.objects.head(&key).await.map_err(wrong)?.size;
                    return Err(if range.end > length { beyond(length) } else { error });
                }
                return Err(error);
            }
        };
        let length = got.meta.size;
        if range.end > length {
            return Err(beyond(length));
        }
        let bytes = got.bytes().await.map_err(wrong)?;
        if bytes.len() as u64 == range.end - range.start {
            Ok(bytes)
        } else {
            let detail = format!("{} bytes came for range {range:?}", bytes.len());
            Err(Error::new(ErrorKind::Io, "get", id, detail))
        }
    }
    async fn put(&self, id: &str, bytes: Bytes) -> Result<(), Error> {
        let key = self.key("put", id)?;
        let put = if bytes.len() > self.whole_bytes_max {
            self.put_parts(&key, &bytes).await
        } else {
            self.objects.put(&key, PutPayload::from_bytes(bytes)).await.map(drop)
        };
        put.map_err(|error| answer::error(error, "put", id))
    }
    async fn put_new(&self, id: &str, bytes: Bytes) -> Result<(), Error> {
        let key = self.key("put", id)?;
        let options = PutOptions::from(PutMode::Create);
        let put = self.objects.put_opts(&key, PutPayload::from_bytes(bytes.clone()), options).await;
        match put.map_err(|error| answer::error(error, "put", id)) {
            Ok(_) => Ok(()),
            // A bucket without conditional writes: look first, as Kopia does everywhere.
            Err(error) if error.detail.contains("NotImplemented") => match self.stat(id).await {
                Ok(_) => Err(Error::new(ErrorKind::Exists, "put", id, "a blob of that name exists")),
                Err(absent) if absent.kind == ErrorKind::NotFound => self.put(id, bytes).await,
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        }
    }
    async fn list(&self, prefix: &str) -> Result<Vec<Metadata>, Error> {
        let listed = match &self.pages {
            Some(pages) => self.list_pages(&**pages, prefix).await,
            None => self.list_directory(prefix).await,
        };
        let listed = listed.map_err(|error| answer::error(error, "list", prefix))?;
        let mut found: Vec<Metadata> = listed.iter().filter_map(|found| self.metadata(found)).collect();
        found.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(found)
    }
    async fn stat(&self, id: &str) -> Result<Metadata, Error> {
        let key = self.key("stat", id)?;
        let found = self.objects.head(&key).await.map_err(|error| answer::error(error, "stat", id))?;
        let absent = || Error::new(ErrorKind::NotFound, "stat", id, "no such blob");
        self.metadata(&found).ok_or_else(absent)
    }
    async fn delete(&self, id: &str) -> Result<(), Error> {
        let key = self.key("delete", id)?;
        match self.objects.delete(&key).await {
            Ok(()) => Ok(()),
            Err(error) => match answer::error(error, "delete", id) {
                absent if absent.kind == ErrorKind::NotFound => Ok(()),
                error => Err(error),
            },
        }
    }
}
