//! A file tree in memory: inodes with their metadata apart from their bytes.
//!
//! Cloning copies pointers, so snapshots are cheap and independent. Every operation is by raw path, never
//! follows a symlink, and knows neither permissions nor caches: a [`super::Mount`] puts those in front,
//! the bed's own generator goes without. Times are given, never read.
use std::{collections::BTreeMap, io, sync::Arc};

use engine::tree::{Entry, Kind, Path, Time};

use super::{
    content::Content,
    errno::{self, error},
};

/// Number of an inode; the root is [`ROOT`].
pub type Number = u64;
/// The root directory's inode.
pub const ROOT: Number = 1;
/// The longest name that Linux file systems take.
const NAME_BYTES_MAX: usize = 255;

/// What an inode is.
#[derive(Clone, Debug)]
pub enum Node {
    /// A regular file.
    File(Arc<Content>),
    /// A directory: raw name to inode.
    Directory(BTreeMap<Vec<u8>, Number>),
    /// A symbolic link with its raw target.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice(u32, u32),
    /// A block device.
    BlockDevice(u32, u32),
}

impl Node {
    /// The entry kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::File(_) => Kind::File,
            Self::Directory(_) => Kind::Directory,
            Self::Symlink(_) => Kind::Symlink,
            Self::Fifo => Kind::Fifo,
            Self::Socket => Kind::Socket,
            Self::CharDevice(major, minor) => Kind::CharDevice(*major, *minor),
            Self::BlockDevice(major, minor) => Kind::BlockDevice(*major, *minor),
        }
    }
}

/// One inode.
#[derive(Clone, Debug)]
pub struct Inode {
    /// What it is, with its data.
    pub node: Node,
    /// Permission bits (`0o7777`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Time,
    /// Extended attributes by raw name, ACLs (`system.posix_acl_*`) among them.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Number of names.
    pub links: u32,
}

impl Inode {
    /// An inode without attributes beyond the plain ones.
    pub fn new(node: Node, mode: u32, (uid, gid): (u32, u32), mtime: Time) -> Self {
        Self { node, mode, uid, gid, mtime, xattrs: BTreeMap::new(), links: 1 }
    }
    fn entry(&self, number: Number, name: &[u8]) -> Entry {
        let (size, is_sparse) = match &self.node {
            Node::File(content) => (content.len(), content.has_holes()),
            Node::Symlink(target) => (target.len() as u64, false),
            _ => (0, false),
        };
        Entry {
            name: name.to_vec(),
            kind: self.node.kind(),
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            size,
            mtime: self.mtime,
            inode: number,
            links: self.links,
            device: 1,
            has_xattrs: !self.xattrs.is_empty(),
            is_sparse,
        }
    }
}

/// A tree of inodes.
#[derive(Clone, Debug)]
pub struct Tree {
    inodes: BTreeMap<Number, Arc<Inode>>,
    next: Number,
}

