//! The work behind each file operation, in NFS's procedures and without FUSE's words.
//!
//! Close-to-open: an open asks for fresh attributes, a close commits what was written. A file that is removed or
//! replaced while this mount has it open is renamed to `.nfs…` and removed at its last close, as every NFS client
//! does. Contents are read and written with the credentials of who opened the file.
#![allow(clippy::wildcard_imports, reason = "the protocol's words are one vocabulary, used by the dozen")]
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use nfs3_types::{
    nfs3::*,
    rpc::auth_unix,
    xdr_codec::{Opaque, Void},
};
use rustix::{fs::OFlags, io::Errno};

use super::{
    listing::Listing,
    nodes::{Hidden, Nodes},
    remote::Remote,
    unstable::{Told, Unstable},
};
use NFS_PROGRAM::*;

/// The work on one mount.
pub struct Work {
    /// The server.
    pub remote: Remote,
    /// Every write is stable before it returns.
    pub is_sync: bool,
    nodes: Mutex<Nodes>,
    opens: Mutex<BTreeMap<u64, Arc<Open>>>,
    next: AtomicU64,
}

/// An open file or directory.
pub struct Open {
    /// Its number.
    pub number: u64,
    /// Its handle.
    pub handle: nfs_fh3,
    /// Who opened it.
    pub who: auth_unix,
    /// Every write is stable before it returns.
    pub is_sync: bool,
    /// It can be written through; a close of any other has nothing to wait for.
    pub is_writable: bool,
    /// A directory's names, as far as they were read.
    pub listing: tokio::sync::Mutex<Listing>,
    unstable: Arc<Unstable>,
    told: Told,
}

/// A file that the kernel is told of: its number, and how the server shows it.
pub type Entry = (u64, fattr3);

