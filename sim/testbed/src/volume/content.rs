//! A file's bytes as extents: written pieces, runs of zeros, and holes between them.
//!
//! Pieces share their memory with every clone, so a copy-on-write snapshot costs pointers. What was
//! written reads back; what was never written reads as zeros and is a hole. It knows no metadata but the
//! length, and no errors.
use std::{collections::BTreeMap, ops::Range};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

/// The block in which file systems allocate; holes are whole blocks.
pub const BLOCK: u64 = 4096;

/// A written run of zeros of this length makes a file count as sparse: those who optimise zeros away skip
/// whole blocks.
const ZERO_RUN_SPARSE: u64 = BLOCK;

static ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];

#[derive(Clone, Debug)]
enum Piece {
    Data(Bytes),
    Zeros(u64),
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Self::Data(bytes) => bytes.len() as u64,
            Self::Zeros(length) => *length,
        }
    }
    fn part(&self, range: Range<u64>) -> Self {
        match self {
            Self::Data(bytes) => Self::Data(bytes.slice(range.start as usize..range.end as usize)),
            Self::Zeros(_) => Self::Zeros(range.end - range.start),
        }
    }
}

/// The bytes of one file.
#[derive(Clone, Debug, Default)]
pub struct Content {
    length: u64,
    stored: u64,
    pieces: BTreeMap<u64, Piece>,
}

impl Content {
    /// Contents that are all written.
    pub fn from_bytes(bytes: Bytes) -> Self {
        let mut content = Self::default();
        content.write(0, bytes);
        content
    }
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.length
    }
    /// Whether the length is 0.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
    /// Bytes that were written, holes left out.
    pub fn stored(&self) -> u64 {
        self.stored
    }
    /// Writes at an offset, extending the file as needed. Blocks of zeros are kept as runs.
    #[expect(clippy::needless_pass_by_value, reason = "pieces share the buffer that is handed over")]
    pub fn write(&mut self, offset: u64, bytes: Bytes) {
        let length = bytes.len() as u64;
        if length == 0 {
            return;
        }
        self.cut(offset..offset + length);
        let mut begin = 0;
        while begin < bytes.len() {
            let zero = is_zero(block_at(&bytes, begin));
            let mut end = begin;
            while end < bytes.len() && is_zero(block_at(&bytes, end)) == zero {
                end += block_at(&bytes, end).len();
            }
            let piece =
                if zero { Piece::Zeros((end - begin) as u64) } else { Piece::Data(bytes.slice(begin..end)) };
            self.insert(offset + begin as u64, piece);
            begin = end;
        }
        self.length = self.length.max(offset + length);
    }
    /// Sets the length: the cut part is forgotten, the new part is a hole.
    pub fn set_len(&mut self, length: u64) {
        if length < self.length {
            self.cut(length..self.length);
        }
        self.length = length;
    }
    /// Makes a hole; the length stays.
    pub fn punch(&mut self, range: Range<u64>) {
        self.cut(range);
    }
    /// Reads from an offset into the buffer and tells how many bytes there were.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let wanted = (buffer.len() as u64).min(self.length.saturating_sub(offset));
        let buffer = &mut buffer[..wanted as usize];
        buffer.fill(0);
        let end = offset + wanted;
        let from = self.pieces.range(..=offset).next_back().map_or(offset, |(at, _)| *at);
        for (at, piece) in self.pieces.range(from..end) {
            let (start, stop) = ((*at).max(offset), (at + piece.len()).min(end));
            if let (Piece::Data(bytes), true) = (piece, start < stop) {
                buffer[(start - offset) as usize..(stop - offset) as usize]
                    .copy_from_slice(&bytes[(start - at) as usize..(stop - at) as usize]);
            }
        }
        buffer.len()
    }
    /// All bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.length as usize];
        self.read(0, &mut bytes);
        bytes
    }
    /// SHA-256 of all bytes, holes as zeros.
    pub fn sha256(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let zeros = |mut length: u64, hash: &mut Sha256| {
            while length > 0 {
                let now = length.min(BLOCK);
                hash.update(&ZEROS[..now as usize]);
                length -= now;
            }
        };
        let mut position = 0;
        for (at, piece) in &self.pieces {
            zeros(at - position, &mut hash);
            match piece {
                Piece::Data(bytes) => hash.update(bytes),
                Piece::Zeros(length) => zeros(*length, &mut hash),
            }
            position = at + piece.len();
        }
        zeros(self.length - position, &mut hash);
        hash.finalize().into()
    }
    /// The holes, in order: ranges of whole blocks without any written byte; a last partial block counts.
    pub fn holes(&self) -> Vec<Range<u64>> {
        let mut holes = Vec::new();
        let mut position = 0;
        let ends = self.pieces.iter().map(|(at, piece)| (*at, at + piece.len()));
        for (start, end) in ends.chain([(self.length, self.length)]) {
            let from = position.min(self.length).next_multiple_of(BLOCK);
            let to = if start == self.length { start } else { start - start % BLOCK };
            if from < to {
                holes.push(from..to);
            }
            position = end;
        }
        holes
    }
    /// Whether there is a hole.
    pub fn has_holes(&self) -> bool {
        !self.holes().is_empty()
    }
    /// Whether there is a hole or a written block of zeros.
    pub fn is_sparse_in_shape(&self) -> bool {
        self.pieces.values().any(|piece| matches!(piece, Piece::Zeros(length) if *length >= ZERO_RUN_SPARSE))
            || self.has_holes()
    }

    fn insert(&mut self, at: u64, piece: Piece) {
        self.stored += piece.len();
        self.pieces.insert(at, piece);
    }
    fn cut(&mut self, range: Range<u64>) {
        let from = self.pieces.range(..=range.start).next_back().map_or(range.start, |(at, _)| *at);
        let touched: Vec<u64> = self
            .pieces
            .range(from..range.end)
            .filter(|(at, piece)| *at + piece.len() > range.start)
            .map(|(at, _)| *at)
            .collect();
        for at in touched {
            let piece = self.pieces.remove(&at).expect("the key was just seen");
            let end = at + piece.len();
            self.stored -= piece.len();
            if at < range.start {
                self.insert(at, piece.part(0..range.start - at));
            }
            if end > range.end {
                self.insert(range.end, piece.part(range.end - at..end - at));
            }
        }
    }
}

