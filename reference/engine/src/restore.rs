//! Restore: a snapshot becomes a tree again.
use crate::{
    snapshot::{Damage, Failure},
    tree::Path,
};

/// What to do where something lies already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Overwrite {
    /// Replace files and symlinks, enter directories.
    #[default]
    Replace,
    /// Leave files that have the same size and modification time (within 2 s), replace others.
    SkipSame,
    /// Fail.
    Refuse,
}

/// What to do about owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Owners {
    /// Set them; a refusal (EPERM) is noted as ignored and the restore goes on.
    #[default]
    IfPermitted,
    /// Set them; a refusal fails the restore.
    Require,
    /// Leave what the system gives.
    Skip,
}

/// Which modification time sub-directories get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DirectoryTimes {
    /// The recorded one.
    #[default]
    Recorded,
    /// The newest time below, as Kopia restores them.
    Newest,
}

/// What to do about damaged data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Damaged {
    /// Fail at the first damaged object.
    #[default]
    Fail,
    /// Leave the damaged path out, restore the rest, and name it in the outcome.
    Continue,
}

/// How to restore.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreOptions {
    /// What to do where something lies already.
    pub overwrite: Overwrite,
    /// Write zeros as holes.
    pub sparse: bool,
    /// Write each file under another name, then rename it.
    pub atomic: bool,
    /// What to do about owners.
    pub owners: Owners,
    /// What to do about damaged data.
    pub damaged: Damaged,
    /// Which times sub-directories get.
    pub directory_times: DirectoryTimes,
    /// Remove what the snapshot does not hold.
    pub delete_extra: bool,
}

/// The outcome of a restore. It exists only if the final sync succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Files written.
    pub files: u64,
    /// Directories made or entered.
    pub directories: u64,
    /// Symlinks written.
    pub symlinks: u64,
    /// Bytes of files written.
    pub bytes: u64,
    /// Left as they were ([`Overwrite::SkipSame`]).
    pub skipped: Vec<Path>,
    /// Tolerated failures, such as refused owners.
    pub ignored: Vec<Failure>,
    /// Exactly the paths that did not come back ([`Damaged::Continue`]).
    pub damaged: Vec<Damage>,
}

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
    Size { /** As stored. */ expected: u64, /** As found. */ found: u64 },
    /// Bytes differ; the first chunk that differs.
    Content { /** First byte of the chunk. */ offset: u64, /** Its length. */ length: u64, /** Whether it reads as zeros. */ is_zeros: bool },
    /// The symlink points elsewhere.
    Target,
    /// It cannot be read.
    Unreadable { /** The system's words. */ error: String },
    /// The repository's own data about it cannot be read.
    Damaged { /** What is wrong. */ error: String },
}
