//! Remembers what stored bytes meant, within one process.
//!
//! Opening an index blob or a content of manifests (decrypting, unpacking, parsing) is a pure function of
//! its stored bytes and the key. A simulation opens the same repository thousands of times; a memo answers
//! for bytes that are equal to those it saw. The bytes are always fetched anew and compared, so damage and
//! replacement are noticed as without it. It is bounded, and no outcome depends on what it holds.
//!
//! What is asked for stays: answers live in two generations, a recalled one moves to the younger, and when
//! that is full it becomes the older one, which is dropped.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

/// Answers in one generation at most: a few times what one repository has of index blobs and manifests.
const ANSWERS_MAX: usize = 2048;
/// Stored bytes in one generation at most.
const BYTES_MAX: usize = 16 << 20;

/// What was seen, by a key that stands for the repository's secrets and a name of the bytes.
#[derive(Debug)]
struct Generation<Q, A> {
    known: BTreeMap<([u8; 32], Q), (Bytes, Arc<A>)>,
    bytes: usize,
}

impl<Q: Ord, A> Generation<Q, A> {
    const fn new() -> Self {
        Self { known: BTreeMap::new(), bytes: 0 }
    }
    fn is_full(&self, more: usize) -> bool {
        self.known.len() >= ANSWERS_MAX || self.bytes + more > BYTES_MAX
    }
    fn take(&mut self, name: &([u8; 32], Q)) -> Option<(Bytes, Arc<A>)> {
        let taken = self.known.remove(name)?;
        self.bytes -= taken.0.len();
        Some(taken)
    }
}

/// Both generations.
#[derive(Debug)]
struct Known<Q, A> {
    young: Generation<Q, A>,
    old: Generation<Q, A>,
}

/// Whether these are the same bytes; those in the same place need no second look.
fn is_same(one: &Bytes, other: &Bytes) -> bool {
    (one.as_ptr() == other.as_ptr() && one.len() == other.len()) || one == other
}

/// Opened things of one sort.
#[derive(Debug)]
pub struct Memo<Q, A>(Mutex<Known<Q, A>>);

impl<Q: Ord + Clone, A> Memo<Q, A> {
    /// An empty memo.
    pub const fn new() -> Self {
        Self(Mutex::new(Known { young: Generation::new(), old: Generation::new() }))
    }
    /// What these very bytes gave before.
    pub fn recall(&self, key: &[u8; 32], name: &Q, bytes: &Bytes) -> Option<Arc<A>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (*key, name.clone());
        if let Some((seen, answer)) = known.young.known.get(&name) {
            return is_same(seen, bytes).then(|| Arc::clone(answer));
        }
        let (seen, answer) = known.old.take(&name)?;
        let is_equal = is_same(&seen, bytes);
        known.insert(name, seen, Arc::clone(&answer));
        is_equal.then_some(answer)
    }
    /// Remembers what bytes gave. The bytes are held: a part of a larger buffer must be a copy, or the whole buffer
    /// stays in memory, long after its repository has deleted it.
    pub fn remember(&self, key: &[u8; 32], name: &Q, bytes: Bytes, answer: Arc<A>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((*key, name.clone()), bytes, answer);
    }
}

impl<Q: Ord, A> Known<Q, A> {
    fn insert(&mut self, name: ([u8; 32], Q), bytes: Bytes, answer: Arc<A>) {
        if self.young.is_full(bytes.len()) {
            self.old = mem::replace(&mut self.young, Generation::new());
        }
        self.young.bytes += bytes.len();
        if let Some((replaced, _)) = self.young.known.insert(name, (bytes, answer)) {
            self.young.bytes -= replaced.len();
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

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let memo: Memo<usize, usize> = Memo::new();
        let bytes = Bytes::from_static(b"stored");
        for nth in 0..5 * ANSWERS_MAX {
            memo.remember(&[1; 32], &nth, bytes.clone(), Arc::new(nth));
            assert_eq!(memo.recall(&[1; 32], &0, &bytes).as_deref(), Some(&0), "after {nth} others");
        }
        assert!(memo.recall(&[1; 32], &1, &bytes).is_none(), "nobody asked for it for a long time");
        let known = memo.0.lock().unwrap();
        assert!(known.young.known.len() + known.old.known.len() <= 2 * ANSWERS_MAX);
        let weigh = |generation: &Generation<usize, usize>| {
            generation.known.values().map(|(bytes, _)| bytes.len()).sum::<usize>()
        };
        assert_eq!((known.young.bytes, known.old.bytes), (weigh(&known.young), weigh(&known.old)));
    }

    #[test]
    fn large_blobs_are_bounded_by_their_bytes() {
        let memo: Memo<u8, u8> = Memo::new();
        let large = Bytes::from(vec![0; BYTES_MAX / 2 + 1]);
        for nth in 0..6 {
            memo.remember(&[1; 32], &nth, large.clone(), Arc::new(nth));
        }
        let held: Vec<_> = (0..6).filter(|nth| memo.recall(&[1; 32], nth, &large).is_some()).collect();
        assert_eq!(held, [4, 5], "one in each generation");
    }
}
