//! The file system of one mount, as the kernel calls it: every operation passes to the directory behind it.
//!
//! The kernel checks permissions. What an operation does stands in [`super::operations`].
use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::unix::{ffi::OsStrExt as _, fs::FileExt as _},
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use fuser::{
    BsdFileFlags, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use rustix::{
    fs::{self as sys, AtFlags, FallocateFlags, Mode, OFlags, SeekFrom, XattrFlags},
    io::Errno,
};

use super::{
    LATCH_NAME, LATCH_NUMBER,
    attr::{attr, latch_attr, number_of, sized, stored},
    operations::Passthrough,
    table::ROOT,
};

/// How long the kernel may trust names and attributes.
const TTL: Duration = Duration::from_secs(1);
const BLOCK: u64 = 4096;

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
