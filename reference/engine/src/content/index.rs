//! Indexes: which content lies where.
//!
//! An [`Index`] answers from the bytes of an index blob, without unpacking it: opening a repository with
//! hundreds of them stays cheap. Reads both layouts of Kopia (versions 1 and 2), writes version 2. It
//! tolerates trailing bytes and any order of tables; it does not decrypt and does not know epochs.

use std::sync::OnceLock;

use bytes::Bytes;

use super::Id;
use crate::{blob, encrypt::OVERHEAD_BYTES};

/// The highest pack offset that an index can hold.
pub const OFFSET_MAX: u32 = (1 << 30) - 1;
const LENGTH_MAX: u32 = (1 << 28) - 1;

/// Where a content lies, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The content.
    pub id: Id,
    /// When this was true, in seconds since 1970; the newest entry of a content wins.
    pub timestamp: i64,
    /// The pack.
    pub pack: blob::Id,
    /// First byte within the pack.
    pub offset: u32,
    /// Bytes within the pack.
    pub packed_length: u32,
    /// Bytes of the content.
    pub original_length: u32,
    /// Whether the content is marked deleted (it may still be read).
    pub is_deleted: bool,
    /// Format version of the writer.
    pub format_version: u8,
    /// Header identifier of the compressor, 0 for none.
    pub compression: u32,
    /// Encryption key; always 0 today.
    pub encryption_key: u8,
}

impl Entry {
    /// Whether this entry wins over another of the same content: newer, then live, then the greater pack.
    pub fn beats(&self, other: &Self) -> bool {
        (self.timestamp, !self.is_deleted, &self.pack) > (other.timestamp, !other.is_deleted, &other.pack)
    }
}

/// The bytes are not an index.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed index: {0}")]
pub struct Malformed(pub &'static str);

/// An index over the bytes of its blob.
#[derive(Clone, Debug)]
pub struct Index {
    bytes: Bytes,
    layout: Layout,
    key_bytes: usize,
    stride: usize,
    count: usize,
    entries_at: usize,
    manifests: OnceLock<Vec<(Id, i64, bool)>>,
}

#[derive(Clone, Debug)]
enum Layout {
    One,
    /// Names of packs are unpacked when first all entries are asked for; a lookup reads the one it needs.
    Two {
        packs_at: usize,
        pack_count: usize,
        packs: OnceLock<Vec<blob::Id>>,
        formats: Vec<(u32, u8, u8)>,
        base: u32,
    },
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|chunk| u16::from_be_bytes(*chunk))
}
fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_be_bytes(*chunk))
}
fn u24_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 3).map(|chunk| u32::from_be_bytes([0, chunk[0], chunk[1], chunk[2]]))
}

fn pack_name(bytes: &[u8], at: u32, length: u8) -> Result<blob::Id, Malformed> {
    let at = at as usize;
    let name = bytes.get(at..at + usize::from(length)).ok_or(Malformed("a pack name lies beyond the end"))?;
    std::str::from_utf8(name).map(blob::Id::new).map_err(|_| Malformed("a pack name is not text"))
}

