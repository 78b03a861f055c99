//! One node's view of a volume: permissions, a page cache, a write-back queue.
//!
//! Bytes written stay in this mount's cache until [`WriteTree::sync`] or [`Mount::unmount`] writes them
//! back; names, sizes, modes and times reach the medium at once. An error of write-back is latched and
//! reported by the next sync, once. Dropping a mount does no IO: unmount it, or crash it.
use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use engine::tree::{Entry, Kind, Path, ReadTree, Time, WriteFile, WriteTree};
use fault::{Seam, Verdict};

use super::{
    Credentials, Inode, MountOptions, Node, State, Volume,
    content::Content,
    errno::{self, error},
    permission::{EXECUTE, READ, WRITE},
    tree::Number,
};
use crate::cost::{Meter, Rate};

#[derive(Debug)]
struct Cached {
    content: Arc<Content>,
    /// What the medium held when this was clean; another content there means that it is outdated.
    medium: Option<Arc<Content>>,
}

impl Cached {
    fn is_dirty(&self) -> bool {
        self.medium.is_none()
    }
}

#[derive(Debug, Default)]
struct Cache {
    files: BTreeMap<Number, Cached>,
    latched: Option<i32>,
}

/// A mounted volume.
#[derive(Debug)]
pub struct Mount {
    volume: Volume,
    options: MountOptions,
    cache: Mutex<Cache>,
    dead: AtomicBool,
}

