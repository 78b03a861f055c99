//! Volumes through FUSE: everything passes to a directory, and what is written can be lost as on CephFS.
//!
//! A [`Volume`] is a directory with a capacity; a [`Session`] is one mount of it. Each mount has its own page
//! cache in the kernel. With write-back, `write` succeeds into that cache and bytes reach the directory later,
//! as with a CephFS client; at that point the [`fault::Register`] is asked once per file (operation
//! `write-back`, class `<character>/dense` or `/sparse`), and what it says is lost is lost: the directory keeps
//! size, mode and times, the writer's own mount goes on showing the bytes as long as they are cached, every
//! other mount reads zeros. A reported loss is heard by the file's `fsync`, and by `syncfs` on the mount, once.
//! `close` never reports it. At `open` for reading the register is asked too (operation `open`).
//!
//! What it does not do: coherence of cached bytes between mounts that are open at once, ioctls, and
//! `copy_file_range` other than the kernel's own. Needs /dev/fuse and the right to mount; no fusermount.
mod attr;
mod loss;
mod operations;
mod passthrough;
mod table;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    ffi::CString,
    fs, io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::Path,
    sync::{
        Arc, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use fault::Register;
use fuser::{BackgroundSession, Config, INodeNo, SessionACL};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    mount::{MountFlags, UnmountFlags},
};

use operations::Passthrough;
use table::Table;

/// Threads per mount: one may be latching an error through the mount itself while others answer.
const THREADS: usize = 4;

/// A directory with a capacity, shared by all its mounts.
#[derive(Debug)]
pub struct Volume {
    root: OwnedFd,
    limit: AtomicU64,
    used: AtomicU64,
    still: RwLock<()>,
}

impl Volume {
    /// Opens a directory as a volume of this capacity; without one, the disk below is the limit.
    pub fn open(directory: &Path, limit: Option<u64>) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(directory, flags, Mode::empty())?;
        let used = stored(directory, &mut BTreeSet::new())?;
        let volume = Self {
            root,
            limit: AtomicU64::new(u64::MAX),
            used: AtomicU64::new(used),
            still: RwLock::new(()),
        };
        volume.resize(limit);
        Ok(volume)
    }
    /// Changes the capacity; what is stored already stays.
    pub fn resize(&self, limit: Option<u64>) {
        self.limit.store(limit.unwrap_or(u64::MAX), Ordering::SeqCst);
    }
    /// Bytes that its files take.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::SeqCst)
    }
    /// Its capacity.
    pub fn limit(&self) -> Option<u64> {
        Some(self.limit.load(Ordering::SeqCst)).filter(|limit| *limit != u64::MAX)
    }
    /// Keeps all mounts from changing the directory until the guard is dropped.
    pub fn hold(&self) -> RwLockWriteGuard<'_, ()> {
        self.still.write().expect("no holder of a volume's lock panics")
    }
    fn changing(&self) -> RwLockReadGuard<'_, ()> {
        self.still.read().expect("no holder of a volume's lock panics")
    }
    fn has_room(&self, bytes: u64) -> bool {
        self.used().saturating_add(bytes) <= self.limit.load(Ordering::SeqCst)
    }
    fn count(&self, before: u64, after: u64) {
        if after >= before {
            self.used.fetch_add(after - before, Ordering::SeqCst);
        } else {
            let less = before - after;
            // Two changes of one file may overlap: never below nothing.
            let _ = self
                .used
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| Some(used.saturating_sub(less)));
        }
    }
}

fn stored(directory: &Path, seen: &mut BTreeSet<u64>) -> io::Result<u64> {
    let mut bytes = 0;
    for found in fs::read_dir(directory)? {
        let found = found?;
        let metadata = found.metadata()?;
        if metadata.is_dir() {
            bytes += stored(&found.path(), seen)?;
        } else if seen.insert(metadata.ino()) {
            bytes += metadata.blocks() * 512;
        }
    }
    Ok(bytes)
}

/// How one mount sees its volume.
#[derive(Clone, Debug)]
pub struct View {
    /// Who acts through it, for faults.
    pub actor: String,
    /// What the volume stands for, for faults: `cephfs`, `rbd`.
    pub character: String,
    /// Whether the kernel keeps written pages and writes them back later.
    pub has_write_back: bool,
    /// What a full volume answers.
    pub full: Errno,
    /// Whether nothing may be changed through it.
    pub read_only: bool,
    /// What faults are asked of.
    pub register: Register,
}

/// One mount of a volume.
pub struct Session {
    session: BackgroundSession,
    table: Arc<Table>,
}

impl Session {
    /// Mounts a volume at an existing directory.
    pub fn mount(volume: Arc<Volume>, target: &Path, view: View) -> io::Result<Self> {
        let device = fs::File::options().read(true).write(true).open("/dev/fuse")?;
        let data = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions",
            device.as_raw_fd()
        );
        let name = format!("firedrill-{}", view.character);
        let flags = if view.read_only { MountFlags::RDONLY } else { MountFlags::empty() };
        // Mounted here and not by fuser, which unmounts by path when a session ends: by then another session
        // may be mounted there.
        let data = CString::new(data).map_err(io::Error::other)?;
        rustix::mount::mount(name, target, "fuse.kit", flags, data.as_c_str())?;
        let table = Arc::new(Table::default());
        let files = Passthrough::new(volume, view, Arc::clone(&table), target.to_owned());
        let mut config = Config::default();
        config.n_threads = Some(THREADS);
        let served = fuser::Session::from_fd(files, device.into(), SessionACL::All, config)
            .and_then(fuser::Session::spawn);
        match served {
            Ok(session) => Ok(Self { session, table }),
            Err(error) => {
                // The error of serving is the one to tell.
                let _ = rustix::mount::unmount(target, UnmountFlags::DETACH);
                Err(error)
            }
        }
    }
    /// Lets the kernel forget cached bytes of every file it knows.
    pub fn evict(&self) {
        let notifier = self.session.notifier();
        for number in self.table.numbers() {
            // A file that is gone by now has nothing to forget.
            let _ = notifier.inval_inode(INodeNo(number), 0, 0);
        }
    }
    /// Ends the session after its target was unmounted; does not wait for others that still hold the mount.
    pub fn join(self) {
        let ending = std::thread::Builder::new().name("fuse-end".to_owned());
        let spawned = ending.spawn(move || self.session.join());
        if let Err(error) = spawned {
            tracing::warn!(%error, "cannot wait for the end of a FUSE session");
        }
    }
}

/// Writes back what the mount at a path keeps, as `syncfs` does.
pub fn sync(target: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let handle = rustix::fs::open(target, flags, Mode::empty())?;
    Ok(rustix::fs::syncfs(handle)?)
}

/// The name of a file that no listing shows: an error written through it is latched for `syncfs`.
const LATCH_NAME: &str = ".firedrill-latch";
/// Its number.
const LATCH_NUMBER: u64 = u64::MAX - 1;

/// Latches an error at the mount, so that the next `syncfs` hears it: writes through the mount itself into a
/// file whose write-back fails, which is the only way by which a server can set the kernel's mark.
fn latch(target: &Path) -> io::Result<()> {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new().write(true).open(target.join(LATCH_NAME))?;
    file.write_all(b"x")?;
    match file.sync_all() {
        Err(_) => Ok(()),
        Ok(()) => Err(io::Error::other("the error was not latched")),
    }
}
