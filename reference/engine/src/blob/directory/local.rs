//! A repository folder on a real file system.
//!
//! Calls block: the mover gives the engine a thread of its own. Modes are Kopia's (files 0600,
//! directories 0700). It retries nothing.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    ops::Range,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::PathBuf,
};

use bytes::Bytes;
use jiff::Timestamp;

use super::{FileMetadata, Files};

/// A folder on a real file system.
#[derive(Clone, Debug)]
pub struct LocalFiles {
    root: PathBuf,
}

impl LocalFiles {
    /// A folder; it need not exist yet, but nothing works until it does.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }
    fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }
}

fn metadata(name: String, metadata: &fs::Metadata) -> io::Result<FileMetadata> {
    let is_directory = metadata.is_dir();
    let modified = Timestamp::try_from(metadata.modified()?).map_err(io::Error::other)?;
    Ok(FileMetadata { name, is_directory, length: if is_directory { 0 } else { metadata.len() }, modified })
}

#[async_trait::async_trait]
impl Files for LocalFiles {
    async fn read(&self, path: &str, range: Option<Range<u64>>) -> io::Result<Bytes> {
        let mut file = File::open(self.path(path))?;
        let mut bytes = Vec::new();
        if let Some(range) = range {
            file.seek(io::SeekFrom::Start(range.start))?;
            let length = range.end.saturating_sub(range.start);
            file.take(length).read_to_end(&mut bytes)?;
            if (bytes.len() as u64) < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        } else {
            file.read_to_end(&mut bytes)?;
        }
        Ok(bytes.into())
    }
    async fn create_new(&self, path: &str, bytes: Bytes) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.path(path))?;
        file.write_all(&bytes)?;
        file.sync_all()
    }
    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }
    async fn link(&self, from: &str, to: &str) -> io::Result<()> {
        fs::hard_link(self.path(from), self.path(to))
    }
    async fn unlink(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path(path))
    }
    async fn stat(&self, path: &str) -> io::Result<FileMetadata> {
        metadata(String::new(), &fs::symlink_metadata(self.path(path))?)
    }
    async fn list_dir(&self, path: &str) -> io::Result<Vec<FileMetadata>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.path(path))? {
            let entry = entry?;
            // No blob of ours has a name that is not UTF-8.
            let Ok(name) = entry.file_name().into_string() else { continue };
            match entry.metadata() {
                Ok(about) => found.push(metadata(name, &about)?),
                Err(failure) if failure.kind() == io::ErrorKind::NotFound => {}
                Err(failure) => return Err(failure),
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }
    async fn mkdir(&self, path: &str) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(self.path(path))
    }
}