impl Mount {
    pub(super) fn new(volume: Volume, options: MountOptions) -> Self {
        Self { volume, options, cache: Mutex::default(), dead: AtomicBool::new(false) }
    }
    /// The volume behind it.
    pub fn volume(&self) -> &Volume {
        &self.volume
    }
    /// As whom it acts.
    pub fn credentials(&self) -> &Credentials {
        &self.options.credentials
    }
    /// Unmounts: writes back what is dirty, as the kernel does even after the process has died.
    ///
    /// # Errors
    /// A write-back error; in the world nobody reads it any more.
    pub fn unmount(self) -> io::Result<()> {
        self.write_back()
    }
    /// The node dies: what was not written back is lost. Any later operation answers EIO.
    pub fn crash(&self) {
        self.dead.store(true, Ordering::SeqCst);
        let mut state = self.volume.state();
        let mut cache = self.cache();
        for (number, cached) in std::mem::take(&mut cache.files) {
            if cached.is_dirty() {
                restore_charge(&mut state, number);
            }
        }
    }
    /// Bytes that wait for write-back.
    pub fn dirty_bytes(&self) -> u64 {
        self.cache()
            .files
            .values()
            .filter(|cached| cached.is_dirty())
            .map(|cached| cached.content.stored())
            .sum()
    }
    /// The extended attributes of an entry, ACLs among them.
    pub fn xattrs(&self, path: &Path) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
        let state = self.enter(path)?;
        let number = state.tree.resolve(path)?;
        Ok(state.tree.inode(number)?.xattrs.clone())
    }
    /// The hole map of a file.
    pub fn holes(&self, path: &Path) -> io::Result<Vec<std::ops::Range<u64>>> {
        let state = self.enter(path)?;
        let number = state.tree.resolve(path)?;
        Ok(self.content(&state, number)?.holes())
    }

    /// Gives a file a second name.
    pub fn link(&self, existing: &Path, path: &Path) -> io::Result<()> {
        drop(self.enter(existing)?);
        let mut state = self.enter_to_name(path)?;
        let now = self.volume.now();
        Arc::make_mut(&mut state.tree).link(existing, path, now)
    }
    /// Where its work is charged.
    pub fn meter(&self) -> Option<&Meter> {
        self.options.meter.as_ref()
    }
    /// Reads a part of a file that lies within its length.
    pub(super) fn read_range(&self, path: &Path, range: std::ops::Range<u64>) -> io::Result<Vec<u8>> {
        let content = self.open_content(path)?;
        let mut buffer = vec![0; (range.end - range.start) as usize];
        let read = content.read(range.start, &mut buffer);
        buffer.truncate(read);
        self.charge(0, read as u64);
        Ok(buffer)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().expect("no holder of a mount's cache lock panics")
    }
    fn charge(&self, operations: u64, bytes: u64) {
        if let Some(meter) = &self.options.meter {
            meter.charge(Rate::of(self.volume.character()), operations, bytes);
        }
    }
    fn ask(&self, operation: &str, shape: &str) -> Verdict {
        let class = format!("{}/{shape}", self.volume.character());
        self.options.register.at(Seam::Tree, &self.options.actor, operation, &class).verdict
    }
    /// Locks the volume and checks the way to a path.
    fn enter(&self, path: &Path) -> io::Result<MutexGuard<'_, State>> {
        if self.dead.load(Ordering::SeqCst) {
            return Err(error(errno::EIO));
        }
        let state = self.volume.state();
        for directory in state.tree.directories(path)? {
            self.options.credentials.access(state.tree.inode(directory)?, EXECUTE)?;
        }
        Ok(state)
    }
    fn enter_to_write(&self, path: &Path) -> io::Result<MutexGuard<'_, State>> {
        if self.options.read_only {
            return Err(error(errno::EROFS));
        }
        self.charge(1, 0);
        self.enter(path)
    }
    /// Locks the volume for a change of a directory's names.
    fn enter_to_name(&self, path: &Path) -> io::Result<MutexGuard<'_, State>> {
        let state = self.enter_to_write(path)?;
        let parent = path.parent().ok_or_else(|| error(errno::EINVAL))?;
        self.options.credentials.access(state.tree.inode(state.tree.resolve(&parent)?)?, WRITE | EXECUTE)?;
        Ok(state)
    }
    fn may_unlink(&self, state: &State, path: &Path) -> io::Result<()> {
        let child = state.tree.inode(state.tree.resolve(path)?)?;
        let parent = state.tree.inode(state.tree.resolve(&path.parent().unwrap_or_default())?)?;
        self.options.credentials.may_unlink(parent, child)
    }
    /// A new inode as the kernel makes it: ours, in a setgid directory with its group.
    fn new_inode(&self, state: &State, path: &Path, node: Node, mode: u32) -> io::Result<Inode> {
        let parent = state.tree.inode(state.tree.resolve(&path.parent().unwrap_or_default())?)?;
        let inherits = parent.mode & 0o2000 != 0;
        let gid = if inherits { parent.gid } else { self.options.credentials.gid };
        let setgid = if inherits && matches!(node, Node::Directory(_)) { 0o2000 } else { 0 };
        let owner = (self.options.credentials.uid, gid);
        Ok(Inode::new(node, mode & 0o7777 | setgid, owner, self.volume.now()))
    }
    /// This mount's view of a file's bytes.
    fn content(&self, state: &State, number: Number) -> io::Result<Arc<Content>> {
        let medium = match &state.tree.inode(number)?.node {
            Node::File(content) => content,
            Node::Directory(_) => return Err(error(errno::EISDIR)),
            _ => return Err(error(errno::EINVAL)),
        };
        let cache = self.cache();
        Ok(match cache.files.get(&number) {
            Some(cached) if cached.medium.as_ref().is_none_or(|clean| Arc::ptr_eq(clean, medium)) => {
                cached.content.clone()
            }
            _ => medium.clone(),
        })
    }
    /// Changes a file's bytes in the cache, and length and time on the medium.
    /// `growth` bounds how many bytes the change may add.
    fn change(&self, number: Number, growth: u64, change: impl FnOnce(&mut Content)) -> io::Result<()> {
        if self.dead.load(Ordering::SeqCst) {
            return Err(error(errno::EIO));
        }
        let now = self.volume.now();
        let mut state = self.volume.state();
        let mut content = self.content(&state, number)?;
        // Out of the cache while it is changed, so that its extents are not copied for a second holder.
        self.cache().files.remove(&number);
        let before = state.may_overflow(growth).then(|| content.clone());
        change(Arc::make_mut(&mut content));
        if !state.charge(number, content.stored()) {
            let content = before.expect("only a change that may overflow does overflow");
            self.cache().files.insert(number, Cached { content, medium: None });
            return Err(error(self.volume.character().full()));
        }
        let length = content.len();
        Arc::make_mut(&mut state.tree).edit(number, |inode| {
            inode.mtime = now;
            if let Node::File(medium) = &mut inode.node
                && medium.len() != length
            {
                Arc::make_mut(medium).set_len(length);
            }
        })?;
        self.cache().files.insert(number, Cached { content, medium: None });
        Ok(())
    }
    fn forget(&self, state: &mut State, gone: Option<Number>) {
        if let Some(number) = gone {
            state.discharge(number);
            self.cache().files.remove(&number);
        }
    }
    fn write_back(&self) -> io::Result<()> {
        let mut state = self.volume.state();
        let mut cache = self.cache();
        let Cache { files, latched } = &mut *cache;
        for (number, cached) in files.iter_mut().filter(|(_, cached)| cached.is_dirty()) {
            let shape = if cached.content.is_sparse_in_shape() { "sparse" } else { "dense" };
            let kept = match self.ask("write-back", shape) {
                Verdict::Fail { code, .. } => {
                    latched.get_or_insert(errno::of(&code));
                    false
                }
                Verdict::Swallow | Verdict::Corrupt(_) => false,
                Verdict::Delay(by) => {
                    if let Some(meter) = &self.options.meter {
                        meter.owe(by);
                    }
                    true
                }
                Verdict::Proceed | Verdict::Hang | Verdict::Kill(_) => true,
            };
            let Ok(inode) = state.tree.inode(*number) else { continue };
            let Node::File(medium) = &inode.node else { continue };
            cached.medium = Some(if kept { cached.content.clone() } else { medium.clone() });
            if kept {
                let content = cached.content.clone();
                Arc::make_mut(&mut state.tree).edit(*number, |inode| inode.node = Node::File(content))?;
            } else {
                restore_charge(&mut state, *number);
            }
        }
        latched.take().map_or(Ok(()), |code| Err(error(code)))
    }
}

