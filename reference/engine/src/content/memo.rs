//! Remembers what stored bytes meant, within one process.
//!
//! Opening an index blob or a content of manifests (decrypting, unpacking, parsing) is a pure function of
//! its stored bytes and the key. A simulation opens the same repository thousands of times; a memo answers
//! for bytes that are equal to those it saw. The bytes are always fetched anew and compared, so damage and
//! replacement are noticed as without it. It is bounded, and no outcome depends on what it holds.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

/// Stored bytes kept at most; beyond that a memo starts afresh.
const BYTES_MAX: usize = 64 << 20;

/// What was seen, by a key that stands for the repository's secrets and a name of the bytes.
type Known<Q, A> = BTreeMap<[u8; 32], BTreeMap<Q, (Bytes, Arc<A>)>>;

/// Opened things of one sort.
#[derive(Debug)]
pub struct Memo<Q, A> {
    known: Mutex<(usize, Known<Q, A>)>,
}

/// Whether these are the same bytes; those in the same place need no second look.
fn is_same(one: &Bytes, other: &Bytes) -> bool {
    (one.as_ptr() == other.as_ptr() && one.len() == other.len()) || one == other
}

impl<Q: Ord + Clone, A> Memo<Q, A> {
    /// An empty memo.
    pub const fn new() -> Self {
        Self { known: Mutex::new((0, BTreeMap::new())) }
    }
    /// What these very bytes gave before.
    pub fn recall(&self, key: &[u8; 32], name: &Q, bytes: &Bytes) -> Option<Arc<A>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, answer) = known.1.get(key)?.get(name)?;
        is_same(seen, bytes).then(|| answer.clone())
    }
    /// Remembers what bytes gave.
    pub fn remember(&self, key: &[u8; 32], name: &Q, bytes: Bytes, answer: Arc<A>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 + bytes.len() > BYTES_MAX {
            *known = (0, BTreeMap::new());
        }
        known.0 += bytes.len();
        if let Some((replaced, _)) = known.1.entry(*key).or_default().insert(name.clone(), (bytes, answer)) {
            known.0 -= replaced.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_same_bytes_are_recalled() {
        let memo: Memo<&str, u8> = Memo::new();
        memo.remember(&[1; 32], &"xn0_aa", "stored".into(), Arc::new(7));
        assert_eq!(memo.recall(&[1; 32], &"xn0_aa", &"stored".into()).as_deref(), Some(&7));
        assert_eq!(memo.recall(&[1; 32], &"xn0_aa", &Bytes::from(b"stored".to_vec())).as_deref(), Some(&7));
        assert!(memo.recall(&[1; 32], &"xn0_aa", &"altered".into()).is_none());
        assert!(memo.recall(&[2; 32], &"xn0_aa", &"stored".into()).is_none());
        assert!(memo.recall(&[1; 32], &"xn0_bb", &"stored".into()).is_none());
    }

    #[test]
    fn a_part_of_the_same_bytes_is_not_the_same() {
        let bytes = Bytes::from_static(b"stored");
        assert!(!is_same(&bytes, &bytes.slice(..3)));
        assert!(is_same(&bytes, &bytes.clone()));
    }
}
