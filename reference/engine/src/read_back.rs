//! Reading back: does a tree hold what the snapshot says?
//!
//! Chunks of each file are hashed and compared with the names of the contents, so no file data is fetched
//! from the repository. What the tree holds beyond the snapshot is not looked at, nor are attributes.

use std::{future::Future, io::Read as _, pin::Pin};

use crate::{
    content::committed::Contents,
    error::Error,
    monitor::{Event, Monitor},
    object::{self, Chunk},
    restore::read_entries,
    snapshot::{Entry, EntryKind, Snapshot},
    tree::{Kind, Path, ReadTree},
};

/// What the read-back check found different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The path in the tree that was compared.
    pub path: Path,
    /// What is different.
    pub kind: MismatchKind,
}

/// The ways in which a tree can differ from its snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MismatchKind {
    /// The entry is not there.
    Missing,
    /// The entry is of another kind.
    Kind,
    /// The file has another length.
    Size {
        /** As stored. */
        expected: u64,
        /** As found. */
        found: u64,
    },
    /// Bytes differ; the first chunk that differs.
    Content {
        /** First byte of the chunk. */
        offset: u64,
        /** Its length. */
        length: u64,
        /** Whether it reads as zeros. */
        is_zeros: bool,
    },
    /// The symlink points elsewhere.
    Target,
    /// It cannot be read.
    Unreadable {
        /** The system's words. */
        error: String,
    },
    /// The repository's own data about it cannot be read.
    Damaged {
        /** What is wrong. */
        error: String,
    },
}

/// Compares a tree with a snapshot.
pub(crate) async fn read_back(
    contents: &Contents,
    snapshot: &Snapshot,
    tree: &dyn ReadTree,
    monitor: &dyn Monitor,
) -> Result<Vec<Mismatch>, Error> {
    let mut reader = Reader { contents, tree, monitor, found: Vec::new() };
    reader.directory(Path::root(), snapshot.root.object).await?;
    Ok(reader.found)
}

struct Reader<'a> {
    contents: &'a Contents,
    tree: &'a dyn ReadTree,
    monitor: &'a dyn Monitor,
    found: Vec<Mismatch>,
}

impl Reader<'_> {
    fn note(&mut self, path: &Path, kind: MismatchKind) {
        self.found.push(Mismatch { path: path.clone(), kind });
    }
    /// Damage of the repository is a finding of this path; other errors end the check.
    fn damaged(&mut self, path: &Path, error: Error) -> Result<(), Error> {
        if error.is_damage() {
            self.note(path, MismatchKind::Damaged { error: error.to_string() });
            return Ok(());
        }
        Err(error)
    }

    fn directory<'w>(
        &'w mut self,
        path: Path,
        object: object::Id,
    ) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'w>> {
        Box::pin(async move {
            let entries = match read_entries(self.contents, object).await {
                Ok(entries) => entries,
                Err(error) => return self.damaged(&path, error),
            };
            for child in entries {
                if self.monitor.cancelled() {
                    return Err(Error::Cancelled);
                }
                let child_path = path.join(child.name.as_bytes());
                let found = match self.tree.entry(&child_path) {
                    Ok(found) => found,
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                        self.note(&child_path, MismatchKind::Missing);
                        continue;
                    }
                    Err(error) => {
                        self.note(&child_path, MismatchKind::Unreadable { error: error.to_string() });
                        continue;
                    }
                };
                match (child.kind, found.kind) {
                    (EntryKind::Directory, Kind::Directory) => {
                        self.directory(child_path, child.object).await?;
                    }
                    (EntryKind::File, Kind::File) if child.size != found.size => {
                        self.note(
                            &child_path,
                            MismatchKind::Size { expected: child.size, found: found.size },
                        );
                    }
                    (EntryKind::File, Kind::File) => self.file(&child_path, &child).await?,
                    (EntryKind::Symlink, Kind::Symlink) => self.symlink(&child_path, &child).await?,
                    (EntryKind::Unknown, _) => {}
                    _ => self.note(&child_path, MismatchKind::Kind),
                }
            }
            Ok(())
        })
    }

    async fn symlink(&mut self, path: &Path, entry: &Entry) -> Result<(), Error> {
        match (object::read(self.contents, entry.object).await, self.tree.read_link(path)) {
            (Err(error), _) => self.damaged(path, error)?,
            (_, Err(error)) => self.note(path, MismatchKind::Unreadable { error: error.to_string() }),
            (Ok(expected), Ok(found)) if expected != found => self.note(path, MismatchKind::Target),
            _ => {}
        }
        Ok(())
    }

    async fn file(&mut self, path: &Path, entry: &Entry) -> Result<(), Error> {
        let chunks = match object::chunks(self.contents, entry.object).await {
            Ok(chunks) => chunks,
            Err(error) => return self.damaged(path, error),
        };
        let mut file = match self.tree.open(path) {
            Ok(file) => file,
            Err(error) => {
                self.note(path, MismatchKind::Unreadable { error: error.to_string() });
                return Ok(());
            }
        };
        let mut buffer = Vec::new();
        let mut bytes = 0;
        for chunk in chunks {
            buffer.clear();
            if let Err(error) = file.by_ref().take(chunk.length).read_to_end(&mut buffer) {
                self.found.push(Mismatch {
                    path: path.clone(),
                    kind: MismatchKind::Unreadable { error: error.to_string() },
                });
                return Ok(());
            }
            bytes += buffer.len() as u64;
            match equals(self.contents, &chunk, &buffer).await {
                Ok(true) => {}
                Ok(false) => {
                    let is_zeros = buffer.iter().all(|byte| *byte == 0);
                    let kind =
                        MismatchKind::Content { offset: chunk.start, length: buffer.len() as u64, is_zeros };
                    self.found.push(Mismatch { path: path.clone(), kind });
                    return Ok(());
                }
                Err(error) => {
                    drop(file);
                    return self.damaged(path, error);
                }
            }
        }
        self.monitor.event(Event::Verified { path, bytes });
        Ok(())
    }
}

async fn equals(contents: &Contents, chunk: &Chunk, found: &[u8]) -> Result<bool, Error> {
    if chunk.is_compressed {
        // The name of a legacy chunk is the hash of its compressed form.
        return Ok(object::read_chunk(contents, chunk, false).await? == found);
    }
    Ok(found.len() as u64 == chunk.length && contents.secrets.hasher.hash(found) == chunk.content.hash())
}
