//! The export and its switches: which directory it shows, as which file system, to whom, and how full it is.
//!
//! Names and meaning are those of the embedded bed's export, so that a scenario says the same on both. Switches
//! outlive a restart of the server (they are kept in a file) and end with [`Change::Reset`]. Contents are never
//! touched by a switch: what is shown again is as it was.
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use nfs3_types::nfs3::nfsstat3;

use super::folder::Folder;
use crate::nfs_control::{Change, Full, Shown, Switches};

/// Where the three directories are, and how the export is called.
#[derive(Clone, Debug)]
pub struct Place {
    /// What clients mount: `/export`.
    pub name: String,
    /// The right directory.
    pub right: PathBuf,
    /// The empty one.
    pub empty: PathBuf,
    /// The other one.
    pub other: PathBuf,
    /// The file system's number in its first generation.
    pub fsid: u64,
    /// Where switches are kept; `None` forgets them.
    pub state: Option<PathBuf>,
}

impl Place {
    /// An export of this directory; the two others are made beside it when the export is opened.
    pub fn new(name: impl Into<String>, right: impl Into<PathBuf>) -> Self {
        let right = right.into();
        let beside = |suffix: &str| {
            let mut name = right.file_name().unwrap_or_default().to_owned();
            name.push(suffix);
            right.with_file_name(name)
        };
        let (empty, other) = (beside(".empty"), beside(".other"));
        Self { name: name.into(), right, empty, other, fsid: 1, state: None }
    }
}

/// The export.
pub struct Export {
    place: Place,
    folders: BTreeMap<Shown, Arc<Folder>>,
    switches: Mutex<Switches>,
    /// At least what the right directory holds; counted anew when a quota seems reached.
    used_at_most: AtomicU64,
}

impl Export {
    /// Opens the directories, making those that are missing, and reads the switches.
    ///
    /// # Errors
    /// Those of the file system, and `InvalidData` for switches that cannot be read.
    pub fn open(place: Place) -> io::Result<Self> {
        let mut folders = BTreeMap::new();
        for (shown, path) in
            [(Shown::Right, &place.right), (Shown::Empty, &place.empty), (Shown::Other, &place.other)]
        {
            if !path.is_dir() {
                fs::create_dir_all(path)?;
                fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
            }
            folders.insert(shown, Arc::new(Folder::open(path, shown != Shown::Right)?));
        }
        let switches = match place.state.as_deref().map(fs::read) {
            None => Switches::default(),
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => Switches::default(),
            Some(Err(error)) => return Err(error),
            Some(Ok(bytes)) => serde_json::from_slice(&bytes)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?,
        };
        let export =
            Self { place, folders, switches: Mutex::new(switches), used_at_most: AtomicU64::new(u64::MAX) };
        Ok(export)
    }
    /// What clients mount.
    pub fn name(&self) -> &str {
        &self.place.name
    }
    /// The switches as they are.
    pub fn switches(&self) -> Switches {
        self.locked().clone()
    }
    /// Turns a switch.
    ///
    /// # Errors
    /// When the new state cannot be kept; it acts all the same until the server ends.
    pub fn turn(&self, change: Change) -> io::Result<Switches> {
        let mut switches = self.locked();
        match change {
            Change::Show(shown) => switches.shown = shown,
            Change::Renew => switches.generation += 1,
            Change::Squash(squash) => switches.squash = squash,
            Change::Quota(quota) => {
                switches.quota = quota;
                self.used_at_most.store(u64::MAX, Ordering::Relaxed);
            }
            Change::Full(full) => switches.full = full,
            Change::ReadOnly(read_only) => switches.read_only = read_only,
            Change::Reset => *switches = Switches { generation: switches.generation, ..Switches::default() },
        }
        let now = switches.clone();
        drop(switches);
        tracing::info!(?now, "switched");
        if let Some(path) = &self.place.state {
            keep(path, &now)?;
        }
        Ok(now)
    }
    /// The number of the file system shown now.
    pub fn fsid(&self, switches: &Switches) -> u64 {
        self.place.fsid.wrapping_add(switches.generation)
    }
    /// A directory.
    pub fn folder(&self, shown: Shown) -> Arc<Folder> {
        self.folders[&shown].clone()
    }
    /// Asks for room for so many more bytes.
    ///
    /// # Errors
    /// `NFS3ERR_NOSPC` or `NFS3ERR_DQUOT`.
    pub fn room_for(&self, switches: &Switches, bytes: u64) -> Result<(), nfsstat3> {
        if bytes == 0 {
            return Ok(());
        }
        if let Some(full) = switches.full {
            return Err(match full {
                Full::Enospc => nfsstat3::NFS3ERR_NOSPC,
                Full::Edquot => nfsstat3::NFS3ERR_DQUOT,
            });
        }
        let Some(quota) = switches.quota else { return Ok(()) };
        let mut used = self.used_at_most.load(Ordering::Relaxed);
        if used.saturating_add(bytes) > quota {
            used = self.used();
            self.used_at_most.store(used, Ordering::Relaxed);
        }
        if used.saturating_add(bytes) > quota {
            return Err(nfsstat3::NFS3ERR_DQUOT);
        }
        self.used_at_most.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
    /// Bytes in the directory shown.
    pub fn used(&self) -> u64 {
        self.folder(self.locked().shown).used()
    }
    fn locked(&self) -> MutexGuard<'_, Switches> {
        self.switches.lock().expect("no holder of the switches' lock panics")
    }
}

fn keep(path: &Path, switches: &Switches) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let draft = path.with_extension("new");
    fs::write(&draft, serde_json::to_vec(switches)?)?;
    fs::rename(draft, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nfs_control::Squash;

    #[test]
    fn switches_outlive_a_restart_and_a_reset_brings_back_all_but_the_generation() {
        let home = tempfile::tempdir().unwrap();
        let place = Place {
            state: Some(home.path().join("state/nfs.json")),
            ..Place::new("/export", home.path().join("data"))
        };
        let export = Export::open(place.clone()).unwrap();
        export.turn(Change::Renew).unwrap();
        export.turn(Change::Show(Shown::Empty)).unwrap();
        let before = export.turn(Change::Squash(Squash::All { uid: 5, gid: 6 })).unwrap();
        let again = Export::open(place.clone()).unwrap();
        assert_eq!(again.switches(), before);
        assert_eq!(again.fsid(&before), 2);
        assert_eq!(again.turn(Change::Reset).unwrap(), Switches { generation: 1, ..Switches::default() });
        fs::write(place.state.as_ref().unwrap(), "garbage").unwrap();
        assert_eq!(Export::open(place).err().unwrap().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_quota_counts_what_is_there() {
        let home = tempfile::tempdir().unwrap();
        let export = Export::open(Place::new("/export", home.path().join("data"))).unwrap();
        fs::write(home.path().join("data/a"), [1; 80]).unwrap();
        let switches = export.turn(Change::Quota(Some(100))).unwrap();
        assert_eq!(export.room_for(&switches, 21), Err(nfsstat3::NFS3ERR_DQUOT));
        assert_eq!(export.room_for(&switches, 20), Ok(()));
        // The twenty were never written: the next count finds that out.
        assert_eq!(export.room_for(&switches, 20), Ok(()));
        fs::remove_file(home.path().join("data/a")).unwrap();
        assert_eq!(export.room_for(&switches, 100), Ok(()));
        let full = export.turn(Change::Full(Some(Full::Enospc))).unwrap();
        assert_eq!(export.room_for(&full, 1), Err(nfsstat3::NFS3ERR_NOSPC));
    }
}
