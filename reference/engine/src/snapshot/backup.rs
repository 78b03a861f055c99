//! Taking a snapshot: walk a tree, store what is new, take over what is unchanged.
//!
//! A file is taken over unread when an earlier snapshot of the source has it at the same path with the same
//! time, mode, owner and size, and its content is still live. An unreadable entry does not stop the walk: it
//! is left out, counted in the summaries, and told in the outcome. What the format cannot carry is told as a
//! loss. Ignore rules of policies are not applied: this engine stores everything.

use std::{collections::BTreeMap, future::Future, io::Read as _, pin::Pin};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::{
    Backup, BackupOptions, Entry, EntryKind, Failure, Loss, LossKind, Snapshot, Source, Stats, Summary,
    document::{read_directory, storable, write_directory, write_snapshot},
};
use crate::{
    compress::Compressor,
    content::{
        self,
        committed::Contents,
        session::{Piece, Session},
    },
    error::Error,
    manifest::{self, Manifests},
    monitor::{Event, Monitor},
    object::{self, WriteOptions},
    policy::Policy,
    split::Splitter,
    tree::{self, Kind, Path, ReadTree},
};

/// Bytes gathered before hashing, compressing and sealing them together.
const BATCH_BYTES: u64 = 16 << 20;
/// Pieces gathered at most.
const BATCH_PIECES: usize = 512;
/// Bytes read from a file at once.
const READ_BYTES: usize = 256 << 10;
/// Kopia's longest time between checkpoints; see section 10.1 of the format for why it matters.
const CHECKPOINT_SECONDS_MAX: i64 = 45 * 60;
/// Failures named in a summary.
const ERRORS_MAX: usize = 10;

/// What the policy says about storing, looked up once.
#[derive(Clone, Debug)]
pub struct Storing {
    policy: Policy,
    compressor: Option<Compressor>,
    file: WriteOptions,
    directory: WriteOptions,
    symlink: WriteOptions,
    parallel_above: u64,
}

impl Storing {
    /// Resolves names of algorithms.
    ///
    /// # Errors
    /// [`Error::UnsupportedFeature`] naming what this engine cannot write with.
    pub fn new(contents: &Contents, policy: &Policy, options: &BackupOptions) -> Result<Self, Error> {
        const PARALLEL_ABOVE: u64 = 2 << 30;
        let name = options
            .compression
            .as_deref()
            .or(policy.compression.compressor_name.as_deref())
            .unwrap_or("none");
        let metadata_name = options
            .metadata_compression
            .as_deref()
            .or(policy.metadata_compression.compressor_name.as_deref())
            .unwrap_or("zstd-fastest");
        let (compressor, metadata) = (Compressor::named(name)?, Compressor::named(metadata_name)?);
        let repository = Splitter::named(&contents.secrets.format.splitter)?;
        let splitter = policy
            .splitter
            .algorithm
            .as_deref()
            .filter(|name| !name.is_empty())
            .map_or(Ok(repository), Splitter::named)?;
        let parallel_above =
            policy.other.get("upload").and_then(|upload| upload.get("parallelUploadAboveSize"));
        let symlink =
            WriteOptions { prefix: None, splitter: repository, compressor: None, list_compressor: metadata };
        Ok(Self {
            policy: policy.clone(),
            compressor,
            file: WriteOptions { splitter, ..symlink },
            directory: WriteOptions { prefix: Some(b'k'), compressor: metadata, ..symlink },
            symlink,
            parallel_above: parallel_above
                .and_then(serde_json::Value::as_u64)
                .filter(|size| *size > 0)
                .unwrap_or(PARALLEL_ABOVE),
        })
    }
    fn compressor(&self, name: &[u8], size: u64) -> Option<Compressor> {
        let policy = &self.policy.compression;
        if size < policy.min_size.unwrap_or(0) || policy.max_size.is_some_and(|max| max > 0 && size > max) {
            return None;
        }
        let extension = name.iter().rposition(|byte| *byte == b'.').map_or(&b""[..], |dot| &name[dot..]);
        let is_in = |list: &[String]| list.iter().any(|known| known.as_bytes() == extension);
        if !is_in(&policy.only_compress) && is_in(&policy.never_compress) {
            return None;
        }
        self.compressor
    }
}

