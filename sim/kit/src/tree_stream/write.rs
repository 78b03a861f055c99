//! Writes a tree stream.
//!
//! It checks each item against the format before a byte of it goes out, so that a reader never meets an
//! unsound entry of ours. A writer that is dropped without [`Writer::finish`] leaves a stream that every reader
//! refuses.
use std::io::{Read, Write};

use sha2::{Digest as _, Sha256};

use super::{Entry, Error, Head, Line, Raw, Scope, Summary, VERSION, unsound, unsound_path};

/// A stream being written.
pub struct Writer<W> {
    out: W,
    digest: Sha256,
    at: u64,
    items: u64,
    bytes: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a stream.
    pub fn new(out: W, scope: Scope) -> Result<Self, Error> {
        let mut writer = Self { out, digest: Sha256::new(), at: 0, items: 0, bytes: 0 };
        writer.line(&Head { version: VERSION, scope })?;
        Ok(writer)
    }

    /// Puts an entry; `data` gives the bytes of its extents, joined, and nothing for other nodes.
    ///
    /// # Errors
    /// [`Error::Unsound`] before anything was written; [`Error::Changed`] if `data` ends early, after which the
    /// stream can only be given up ([`Writer::fail`]). What `data` holds beyond the extents is not read.
    pub fn put(&mut self, entry: &Entry, data: impl Read) -> Result<(), Error> {
        if let Some(what) = unsound(entry) {
            return Err(Error::Unsound { path: entry.path.to_string(), what });
        }
        let expected = entry.node.stored_bytes();
        self.line(&Line::Put(entry.clone()))?;
        self.items += 1;
        let mut data = data.take(expected);
        let mut buffer = vec![0; 64 << 10];
        let mut found = 0;
        while found < expected {
            let read = match data.read(&mut buffer) {
                Ok(0) => return Err(Error::Changed { path: entry.path.to_string(), expected, found }),
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(Error::Transfer { doing: "read a file for", at: self.at, source }),
            };
            self.raw(&buffer[..read])?;
            found += read as u64;
        }
        self.bytes += expected;
        Ok(())
    }

    /// Takes an entry away, with all below it.
    pub fn remove(&mut self, path: Raw) -> Result<(), Error> {
        if let Some(what) = unsound_path(&path) {
            return Err(Error::Unsound { path: path.to_string(), what });
        }
        if path.is_empty() {
            return Err(Error::Unsound { path: path.to_string(), what: "the root cannot be removed" });
        }
        self.items += 1;
        self.line(&Line::Remove { path })
    }

    /// Ends the stream well and flushes.
    pub fn finish(mut self) -> Result<Summary, Error> {
        let summary = Summary {
            items: self.items,
            bytes: self.bytes,
            sha256: hex::encode(self.digest.clone().finalize()),
        };
        self.line(&Line::End(summary.clone()))?;
        self.out.flush().map_err(|source| Error::Transfer { doing: "write", at: self.at, source })?;
        Ok(summary)
    }

    /// Ends the stream by saying why it cannot go on; the reader reports the reason.
    ///
    /// # Caveats
    /// In the middle of a file the reader takes these bytes for the file's and reports a cut-off stream.
    pub fn fail(mut self, reason: &str) -> Result<(), Error> {
        self.line(&Line::Failed { reason: reason.to_owned() })?;
        self.out.flush().map_err(|source| Error::Transfer { doing: "write", at: self.at, source })
    }

    fn line(&mut self, line: &impl serde::Serialize) -> Result<(), Error> {
        let mut text = serde_json::to_vec(line).expect("lines of a tree stream are plain data");
        text.push(b'\n');
        self.raw(&text)
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.digest.update(bytes);
        self.out.write_all(bytes).map_err(|source| Error::Transfer {
            doing: "write",
            at: self.at,
            source,
        })?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}
