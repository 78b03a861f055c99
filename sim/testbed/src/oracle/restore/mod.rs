//! Compares a tree that was read back with what the bed wrote, attribute by attribute.
//!
//! Fourteen attributes: bytes, type, mode, uid, gid, mtime in nanoseconds, extended attributes, ACLs,
//! hard-link classes, symlink targets, hole maps, special files, raw names, directory mtimes; and that
//! nothing is missing, too much or unreadable. What the format in use cannot carry ([`Carries`]) is
//! reported as a declared loss, with counts and examples, never silently and never as a difference.
//! Output is bounded: the first differences, and all counts.
//!
//! # Does not check
//! atime, ctime and birth time; the modes of symlinks; how blocks are allocated beyond the hole map;
//! whether the restored snapshot was the right one (the caller chooses the ledger entry).
mod compare;
mod read_back;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

pub use compare::compare;
pub use read_back::{Found, Observe, ReadBack};

use crate::{
    ledger::Entry,
    volume::{MountOptions, Volume},
};

/// Reads a volume back through a fresh mount of its own and compares it with what the bed wrote.
pub fn judge(volume: &Volume, expected: &Entry, carries: Carries) -> Report {
    let mount = volume.mount(MountOptions::new("oracle").read_only(true));
    compare(expected, &ReadBack::of(&mount), carries)
}

/// What is compared, and what can be wrong with a path as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attribute {
    /// The path is not there.
    Missing,
    /// The path was not there.
    Extra,
    /// The path cannot be read.
    Unreadable,
    /// File content.
    Bytes,
    /// File, directory or symlink.
    Type,
    /// Permission bits with setuid, setgid and sticky.
    Mode,
    /// Owner.
    Uid,
    /// Group.
    Gid,
    /// Modification time of files and symlinks.
    Mtime,
    /// Extended attributes.
    Xattrs,
    /// Access control lists.
    Acls,
    /// Which names are one file.
    HardLinks,
    /// A symlink's target.
    Target,
    /// A file's holes.
    Holes,
    /// Devices, pipes, sockets.
    SpecialFiles,
    /// Names as raw bytes.
    RawNames,
    /// Modification time of directories.
    DirectoryMtimes,
}

impl Attribute {
    /// The fourteen attributes of the promise, in its order.
    pub const PROMISED: [Self; 14] = [
        Self::Bytes,
        Self::Type,
        Self::Mode,
        Self::Uid,
        Self::Gid,
        Self::Mtime,
        Self::Xattrs,
        Self::Acls,
        Self::HardLinks,
        Self::Target,
        Self::Holes,
        Self::SpecialFiles,
        Self::RawNames,
        Self::DirectoryMtimes,
    ];
    /// How a report says it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "too much",
            Self::Unreadable => "unreadable",
            Self::Bytes => "bytes",
            Self::Type => "type",
            Self::Mode => "mode",
            Self::Uid => "uid",
            Self::Gid => "gid",
            Self::Mtime => "mtime",
            Self::Xattrs => "extended attributes",
            Self::Acls => "ACLs",
            Self::HardLinks => "hard links",
            Self::Target => "symlink target",
            Self::Holes => "holes",
            Self::SpecialFiles => "special files",
            Self::RawNames => "raw names",
            Self::DirectoryMtimes => "directory mtime",
        }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// What a format cannot carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Hard links come back as separate files.
    HardLinks,
    /// Holes come back filled, or zeros as holes.
    Holes,
    /// Extended attributes are absent.
    Xattrs,
    /// ACLs are absent.
    Acls,
    /// Devices, pipes and sockets are absent.
    SpecialFiles,
    /// Directories below the root carry the newest time beneath them.
    DirectoryMtimes,
    /// Symlink times lose what is below a microsecond.
    SymlinkMtimes,
    /// Names that are no UTF-8 are replaced or absent.
    RawNames,
    /// Times beyond 1677 to 2262.
    FarTimes,
    /// Owner, mode and time of the mount point itself, which belong to the provisioner and kubelet.
    MountPoint,
}

