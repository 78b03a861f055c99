//! Restore: a snapshot becomes a tree again.
//!
//! Directories are entered, children restored, then owner, mode and time set, children before parents. It
//! promises to end well only if the tree's final sync did. A damaged file is left out rather than left
//! half. It does not compare what it wrote with what can be read; [`crate::read_back`] does.

use std::{future::Future, io, pin::Pin};

use crate::{
    content::committed::Contents,
    error::Error,
    manifest,
    monitor::{Event, Monitor},
    object,
    snapshot::{Damage, Entry, EntryKind, Failure, Snapshot, document::read_directory},
    tree::{self, Kind, Path, WriteTree},
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

/// One restore.
pub(crate) struct Writer<'a> {
    contents: &'a Contents,
    snapshot: &'a Snapshot,
    into: &'a dyn WriteTree,
    options: &'a RestoreOptions,
    monitor: &'a dyn Monitor,
    outcome: Restored,
    /// Numbers the temporary names.
    temporary: u64,
}

/// Runs of zeros of at least this length become holes.
const HOLE_BYTES: usize = 4096;

impl<'a> Writer<'a> {
    pub(crate) fn new(
        contents: &'a Contents,
        snapshot: &'a Snapshot,
        into: &'a dyn WriteTree,
        options: &'a RestoreOptions,
        monitor: &'a dyn Monitor,
    ) -> Self {
        Self { contents, snapshot, into, options, monitor, outcome: Restored::default(), temporary: 0 }
    }

    pub(crate) async fn run(mut self, at: &Path) -> Result<Restored, Error> {
        let entry = snapshot_entry(self.contents, self.snapshot, at).await?;
        let root = Path::root();
        if entry.kind == EntryKind::Directory {
            self.directory(root, entry, true).await?;
        } else {
            let path = root.join(entry.name.as_bytes());
            self.other(&path, &entry).await?;
        }
        self.into.sync().map_err(|source| failed("sync", &Path::root(), source))?;
        Ok(self.outcome)
    }

    /// Damage is noted or returned, as the options say; every other error is returned.
    fn damaged(&mut self, path: &Path, entry: &Entry, error: Error) -> Result<(), Error> {
        if self.options.damaged == Damaged::Fail || !error.is_damage() {
            return Err(error);
        }
        let damage = damage(&self.snapshot.id, path.clone(), entry.object, &error);
        self.monitor.event(Event::Failed(&Failure { path: path.clone(), error: damage.reason.clone() }));
        self.outcome.damaged.push(damage);
        Ok(())
    }

