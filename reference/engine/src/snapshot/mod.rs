//! Snapshots: a tree at a time, and what is told about taking one.
//!
//! The types here are what a snapshot *is*; taking one is [`crate::Repository::backup`]. Modes are
//! POSIX bits throughout; Go's bits exist only in the documents of [`document`].

pub(crate) mod backup;
pub(crate) mod document;

use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::Timestamp;

use crate::{
    content, manifest, object,
    tree::{Path, Time},
};

/// Whose data, on which host, at which path: the identity that groups snapshots.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// User name.
    pub username: String,
    /// Host name.
    pub host: String,
    /// Path as recorded, such as `/data`.
    pub path: String,
}

impl Source {
    /// Builds an identity.
    pub fn new(username: impl Into<String>, host: impl Into<String>, path: impl Into<String>) -> Self {
        Self { username: username.into(), host: host.into(), path: path.into() }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}", self.username, self.host, self.path)
    }
}

/// Which snapshots: every field given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// User name.
    pub username: Option<String>,
    /// Host name.
    pub host: Option<String>,
    /// Path.
    pub path: Option<String>,
    /// Tags, with or without their `tag:` prefix.
    pub tags: BTreeMap<String, String>,
    /// Only complete snapshots.
    pub complete_only: bool,
}

impl Filter {
    /// Every snapshot of the repository, incomplete ones included.
    pub fn all() -> Self {
        Self::default()
    }
    /// Every snapshot of one source, incomplete ones included.
    pub fn source(source: &Source) -> Self {
        Self {
            username: Some(source.username.clone()),
            host: Some(source.host.clone()),
            path: Some(source.path.clone()),
            ..Self::default()
        }
    }
    /// Leaves out incomplete snapshots.
    #[must_use]
    pub fn complete(self) -> Self {
        Self { complete_only: true, ..self }
    }
    /// Whether the snapshot is one of those wanted.
    pub fn matches(&self, snapshot: &Snapshot) -> bool {
        let equal =
            |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        equal(&self.username, &snapshot.source.username)
            && equal(&self.host, &snapshot.source.host)
            && equal(&self.path, &snapshot.source.path)
            && (!self.complete_only || snapshot.incomplete.is_none())
            && self.tags.iter().all(|(key, value)| snapshot.tags.get(&tag_key(key)) == Some(value))
    }
}

/// The key of a tag as stored: with its `tag:` prefix.
pub fn tag_key(key: &str) -> String {
    if key.starts_with("tag:") { key.to_owned() } else { format!("tag:{key}") }
}

/// One snapshot, as its manifest tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The manifest's identifier; a changed snapshot (pins, description) gets a new one.
    pub id: manifest::Id,
    /// Identity.
    pub source: Source,
    /// Free text.
    pub description: String,
    /// The snapshot's time.
    pub start_time: Timestamp,
    /// When it was finished.
    pub end_time: Timestamp,
    /// What the writer counted; informational.
    pub stats: Stats,
    /// Why it is incomplete (`checkpoint`, `canceled`, `limit reached`); `None` when complete.
    pub incomplete: Option<String>,
    /// The root.
    pub root: Entry,
    /// Tags; keys carry their `tag:` prefix.
    pub tags: BTreeMap<String, String>,
    /// Pins; any pin blocks expiry.
    pub pins: Vec<String>,
}

/// What an entry is. Kopia's format has no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A type letter this engine does not know.
    Unknown,
}

/// An entry as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Name, always UTF-8.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// POSIX permission bits with setuid, setgid, sticky.
    pub mode: u32,
    /// Length in bytes of a file, or of a symlink's target; 0 for directories.
    pub size: u64,
    /// Modification time (as recorded; Kopia restores a directory's newest time below instead).
    pub mtime: Time,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Where the bytes are.
    pub object: object::Id,
    /// Of directories: what lies below.
    pub summary: Option<Summary>,
}

/// What lies below a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Sum of the sizes of all files.
    pub size: u64,
    /// Files.
    pub files: u64,
    /// Symlinks.
    pub symlinks: u64,
    /// Directories, this one included.
    pub dirs: u64,
    /// Newest modification time below.
    pub max_time: Time,
    /// Why it is incomplete.
    pub incomplete: Option<String>,
    /// Entries that could not be stored.
    pub failed: u64,
    /// Entries that could not be stored, and whose error was ignored by policy.
    pub ignored: u64,
    /// The first ten failures: path and text.
    pub errors: Vec<(String, String)>,
}

