//! A directory that can be exported: finds the file behind a handle, by an index of names and, failing that,
//! by a walk.
//!
//! The index only remembers where an inode was last seen; what is opened is checked to be that inode, so a wrong
//! memory costs a walk and never serves another file. Paths are resolved beneath the directory and through no
//! symbolic link. After a restart the index is empty, and the first handle of a client fills it by one walk.
use std::{
    collections::BTreeMap,
    ffi::{CStr, CString},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

use nfs3_types::nfs3::nfsstat3;
use rustix::fs::{Dir, Mode, OFlags, ResolveFlags, openat2};

use super::{
    attributes::Attributes,
    handle::{Inode, MountPath, Target},
};
use crate::nfs::status;

/// Directories nested deeper than this are not followed: the index must have made a circle.
const DEPTH_MAX: usize = 4096;

#[derive(Clone, PartialEq, Eq)]
struct Place {
    parent: Inode,
    name: CString,
}

/// A directory that can be exported.
pub struct Folder {
    path: PathBuf,
    descriptor: OwnedFd,
    root: Inode,
    makes_missing: bool,
    places: Mutex<BTreeMap<Inode, Place>>,
}

/// How paths are followed: beneath the directory, and through no link.
const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

impl Folder {
    /// Opens a directory; one that stands in for another makes the paths that are mounted, as empty mount points.
    pub fn open(path: &Path, makes_missing: bool) -> std::io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(path, flags, Mode::empty())?;
        let root = Attributes::read(&descriptor, "").map_err(|_| std::io::ErrorKind::NotFound)?.inode();
        Ok(Self { path: path.to_owned(), descriptor, root, makes_missing, places: Mutex::default() })
    }
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// Its own inode.
    pub fn root(&self) -> Inode {
        self.root
    }

    /// Opens what a handle points to, only to look at it or to pass through (`O_PATH`).
    pub fn find(&self, target: Target) -> Result<OwnedFd, nfsstat3> {
        self.open_target(target, OFlags::PATH)
    }
    /// Opens what a handle points to; as the server, whatever its mode says.
    pub fn open_target(&self, target: Target, flags: OFlags) -> Result<OwnedFd, nfsstat3> {
        let inode = match target {
            Target::Mounted(path) => self.enter(&path)?,
            Target::Inode(inode) => inode,
        };
        for is_last in [false, true] {
            if let Some(path) = self.path_of(inode) {
                match self.open_path(&path, flags) {
                    Ok(file) if Attributes::read(&file, "")?.inode() == inode => return Ok(file),
                    Ok(_) | Err(nfsstat3::NFS3ERR_NOENT | nfsstat3::NFS3ERR_NOTDIR) => {}
                    Err(status) => return Err(status),
                }
            }
            if is_last || !self.walk_for(inode) {
                break;
            }
        }
        Err(nfsstat3::NFS3ERR_STALE)
    }
    /// Goes to a path that was mounted, and remembers the way.
    fn enter(&self, path: &MountPath) -> Result<Inode, nfsstat3> {
        let (mut at, mut way) = (self.root, Vec::new());
        for name in path.names() {
            let name = CString::new(name).map_err(|_| nfsstat3::NFS3ERR_STALE)?;
            let directory = if way.is_empty() { c".".to_owned() } else { joined(&way) };
            let directory = self.open_path(&directory, OFlags::PATH | OFlags::DIRECTORY)?;
            let attributes = match Attributes::read(&directory, name.as_c_str()) {
                Err(nfsstat3::NFS3ERR_NOENT) if self.makes_missing => {
                    let made = rustix::fs::mkdirat(&directory, &name, Mode::from_raw_mode(0o777));
                    made.map_err(status::of_errno)?;
                    Attributes::read(&directory, name.as_c_str())?
                }
                Err(nfsstat3::NFS3ERR_NOENT) => return Err(nfsstat3::NFS3ERR_STALE),
                found => found?,
            };
            self.saw(at, &name, attributes.inode());
            at = attributes.inode();
            way.push(name);
        }
        Ok(at)
    }
    /// The first name on the way to a file, as far as it is known: which export it belongs to where all of them
    /// are directories of one.
    pub fn top(&self, target: Target) -> Option<CString> {
        let inode = match target {
            Target::Mounted(path) => return CString::new(path.names().next()?).ok(),
            Target::Inode(inode) => inode,
        };
        let path = self.path_of(inode)?;
        let first = path.as_bytes().split(|byte| *byte == b'/').next()?;
        CString::new(first).ok()
    }
    fn open_path(&self, path: &CStr, flags: OFlags) -> Result<OwnedFd, nfsstat3> {
        // A fifo must not hold the server, and a terminal must not become its own; looking needs neither.
        let care =
            if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NONBLOCK | OFlags::NOCTTY };
        let flags = flags | care | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat2(&self.descriptor, path, flags, Mode::empty(), BENEATH).map_err(status::of_errno)
    }

    /// The directory an inode was last seen in, and its name there; `None` for the root.
    pub fn place(&self, inode: Inode) -> Option<(Target, CString)> {
        self.places().get(&inode).map(|place| (Target::Inode(place.parent), place.name.clone()))
    }
    /// Remembers that this inode has this name.
    pub fn saw(&self, parent: Inode, name: &CStr, inode: Inode) {
        if inode != self.root {
            self.places().insert(inode, Place { parent, name: name.to_owned() });
        }
    }
    /// Remembers that this inode lost this name; it may have others, which a walk finds.
    pub fn lost(&self, parent: Inode, name: &CStr, inode: Inode) {
        let gone = Place { parent, name: name.to_owned() };
        let mut places = self.places();
        if places.get(&inode) == Some(&gone) {
            places.remove(&inode);
        }
    }

    fn path_of(&self, inode: Inode) -> Option<CString> {
        let places = self.places();
        let (mut names, mut at) = (Vec::new(), inode);
        while at != self.root {
            let place = places.get(&at)?;
            names.push(place.name.as_bytes());
            at = place.parent;
            if names.len() > DEPTH_MAX {
                return None;
            }
        }
        names.reverse();
        let path = if names.is_empty() { b".".to_vec() } else { names.join(&b'/') };
        CString::new(path).ok()
    }

    /// Indexes the whole tree anew and tells whether the inode is in it.
    fn walk_for(&self, inode: Inode) -> bool {
        let mut found = BTreeMap::new();
        self.walk(|parent, name, attributes| {
            found.insert(attributes.inode(), Place { parent, name: name.to_owned() });
        });
        tracing::debug!(folder = %self.path.display(), inodes = found.len(), "walked the export");
        let is_there = found.contains_key(&inode);
        *self.places() = found;
        is_there
    }
    /// Visits everything beneath; what cannot be read is passed over.
    fn walk(&self, mut visit: impl FnMut(Inode, &CStr, &Attributes)) {
        // Paths wait, not descriptors: a repository has thousands of directories beside each other.
        let mut waiting = vec![(c".".to_owned(), self.root)];
        while let Some((path, inode)) = waiting.pop() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let Ok(directory) = self.open_path(&path, flags) else { continue };
            for (name, attributes) in entries(&directory) {
                visit(inode, &name, &attributes);
                if attributes.is_directory()
                    && let Ok(below) = CString::new([path.as_bytes(), b"/", name.as_bytes()].concat())
                {
                    waiting.push((below, attributes.inode()));
                }
            }
        }
    }
    /// Bytes in all files, each inode once.
    pub fn used(&self) -> u64 {
        let mut sizes = BTreeMap::new();
        self.walk(|_, _, attributes| {
            if attributes.file_type() == rustix::fs::FileType::RegularFile {
                sizes.insert(attributes.inode(), attributes.size());
            }
        });
        sizes.values().sum()
    }
    fn places(&self) -> MutexGuard<'_, BTreeMap<Inode, Place>> {
        self.places.lock().expect("no holder of an index's lock panics")
    }
}

