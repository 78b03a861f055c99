//! The store seam: named bytes, and nothing else.
//!
//! A [`Store`] is a flat map from blob name to bytes with the store's own times. It promises
//! read-after-write and atomic visibility; it knows neither packs nor passwords. Implementations
//! stand in [`crate::blob`] (memory, Kopia's directory layout); the bed and the mover bring others.
//! It does not retry and does not cache: whoever needs that wraps it.

use std::{fmt, ops::Range, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;

/// What a store says about one blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The blob's name; never contains `/`.
    pub id: String,
    /// Length in bytes.
    pub length: u64,
    /// The modification time the store reports, on the store's own clock.
    pub modified: Timestamp,
}

/// Named bytes.
///
/// # Guarantees
/// A blob is seen whole or not at all; what `put` acknowledged, the next `get`, `stat` and `list` see.
/// # Cancellation
/// A dropped `put` may or may not have happened, as with any remote store.
#[async_trait::async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Reads a blob, whole or a half-open byte range of it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Truncated`] when the range reaches beyond the end.
    async fn get(&self, id: &str, range: Option<Range<u64>>) -> Result<Bytes, Error>;
    /// Creates or replaces a blob atomically.
    async fn put(&self, id: &str, bytes: Bytes) -> Result<(), Error>;
    /// Creates a blob only if no blob of that name exists, atomically.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] when there is one already.
    async fn put_new(&self, id: &str, bytes: Bytes) -> Result<(), Error>;
    /// Lists the blobs whose names start with `prefix`, sorted by name.
    async fn list(&self, prefix: &str) -> Result<Vec<Metadata>, Error>;
    /// Tells length and time of one blob.
    async fn stat(&self, id: &str) -> Result<Metadata, Error>;
    /// Removes a blob; removing an absent one succeeds.
    async fn delete(&self, id: &str) -> Result<(), Error>;
}

/// A store shared by readers and writers of one run.
pub type SharedStore = Arc<dyn Store>;

/// Why a store could not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// No blob of that name.
    NotFound,
    /// A blob of that name exists already ([`Store::put_new`]).
    Exists,
    /// The blob is shorter than the range asked for.
    Truncated,
    /// The store refuses this caller (credentials, permission, squashed user).
    Denied,
    /// No space or quota left.
    NoSpace,
    /// The handle is stale: the export behind the mount was replaced (ESTALE).
    Stale,
    /// An input/output error of the medium or of a soft mount (EIO).
    Io,
    /// Temporarily unreachable; a retry may help.
    Unavailable,
    /// The place the store should live in does not exist or is not a repository location.
    Misconfigured,
}

/// An error of the store seam: what was tried, on which blob, and why it failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("failed to {operation} blob {id:?}: {detail}")]
pub struct Error {
    /// The class of failure, for those who must decide.
    pub kind: ErrorKind,
    /// `get`, `put`, `list`, `stat`, `delete`.
    pub operation: &'static str,
    /// The blob, or the prefix of a listing.
    pub id: String,
    /// The store's own words, such as `input/output error`.
    pub detail: String,
}

impl Error {
    /// Builds an error; `detail` is the store's own text.
    pub fn new(kind: ErrorKind, operation: &'static str, id: &str, detail: impl Into<String>) -> Self {
        Self { kind, operation, id: id.to_owned(), detail: detail.into() }
    }
}
