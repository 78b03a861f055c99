//! A directory of the local file system as a tree with all its attributes: walked, planted, copied.
//!
//! Speaks in the entries of [`crate::tree_stream`]. Never follows a symlink and never leaves its root: every
//! operation goes by handles of parents, opened name by name. Extended attributes go through `/proc`. What the
//! caller's rights do not allow is an error, or a line in a list where the caller asked for that. It does not
//! carry ctime, atime, inode numbers, project quotas or file flags.
mod copy;
mod plant;
#[cfg(test)]
pub(crate) mod tests;
mod walk;

use std::{
    cell::RefCell,
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    rc::Rc,
};

use rustix::fs::{self, Mode, OFlags};

pub use copy::copy;
pub use plant::Planter;
pub use walk::extents;

use crate::tree_stream::{self, Raw};

/// Why a directory could not be walked or planted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("failed to {doing} {path}")]
    At {
        /// What was to be done.
        doing: &'static str,
        /// With what, relative to the root.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The stream at the other end failed.
    #[error(transparent)]
    Stream(#[from] tree_stream::Error),
}

impl Error {
    /// The system's number of the error, if it is one.
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Self::At { source, .. } => source.raw_os_error(),
            Self::Stream(_) => None,
        }
    }
}

/// Adds what was to be done, and with what.
fn at<T>(doing: &'static str, path: &Raw, result: Result<T, impl Into<io::Error>>) -> Result<T, Error> {
    result.map_err(|error| Error::At { doing, path: path.to_string(), source: error.into() })
}

/// A directory as the root of a tree.
pub struct Directory {
    root: Rc<OwnedFd>,
    /// The parent that was opened last: trees come in order, so the next one is mostly the same.
    parent: RefCell<Option<(Vec<u8>, Rc<OwnedFd>)>>,
}

const STEP: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Directory {
    /// Opens a directory that exists.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { root: Rc::new(fs::open(path, flags, Mode::empty())?), parent: RefCell::default() })
    }
    /// Its handle.
    pub fn handle(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
    /// A handle of the containing directory, and the last name; `.` for the root.
    fn place<'p>(&self, path: &'p Raw) -> io::Result<(Rc<OwnedFd>, &'p OsStr)> {
        let bytes = path.as_bytes();
        let (before, name) = match bytes.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&bytes[..slash], &bytes[slash + 1..]),
            None => (&b""[..], bytes),
        };
        let name = if name.is_empty() { OsStr::new(".") } else { OsStr::from_bytes(name) };
        if before.is_empty() {
            return Ok((Rc::clone(&self.root), name));
        }
        if let Some((known, handle)) = &*self.parent.borrow()
            && known == before
        {
            return Ok((Rc::clone(handle), name));
        }
        let mut handle = Rc::clone(&self.root);
        for step in before.split(|byte| *byte == b'/') {
            handle = Rc::new(fs::openat(&handle, OsStr::from_bytes(step), STEP, Mode::empty())?);
        }
        *self.parent.borrow_mut() = Some((before.to_vec(), Rc::clone(&handle)));
        Ok((handle, name))
    }
    /// Forgets the handle of the last parent: it may be removed now.
    fn moved(&self) {
        self.parent.borrow_mut().take();
    }
}

/// The path by which calls that take no handle reach an entry without following it.
fn through_proc(parent: BorrowedFd<'_>, name: &OsStr) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.as_bytes());
    path
}