    fn directory<'w>(
        &'w mut self,
        path: Path,
        entry: Entry,
        is_root: bool,
    ) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'w>> {
        Box::pin(async move {
            let entries = match read_entries(self.contents, entry.object).await {
                Ok(entries) => entries,
                // A root that cannot be read leaves nothing to restore.
                Err(error) if is_root => return Err(error),
                Err(error) => return self.damaged(&path, &entry, error),
            };
            if !is_root {
                if let Some(found) = self.existing(&path)?
                    && found.kind != Kind::Directory
                {
                    if self.options.overwrite == Overwrite::Refuse {
                        return Err(exists(&path));
                    }
                    self.into.remove_file(&path).map_err(|source| failed("remove", &path, source))?;
                }
                self.into
                    .create_dir(&path, 0o700)
                    .map_err(|source| failed("create directory", &path, source))?;
            }
            if self.options.delete_extra {
                self.remove_extra(&path, &entries)?;
            }
            for child in entries {
                if self.monitor.cancelled() {
                    return Err(Error::Cancelled);
                }
                let child_path = path.join(child.name.as_bytes());
                if child.kind == EntryKind::Directory {
                    self.directory(child_path, child, false).await?;
                } else {
                    self.other(&child_path, &child).await?;
                }
            }
            self.outcome.directories += 1;
            let newest = entry.summary.as_ref().map(|summary| summary.max_time);
            let mtime = match self.options.directory_times {
                DirectoryTimes::Newest if !is_root => newest.unwrap_or(entry.mtime),
                _ => entry.mtime,
            };
            self.attributes(&path, &Entry { mtime, ..entry })
        })
    }

    fn existing(&self, path: &Path) -> Result<Option<tree::Entry>, Error> {
        match self.into.entry(path) {
            Ok(entry) => Ok(Some(entry)),
            Err(absent) if absent.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(failed("describe", path, source)),
        }
    }

    fn remove_extra(&self, path: &Path, entries: &[Entry]) -> Result<(), Error> {
        let found = self.into.read_dir(path).map_err(|source| failed("list", path, source))?;
        for extra in found {
            if !entries.iter().any(|entry| entry.name.as_bytes() == extra.name) {
                self.remove(&path.join(&extra.name), &extra)?;
            }
        }
        Ok(())
    }
    fn remove(&self, path: &Path, entry: &tree::Entry) -> Result<(), Error> {
        if entry.kind != Kind::Directory {
            return self.into.remove_file(path).map_err(|source| failed("remove", path, source));
        }
        for child in self.into.read_dir(path).map_err(|source| failed("list", path, source))? {
            self.remove(&path.join(&child.name), &child)?;
        }
        self.into.remove_dir(path).map_err(|source| failed("remove", path, source))
    }

    /// Restores a file or symlink.
    async fn other(&mut self, path: &Path, entry: &Entry) -> Result<(), Error> {
        if let Some(found) = self.existing(path)? {
            match self.options.overwrite {
                Overwrite::Refuse => return Err(exists(path)),
                Overwrite::SkipSame if is_same(&found, entry) => {
                    self.outcome.skipped.push(path.clone());
                    return Ok(());
                }
                _ if found.kind == Kind::Directory => return Err(exists(path)),
                // Writing through another name of the inode would change that name's bytes too.
                _ if found.kind != Kind::File || entry.kind != EntryKind::File || found.links > 1 => {
                    self.into.remove_file(path).map_err(|source| failed("remove", path, source))?;
                }
                _ => {}
            }
        }
        match entry.kind {
            EntryKind::Symlink => match object::read(self.contents, entry.object).await {
                Ok(target) => {
                    self.into
                        .create_symlink(path, &target)
                        .map_err(|source| failed("create symlink", path, source))?;
                    self.outcome.symlinks += 1;
                    self.monitor.event(Event::Restored { path, bytes: 0 });
                }
                Err(error) => return self.damaged(path, entry, error),
            },
            EntryKind::File => {
                let target = if self.options.atomic {
                    self.temporary += 1;
                    let parent = path.parent().unwrap_or_default();
                    parent.join(format!(".kopia-restore-{}", self.temporary).as_bytes())
                } else {
                    path.clone()
                };
                if let Err(error) = self.file(&target, entry).await {
                    if error.is_damage() {
                        // Half a file under its own name would look whole.
                        self.into.remove_file(&target).map_err(|source| failed("remove", &target, source))?;
                    }
                    return self.damaged(path, entry, error);
                }
                self.attributes(&target, entry)?;
                if self.options.atomic {
                    self.into.rename(&target, path).map_err(|source| failed("rename", path, source))?;
                }
                self.outcome.files += 1;
                self.outcome.bytes += entry.size;
                self.monitor.event(Event::Restored { path, bytes: entry.size });
                return Ok(());
            }
            EntryKind::Directory | EntryKind::Unknown => {
                let error = "an entry of unknown type was left out".to_owned();
                self.outcome.ignored.push(Failure { path: path.clone(), error });
                return Ok(());
            }
        }
        self.attributes(path, entry)
    }

    async fn file(&self, path: &Path, entry: &Entry) -> Result<(), Error> {
        let mut file = self.into.create_file(path, 0o600).map_err(|source| failed("create", path, source))?;
        let write = |source| failed("write", path, source);
        // As Kopia: the length first. An object that is shorter than its entry says leaves zeros.
        file.set_len(entry.size).map_err(write)?;
        for chunk in object::chunks(self.contents, entry.object).await? {
            let data = object::read_chunk(self.contents, &chunk, false).await?;
            if self.options.sparse {
                let mut offset = chunk.start;
                for block in data.chunks(HOLE_BYTES) {
                    if block.iter().any(|byte| *byte != 0) {
                        file.write_at(offset, block).map_err(write)?;
                    }
                    offset += block.len() as u64;
                }
            } else {
                file.write_at(chunk.start, &data).map_err(write)?;
            }
        }
        file.finish().map_err(|source| failed("close", path, source))
    }

    /// Owner first (it clears setuid), then mode, then time.
    fn attributes(&mut self, path: &Path, entry: &Entry) -> Result<(), Error> {
        let found = self.into.entry(path).map_err(|source| failed("describe", path, source))?;
        if self.options.owners != Owners::Skip && (found.uid, found.gid) != (entry.uid, entry.gid) {
            match self.into.set_owner(path, entry.uid, entry.gid) {
                Err(refused)
                    if refused.kind() == io::ErrorKind::PermissionDenied
                        && self.options.owners == Owners::IfPermitted =>
                {
                    let error = format!("owner {}:{} not set: {refused}", entry.uid, entry.gid);
                    self.outcome.ignored.push(Failure { path: path.clone(), error });
                }
                other => other.map_err(|source| failed("set owner of", path, source))?,
            }
        }
        if entry.kind != EntryKind::Symlink {
            match self.into.set_mode(path, entry.mode) {
                Err(refused)
                    if refused.kind() == io::ErrorKind::PermissionDenied
                        && self.options.owners == Owners::IfPermitted =>
                {
                    let error = format!("mode {:o} not set: {refused}", entry.mode);
                    self.outcome.ignored.push(Failure { path: path.clone(), error });
                }
                other => other.map_err(|source| failed("set mode of", path, source))?,
            }
        }
        match self.into.set_mtime(path, entry.mtime) {
            Err(refused)
                if refused.kind() == io::ErrorKind::PermissionDenied
                    && self.options.owners == Owners::IfPermitted =>
            {
                self.outcome
                    .ignored
                    .push(Failure { path: path.clone(), error: format!("time not set: {refused}") });
                Ok(())
            }
            other => other.map_err(|source| failed("set time of", path, source)),
        }
    }
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Tree { operation, path: path.clone(), source }
}

