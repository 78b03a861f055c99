//! Looks at what lies at rest: blobs of a repository, entries of a medium.
//!
//! Works on copies of the bytes as they lie in a bucket, on a volume or behind an export, past every
//! fault, cache, cost and count: looking changes nothing and disturbs nobody. A repository is opened with
//! its password as an operator would with a tool at home; so this part does use the engine, and is for
//! counting snapshots and naming damage. Whether *data* came back is judged by [`crate::oracle`] alone.

use std::{collections::BTreeMap, io, sync::Arc};

use bytes::Bytes;
use engine::{
    Repository,
    blob::memory::MemoryStore,
    context::{Client, Context, Entropy},
    monitor::Silent,
    restore::{DirectoryTimes, RestoreOptions},
    snapshot::Filter,
    store::SharedStore,
    tree::{Path, WriteTree as _},
    verify::VerifyOptions,
};
use jiff::{Timestamp, tz::TimeZone};

use crate::{
    bucket::Bucket,
    nfs::Export,
    oracle::restore::ReadBack,
    volume::{MountOptions, Node, Volume},
};

/// The blobs of a repository at rest, by name, with their times.
pub type Blobs = BTreeMap<String, (Bytes, Timestamp)>;

/// One snapshot as its manifest tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Manifest id.
    pub id: String,
    /// Kopia's user name.
    pub username: String,
    /// Kopia's host name.
    pub host: String,
    /// The path.
    pub path: String,
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Whether it is complete.
    pub complete: bool,
}

/// What stands in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// What tells it from every other, in hex.
    pub unique_id: String,
    /// Its snapshots, by source and start.
    pub snapshots: Vec<Taken>,
    /// `user@host` that maintains it.
    pub maintenance_owner: String,
}

/// What reading everything came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Snapshots walked.
    pub snapshots: u64,
    /// Files read completely.
    pub files: u64,
    /// Affected paths, each once, sorted.
    pub damaged: Vec<String>,
    /// What is wrong with them, in the same order as found.
    pub reasons: Vec<String>,
}

/// The blobs below a prefix of a bucket.
pub fn bucket_blobs(bucket: &Bucket, prefix: &str) -> Blobs {
    let objects = bucket.objects().into_iter();
    objects
        .filter_map(|(key, object)| {
            Some((key.strip_prefix(prefix)?.to_owned(), (object.bytes, object.modified)))
        })
        .filter(|(key, _)| !key.contains('/'))
        .collect()
}

/// The blobs of a repository directory, from its files by path; Kopia's shards and endings are undone.
pub fn directory_blobs(files: impl IntoIterator<Item = (String, Bytes)>, modified: Timestamp) -> Blobs {
    files
        .into_iter()
        .filter_map(|(path, bytes)| Some((path.strip_suffix(".f")?.replace('/', ""), (bytes, modified))))
        .collect()
}

/// The blobs of a repository behind an export, below a directory of it.
pub fn export_blobs(export: &Export, directory: &str, modified: Timestamp) -> Blobs {
    let below = |path: String| {
        let path = path.trim_start_matches('/').to_owned();
        if directory.is_empty() {
            Some(path)
        } else {
            Some(path.strip_prefix(directory)?.trim_start_matches('/').to_owned())
        }
    };
    directory_blobs(
        export.files().into_iter().filter_map(|(path, bytes)| Some((below(path)?, bytes))),
        modified,
    )
}

/// The blobs of a repository that lies on a volume.
pub fn volume_blobs(volume: &Volume, modified: Timestamp) -> Blobs {
    let tree = volume.tree();
    let mut files = Vec::new();
    let mut waiting = vec![Path::root()];
    while let Some(path) = waiting.pop() {
        for entry in tree.read_dir(&path).unwrap_or_default() {
            let path = path.join(&entry.name);
            let node = tree.resolve(&path).and_then(|number| tree.inode(number).cloned());
            match node.as_deref().map(|inode| &inode.node) {
                Ok(Node::Directory(_)) => waiting.push(path),
                Ok(Node::File(content)) => files.push((path.to_string(), Bytes::from(content.to_bytes()))),
                _ => {}
            }
        }
    }
    directory_blobs(files, modified)
}

async fn open(blobs: &Blobs, password: &str, now: Timestamp) -> Result<Option<Repository>, engine::Error> {
    if blobs.is_empty() {
        return Ok(None);
    }
    let clock: engine::context::Now = Arc::new(move || now);
    let store = MemoryStore::new(clock.clone());
    for (name, (bytes, modified)) in blobs {
        store.insert(name, bytes.clone(), *modified);
    }
    let client = Client { username: "operator".to_owned(), hostname: "home".to_owned() };
    let context = Context { now: clock, entropy: Entropy::from_seed([7; 32]), client, zone: TimeZone::UTC };
    let store: SharedStore = Arc::new(store);
    Repository::open(store, password, context).await.map(Some)
}

