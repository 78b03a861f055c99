//! A tree on the local file system.
//!
//! Every path is walked from the root's own handle, one component at a time and without following
//! symlinks, so that nothing outside the root is ever read or written. Write-back errors since the tree was
//! opened are reported by [`WriteTree::sync`] (`syncfs` of a handle that is held from the start). It does
//! not cache, does not retry and does not set access times.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    num::NonZeroU64,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::FileExt as _},
    },
};

use rustix::{
    fs::{self, Advice, AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps},
    io::Errno,
    process::{Gid, Uid},
};

use super::{Entry, Kind, Path, ReadTree, Time, WriteFile, WriteTree};

/// A directory of the local file system as a tree.
#[derive(Debug)]
pub struct LocalTree {
    root: OwnedFd,
}

/// Attributes that the system sets by itself and that say nothing about the user's data.
const OWN_ATTRIBUTES: [&[u8]; 1] = [b"security.selinux"];

impl LocalTree {
    /// Opens the directory at `root`.
    ///
    /// # Errors
    /// As the system says: absent, not a directory, not permitted.
    pub fn open(root: impl AsRef<std::path::Path>) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { root: fs::openat(CWD, root.as_ref(), flags, Mode::empty())? })
    }

    /// A handle of the directory that contains `path`, and its last component.
    fn parent<'a>(&self, path: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
        let parent = path.parent().ok_or(Errno::INVAL)?;
        Ok((self.directory(&parent, OFlags::PATH)?, OsStr::from_bytes(path.name())))
    }
    fn directory(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let walk = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let parts: Vec<&[u8]> =
            path.as_bytes().split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
        let Some((last, before)) = parts.split_last() else {
            return Ok(fs::openat(&self.root, ".", flags, Mode::empty())?);
        };
        if parts.contains(&&b".."[..]) {
            return Err(Errno::INVAL.into());
        }
        let mut handle: Option<OwnedFd> = None;
        for part in before {
            let at = handle.as_ref().map_or(self.root.as_fd(), OwnedFd::as_fd);
            handle = Some(fs::openat(at, OsStr::from_bytes(part), walk, Mode::empty())?);
        }
        let at = handle.as_ref().map_or(self.root.as_fd(), OwnedFd::as_fd);
        Ok(fs::openat(at, OsStr::from_bytes(last), flags, Mode::empty())?)
    }
    fn open_file(&self, path: &Path) -> io::Result<File> {
        let (parent, name) = self.parent(path)?;
        // Not blocking, so that a pipe that took a file's place cannot hang us.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(File::from(fs::openat(&parent, name, flags, Mode::empty())?))
    }
    fn forget(&self, directory: &Path) -> io::Result<()> {
        for entry in self.read_dir(directory)? {
            let path = directory.join(&entry.name);
            match entry.kind {
                Kind::Directory => self.forget(&path)?,
                Kind::File => fs::fadvise(self.open_file(&path)?, 0, None::<NonZeroU64>, Advice::DontNeed)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether an entry has attributes that somebody set. What cannot be asked counts as none.
fn has_xattrs(parent: BorrowedFd<'_>, name: &OsStr) -> bool {
    let mut path = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.as_bytes());
    let Ok(length @ 1..) = fs::llistxattr_query(OsStr::from_bytes(&path)) else { return false };
    let mut names = vec![0_u8; length];
    let Ok(length) = fs::llistxattr(OsStr::from_bytes(&path), &mut names[..]) else { return false };
    names[..length].split(|byte| *byte == 0).any(|name| !name.is_empty() && !OWN_ATTRIBUTES.contains(&name))
}

fn entry(name: &[u8], stat: &Stat, has_xattrs: bool) -> Entry {
    let device = || (fs::major(stat.st_rdev), fs::minor(stat.st_rdev));
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::CharacterDevice => Kind::CharDevice(device().0, device().1),
        FileType::BlockDevice => Kind::BlockDevice(device().0, device().1),
        FileType::RegularFile | FileType::Unknown => Kind::File,
    };
    let length = u64::try_from(stat.st_size).unwrap_or(0);
    Entry {
        name: name.to_vec(),
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: if matches!(kind, Kind::File | Kind::Symlink) { length } else { 0 },
        mtime: Time { seconds: stat.st_mtime, nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0) },
        inode: stat.st_ino,
        links: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
        device: stat.st_dev,
        has_xattrs,
        is_sparse: kind == Kind::File && u64::try_from(stat.st_blocks).unwrap_or(0) * 512 < length,
    }
}

