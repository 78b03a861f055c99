//! Plants entries into a directory: makes or replaces them, with everything they have.
//!
//! Directories get their attributes at the end ([`Planter::finish`]), because what is planted into them would
//! change their times, and because their mode or default ACL could stand in the way. A planter that is dropped
//! before leaves directories that only their maker can enter.
use std::{ffi::OsStr, fs::File, io, os::fd::AsFd, os::unix::ffi::OsStrExt};

use rustix::{
    fs::{self, AtFlags, Dir, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags},
    io::Errno,
};

use super::{Directory, Error, at, through_proc, walk::xattr_names};
use crate::tree_stream::{Attributes, Entry, Node, Raw};

/// Plants entries into a directory.
pub struct Planter<'d> {
    directory: &'d Directory,
    /// Directories whose attributes are still to be set, in order of planting.
    directories: Vec<(Raw, Attributes)>,
    is_lenient: bool,
    /// What could not be given to an entry; only with leniency.
    left_out: Vec<String>,
}

impl<'d> Planter<'d> {
    /// A planter that treats every refusal as an error.
    pub fn new(directory: &'d Directory) -> Self {
        Self { directory, directories: Vec::new(), is_lenient: false, left_out: Vec::new() }
    }
    /// Owners, devices and attributes that the caller may not set are listed instead of being an error.
    #[must_use]
    pub fn lenient(mut self, is_lenient: bool) -> Self {
        self.is_lenient = is_lenient;
        self
    }