/// Lets a file take what the medium holds of it, after its pages were lost.
fn restore_charge(state: &mut State, number: Number) {
    if let Ok(inode) = state.tree.inode(number)
        && let Node::File(medium) = &inode.node
    {
        let stored = medium.stored();
        state.charge(number, stored);
    }
}

impl ReadTree for Mount {
    fn entry(&self, path: &Path) -> io::Result<Entry> {
        let state = self.enter(path)?;
        let mut entry = state.tree.entry(path)?;
        self.see_sparse(&state, &mut entry)?;
        Ok(entry)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let state = self.enter(path)?;
        self.options.credentials.access(state.tree.inode(state.tree.resolve(path)?)?, READ)?;
        let mut entries = state.tree.read_dir(path)?;
        self.charge(1 + entries.len() as u64 / 64, 0);
        for entry in &mut entries {
            self.see_sparse(&state, entry)?;
        }
        Ok(entries)
    }
    fn read_link(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.enter(path)?;
        match &state.tree.inode(state.tree.resolve(path)?)?.node {
            Node::Symlink(target) => Ok(target.clone()),
            _ => Err(error(errno::EINVAL)),
        }
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn io::Read + Send + '_>> {
        let content = self.open_content(path)?;
        Ok(Box::new(Reader { mount: self, content, position: 0 }))
    }
}

impl Mount {
    fn open_content(&self, path: &Path) -> io::Result<Arc<Content>> {
        let state = self.enter(path)?;
        let number = state.tree.resolve(path)?;
        let inode = state.tree.inode(number)?;
        if inode.node.kind() == Kind::Symlink {
            return Err(error(errno::ELOOP));
        }
        self.options.credentials.access(inode, READ)?;
        let content = self.content(&state, number)?;
        drop(state);
        self.charge(1, 0);
        match self.ask("open", "dense") {
            Verdict::Fail { code, .. } => Err(error(errno::of(&code))),
            _ => Ok(content),
        }
    }
    fn see_sparse(&self, state: &State, entry: &mut Entry) -> io::Result<()> {
        if entry.kind == Kind::File && self.cache().files.contains_key(&entry.inode) {
            entry.is_sparse = self.content(state, entry.inode)?.has_holes();
        }
        Ok(())
    }
}

struct Reader<'a> {
    mount: &'a Mount,
    content: Arc<Content>,
    position: u64,
}

impl io::Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(self.position, buffer);
        self.position += read as u64;
        self.mount.charge(0, read as u64);
        Ok(read)
    }
}

struct Writer<'a> {
    mount: &'a Mount,
    number: Number,
}

