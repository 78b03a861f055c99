//! Compressors of content payloads.
//!
//! One row per algorithm in [`ROWS`]. The header identifier stands in front of the compressed bytes and in the
//! index; the level is informational, any valid stream of the family is readable. It promises that
//! decompression never yields more than the index says.

use std::{
    cell::RefCell,
    io::{Read as _, Write as _},
};

use flate2::{Compress, Compression as Level, FlushCompress, Status};

use crate::error::Error;

/// Reserved for unpacked bytes at most, whatever an index says.
const RESERVED_BYTES: usize = 1 << 20;

/// The identifier that stands for "not compressed".
pub const NONE: u32 = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Zstd(i32),
    Gzip(u32),
    Deflate(u32),
    S2,
    Lz4,
}

/// Header identifier, Kopia's name, family with level. Zstandard levels follow the encoder that Kopia
/// uses, which maps its four speeds to about these.
const ROWS: &[(u32, &str, Family)] = &[
    (0x1000, "gzip", Family::Gzip(6)),
    (0x1001, "gzip-best-speed", Family::Gzip(1)),
    (0x1002, "gzip-best-compression", Family::Gzip(9)),
    (0x1100, "zstd", Family::Zstd(3)),
    (0x1101, "zstd-fastest", Family::Zstd(1)),
    (0x1102, "zstd-better-compression", Family::Zstd(7)),
    (0x1103, "zstd-best-compression", Family::Zstd(11)),
    (0x1200, "s2-default", Family::S2),
    (0x1201, "s2-better", Family::S2),
    (0x1202, "s2-parallel-4", Family::S2),
    (0x1203, "s2-parallel-8", Family::S2),
    (0x1300, "pgzip", Family::Gzip(6)),
    (0x1301, "pgzip-best-speed", Family::Gzip(1)),
    (0x1302, "pgzip-best-compression", Family::Gzip(9)),
    (0x1400, "lz4", Family::Lz4),
    (0x1500, "deflate-default", Family::Deflate(6)),
    (0x1501, "deflate-best-speed", Family::Deflate(1)),
    (0x1502, "deflate-best-compression", Family::Deflate(9)),
];

/// A compressor that can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compressor {
    id: u32,
    family: Family,
}

impl Compressor {
    /// Finds a compressor by Kopia's name; `none` and the empty name give `None`.
    ///
    /// # Errors
    /// [`Error::UnsupportedFeature`] naming the algorithm.
    pub fn named(name: &str) -> Result<Option<Self>, Error> {
        if name.is_empty() || name == "none" {
            return Ok(None);
        }
        match ROWS.iter().find(|(_, known, _)| *known == name) {
            Some((id, _, family @ (Family::Zstd(_) | Family::Gzip(_) | Family::Deflate(_)))) => {
                Ok(Some(Self { id: *id, family: *family }))
            }
            _ => Err(Error::UnsupportedFeature { feature: format!("compressor {name}") }),
        }
    }
    /// The compressor of a header identifier, if it can write.
    pub fn with_id(id: u32) -> Option<Self> {
        Self::named(&name(id)).ok().flatten()
    }
    /// The header identifier.
    pub fn id(self) -> u32 {
        self.id
    }
    /// Compresses, with the four bytes of the header in front; `None` if that does not get smaller.
    pub fn compress(self, data: &[u8]) -> Option<Vec<u8>> {
        let mut output = self.id.to_be_bytes().to_vec();
        match self.family {
            Family::Zstd(level) => {
                zstd::stream::copy_encode(data, &mut output, level)
                    .expect("compressing into memory does not fail");
            }
            Family::Gzip(level) => {
                let mut encoder = flate2::write::GzEncoder::new(&mut output, Level::new(level));
                encoder
                    .write_all(data)
                    .and_then(|()| encoder.try_finish())
                    .expect("compressing into memory does not fail");
            }
            Family::Deflate(level) => {
                let mut encoder = flate2::write::DeflateEncoder::new(&mut output, Level::new(level));
                encoder
                    .write_all(data)
                    .and_then(|()| encoder.try_finish())
                    .expect("compressing into memory does not fail");
            }
            Family::S2 | Family::Lz4 => return None,
        }
        (output.len() < data.len()).then_some(output)
    }
}

/// Why compressed bytes cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// The header is not the expected one.
    #[error("the compression header is {found:#06x}, not {expected:#06x}")]
    Header {
        /// As the index says.
        expected: u32,
        /// As the bytes say.
        found: u32,
    },
    /// This engine cannot read the algorithm.
    #[error("compressor {0} is not supported")]
    Unsupported(String),
    /// The stream is broken, or longer than it should be.
    #[error("the {0} stream is malformed")]
    Malformed(&'static str),
}

/// The name of a header identifier, as Kopia shows it.
pub fn name(id: u32) -> String {
    ROWS.iter()
        .find(|(known, ..)| *known == id)
        .map_or_else(|| format!("{id:#06x}"), |(_, name, _)| (*name).to_owned())
}

