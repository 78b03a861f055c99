//! One call's view of the export: the directory it is shown, as whom it acts, and how handles become files.
//!
//! A session is made per call, so that a switch turned between two calls is felt by the second. What every
//! procedure needs is here; the procedures are in [`super::look`], [`super::change`] and [`super::list`].
use std::{
    ffi::{CStr, CString},
    os::fd::OwnedFd,
    sync::Arc,
};

use nfs3_types::nfs3::{filename3, nfs_fh3, nfsstat3, post_op_attr};

use super::{
    attributes::{Attributes, EXECUTE},
    export::Export,
    folder::Folder,
    handle::{Handle, Inode, MountPath, Target},
    identity::Identity,
};
use crate::nfs_control::Switches;

/// One call's view.
pub struct Session {
    /// The export.
    pub export: Arc<Export>,
    /// Its switches when the call came.
    pub switches: Switches,
    /// The directory it is shown.
    pub folder: Arc<Folder>,
    /// As whom it acts.
    pub who: Identity,
    /// A verdict's wish: say it was done and do not do it.
    pub swallow: bool,
}

/// The result of a procedure.
pub type Answer<T> = Result<T, nfsstat3>;

/// A file that was found, open to be looked at.
pub struct Found {
    /// What the handle pointed to.
    pub target: Target,
    /// Its descriptor (`O_PATH`).
    pub file: OwnedFd,
    /// Its attributes.
    pub attributes: Attributes,
}

impl Session {
    /// The number of the file system.
    pub fn fsid(&self) -> u64 {
        self.export.fsid(&self.switches)
    }
    /// What a handle points to.
    ///
    /// # Errors
    /// `NFS3ERR_STALE` for handles of another file system, `NFS3ERR_BADHANDLE` for what is none.
    pub fn target(&self, handle: &nfs_fh3) -> Answer<Target> {
        let handle = Handle::unpack(handle).ok_or(nfsstat3::NFS3ERR_BADHANDLE)?;
        if handle.fsid == self.fsid() { Ok(handle.target) } else { Err(nfsstat3::NFS3ERR_STALE) }
    }
    /// The file behind a handle.
    pub fn find(&self, handle: &nfs_fh3) -> Answer<Found> {
        let target = self.target(handle)?;
        let file = self.folder.find(target)?;
        let attributes = Attributes::read(&file, "")?;
        Ok(Found { target, file, attributes })
    }
    /// The directory behind a handle.
    pub fn directory(&self, handle: &nfs_fh3) -> Answer<Found> {
        let found = self.find(handle)?;
        if found.attributes.is_directory() { Ok(found) } else { Err(nfsstat3::NFS3ERR_NOTDIR) }
    }
    /// The handle for an inode.
    pub fn handle(&self, inode: Inode) -> nfs_fh3 {
        let is_root = inode == self.folder.root();
        self.handle_of(if is_root { Target::Mounted(MountPath::ROOT) } else { Target::Inode(inode) })
    }
    /// The handle for a target.
    pub fn handle_of(&self, target: Target) -> nfs_fh3 {
        Handle { fsid: self.fsid(), target }.pack()
    }
    /// Attributes as they travel.
    pub fn shown(&self, attributes: Attributes) -> post_op_attr {
        post_op_attr::Some(attributes.to_fattr(self.fsid()))
    }
    /// Attributes of an open file as they travel, if they can be had.
    pub fn shown_now(&self, file: &OwnedFd) -> post_op_attr {
        Attributes::read(file, "").map_or(post_op_attr::None, |attributes| self.shown(attributes))
    }
    /// Looks at a name in a directory, as the caller, and remembers it.
    pub fn look(&self, directory: &Found, name: &CStr) -> Answer<Attributes> {
        directory.attributes.check(&self.who, EXECUTE)?;
        let attributes = Attributes::read(&directory.file, name)?;
        self.folder.saw(directory.attributes.inode(), name, attributes.inode());
        Ok(attributes)
    }
    /// Refuses every change while the export is read-only.
    pub fn may_change(&self) -> Answer<()> {
        if self.switches.read_only { Err(nfsstat3::NFS3ERR_ROFS) } else { Ok(()) }
    }
    /// Runs something as the caller.
    pub fn act<T>(&self, work: impl FnOnce() -> rustix::io::Result<T>) -> Answer<T> {
        let done = self.who.act(work).map_err(|error| {
            tracing::error!(%error, who = ?self.who, "cannot act as the caller");
            nfsstat3::NFS3ERR_SERVERFAULT
        })?;
        done.map_err(crate::nfs::status::of_errno)
    }
}

/// A name for one entry of a directory.
///
/// # Errors
/// `NFS3ERR_INVAL` for what no file can be called.
pub fn name(name: &filename3<'_>) -> Answer<CString> {
    match name.as_ref() {
        b"" | b"." | b".." => Err(nfsstat3::NFS3ERR_INVAL),
        bytes if bytes.contains(&b'/') => Err(nfsstat3::NFS3ERR_INVAL),
        bytes if bytes.len() > 255 => Err(nfsstat3::NFS3ERR_NAMETOOLONG),
        bytes => CString::new(bytes).map_err(|_| nfsstat3::NFS3ERR_INVAL),
    }
}