impl Loss {
    /// How a report says it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::HardLinks => "hard links came back as separate files",
            Self::Holes => "hole maps differ, bytes are equal",
            Self::Xattrs => "extended attributes are not carried",
            Self::Acls => "ACLs are not carried",
            Self::SpecialFiles => "devices, pipes and sockets are not carried",
            Self::DirectoryMtimes => "directories carry the newest time beneath them",
            Self::SymlinkMtimes => "symlink times are carried to the microsecond",
            Self::RawNames => "names that are not UTF-8 are not carried",
            Self::FarTimes => "times before 1677 or after 2262 are not carried",
            Self::MountPoint => "owner, mode and time of the mount point are the cluster's",
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// What the format in use carries. What it does not carry may be lost, as declared, and no other way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one property of a format")]
pub struct Carries {
    /// Hard-link classes.
    pub hard_links: bool,
    /// Hole maps.
    pub holes: bool,
    /// Extended attributes.
    pub xattrs: bool,
    /// ACLs.
    pub acls: bool,
    /// Devices, pipes, sockets.
    pub special_files: bool,
    /// Every directory's own time.
    pub directory_mtimes: bool,
    /// Nanoseconds of symlinks.
    pub symlink_nanoseconds: bool,
    /// Names that are not UTF-8.
    pub raw_names: bool,
    /// Times that do not fit 64 bits of nanoseconds.
    pub far_times: bool,
    /// The mount point's own attributes.
    pub mount_point: bool,
}

impl Carries {
    /// A perfect copy.
    pub const fn everything() -> Self {
        Self {
            hard_links: true,
            holes: true,
            xattrs: true,
            acls: true,
            special_files: true,
            directory_mtimes: true,
            symlink_nanoseconds: true,
            raw_names: true,
            far_times: true,
            mount_point: true,
        }
    }
    /// Kopia's format.
    pub const fn kopia() -> Self {
        Self {
            hard_links: false,
            holes: false,
            xattrs: false,
            acls: false,
            special_files: false,
            directory_mtimes: false,
            symlink_nanoseconds: false,
            raw_names: false,
            far_times: false,
            mount_point: true,
        }
    }
    /// Without the attributes of the mount point, which a mover without privileges cannot set.
    #[must_use]
    pub const fn without_mount_point(mut self) -> Self {
        self.mount_point = false;
        self
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The path, as a lossy text.
    pub path: String,
    /// What differs.
    pub attribute: Attribute,
    /// What the bed wrote.
    pub expected: String,
    /// What was read back.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: expected {}, found {}", self.path, self.attribute, self.expected, self.found)
    }
}

/// How often a loss occurred, with the first paths.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// How often.
    pub count: u64,
    /// The first few paths.
    pub examples: Vec<String>,
}

/// The outcome of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Paths compared, the root included.
    pub paths: u64,
    /// Regular files whose bytes were compared.
    pub files: u64,
    /// Bytes compared.
    pub bytes: u64,
    /// The first differences, in order of path.
    pub differences: Vec<Difference>,
    /// How many differences there are of each kind, those not listed included.
    pub counts: BTreeMap<Attribute, u64>,
    /// What the format does not carry and was lost.
    pub losses: BTreeMap<Loss, Tally>,
}

/// How many differences a report lists.
pub const DIFFERENCES_LISTED: usize = 20;
/// How many examples a loss lists.
const EXAMPLES_LISTED: usize = 3;

impl Report {
    /// Whether everything came back, declared losses excepted.
    pub fn is_equal(&self) -> bool {
        self.counts.is_empty()
    }
    /// How many differences there are.
    pub fn differing(&self) -> u64 {
        self.counts.values().sum()
    }
    fn differ(
        &mut self,
        path: &dyn fmt::Display,
        attribute: Attribute,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) {
        *self.counts.entry(attribute).or_default() += 1;
        if self.differences.len() < DIFFERENCES_LISTED {
            let (path, expected, found) = (path.to_string(), expected.into(), found.into());
            self.differences.push(Difference { path, attribute, expected, found });
        }
    }
    fn lose(&mut self, path: &dyn fmt::Display, loss: Loss) {
        let tally = self.losses.entry(loss).or_default();
        tally.count += 1;
        if tally.examples.len() < EXAMPLES_LISTED {
            tally.examples.push(path.to_string());
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} paths, {} files, {} bytes compared: ", self.paths, self.files, self.bytes)?;
        if self.is_equal() {
            write!(f, "equal")?;
        } else {
            let counts: Vec<String> =
                self.counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
            write!(f, "{}", counts.join(", "))?;
        }
        for difference in &self.differences {
            write!(f, "\n  {difference}")?;
        }
        let listed = self.differences.len() as u64;
        if self.differing() > listed {
            write!(f, "\n  and {} more", self.differing() - listed)?;
        }
        for (loss, tally) in &self.losses {
            write!(f, "\n  declared: {loss} ({}, such as {})", tally.count, tally.examples.join(", "))?;
        }
        Ok(())
    }
}
