//! A repository's folder on a volume: a claim mounted into a mover as its filesystem repository.
//!
//! File operations go through a [`Mount`], so permissions, capacity, caches and faults are the mount's;
//! `create_new` syncs, as a file server's client does with `fsync`, and the meter's debt is paid at each
//! call. It adds nothing else.
use std::{fmt, io, ops::Range, sync::Arc};

use bytes::Bytes;
use engine::{
    blob::directory::{FileMetadata, Files},
    tree::{Entry, Kind, Path, ReadTree as _, WriteTree as _},
};
use jiff::Timestamp;

use super::{
    Mount,
    errno::{self, error},
};

/// A folder on a mounted volume.
#[derive(Clone)]
pub struct VolumeFiles {
    mount: Arc<Mount>,
    base: Path,
}

impl fmt::Debug for VolumeFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VolumeFiles({:?} at {})", self.mount.volume(), self.base)
    }
}

impl VolumeFiles {
    /// The folder `base` (empty for the root) of a mount.
    pub fn new(mount: Arc<Mount>, base: &str) -> Self {
        Self { mount, base: Path::new(base) }
    }
    fn path(&self, path: &str) -> Path {
        Path::new([self.base.as_bytes(), b"/", path.as_bytes()].concat())
    }
    async fn pay(&self) {
        if let Some(meter) = self.mount.meter() {
            meter.settle().await;
        }
    }
}

fn metadata(name: String, entry: &Entry) -> FileMetadata {
    let modified = Timestamp::from_nanosecond(entry.mtime.as_nanos()).unwrap_or_default();
    let is_directory = entry.kind == Kind::Directory;
    FileMetadata { name, is_directory, length: if is_directory { 0 } else { entry.size }, modified }
}

#[async_trait::async_trait]
impl Files for VolumeFiles {
    async fn read(&self, path: &str, range: Option<Range<u64>>) -> io::Result<Bytes> {
        self.pay().await;
        let path = self.path(path);
        let length = self.mount.entry(&path)?.size;
        let range = range.unwrap_or(0..length);
        if range.start > range.end || range.end > length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.mount.read_range(&path, range).map(Bytes::from)
    }
    async fn create_new(&self, path: &str, bytes: Bytes) -> io::Result<()> {
        let path = self.path(path);
        if self.mount.entry(&path).is_ok() {
            return Err(error(errno::EEXIST));
        }
        let mut file = self.mount.create_file(&path, 0o600)?;
        file.write_at(0, &bytes)?;
        file.finish()?;
        self.mount.sync()?;
        self.pay().await;
        Ok(())
    }
    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.pay().await;
        self.mount.rename(&self.path(from), &self.path(to))
    }
    async fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.pay().await;
        self.mount.link(&self.path(from), &self.path(to))
    }
    async fn unlink(&self, path: &str) -> io::Result<()> {
        self.pay().await;
        self.mount.remove_file(&self.path(path))
    }
    async fn stat(&self, path: &str) -> io::Result<FileMetadata> {
        self.pay().await;
        Ok(metadata(String::new(), &self.mount.entry(&self.path(path))?))
    }
    async fn list_dir(&self, path: &str) -> io::Result<Vec<FileMetadata>> {
        self.pay().await;
        let entries = self.mount.read_dir(&self.path(path))?;
        // No blob has a name that is not UTF-8.
        let named =
            entries.iter().filter_map(|entry| Some((String::from_utf8(entry.name.clone()).ok()?, entry)));
        Ok(named.map(|(name, entry)| metadata(name, entry)).collect())
    }
    async fn mkdir(&self, path: &str) -> io::Result<()> {
        let path = self.path(path);
        if self.mount.entry(&path).is_ok() {
            return Err(error(errno::EEXIST));
        }
        self.mount.create_dir(&path, 0o700)
    }
}
