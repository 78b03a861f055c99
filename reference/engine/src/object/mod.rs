//! Objects: byte streams of any length, made of contents.
//!
//! An object is one content, or a stream that lists objects. This module flattens it into [`Chunk`]s, reads
//! them and finishes written ones. It promises that chunks are contiguous and have exactly the length the
//! list says. It does not cut streams; whoever writes does that with [`crate::split`].

pub mod id;
pub use id::Id;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    compress::{self, Compressor},
    content::{
        self,
        committed::Contents,
        session::{Piece, Session},
    },
    error::Error,
    split::Splitter,
};

/// Deeper nesting than any writer makes.
const DEPTH_MAX: usize = 16;
/// A legacy compressed object may not grow beyond this.
const LEGACY_BYTES_MAX: u64 = 1 << 30;

/// One piece of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// First byte within the object.
    pub start: u64,
    /// Bytes.
    pub length: u64,
    /// The content that holds them.
    pub content: content::Id,
    /// Whether the content is a legacy compressed stream.
    pub is_compressed: bool,
}

#[derive(Serialize, Deserialize)]
struct ListEntry {
    #[serde(rename = "s", default, skip_serializing_if = "is_zero")]
    start: u64,
    #[serde(rename = "l", default, skip_serializing_if = "is_zero")]
    length: u64,
    #[serde(rename = "o")]
    object: String,
}

