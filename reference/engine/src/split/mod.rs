//! Cuts a byte stream into chunks.
//!
//! Promises: chunks joined in order are the input; cuts do not depend on how the input arrives; every
//! chunk is within the algorithm's limits, except the last, which may be shorter. Empty input gives no
//! chunk. It does not hash or store anything. Splitters that roll a Rabin-Karp hash are not built in yet.

mod table;

use table::TABLE;

use crate::error::Error;

/// Bytes over which the rolling hash looks.
const WINDOW_BYTES: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Cut every so many bytes.
    Fixed(usize),
    /// Cut where the hash of the last 64 bytes has its low bits zero: `size - 1` is the mask.
    Buzhash(usize),
}

/// A splitter by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Splitter(Rule);

impl Splitter {
    /// Finds a splitter by Kopia's name.
    ///
    /// # Errors
    /// [`Error::UnsupportedFeature`] naming the splitter.
    pub fn named(name: &str) -> Result<Self, Error> {
        let unsupported = || Error::UnsupportedFeature { feature: format!("splitter {name}") };
        let size = |text: &str| match text {
            "128K" => Some(128 << 10),
            "256K" => Some(256 << 10),
            "512K" => Some(512 << 10),
            "1M" => Some(1 << 20),
            "2M" => Some(2 << 20),
            "4M" => Some(4 << 20),
            "8M" => Some(8 << 20),
            _ => None,
        };
        let rule = match name {
            "" | "FIXED" => Rule::Fixed(4 << 20),
            "DYNAMIC" => Rule::Buzhash(4 << 20),
            _ => match name.split('-').collect::<Vec<_>>()[..] {
                ["FIXED", text] => Rule::Fixed(size(text).ok_or_else(unsupported)?),
                ["DYNAMIC", text, "BUZHASH"] => Rule::Buzhash(size(text).ok_or_else(unsupported)?),
                _ => return Err(unsupported()),
            },
        };
        Ok(Self(rule))
    }
    /// Whether Kopia knows the name, so that a repository with it can be read here even when
    /// [`Splitter::named`] cannot write with it.
    pub fn is_known(name: &str) -> bool {
        Self::named(name).is_ok()
            || (name.ends_with("-RABINKARP") && Self::named(&name.replace("RABINKARP", "BUZHASH")).is_ok())
    }
    /// Starts cutting one stream.
    pub fn start(self) -> Cutter {
        Cutter { rule: self.0, filled: 0, hash: 0, window: [0; WINDOW_BYTES], at: 0 }
    }
    /// The longest chunk.
    pub fn chunk_bytes_max(self) -> usize {
        match self.0 {
            Rule::Fixed(size) => size,
            Rule::Buzhash(size) => 2 * size,
        }
    }
    /// Cuts a whole buffer.
    pub fn split(self, mut data: &[u8]) -> Vec<&[u8]> {
        let mut cutter = self.start();
        let mut chunks = Vec::new();
        let mut rest = data;
        let mut length = 0;
        while !rest.is_empty() {
            let (taken, is_cut) = cutter.advance(rest);
            rest = &rest[taken..];
            length += taken;
            if is_cut {
                let (chunk, tail) = data.split_at(length);
                chunks.push(chunk);
                data = tail;
                length = 0;
            }
        }
        if !data.is_empty() {
            chunks.push(data);
        }
        chunks
    }
}

/// The state of cutting one stream.
#[derive(Clone, Debug)]
pub struct Cutter {
    rule: Rule,
    /// Bytes in the present chunk.
    filled: usize,
    hash: u32,
    /// The last bytes, as a ring; `at` is the oldest.
    window: [u8; WINDOW_BYTES],
    at: usize,
}

impl Cutter {
    /// Consumes bytes up to the next cut or the end of the slice; tells how many, and whether there is a cut
    /// after them.
    pub fn advance(&mut self, data: &[u8]) -> (usize, bool) {
        match self.rule {
            Rule::Fixed(size) => {
                let taken = data.len().min(size - self.filled);
                self.filled += taken;
                let is_cut = self.filled == size;
                if is_cut {
                    self.filled = 0;
                }
                (taken, is_cut)
            }
            Rule::Buzhash(size) => self.advance_buzhash(data, size),
        }
    }

    fn advance_buzhash(&mut self, data: &[u8], size: usize) -> (usize, bool) {
        let (min, max, mask) = (size / 2, 2 * size, size as u32 - 1);
        let mut taken = 0;
        // Nothing is tested before `min`, and only the last 64 bytes count: skip to 64 before it.
        let quiet = min - WINDOW_BYTES;
        if self.filled < quiet {
            taken = data.len().min(quiet - self.filled);
            self.filled += taken;
            if self.filled == quiet {
                (self.hash, self.window, self.at) = (window_hash(&[0; WINDOW_BYTES]), [0; WINDOW_BYTES], 0);
            }
        }
        let start = taken;
        // Within one slice the outgoing byte is 64 bytes back in the slice itself, once it is that far.
        while taken < data.len() {
            let incoming = data[taken];
            let outgoing =
                if taken - start >= WINDOW_BYTES { data[taken - WINDOW_BYTES] } else { self.window[self.at] };
            if taken - start < WINDOW_BYTES {
                self.window[self.at] = incoming;
                self.at = (self.at + 1) % WINDOW_BYTES;
            }
            self.hash =
                self.hash.rotate_left(1) ^ TABLE[usize::from(outgoing)] ^ TABLE[usize::from(incoming)];
            taken += 1;
            self.filled += 1;
            if (self.filled >= min && self.hash & mask == 0) || self.filled == max {
                self.filled = 0;
                return (taken, true);
            }
        }
        if taken - start >= WINDOW_BYTES {
            self.window.copy_from_slice(&data[taken - WINDOW_BYTES..taken]);
            self.at = 0;
        }
        (taken, false)
    }
}