impl Tree {
    /// An empty root directory.
    pub fn new(mode: u32, owner: (u32, u32), mtime: Time) -> Self {
        let root = Inode::new(Node::Directory(BTreeMap::new()), mode, owner, mtime);
        Self { inodes: BTreeMap::from([(ROOT, Arc::new(root))]), next: ROOT + 1 }
    }
    /// How many inodes there are, the root included.
    pub fn len(&self) -> usize {
        self.inodes.len()
    }
    /// Whether only the root is there.
    pub fn is_empty(&self) -> bool {
        self.inodes.len() == 1
    }
    /// The inode behind a number.
    pub fn inode(&self, number: Number) -> io::Result<&Arc<Inode>> {
        self.inodes.get(&number).ok_or_else(|| error(errno::ESTALE))
    }
    /// All inodes in order of number.
    pub fn inodes(&self) -> impl Iterator<Item = (Number, &Arc<Inode>)> {
        self.inodes.iter().map(|(number, inode)| (*number, inode))
    }
    /// Changes an inode.
    pub fn edit<R>(&mut self, number: Number, change: impl FnOnce(&mut Inode) -> R) -> io::Result<R> {
        let inode = self.inodes.get_mut(&number).ok_or_else(|| error(errno::ESTALE))?;
        Ok(change(Arc::make_mut(inode)))
    }
    /// The names of a directory.
    pub fn names(&self, number: Number) -> io::Result<&BTreeMap<Vec<u8>, Number>> {
        match &self.inode(number)?.node {
            Node::Directory(names) => Ok(names),
            _ => Err(error(errno::ENOTDIR)),
        }
    }
    /// The inode of a child.
    pub fn child(&self, directory: Number, name: &[u8]) -> io::Result<Number> {
        self.names(directory)?.get(name).copied().ok_or_else(|| error(errno::ENOENT))
    }
    /// The inode of a path.
    pub fn resolve(&self, path: &Path) -> io::Result<Number> {
        components(path).try_fold(ROOT, |directory, name| self.child(directory, name))
    }
    /// The inodes of a path's directories from the root down, without its last component.
    pub fn directories(&self, path: &Path) -> io::Result<Vec<Number>> {
        let mut chain = vec![ROOT];
        let Some(parent) = path.parent() else { return Ok(Vec::new()) };
        for name in components(&parent) {
            let next = self.child(*chain.last().expect("begins with the root"), name)?;
            self.names(next)?;
            chain.push(next);
        }
        Ok(chain)
    }
    /// Describes an entry.
    pub fn entry(&self, path: &Path) -> io::Result<Entry> {
        let number = self.resolve(path)?;
        Ok(self.inode(number)?.entry(number, path.name()))
    }
    /// Lists a directory, sorted by raw name.
    pub fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let names = self.names(self.resolve(path)?)?;
        names.iter().map(|(name, number)| Ok(self.inode(*number)?.entry(*number, name))).collect()
    }
    /// Adds a new inode under a path.
    ///
    /// # Errors
    /// EEXIST when something is there, ENOENT and ENOTDIR for the way to it, EINVAL and
    /// ENAMETOOLONG for an unusable name.
    pub fn insert(&mut self, path: &Path, inode: Inode) -> io::Result<Number> {
        let mtime = inode.mtime;
        let number = self.next;
        self.add_name(path, number, mtime)?;
        self.next += 1;
        self.inodes.insert(number, Arc::new(inode));
        Ok(number)
    }
    /// Adds another name of a file (a hard link).
    pub fn link(&mut self, existing: &Path, path: &Path, now: Time) -> io::Result<()> {
        let number = self.resolve(existing)?;
        if matches!(self.inode(number)?.node, Node::Directory(_)) {
            return Err(error(errno::EPERM));
        }
        self.add_name(path, number, now)?;
        self.edit(number, |inode| inode.links += 1)
    }
    /// Removes a name; the inode goes with its last one, and is then returned.
    ///
    /// # Errors
    /// ENOTEMPTY for a directory that holds something, EINVAL for the root.
    pub fn remove(&mut self, path: &Path, now: Time) -> io::Result<Option<Number>> {
        let number = self.resolve(path)?;
        if path.is_root() {
            return Err(error(errno::EINVAL));
        }
        if let Node::Directory(names) = &self.inode(number)?.node
            && !names.is_empty()
        {
            return Err(error(errno::ENOTEMPTY));
        }
        self.drop_name(path, now)?;
        let left = self.edit(number, |inode| {
            inode.links -= 1;
            inode.links
        })?;
        if left > 0 {
            return Ok(None);
        }
        self.inodes.remove(&number);
        Ok(Some(number))
    }
    /// Gives an entry another name, replacing what stands there; returns an inode that went with it.
    pub fn rename(&mut self, from: &Path, to: &Path, now: Time) -> io::Result<Option<Number>> {
        let number = self.resolve(from)?;
        if from.is_root()
            || to.is_root()
            || components(to).take(components(from).count()).eq(components(from)) && from != to
        {
            return Err(error(errno::EINVAL));
        }
        let replaced = match self.resolve(to) {
            Ok(same) if same == number => return Ok(None),
            Ok(other) => {
                let directory =
                    |number| Ok::<_, io::Error>(matches!(self.inode(number)?.node, Node::Directory(_)));
                match (directory(number)?, directory(other)?) {
                    (true, false) => return Err(error(errno::ENOTDIR)),
                    (false, true) => return Err(error(errno::EISDIR)),
                    _ => self.remove(to, now)?,
                }
            }
            Err(_) => None,
        };
        self.add_name(to, number, now)?;
        self.drop_name(from, now)?;
        Ok(replaced)
    }

    fn add_name(&mut self, path: &Path, number: Number, now: Time) -> io::Result<()> {
        let name = path.name().to_vec();
        if name.is_empty() || name.contains(&0) || name == b"." || name == b".." {
            return Err(error(if path.is_root() { errno::EEXIST } else { errno::EINVAL }));
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(error(errno::ENAMETOOLONG));
        }
        let parent = self.resolve(&path.parent().unwrap_or_default())?;
        if self.names(parent)?.contains_key(&name) {
            return Err(error(errno::EEXIST));
        }
        self.edit(parent, |inode| {
            inode.mtime = now;
            if let Node::Directory(names) = &mut inode.node {
                names.insert(name, number);
            }
        })
    }
    fn drop_name(&mut self, path: &Path, now: Time) -> io::Result<()> {
        let parent = self.resolve(&path.parent().unwrap_or_default())?;
        self.edit(parent, |inode| {
            inode.mtime = now;
            if let Node::Directory(names) = &mut inode.node {
                names.remove(path.name());
            }
        })
    }
}

/// The raw components of a path; none for the root.
pub fn components(path: &Path) -> impl Iterator<Item = &[u8]> {
    path.as_bytes().split(|byte| *byte == b'/').filter(|name| !name.is_empty())
}
