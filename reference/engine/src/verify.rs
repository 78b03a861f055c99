//! Verification: is everything that snapshots name still there, and does it open?
//!
//! Every content behind every path must be indexed and its pack long enough; files that are read must also
//! decrypt, unpack and hash to their names. Damage is told per snapshot and path, exactly: what shares a
//! damaged content is named, what does not is not. It does not look at what no snapshot names.

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc};

use crate::{
    blob,
    content::{self, committed::Contents},
    error::Error,
    manifest,
    monitor::{Event, Monitor},
    object,
    restore::read_entries,
    snapshot::{Damage, Entry, EntryKind, Failure, Filter, Snapshot},
    tree::Path,
};

/// How to verify.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifyOptions {
    /// Which snapshots.
    pub which: Filter,
    /// Only these, when given.
    pub snapshots: Option<Vec<manifest::Id>>,
    /// Percentage of files to read completely, `0.0..=100.0`; the choice is drawn from the context.
    pub read_percent: f64,
    /// Stop after so many damages; `None` finds all.
    pub damages_max: Option<usize>,
}

impl Default for VerifyOptions {
    /// Every snapshot, every file read, every damage named.
    fn default() -> Self {
        Self { which: Filter::all(), snapshots: None, read_percent: 100.0, damages_max: None }
    }
}

/// The outcome of a verification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Snapshots walked.
    pub snapshots: u64,
    /// Directories read.
    pub directories: u64,
    /// Files and symlinks checked.
    pub files: u64,
    /// Files read completely.
    pub files_read: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Exactly the affected paths, per snapshot.
    pub damages: Vec<Damage>,
}

impl VerifyReport {
    /// Whether nothing is damaged.
    pub fn is_whole(&self) -> bool {
        self.damages.is_empty()
    }
}

/// Damage at a path relative to some directory.
#[derive(Clone, Debug)]
struct Finding {
    path: Path,
    object: object::Id,
    content: Option<content::Id>,
    pack: Option<blob::Id>,
    reason: String,
}

/// What a recursive walk gives later.
type Later<'w, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'w>>;

/// One verification.
pub(crate) struct Verifier<'a> {
    contents: &'a Contents,
    options: &'a VerifyOptions,
    monitor: &'a dyn Monitor,
    /// Length of every pack that the store lists.
    packs: BTreeMap<String, u64>,
    /// What each object was found to be; an object is looked at once however often it occurs.
    known: BTreeMap<object::Id, Arc<Vec<Finding>>>,
    found: usize,
    report: VerifyReport,
}

impl<'a> Verifier<'a> {
    pub(crate) async fn new(
        contents: &'a Contents,
        options: &'a VerifyOptions,
        monitor: &'a dyn Monitor,
    ) -> Result<Self, Error> {
        let mut packs = BTreeMap::new();
        for prefix in ["p", "q"] {
            packs.extend(contents.store.list(prefix).await?.into_iter().map(|blob| (blob.id, blob.length)));
        }
        Ok(Self {
            contents,
            options,
            monitor,
            packs,
            known: BTreeMap::new(),
            found: 0,
            report: VerifyReport::default(),
        })
    }

    pub(crate) async fn run(mut self, snapshots: &[Snapshot]) -> Result<VerifyReport, Error> {
        for snapshot in snapshots {
            if self.is_enough() {
                break;
            }
            self.report.snapshots += 1;
            let findings = self.entry(&Path::root(), &snapshot.root).await?;
            self.report.damages.extend(findings.iter().map(|finding| Damage {
                snapshot: snapshot.id.clone(),
                path: finding.path.clone(),
                object: finding.object,
                content: finding.content,
                pack: finding.pack.clone(),
                reason: finding.reason.clone(),
            }));
        }
        Ok(self.report)
    }
    fn is_enough(&self) -> bool {
        self.options.damages_max.is_some_and(|max| self.found >= max)
    }

    /// Findings below an entry, relative to it.
    fn entry<'w>(&'w mut self, path: &'w Path, entry: &'w Entry) -> Later<'w, Arc<Vec<Finding>>> {
        Box::pin(async move {
            if let Some(known) = self.known.get(&entry.object) {
                return Ok(known.clone());
            }
            if self.monitor.cancelled() {
                return Err(Error::Cancelled);
            }
            let mut findings = Vec::new();
            let outcome = if entry.kind == EntryKind::Directory {
                self.directory(path, entry, &mut findings).await
            } else {
                self.file(path, entry).await
            };
            if let Err(error) = outcome {
                if !error.is_damage() {
                    return Err(error);
                }
                let (content, pack) = error.place();
                let finding = Finding {
                    path: Path::root(),
                    object: entry.object,
                    content,
                    pack: pack.cloned(),
                    reason: error.to_string(),
                };
                self.monitor
                    .event(Event::Failed(&Failure { path: path.clone(), error: finding.reason.clone() }));
                self.found += 1;
                findings.push(finding);
            }
            let findings = Arc::new(findings);
            self.known.insert(entry.object, findings.clone());
            Ok(findings)
        })
    }

    async fn directory(
        &mut self,
        path: &Path,
        entry: &Entry,
        findings: &mut Vec<Finding>,
    ) -> Result<(), Error> {
        self.check_chunks(entry.object).await?;
        let entries = read_entries(self.contents, entry.object).await?;
        self.report.directories += 1;
        for child in &entries {
            if self.is_enough() {
                break;
            }
            let name = child.name.as_bytes();
            for below in self.entry(&path.join(name), child).await?.iter() {
                let mut place = Path::root().join(name);
                if !below.path.is_root() {
                    place = place.join(below.path.as_bytes());
                }
                findings.push(Finding { path: place, ..below.clone() });
            }
        }
        Ok(())
    }

    /// Whether every chunk is indexed and its pack long enough.
    async fn check_chunks(&self, object: object::Id) -> Result<Vec<object::Chunk>, Error> {
        let chunks = object::chunks(self.contents, object).await?;
        let view = self.contents.view();
        for chunk in &chunks {
            let entry = view.find(&chunk.content)?.ok_or(Error::MissingContent { content: chunk.content })?;
            let end = u64::from(entry.offset) + u64::from(entry.packed_length);
            let detail = match self.packs.get(entry.pack.as_str()) {
                Some(length) if *length >= end => continue,
                Some(length) => format!("the pack ends at {length}, before {end}"),
                None => "the pack is not in the store".to_owned(),
            };
            return Err(Error::MissingPack { content: chunk.content, pack: entry.pack, detail });
        }
        Ok(chunks)
    }

    async fn file(&mut self, path: &Path, entry: &Entry) -> Result<(), Error> {
        self.report.files += 1;
        let chunks = self.check_chunks(entry.object).await?;
        let draw = u32::from_le_bytes(self.contents.context.entropy.bytes());
        let is_read = f64::from(draw) / f64::from(u32::MAX) * 100.0 < self.options.read_percent
            || self.options.read_percent >= 100.0;
        if !is_read {
            return Ok(());
        }
        let mut bytes = 0;
        for chunk in &chunks {
            bytes += object::read_chunk(self.contents, chunk, true).await?.len() as u64;
        }
        self.report.files_read += 1;
        self.report.bytes_read += bytes;
        self.monitor.event(Event::Verified { path, bytes });
        Ok(())
    }
}
