//! Remembers opened index blobs within one process.
//!
//! Opening an index blob (decrypting, parsing) is a pure function of its stored bytes and the key. A
//! simulation opens the same repository thousands of times; this memo answers for bytes that are equal to
//! those it saw. The bytes are always fetched anew and compared, so damage and replacement are noticed as
//! without it. It is bounded, and no outcome depends on what it holds.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

use super::index::Index;
use crate::blob;

/// Stored bytes kept at most; beyond that the memo starts afresh.
const BYTES_MAX: usize = 64 << 20;

/// A key that stands for the repository's secrets, and the blob.
type Question = ([u8; 32], blob::Id);
type Answer = (Bytes, Arc<Index>);

/// Opened index blobs.
#[derive(Debug)]
pub struct Memo {
    known: Mutex<(usize, BTreeMap<Question, Answer>)>,
}

static PROCESS: Memo = Memo::new();

impl Memo {
    const fn new() -> Self {
        Self { known: Mutex::new((0, BTreeMap::new())) }
    }
    /// The memo of this process.
    pub fn process() -> &'static Self {
        &PROCESS
    }
    /// The index that these very bytes gave before.
    pub fn recall(&self, key: &[u8; 32], blob: &blob::Id, bytes: &Bytes) -> Option<Arc<Index>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, index) = known.1.get(&(*key, blob.clone()))?;
        (seen == bytes).then(|| index.clone())
    }
    /// Remembers what bytes gave.
    pub fn remember(&self, key: &[u8; 32], blob: &blob::Id, bytes: Bytes, index: Arc<Index>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 + bytes.len() > BYTES_MAX {
            *known = (0, BTreeMap::new());
        }
        known.0 += bytes.len();
        if let Some((replaced, _)) = known.1.insert((*key, blob.clone()), (bytes, index)) {
            known.0 -= replaced.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_same_bytes_are_recalled() {
        let memo = Memo::new();
        let index = Arc::new(Index::parse(Bytes::from_static(&[1, 0xff, 0, 20, 0, 0, 0, 0])).unwrap());
        let blob = blob::Id::new("xn0_aa");
        memo.remember(&[1; 32], &blob, "stored".into(), index);
        assert!(memo.recall(&[1; 32], &blob, &"stored".into()).is_some());
        assert!(memo.recall(&[1; 32], &blob, &"altered".into()).is_none());
        assert!(memo.recall(&[2; 32], &blob, &"stored".into()).is_none());
        assert!(memo.recall(&[1; 32], &blob::Id::new("xn0_bb"), &"stored".into()).is_none());
    }
}