/// A name as the format can hold it: each byte that is not UTF-8 becomes a replacement character.
pub fn storable_name(raw: &[u8]) -> String {
    let mut name = String::new();
    for chunk in raw.utf8_chunks() {
        name.push_str(chunk.valid());
        name.extend(std::iter::repeat_n(char::REPLACEMENT_CHARACTER, chunk.invalid().len()));
    }
    name
}

/// A directory on the way from the root to where the walk is.
#[derive(Debug)]
struct Level {
    path: Path,
    own: tree::Entry,
    entries: Vec<Entry>,
    failures: Vec<Failure>,
}

/// A file whose chunks are on their way.
#[derive(Debug)]
struct Open {
    entry: Entry,
    chunks: Vec<(content::Id, u64)>,
}

/// Chunks that wait to be stored together.
#[derive(Debug, Default)]
struct Batch {
    pieces: Vec<Piece>,
    files: Vec<usize>,
    bytes: u64,
}

/// One walk over a tree.
pub struct Walk<'a> {
    contents: &'a Contents,
    manifests: &'a Manifests,
    session: Session<'a>,
    tree: &'a dyn ReadTree,
    source: &'a Source,
    storing: Storing,
    options: &'a BackupOptions,
    monitor: &'a dyn Monitor,
    levels: Vec<Level>,
    inodes: BTreeMap<(u64, u64), Path>,
    losses: Vec<Loss>,
    errors: Vec<Failure>,
    stats: Stats,
    start_time: Timestamp,
    last_checkpoint: Timestamp,
    checkpoint: Option<manifest::Id>,
    /// Set when the walk must end early, with Kopia's reason.
    stopped: Option<&'static str>,
}

impl<'a> Walk<'a> {
    /// Prepares a walk.
    pub fn new(
        contents: &'a Contents,
        manifests: &'a Manifests,
        tree: &'a dyn ReadTree,
        source: &'a Source,
        policy: &Policy,
        options: &'a BackupOptions,
        monitor: &'a dyn Monitor,
    ) -> Result<Self, Error> {
        let now = (contents.context.now)();
        Ok(Self {
            contents,
            manifests,
            session: Session::new(contents)?,
            tree,
            source,
            storing: Storing::new(contents, policy, options)?,
            options,
            monitor,
            levels: Vec::new(),
            inodes: BTreeMap::new(),
            losses: Vec::new(),
            errors: Vec::new(),
            stats: Stats::default(),
            start_time: options.start_time.unwrap_or(now),
            last_checkpoint: now,
            checkpoint: None,
            stopped: None,
        })
    }

    /// Walks, stores the manifest, and makes everything visible.
    pub async fn run(mut self, previous: &[Snapshot]) -> Result<Backup, Error> {
        let root = Path::root();
        let failed = |operation, source| Error::Tree { operation, path: Path::root(), source };
        let own = self.tree.entry(&root).map_err(|source| failed("describe", source))?;
        if own.kind != Kind::Directory {
            return Err(Error::InvalidInput {
                what: "tree",
                detail: "its root is not a directory".to_owned(),
            });
        }
        let children = self.tree.read_dir(&root).map_err(|source| failed("list", source))?;
        let roots: Vec<object::Id> = previous.iter().map(|snapshot| snapshot.root.object).collect();
        let name = self.source.path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
        let mut root = self.directory(root, own, children, roots).await?;
        root.name = if name.is_empty() { "/".to_owned() } else { name };
        let mut snapshot = self.snapshot(root, self.stopped);
        let is_identical = previous.first().is_some_and(|first| first.root.object == snapshot.root.object);
        let ignores = self.storing.policy.retention.ignore_identical_snapshots == Some(true);
        let mut edit = self.manifests.edit(self.contents).await?;
        if let Some(checkpoint) = &self.checkpoint {
            edit.delete(checkpoint);
        }
        let saved = !(is_identical && ignores);
        if saved {
            snapshot.id = edit.put(snapshot_labels(&snapshot), write_snapshot(&snapshot));
        } else {
            snapshot = previous[0].clone();
        }
        edit.write(&mut self.session).await?;
        self.session.flush().await?;
        let bytes_written = self.session.written().bytes;
        Ok(Backup { snapshot, saved, bytes_written, losses: self.losses, errors: self.errors })
    }