impl Index {
    /// Looks at the bytes and checks that every table is within them.
    pub fn parse(bytes: Bytes) -> Result<Self, Malformed> {
        const SHORT: Malformed = Malformed("it is too short");
        let version = *bytes.first().ok_or(SHORT)?;
        let key_bytes = usize::from(*bytes.get(1).ok_or(SHORT)?);
        let value_bytes = usize::from(u16_at(&bytes, 2).ok_or(SHORT)?);
        let count = u32_at(&bytes, 4).ok_or(SHORT)? as usize;
        let stride = key_bytes + value_bytes;
        let (layout, entries_at) = match version {
            1 if key_bytes == 0xff => {
                return Ok(Self {
                    bytes,
                    layout: Layout::One,
                    key_bytes,
                    stride,
                    count: 0,
                    entries_at: 8,
                    manifests: OnceLock::new(),
                });
            }
            1 if value_bytes == 20 => (Layout::One, 8),
            2 if (16..=19).contains(&value_bytes) => {
                let pack_count = u32_at(&bytes, 8).ok_or(SHORT)? as usize;
                let format_count = usize::from(*bytes.get(12).ok_or(SHORT)?);
                let base = u32_at(&bytes, 13).ok_or(SHORT)?;
                let packs_at = 17 + count * stride;
                let formats_at = packs_at + 5 * pack_count;
                if bytes.len() < formats_at + 6 * format_count {
                    return Err(SHORT);
                }
                let formats = (0..format_count)
                    .map(|n| {
                        let at = formats_at + 6 * n;
                        Ok((u32_at(&bytes, at).ok_or(SHORT)?, bytes[at + 4], bytes[at + 5]))
                    })
                    .collect::<Result<_, _>>()?;
                (Layout::Two { packs_at, pack_count, packs: OnceLock::new(), formats, base }, 17)
            }
            1 | 2 => return Err(Malformed("its entries have an impossible size")),
            _ => return Err(Malformed("it has an unknown version")),
        };
        if !(2..=33).contains(&key_bytes) {
            return Err(Malformed("its keys have an impossible size"));
        }
        if bytes.len() < entries_at + count * stride {
            return Err(SHORT);
        }
        Ok(Self { bytes, layout, key_bytes, stride, count, entries_at, manifests: OnceLock::new() })
    }
    /// Bytes of each key.
    pub fn key_bytes(&self) -> usize {
        self.key_bytes
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn key(&self, n: usize) -> &[u8] {
        let at = self.entries_at + n * self.stride;
        &self.bytes[at..at + self.key_bytes]
    }
    /// The position of the first entry whose key is not less.
    fn lower_bound(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.key(middle) < key { low = middle + 1 } else { high = middle }
        }
        low
    }
    /// Finds a content.
    pub fn find(&self, id: &Id) -> Result<Option<Entry>, Malformed> {
        let n = self.lower_bound(id.key());
        if n < self.count && self.key(n) == id.key() { self.entry(n).map(Some) } else { Ok(None) }
    }
    /// Entries in order.
    pub fn entries(&self) -> impl Iterator<Item = Result<Entry, Malformed>> + '_ {
        if let Layout::Two { packs_at, pack_count, packs, .. } = &self.layout
            && packs.get().is_none()
            && let Ok(names) = (0..*pack_count).map(|n| self.pack(packs_at + 5 * n)).collect()
        {
            // A malformed name leaves the table empty, and the entry that uses it says so.
            let _ = packs.set(names);
        }
        (0..self.count).map(|n| self.entry(n))
    }
    fn pack(&self, at: usize) -> Result<blob::Id, Malformed> {
        let (Some(length), Some(name_at)) = (self.bytes.get(at), u32_at(&self.bytes, at + 1)) else {
            return Err(Malformed("the table of packs is too short"));
        };
        pack_name(&self.bytes, name_at, *length)
    }
    /// Content, time and "is live" of the manifest contents; unpacked once.
    pub fn manifest_states(&self) -> Result<&[(Id, i64, bool)], Malformed> {
        if self.manifests.get().is_none() {
            let states = self.states_with_prefix(b'm').collect::<Result<_, _>>()?;
            let _ = self.manifests.set(states);
        }
        Ok(self.manifests.get().map_or(&[], |states| states))
    }
    /// Content, time and "is live" of all contents, in order; much cheaper than entries.
    pub fn states(&self) -> impl Iterator<Item = Result<(Id, i64, bool), Malformed>> + '_ {
        (0..self.count).map(|n| self.state(n))
    }
    /// As [`Index::states`] for the contents with this prefix letter.
    fn states_with_prefix(
        &self,
        prefix: u8,
    ) -> impl Iterator<Item = Result<(Id, i64, bool), Malformed>> + '_ {
        (self.lower_bound(&[prefix])..self.count)
            .take_while(move |n| self.key(*n)[0] == prefix)
            .map(|n| self.state(n))
    }
    fn state(&self, n: usize) -> Result<(Id, i64, bool), Malformed> {
        let Layout::Two { base, .. } = &self.layout else {
            return self.entry(n).map(|entry| (entry.id, entry.timestamp, !entry.is_deleted));
        };
        let id = Id::from_key(self.key(n)).ok_or(Malformed("a key is no content identifier"))?;
        let at = self.entries_at + n * self.stride + self.key_bytes;
        let (Some(seconds), Some(place)) = (u32_at(&self.bytes, at), u32_at(&self.bytes, at + 4)) else {
            return Err(Malformed("an entry is too short"));
        };
        Ok((id, i64::from(seconds) + i64::from(*base), place >> 31 == 0))
    }

    fn entry(&self, n: usize) -> Result<Entry, Malformed> {
        const SHORT: Malformed = Malformed("an entry is too short");
        let at = self.entries_at + n * self.stride;
        let id = Id::from_key(self.key(n)).ok_or(Malformed("a key is no content identifier"))?;
        let value = &self.bytes[at + self.key_bytes..at + self.stride];
        match &self.layout {
            Layout::One => {
                let seconds = value
                    .first_chunk::<6>()
                    .ok_or(SHORT)?
                    .iter()
                    .fold(0i64, |sum, byte| sum << 8 | i64::from(*byte));
                let (place, packed_length) =
                    (u32_at(value, 12).ok_or(SHORT)?, u32_at(value, 16).ok_or(SHORT)?);
                Ok(Entry {
                    id,
                    timestamp: seconds,
                    pack: pack_name(&self.bytes, u32_at(value, 8).ok_or(SHORT)?, value[7])?,
                    offset: place & 0x7fff_ffff,
                    packed_length,
                    // Version 1 does not store it; nothing is compressed there.
                    original_length: packed_length.saturating_sub(OVERHEAD_BYTES as u32),
                    is_deleted: place >> 31 == 1,
                    format_version: value[6],
                    compression: 0,
                    encryption_key: 0,
                })
            }
            Layout::Two { packs_at, pack_count, packs, formats, base } => {
                let byte = |n: usize| value.get(n).copied().unwrap_or(0);
                let place = u32_at(value, 4).ok_or(SHORT)?;
                let high = byte(18);
                let pack = usize::from(u16_at(value, 14).ok_or(SHORT)?) | usize::from(byte(17)) << 16;
                let (compression, format_version, encryption_key) = *formats
                    .get(usize::from(byte(16)))
                    .ok_or(Malformed("an entry names a format that is not there"))?;
                if pack >= *pack_count {
                    return Err(Malformed("an entry names a pack that is not there"));
                }
                let pack = match packs.get() {
                    Some(packs) => packs[pack].clone(),
                    None => self.pack(packs_at + 5 * pack)?,
                };
                Ok(Entry {
                    id,
                    timestamp: i64::from(u32_at(value, 0).ok_or(SHORT)?) + i64::from(*base),
                    pack,
                    offset: place & 0x7fff_ffff,
                    packed_length: u24_at(value, 11).ok_or(SHORT)? | u32::from(high & 0xf) << 24,
                    original_length: u24_at(value, 8).ok_or(SHORT)? | u32::from(high >> 4) << 24,
                    is_deleted: place >> 31 == 1,
                    format_version,
                    compression,
                    encryption_key,
                })
            }
        }
    }
}

