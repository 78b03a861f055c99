//! Walks a directory: parents before children, names in order, hard links by their first name.
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::File,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::ffi::OsStrExt,
    },
};

use rustix::{
    fs::{self, AtFlags, Dir, FileType, Mode, OFlags, SeekFrom, Stat},
    io::Errno,
};

use super::{Directory, Error, at, through_proc};
use crate::tree_stream::{Attributes, Entry, Extent, Node, Raw, Time};

/// Extended attributes that the system makes by itself.
const OWN_ATTRIBUTES: &[&[u8]] = &[b"security.selinux", b"security.ima", b"security.evm"];

/// Is shown each entry, and a file opened.
type Visit<'v> = &'v mut dyn FnMut(&Entry, Option<&File>) -> Result<(), Error>;
type FirstNames = BTreeMap<(u64, u64), Raw>;

impl Directory {
    /// Shows every entry to `visit`, the root first; for regular files with the open file.
    ///
    /// # Errors
    /// The first trouble of the file system or of `visit` ends the walk. An entry that vanishes between listing
    /// and looking is left out.
    pub fn walk(&self, visit: Visit<'_>) -> Result<(), Error> {
        let root = Raw::default();
        let stat = at("look at", &root, fs::fstat(&self.root))?;
        let attributes = attributes(self.handle(), OsStr::new("."), &stat);
        let attributes = at("read the attributes of", &root, attributes)?;
        visit(&Entry { path: root.clone(), node: Node::Directory, attributes }, None)?;
        self.below(&root, &mut FirstNames::new(), visit)
    }

    fn below(&self, directory: &Raw, first_names: &mut FirstNames, visit: Visit<'_>) -> Result<(), Error> {
        let (parent, name) = at("reach", directory, self.place(directory))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = at("open", directory, fs::openat(&parent, name, flags, Mode::empty()))?;
        drop(parent);
        let mut names = Vec::new();
        for found in at("list", directory, Dir::read_from(&handle))? {
            let found = at("list", directory, found)?;
            let name = found.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                names.push(name.to_vec());
            }
        }
        names.sort();
        let mut directories = Vec::new();
        for name in names {
            let mut path = directory.as_bytes().to_vec();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            let path = Raw::new(path);
            let is_directory =
                self.shown(handle.as_fd(), OsStr::from_bytes(&name), &path, first_names, visit)?;
            if is_directory {
                directories.push(path);
            }
        }
        drop(handle);
        directories.iter().try_for_each(|path| self.below(path, first_names, visit))
    }

    /// Shows one entry, and tells whether it is a directory.
    fn shown(
        &self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        path: &Raw,
        first_names: &mut FirstNames,
        visit: Visit<'_>,
    ) -> Result<bool, Error> {
        let stat = match fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(false),
            stat => at("look at", path, stat)?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let attributes = at("read the attributes of", path, attributes(parent, name, &stat))?;
        let (major, minor) = (fs::major(stat.st_rdev), fs::minor(stat.st_rdev));
        if kind != FileType::Directory && stat.st_nlink > 1 {
            if let Some(to) = first_names.get(&(stat.st_dev, stat.st_ino)) {
                let node = Node::HardLink { to: to.clone() };
                visit(&Entry { path: path.clone(), node, attributes }, None)?;
                return Ok(false);
            }
            first_names.insert((stat.st_dev, stat.st_ino), path.clone());
        }
        let node = match kind {
            FileType::Directory => Node::Directory,
            FileType::Symlink => {
                let target = at("read the link", path, fs::readlinkat(parent, name, Vec::new()))?;
                Node::Symlink { target: Raw::new(target.into_bytes()) }
            }
            FileType::Fifo => Node::Fifo,
            FileType::Socket => Node::Socket,
            FileType::CharacterDevice => Node::CharDevice { major, minor },
            FileType::BlockDevice => Node::BlockDevice { major, minor },
            FileType::RegularFile | FileType::Unknown => {
                // Not blocking, so that a pipe that took the file's place cannot hang the walk.
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file = File::from(at("open", path, fs::openat(parent, name, flags, Mode::empty()))?);
                let size = at("look at", path, file.metadata())?.len();
                let extents = at("map the holes of", path, extents(&file, size))?;
                let node = Node::File { size, extents };
                visit(&Entry { path: path.clone(), node, attributes }, Some(&file))?;
                return Ok(false);
            }
        };
        visit(&Entry { path: path.clone(), node, attributes }, None)?;
        Ok(kind == FileType::Directory)
    }
}

/// The stored runs of a file, as the file system tells; the file's position is moved.
pub fn extents(file: &File, size: u64) -> std::io::Result<Vec<Extent>> {
    let mut extents = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match fs::seek(file, SeekFrom::Data(at)) {
            // No data up to the end.
            Err(Errno::NXIO) => break,
            start => start?,
        };
        let end = fs::seek(file, SeekFrom::Hole(start))?.min(size);
        if end <= start {
            break;
        }
        extents.push(Extent { at: start, length: end - start });
        at = end;
    }
    Ok(extents)
}

fn attributes(parent: BorrowedFd<'_>, name: &OsStr, stat: &Stat) -> std::io::Result<Attributes> {
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Ok(Attributes {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Time { seconds: stat.st_mtime, nanoseconds },
        xattrs: xattrs(parent, name)?,
    })
}

/// The names of an entry's extended attributes that somebody set.
pub(super) fn xattr_names(place: &OsStr) -> std::io::Result<Vec<Vec<u8>>> {
    let names = names(place)?;
    let set =
        names.split(|byte| *byte == 0).filter(|name| !name.is_empty() && !OWN_ATTRIBUTES.contains(name));
    Ok(set.map(<[u8]>::to_vec).collect())
}

fn xattrs(parent: BorrowedFd<'_>, name: &OsStr) -> std::io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let path = through_proc(parent, name);
    let path = OsStr::from_bytes(&path);
    let mut xattrs = BTreeMap::new();
    for key in xattr_names(path)? {
        match value(path, OsStr::from_bytes(&key)) {
            Ok(value) => {
                xattrs.insert(key, value);
            }
            // Removed since it was listed, or kept by the system for others.
            Err(Errno::NODATA | Errno::ACCESS | Errno::PERM | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(xattrs)
}

fn names(path: &OsStr) -> std::io::Result<Vec<u8>> {
    loop {
        let length = match fs::llistxattr_query(path) {
            Ok(0) | Err(Errno::OPNOTSUPP | Errno::NOENT) => return Ok(Vec::new()),
            length => length?,
        };
        let mut names = vec![0; length];
        match fs::llistxattr(path, &mut names[..]) {
            // Another one came in between.
            Err(Errno::RANGE) => {}
            length => {
                names.truncate(length?);
                return Ok(names);
            }
        }
    }
}

fn value(path: &OsStr, name: &OsStr) -> Result<Vec<u8>, Errno> {
    loop {
        let length = fs::lgetxattr_query(path, name)?;
        // One more than needed: an empty buffer would only ask for the length again.
        let mut value = vec![0; length + 1];
        match fs::lgetxattr(path, name, &mut value[..]) {
            Err(Errno::RANGE) => {}
            length => {
                value.truncate(length?);
                return Ok(value);
            }
        }
    }
}
