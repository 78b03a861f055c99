//! Reads a tree stream.
//!
//! Items come in the order of the stream. A file's bytes are read through the reader between two items; what
//! was not read is skipped. Nothing counts before [`Reader::next`] has answered `None`: only then the tail was
//! there and fitted.
use std::io::{BufRead, Read};

use sha2::{Digest as _, Sha256};

use super::{Error, Head, Item, LINE_BYTES_MAX, Line, Node, Scope, Summary, VERSION, unsound, unsound_path};

/// A stream being read.
pub struct Reader<R> {
    input: R,
    digest: Sha256,
    at: u64,
    left: u64,
    items: u64,
    bytes: u64,
    scope: Scope,
    summary: Option<Summary>,
}

impl<R: BufRead> Reader<R> {
    /// Reads the head.
    pub fn new(input: R) -> Result<Self, Error> {
        let mut reader = Self {
            input,
            digest: Sha256::new(),
            at: 0,
            left: 0,
            items: 0,
            bytes: 0,
            scope: Scope::Whole,
            summary: None,
        };
        let line = reader.line()?;
        let head: serde_json::Value = parsed(&line, 0)?;
        let found = head.get("firedrill-tree").and_then(serde_json::Value::as_u64);
        match found {
            Some(version) if version == u64::from(VERSION) => {}
            Some(version) => {
                return Err(Error::Version { found: u32::try_from(version).unwrap_or(u32::MAX) });
            }
            None => {
                let what = "it does not begin with the head of a tree stream".to_owned();
                return Err(Error::Malformed { at: 0, what });
            }
        }
        let head: Head = parsed(&line, 0)?;
        reader.digest.update(&line);
        reader.scope = head.scope;
        Ok(reader)
    }

    /// Whether the stream tells a whole tree.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The next item; `None` after the tail, when everything was there and fitted.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator could not lend the reader out between items"
    )]
    pub fn next(&mut self) -> Result<Option<Item>, Error> {
        if self.summary.is_some() {
            return Ok(None);
        }
        while self.left > 0 {
            let mut sink = [0; 16 << 10];
            self.data(&mut sink)?;
        }
        let start = self.at;
        let text = self.line()?;
        match parsed(&text, start)? {
            Line::Put(entry) => {
                if let Some(what) = unsound(&entry) {
                    return Err(Error::Malformed { at: start, what: format!("{}: {what}", entry.path) });
                }
                self.digest.update(&text);
                self.items += 1;
                self.left = entry.node.stored_bytes();
                self.bytes += self.left;
                Ok(Some(Item::Put(entry)))
            }
            Line::Remove { path } => {
                let what = if path.is_empty() { Some("it removes the root") } else { unsound_path(&path) };
                if let Some(what) = what {
                    return Err(Error::Malformed { at: start, what: what.to_owned() });
                }
                self.digest.update(&text);
                self.items += 1;
                Ok(Some(Item::Remove(path)))
            }
            Line::Failed { reason } => Err(Error::GivenUp { reason }),
            Line::End(summary) => {
                let checks = [
                    ("digest", summary.sha256 == hex::encode(self.digest.clone().finalize())),
                    ("items", summary.items == self.items),
                    ("bytes", summary.bytes == self.bytes),
                ];
                if let Some((what, _)) = checks.into_iter().find(|(_, fits)| !fits) {
                    return Err(Error::Altered { what });
                }
                self.summary = Some(summary);
                Ok(None)
            }
        }
    }

    /// Reads some bytes of the item's extents, joined; 0 when there are no more of this item.
    pub fn data(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let read = loop {
            match self.input.read(&mut buffer[..wanted]) {
                Ok(0) => return Err(Error::CutOff { at: self.at }),
                Ok(read) => break read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Transfer { doing: "read", at: self.at, source }),
            }
        };
        self.digest.update(&buffer[..read]);
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }

    /// All bytes of the item's extents, one buffer per extent.
    pub fn extents(&mut self, node: &Node) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        let Node::File { extents, .. } = node else { return Ok(Vec::new()) };
        let mut runs = Vec::with_capacity(extents.len());
        for extent in extents {
            // Grown as bytes come: a stream that announces much must also send it.
            let mut bytes = Vec::new();
            let mut buffer = [0; 16 << 10];
            while (bytes.len() as u64) < extent.length {
                let room = usize::try_from(extent.length - bytes.len() as u64).unwrap_or(usize::MAX);
                let room = room.min(buffer.len());
                let read = self.data(&mut buffer[..room])?;
                if read == 0 {
                    return Err(Error::CutOff { at: self.at });
                }
                bytes.extend_from_slice(&buffer[..read]);
            }
            runs.push((extent.at, bytes));
        }
        Ok(runs)
    }

    /// What the tail said; `None` before it was read.
    pub fn summary(&self) -> Option<&Summary> {
        self.summary.as_ref()
    }

    fn line(&mut self) -> Result<Vec<u8>, Error> {
        let mut line = Vec::new();
        let mut limited = (&mut self.input).take(LINE_BYTES_MAX as u64);
        limited.read_until(b'\n', &mut line).map_err(|source| Error::Transfer {
            doing: "read",
            at: self.at,
            source,
        })?;
        if line.last() != Some(&b'\n') {
            if line.len() >= LINE_BYTES_MAX {
                let what = format!("a line is longer than {LINE_BYTES_MAX} bytes");
                return Err(Error::Malformed { at: self.at, what });
            }
            return Err(Error::CutOff { at: self.at + line.len() as u64 });
        }
        self.at += line.len() as u64;
        Ok(line)
    }
}

fn parsed<T: serde::de::DeserializeOwned>(line: &[u8], at: u64) -> Result<T, Error> {
    serde_json::from_slice(line).map_err(|error| Error::Malformed { at, what: error.to_string() })
}