fn joined(names: &[CString]) -> CString {
    let names: Vec<&[u8]> = names.iter().map(CString::as_bytes).collect();
    // Names of files hold no zero.
    CString::new(names.join(&b'/')).unwrap_or_default()
}

/// The names in an open directory with their attributes, without `.` and `..`; what vanishes is passed over.
pub fn entries(directory: &OwnedFd) -> Vec<(CString, Attributes)> {
    let Ok(names) = Dir::read_from(directory) else { return Vec::new() };
    names
        .map_while(Result::ok)
        .map(|entry| entry.file_name().to_owned())
        .filter(|name| !matches!(name.to_bytes(), b"." | b".."))
        .filter_map(|name| Attributes::read(directory, name.as_c_str()).ok().map(|found| (name, found)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read as _};

    use super::*;

    fn inode(path: &Path) -> Inode {
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        Attributes::read(rustix::fs::open(path, flags, Mode::empty()).unwrap(), "").unwrap().inode()
    }
    fn content(folder: &Folder, inode: Inode) -> Result<String, nfsstat3> {
        let mut text = String::new();
        let file = folder.open_target(Target::Inode(inode), OFlags::RDONLY)?;
        fs::File::from(file).read_to_string(&mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn a_handle_finds_its_file_wherever_it_went_and_never_another() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/b/file"), "right").unwrap();
        let folder = Folder::open(home.path(), false).unwrap();
        let file = inode(&at("a/b/file"));
        // Nothing is indexed yet: as after a restart.
        assert_eq!(content(&folder, file).unwrap(), "right");
        // Moved by others, with another file in its place.
        fs::rename(at("a"), at("c")).unwrap();
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/b/file"), "wrong").unwrap();
        assert_eq!(content(&folder, file).unwrap(), "right");
        // A second name keeps it.
        fs::hard_link(at("c/b/file"), at("link")).unwrap();
        fs::remove_file(at("c/b/file")).unwrap();
        assert_eq!(content(&folder, file).unwrap(), "right");
        fs::remove_file(at("link")).unwrap();
        assert_eq!(content(&folder, file), Err(nfsstat3::NFS3ERR_STALE));
        assert_eq!(folder.used(), 5, "the other file");
        assert!(folder.find(Target::Mounted(MountPath::ROOT)).is_ok());
    }

    #[test]
    fn a_mounted_path_is_there_or_is_made_where_a_stand_in_is_shown() {
        let home = tempfile::tempdir().unwrap();
        let target = Target::Mounted(MountPath::new(b"a/b").unwrap());
        let right = Folder::open(home.path(), false).unwrap();
        assert_eq!(right.find(target).err(), Some(nfsstat3::NFS3ERR_STALE));
        let stand_in = Folder::open(home.path(), true).unwrap();
        assert!(stand_in.find(target).is_ok());
        fs::write(home.path().join("a/b/file"), "x").unwrap();
        let file = inode(&home.path().join("a/b/file"));
        assert_eq!(content(&right, file).unwrap(), "x");
        assert_eq!(right.top(Target::Inode(file)).unwrap(), c"a".to_owned());
        assert_eq!(right.top(target).unwrap(), c"a".to_owned());
    }

    #[test]
    fn no_link_leads_out() {
        let (home, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("secret"), "s").unwrap();
        let folder = Folder::open(home.path(), false).unwrap();
        std::os::unix::fs::symlink(outside.path(), home.path().join("way")).unwrap();
        // A memory that leads through the link.
        let (way, secret) = (inode(&home.path().join("way")), inode(&outside.path().join("secret")));
        folder.saw(folder.root(), c"way", way);
        folder.saw(way, c"secret", secret);
        assert!(folder.open_target(Target::Inode(secret), OFlags::RDONLY).is_err());
        assert!(folder.find(Target::Inode(way)).is_ok(), "the link itself can be looked at");
    }
}