    fn snapshot(&self, root: Entry, incomplete: Option<&str>) -> Snapshot {
        let mut pins = self.options.pins.clone();
        pins.sort();
        pins.dedup();
        let mut stats = self.stats.clone();
        stats.total_size = root.summary.as_ref().map_or(0, |summary| summary.size);
        Snapshot {
            id: manifest::Id::default(),
            source: self.source.clone(),
            description: self.options.description.clone(),
            start_time: self.start_time,
            end_time: (self.contents.context.now)(),
            stats,
            incomplete: incomplete.map(str::to_owned),
            root,
            tags: self.options.tags.iter().map(|(key, value)| (super::tag_key(key), value.clone())).collect(),
            pins,
        }
    }

    fn lose(&mut self, path: &Path, kind: LossKind) {
        let loss = Loss { path: path.clone(), kind };
        self.monitor.event(Event::Lost(&loss));
        self.losses.push(loss);
    }
    fn fail(&mut self, path: &Path, error: &std::io::Error) {
        let failure = Failure { path: path.clone(), error: error.to_string() };
        self.monitor.event(Event::Failed(&failure));
        self.stats.errors += 1;
        self.errors.push(failure.clone());
        if let Some(level) = self.levels.last_mut() {
            level.failures.push(failure);
        }
        if self.options.fail_fast {
            self.stopped = Some("canceled");
        }
    }

    /// The entry as stored, without its object; tells what is lost.
    fn describe(&mut self, path: &Path, entry: &tree::Entry) -> Entry {
        let name = storable_name(&entry.name);
        if name.as_bytes() != entry.name {
            self.lose(path, LossKind::Name { stored: name.clone() });
        }
        let mtime = storable(entry.mtime);
        if mtime != entry.mtime {
            self.lose(path, LossKind::Time { stored: mtime });
        }
        if entry.has_xattrs {
            self.lose(path, LossKind::ExtendedAttributes);
        }
        let kind = match entry.kind {
            Kind::File => EntryKind::File,
            Kind::Directory => EntryKind::Directory,
            Kind::Symlink => EntryKind::Symlink,
            _ => EntryKind::Unknown,
        };
        Entry {
            name,
            kind,
            // Linux has no modes of symlinks; Kopia records this one.
            mode: if kind == EntryKind::Symlink { 0o777 } else { entry.mode & 0o7777 },
            size: if kind == EntryKind::Directory { 0 } else { entry.size },
            mtime,
            uid: entry.uid,
            gid: entry.gid,
            object: content::Id::new(None, &[]).into(),
            summary: None,
        }
    }

