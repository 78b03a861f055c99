//! What the operations of a mount do to the directory behind it.
//!
//! Acts as root; new files are given to whoever made them. Changes wait while the volume is held still for a
//! copy. See [`super`] for write-back and its losses, [`super::passthrough`] for who calls.
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::File,
    os::{
        fd::AsRawFd as _,
        unix::{ffi::OsStrExt as _, fs::FileExt as _},
    },
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use fault::{Seam, Verdict};
use fuser::{
    FileAttr, FileHandle, FileType, FopenFlags, Generation, INodeNo, OpenAccMode, OpenFlags, RenameFlags,
    Request, TimeOrNow,
};
use rustix::{
    fs::{self as sys, AtFlags, Dir, Gid, Mode, OFlags, Stat, Timestamps, Uid},
    io::Errno,
};

use super::{
    LATCH_NUMBER, View, Volume,
    attr::{attr, kind_of, latch_attr, number_of, stored, time},
    latch,
    loss::{Losses, Settled, errno, pause},
    table::{ROOT, Table},
};

/// An open file.
pub(super) struct Open {
    pub(super) number: u64,
    pub(super) file: File,
}

pub(super) type Listing = Vec<(u64, FileType, Vec<u8>)>;

#[derive(Default)]
pub(super) struct Handles {
    pub(super) next: u64,
    pub(super) files: BTreeMap<u64, Arc<Open>>,
    pub(super) listings: BTreeMap<u64, Arc<Listing>>,
}

/// The file system of one mount.
pub(super) struct Passthrough {
    pub(super) volume: Arc<Volume>,
    pub(super) view: View,
    pub(super) table: Arc<Table>,
    target: PathBuf,
    pub(super) losses: Losses,
    handles: Mutex<Handles>,
    /// Generations of numbers whose last name went: a new file may get the number again.
    generations: Mutex<BTreeMap<u64, u64>>,
    generation: AtomicU64,
    pub(super) is_latching: AtomicBool,
}

pub(super) type Answer<T> = Result<T, Errno>;

impl Passthrough {
    pub(super) fn new(volume: Arc<Volume>, view: View, table: Arc<Table>, target: PathBuf) -> Self {
        Self {
            volume,
            view,
            table,
            target,
            losses: Losses::default(),
            handles: Mutex::default(),
            generations: Mutex::default(),
            generation: AtomicU64::new(0),
            is_latching: AtomicBool::new(false),
        }
    }