impl WriteFile for Writer<'_> {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.mount.charge(0, bytes.len() as u64);
        self.mount.change(self.number, bytes.len() as u64, |content| {
            content.write(offset, Bytes::copy_from_slice(bytes));
        })
    }
    fn set_len(&mut self, length: u64) -> io::Result<()> {
        self.mount.change(self.number, 0, |content| content.set_len(length))
    }
    fn finish(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

impl WriteTree for Mount {
    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        if let Ok(entry) = self.entry(path) {
            return if entry.kind == Kind::Directory { Ok(()) } else { Err(error(errno::EEXIST)) };
        }
        let mut state = self.enter_to_name(path)?;
        let inode = self.new_inode(&state, path, Node::Directory(BTreeMap::new()), mode)?;
        Arc::make_mut(&mut state.tree).insert(path, inode).map(drop)
    }
    fn create_file(&self, path: &Path, mode: u32) -> io::Result<Box<dyn WriteFile + '_>> {
        let state = self.enter_to_write(path)?;
        let number = if let Ok(number) = state.tree.resolve(path) {
            let inode = state.tree.inode(number)?;
            match inode.node {
                Node::File(_) => self.options.credentials.access(inode, WRITE)?,
                Node::Directory(_) => return Err(error(errno::EISDIR)),
                Node::Symlink(_) => return Err(error(errno::ELOOP)),
                _ => return Err(error(errno::EINVAL)),
            }
            drop(state);
            self.change(number, 0, |content| content.set_len(0))?;
            number
        } else {
            drop(state);
            let mut state = self.enter_to_name(path)?;
            let inode = self.new_inode(&state, path, Node::File(Arc::default()), mode)?;
            Arc::make_mut(&mut state.tree).insert(path, inode)?
        };
        Ok(Box::new(Writer { mount: self, number }))
    }
    fn create_symlink(&self, path: &Path, target: &[u8]) -> io::Result<()> {
        let mut state = self.enter_to_name(path)?;
        let inode = self.new_inode(&state, path, Node::Symlink(target.to_vec()), 0o777)?;
        Arc::make_mut(&mut state.tree).insert(path, inode).map(drop)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        drop(self.enter_to_name(from)?);
        let mut state = self.enter_to_name(to)?;
        self.may_unlink(&state, from)?;
        if state.tree.resolve(to).is_ok() {
            self.may_unlink(&state, to)?;
        }
        let now = self.volume.now();
        let gone = Arc::make_mut(&mut state.tree).rename(from, to, now)?;
        self.forget(&mut state, gone);
        Ok(())
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.enter_to_name(path)?;
        self.may_unlink(&state, path)?;
        if state.tree.entry(path)?.kind == Kind::Directory {
            return Err(error(errno::EISDIR));
        }
        let now = self.volume.now();
        let gone = Arc::make_mut(&mut state.tree).remove(path, now)?;
        self.forget(&mut state, gone);
        Ok(())
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.enter_to_name(path)?;
        self.may_unlink(&state, path)?;
        if state.tree.entry(path)?.kind != Kind::Directory {
            return Err(error(errno::ENOTDIR));
        }
        let now = self.volume.now();
        Arc::make_mut(&mut state.tree).remove(path, now).map(drop)
    }
    fn set_owner(&self, path: &Path, uid: u32, gid: u32) -> io::Result<()> {
        let mut state = self.enter_to_write(path)?;
        let number = state.tree.resolve(path)?;
        let inode = state.tree.inode(number)?;
        self.options.credentials.may_chown(inode, uid, gid)?;
        // The kernel takes setuid and setgid off an executable whose owner changes.
        let strip = match inode.node {
            Node::File(_) if inode.mode & 0o010 != 0 => 0o6000,
            Node::File(_) => 0o4000,
            _ => 0,
        };
        Arc::make_mut(&mut state.tree).edit(number, |inode| {
            (inode.uid, inode.gid) = (uid, gid);
            inode.mode &= !strip;
        })
    }
    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        let mut state = self.enter_to_write(path)?;
        let number = state.tree.resolve(path)?;
        let inode = state.tree.inode(number)?;
        if inode.node.kind() == Kind::Symlink {
            return Err(error(errno::EINVAL));
        }
        let who = &self.options.credentials;
        who.may_own(inode)?;
        let keeps_setgid = who.is_in(inode.gid) || who.capabilities.fsetid;
        let mode = mode & 0o7777 & !(if keeps_setgid { 0 } else { 0o2000 });
        Arc::make_mut(&mut state.tree).edit(number, |inode| inode.mode = mode)
    }
    fn set_mtime(&self, path: &Path, mtime: Time) -> io::Result<()> {
        let mut state = self.enter_to_write(path)?;
        let number = state.tree.resolve(path)?;
        self.options.credentials.may_own(state.tree.inode(number)?)?;
        Arc::make_mut(&mut state.tree).edit(number, |inode| inode.mtime = mtime)
    }
    fn sync(&self) -> io::Result<()> {
        if self.dead.load(Ordering::SeqCst) {
            return Err(error(errno::EIO));
        }
        self.charge(1, 0);
        let written = self.write_back();
        match self.ask("sync", "dense") {
            Verdict::Fail { code, .. } => Err(error(errno::of(&code))),
            _ => written,
        }
    }
    fn drop_caches(&self) -> io::Result<()> {
        // As the kernel: clean pages only, dirty ones wait for write-back.
        self.cache().files.retain(|_, cached| cached.is_dirty());
        Ok(())
    }
}