/// The hash of a full window; 64 equal bytes give 0.
fn window_hash(window: &[u8; WINDOW_BYTES]) -> u32 {
    window.iter().fold(0u32, |hash, byte| hash.rotate_left(1) ^ TABLE[usize::from(*byte)])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest as _, Sha256};

    use super::*;

    /// The data of section 14.5.
    fn data_x() -> Vec<u8> {
        let mut data = Vec::with_capacity(3_000_032);
        let mut counter = 0u64;
        while data.len() < 3_000_000 {
            let mut digest = Sha256::new();
            digest.update(b"kopia-split-test");
            digest.update(counter.to_be_bytes());
            data.extend_from_slice(&digest.finalize());
            counter += 1;
        }
        data.truncate(3_000_000);
        data
    }

    fn data_y() -> Vec<u8> {
        let x = data_x();
        let mut data = x[..1_000_000].to_vec();
        data.extend(std::iter::repeat_n(0, 700_000));
        data.extend_from_slice(&x[1_000_000..1_500_000]);
        data.extend(std::iter::repeat_n(0x41, 400_000));
        data
    }

    fn check(data: &[u8], splitter: &str, expected: &[usize]) {
        let lengths: Vec<usize> =
            Splitter::named(splitter).unwrap().split(data).iter().map(|chunk| chunk.len()).collect();
        assert_eq!(lengths, expected, "{splitter}");
    }

    #[test]
    fn cuts_are_those_of_the_specification() {
        let (x, y) = (data_x(), data_y());
        assert_eq!(
            hex::encode(Sha256::digest(&x)),
            "4cc0192014ed36053283c850e180cecf7e7961547f9dceb2a909a2e5efc0bdf0"
        );
        assert_eq!(
            hex::encode(Sha256::digest(&y)),
            "94c20c7bbd66d3bc5cad25593beba30c4abffb3d1191234cf087be58f2618f46"
        );
        check(
            &x,
            "DYNAMIC-128K-BUZHASH",
            &[
                262_144, 81_833, 215_186, 262_144, 207_238, 103_201, 117_746, 262_144, 87_677, 262_144,
                214_282, 188_215, 262_144, 67_427, 186_500, 72_432, 147_543,
            ],
        );
        check(
            &x,
            "DYNAMIC-256K-BUZHASH",
            &[
                343_977, 215_186, 303_829, 165_553, 220_947, 283_646, 389_782, 188_053, 152_981, 329_571,
                186_500, 219_975,
            ],
        );
        let mut expected = vec![262_144, 81_833, 215_186, 262_144, 178_757];
        expected.extend([65_536; 10]);
        expected.extend([73_121, 103_201, 117_746, 250_572]);
        expected.extend([65_536; 6]);
        expected.push(6720);
        check(&y, "DYNAMIC-128K-BUZHASH", &expected);
        let mut expected = vec![343_977, 215_186, 303_829, 137_072];
        expected.extend([131_072; 5]);
        expected.extend([176_322, 131_607, 236_711, 131_072, 131_072, 131_072, 6720]);
        check(&y, "DYNAMIC-256K-BUZHASH", &expected);
    }

    #[test]
    fn an_unsupported_splitter_is_named() {
        let error = Splitter::named("DYNAMIC-1M-RABINKARP").unwrap_err();
        assert!(error.to_string().contains("DYNAMIC-1M-RABINKARP"), "{error}");
        assert!(Splitter::is_known("DYNAMIC-1M-RABINKARP"));
        assert!(!Splitter::is_known("DYNAMIC-3M-RABINKARP"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Pieces are biased towards single bytes and towards the window, where the ring could go wrong.
        #[test]
        fn cuts_do_not_depend_on_how_bytes_arrive(
            pieces in proptest::collection::vec(prop_oneof![1usize..4, 60usize..70, 1000usize..90_000], 1..60),
            zeros in any::<bool>(),
        ) {
            let data = if zeros { data_y()[900_000..1_900_000].to_vec() } else { data_x()[..1_000_000].to_vec() };
            let splitter = Splitter::named("DYNAMIC-128K-BUZHASH").unwrap();
            let whole: Vec<usize> = splitter.split(&data).iter().map(|chunk| chunk.len()).collect();
            let (mut cutter, mut cuts, mut length, mut at) = (splitter.start(), Vec::new(), 0, 0);
            let mut sizes = pieces.iter().cycle();
            while at < data.len() {
                let end = (at + sizes.next().unwrap()).min(data.len());
                while at < end {
                    let (taken, is_cut) = cutter.advance(&data[at..end]);
                    at += taken;
                    length += taken;
                    if is_cut { cuts.push(length); length = 0; }
                }
            }
            if length > 0 { cuts.push(length); }
            prop_assert_eq!(cuts, whole);
        }
    }
}
