//! The read-back check, against volumes that lose what was written.
use std::{io, sync::Arc};

use contract::{ExitCode, Failure};
use engine::tree::{Entry, Path, ReadTree, Time, WriteFile, WriteTree, local::LocalTree};

use crate::stage::{At, Stage};

/// What a volume does with what it was given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Medium {
    /// Reports the loss when told to write back.
    FailsSync(i32),
    /// Keeps metadata and drops data pages; fresh reads see zeros.
    DropsPages,
    /// Cuts the end off.
    Truncates,
    /// Loses a file.
    Loses,
}

/// A local tree on a bad medium; what is lost shows once caches are dropped.
struct Bad(LocalTree, Medium);

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
            Medium::FailsSync(_) => Ok(()),
        }
    }
}

fn restored_onto(medium: Medium) -> Failure {
    let mut stage = Stage::new();
    assert_eq!(stage.backup(At::Never).outcome.exit_code, 0);
    let tree = LocalTree::open(stage.path("restored")).expect("opened");
    let ended = stage.restore_into(Arc::new(Bad(tree, medium)), At::Never);
    assert_ne!(ended.outcome.exit_code, 0, "{}", ended.log);
    ended.outcome.failed().cloned().expect("a failure")
}

#[test]
fn a_failing_sync_fails_the_restore() {
    let check = |errno, expected| assert_eq!(restored_onto(Medium::FailsSync(errno)).code, expected, "{errno}");
    check(22, ExitCode::SyncFailed);
    check(5, ExitCode::SyncFailed);
    check(28, ExitCode::OutOfSpace);
}

#[test]
fn zeros_are_found_and_called_zeros() {
    let failure = restored_onto(Medium::DropsPages);
    assert_eq!(failure.code, ExitCode::ReadBackMismatch);
    assert_eq!(failure.paths.len(), 1, "{failure:?}");
    assert!(failure.paths[0].starts_with("other: reads as zeros"), "{failure:?}");
    assert!(failure.message.contains("1 of them as zeros"), "{failure:?}");
}

#[test]
fn lengths_and_absence_are_found() {
    let failure = restored_onto(Medium::Truncates);
    assert_eq!((failure.code, failure.paths), (ExitCode::ReadBackMismatch, vec!["file: 4 bytes instead of 7".to_owned()]));
    let failure = restored_onto(Medium::Loses);
    assert_eq!((failure.code, failure.paths), (ExitCode::ReadBackMismatch, vec!["file: missing".to_owned()]));
}

#[test]
fn the_original_does_not_look() {
    let mut stage = Stage::new();
    stage.backup(At::Never);
    stage.set("MOVER_PROFILE", "original");
    let tree = LocalTree::open(stage.path("restored")).expect("opened");
    let ended = stage.restore_into(Arc::new(Bad(tree, Medium::DropsPages)), At::Never);
    assert_eq!(ended.outcome.exit_code, 0, "{}", ended.log);
}