/// Writes a version 2 index. Entries must be sorted by content, one per content, at least one.
///
/// # Guarantees
/// The bytes are those that Kopia's builder gives for the same entries.
pub fn build(entries: &[Entry]) -> Vec<u8> {
    let (mut packs, mut formats) = (Numbering::default(), Numbering::default());
    let rows: Vec<(u32, u8)> = entries
        .iter()
        .map(|entry| {
            let pack = packs.number(&entry.pack) as u32;
            let format = formats.number(&(entry.compression, entry.format_version, entry.encryption_key));
            (pack, u8::try_from(format).expect("a repository has at most 255 formats"))
        })
        .collect();
    let key_bytes = entries.first().map_or(17, |entry| entry.id.key().len());
    let is_long = entries.iter().any(|entry| entry.original_length.max(entry.packed_length) >= 1 << 24);
    let value_bytes = match () {
        () if is_long => 19,
        () if packs.order.len() > 1 << 16 => 18,
        () if formats.order.len() > 1 => 17,
        () => 16,
    };
    let mut bytes = vec![2, key_bytes as u8];
    bytes.extend_from_slice(&(value_bytes as u16).to_be_bytes());
    bytes.extend_from_slice(&(entries.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&(packs.order.len() as u32).to_be_bytes());
    bytes.push(formats.order.len() as u8);
    bytes.extend_from_slice(&0u32.to_be_bytes());
    for (entry, (pack, format)) in entries.iter().zip(&rows) {
        assert!(entry.original_length.max(entry.packed_length) <= LENGTH_MAX, "no content reaches 256 MiB");
        assert!(entry.offset <= OFFSET_MAX, "no pack reaches 1 GiB");
        let mut value = [0; 19];
        value[..4].copy_from_slice(&u32::try_from(entry.timestamp).unwrap_or(u32::MAX).to_be_bytes());
        value[4..8].copy_from_slice(&(entry.offset | u32::from(entry.is_deleted) << 31).to_be_bytes());
        value[8..11].copy_from_slice(&entry.original_length.to_be_bytes()[1..]);
        value[11..14].copy_from_slice(&entry.packed_length.to_be_bytes()[1..]);
        value[14..16].copy_from_slice(&(*pack as u16).to_be_bytes());
        value[16] = *format;
        value[17] = (pack >> 16) as u8;
        value[18] = (entry.original_length >> 24 << 4 | entry.packed_length >> 24) as u8;
        bytes.extend_from_slice(entry.id.key());
        bytes.extend_from_slice(&value[..value_bytes]);
    }
    let mut name_at = (bytes.len() + 5 * packs.order.len() + 6 * formats.order.len()) as u32;
    for pack in &packs.order {
        bytes.push(pack.as_str().len() as u8);
        bytes.extend_from_slice(&name_at.to_be_bytes());
        name_at += pack.as_str().len() as u32;
    }
    for (compression, version, key) in &formats.order {
        bytes.extend_from_slice(&compression.to_be_bytes());
        bytes.extend_from_slice(&[*version, *key]);
    }
    for pack in &packs.order {
        bytes.extend_from_slice(pack.as_str().as_bytes());
    }
    bytes
}

/// Numbers things in order of first appearance.
struct Numbering<T> {
    order: Vec<T>,
    known: std::collections::BTreeMap<T, usize>,
}

impl<T> Default for Numbering<T> {
    fn default() -> Self {
        Self { order: Vec::new(), known: std::collections::BTreeMap::new() }
    }
}

impl<T: Ord + Clone> Numbering<T> {
    fn number(&mut self, thing: &T) -> usize {
        if let Some(number) = self.known.get(thing) {
            return *number;
        }
        self.known.insert(thing.clone(), self.order.len());
        self.order.push(thing.clone());
        self.order.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn entry(id: Id, pack: &str) -> Entry {
        Entry {
            id,
            timestamp: 1_700_000_000,
            pack: blob::Id::new(pack),
            offset: 32,
            packed_length: 39,
            original_length: 11,
            is_deleted: false,
            format_version: 3,
            compression: 0,
            encryption_key: 0,
        }
    }

    /// Section 14.4 of the format.
    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let hash = hex::decode("4535fcbe761df7c62b5da83f8ba84165").unwrap();
        let (one, two) = ("11".repeat(16), "22".repeat(16));
        let a = entry(Id::new(Some(b'k'), &hash), &format!("q{one}-s0123456789abcdef124"));
        let b = Entry {
            timestamp: 1_700_000_001,
            offset: 71,
            packed_length: 60,
            original_length: 100,
            compression: 0x1101,
            is_deleted: true,
            ..entry(Id::new(None, &hash), &format!("p{two}-s0123456789abcdef124"))
        };
        let expected = [
            "02110011000000020000000202",
            "00000000",
            "004535fcbe761df7c62b5da83f8ba841656553f1018000004700006400003c000000",
            "6b4535fcbe761df7c62b5da83f8ba841656553f1000000002000000b000027000101",
            "360000006b36000000a1",
            "000011010300000000000300",
        ]
        .concat();
        let names = hex::encode(format!("p{two}-s0123456789abcdef124q{one}-s0123456789abcdef124"));
        let bytes = build(&[b.clone(), a.clone()]);
        assert_eq!(hex::encode(&bytes), expected + &names);
        let index = Index::parse(bytes.into()).unwrap();
        assert_eq!(index.find(&a.id).unwrap(), Some(a));
        assert_eq!(index.find(&b.id).unwrap(), Some(b));
        assert_eq!(index.find(&Id::new(Some(b'x'), &hash)).unwrap(), None);
    }

    #[test]
    fn the_newest_then_the_live_then_the_greater_pack_wins() {
        let base = entry(Id::new(None, &[1; 16]), "pa");
        let newer = Entry { timestamp: base.timestamp + 1, is_deleted: true, ..base.clone() };
        let deleted = Entry { is_deleted: true, ..base.clone() };
        let other = Entry { pack: blob::Id::new("pb"), ..base.clone() };
        assert!(newer.beats(&base) && !base.beats(&newer));
        assert!(base.beats(&deleted) && !deleted.beats(&base));
        assert!(other.beats(&base) && !base.beats(&other) && !base.beats(&base));
    }

    fn any_entry() -> impl Strategy<Value = Entry> {
        // Few hashes and prefixes, so that keys collide and neighbours matter; lengths around 2^24.
        let id = (prop_oneof![Just(None), Just(Some(b'k')), Just(Some(b'm')), Just(Some(b'x'))], 0u8..6)
            .prop_map(|(prefix, byte)| Id::new(prefix, &[byte; 16]));
        let length = prop_oneof![0u32..100, (1u32 << 24) - 2..(1 << 24) + 2, Just(LENGTH_MAX)];
        let place = (0u32..=OFFSET_MAX, length.clone(), length, any::<bool>());
        (id, 0u32.., 0u8..4, place, prop_oneof![Just(0u32), Just(0x1100), Just(0x1101)]).prop_map(
            |(id, timestamp, pack, (offset, packed_length, original_length, is_deleted), compression)| {
                Entry {
                    id,
                    timestamp: i64::from(timestamp),
                    pack: blob::Id::new(format!("p{pack}")),
                    offset,
                    packed_length,
                    original_length,
                    is_deleted,
                    format_version: 3,
                    compression,
                    encryption_key: 0,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn what_was_indexed_is_found(entries in proptest::collection::vec(any_entry(), 1..30), trailing in 0usize..40) {
            let model: BTreeMap<Id, Entry> = entries.into_iter().map(|entry| (entry.id, entry)).collect();
            let sorted: Vec<Entry> = model.values().cloned().collect();
            let mut bytes = build(&sorted);
            bytes.extend(std::iter::repeat_n(0xee, trailing));
            let index = Index::parse(bytes.into()).unwrap();
            prop_assert_eq!(index.entries().collect::<Result<Vec<_>, _>>().unwrap(), sorted);
            for prefix in [None, Some(b'g'), Some(b'k'), Some(b'm'), Some(b'x'), Some(b'z')] {
                for byte in 0..7 {
                    let id = Id::new(prefix, &[byte; 16]);
                    prop_assert_eq!(index.find(&id).unwrap(), model.get(&id).cloned());
                }
            }
            let manifests = model.values().filter(|entry| entry.id.prefix() == Some(b'm'));
            let states: Vec<_> = manifests.map(|entry| (entry.id, entry.timestamp, !entry.is_deleted)).collect();
            prop_assert_eq!(index.states_with_prefix(b'm').collect::<Result<Vec<_>, _>>().unwrap(), states);
        }

        #[test]
        fn damaged_bytes_never_panic(
            entries in proptest::collection::vec(any_entry(), 1..10), at in any::<prop::sample::Index>(), value in any::<u8>(), cut in any::<prop::sample::Index>(),
        ) {
            let model: BTreeMap<Id, Entry> = entries.into_iter().map(|entry| (entry.id, entry)).collect();
            let mut bytes = build(&model.values().cloned().collect::<Vec<_>>());
            let at = at.index(bytes.len());
            bytes[at] = value;
            bytes.truncate(cut.index(bytes.len()) + 1);
            if let Ok(index) = Index::parse(bytes.into()) {
                for entry in index.entries() { let _ = entry; }
                let _ = index.find(&Id::new(None, &[3; 16]));
            }
        }
    }
}