/// Counters of one backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of all files in the snapshot.
    pub total_size: u64,
    /// Files hashed in this run.
    pub files: u64,
    /// Files taken over unread.
    pub files_cached: u64,
    /// Files read and hashed (Kopia counts them twice).
    pub files_hashed: u64,
    /// Directories.
    pub directories: u64,
    /// Entries that failed.
    pub errors: u64,
    /// Entries whose failure was ignored.
    pub errors_ignored: u64,
}

/// What the format cannot carry, of one entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Loss {
    /// The entry.
    pub path: Path,
    /// What is lost.
    pub kind: LossKind,
}

/// The things that Kopia's format cannot carry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LossKind {
    /// The entry shares an inode with an earlier path; it is stored as a file of its own.
    HardLink {
        /// The first path of the inode in this walk.
        same_as: Path,
    },
    /// Extended attributes or ACLs.
    ExtendedAttributes,
    /// A named pipe, left out.
    Fifo,
    /// A socket, left out.
    Socket,
    /// A character device, left out.
    CharDevice,
    /// A block device, left out.
    BlockDevice,
    /// Holes; they are stored and restored as zeros (or as holes wherever zeros are, if asked).
    Holes,
    /// The name is not UTF-8 and is stored with replacement characters.
    Name {
        /// The name as stored.
        stored: String,
    },
    /// The modification time does not fit the format.
    Time {
        /// The time as stored.
        stored: Time,
    },
}

/// Something that failed for one path while the operation went on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The entry.
    pub path: Path,
    /// What happened, in the system's words.
    pub error: String,
}

/// How to take a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct BackupOptions {
    /// Compressor of file data; `None` asks the policy.
    pub compression: Option<String>,
    /// Compressor of directories; `None` asks the policy.
    pub metadata_compression: Option<String>,
    /// Threads that hash, compress and seal; 1 works inline. The bytes do not depend on it.
    pub parallelism: usize,
    /// Tags, with or without their `tag:` prefix.
    pub tags: BTreeMap<String, String>,
    /// Pins.
    pub pins: Vec<String>,
    /// Free text.
    pub description: String,
    /// The snapshot's time; `None` is now.
    pub start_time: Option<Timestamp>,
    /// How often to store an incomplete snapshot; at most 45 minutes.
    pub checkpoint_interval: Duration,
    /// Read every file even if it looks unchanged.
    pub force_hash: bool,
    /// Stop at the first unreadable entry and store an incomplete snapshot (`canceled`).
    pub fail_fast: bool,
}

impl Default for BackupOptions {
    fn default() -> Self {
        Self {
            compression: None,
            metadata_compression: None,
            parallelism: 1,
            tags: BTreeMap::new(),
            pins: Vec::new(),
            description: String::new(),
            start_time: None,
            checkpoint_interval: Duration::from_mins(45),
            force_hash: false,
            fail_fast: false,
        }
    }
}

/// The outcome of a backup.
#[derive(Clone, Debug, PartialEq)]
pub struct Backup {
    /// The snapshot; when not `saved`, the identical one that exists already.
    pub snapshot: Snapshot,
    /// False only when the policy ignores identical snapshots and nothing changed.
    pub saved: bool,
    /// Bytes of new packs and indexes put into the store.
    pub bytes_written: u64,
    /// What the format could not carry.
    pub losses: Vec<Loss>,
    /// What could not be read. The snapshot is stored all the same, as Kopia does; a caller that calls
    /// this a success lies.
    pub errors: Vec<Failure>,
}

/// Damage found while reading a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The snapshot read.
    pub snapshot: manifest::Id,
    /// The path whose bytes are affected; of a directory: everything below.
    pub path: Path,
    /// The object of that path.
    pub object: object::Id,
    /// The damaged or missing content.
    pub content: Option<content::Id>,
    /// The pack it should be in.
    pub pack: Option<crate::blob::Id>,
    /// What is wrong.
    pub reason: String,
}
