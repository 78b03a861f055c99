//! Trees as data: what a volume holds, said in one line, and how a workload changes it.
//!
//! A [`TreeSpec`] is a promise about a tree, not the tree: whoever fills a volume derives every name, byte,
//! time and attribute from the spec and its seed alone, so that the same spec means the same tree in every
//! process. Sizes are in bytes and add up to `bytes` exactly (hard links count once, holes count in full).
//! It holds no file content and knows no file system. Read `testbed::volume` for the side that fills.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::quantity::ByteSize;

/// What a volume holds.
///
/// # Units and shape
/// `files` regular files (names of one hard-linked file count once) that hold `size` bytes together;
/// directories and specials come on top. Zero files is an empty volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeSpec {
    /// How many regular files.
    pub files: u32,
    /// How many bytes they hold together.
    pub size: ByteSize,
    /// Everything random in the tree comes from it.
    #[serde(default)]
    pub seed: u64,
    /// What the tree holds besides plain files and directories.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub with: BTreeSet<Special>,
    /// Who owns the files; the user the workload runs as. 0:0 if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
}

impl TreeSpec {
    /// A plain tree of `files` files and `bytes` bytes.
    pub fn plain(files: u32, bytes: u64, seed: u64) -> Self {
        Self { files, size: ByteSize(bytes), seed, with: BTreeSet::new(), owner: None }
    }

    /// A tree that holds nothing.
    pub fn empty() -> Self {
        Self::plain(0, 0, 0)
    }

    /// Adds a special.
    #[must_use]
    pub fn with(mut self, special: Special) -> Self {
        self.with.insert(special);
        self
    }

    /// Sets the owner.
    #[must_use]
    pub fn owned_by(mut self, uid: u32, gid: u32) -> Self {
        self.owner = Some(Owner { uid, gid });
        self
    }
}

/// A user and a group by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// What makes a tree hard to back up. Each adds at least one entry that shows it (given at least one
/// file, where it needs one).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Special {
    /// Files with several names.
    HardLinks,
    /// Sparse files: holes at the start, in the middle and at the end.
    Holes,
    /// Symbolic links: relative, absolute, dangling, to a directory.
    Symlinks,
    /// Names of raw bytes that are no UTF-8, of 255 bytes, with spaces, quotes, newlines.
    OddNames,
    /// Extended attributes.
    Xattrs,
    /// Access control lists.
    Acls,
    /// Character and block devices.
    Devices,
    /// Named pipes and sockets.
    Pipes,
    /// Directories without entries.
    EmptyDirectories,
    /// Files without bytes.
    EmptyFiles,
    /// Paths many directories deep.
    DeepPaths,
    /// Set-user-id, set-group-id and sticky bits, unreadable modes.
    OddModes,
    /// Modification times before 1970, in the future, and with odd nanoseconds.
    OddTimes,
    /// Files of several owners.
    ManyOwners,
    /// One large file that a database writes in pages.
    Database,
    /// Bytes that do not compress.
    Noise,
    /// Files of equal content.
    Duplicates,
}

impl Special {
    /// All of them, in order.
    pub const ALL: [Self; 17] = [
        Self::HardLinks,
        Self::Holes,
        Self::Symlinks,
        Self::OddNames,
        Self::Xattrs,
        Self::Acls,
        Self::Devices,
        Self::Pipes,
        Self::EmptyDirectories,
        Self::EmptyFiles,
        Self::DeepPaths,
        Self::OddModes,
        Self::OddTimes,
        Self::ManyOwners,
        Self::Database,
        Self::Noise,
        Self::Duplicates,
    ];

    /// How a user says it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::HardLinks => "hard links",
            Self::Holes => "holes",
            Self::Symlinks => "symlinks",
            Self::OddNames => "odd names",
            Self::Xattrs => "extended attributes",
            Self::Acls => "access control lists",
            Self::Devices => "devices",
            Self::Pipes => "pipes",
            Self::EmptyDirectories => "empty directories",
            Self::EmptyFiles => "empty files",
            Self::DeepPaths => "deep paths",
            Self::OddModes => "odd modes",
            Self::OddTimes => "odd times",
            Self::ManyOwners => "many owners",
            Self::Database => "a database",
            Self::Noise => "noise",
            Self::Duplicates => "duplicates",
        }
    }
}

impl fmt::Display for Special {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl FromStr for Special {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|special| special.words() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|special| special.words()).collect();
            format!("{text:?} is nothing a tree can hold; known are: {}", known.join(", "))
        })
    }
}

/// How a workload changes a tree between two moments.
///
/// # Units and shape
/// Counts of files; never more is changed or removed than is there. What is changed keeps its name and
/// owner and gets new bytes (of the same length on average) and a new modification time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct ChangeSpec {
    /// How many files get new bytes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub changed: u32,
    /// How many files come new.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub added: u32,
    /// How many files go.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub removed: u32,
    /// Everything random comes from it, and from nothing else.
    #[serde(default)]
    pub seed: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}