    /// Stores a directory and everything below it.
    fn directory<'w>(
        &'w mut self,
        path: Path,
        own: tree::Entry,
        children: Vec<tree::Entry>,
        previous: Vec<object::Id>,
    ) -> Pin<Box<dyn Future<Output = Result<Entry, Error>> + Send + 'w>> {
        Box::pin(async move {
            let mut earlier: Vec<BTreeMap<String, Entry>> = Vec::new();
            for object in previous {
                match object::read(self.contents, object)
                    .await
                    .and_then(|bytes| read_directory(object, &bytes))
                {
                    Ok((entries, _)) => {
                        earlier.push(entries.into_iter().map(|entry| (entry.name.clone(), entry)).collect());
                    }
                    // What cannot be read cannot be taken over; the files are read instead.
                    Err(damage) if damage.is_damage() => {}
                    Err(failure) => return Err(failure),
                }
            }
            self.levels.push(Level { path: path.clone(), own, entries: Vec::new(), failures: Vec::new() });
            let (directories, others): (Vec<_>, Vec<_>) =
                children.into_iter().partition(|child| child.kind == Kind::Directory);
            for child in directories {
                if self.stopped.is_some() {
                    break;
                }
                let child_path = path.join(&child.name);
                let grandchildren = match self.tree.read_dir(&child_path) {
                    Ok(grandchildren) => grandchildren,
                    Err(error) => {
                        self.fail(&child_path, &error);
                        continue;
                    }
                };
                let name = storable_name(&child.name);
                let earlier = earlier.iter().filter_map(|entries| entries.get(&name));
                let previous = earlier
                    .filter(|entry| entry.kind == EntryKind::Directory)
                    .map(|entry| entry.object)
                    .collect();
                let entry = self.directory(child_path, child, grandchildren, previous).await?;
                self.level().entries.push(entry);
            }
            self.others(&path, &others, &earlier).await?;
            let level = self.levels.pop().expect("the level pushed above");
            self.stats.directories += 1;
            self.finish_directory(level, self.stopped).await
        })
    }

    fn level(&mut self) -> &mut Level {
        self.levels.last_mut().expect("the walk is within a directory")
    }

    /// Stores everything in a directory that is not a directory.
    async fn others(
        &mut self,
        directory: &Path,
        children: &[tree::Entry],
        earlier: &[BTreeMap<String, Entry>],
    ) -> Result<(), Error> {
        let mut open: Vec<Open> = Vec::new();
        let mut batch = Batch::default();
        for child in children {
            if self.stopped.is_some() {
                break;
            }
            if self.monitor.cancelled() {
                return Err(Error::Cancelled);
            }
            let path = directory.join(&child.name);
            match child.kind {
                Kind::Fifo => self.lose(&path, LossKind::Fifo),
                Kind::Socket => self.lose(&path, LossKind::Socket),
                Kind::CharDevice(..) => self.lose(&path, LossKind::CharDevice),
                Kind::BlockDevice(..) => self.lose(&path, LossKind::BlockDevice),
                Kind::Directory => {}
                Kind::Symlink => match self.tree.read_link(&path) {
                    Ok(target) => {
                        let mut entry = self.describe(&path, child);
                        entry.size = target.len() as u64;
                        entry.object =
                            object::write(&mut self.session, target.into(), self.storing.symlink).await?;
                        self.level().entries.push(entry);
                    }
                    Err(error) => self.fail(&path, &error),
                },
                Kind::File => {
                    let entry = self.describe(&path, child);
                    if child.is_sparse {
                        self.lose(&path, LossKind::Holes);
                    }
                    if child.links > 1 {
                        match self.inodes.get(&(child.device, child.inode)).cloned() {
                            Some(same_as) => self.lose(&path, LossKind::HardLink { same_as }),
                            None => drop(self.inodes.insert((child.device, child.inode), path.clone())),
                        }
                    }
                    if let Some(object) = self.reusable(&entry, earlier)? {
                        self.monitor.event(Event::Reused { path: &path, bytes: entry.size });
                        self.stats.files_cached += 1;
                        self.level().entries.push(Entry { object, ..entry });
                    } else {
                        open.push(Open { entry, chunks: Vec::new() });
                        self.read_file(&path, &mut open, &mut batch).await?;
                    }
                }
            }
            if self.is_checkpoint_due() {
                self.store_batch(&mut batch, &mut open).await?;
                self.finish_files(&mut open).await?;
                self.put_checkpoint().await?;
            }
        }
        self.store_batch(&mut batch, &mut open).await?;
        self.finish_files(&mut open).await
    }

    /// The object of an unchanged file of an earlier snapshot, if it is still live.
    fn reusable(
        &self,
        entry: &Entry,
        earlier: &[BTreeMap<String, Entry>],
    ) -> Result<Option<object::Id>, Error> {
        if self.options.force_hash {
            return Ok(None);
        }
        for known in earlier.iter().filter_map(|entries| entries.get(&entry.name)) {
            let about =
                |entry: &Entry| (entry.kind, entry.mtime, entry.mode, entry.uid, entry.gid, entry.size);
            if about(known) == about(entry)
                && self.session.find(&known.object.content())?.is_some_and(|found| !found.is_deleted)
            {
                return Ok(Some(known.object));
            }
        }
        Ok(None)
    }

    /// Cuts a file into the batch. A file that cannot be read leaves the list of open files again.
    async fn read_file(&mut self, path: &Path, open: &mut Vec<Open>, batch: &mut Batch) -> Result<(), Error> {
        let file = open.len() - 1;
        let expected = open[file].entry.size;
        let compressor = self.storing.compressor(path.name(), expected);
        let options = self.storing.file;
        let part_bytes =
            if expected > self.storing.parallel_above { self.storing.parallel_above } else { u64::MAX };
        let mut reader = match self.tree.open(path) {
            Ok(reader) => reader,
            Err(error) => {
                open.pop();
                self.fail(path, &error);
                return Ok(());
            }
        };
        let mut buffer = vec![0; READ_BYTES.min(usize::try_from(expected).unwrap_or(READ_BYTES).max(4096))];
        let (mut cutter, mut chunk, mut total, mut part) = (options.splitter.start(), Vec::new(), 0u64, 0u64);
        loop {
            let room = usize::try_from(part_bytes - part).unwrap_or(usize::MAX).min(buffer.len());
            let read = match reader.read(&mut buffer[..room]) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    drop(reader);
                    // Chunks of it that are stored already belong to nobody and are collected later.
                    let keep: Vec<bool> = batch.files.iter().map(|owner| *owner != file).collect();
                    let mut keeps = keep.iter();
                    batch.pieces.retain(|_| *keeps.next().expect("one owner a piece"));
                    batch.files.retain(|owner| *owner != file);
                    open.pop();
                    self.fail(path, &error);
                    return Ok(());
                }
            };
            total += read as u64;
            part += read as u64;
            let mut rest = &buffer[..read];
            while !rest.is_empty() {
                let (taken, is_cut) = cutter.advance(rest);
                chunk.extend_from_slice(&rest[..taken]);
                rest = &rest[taken..];
                if is_cut {
                    push(batch, file, std::mem::take(&mut chunk), compressor);
                }
            }
            if part == part_bytes {
                // Kopia cuts very large files into parts, each split by itself.
                if !chunk.is_empty() {
                    push(batch, file, std::mem::take(&mut chunk), compressor);
                }
                (cutter, part) = (options.splitter.start(), 0);
            }
            if batch.bytes >= BATCH_BYTES || batch.pieces.len() >= BATCH_PIECES {
                if self.monitor.cancelled() {
                    return Err(Error::Cancelled);
                }
                self.store_batch(batch, open).await?;
            }
        }
        drop(reader);
        // An empty last part is one empty chunk, and so is an empty file.
        if !chunk.is_empty() || total == 0 || (part_bytes != u64::MAX && part == 0) {
            push(batch, file, chunk, if total == 0 { None } else { compressor });
        }
        open[file].entry.size = total;
        self.stats.files += 1;
        self.stats.files_hashed += 1;
        self.monitor.event(Event::Hashed { path, bytes: total });
        if batch.bytes >= BATCH_BYTES || batch.pieces.len() >= BATCH_PIECES {
            self.store_batch(batch, open).await?;
        }
        Ok(())
    }

    async fn store_batch(&mut self, batch: &mut Batch, open: &mut [Open]) -> Result<(), Error> {
        let Batch { pieces, files, .. } = std::mem::take(batch);
        if pieces.is_empty() {
            return Ok(());
        }
        let lengths: Vec<u64> = pieces.iter().map(|piece| piece.data.len() as u64).collect();
        let ids = self.session.write_all(pieces, self.options.parallelism.max(1)).await?;
        for ((file, id), length) in files.into_iter().zip(ids).zip(lengths) {
            open[file].chunks.push((id, length));
        }
        Ok(())
    }
    async fn finish_files(&mut self, open: &mut Vec<Open>) -> Result<(), Error> {
        for Open { entry, chunks } in std::mem::take(open) {
            let object = object::finish(&mut self.session, chunks, self.storing.file).await?;
            self.level().entries.push(Entry { object, ..entry });
        }
        Ok(())
    }

    /// Stores a directory's stream; the walk below it is done (or, for a checkpoint, as far as it is).
    async fn finish_directory(&mut self, level: Level, incomplete: Option<&str>) -> Result<Entry, Error> {
        let Level { path, own, mut entries, failures } = level;
        let summary = summarise(&own, &entries, &failures, incomplete);
        let bytes = write_directory(&mut entries, &summary);
        let object = object::write(&mut self.session, bytes.into(), self.storing.directory).await?;
        let described = self.describe(&path, &own);
        Ok(Entry { object, summary: Some(summary), ..described })
    }

    fn is_checkpoint_due(&self) -> bool {
        let wanted = i64::try_from(self.options.checkpoint_interval.as_secs()).unwrap_or(i64::MAX);
        let interval = SignedDuration::from_secs(wanted.min(CHECKPOINT_SECONDS_MAX));
        (self.contents.context.now)().duration_since(self.last_checkpoint) >= interval
    }
    /// Stores an incomplete snapshot of what is stored so far, so that it can be reused and is not collected.
    async fn put_checkpoint(&mut self) -> Result<(), Error> {
        let mut child: Option<Entry> = None;
        let losses = self.losses.len();
        for n in (0..self.levels.len()).rev() {
            let level = &self.levels[n];
            let mut copy = Level {
                path: level.path.clone(),
                own: level.own.clone(),
                entries: level.entries.clone(),
                failures: level.failures.clone(),
            };
            copy.entries.extend(child.take());
            child = Some(self.finish_directory(copy, Some("checkpoint")).await?);
        }
        // Directories are described again when they are really finished.
        self.losses.truncate(losses);
        let Some(mut root) = child else { return Ok(()) };
        self.source.path.rsplit('/').next().unwrap_or_default().clone_into(&mut root.name);
        let snapshot = self.snapshot(root, Some("checkpoint"));
        let mut edit = self.manifests.edit(self.contents).await?;
        if let Some(earlier) = self.checkpoint.take() {
            edit.delete(&earlier);
        }
        self.checkpoint = Some(edit.put(snapshot_labels(&snapshot), write_snapshot(&snapshot)));
        edit.write(&mut self.session).await?;
        self.session.flush().await?;
        self.last_checkpoint = (self.contents.context.now)();
        self.monitor.event(Event::Checkpoint);
        Ok(())
    }
}