impl Work {
    /// Work on what was mounted.
    pub fn new(remote: Remote, is_sync: bool) -> Self {
        let nodes = Mutex::new(Nodes::new(remote.root.clone()));
        Self { remote, is_sync, nodes, opens: Mutex::default(), next: AtomicU64::new(1) }
    }
    /// The nodes.
    pub fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().expect("no holder of the nodes' lock panics")
    }
    fn opens(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Open>>> {
        self.opens.lock().expect("no holder of the open files' lock panics")
    }
    /// The handle of a node.
    ///
    /// # Errors
    /// ESTALE for a node that is not known.
    pub fn handle(&self, number: u64) -> Result<nfs_fh3, Errno> {
        self.nodes().get(number).map(|node| node.handle.clone()).ok_or(Errno::STALE)
    }
    /// An open file by its number among the open ones.
    ///
    /// # Errors
    /// EBADF.
    pub fn opened(&self, open: u64) -> Result<Arc<Open>, Errno> {
        self.opens().get(&open).cloned().ok_or(Errno::BADF)
    }
    fn place<'a>(&self, directory: u64, name: &'a OsStr) -> Result<diropargs3<'a>, Errno> {
        Ok(diropargs3 { dir: self.handle(directory)?, name: filename3(Opaque::borrowed(name.as_bytes())) })
    }

    /// Attributes, from the server.
    pub async fn attributes(&self, who: &auth_unix, handle: &nfs_fh3) -> Result<fattr3, Errno> {
        let args = GETATTR3args { object: handle.clone() };
        let found: GETATTR3resok = self.remote.ask::<_, _, Void>(NFSPROC3_GETATTR, who, &args).await?;
        Ok(found.obj_attributes)
    }
    /// Tells the kernel of a file whose attributes may not have come along.
    pub async fn tell(
        &self,
        who: &auth_unix,
        handle: &nfs_fh3,
        attributes: post_op_attr,
    ) -> Result<Entry, Errno> {
        let attributes = match attributes {
            post_op_attr::Some(attributes) => attributes,
            post_op_attr::None => self.attributes(who, handle).await?,
        };
        Ok((self.nodes().learn(handle, attributes.fileid), attributes))
    }
    async fn find(&self, who: &auth_unix, directory: u64, name: &OsStr) -> Result<LOOKUP3resok, Errno> {
        let args = LOOKUP3args { what: self.place(directory, name)? };
        self.remote.ask::<_, _, LOOKUP3resfail>(NFSPROC3_LOOKUP, who, &args).await
    }
    /// A name in a directory.
    pub async fn lookup(&self, who: &auth_unix, directory: u64, name: &OsStr) -> Result<Entry, Errno> {
        let found = self.find(who, directory, name).await?;
        self.tell(who, &found.object, found.obj_attributes).await
    }
    /// Tells of what was made, asking for its handle if that did not come along.
    async fn made(
        &self,
        who: &auth_unix,
        (directory, name): (u64, &OsStr),
        handle: post_op_fh3,
        attributes: post_op_attr,
    ) -> Result<Entry, Errno> {
        match handle {
            post_op_fh3::Some(handle) => self.tell(who, &handle, attributes).await,
            post_op_fh3::None => self.lookup(who, directory, name).await,
        }
    }

    /// Sets attributes; a new size only after what was written before is safe.
    pub async fn set(
        &self,
        who: &auth_unix,
        number: u64,
        open: Option<u64>,
        new: sattr3,
    ) -> Result<fattr3, Errno> {
        let handle = self.handle(number)?;
        // Who has the file open for writing may cut it, whatever its mode became.
        let opened = open.and_then(|open| self.opened(open).ok());
        let who = opened.as_deref().map_or(who, |open| &open.who);
        if new.size.is_some() {
            let unstable = self.nodes().get(number).map(|node| node.unstable.clone());
            if let Some(unstable) = unstable {
                unstable.commit(&self.remote, who, &handle, &unstable.told()).await?;
            }
        }
        let args = SETATTR3args { object: handle.clone(), new_attributes: new, guard: sattrguard3::None };
        let done: SETATTR3resok =
            self.remote.ask::<_, _, SETATTR3resfail>(NFSPROC3_SETATTR, who, &args).await?;
        match done.obj_wcc.after {
            post_op_attr::Some(attributes) => Ok(attributes),
            post_op_attr::None => self.attributes(who, &handle).await,
        }
    }
    /// Where a link leads.
    pub async fn readlink(&self, who: &auth_unix, number: u64) -> Result<Vec<u8>, Errno> {
        let args = READLINK3args { symlink: self.handle(number)? };
        let read: READLINK3resok<'static> =
            self.remote.ask::<_, _, READLINK3resfail>(NFSPROC3_READLINK, who, &args).await?;
        Ok(read.data.0.into_owned())
    }

    /// Makes a directory.
    pub async fn mkdir(
        &self,
        who: &auth_unix,
        directory: u64,
        name: &OsStr,
        mode: u32,
    ) -> Result<Entry, Errno> {
        let args = MKDIR3args { where_: self.place(directory, name)?, attributes: with_mode(mode) };
        let made: MKDIR3resok = self.remote.ask::<_, _, MKDIR3resfail>(NFSPROC3_MKDIR, who, &args).await?;
        self.made(who, (directory, name), made.obj, made.obj_attributes).await
    }
    /// Makes a symbolic link.
    pub async fn symlink(
        &self,
        who: &auth_unix,
        directory: u64,
        name: &OsStr,
        to: &OsStr,
    ) -> Result<Entry, Errno> {
        let symlink_data = nfspath3(Opaque::borrowed(to.as_bytes()));
        let symlink = symlinkdata3 { symlink_attributes: with_mode(0o777), symlink_data };
        let args = SYMLINK3args { where_: self.place(directory, name)?, symlink };
        let made: SYMLINK3resok =
            self.remote.ask::<_, _, SYMLINK3resfail>(NFSPROC3_SYMLINK, who, &args).await?;
        self.made(who, (directory, name), made.obj, made.obj_attributes).await
    }
    /// Makes a special file; a regular one is made as by [`Work::create`].
    pub async fn mknod(
        &self,
        who: &auth_unix,
        directory: u64,
        name: &OsStr,
        what: mknoddata3,
    ) -> Result<Entry, Errno> {
        let args = MKNOD3args { where_: self.place(directory, name)?, what };
        let made: MKNOD3resok = self.remote.ask::<_, _, MKNOD3resfail>(NFSPROC3_MKNOD, who, &args).await?;
        self.made(who, (directory, name), made.obj, made.obj_attributes).await
    }
    /// Makes a file. An exclusive one is made under a verifier, so that asking twice is no error.
    pub async fn create(
        &self,
        who: &auth_unix,
        directory: u64,
        name: &OsStr,
        mode: u32,
        is_exclusive: bool,
        is_cut: bool,
    ) -> Result<Entry, Errno> {
        let how = if is_exclusive {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let run = u64::from(std::process::id()) << 32;
            createhow3::EXCLUSIVE(createverf3((run ^ number).to_be_bytes()))
        } else {
            let size = if is_cut { set_size3::Some(0) } else { set_size3::None };
            createhow3::UNCHECKED(sattr3 { size, ..with_mode(mode) })
        };
        let args = CREATE3args { where_: self.place(directory, name)?, how };
        let made: CREATE3resok = self.remote.ask::<_, _, CREATE3resfail>(NFSPROC3_CREATE, who, &args).await?;
        let (number, attributes) = self.made(who, (directory, name), made.obj, made.obj_attributes).await?;
        if !is_exclusive {
            return Ok((number, attributes));
        }
        // The verifier lies in the times, and no attributes were set.
        let atime = set_atime::SET_TO_SERVER_TIME;
        let new = sattr3 { atime, mtime: set_mtime::SET_TO_SERVER_TIME, ..with_mode(mode) };
        match self.set(who, number, None, new).await {
            Ok(attributes) => Ok((number, attributes)),
            Err(error) => {
                self.nodes().forget(number, 1);
                Err(error)
            }
        }
    }
    /// Gives a file one more name.
    pub async fn link(
        &self,
        who: &auth_unix,
        number: u64,
        directory: u64,
        name: &OsStr,
    ) -> Result<Entry, Errno> {
        let handle = self.handle(number)?;
        let args = LINK3args { file: handle.clone(), link: self.place(directory, name)? };
        let linked: LINK3resok = self.remote.ask::<_, _, LINK3resfail>(NFSPROC3_LINK, who, &args).await?;
        self.tell(who, &handle, linked.file_attributes).await
    }
    /// Removes a name of a file; one that is open here is hidden in its place.
    pub async fn unlink(&self, who: &auth_unix, directory: u64, name: &OsStr) -> Result<(), Errno> {
        if self.hide_if_open(who, directory, name).await? {
            return Ok(());
        }
        self.remove(who, self.place(directory, name)?).await
    }
    async fn remove(&self, who: &auth_unix, object: diropargs3<'_>) -> Result<(), Errno> {
        let args = REMOVE3args { object };
        self.remote.ask::<_, REMOVE3resok, REMOVE3resfail>(NFSPROC3_REMOVE, who, &args).await.map(drop)
    }
    /// Removes an empty directory.
    pub async fn rmdir(&self, who: &auth_unix, directory: u64, name: &OsStr) -> Result<(), Errno> {
        let args = RMDIR3args { object: self.place(directory, name)? };
        self.remote.ask::<_, RMDIR3resok, RMDIR3resfail>(NFSPROC3_RMDIR, who, &args).await.map(drop)
    }
    /// Renames; a file that is open here and would be replaced is hidden first.
    pub async fn rename(&self, who: &auth_unix, from: (u64, &OsStr), to: (u64, &OsStr)) -> Result<(), Errno> {
        self.hide_if_open(who, to.0, to.1).await?;
        self.rename_to(who, self.place(from.0, from.1)?, self.place(to.0, to.1)?).await
    }
    async fn rename_to(
        &self,
        who: &auth_unix,
        from: diropargs3<'_>,
        to: diropargs3<'_>,
    ) -> Result<(), Errno> {
        let args = RENAME3args { from, to };
        self.remote.ask::<_, RENAME3resok, RENAME3resfail>(NFSPROC3_RENAME, who, &args).await.map(drop)
    }
    /// Renames a file that is open here out of sight, and notes where; tells whether it did.
    async fn hide_if_open(&self, who: &auth_unix, directory: u64, name: &OsStr) -> Result<bool, Errno> {
        if !self.nodes().is_any_open() {
            return Ok(false);
        }
        let found = match self.find(who, directory, name).await {
            Ok(found) => found.object,
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(error),
        };
        if !self.nodes().is_open(&found) {
            return Ok(false);
        }
        let mark = self.next.fetch_add(1, Ordering::Relaxed);
        let hidden = OsString::from(format!(".nfs{:08x}{mark:08x}", std::process::id()));
        self.rename_to(who, self.place(directory, name)?, self.place(directory, &hidden)?).await?;
        let hidden = Hidden { directory: self.handle(directory)?, name: hidden };
        let closed_meanwhile = self.nodes().hide(&found, hidden);
        if let Some(hidden) = closed_meanwhile {
            self.reveal(who, &hidden).await;
        }
        Ok(true)
    }
    /// Removes a hidden file for good.
    async fn reveal(&self, who: &auth_unix, hidden: &Hidden) {
        let name = filename3(Opaque::borrowed(hidden.name.as_bytes()));
        if let Err(error) = self.remove(who, diropargs3 { dir: hidden.directory.clone(), name }).await {
            tracing::warn!(%error, name = ?hidden.name, "a removed file stays behind on the server");
        }
    }

    /// Notes an open file; its number among the open ones. The kernel's own order of opens and closes is kept
    /// by calling this, and [`Work::closed`], before anything is waited for.
    ///
    /// # Errors
    /// ESTALE for a node that is not known.
    pub fn open(&self, who: auth_unix, number: u64, flags: OFlags) -> Result<u64, Errno> {
        let (handle, unstable) = {
            let mut nodes = self.nodes();
            let node = nodes.open(number).ok_or(Errno::STALE)?;
            (node.handle.clone(), node.unstable.clone())
        };
        let told = unstable.told();
        let is_sync = self.is_sync || flags.intersects(OFlags::SYNC | OFlags::DSYNC);
        let is_writable = flags.intersects(OFlags::WRONLY | OFlags::RDWR);
        let open = Open {
            number,
            handle,
            who,
            is_sync,
            is_writable,
            listing: tokio::sync::Mutex::default(),
            unstable,
            told,
        };
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        self.opens().insert(key, Arc::new(open));
        Ok(key)
    }
    /// Notes that an open file was closed; what is left to do for it.
    pub fn closed(&self, open: u64) -> Option<(Arc<Open>, Option<Hidden>)> {
        let open = self.opens().remove(&open)?;
        let hidden = self.nodes().close(open.number);
        Some((open, hidden))
    }
    /// Does what is left to do for a closed file.
    pub async fn settle(&self, open: &Open, hidden: Option<Hidden>) {
        if let Some(hidden) = hidden {
            self.reveal(&open.who, &hidden).await;
        } else if !open.unstable.is_empty().await {
            // Written through a memory map after the last close: nobody is left to be told.
            if let Err(error) = self.commit(open).await {
                tracing::error!(%error, "a write through a memory map is lost");
            }
        }
    }
    /// Reads; short only at the end of the file.
    pub async fn read(&self, open: &Open, offset: u64, size: u32) -> Result<Vec<u8>, Errno> {
        let mut data = Vec::with_capacity(size as usize);
        while data.len() < size as usize {
            let count = (size - data.len() as u32).min(self.remote.read_bytes);
            let args = READ3args { file: open.handle.clone(), offset: offset + data.len() as u64, count };
            let part: READ3resok<'static> =
                self.remote.ask::<_, _, READ3resfail>(NFSPROC3_READ, &open.who, &args).await?;
            data.extend_from_slice(&part.data);
            if part.eof || part.data.is_empty() {
                break;
            }
        }
        Ok(data)
    }
    /// Writes.
    pub async fn write(&self, open: &Open, offset: u64, data: Vec<u8>) -> Result<(), Errno> {
        open.unstable.write(&self.remote, &open.who, &open.handle, offset, data, open.is_sync).await
    }
    /// Commits what was written, and tells of errors.
    pub async fn commit(&self, open: &Open) -> Result<(), Errno> {
        open.unstable.commit(&self.remote, &open.who, &open.handle, &open.told).await
    }
    /// Commits what was written through a file that is being closed, as the kernel's client does.
    pub async fn close(&self, open: &Open) -> Result<(), Errno> {
        if open.is_writable { self.commit(open).await } else { Ok(()) }
    }
    /// How full the file system is.
    pub async fn statfs(&self, who: &auth_unix) -> Result<FSSTAT3resok, Errno> {
        let args = FSSTAT3args { fsroot: self.remote.root.clone() };
        self.remote.ask::<_, _, FSSTAT3resfail>(NFSPROC3_FSSTAT, who, &args).await
    }
}

fn with_mode(mode: u32) -> sattr3 {
    sattr3 { mode: set_mode3::Some(mode & 0o7777), ..sattr3::default() }
}
