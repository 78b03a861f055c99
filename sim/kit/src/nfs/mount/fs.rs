//! The FUSE side: takes the kernel's requests, starts the work, and replies when it is done.
//!
//! A request never holds up another one: each becomes a task, so a server that hangs for one file hangs for that
//! file's processes only. What depends on the kernel's order (opening, closing, forgetting) is noted before the
//! task starts. Permissions are checked by the kernel from the attributes and by the server from the credentials.
#![allow(clippy::wildcard_imports, reason = "the protocol's words are one vocabulary, used by the dozen")]
use std::{
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use fuser::{
    BsdFileFlags, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use nfs3_types::{nfs3::*, rpc::auth_unix};
use rustix::{fs::OFlags, io::Errno};
use tokio::runtime::Handle;

use super::{
    convert::{file_attr, kind, nfs_time},
    remote::credentials,
    work::{Entry, Work},
};

/// The mounted export as FUSE sees it.
pub struct NfsFs {
    work: Arc<Work>,
    runtime: Handle,
    host: String,
    ttl: Duration,
}

/// Handles are never given again, so numbers need no generation.
const GENERATION: Generation = Generation(0);

fn code(error: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(error.raw_os_error())
}

impl NfsFs {
    /// Shows `work` to the kernel; `host` is our name towards the server, `ttl` how long attributes are believed.
    pub fn new(work: Arc<Work>, runtime: Handle, host: String, ttl: Duration) -> Self {
        Self { work, runtime, host, ttl }
    }
    fn who(&self, request: &Request) -> auth_unix {
        credentials(&self.host, request.uid(), request.gid(), request.pid())
    }
    fn start(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }
    /// Starts work that ends with an entry.
    fn entry<F: Future<Output = Result<Entry, Errno>> + Send + 'static>(
        &self,
        reply: ReplyEntry,
        work: impl FnOnce(Arc<Work>) -> F,
    ) {
        let (work, ttl) = (work(self.work.clone()), self.ttl);
        self.start(async move {
            match work.await {
                Ok((number, attributes)) => reply.entry(&ttl, &file_attr(number, &attributes), GENERATION),
                Err(error) => reply.error(code(error)),
            }
        });
    }
    /// Starts work that ends with nothing.
    fn done<F: Future<Output = Result<(), Errno>> + Send + 'static>(
        &self,
        reply: ReplyEmpty,
        work: impl FnOnce(Arc<Work>) -> F,
    ) {
        let work = work(self.work.clone());
        self.start(async move {
            match work.await {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(code(error)),
            }
        });
    }
}

fn opened_as(flags: i32) -> OFlags {
    OFlags::from_bits_retain(flags.cast_unsigned())
}