/// Opens a copy of a repository and lists it; `None` if nothing is there.
///
/// # Errors
/// Those of opening and listing: wrong password, damage.
pub async fn look(blobs: &Blobs, password: &str, now: Timestamp) -> Result<Option<Contents>, engine::Error> {
    let Some(repository) = open(blobs, password, now).await? else { return Ok(None) };
    let snapshots = repository.snapshots(&Filter::all()).await?;
    let taken = snapshots.into_iter().map(|snapshot| Taken {
        id: snapshot.id.to_string(),
        username: snapshot.source.username,
        host: snapshot.source.host,
        path: snapshot.source.path,
        start: snapshot.start_time,
        end: snapshot.end_time,
        complete: snapshot.incomplete.is_none(),
    });
    Ok(Some(Contents {
        unique_id: hex::encode(repository.unique_id().as_bytes()),
        snapshots: taken.collect(),
        maintenance_owner: repository.maintenance_info().await?.owner,
    }))
}

/// Opens a copy of a repository and reads every file of every snapshot; `None` if nothing is there.
///
/// # Errors
/// What keeps it from being verified at all.
pub async fn verify(
    blobs: &Blobs,
    password: &str,
    now: Timestamp,
) -> Result<Option<Verified>, engine::Error> {
    let Some(repository) = open(blobs, password, now).await? else { return Ok(None) };
    let report = repository.verify(&VerifyOptions::default(), &Silent).await?;
    let mut damaged: Vec<_> = report.damages.iter().map(|damage| damage.path.to_string()).collect();
    damaged.sort();
    damaged.dedup();
    let reasons = report
        .damages
        .iter()
        .map(|damage| format!("{} of {}: {}", damage.path, damage.snapshot, damage.reason));
    Ok(Some(Verified {
        snapshots: report.snapshots,
        files: report.files_read,
        damaged,
        reasons: reasons.collect(),
    }))
}

/// Opens a copy of a repository and restores one snapshot into an empty volume; nothing of an earlier look, and no
/// cache, is at hand.
///
/// # Errors
/// What keeps it from being restored whole, the absence of repository or snapshot included.
pub async fn restore(
    blobs: &Blobs,
    password: &str,
    now: Timestamp,
    snapshot: &Taken,
    into: &Volume,
) -> Result<(), String> {
    let told = |error: engine::Error| cluster::chain(&error);
    let opened = open(blobs, password, now).await.map_err(told)?;
    let repository = opened.ok_or_else(|| "there is no repository".to_owned())?;
    let snapshots = repository.snapshots(&Filter::all()).await.map_err(told)?;
    let found = snapshots.iter().find(|one| one.id.to_string() == snapshot.id);
    let found = found.ok_or_else(|| format!("there is no snapshot {}", snapshot.id))?;
    let mount = into.mount(MountOptions::new("elsewhere"));
    let options = RestoreOptions { directory_times: DirectoryTimes::Recorded, ..RestoreOptions::default() };
    repository.restore(found, &Path::root(), &mount, &options, &Silent).await.map_err(told)?;
    mount.sync().map_err(|error| error.to_string())
}

/// Reads a volume's tree through a fresh mount, as another node would see it.
pub fn read_back(volume: &Volume) -> ReadBack {
    ReadBack::of(&volume.mount(MountOptions::new("operator").read_only(true)))
}

/// How many entries a volume holds besides its root and `lost+found`.
pub fn entries(volume: &Volume) -> usize {
    let tree = volume.tree();
    let count = |path: &Path| {
        tree.read_dir(path)
            .map_or(0, |entries| entries.iter().filter(|entry| entry.name != b"lost+found").count())
    };
    count(&Path::root())
}

/// Writes one file to a volume as its workload would, and writes it back.
///
/// # Errors
/// Those of the file system.
pub fn write_file(volume: &Volume, path: &str, bytes: &[u8]) -> io::Result<()> {
    let mount = volume.mount(MountOptions::new("workload"));
    let path = Path::new(path);
    let mut parents = Vec::new();
    let mut parent = path.parent();
    while let Some(directory) = parent {
        parent = directory.parent();
        parents.push(directory);
    }
    for directory in parents.into_iter().rev().filter(|directory| !directory.is_root()) {
        mount.create_dir(&directory, 0o755)?;
    }
    let mut file = mount.create_file(&path, 0o644)?;
    file.write_at(0, bytes)?;
    file.finish()?;
    mount.sync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directorys_shards_are_undone() {
        let file = |path: &str| (path.to_owned(), Bytes::from_static(b"x"));
        let files = [file("kopia.repository.f"), file("p12/345/6789.f"), file(".shards"), file("p1/x.f.tmp")];
        let blobs = directory_blobs(files, Timestamp::UNIX_EPOCH);
        let names: Vec<_> = blobs.keys().map(String::as_str).collect();
        assert_eq!(names, ["kopia.repository", "p123456789"]);
    }
}
