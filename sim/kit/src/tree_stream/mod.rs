//! Trees as a stream: what travels between a bed and the `kit hand` in a pod.
//!
//! Carries everything that the oracle compares: type, bytes, hole map, mode, owner, group, mtime to the
//! nanosecond (directories' too), extended attributes with ACLs among them, classes of hard links, symlink
//! targets, special files, raw names. A stream that was cut off, altered or given up by its writer is an
//! error, never a shorter tree. It touches no file system: `kit hand` does, and a bed turns its own trees into
//! [`Item`]s. It does not carry ctime, atime, inode numbers, or quotas.
//!
//! # Format, version 1
//! A stream is lines of JSON, each ended by one `\n`; only a file's line is followed by raw bytes.
//!
//! | line | meaning |
//! |---|---|
//! | `{"firedrill-tree":1,"scope":"whole"}` | the head; `whole`: what is not named goes away, `changes`: it stays |
//! | `{"put":{"path":…,"node":…,"attributes":…}}` | makes or replaces one entry; for a file, the bytes of its extents follow, joined |
//! | `{"remove":{"path":…}}` | takes an entry away, with all below it; nothing there is fine |
//! | `{"end":{"items":N,"bytes":N,"sha256":"…"}}` | the tail: lines between head and tail, raw bytes, and the digest of all before this line |
//! | `{"failed":{"reason":"…"}}` | instead of the tail: the writer could not go on |
//!
//! Paths are relative, of raw bytes joined by `/`, empty for the root, never with `.` or `..`; parents come
//! before children, the first name of a hard-linked file before the links to it. Raw bytes in JSON are a string
//! where they are UTF-8, and `{"base64":"…"}` where they are not.
mod raw;
mod read;
mod write;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use raw::Raw;
pub use read::Reader;
pub use write::Writer;

/// The version this code speaks.
pub const VERSION: u32 = 1;
/// The longest line a reader takes: extended attributes may be 64 KiB each, and extents many.
pub const LINE_BYTES_MAX: usize = 64 << 20;

/// Whether a stream tells a whole tree or changes to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// What the stream does not name is not in the tree.
    Whole,
    /// What the stream does not name stays as it is.
    Changes,
}

/// A time of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Time {
    /// Seconds since 1970-01-01T00:00:00Z; may be negative.
    pub seconds: i64,
    /// Nanoseconds within the second, `0..1_000_000_000`.
    pub nanoseconds: u32,
}

/// What an entry has whatever its type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attributes {
    /// Permission bits with setuid, setgid and sticky (`0o7777`); `0o777` for symlinks.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Time,
    /// Extended attributes by raw name, ACLs (`system.posix_acl_*`) among them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", with = "raw::map")]
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A run of stored bytes; what lies between runs is a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub struct Extent {
    /// First byte.
    pub at: u64,
    /// How many bytes, at least one.
    pub length: u64,
}

impl From<(u64, u64)> for Extent {
    fn from((at, length): (u64, u64)) -> Self {
        Self { at, length }
    }
}