fn block_at(bytes: &Bytes, at: usize) -> &[u8] {
    &bytes[at..(at + BLOCK as usize).min(bytes.len())]
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes == &ZEROS[..bytes.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Act {
        Write(u64, u8, usize),
        SetLen(u64),
        Punch(u64, u64),
    }

    // Offsets lean on block boundaries, where splitting goes wrong.
    fn offset() -> impl Strategy<Value = u64> {
        prop_oneof![
            0..20_000u64,
            (0..5u64, 0..3u64).prop_map(|(block, off)| (block * BLOCK + off).saturating_sub(1))
        ]
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => (offset(), prop_oneof![Just(0u8), 1..255u8], 0..10_000usize).prop_map(|(o, b, l)| Act::Write(o, b, l)),
            1 => offset().prop_map(Act::SetLen),
            1 => (offset(), offset()).prop_map(|(a, b)| Act::Punch(a.min(b), a.max(b))),
        ]
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(acts in proptest::collection::vec(act(), 0..12), from in offset()) {
            let (mut content, mut model) = (Content::default(), Vec::new());
            for act in acts {
                match act {
                    Act::Write(offset, byte, length) => {
                        content.write(offset, vec![byte; length].into());
                        let end = offset as usize + length;
                        if length > 0 {
                            if model.len() < end { model.resize(end, 0); }
                            model[offset as usize..end].fill(byte);
                        }
                    }
                    Act::SetLen(length) => { content.set_len(length); model.resize(length as usize, 0); }
                    Act::Punch(start, end) => {
                        content.punch(start..end);
                        let end = (end as usize).min(model.len());
                        if (start as usize) < end { model[start as usize..end].fill(0); }
                    }
                }
            }
            prop_assert_eq!(content.to_bytes(), model.clone());
            let mut buffer = vec![1; 5000];
            let read = content.read(from, &mut buffer);
            let rest = model.get(from as usize..).unwrap_or_default();
            prop_assert_eq!(&buffer[..read], &rest[..rest.len().min(5000)]);
            prop_assert_eq!(content.sha256(), <[u8; 32]>::from(Sha256::digest(&model)));
            prop_assert_eq!(content.stored(), content.pieces.values().map(Piece::len).sum::<u64>());
            for hole in content.holes() {
                prop_assert!(hole.start % BLOCK == 0 && hole.start < hole.end && hole.end <= content.len());
                prop_assert!(model[hole.start as usize..hole.end as usize].iter().all(|byte| *byte == 0));
            }
        }
    }

    #[test]
    fn holes_are_whole_blocks() {
        let mut content = Content::default();
        content.write(10_000, Bytes::from_static(b"x"));
        content.set_len(20_000);
        assert_eq!(content.holes(), [0..8192, 12_288..20_000]);
        assert_eq!(content.stored(), 1);
    }

    #[test]
    fn shapes_are_told_apart() {
        let check = |bytes: Vec<u8>, expected| {
            assert_eq!(Content::from_bytes(bytes.into()).is_sparse_in_shape(), expected);
        };
        check(vec![1; 200_000], false);
        check([vec![1; 8192], vec![0; 4096], vec![1; 10]].concat(), true);
        check([vec![1; 8192], vec![0; 100]].concat(), false);
    }
}
