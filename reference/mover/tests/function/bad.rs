//! A local tree on a bad medium.
use std::io;

use engine::tree::{Entry, Path, ReadTree, Time, WriteFile, WriteTree, local::LocalTree};

/// What a volume does with what it was given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// Reports the loss when told to write back.
    FailsSync(i32),
    /// Keeps metadata and drops data pages; fresh reads see zeros.
    DropsPages,
    /// Cuts the end off.
    Truncates,
    /// Loses a file.
    Loses,
    /// Cannot read `other`.
    Unreadable,
}

/// The tree; what is lost shows once caches are dropped.
pub struct Bad(pub LocalTree, pub Medium);

impl ReadTree for Bad {
    fn entry(&self, path: &Path) -> io::Result<Entry> {
        self.0.entry(path)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.0.read_dir(path)
    }
    fn read_link(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.read_link(path)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn io::Read + Send + '_>> {
        if self.1 == Medium::Unreadable && path.as_bytes() == b"other" {
            return Err(io::Error::from_raw_os_error(13));
        }
        self.0.open(path)
    }
}

impl WriteTree for Bad {
    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.0.create_dir(path, mode)
    }
    fn create_file(&self, path: &Path, mode: u32) -> io::Result<Box<dyn WriteFile + '_>> {
        self.0.create_file(path, mode)
    }
    fn create_symlink(&self, path: &Path, target: &[u8]) -> io::Result<()> {
        self.0.create_symlink(path, target)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.remove_file(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.0.remove_dir(path)
    }
    fn set_owner(&self, path: &Path, uid: u32, gid: u32) -> io::Result<()> {
        self.0.set_owner(path, uid, gid)
    }
    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.0.set_mode(path, mode)
    }
    fn set_mtime(&self, path: &Path, mtime: Time) -> io::Result<()> {
        self.0.set_mtime(path, mtime)
    }
    fn sync(&self) -> io::Result<()> {
        match self.1 {
            Medium::FailsSync(errno) => Err(io::Error::from_raw_os_error(errno)),
            _ => self.0.sync(),
        }
    }
    fn drop_caches(&self) -> io::Result<()> {
        let (file, other) = (Path::new("file"), Path::new("other"));
        match self.1 {
            Medium::DropsPages => {
                let times = self.0.entry(&other)?.mtime;
                let mut hole = self.0.create_file(&other, 0o644)?;
                hole.set_len(100_000)?;
                hole.finish()?;
                self.0.set_mtime(&other, times)
            }
            Medium::Truncates => {
                let mut short = self.0.create_file(&file, 0o644)?;
                short.write_at(0, b"cont")?;
                short.finish()
            }
            Medium::Loses => self.0.remove_file(&file),
            Medium::FailsSync(_) | Medium::Unreadable => Ok(()),
        }
    }
}
