//! The tree seam: a file tree to be read, and one to be written.
//!
//! Paths and names are raw bytes, times have nanoseconds, and special files are seen as what they are,
//! because the engine must be able to say what the format cannot carry. Both traits are synchronous:
//! waiting stands at the store only. It does not follow symlinks and never leaves its root.

pub mod local;

use std::{fmt, io};

pub use local::LocalTree;

/// A path relative to the tree's root: raw components joined by `/`; empty for the root itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Path(Vec<u8>);

impl Path {
    /// The root.
    pub fn root() -> Self {
        Self::default()
    }
    /// Takes raw bytes; leading and trailing slashes are dropped.
    pub fn new(bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        let start = bytes.iter().position(|b| *b != b'/').unwrap_or(bytes.len());
        let end = bytes.iter().rposition(|b| *b != b'/').map_or(start, |i| i + 1);
        Self(bytes[start..end].to_vec())
    }
    /// The path of a child of this directory.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Self {
        let mut bytes = self.0.clone();
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        Self(bytes)
    }
    /// The containing directory; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.0.is_empty() {
            return None;
        }
        Some(self.0.iter().rposition(|b| *b == b'/').map_or_else(Self::root, |i| Self(self.0[..i].to_vec())))
    }
    /// The last component; empty for the root.
    pub fn name(&self) -> &[u8] {
        self.0.iter().rposition(|b| *b == b'/').map_or(&self.0[..], |i| &self.0[i + 1..])
    }
    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str(".") } else { f.write_str(&String::from_utf8_lossy(&self.0)) }
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// What kind of thing an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device, with major and minor number.
    CharDevice(u32, u32),
    /// A block device, with major and minor number.
    BlockDevice(u32, u32),
}

/// A time of a file: seconds since 1970 (may be negative) and nanoseconds of that second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// Nanoseconds within the second, `0..1_000_000_000`.
    pub nanoseconds: u32,
}

impl Time {
    /// Nanoseconds since 1970; wide enough for every `Time`.
    pub fn as_nanos(self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanoseconds)
    }
    /// The inverse of [`Time::as_nanos`], saturating at the range of `i64` seconds.
    pub fn from_nanos(nanos: i128) -> Self {
        let seconds = nanos.div_euclid(1_000_000_000);
        let nanoseconds = nanos.rem_euclid(1_000_000_000) as u32;
        Self { seconds: seconds.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64, nanoseconds }
    }
}

/// What `lstat` tells about one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Raw name within its directory; empty for the root.
    pub name: Vec<u8>,
    /// File, directory, symlink or special.
    pub kind: Kind,
    /// POSIX permission bits with setuid, setgid and sticky (`0o7777`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes: of a file's content, of a symlink's target; 0 otherwise.
    pub size: u64,
    /// Modification time.
    pub mtime: Time,
    /// Identity of the inode within the tree, and how many names it has.
    pub inode: u64,
    /// Number of names (hard links) of the inode.
    pub links: u32,
    /// Device the entry lives on, to notice a mount point below the root.
    pub device: u64,
    /// Whether the entry carries extended attributes or ACLs (which the format cannot hold).
    pub has_xattrs: bool,
    /// Whether the file has fewer bytes allocated than its length.
    pub is_sparse: bool,
}

/// A tree that is read: the source of a backup, or the read-back check of a restore.
///
/// # Errors
/// Plain [`io::Error`]s with the operating system's code, as a file system gives them.
pub trait ReadTree: Send + Sync {
    /// Describes one entry without following symlinks.
    fn entry(&self, path: &Path) -> io::Result<Entry>;
    /// Lists a directory, sorted by raw name.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>>;
    /// Reads a symlink's raw target.
    fn read_link(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Opens a file for reading from its start.
    fn open(&self, path: &Path) -> io::Result<Box<dyn io::Read + Send + '_>>;
}

/// A file being written. Bytes are durable only after [`WriteTree::sync`] of the tree, and errors of
/// write-back may show up only there.
pub trait WriteFile: Send {
    /// Writes at an offset, extending the file as needed.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Sets the length; the new part reads as zeros and is a hole.
    fn set_len(&mut self, length: u64) -> io::Result<()>;
    /// Finishes writing; what close reports.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// A tree that is written: the destination of a restore.
pub trait WriteTree: ReadTree {
    /// Creates a directory; an existing directory is not an error.
    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// Creates or truncates a file.
    fn create_file(&self, path: &Path, mode: u32) -> io::Result<Box<dyn WriteFile + '_>>;
    /// Creates a symlink.
    fn create_symlink(&self, path: &Path, target: &[u8]) -> io::Result<()>;
    /// Renames a file within the tree, replacing the target.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file, symlink or special file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Changes the owner without following symlinks.
    fn set_owner(&self, path: &Path, uid: u32, gid: u32) -> io::Result<()>;
    /// Changes the permission bits (not of symlinks).
    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// Changes the modification time without following symlinks.
    fn set_mtime(&self, path: &Path, mtime: Time) -> io::Result<()>;
    /// Writes everything back to the medium (`syncfs`); a write-back error that happened earlier is
    /// reported here and must never be swallowed.
    fn sync(&self) -> io::Result<()>;
    /// Forgets cached pages, so that the next read comes from the medium, as another mount would see it.
    fn drop_caches(&self) -> io::Result<()>;
}