impl From<Extent> for (u64, u64) {
    fn from(extent: Extent) -> Self {
        (extent.at, extent.length)
    }
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Node {
    /// A regular file; the bytes of its extents travel behind the line.
    File {
        /// Its length, holes included.
        size: u64,
        /// Its stored runs: in order, apart from each other, within the size.
        extents: Vec<Extent>,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// Its raw target.
        target: Raw,
    },
    /// Another name of an entry that came before; the attributes repeat those of that entry.
    HardLink {
        /// The path of that entry.
        to: Raw,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

impl Node {
    /// How many raw bytes follow the line.
    pub fn stored_bytes(&self) -> u64 {
        match self {
            Self::File { extents, .. } => extents.iter().map(|extent| extent.length).sum(),
            _ => 0,
        }
    }
}

/// One entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Where it is, relative to the tree's root; empty for the root.
    pub path: Raw,
    /// What it is.
    pub node: Node,
    /// What it has.
    pub attributes: Attributes,
}

/// What a stream says about one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// The entry is there, so.
    Put(Entry),
    /// Nothing is there.
    Remove(Raw),
}

/// What a finished stream held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Items between head and tail.
    pub items: u64,
    /// Raw bytes of files.
    pub bytes: u64,
    /// SHA-256 of everything before the tail, in hex.
    pub sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    #[serde(rename = "firedrill-tree")]
    version: u32,
    scope: Scope,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Line {
    Put(Entry),
    Remove { path: Raw },
    End(Summary),
    Failed { reason: String },
}

/// Why a stream could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pipe broke, or the disk did.
    #[error("failed to {doing} the tree stream at byte {at}")]
    Transfer {
        /// `read` or `write`.
        doing: &'static str,
        /// Bytes passed so far.
        at: u64,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The stream ends before its tail.
    #[error(
        "the tree stream ends at byte {at} without its tail: the writer died or the connection was cut; run it again"
    )]
    CutOff {
        /// Bytes read.
        at: u64,
    },
    /// A line is not what the format says.
    #[error("the tree stream is malformed at byte {at}: {what}")]
    Malformed {
        /// Where the line begins.
        at: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The head names another version.
    #[error(
        "the tree stream has version {found}, this program speaks {VERSION}; use the same build on both ends"
    )]
    Version {
        /// The version found.
        found: u32,
    },
    /// The writer gave up and said why.
    #[error("the other end could not send the whole tree: {reason}")]
    GivenUp {
        /// What it said.
        reason: String,
    },
    /// Counts or digest of the tail do not fit what came.
    #[error("the tree stream was altered on its way: {what} differs from what its tail says")]
    Altered {
        /// `digest`, `items` or `bytes`.
        what: &'static str,
    },
    /// An entry breaks a rule of the format, on the writing side.
    #[error("the entry {path} cannot be sent: {what}")]
    Unsound {
        /// Its path.
        path: String,
        /// The rule.
        what: &'static str,
    },
    /// A file gave more or fewer bytes than its extents say.
    #[error("{path} has {found} bytes where {expected} were announced: it changed while it was read")]
    Changed {
        /// Its path.
        path: String,
        /// Bytes announced.
        expected: u64,
        /// Bytes that came.
        found: u64,
    },
}

/// The rule an entry breaks, if any.
fn unsound(entry: &Entry) -> Option<&'static str> {
    if let Some(what) = unsound_path(&entry.path) {
        return Some(what);
    }
    if entry.path.is_empty() && entry.node != Node::Directory {
        return Some("the root must be a directory");
    }
    if entry.attributes.mtime.nanoseconds >= 1_000_000_000 {
        return Some("its mtime has more than a second of nanoseconds");
    }
    if entry.attributes.mode > 0o7777 {
        return Some("its mode has more than the permission bits");
    }
    match &entry.node {
        Node::HardLink { to } => {
            unsound_path(to).or_else(|| (to == &entry.path).then_some("it is a link to itself"))
        }
        Node::File { size, extents } => {
            let mut end = 0;
            for (nth, extent) in extents.iter().enumerate() {
                let Some(next) = extent.at.checked_add(extent.length) else {
                    return Some("an extent ends beyond all numbers");
                };
                if extent.length == 0 {
                    return Some("an extent is empty");
                }
                if nth > 0 && extent.at <= end {
                    return Some("its extents touch, overlap or are out of order");
                }
                end = next;
            }
            (end > *size).then_some("an extent ends beyond its size")
        }
        _ => None,
    }
}

/// The rule a path breaks, if any.
fn unsound_path(path: &Raw) -> Option<&'static str> {
    let bytes = path.as_bytes();
    if bytes.is_empty() {
        return None;
    }
    if bytes.contains(&0) {
        return Some("its path holds a NUL byte");
    }
    let sound = bytes.split(|byte| *byte == b'/').all(|name| !matches!(name, b"" | b"." | b".."));
    (!sound).then_some("its path is absolute, or holds `.`, `..` or an empty name")
}

#[cfg(test)]
mod tests;