impl ReadTree for LocalTree {
    fn entry(&self, path: &Path) -> io::Result<Entry> {
        if path.is_root() {
            return Ok(entry(b"", &fs::fstat(&self.root)?, has_xattrs(self.root.as_fd(), OsStr::new("."))));
        }
        let (parent, name) = self.parent(path)?;
        let stat = fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(entry(path.name(), &stat, has_xattrs(parent.as_fd(), name)))
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let directory = self.directory(path, OFlags::RDONLY)?;
        let mut entries = Vec::new();
        for found in Dir::read_from(&directory)? {
            let found = found?;
            let name = found.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let text = OsStr::from_bytes(name);
            match fs::statat(&directory, text, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => entries.push(entry(name, &stat, has_xattrs(directory.as_fd(), text))),
                // Removed since it was listed.
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }
    fn read_link(&self, path: &Path) -> io::Result<Vec<u8>> {
        let (parent, name) = self.parent(path)?;
        Ok(fs::readlinkat(&parent, name, Vec::new())?.into_bytes())
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn io::Read + Send + '_>> {
        let file = self.open_file(path)?;
        if !file.metadata()?.is_file() {
            return Err(Errno::INVAL.into());
        }
        Ok(Box::new(file))
    }
}

/// A file of a local tree.
struct LocalFile(File);

impl WriteFile for LocalFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }
    fn set_len(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
    /// Closes; what the medium has to say is heard by [`WriteTree::sync`].
    fn finish(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

impl WriteTree for LocalTree {
    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        if path.is_root() {
            return Ok(());
        }
        let (parent, name) = self.parent(path)?;
        match fs::mkdirat(&parent, name, Mode::from_raw_mode(mode)) {
            Err(Errno::EXIST) if self.entry(path)?.kind == Kind::Directory => Ok(()),
            result => Ok(result?),
        }
    }
    fn create_file(&self, path: &Path, mode: u32) -> io::Result<Box<dyn WriteFile + '_>> {
        let (parent, name) = self.parent(path)?;
        let flags = OFlags::WRONLY
            | OFlags::CREATE
            | OFlags::TRUNC
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::CLOEXEC;
        Ok(Box::new(LocalFile(File::from(fs::openat(&parent, name, flags, Mode::from_raw_mode(mode))?))))
    }
    fn create_symlink(&self, path: &Path, target: &[u8]) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        Ok(fs::symlinkat(OsStr::from_bytes(target), &parent, name)?)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from_parent, from_name) = self.parent(from)?;
        let (to_parent, to_name) = self.parent(to)?;
        Ok(fs::renameat(&from_parent, from_name, &to_parent, to_name)?)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        Ok(fs::unlinkat(&parent, name, AtFlags::empty())?)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        Ok(fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)?)
    }
    fn set_owner(&self, path: &Path, uid: u32, gid: u32) -> io::Result<()> {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        if path.is_root() {
            return Ok(fs::fchown(&self.root, uid, gid)?);
        }
        let (parent, name) = self.parent(path)?;
        Ok(fs::chownat(&parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?)
    }
    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        let mode = Mode::from_raw_mode(mode);
        if path.is_root() {
            return Ok(fs::fchmod(&self.root, mode)?);
        }
        let (parent, name) = self.parent(path)?;
        if FileType::from_raw_mode(fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode)
            == FileType::Symlink
        {
            return Ok(());
        }
        Ok(fs::chmodat(&parent, name, mode, AtFlags::empty())?)
    }
    fn set_mtime(&self, path: &Path, mtime: Time) -> io::Result<()> {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: fs::UTIME_OMIT },
            last_modification: Timespec { tv_sec: mtime.seconds, tv_nsec: i64::from(mtime.nanoseconds) },
        };
        if path.is_root() {
            return Ok(fs::futimens(&self.root, &times)?);
        }
        let (parent, name) = self.parent(path)?;
        Ok(fs::utimensat(&parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }
    fn sync(&self) -> io::Result<()> {
        Ok(fs::syncfs(&self.root)?)
    }
    fn drop_caches(&self) -> io::Result<()> {
        self.forget(&Path::root())
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, os::unix::fs::symlink};

    use super::*;

    fn tree() -> (tempfile::TempDir, LocalTree) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let tree = LocalTree::open(folder.path()).expect("it opens");
        (folder, tree)
    }

    #[test]
    fn what_is_written_is_read() {
        let (_folder, tree) = tree();
        let path = Path::new("dir/file");
        tree.create_dir(&Path::new("dir"), 0o755).expect("made");
        tree.create_dir(&Path::new("dir"), 0o755).expect("an existing directory is fine");
        let mut file = tree.create_file(&path, 0o600).expect("created");
        file.write_at(4096, b"end").expect("written");
        file.finish().expect("closed");
        tree.set_mode(&path, 0o4711).expect("mode");
        tree.set_mtime(&path, Time { seconds: -5, nanoseconds: 123_456_789 }).expect("time");
        tree.sync().expect("synced");
        tree.drop_caches().expect("dropped");
        let entry = tree.entry(&path).expect("there");
        assert_eq!((entry.kind, entry.mode, entry.size), (Kind::File, 0o4711, 4099));
        assert_eq!(entry.mtime, Time { seconds: -5, nanoseconds: 123_456_789 });
        let mut bytes = Vec::new();
        tree.open(&path).expect("opens").read_to_end(&mut bytes).expect("reads");
        assert_eq!((bytes.len(), &bytes[4096..]), (4099, &b"end"[..]));
        let names: Vec<Vec<u8>> =
            tree.read_dir(&Path::root()).expect("lists").into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, [b"dir".to_vec()]);
    }

    #[test]
    fn attributes_that_somebody_set_are_seen() {
        let (folder, tree) = tree();
        for name in ["plain", "marked"] {
            std::fs::write(folder.path().join(name), "x").expect("written");
        }
        let set = fs::setxattr(folder.path().join("marked"), "user.mark", b"1", fs::XattrFlags::empty());
        if set == Err(Errno::OPNOTSUPP) {
            println!("skipped: the temporary folder's file system keeps no extended attributes");
            return;
        }
        set.expect("set");
        let seen = |name: &str| tree.entry(&Path::new(name)).expect("there").has_xattrs;
        assert!(seen("marked"), "an attribute was not seen");
        assert!(!seen("plain"), "an attribute was seen where there is none");
        let listed = tree.read_dir(&Path::root()).expect("lists");
        assert_eq!(listed.iter().filter(|entry| entry.has_xattrs).count(), 1);
    }

    #[test]
    fn symlinks_are_never_followed() {
        let (folder, tree) = tree();
        let outside = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(outside.path().join("secret"), "x").expect("written");
        symlink(outside.path(), folder.path().join("door")).expect("linked");
        assert!(tree.read_dir(&Path::new("door")).is_err());
        assert!(tree.open(&Path::new("door/secret")).is_err());
        assert!(tree.create_file(&Path::new("door/new"), 0o600).is_err());
        assert!(tree.entry(&Path::new("../x")).is_err());
        assert_eq!(tree.entry(&Path::new("door")).expect("there").kind, Kind::Symlink);
        assert_eq!(tree.read_link(&Path::new("door")).expect("read"), outside.path().as_os_str().as_bytes());
        tree.remove_file(&Path::new("door")).expect("removed");
        assert!(outside.path().join("secret").exists());
    }
}
