//! A pack being filled, and its last bytes.
//!
//! Layout: 32 random bytes, contents back to back, random padding to a page, a local index for disaster
//! recovery, and a postamble that points to it. It knows nothing of sessions or stores.

use super::index::{self, Entry};
use crate::{blob, context::Entropy, format::secrets::Secrets};

const PREAMBLE_BYTES: usize = 32;
const PAGE_BYTES: usize = 4096;
/// Random bytes that follow the entries of a local index, so that no two are equal.
const INDEX_TAIL_BYTES: usize = 32;

/// A pack being filled.
#[derive(Debug)]
pub struct Pack {
    /// Its name, known from the start.
    pub id: blob::Id,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

impl Pack {
    /// Starts an empty pack.
    pub fn new(id: blob::Id, entropy: &Entropy) -> Self {
        Self { id, bytes: entropy.bytes::<PREAMBLE_BYTES>().to_vec(), entries: Vec::new() }
    }
    /// Bytes so far.
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }
    /// Appends a stored content; `entry` gets its place.
    pub fn append(&mut self, stored: &[u8], entry: &Entry) -> Entry {
        let offset = u32::try_from(self.bytes.len()).expect("a pack is finished long before 1 GiB");
        self.bytes.extend_from_slice(stored);
        let entry =
            Entry { pack: self.id.clone(), offset, packed_length: stored.len() as u32, ..entry.clone() };
        self.entries.push(entry.clone());
        entry
    }
    /// Adds padding, local index and postamble; returns the bytes to store.
    pub fn finish(mut self, secrets: &Secrets, entropy: &Entropy) -> (blob::Id, Vec<u8>) {
        let mut padding = vec![0; PAGE_BYTES - self.bytes.len() % PAGE_BYTES];
        entropy.fill(&mut padding);
        self.bytes.extend_from_slice(&padding);
        self.entries.sort_by_key(|entry| entry.id);
        let mut local = index::build(&self.entries);
        local.extend_from_slice(&entropy.bytes::<INDEX_TAIL_BYTES>());
        let identifier = secrets.hasher.hash(&local);
        let sealed = secrets.encryptor.encrypt(&identifier, entropy.bytes(), &local);
        let offset = self.bytes.len() as u64;
        self.bytes.extend_from_slice(&sealed);
        self.bytes.extend_from_slice(&postamble(&identifier, offset, sealed.len() as u64));
        (self.id, self.bytes)
    }
}

fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn postamble(identifier: &[u8], offset: u64, length: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    push_varint(&mut bytes, 1);
    push_varint(&mut bytes, identifier.len() as u64);
    bytes.extend_from_slice(identifier);
    push_varint(&mut bytes, offset);
    push_varint(&mut bytes, length);
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_be_bytes());
    bytes.push(bytes.len() as u8);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 14.4 of the format.
    #[test]
    fn the_postamble_is_that_of_the_specification() {
        let identifier = hex::decode("4535fcbe761df7c62b5da83f8ba84165").unwrap();
        assert_eq!(
            hex::encode(postamble(&identifier, 4096, 300)),
            "01104535fcbe761df7c62b5da83f8ba841658020ac029ad6a3731a"
        );
    }
}
