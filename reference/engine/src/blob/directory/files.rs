//! The seam below the directory layout: plain file operations on a repository folder.
//!
//! Two implementations exist: [`super::LocalFiles`] on a real file system, and the bed's NFS export
//! model. It promises what a POSIX file system over NFS gives: exclusive creation, atomic rename over
//! an existing file, durability only after the write was acknowledged by [`Files::create_new`].
//! Paths are relative to the root, `/`-separated, UTF-8; the empty path is the root itself.

use std::{fmt, io, ops::Range};

use bytes::Bytes;
use jiff::Timestamp;

/// What `stat` or a listing tells about one file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMetadata {
    /// Name within its directory; empty when told of the path that was asked for.
    pub name: String,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Length in bytes; 0 for directories.
    pub length: u64,
    /// Modification time on the file server's clock.
    pub modified: Timestamp,
}

/// File operations on a repository folder.
///
/// # Errors
/// Plain [`io::Error`]s with the operating system's code (`from_raw_os_error`), so that ESTALE, EIO,
/// ENOSPC, EDQUOT, EACCES are told apart; [`io::ErrorKind::NotFound`] for what is absent.
/// # Cancellation
/// A dropped call may or may not have happened.
#[async_trait::async_trait]
pub trait Files: Send + Sync + fmt::Debug {
    /// Reads a file, whole or a half-open byte range; a range beyond the end gives
    /// [`io::ErrorKind::UnexpectedEof`].
    async fn read(&self, path: &str, range: Option<Range<u64>>) -> io::Result<Bytes>;
    /// Creates a file exclusively, writes all bytes, syncs it (`fsync`) and closes it. A failure of any
    /// of the four is an error; what was written may be left behind.
    async fn create_new(&self, path: &str, bytes: Bytes) -> io::Result<()>;
    /// Renames a file, atomically replacing the target.
    async fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Gives a file a second name; fails with [`io::ErrorKind::AlreadyExists`] when the target exists.
    async fn link(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    async fn unlink(&self, path: &str) -> io::Result<()>;
    /// Describes a file or directory.
    async fn stat(&self, path: &str) -> io::Result<FileMetadata>;
    /// Lists a directory, sorted by name.
    async fn list_dir(&self, path: &str) -> io::Result<Vec<FileMetadata>>;
    /// Creates one directory; its parent must exist.
    async fn mkdir(&self, path: &str) -> io::Result<()>;
}
