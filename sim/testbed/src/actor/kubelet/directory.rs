//! A repository folder inside a mounted volume.
//!
//! Carries the engine's file operations out on a [`WriteTree`], below a directory of it, so that a claim
//! can hold a repository (`moverVolumes`). Every write is synced before it is acknowledged.

use std::{fmt, io, ops::Range, sync::Arc};

use bytes::Bytes;
use engine::{
    blob::directory::{FileMetadata, Files},
    tree::{Entry, Kind, Path, ReadTree as _, WriteTree as _},
};
use jiff::Timestamp;

use crate::volume::Mount;

/// File operations on a directory of a mount.
pub struct MountedFiles {
    mount: Arc<Mount>,
    root: Path,
}

impl fmt::Debug for MountedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MountedFiles({:?} {:?})", self.mount.volume(), self.root)
    }
}

impl MountedFiles {
    /// The files below `root`.
    pub fn new(mount: Arc<Mount>, root: &str) -> Self {
        Self { mount, root: Path::new(root) }
    }

    fn path(&self, path: &str) -> Path {
        path.split('/')
            .filter(|part| !part.is_empty())
            .fold(self.root.clone(), |path, part| path.join(part.as_bytes()))
    }
}

#[async_trait::async_trait]
impl Files for MountedFiles {
    async fn read(&self, path: &str, range: Option<Range<u64>>) -> io::Result<Bytes> {
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut self.mount.open(&self.path(path))?, &mut bytes)?;
        let bytes = Bytes::from(bytes);
        let Some(range) = range else { return Ok(bytes) };
        if range.start > range.end || range.end > bytes.len() as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes.slice(range.start as usize..range.end as usize))
    }
    async fn create_new(&self, path: &str, bytes: Bytes) -> io::Result<()> {
        let path = self.path(path);
        if self.mount.entry(&path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let mut file = self.mount.create_file(&path, 0o600)?;
        file.write_at(0, &bytes)?;
        file.finish()?;
        self.mount.sync()
    }
    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.mount.rename(&self.path(from), &self.path(to))
    }
    async fn link(&self, from: &str, to: &str) -> io::Result<()> {
        // The tree seam has no hard links: a rename that refuses to replace is what callers need of one.
        if self.mount.entry(&self.path(to)).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.create_new(to, self.read(from, None).await?).await
    }
    async fn unlink(&self, path: &str) -> io::Result<()> {
        self.mount.remove_file(&self.path(path))
    }
    async fn stat(&self, path: &str) -> io::Result<FileMetadata> {
        self.mount.entry(&self.path(path)).map(|entry| metadata(&entry, String::new()))
    }
    async fn list_dir(&self, path: &str) -> io::Result<Vec<FileMetadata>> {
        let entries = self.mount.read_dir(&self.path(path))?;
        Ok(entries
            .iter()
            .map(|entry| metadata(entry, String::from_utf8_lossy(&entry.name).into_owned()))
            .collect())
    }
    async fn mkdir(&self, path: &str) -> io::Result<()> {
        let path = self.path(path);
        if self.mount.entry(&path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.mount.create_dir(&path, 0o700)
    }
}

fn metadata(entry: &Entry, name: String) -> FileMetadata {
    let is_directory = entry.kind == Kind::Directory;
    FileMetadata {
        name,
        is_directory,
        length: if is_directory { 0 } else { entry.size },
        modified: Timestamp::from_nanosecond(entry.mtime.as_nanos()).unwrap_or_default(),
    }
}