#[derive(Serialize, Deserialize)]
struct List {
    #[serde(default)]
    stream: String,
    #[serde(default)]
    entries: Option<Vec<ListEntry>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// The chunks of an object, in order. Reads its lists, not its data.
pub async fn chunks(contents: &Contents, object: Id) -> Result<Vec<Chunk>, Error> {
    // Objects still to be unfolded, last first: place in the whole, length where known, depth.
    let mut stack: Vec<(Id, u64, Option<u64>, usize)> = vec![(object, 0, None, 0)];
    let mut chunks = Vec::new();
    while let Some((id, start, length, depth)) = stack.pop() {
        let corrupt = |detail: &str| Error::CorruptObject { object: id, detail: detail.to_owned() };
        let Some(list) = id.list() else {
            let entry = contents
                .view()
                .find(&id.content())?
                .ok_or(Error::MissingContent { content: id.content() })?;
            // A legacy compressed stream tells its length only when read; the list says it, or nobody.
            let found = if id.is_compressed() {
                length.unwrap_or(u64::MAX)
            } else {
                u64::from(entry.original_length)
            };
            if length.is_some_and(|length| length != found) {
                return Err(corrupt("a chunk has another length than the list says"));
            }
            chunks.push(Chunk {
                start,
                length: found,
                content: id.content(),
                is_compressed: id.is_compressed(),
            });
            continue;
        };
        if depth >= DEPTH_MAX {
            return Err(corrupt("it is nested too deeply"));
        }
        // The list is itself an object; a list of a list comes out of the same reading.
        let bytes = Box::pin(read(contents, list)).await?;
        let parsed: List = serde_json::from_slice(&bytes).map_err(|error| corrupt(&error.to_string()))?;
        let mut at = 0;
        let mut parts = Vec::new();
        for entry in parsed.entries.unwrap_or_default() {
            if entry.start != at {
                return Err(corrupt("its list has a gap"));
            }
            at += entry.length;
            let part: Id = entry.object.parse().map_err(|_| corrupt("its list names a malformed object"))?;
            parts.push((part, start + entry.start, Some(entry.length), depth + 1));
        }
        if length.is_some_and(|length| length != at) {
            return Err(corrupt("a part has another length than the list says"));
        }
        stack.extend(parts.into_iter().rev());
    }
    Ok(chunks)
}

/// Adds every content that an object needs: its data and its lists.
pub async fn contents(
    contents: &Contents,
    object: Id,
    used: &mut std::collections::BTreeSet<content::Id>,
) -> Result<(), Error> {
    let mut stack = vec![object];
    while let Some(id) = stack.pop() {
        let Some(list) = id.list() else {
            used.insert(id.content());
            continue;
        };
        let corrupt = |detail: &str| Error::CorruptObject { object: id, detail: detail.to_owned() };
        let bytes = read(contents, list).await?;
        let parsed: List = serde_json::from_slice(&bytes).map_err(|error| corrupt(&error.to_string()))?;
        stack.push(list);
        for entry in parsed.entries.unwrap_or_default() {
            stack.push(entry.object.parse().map_err(|_| corrupt("its list names a malformed object"))?);
        }
    }
    Ok(())
}

/// Reads the bytes of one chunk.
pub async fn read_chunk(contents: &Contents, chunk: &Chunk, check: bool) -> Result<Bytes, Error> {
    let entry =
        contents.view().find(&chunk.content)?.ok_or(Error::MissingContent { content: chunk.content })?;
    let data = if check { contents.read_checked(&entry).await? } else { contents.read_entry(&entry).await? };
    if !chunk.is_compressed {
        return Ok(data);
    }
    let corrupt =
        |detail: String| Error::CorruptContent { content: entry.id, pack: entry.pack.clone(), detail };
    let header = compress::header(&data)
        .ok_or_else(|| corrupt("it is too short for a compressed stream".to_owned()))?;
    let is_known = chunk.length != u64::MAX;
    let limit = if is_known { chunk.length } else { LEGACY_BYTES_MAX };
    match compress::decompress(header, &data, limit) {
        Ok(plain) if !is_known || plain.len() as u64 == chunk.length => Ok(plain.into()),
        Ok(_) => Err(corrupt("its length is not what the list says".to_owned())),
        Err(compress::Undecodable::Unsupported(name)) => {
            Err(Error::UnsupportedFeature { feature: format!("compressor {name}") })
        }
        Err(error) => Err(corrupt(error.to_string())),
    }
}

/// Reads a whole object.
pub async fn read(contents: &Contents, object: Id) -> Result<Bytes, Error> {
    let chunks = chunks(contents, object).await?;
    if let [only] = &chunks[..] {
        return read_chunk(contents, only, false).await;
    }
    let mut bytes = Vec::new();
    for chunk in &chunks {
        bytes.extend_from_slice(&read_chunk(contents, chunk, false).await?);
    }
    Ok(bytes.into())
}

/// How to write objects of one kind.
#[derive(Clone, Copy, Debug)]
pub struct WriteOptions {
    /// Prefix letter of the contents.
    pub prefix: Option<u8>,
    /// The repository's splitter.
    pub splitter: Splitter,
    /// Compressor of the data.
    pub compressor: Option<Compressor>,
    /// Compressor of lists.
    pub list_compressor: Option<Compressor>,
}

/// Writes bytes that are in memory as an object.
pub async fn write(session: &mut Session<'_>, data: Bytes, options: WriteOptions) -> Result<Id, Error> {
    let pieces: Vec<Piece> = options
        .splitter
        .split(&data)
        .into_iter()
        .map(|chunk| Piece {
            prefix: options.prefix,
            data: data.slice_ref(chunk),
            compressor: options.compressor,
        })
        .collect();
    let lengths: Vec<u64> = pieces.iter().map(|piece| piece.data.len() as u64).collect();
    let ids = session.write_all(pieces, 1).await?;
    finish(session, ids.into_iter().zip(lengths).collect(), options).await
}

/// Makes one object of chunks that are written already: contents with their lengths, in order.
pub async fn finish(
    session: &mut Session<'_>,
    chunks: Vec<(content::Id, u64)>,
    options: WriteOptions,
) -> Result<Id, Error> {
    match chunks[..] {
        [] => {
            let piece = Piece { prefix: options.prefix, data: Bytes::new(), compressor: None };
            Ok(session.write(piece).await?.into())
        }
        [(content, _)] => Ok(content.into()),
        _ => {
            let mut start = 0;
            let entries = chunks.iter().map(|(content, length)| {
                let entry = ListEntry { start, length: *length, object: content.to_string() };
                start += length;
                entry
            });
            let list = List { stream: "kopia:indirect".to_owned(), entries: Some(entries.collect()) };
            let mut bytes = serde_json::to_vec(&list).expect("plain data serialises");
            bytes.push(b'\n');
            let prefix = options.prefix.unwrap_or(b'x');
            let inner = WriteOptions { prefix: Some(prefix), compressor: options.list_compressor, ..options };
            let list = Box::pin(write(session, bytes.into(), inner)).await?;
            Ok(list.indirect().expect("a list is never a legacy object"))
        }
    }
}