impl Filesystem for NfsFs {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // What the kernel cannot do it does without: smaller writes, more round trips.
        let _ = config.set_max_write(self.work.remote.write_bytes);
        let _ = config.set_max_readahead(self.work.remote.read_bytes);
        let _ = config.set_max_background(64);
        let wanted = InitFlags::FUSE_AUTO_INVAL_DATA
            | InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_READDIRPLUS_AUTO
            | InitFlags::FUSE_PARALLEL_DIROPS;
        let _ = config.add_capabilities(wanted & config.capabilities());
        Ok(())
    }
    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (who, name) = (self.who(request), name.to_owned());
        self.entry(reply, |work| async move { work.lookup(&who, parent.0, &name).await });
    }
    fn forget(&self, _: &Request, number: INodeNo, times: u64) {
        self.work.nodes().forget(number.0, times);
    }
    fn getattr(&self, request: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let (who, work, ttl) = (self.who(request), self.work.clone(), self.ttl);
        self.start(async move {
            let found = async { work.attributes(&who, &work.handle(number.0)?).await };
            match found.await {
                Ok(attributes) => reply.attr(&ttl, &file_attr(number.0, &attributes)),
                Err(error) => reply.error(code(error)),
            }
        });
    }
    fn setattr(
        &self,
        request: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        open: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let new = sattr3 {
            mode: mode.map_or(set_mode3::None, |mode| set_mode3::Some(mode & 0o7777)),
            uid: uid.map_or(set_uid3::None, set_uid3::Some),
            gid: gid.map_or(set_gid3::None, set_gid3::Some),
            size: size.map_or(set_size3::None, set_size3::Some),
            atime: match atime {
                None => set_atime::DONT_CHANGE,
                Some(TimeOrNow::Now) => set_atime::SET_TO_SERVER_TIME,
                Some(TimeOrNow::SpecificTime(time)) => set_atime::SET_TO_CLIENT_TIME(nfs_time(time)),
            },
            mtime: match mtime {
                None => set_mtime::DONT_CHANGE,
                Some(TimeOrNow::Now) => set_mtime::SET_TO_SERVER_TIME,
                Some(TimeOrNow::SpecificTime(time)) => set_mtime::SET_TO_CLIENT_TIME(nfs_time(time)),
            },
        };
        let (who, work, ttl) = (self.who(request), self.work.clone(), self.ttl);
        self.start(async move {
            match work.set(&who, number.0, open.map(|open| open.0), new).await {
                Ok(attributes) => reply.attr(&ttl, &file_attr(number.0, &attributes)),
                Err(error) => reply.error(code(error)),
            }
        });
    }
    fn readlink(&self, request: &Request, number: INodeNo, reply: ReplyData) {
        let (who, work) = (self.who(request), self.work.clone());
        self.start(async move {
            match work.readlink(&who, number.0).await {
                Ok(to) => reply.data(&to),
                Err(error) => reply.error(code(error)),
            }
        });
    }
    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        device: u32,
        reply: ReplyEntry,
    ) {
        let (who, name) = (self.who(request), name.to_owned());
        let new = sattr3 { mode: set_mode3::Some(mode & 0o7777), ..sattr3::default() };
        let spec = specdata3 {
            specdata1: rustix::fs::major(device.into()),
            specdata2: rustix::fs::minor(device.into()),
        };
        let what = match rustix::fs::FileType::from_raw_mode(mode) {
            rustix::fs::FileType::Fifo => mknoddata3::NF3FIFO(new),
            rustix::fs::FileType::Socket => mknoddata3::NF3SOCK(new),
            rustix::fs::FileType::CharacterDevice => {
                mknoddata3::NF3CHR(devicedata3 { dev_attributes: new, spec })
            }
            rustix::fs::FileType::BlockDevice => {
                mknoddata3::NF3BLK(devicedata3 { dev_attributes: new, spec })
            }
            _ => mknoddata3::default,
        };
        self.entry(reply, |work| async move {
            match what {
                mknoddata3::default => work.create(&who, parent.0, &name, mode, true, false).await,
                what => work.mknod(&who, parent.0, &name, what).await,
            }
        });
    }
    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        let (who, name) = (self.who(request), name.to_owned());
        self.entry(reply, |work| async move { work.mkdir(&who, parent.0, &name, mode).await });
    }
    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (who, name) = (self.who(request), name.to_owned());
        self.done(reply, |work| async move { work.unlink(&who, parent.0, &name).await });
    }
    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (who, name) = (self.who(request), name.to_owned());
        self.done(reply, |work| async move { work.rmdir(&who, parent.0, &name).await });
    }
    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, to: &Path, reply: ReplyEntry) {
        let (who, name, to) = (self.who(request), name.to_owned(), to.as_os_str().to_owned());
        self.entry(reply, |work| async move { work.symlink(&who, parent.0, &name, &to).await });
    }
    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            // NFSv3 can neither exchange two names nor refuse to replace one.
            return reply.error(fuser::Errno::EINVAL);
        }
        let (who, name, new_name) = (self.who(request), name.to_owned(), new_name.to_owned());
        self.done(reply, |work| async move {
            work.rename(&who, (parent.0, &name), (new_parent.0, &new_name)).await
        });
    }
    fn link(&self, request: &Request, number: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (who, name) = (self.who(request), name.to_owned());
        self.entry(reply, |work| async move { work.link(&who, number.0, parent.0, &name).await });
    }
    fn open(&self, request: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (who, work) = (self.who(request), self.work.clone());
        match work.open(who, number.0, opened_as(flags.0)) {
            Err(error) => reply.error(code(error)),
            Ok(key) => self.start(async move {
                // Close-to-open: whoever opens sees what the last one closed, and a stale handle at once.
                let fresh = async {
                    let open = work.opened(key)?;
                    work.attributes(&open.who, &open.handle).await
                };
                match fresh.await {
                    Ok(_) => reply.opened(FileHandle(key), FopenFlags::empty()),
                    Err(error) => {
                        reply.error(code(error));
                        if let Some((open, hidden)) = work.closed(key) {
                            work.settle(&open, hidden).await;
                        }
                    }
                }
            }),
        }
    }
    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (who, work, name, ttl) = (self.who(request), self.work.clone(), name.to_owned(), self.ttl);
        let flags = opened_as(flags);
        let (is_exclusive, is_cut) = (flags.contains(OFlags::EXCL), flags.contains(OFlags::TRUNC));
        self.start(async move {
            let created = async {
                let (number, attributes) =
                    work.create(&who, parent.0, &name, mode, is_exclusive, is_cut).await?;
                Ok((number, attributes, work.open(who, number, flags)?))
            };
            match created.await {
                Ok((number, attributes, key)) => reply.created(
                    &ttl,
                    &file_attr(number, &attributes),
                    GENERATION,
                    FileHandle(key),
                    FopenFlags::empty(),
                ),
                Err(error) => reply.error(code(error)),
            }
        });
    }
    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        open: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let work = self.work.clone();
        self.start(async move {
            let read = async { work.read(&*work.opened(open.0)?, offset, size).await };
            match read.await {
                Ok(data) => reply.data(&data),
                Err(error) => reply.error(code(error)),
            }
        });
    }
    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        open: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let (work, data) = (self.work.clone(), data.to_vec());
        self.start(async move {
            let length = data.len() as u32;
            let written = async { work.write(&*work.opened(open.0)?, offset, data).await };
            match written.await {
                Ok(()) => reply.written(length),
                Err(error) => reply.error(code(error)),
            }
        });
    }
    fn flush(&self, _: &Request, _: INodeNo, open: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        self.done(reply, |work| async move { work.close(&*work.opened(open.0)?).await });
    }
    fn fsync(&self, _: &Request, _: INodeNo, open: FileHandle, _: bool, reply: ReplyEmpty) {
        self.done(reply, |work| async move { work.commit(&*work.opened(open.0)?).await });
    }
    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        open: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        let closed = self.work.closed(open.0);
        self.done(reply, |work| async move {
            if let Some((open, hidden)) = closed {
                work.settle(&open, hidden).await;
            }
            Ok(())
        });
    }
    fn opendir(&self, request: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.open(request, number, flags, reply);
    }
    fn readdir(&self, _: &Request, _: INodeNo, open: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let work = self.work.clone();
        self.start(async move {
            let filled = async {
                let open = work.opened(open.0)?;
                let mut listing = open.listing.lock().await;
                listing.seek(offset);
                while let Some(entry) = listing.peek(&work, &open).await? {
                    let sort = match &entry.name_attributes {
                        post_op_attr::Some(attributes) => kind(attributes.type_),
                        post_op_attr::None => FileType::RegularFile,
                    };
                    let name = OsStr::from_bytes(entry.name.as_ref());
                    if reply.add(INodeNo(entry.fileid), entry.cookie, sort, name) {
                        break;
                    }
                    listing.advance();
                }
                Ok(())
            };
            match filled.await {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(code(error)),
            }
        });
    }
    fn readdirplus(
        &self,
        _: &Request,
        _: INodeNo,
        open: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let (work, ttl) = (self.work.clone(), self.ttl);
        self.start(async move {
            let filled = async {
                let open = work.opened(open.0)?;
                let mut listing = open.listing.lock().await;
                listing.seek(offset);
                loop {
                    let Some(entry) = listing.peek(&work, &open).await? else { break };
                    let (name, cookie) = (OsStr::from_bytes(entry.name.as_ref()).to_owned(), entry.cookie);
                    let is_dots = matches!(name.as_bytes(), b"." | b"..");
                    let handle = match &entry.name_handle {
                        post_op_fh3::Some(handle) => Some(handle.clone()),
                        post_op_fh3::None => None,
                    };
                    let told = match handle {
                        // The kernel knows these two by itself and takes no reference.
                        Some(_) if is_dots => match &entry.name_attributes {
                            post_op_attr::Some(attributes) => (attributes.fileid.max(2), attributes.clone()),
                            post_op_attr::None => (2, work.attributes(&open.who, &open.handle).await?),
                        },
                        Some(handle) => {
                            let attributes = entry.name_attributes.clone();
                            match work.tell(&open.who, &handle, attributes).await {
                                Ok(told) => told,
                                // Gone since the page was made.
                                Err(Errno::STALE | Errno::NOENT) => {
                                    listing.advance();
                                    continue;
                                }
                                Err(error) => return Err(error),
                            }
                        }
                        None => match work.lookup(&open.who, open.number, &name).await {
                            Ok(told) => told,
                            Err(Errno::STALE | Errno::NOENT) => {
                                listing.advance();
                                continue;
                            }
                            Err(error) => return Err(error),
                        },
                    };
                    let attr = file_attr(told.0, &told.1);
                    if reply.add(INodeNo(told.0), cookie, &name, &ttl, &attr, GENERATION) {
                        if !is_dots {
                            work.nodes().forget(told.0, 1);
                        }
                        break;
                    }
                    listing.advance();
                }
                Ok(())
            };
            match filled.await {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(code(error)),
            }
        });
    }
    fn releasedir(&self, _: &Request, _: INodeNo, open: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.work.closed(open.0);
        reply.ok();
    }
    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        // A server answers names only when they are made; there is nothing to commit.
        reply.ok();
    }
    fn statfs(&self, request: &Request, _: INodeNo, reply: ReplyStatfs) {
        const BLOCK: u64 = 4096;
        let (who, work) = (self.who(request), self.work.clone());
        self.start(async move {
            match work.statfs(&who).await {
                Ok(full) => reply.statfs(
                    full.tbytes / BLOCK,
                    full.fbytes / BLOCK,
                    full.abytes / BLOCK,
                    full.tfiles,
                    full.ffiles,
                    BLOCK as u32,
                    255,
                    BLOCK as u32,
                ),
                Err(error) => reply.error(code(error)),
            }
        });
    }
}