    pub(super) fn handles(&self) -> MutexGuard<'_, Handles> {
        self.handles.lock().expect("no holder of the handles' lock panics")
    }
    pub(super) fn path(&self, number: INodeNo) -> Answer<Vec<u8>> {
        self.table.path(number.0).ok_or(Errno::STALE)
    }
    pub(super) fn child(&self, parent: INodeNo, name: &OsStr) -> Answer<Vec<u8>> {
        let mut path = self.path(parent)?;
        path.push(b'/');
        path.extend_from_slice(name.as_bytes());
        Ok(path)
    }
    pub(super) fn stat(&self, path: &[u8]) -> Answer<Stat> {
        sys::statat(&self.volume.root, path, AtFlags::SYMLINK_NOFOLLOW)
    }
    /// The path by which calls that take no handle reach it.
    pub(super) fn place(&self, path: &[u8]) -> Vec<u8> {
        let mut place = format!("/proc/self/fd/{}/", self.volume.root.as_raw_fd()).into_bytes();
        place.extend_from_slice(path);
        place
    }
    /// The open file of a handle, or any open file of the inode.
    pub(super) fn open_file(&self, number: INodeNo, handle: Option<FileHandle>) -> Option<Arc<Open>> {
        let handles = self.handles();
        handle
            .and_then(|handle| handles.files.get(&handle.0))
            .or_else(|| handles.files.values().find(|open| open.number == number.0))
            .cloned()
    }
    pub(super) fn file(&self, handle: FileHandle) -> Answer<Arc<Open>> {
        self.handles().files.get(&handle.0).cloned().ok_or(Errno::BADF)
    }
    pub(super) fn keep(&self, number: u64, file: File) -> FileHandle {
        let mut handles = self.handles();
        handles.next += 1;
        let handle = handles.next;
        handles.files.insert(handle, Arc::new(Open { number, file }));
        FileHandle(handle)
    }
    pub(super) fn generation(&self, number: u64) -> Generation {
        let generations = self.generations.lock().expect("no holder of the generations' lock panics");
        Generation(generations.get(&number).copied().unwrap_or(0))
    }
    /// A number lost its last name: whoever gets it next is another file.
    pub(super) fn gone(&self, number: u64) {
        let next = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
        self.generations.lock().expect("no holder of the generations' lock panics").insert(number, next);
    }
    pub(super) fn number(&self, stat: &Stat) -> u64 {
        let root = sys::fstat(&self.volume.root).map(|root| root.st_ino);
        if root == Ok(stat.st_ino) { ROOT } else { stat.st_ino }
    }

    pub(super) fn entered(&self, parent: INodeNo, name: &OsStr) -> Answer<(FileAttr, Generation)> {
        let stat = self.stat(&self.child(parent, name)?)?;
        let attr = attr(&stat, self.number(&stat));
        self.table.enter(attr.ino.0, parent.0, name);
        Ok((attr, self.generation(attr.ino.0)))
    }
    /// Gives a new entry to whoever made it; the group stays where the directory decides it.
    pub(super) fn give(&self, request: &Request, parent: INodeNo, path: &[u8], mode: u32) -> Answer<()> {
        let directory = self.stat(&self.path(parent)?)?;
        let group = (directory.st_mode & 0o2000 == 0).then(|| Gid::from_raw(request.gid()));
        let owner = Some(Uid::from_raw(request.uid()));
        sys::chownat(&self.volume.root, path, owner, group, AtFlags::SYMLINK_NOFOLLOW)?;
        // A change of owner takes setuid bits away.
        if mode & 0o6000 != 0 && mode & 0o170_000 != 0o120_000 && mode & 0o170_000 != 0o040_000 {
            sys::chmodat(&self.volume.root, path, Mode::from_raw_mode(mode & 0o7777), AtFlags::empty())?;
        }
        Ok(())
    }
    /// The mode of a new entry: a default ACL of the directory takes the place of the umask.
    pub(super) fn masked(&self, parent: INodeNo, mode: u32, umask: u32) -> Answer<u32> {
        let place = self.place(&self.path(parent)?);
        let has_default = sys::lgetxattr_query(&place[..], c"system.posix_acl_default").is_ok();
        Ok(if has_default { mode } else { mode & !umask })
    }

    pub(super) fn made(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        make: impl FnOnce(&[u8]) -> Answer<()>,
    ) -> Answer<(FileAttr, Generation)> {
        let _still = self.volume.changing();
        if !self.volume.has_room(0) {
            return Err(self.view.full);
        }
        let path = self.child(parent, name)?;
        make(&path)?;
        self.give(request, parent, &path, mode)?;
        self.entered(parent, name)
    }

    pub(super) fn removed(&self, parent: INodeNo, name: &OsStr, flags: AtFlags) -> Answer<()> {
        let _still = self.volume.changing();
        let path = self.child(parent, name)?;
        let stat = self.stat(&path)?;
        sys::unlinkat(&self.volume.root, &path[..], flags)?;
        self.dropped(&stat, parent, name);
        Ok(())
    }
    /// A name is gone, and with the last one the space.
    pub(super) fn dropped(&self, stat: &Stat, parent: INodeNo, name: &OsStr) {
        self.table.unlink(stat.st_ino, parent.0, name);
        let is_directory = stat.st_mode & 0o170_000 == 0o040_000;
        if is_directory || stat.st_nlink <= 1 {
            self.gone(stat.st_ino);
            if !is_directory {
                self.volume.count(stored(stat), 0);
            }
        }
    }

    /// Opens the file behind an inode; a write-back mount must be able to read what it writes parts of.
    pub(super) fn opened(&self, number: INodeNo, flags: OpenFlags) -> Answer<(FileHandle, FopenFlags)> {
        if number.0 == LATCH_NUMBER {
            return Ok((FileHandle(LATCH_NUMBER), FopenFlags::empty()));
        }
        let path = self.path(number)?;
        let access = match flags.acc_mode() {
            OpenAccMode::O_RDONLY => OFlags::RDONLY,
            OpenAccMode::O_WRONLY if !self.view.has_write_back => OFlags::WRONLY,
            OpenAccMode::O_WRONLY | OpenAccMode::O_RDWR => OFlags::RDWR,
        };
        let access = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(sys::openat(&self.volume.root, &path[..], access, Mode::empty())?);
        if flags.acc_mode() == OpenAccMode::O_RDONLY {
            let stat = sys::fstat(&file)?;
            let is_sparse = stored(&stat) < u64::try_from(stat.st_size).unwrap_or(0);
            let class = format!("{}/{}", self.view.character, if is_sparse { "sparse" } else { "dense" });
            match self.view.register.at(Seam::Tree, &self.view.actor, "open", &class).verdict {
                Verdict::Fail { code, .. } => return Err(errno(&code)),
                Verdict::Delay(by) => pause(by),
                _ => {}
            }
        }
        // What is lost below lives on in the cache of the mount that wrote it.
        let keep = self.view.has_write_back && self.losses.is_lost(number.0);
        let flags = if keep { FopenFlags::FOPEN_KEEP_CACHE } else { FopenFlags::empty() };
        Ok((self.keep(number.0, file), flags))
    }

    /// Carries the write-back of a file out, and lets `syncfs` know what was lost.
    pub(super) fn settle(&self, open: &Open) -> Answer<()> {
        let _still = self.volume.changing();
        let before = sys::fstat(&open.file)?;
        let settled = self.losses.settle(&self.view, open.number, &open.file).map_err(number_of)?;
        if settled == Settled::Kept {
            return Ok(());
        }
        self.volume.count(stored(&before), stored(&sys::fstat(&open.file)?));
        // One at a time: the others are being answered by threads that latching itself needs.
        if settled == (Settled::Lost { is_reported: true }) && !self.is_latching.swap(true, Ordering::SeqCst)
        {
            if let Err(error) = latch(&self.target) {
                tracing::warn!(%error, target = %self.target.display(), "syncfs will not hear of a lost write-back");
            }
            self.is_latching.store(false, Ordering::SeqCst);
        }
        Ok(())
    }

    pub(super) fn write_at(
        &self,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
    ) -> Answer<u32> {
        if number.0 == LATCH_NUMBER {
            return Err(Errno::INVAL);
        }
        let _still = self.volume.changing();
        let open = match self.file(handle) {
            Ok(open) => open,
            // Pages written back by the kernel may come with a handle that is closed by now.
            Err(_) => self.open_file(number, None).ok_or(Errno::BADF)?,
        };
        let before = sys::fstat(&open.file)?;
        let (size, held) = (u64::try_from(before.st_size).unwrap_or(0), stored(&before));
        let is_within = offset + data.len() as u64 <= size && held >= size;
        if !is_within && !self.volume.has_room(data.len() as u64) {
            return Err(self.view.full);
        }
        open.file.write_all_at(data, offset).map_err(number_of)?;
        self.losses.note(open.number, offset, data);
        self.volume.count(held, stored(&sys::fstat(&open.file)?));
        Ok(data.len() as u32)
    }

    #[expect(clippy::too_many_arguments, reason = "the kernel sends them in one request")]
    pub(super) fn changed(
        &self,
        number: INodeNo,
        handle: Option<FileHandle>,
        mode: Option<u32>,
        owner: (Option<u32>, Option<u32>),
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
    ) -> Answer<FileAttr> {
        if number.0 == LATCH_NUMBER {
            return Ok(latch_attr());
        }
        let _still = self.volume.changing();
        let path = self.path(number);
        let open = self.open_file(number, handle);
        if path.is_err() && open.is_none() {
            // No name and nobody has it open: only the kernel still writes times back, and were it told of an
            // error, the next syncfs would hear of it.
            return Ok(FileAttr { ino: number, nlink: 0, ..latch_attr() });
        }
        let root = &self.volume.root;
        if let Some(mode) = mode {
            let mode = Mode::from_raw_mode(mode & 0o7777);
            match (&path, &open) {
                (Ok(path), _) => sys::chmodat(root, &path[..], mode, AtFlags::empty())?,
                (Err(_), Some(open)) => sys::fchmod(&open.file, mode)?,
                (Err(error), None) => return Err(*error),
            }
        }
        let (uid, gid) = (owner.0.map(Uid::from_raw), owner.1.map(Gid::from_raw));
        if uid.is_some() || gid.is_some() {
            match (&path, &open) {
                (Ok(path), _) => sys::chownat(root, &path[..], uid, gid, AtFlags::SYMLINK_NOFOLLOW)?,
                (Err(_), Some(open)) => sys::fchown(&open.file, uid, gid)?,
                (Err(error), None) => return Err(*error),
            }
        }
        if let Some(size) = size {
            let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = match (&path, &open) {
                (Ok(path), _) => File::from(sys::openat(root, &path[..], flags, Mode::empty())?),
                (Err(_), Some(open)) => open.file.try_clone().map_err(number_of)?,
                (Err(error), None) => return Err(*error),
            };
            let before = stored(&sys::fstat(&file)?);
            sys::ftruncate(&file, size)?;
            self.volume.count(before, stored(&sys::fstat(&file)?));
        }
        if atime.is_some() || mtime.is_some() {
            let times = Timestamps { last_access: time(atime), last_modification: time(mtime) };
            match (&path, &open) {
                (Ok(path), _) => sys::utimensat(root, &path[..], &times, AtFlags::SYMLINK_NOFOLLOW)?,
                (Err(_), Some(open)) => sys::futimens(&open.file, &times)?,
                (Err(error), None) => return Err(*error),
            }
        }
        let stat = match (&path, &open) {
            (Ok(path), _) => self.stat(path)?,
            (Err(_), Some(open)) => sys::fstat(&open.file)?,
            (Err(error), None) => return Err(*error),
        };
        Ok(attr(&stat, number.0))
    }

    pub(super) fn listed(&self, number: INodeNo) -> Answer<Listing> {
        let path = self.path(number)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = sys::openat(&self.volume.root, &path[..], flags, Mode::empty())?;
        let mut listing = Listing::new();
        for found in Dir::read_from(&handle)? {
            let found = found?;
            listing.push((found.ino(), kind_of(found.file_type()), found.file_name().to_bytes().to_vec()));
        }
        listing.sort_by(|a, b| a.2.cmp(&b.2));
        Ok(listing)
    }

    pub(super) fn renamed(
        &self,
        (parent, name): (INodeNo, &OsStr),
        (new_parent, new_name): (INodeNo, &OsStr),
        flags: RenameFlags,
    ) -> Answer<()> {
        let _still = self.volume.changing();
        let (from, to) = (self.child(parent, name)?, self.child(new_parent, new_name)?);
        let moved = self.stat(&from)?;
        let replaced = self.stat(&to).ok();
        let how = sys::RenameFlags::from_bits_retain(flags.bits());
        sys::renameat_with(&self.volume.root, &from[..], &self.volume.root, &to[..], how)?;
        if let Some(replaced) = &replaced {
            // Two names of one file: renaming one onto the other does nothing.
            if replaced.st_ino == moved.st_ino {
                return Ok(());
            }
            if how.contains(sys::RenameFlags::EXCHANGE) {
                self.table.link(replaced.st_ino, parent.0, name);
                self.table.unlink(replaced.st_ino, new_parent.0, new_name);
            } else {
                self.dropped(replaced, new_parent, new_name);
            }
        }
        self.table.link(moved.st_ino, new_parent.0, new_name);
        self.table.unlink(moved.st_ino, parent.0, name);
        Ok(())
    }
}
