//! What a driver holds, on disk: each volume and snapshot is a folder with a record and its data.
//!
//! ```text
//! <root>/<driver>/volumes/<handle>/record.json   written last: what has no record does not exist
//! <root>/<driver>/volumes/<handle>/data/         the volume
//! <root>/<driver>/snapshots/<handle>/…           the same
//! <root>/<driver>/making/<handle>/data/          a copy that is not finished
//! ```
//! Handles follow from the request's name, so that a repeated call finds what the first one made. Records are
//! replaced atomically. It locks nothing and asks no fault.
use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::directory;

/// Volume or snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Thing {
    /// A volume.
    Volume,
    /// A snapshot.
    Snapshot,
}

impl Thing {
    /// As ceph-csi writes it in its messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Volume => "Volume",
            Self::Snapshot => "Snapshot",
        }
    }
    const fn folder(self) -> &'static str {
        match self {
            Self::Volume => "volumes",
            Self::Snapshot => "snapshots",
        }
    }
    /// The handle that a request of this name gets.
    pub fn handle(self, name: &str) -> String {
        let prefix = if self == Self::Volume { "csi-vol" } else { "csi-snap" };
        format!("{prefix}-{}", &hex::encode(Sha256::digest(name))[..24])
    }
}

/// What something was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Volume or snapshot.
    pub thing: Thing,
    /// Its handle.
    pub handle: String,
}

/// What is kept about a volume or snapshot beside its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its handle.
    pub handle: String,
    /// The name in the request that made it.
    pub name: String,
    /// `namespace/name` of the claim or volume snapshot, as far as the sidecars told.
    pub object: String,
    /// Its size.
    pub bytes: u64,
    /// What it was made from; a snapshot always has its volume.
    pub source: Option<Source>,
    /// When it was made, in nanoseconds since 1970.
    pub created: i64,
    /// Whether pods see it through FUSE.
    pub fuse: bool,
    /// `node:target` where it is staged.
    #[serde(default)]
    pub staged: BTreeSet<String>,
    /// `node:target` where it is published.
    #[serde(default)]
    pub published: BTreeSet<String>,
}

impl Record {
    /// How faults and records call it: the object's name, or else the handle.
    pub fn class(&self) -> &str {
        match self.object.rsplit('/').next() {
            Some("") | None => &self.handle,
            Some(name) => name,
        }
    }
}

/// The folders of one driver.
#[derive(Clone, Debug)]
pub struct Inventory {
    root: PathBuf,
}

impl Inventory {
    /// Opens or founds the folders of a driver; copies that a dead process left unfinished go.
    pub fn open(root: &Path) -> io::Result<Self> {
        for folder in ["volumes", "snapshots", "making"] {
            fs::create_dir_all(root.join(folder))?;
        }
        let inventory = Self { root: root.to_owned() };
        for left in fs::read_dir(root.join("making"))? {
            remove_all(&left?.path())?;
        }
        for thing in [Thing::Volume, Thing::Snapshot] {
            for found in fs::read_dir(root.join(thing.folder()))? {
                let path = found?.path();
                // Made, but not to the end; or removed, but not to the end.
                if !path.join("record.json").exists() {
                    remove_all(&path)?;
                }
            }
        }
        Ok(inventory)
    }

    /// Where the data of a handle lies.
    pub fn data(&self, thing: Thing, handle: &str) -> PathBuf {
        self.folder(thing, handle).join("data")
    }

    fn folder(&self, thing: Thing, handle: &str) -> PathBuf {
        self.root.join(thing.folder()).join(handle)
    }

    /// The record of a handle; `None` if there is none, or if it is not a handle of ours at all.
    pub fn find(&self, thing: Thing, handle: &str) -> io::Result<Option<Record>> {
        if handle.is_empty() || handle.starts_with('.') || handle.contains(['/', '\0']) || handle.len() > 128
        {
            return Ok(None);
        }
        match fs::read(self.folder(thing, handle).join("record.json")) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All records of a thing, by handle.
    pub fn all(&self, thing: Thing) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        for found in fs::read_dir(self.root.join(thing.folder()))? {
            let name = found?.file_name();
            if let Some(record) = name.to_str().map(|name| self.find(thing, name)).transpose()?.flatten() {
                records.push(record);
            }
        }
        records.sort_by(|a, b| a.handle.cmp(&b.handle));
        Ok(records)
    }

    /// Makes a volume or snapshot, as a copy of `from` if that is given; `tick` may end the copy.
    ///
    /// # Guarantees
    /// Either the whole of it exists afterwards, or nothing.
    pub fn make(
        &self,
        thing: Thing,
        record: &Record,
        from: Option<&Path>,
        tick: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> io::Result<()> {
        let making = self.root.join("making").join(&record.handle);
        remove_all(&making)?;
        fs::create_dir_all(&making)?;
        let data = making.join("data");
        fs::DirBuilder::new().mode(0o755).create(&data)?;
        // A fresh volume can be written by whoever mounts it, as a freshly made file system of a test driver.
        fs::set_permissions(&data, fs::Permissions::from_mode(0o777))?;
        if let Some(from) = from {
            directory::copy(from, &data, tick).map_err(|error| {
                let number = error.raw_os_error();
                let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
                let text = format!("{error}{}", source.unwrap_or_default());
                number.map_or_else(
                    || io::Error::other(text.clone()),
                    |number| match number {
                        28 | 122 => io::Error::from_raw_os_error(number),
                        _ => io::Error::other(text.clone()),
                    },
                )
            })?;
        }
        let folder = self.folder(thing, &record.handle);
        remove_all(&folder)?;
        fs::rename(&making, &folder)?;
        self.save(thing, record)
    }

    /// Replaces a record.
    pub fn save(&self, thing: Thing, record: &Record) -> io::Result<()> {
        let folder = self.folder(thing, &record.handle);
        let new = folder.join("record.new");
        fs::write(&new, serde_json::to_vec_pretty(record)?)?;
        fs::rename(new, folder.join("record.json"))
    }

    /// Forgets uses of volumes on a node that are over, as `is_over` says of their targets.
    pub fn forget_uses(&self, node: &str, is_over: impl Fn(&Path) -> io::Result<bool>) -> io::Result<()> {
        for mut record in self.all(Thing::Volume)? {
            let mut forgot = false;
            for users in [&mut record.staged, &mut record.published] {
                for user in users.clone() {
                    let target = user.strip_prefix(node).and_then(|rest| rest.strip_prefix(':'));
                    if let Some(target) = target
                        && is_over(Path::new(target))?
                    {
                        users.remove(&user);
                        forgot = true;
                    }
                }
            }
            if forgot {
                self.save(Thing::Volume, &record)?;
            }
        }
        Ok(())
    }

    /// Removes a volume or snapshot; an absent one is removed already.
    pub fn remove(&self, thing: Thing, handle: &str) -> io::Result<()> {
        if self.find(thing, handle)?.is_none() {
            return Ok(());
        }
        let folder = self.folder(thing, handle);
        fs::remove_file(folder.join("record.json"))?;
        remove_all(&folder)
    }
}

fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