/// The header identifier in front of compressed bytes.
pub fn header(data: &[u8]) -> Option<u32> {
    data.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}

/// Decompresses bytes that begin with their header; stops with an error beyond `bytes_max`.
pub fn decompress(id: u32, data: &[u8], bytes_max: u64) -> Result<Vec<u8>, Undecodable> {
    let found = header(data).ok_or(Undecodable::Malformed("compressed"))?;
    if found != id {
        return Err(Undecodable::Header { expected: id, found });
    }
    let body = &data[4..];
    let family = ROWS.iter().find(|(known, ..)| *known == id).map(|(.., family)| *family);
    let mut output = Vec::with_capacity(usize::try_from(bytes_max).unwrap_or(usize::MAX).min(RESERVED_BYTES));
    let limit = bytes_max + 1;
    let (read, family_name) = match family {
        Some(Family::Zstd(_)) => match zstd::stream::read::Decoder::with_buffer(body) {
            Ok(decoder) => (decoder.take(limit).read_to_end(&mut output), "zstd"),
            Err(error) => (Err(error), "zstd"),
        },
        Some(Family::Gzip(_)) => {
            (flate2::read::MultiGzDecoder::new(body).take(limit).read_to_end(&mut output), "gzip")
        }
        Some(Family::Deflate(_)) => {
            (flate2::read::DeflateDecoder::new(body).take(limit).read_to_end(&mut output), "deflate")
        }
        Some(Family::S2 | Family::Lz4) | None => return Err(Undecodable::Unsupported(name(id))),
    };
    match read {
        Ok(_) if output.len() as u64 <= bytes_max => Ok(output),
        _ => Err(Undecodable::Malformed(family_name)),
    }
}

thread_local! {
    /// Its tables are 300 KB: to make them anew for each small document costs more than to fill them.
    static DEFLATE: RefCell<Compress> = RefCell::new(Compress::new(Level::default(), false));
}

/// Packs bytes with gzip, as manifests are stored.
///
/// # Guarantees
/// The bytes are those that flate2's encoder of the default level gives.
pub fn gzip(data: &[u8]) -> Vec<u8> {
    /// Deflate; no flags, no time; neither fastest nor best; unknown system.
    const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let mut output = Vec::with_capacity(data.len() / 2 + 512);
    output.extend_from_slice(&HEADER);
    DEFLATE.with_borrow_mut(|deflate| {
        deflate.reset();
        let mut flush = FlushCompress::None;
        loop {
            let rest = &data[usize::try_from(deflate.total_in()).expect("data fits into memory")..];
            if rest.is_empty() {
                flush = FlushCompress::Finish;
            }
            output.reserve(512);
            let status = deflate.compress_vec(rest, &mut output, flush);
            if status.expect("compressing into memory does not fail") == Status::StreamEnd {
                break;
            }
        }
    });
    output.extend_from_slice(&crc32fast::hash(data).to_le_bytes());
    output.extend_from_slice(&(data.len() as u32).to_le_bytes());
    output
}

/// Unpacks a gzip stream, up to `bytes_max`.
pub fn gunzip(data: &[u8], bytes_max: u64) -> Result<Vec<u8>, Undecodable> {
    let mut output = Vec::new();
    match flate2::read::MultiGzDecoder::new(data).take(bytes_max + 1).read_to_end(&mut output) {
        Ok(_) if output.len() as u64 <= bytes_max => Ok(output),
        _ => Err(Undecodable::Malformed("gzip")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn gzip_gives_the_encoders_bytes(data in proptest::collection::vec(0u8..9, 0..9000), times in 1usize..9) {
            let data = data.repeat(times);
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Level::default());
            encoder.write_all(&data).unwrap();
            prop_assert_eq!(&gzip(&data), &encoder.finish().unwrap());
            prop_assert_eq!(gunzip(&gzip(&data), data.len() as u64).unwrap(), data);
        }
        #[test]
        fn what_was_compressed_is_got(data in proptest::collection::vec(0u8..4, 0..4000)) {
            for (id, name, family) in ROWS {
                if matches!(family, Family::S2 | Family::Lz4) { continue; }
                let compressor = Compressor::named(name).unwrap().unwrap();
                prop_assert_eq!(compressor.id(), *id);
                if let Some(packed) = compressor.compress(&data) {
                    prop_assert!(packed.len() < data.len());
                    prop_assert_eq!(decompress(*id, &packed, data.len() as u64).unwrap(), data.clone());
                    prop_assert!(decompress(*id, &packed, data.len() as u64 - 1).is_err());
                }
            }
        }
    }

    #[test]
    fn compression_that_does_not_pay_is_dropped() {
        assert_eq!(Compressor::named("zstd").unwrap().unwrap().compress(b"tiny"), None);
        assert_eq!(Compressor::named("none").unwrap(), None);
        assert!(Compressor::named("s2-default").unwrap_err().to_string().contains("compressor s2-default"));
    }
}