    /// Makes an entry, or puts it in the place of what is there; `fill` writes a file's extents into the file,
    /// which already has its length.
    pub fn put(
        &mut self,
        entry: &Entry,
        fill: impl FnOnce(&mut File) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let path = &entry.path;
        let (parent, name) = at("reach", path, self.directory.place(path))?;
        if matches!(entry.node, Node::Directory) {
            match fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
                // What it had goes now: a default ACL would be inherited by what is planted next.
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                    self.strip(path, &through_proc(parent.as_fd(), name))?;
                }
                _ => {
                    self.remove(path)?;
                    at("make the directory", path, fs::mkdirat(&parent, name, Mode::RWXU))?;
                }
            }
            self.directories.push((path.clone(), entry.attributes.clone()));
            return Ok(());
        }
        self.remove(path)?;
        let (major, minor, kind) = match &entry.node {
            Node::Directory => return Ok(()),
            Node::File { size, .. } => {
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let handle = fs::openat(&parent, name, flags, Mode::RUSR | Mode::WUSR);
                let mut file = File::from(at("create", path, handle)?);
                at("set the length of", path, file.set_len(*size))?;
                fill(&mut file)?;
                drop(file);
                return self.dress(path, &entry.attributes, FileType::RegularFile);
            }
            Node::Symlink { target } => {
                let target = OsStr::from_bytes(target.as_bytes());
                at("make the link", path, fs::symlinkat(target, &parent, name))?;
                return self.dress(path, &entry.attributes, FileType::Symlink);
            }
            Node::HardLink { to } => {
                let (first_parent, first_name) = at("reach", to, self.directory.place(to))?;
                let linked = fs::linkat(&first_parent, first_name, &parent, name, AtFlags::empty());
                return match linked {
                    // The first name was left out, so is the second.
                    Err(Errno::NOENT) if self.is_lenient => {
                        self.left_out.push(format!("{path}: its first name {to} was left out"));
                        Ok(())
                    }
                    linked => at("link", path, linked),
                };
            }
            Node::Fifo => (0, 0, FileType::Fifo),
            Node::Socket => (0, 0, FileType::Socket),
            Node::CharDevice { major, minor } => (*major, *minor, FileType::CharacterDevice),
            Node::BlockDevice { major, minor } => (*major, *minor, FileType::BlockDevice),
        };
        let made = fs::mknodat(&parent, name, kind, Mode::RUSR | Mode::WUSR, fs::makedev(major, minor));
        if self.allowed("make the special file", path, made)? {
            self.dress(path, &entry.attributes, kind)
        } else {
            Ok(())
        }
    }

    /// Removes an entry with all below it; an absent one is fine. For the root: all below it.
    pub fn remove(&mut self, path: &Raw) -> Result<(), Error> {
        let is_within = |inner: &Raw| {
            path.is_empty()
                || inner == path
                || inner.as_bytes().strip_prefix(path.as_bytes()).is_some_and(|rest| rest.starts_with(b"/"))
        };
        self.directories.retain(|(directory, _)| !is_within(directory));
        let (parent, name) = at("reach", path, self.directory.place(path))?;
        self.directory.moved();
        at("remove", path, remove(parent.as_fd(), name, path.is_empty()))
    }

    /// Gives the directories what they have, deepest first, and tells what was left out.
    pub fn finish(mut self) -> Result<Vec<String>, Error> {
        let mut directories = std::mem::take(&mut self.directories);
        directories.sort_by_key(|(path, _)| {
            std::cmp::Reverse(
                path.as_bytes().split(|byte| *byte == b'/').count() + usize::from(!path.is_empty()),
            )
        });
        for (path, attributes) in &directories {
            self.dress(path, attributes, FileType::Directory)?;
        }
        Ok(self.left_out)
    }

    fn strip(&mut self, path: &Raw, place: &[u8]) -> Result<(), Error> {
        let place = OsStr::from_bytes(place);
        for key in at("read the attributes of", path, xattr_names(place))? {
            let removed = fs::lremovexattr(place, OsStr::from_bytes(&key));
            self.allowed("take an extended attribute from", path, removed)?;
        }
        Ok(())
    }

    /// Owner first (it clears setuid bits and capabilities), then mode, attributes, and the time last.
    fn dress(&mut self, path: &Raw, attributes: &Attributes, kind: FileType) -> Result<(), Error> {
        let (parent, name) = at("reach", path, self.directory.place(path))?;
        let (uid, gid) = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
        let stat = at("look at", path, fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW))?;
        if (stat.st_uid, stat.st_gid) != (attributes.uid, attributes.gid) {
            let owned = fs::chownat(&parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
            self.allowed("give the owner to", path, owned)?;
        }
        if kind != FileType::Symlink {
            let mode = Mode::from_raw_mode(attributes.mode);
            at("set the mode of", path, fs::chmodat(&parent, name, mode, AtFlags::empty()))?;
        }
        if !attributes.xattrs.is_empty() {
            let place = through_proc(parent.as_fd(), name);
            for (key, value) in &attributes.xattrs {
                let key = OsStr::from_bytes(key);
                let set = fs::lsetxattr(OsStr::from_bytes(&place), key, value, XattrFlags::empty());
                self.allowed("give an extended attribute to", path, set)?;
            }
        }
        let seconds = attributes.mtime.seconds;
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: fs::UTIME_OMIT },
            last_modification: Timespec { tv_sec: seconds, tv_nsec: i64::from(attributes.mtime.nanoseconds) },
        };
        at("set the time of", path, fs::utimensat(&parent, name, &times, AtFlags::SYMLINK_NOFOLLOW))
    }

    /// Whether it was done; a refusal for lack of rights or support is listed where that is wanted.
    fn allowed(&mut self, doing: &'static str, path: &Raw, result: Result<(), Errno>) -> Result<bool, Error> {
        match result {
            Err(error @ (Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP)) if self.is_lenient => {
                self.left_out.push(format!("{path}: may not {doing} it: {error}"));
                Ok(false)
            }
            result => at(doing, path, result).map(|()| true),
        }
    }
}

fn remove(parent: std::os::fd::BorrowedFd<'_>, name: &OsStr, keep: bool) -> io::Result<()> {
    if !keep {
        match fs::unlinkat(parent, name, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(Errno::NOENT) => return Ok(()),
            result => return Ok(result?),
        }
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = fs::openat(parent, name, flags, Mode::empty())?;
    let names: Result<Vec<Vec<u8>>, Errno> =
        Dir::read_from(&handle)?.map(|found| Ok(found?.file_name().to_bytes().to_vec())).collect();
    for inner in names? {
        if !matches!(&inner[..], b"." | b"..") {
            remove(handle.as_fd(), OsStr::from_bytes(&inner), false)?;
        }
    }
    if keep { Ok(()) } else { Ok(fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?) }
}