fn push(batch: &mut Batch, file: usize, data: Vec<u8>, compressor: Option<Compressor>) {
    batch.bytes += data.len() as u64;
    batch.files.push(file);
    batch.pieces.push(Piece { prefix: None, data: Bytes::from(data), compressor });
}

/// The labels by which a snapshot is found.
pub fn snapshot_labels(snapshot: &Snapshot) -> manifest::Labels {
    let mut labels = manifest::labels([
        ("type", "snapshot"),
        ("hostname", &snapshot.source.host),
        ("username", &snapshot.source.username),
        ("path", &snapshot.source.path),
    ]);
    labels.extend(snapshot.tags.clone());
    labels
}

/// What lies below a directory, from its entries as stored.
fn summarise(
    own: &tree::Entry,
    entries: &[Entry],
    failures: &[Failure],
    incomplete: Option<&str>,
) -> Summary {
    let mut summary = Summary { dirs: 1, incomplete: incomplete.map(str::to_owned), ..Summary::default() };
    // The newest time never lies before 1970 (where it starts), except in a directory without entries.
    for entry in entries {
        summary.max_time = summary.max_time.max(entry.mtime);
        match entry.kind {
            EntryKind::Symlink => summary.symlinks += 1,
            EntryKind::Directory => {
                let Some(below) = &entry.summary else { continue };
                summary.size += below.size;
                summary.files += below.files;
                summary.symlinks += below.symlinks;
                summary.dirs += below.dirs;
                summary.failed += below.failed;
                summary.ignored += below.ignored;
                summary.max_time = summary.max_time.max(below.max_time);
                summary.errors.extend(below.errors.iter().cloned());
            }
            EntryKind::File | EntryKind::Unknown => {
                summary.files += 1;
                summary.size += entry.size;
            }
        }
    }
    if entries.is_empty() {
        summary.max_time = storable(own.mtime);
    }
    summary.failed += failures.len() as u64;
    summary.errors.extend(
        failures.iter().map(|failure| (storable_name(failure.path.as_bytes()), failure.error.clone())),
    );
    summary.errors.sort();
    summary.errors.truncate(ERRORS_MAX);
    summary
}
