//! The file system of one mount: every operation passes to the directory behind it.
//!
//! Acts as root and lets the kernel check permissions; new files are given to whoever made them. Changes wait
//! while the volume is held still for a copy. See [`super`] for write-back and its losses.
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::File,
    io,
    os::{
        fd::AsRawFd as _,
        unix::{ffi::OsStrExt as _, fs::FileExt as _},
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fault::{Seam, Verdict};
use fuser::{
    BsdFileFlags, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenAccMode, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr,
    Request, TimeOrNow, WriteFlags,
};
use rustix::{
    fs::{
        self as sys, AtFlags, Dir, FallocateFlags, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps,
        Uid, XattrFlags,
    },
    io::Errno,
};

use super::{
    LATCH_NAME, LATCH_NUMBER, View, Volume, latch,
    loss::{Losses, Settled, errno, pause},
    table::{ROOT, Table},
};

/// How long the kernel may trust names and attributes.
const TTL: Duration = Duration::from_secs(1);
const BLOCK: u64 = 4096;

/// An open file.
struct Open {
    number: u64,
    file: File,
}

type Listing = Vec<(u64, FileType, Vec<u8>)>;

#[derive(Default)]
struct Handles {
    next: u64,
    files: BTreeMap<u64, Arc<Open>>,
    listings: BTreeMap<u64, Arc<Listing>>,
}

/// The file system of one mount.
pub(super) struct Passthrough {
    volume: Arc<Volume>,
    view: View,
    table: Arc<Table>,
    target: PathBuf,
    losses: Losses,
    handles: Mutex<Handles>,
    /// Generations of numbers whose last name went: a new file may get the number again.
    generations: Mutex<BTreeMap<u64, u64>>,
    generation: AtomicU64,
    is_latching: AtomicBool,
}

type Answer<T> = Result<T, Errno>;

impl Passthrough {
    pub fn new(volume: Arc<Volume>, view: View, table: Arc<Table>, target: PathBuf) -> Self {
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

    fn handles(&self) -> MutexGuard<'_, Handles> {
        self.handles.lock().expect("no holder of the handles' lock panics")
    }
    fn path(&self, number: INodeNo) -> Answer<Vec<u8>> {
        self.table.path(number.0).ok_or(Errno::STALE)
    }
    fn child(&self, parent: INodeNo, name: &OsStr) -> Answer<Vec<u8>> {
        let mut path = self.path(parent)?;
        path.push(b'/');
        path.extend_from_slice(name.as_bytes());
        Ok(path)
    }
    fn stat(&self, path: &[u8]) -> Answer<Stat> {
        sys::statat(&self.volume.root, path, AtFlags::SYMLINK_NOFOLLOW)
    }
    /// The path by which calls that take no handle reach it.
    fn place(&self, path: &[u8]) -> Vec<u8> {
        let mut place = format!("/proc/self/fd/{}/", self.volume.root.as_raw_fd()).into_bytes();
        place.extend_from_slice(path);
        place
    }
    /// The open file of a handle, or any open file of the inode.
    fn open_file(&self, number: INodeNo, handle: Option<FileHandle>) -> Option<Arc<Open>> {
        let handles = self.handles();
        handle
            .and_then(|handle| handles.files.get(&handle.0))
            .or_else(|| handles.files.values().find(|open| open.number == number.0))
            .cloned()
    }
    fn file(&self, handle: FileHandle) -> Answer<Arc<Open>> {
        self.handles().files.get(&handle.0).cloned().ok_or(Errno::BADF)
    }
    fn keep(&self, number: u64, file: File) -> FileHandle {
        let mut handles = self.handles();
        handles.next += 1;
        let handle = handles.next;
        handles.files.insert(handle, Arc::new(Open { number, file }));
        FileHandle(handle)
    }
    fn generation(&self, number: u64) -> Generation {
        let generations = self.generations.lock().expect("no holder of the generations' lock panics");
        Generation(generations.get(&number).copied().unwrap_or(0))
    }
    /// A number lost its last name: whoever gets it next is another file.
    fn gone(&self, number: u64) {
        let next = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
        self.generations.lock().expect("no holder of the generations' lock panics").insert(number, next);
    }
    fn number(&self, stat: &Stat) -> u64 {
        let root = sys::fstat(&self.volume.root).map(|root| root.st_ino);
        if root == Ok(stat.st_ino) { ROOT } else { stat.st_ino }
    }

    fn entered(&self, parent: INodeNo, name: &OsStr) -> Answer<(FileAttr, Generation)> {
        let stat = self.stat(&self.child(parent, name)?)?;
        let attr = attr(&stat, self.number(&stat));
        self.table.enter(attr.ino.0, parent.0, name);
        Ok((attr, self.generation(attr.ino.0)))
    }
    /// Gives a new entry to whoever made it; the group stays where the directory decides it.
    fn give(&self, request: &Request, parent: INodeNo, path: &[u8], mode: u32) -> Answer<()> {
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
    fn masked(&self, parent: INodeNo, mode: u32, umask: u32) -> Answer<u32> {
        let place = self.place(&self.path(parent)?);
        let has_default = sys::lgetxattr_query(&place[..], c"system.posix_acl_default").is_ok();
        Ok(if has_default { mode } else { mode & !umask })
    }

    fn made(
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

    fn removed(&self, parent: INodeNo, name: &OsStr, flags: AtFlags) -> Answer<()> {
        let _still = self.volume.changing();
        let path = self.child(parent, name)?;
        let stat = self.stat(&path)?;
        sys::unlinkat(&self.volume.root, &path[..], flags)?;
        self.dropped(&stat, parent, name);
        Ok(())
    }
    /// A name is gone, and with the last one the space.
    fn dropped(&self, stat: &Stat, parent: INodeNo, name: &OsStr) {
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
    fn opened(&self, number: INodeNo, flags: OpenFlags) -> Answer<(FileHandle, FopenFlags)> {
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
    fn settle(&self, open: &Open) -> Answer<()> {
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

    fn write_at(&self, number: INodeNo, handle: FileHandle, offset: u64, data: &[u8]) -> Answer<u32> {
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
    fn changed(
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

    fn listed(&self, number: INodeNo) -> Answer<Listing> {
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

    fn renamed(
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

/// What an operation answers, as the kernel wants it.
macro_rules! answer {
    ($reply:ident, $result:expr, |$value:pat_param| $ok:expr) => {
        match $result {
            Ok($value) => $ok,
            Err(error) => $reply.error(fuser::Errno::from_i32(error.raw_os_error())),
        }
    };
}

impl Filesystem for Passthrough {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let mut wanted = vec![InitFlags::FUSE_DONT_MASK, InitFlags::FUSE_POSIX_ACL];
        if self.view.has_write_back {
            wanted.push(InitFlags::FUSE_WRITEBACK_CACHE);
        }
        for flag in wanted {
            config.add_capabilities(flag).map_err(|flag| {
                io::Error::new(io::ErrorKind::Unsupported, format!("the kernel's FUSE lacks {flag:?}"))
            })?;
        }
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if parent.0 == ROOT && name == LATCH_NAME && self.is_latching.load(Ordering::SeqCst) {
            return reply.entry(&Duration::ZERO, &latch_attr(), Generation(0));
        }
        answer!(reply, self.entered(parent, name), |(attr, generation)| reply.entry(&TTL, &attr, generation));
    }

    fn forget(&self, _: &Request, number: INodeNo, lookups: u64) {
        self.table.forget(number.0, lookups);
    }

    fn getattr(&self, _: &Request, number: INodeNo, handle: Option<FileHandle>, reply: ReplyAttr) {
        if number.0 == LATCH_NUMBER {
            return reply.attr(&Duration::ZERO, &latch_attr());
        }
        let stat = match self.path(number) {
            Ok(path) => self.stat(&path),
            Err(error) => self.open_file(number, handle).map_or(Err(error), |open| sys::fstat(&open.file)),
        };
        answer!(reply, stat, |stat| reply.attr(&TTL, &attr(&stat, number.0)));
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let changed = self.changed(number, handle, mode, (uid, gid), size, atime, mtime);
        answer!(reply, changed, |attr| reply.attr(&TTL, &attr));
    }

    fn readlink(&self, _: &Request, number: INodeNo, reply: ReplyData) {
        let target =
            self.path(number).and_then(|path| sys::readlinkat(&self.volume.root, &path[..], Vec::new()));
        answer!(reply, target, |target| reply.data(target.as_bytes()));
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let made = self.masked(parent, mode, umask).and_then(|mode| {
            self.made(request, parent, name, mode, |path| {
                let kind = sys::FileType::from_raw_mode(mode);
                // The kernel encodes device numbers for FUSE as it does for old system calls.
                let (major, minor) = ((rdev >> 8) & 0xfff, (rdev & 0xff) | ((rdev >> 12) & 0xfff00));
                let device = sys::makedev(major, minor);
                sys::mknodat(&self.volume.root, path, kind, Mode::from_raw_mode(mode & 0o7777), device)
            })
        });
        answer!(reply, made, |(attr, generation)| reply.entry(&TTL, &attr, generation));
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let made = self.masked(parent, mode, umask).and_then(|mode| {
            self.made(request, parent, name, mode | 0o040_000, |path| {
                sys::mkdirat(&self.volume.root, path, Mode::from_raw_mode(mode & 0o7777))
            })
        });
        answer!(reply, made, |(attr, generation)| reply.entry(&TTL, &attr, generation));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, self.removed(parent, name, AtFlags::empty()), |()| reply.ok());
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, self.removed(parent, name, AtFlags::REMOVEDIR), |()| reply.ok());
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let made = self
            .made(request, parent, name, 0o120_777, |path| sys::symlinkat(target, &self.volume.root, path));
        answer!(reply, made, |(attr, generation)| reply.entry(&TTL, &attr, generation));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        answer!(reply, self.renamed((parent, name), (new_parent, new_name), flags), |()| reply.ok());
    }

    fn link(&self, _: &Request, number: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let linked = (|| {
            let _still = self.volume.changing();
            let (from, to) = (self.path(number)?, self.child(parent, name)?);
            sys::linkat(&self.volume.root, &from[..], &self.volume.root, &to[..], AtFlags::empty())?;
            self.entered(parent, name)
        })();
        answer!(reply, linked, |(attr, generation)| reply.entry(&TTL, &attr, generation));
    }

    fn open(&self, _: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        answer!(reply, self.opened(number, flags), |(handle, flags)| reply.opened(handle, flags));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let mut handle = None;
        let made = self.masked(parent, mode, umask).and_then(|mode| {
            self.made(request, parent, name, mode, |path| {
                let exclusive = OFlags::from_bits_retain(flags.cast_unsigned()) & OFlags::EXCL;
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | exclusive;
                let mode = Mode::from_raw_mode(mode & 0o7777);
                handle = Some(File::from(sys::openat(&self.volume.root, path, flags, mode)?));
                Ok(())
            })
        });
        let made = made.and_then(|(attr, generation)| Ok((attr, generation, handle.ok_or(Errno::IO)?)));
        answer!(reply, made, |(attr, generation, file)| {
            let handle = self.keep(attr.ino.0, file);
            reply.created(&TTL, &attr, generation, handle, FopenFlags::empty());
        });
    }

    fn read(
        &self,
        _: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.file(handle).and_then(|open| {
            let mut buffer = vec![0; size as usize];
            let mut filled = 0;
            while filled < buffer.len() {
                match open.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                    Ok(0) => break,
                    Ok(read) => filled += read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(number_of(error)),
                }
            }
            buffer.truncate(filled);
            Ok(buffer)
        });
        answer!(reply, read, |buffer| reply.data(&buffer));
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _how: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        answer!(reply, self.write_at(number, handle, offset, data), |count| reply.written(count));
    }

    fn flush(&self, _: &Request, _: INodeNo, handle: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Closing never tells of a loss: a CephFS client has not even tried to write back by then.
        let settled = self.file(handle).map_or(Ok(()), |open| self.settle(&open));
        answer!(reply, settled, |()| reply.ok());
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let open = self.handles().files.remove(&handle.0);
        let settled = open.map_or(Ok(()), |open| self.settle(&open));
        answer!(reply, settled, |()| reply.ok());
    }

    fn fsync(&self, _: &Request, number: INodeNo, handle: FileHandle, data_only: bool, reply: ReplyEmpty) {
        if number.0 == LATCH_NUMBER {
            return reply.ok();
        }
        let synced = self.file(handle).and_then(|open| {
            self.settle(&open)?;
            if let Some(error) = self.losses.told(number.0) {
                return Err(error);
            }
            let synced = if data_only { open.file.sync_data() } else { open.file.sync_all() };
            synced.map_err(number_of)
        });
        answer!(reply, synced, |()| reply.ok());
    }

    fn opendir(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let listed = self.listed(number).map(|listing| {
            let mut handles = self.handles();
            handles.next += 1;
            let handle = handles.next;
            handles.listings.insert(handle, Arc::new(listing));
            FileHandle(handle)
        });
        answer!(reply, listed, |handle| reply.opened(handle, FopenFlags::empty()));
    }

    fn readdir(&self, _: &Request, _: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listing = self.handles().listings.get(&handle.0).cloned();
        let Some(listing) = listing else { return reply.error(fuser::Errno::EBADF) };
        for (at, (number, kind, name)) in listing.iter().enumerate().skip(offset as usize) {
            if reply.add(INodeNo(*number), at as u64 + 1, *kind, OsStr::from_bytes(name)) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.handles().listings.remove(&handle.0);
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer!(reply, sys::syncfs(&self.volume.root), |()| reply.ok());
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        answer!(reply, sys::fstatvfs(&self.volume.root), |stats| {
            let (blocks, free) = match self.volume.limit() {
                Some(limit) => (limit / BLOCK, limit.saturating_sub(self.volume.used()) / BLOCK),
                None => (stats.f_blocks * stats.f_frsize / BLOCK, stats.f_bavail * stats.f_frsize / BLOCK),
            };
            reply.statfs(blocks, free, free, stats.f_files, stats.f_ffree, BLOCK as u32, 255, BLOCK as u32);
        });
    }

    fn setxattr(
        &self,
        _: &Request,
        number: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let set = self.path(number).and_then(|path| {
            let _still = self.volume.changing();
            let flags = XattrFlags::from_bits_retain(flags.cast_unsigned());
            sys::lsetxattr(&self.place(&path)[..], name, value, flags)
        });
        answer!(reply, set, |()| reply.ok());
    }

    fn getxattr(&self, _: &Request, number: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let value = self.path(number).and_then(|path| {
            let place = self.place(&path);
            let length = sys::lgetxattr_query(&place[..], name)?;
            let mut value = vec![0; length + 1];
            let length = sys::lgetxattr(&place[..], name, &mut value[..])?;
            value.truncate(length);
            Ok(value)
        });
        answer!(reply, value, |value| sized(reply, &value, size));
    }

    fn listxattr(&self, _: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        let names = self.path(number).and_then(|path| {
            let place = self.place(&path);
            let length = sys::llistxattr_query(&place[..])?;
            let mut names = vec![0; length + 1];
            let length = sys::llistxattr(&place[..], &mut names[..])?;
            names.truncate(length);
            Ok(names)
        });
        answer!(reply, names, |names| sized(reply, &names, size));
    }

    fn removexattr(&self, _: &Request, number: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let removed = self.path(number).and_then(|path| {
            let _still = self.volume.changing();
            sys::lremovexattr(&self.place(&path)[..], name)
        });
        answer!(reply, removed, |()| reply.ok());
    }

    fn fallocate(
        &self,
        _: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let done = self.file(handle).and_then(|open| {
            let _still = self.volume.changing();
            let flags = FallocateFlags::from_bits_retain(mode.cast_unsigned());
            let before = stored(&sys::fstat(&open.file)?);
            if !flags.contains(FallocateFlags::PUNCH_HOLE) && !self.volume.has_room(length) {
                return Err(self.view.full);
            }
            sys::fallocate(&open.file, flags, offset, length)?;
            self.volume.count(before, stored(&sys::fstat(&open.file)?));
            Ok(())
        });
        answer!(reply, done, |()| reply.ok());
    }

    fn lseek(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let found = self.file(handle).and_then(|open| {
            let offset = u64::try_from(offset).map_err(|_| Errno::INVAL)?;
            let to = match whence {
                3 => SeekFrom::Data(offset),
                4 => SeekFrom::Hole(offset),
                _ => return Err(Errno::INVAL),
            };
            sys::seek(&open.file, to)
        });
        answer!(reply, found, |at| reply.offset(i64::try_from(at).unwrap_or(i64::MAX)));
    }
}

fn sized(reply: ReplyXattr, bytes: &[u8], size: u32) {
    if size == 0 {
        reply.size(bytes.len() as u32);
    } else if bytes.len() > size as usize {
        reply.error(fuser::Errno::ERANGE);
    } else {
        reply.data(bytes);
    }
}

fn stored(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0) * 512
}

fn number_of(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}

fn time(time: Option<TimeOrNow>) -> Timespec {
    match time {
        None => Timespec { tv_sec: 0, tv_nsec: sys::UTIME_OMIT },
        Some(TimeOrNow::Now) => Timespec { tv_sec: 0, tv_nsec: sys::UTIME_NOW },
        Some(TimeOrNow::SpecificTime(time)) => match time.duration_since(UNIX_EPOCH) {
            Ok(since) => {
                Timespec { tv_sec: since.as_secs().cast_signed(), tv_nsec: i64::from(since.subsec_nanos()) }
            }
            Err(before) => {
                let before = before.duration();
                let (seconds, nanoseconds) =
                    (before.as_secs().cast_signed(), i64::from(before.subsec_nanos()));
                if nanoseconds == 0 {
                    Timespec { tv_sec: -seconds, tv_nsec: 0 }
                } else {
                    Timespec { tv_sec: -seconds - 1, tv_nsec: 1_000_000_000 - nanoseconds }
                }
            }
        },
    }
}

fn system_time(seconds: i64, nanoseconds: u64) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let start = if seconds < 0 { UNIX_EPOCH - whole } else { UNIX_EPOCH + whole };
    start + Duration::from_nanos(nanoseconds)
}

fn kind_of(kind: sys::FileType) -> FileType {
    match kind {
        sys::FileType::Directory => FileType::Directory,
        sys::FileType::Symlink => FileType::Symlink,
        sys::FileType::Fifo => FileType::NamedPipe,
        sys::FileType::Socket => FileType::Socket,
        sys::FileType::CharacterDevice => FileType::CharDevice,
        sys::FileType::BlockDevice => FileType::BlockDevice,
        sys::FileType::RegularFile | sys::FileType::Unknown => FileType::RegularFile,
    }
}

fn attr(stat: &Stat, number: u64) -> FileAttr {
    let (major, minor) = (sys::major(stat.st_rdev), sys::minor(stat.st_rdev));
    FileAttr {
        ino: INodeNo(number),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
        atime: system_time(stat.st_atime, stat.st_atime_nsec),
        mtime: system_time(stat.st_mtime, stat.st_mtime_nsec),
        ctime: system_time(stat.st_ctime, stat.st_ctime_nsec),
        crtime: UNIX_EPOCH,
        kind: kind_of(sys::FileType::from_raw_mode(stat.st_mode)),
        perm: (stat.st_mode & 0o7777) as u16,
        nlink: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12),
        blksize: 4096,
        flags: 0,
    }
}

fn latch_attr() -> FileAttr {
    FileAttr {
        ino: INodeNo(LATCH_NUMBER),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0o200,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}
