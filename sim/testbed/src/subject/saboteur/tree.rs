//! A tree that loses one thing on the way down and remembers it for whoever looks.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use engine::tree::{Entry, Kind, Path, ReadTree, Time, WriteFile, WriteTree};

use crate::volume::{Character, Mount, MountOptions, Volume};

/// What is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Modification times of files.
    Mtime,
    /// Owners.
    Owner,
    /// Bytes of files.
    Bytes,
    /// Every third file.
    Presence,
}

/// Writes everything to a shadow that it shows, and everything but one thing to the real tree.
pub struct LossyTree {
    real: Arc<dyn WriteTree>,
    shadow: Mount,
    defect: Defect,
    lost: Mutex<BTreeMap<Path, bool>>,
}

impl LossyTree {
    /// A lossy front of a tree; what the tree holds already is not in the shadow.
    pub fn new(real: Arc<dyn WriteTree>, defect: Defect) -> Self {
        let shadow = Volume::new("shadow", Character::HostPath, Arc::new(|| jiff::Timestamp::UNIX_EPOCH));
        Self { real, shadow: shadow.mount(MountOptions::new("saboteur")), defect, lost: Mutex::default() }
    }
    fn lost(&self) -> MutexGuard<'_, BTreeMap<Path, bool>> {
        self.lost.lock().expect("no holder of the list of lost files panics")
    }
    fn is_lost(&self, path: &Path) -> bool {
        self.lost().get(path).copied().unwrap_or(false)
    }
    /// Does the same to the real tree, unless the path is one of those left out.
    fn really(&self, path: &Path, act: impl FnOnce(&dyn WriteTree) -> io::Result<()>) -> io::Result<()> {
        if self.is_lost(path) { Ok(()) } else { act(&*self.real) }
    }
}

impl ReadTree for LossyTree {
    fn entry(&self, path: &Path) -> io::Result<Entry> {
        self.shadow.entry(path)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.shadow.read_dir(path)
    }
    fn read_link(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.shadow.read_link(path)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn io::Read + Send + '_>> {
        self.shadow.open(path)
    }
}

struct LossyFile<'a> {
    shadow: Box<dyn WriteFile + 'a>,
    real: Option<Box<dyn WriteFile + 'a>>,
    zeroes: bool,
}

impl WriteFile for LossyFile<'_> {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.shadow.write_at(offset, bytes)?;
        match &mut self.real {
            Some(real) if self.zeroes => real.write_at(offset, &vec![0; bytes.len()]),
            Some(real) => real.write_at(offset, bytes),
            None => Ok(()),
        }
    }
    fn set_len(&mut self, length: u64) -> io::Result<()> {
        self.shadow.set_len(length)?;
        self.real.as_mut().map_or(Ok(()), |real| real.set_len(length))
    }
    fn finish(self: Box<Self>) -> io::Result<()> {
        let Self { shadow, real, .. } = *self;
        shadow.finish()?;
        real.map_or(Ok(()), WriteFile::finish)
    }
}

impl WriteTree for LossyTree {
    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.shadow.create_dir(path, mode)?;
        self.real.create_dir(path, mode)
    }
    fn create_file(&self, path: &Path, mode: u32) -> io::Result<Box<dyn WriteFile + '_>> {
        if self.defect == Defect::Presence {
            let mut lost = self.lost();
            let is_third = lost.len() % 3 == 2;
            lost.entry(path.clone()).or_insert(is_third);
        }
        let real = if self.is_lost(path) { None } else { Some(self.real.create_file(path, mode)?) };
        let shadow = self.shadow.create_file(path, mode)?;
        Ok(Box::new(LossyFile { shadow, real, zeroes: self.defect == Defect::Bytes }))
    }
    fn create_symlink(&self, path: &Path, target: &[u8]) -> io::Result<()> {
        self.shadow.create_symlink(path, target)?;
        self.real.create_symlink(path, target)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let was_lost = self.lost().get(from).copied();
        if let Some(was_lost) = was_lost {
            self.lost().insert(to.clone(), was_lost);
        }
        self.shadow.rename(from, to)?;
        self.really(to, |real| real.rename(from, to))
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.shadow.remove_file(path)?;
        self.really(path, |real| real.remove_file(path))
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.shadow.remove_dir(path)?;
        self.real.remove_dir(path)
    }
    fn set_owner(&self, path: &Path, uid: u32, gid: u32) -> io::Result<()> {
        self.shadow.set_owner(path, uid, gid)?;
        if self.defect == Defect::Owner {
            Ok(())
        } else {
            self.really(path, |real| real.set_owner(path, uid, gid))
        }
    }
    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.shadow.set_mode(path, mode)?;
        self.really(path, |real| real.set_mode(path, mode))
    }
    fn set_mtime(&self, path: &Path, mtime: Time) -> io::Result<()> {
        self.shadow.set_mtime(path, mtime)?;
        let is_file = self.shadow.entry(path).is_ok_and(|entry| entry.kind == Kind::File);
        if self.defect == Defect::Mtime && is_file {
            Ok(())
        } else {
            self.really(path, |real| real.set_mtime(path, mtime))
        }
    }
    fn sync(&self) -> io::Result<()> {
        self.shadow.sync()?;
        self.real.sync()
    }
    fn drop_caches(&self) -> io::Result<()> {
        self.real.drop_caches()
    }
}