fn exists(path: &Path) -> Error {
    failed("restore over", path, io::ErrorKind::AlreadyExists.into())
}

/// Whether a file needs no restoring: same size, and time within two seconds.
fn is_same(found: &tree::Entry, entry: &Entry) -> bool {
    const CLOSE_NANOS: i128 = 2_000_000_000;
    let is_close = (found.mtime.as_nanos() - entry.mtime.as_nanos()).abs() < CLOSE_NANOS;
    found.kind == Kind::File && entry.kind == EntryKind::File && found.size == entry.size && is_close
}

/// The entries of a directory object.
pub(crate) async fn read_entries(contents: &Contents, object: object::Id) -> Result<Vec<Entry>, Error> {
    let bytes = object::read(contents, object).await?;
    Ok(read_directory(object, &bytes)?.0)
}

/// The entry at a path within a snapshot.
pub(crate) async fn snapshot_entry(
    contents: &Contents,
    snapshot: &Snapshot,
    at: &Path,
) -> Result<Entry, Error> {
    let mut entry = snapshot.root.clone();
    if at.is_root() {
        return Ok(entry);
    }
    for name in at.as_bytes().split(|byte| *byte == b'/') {
        let missing = || Error::MissingPath { path: at.clone() };
        if entry.kind != EntryKind::Directory {
            return Err(missing());
        }
        let entries = read_entries(contents, entry.object).await?;
        entry = entries.into_iter().find(|entry| entry.name.as_bytes() == name).ok_or_else(missing)?;
    }
    Ok(entry)
}

/// An error, told as damage of a path.
pub(crate) fn damage(snapshot: &manifest::Id, path: Path, object: object::Id, error: &Error) -> Damage {
    let (content, pack) = error.place();
    Damage {
        snapshot: snapshot.clone(),
        path,
        object,
        content,
        pack: pack.cloned(),
        reason: error.to_string(),
    }
}
