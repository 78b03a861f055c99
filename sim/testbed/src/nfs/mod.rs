//! An NFS export with a repository's folder on it, in memory on the bed's clock.
//!
//! An [`Export`] is the server's side: directories of files, up or down, a quota, a user map, a file system
//! identity that can change. A [`NfsMount`] is one client's view, hard or soft, and implements the engine's
//! [`Files`](engine::blob::directory::Files), so that a filesystem repository on NFS is the engine's own
//! directory store over it. What a hang means is the mount's business: a hard mount waits, a soft one answers
//! EIO after its time-out. It does not model delegations, attribute caches or unstable writes: what
//! `create_new` acknowledged is on the server.
mod mount;

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use engine::{
    context::Now,
    tree::{Path, Time},
};
use fault::Register;
use jiff::Timestamp;
use tokio::sync::watch;

pub use mount::NfsMount;

use crate::{
    bucket::rest::{Damage, Medium},
    cost::Meter,
    volume::{
        Inode, Node, Tree,
        content::Content,
        errno::{self, error},
        tree::{Number, ROOT},
    },
};

/// How the server maps the users of its clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Squash {
    /// As they are.
    #[default]
    None,
    /// Root becomes nobody.
    Root,
    /// Everybody becomes this user and group.
    All(u32, u32),
}

/// The user to whom root is squashed.
pub const NOBODY: u32 = 65_534;

impl Squash {
    fn map(self, uid: u32, gid: u32) -> (u32, u32) {
        match self {
            Self::Root if uid == 0 => (NOBODY, NOBODY),
            Self::All(uid, gid) => (uid, gid),
            Self::None | Self::Root => (uid, gid),
        }
    }
}

/// Which directory the export shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    /// The right one.
    #[default]
    Right,
    /// The bare mount point beneath it, which keeps what is written into it.
    Empty,
    /// Some other directory.
    Other,
}

struct Folder {
    tree: Tree,
    used: u64,
}

struct State {
    folders: BTreeMap<Shown, Folder>,
    shown: Shown,
    generation: u64,
    quota: Option<u64>,
    squash: Squash,
    damage: Damage,
}

struct Inner {
    name: String,
    now: Now,
    register: Register,
    up: watch::Sender<bool>,
    state: Mutex<State>,
}

/// An export; clones are the same export.
#[derive(Clone)]
pub struct Export(Arc<Inner>);

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Export({})", self.0.name)
    }
}

/// How a client mounts an export.
#[derive(Clone, Debug)]
pub struct NfsOptions {
    /// Who acts, as points name it.
    pub actor: String,
    /// As which user.
    pub uid: u32,
    /// As which group.
    pub gid: u32,
    /// `Some` for a soft mount: after this time without an answer, EIO.
    pub soft: Option<Duration>,
    /// Where requests are charged.
    pub meter: Option<Meter>,
}

impl NfsOptions {
    /// A hard mount of root, as an inline `nfs` volume of a pod is.
    pub fn hard(actor: impl Into<String>) -> Self {
        Self { actor: actor.into(), uid: 0, gid: 0, soft: None, meter: None }
    }
    /// Makes it soft.
    #[must_use]
    pub fn soft(mut self, timeout: Duration) -> Self {
        self.soft = Some(timeout);
        self
    }
    /// Acts as this user and group.
    #[must_use]
    pub fn user(mut self, uid: u32, gid: u32) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }
    /// Charges requests, and pays the whole debt there.
    #[must_use]
    pub fn meter(mut self, meter: Meter) -> Self {
        self.meter = Some(meter);
        self
    }
}

impl Export {
    /// An export whose folder anybody may write (mode 0777).
    pub fn new(name: impl Into<String>, now: Now, register: Register) -> Self {
        let at = time((now)());
        let folder = || Folder { tree: Tree::new(0o777, (0, 0), at), used: 0 };
        let state = State {
            folders: [Shown::Right, Shown::Empty, Shown::Other]
                .into_iter()
                .map(|shown| (shown, folder()))
                .collect(),
            shown: Shown::Right,
            generation: 1,
            quota: None,
            squash: Squash::None,
            damage: Damage::default(),
        };
        Self(Arc::new(Inner {
            name: name.into(),
            now,
            register,
            up: watch::Sender::new(true),
            state: Mutex::new(state),
        }))
    }
    /// Its name, at which faults aim.
    pub fn name(&self) -> &str {
        &self.0.name
    }
    /// Takes the server down or brings it back.
    pub fn set_up(&self, up: bool) {
        self.0.up.send_replace(up);
    }
    /// Shows another directory to everybody.
    pub fn show(&self, shown: Shown) {
        self.state().shown = shown;
    }
    /// Replaces the file system under its mounts: their handles are stale from now on.
    pub fn renew(&self) {
        self.state().generation += 1;
    }
    /// Limits the bytes the export can hold.
    pub fn set_quota(&self, quota: Option<u64>) {
        self.state().quota = quota;
    }
    /// Maps users.
    pub fn set_squash(&self, squash: Squash) {
        self.state().squash = squash;
    }
    /// Sets owner and mode of the folder.
    pub fn set_root(&self, uid: u32, gid: u32, mode: u32) {
        let mut state = self.state();
        let folder = state.folders.get_mut(&Shown::Right).expect("every folder stands from the start");
        folder
            .tree
            .edit(ROOT, |inode| (inode.uid, inode.gid, inode.mode) = (uid, gid, mode))
            .expect("the root is always there");
    }
    /// Bytes in the directory shown.
    pub fn used(&self) -> u64 {
        self.state().folder(None).used
    }
    /// Every file in the directory shown, by path.
    pub fn files(&self) -> BTreeMap<String, Bytes> {
        let mut state = self.state();
        let folder = state.folder(None);
        files(&folder.tree)
            .into_iter()
            .map(|(path, number)| (path.to_string(), content(&folder.tree, number).to_bytes().into()))
            .collect()
    }
    /// Edits a file at rest in the right directory, keeping its time; `None` removes it. Tells whether it was there.
    pub fn edit(&self, path: &str, change: impl FnOnce(Bytes) -> Option<Bytes>) -> bool {
        let mut state = self.state();
        let folder = state.folders.get_mut(&Shown::Right).expect("every folder stands from the start");
        let mut medium = FilesAtRest(folder);
        let Some((bytes, modified)) = medium.take(path) else { return false };
        if let Some(bytes) = change(bytes) {
            medium.give(path, bytes, modified);
        }
        true
    }
    /// Mounts it.
    pub fn mount(&self, options: NfsOptions) -> NfsMount {
        NfsMount::new(self.clone(), options)
    }

    /// Locks the export after damage at rest that is due was done, and damage that was lifted undone.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.state.lock().expect("no holder of an export's lock panics");
        let State { folders, damage, .. } = &mut *state;
        let folder = folders.get_mut(&Shown::Right).expect("every folder stands from the start");
        damage.settle(&self.0.register, &self.0.name, &mut FilesAtRest(folder));
        state
    }
    fn now(&self) -> Time {
        time((self.0.now)())
    }
}

impl State {
    fn folder(&mut self, shown: Option<Shown>) -> &mut Folder {
        let shown = shown.unwrap_or(self.shown);
        self.folders.get_mut(&shown).expect("every folder stands from the start")
    }
}

impl Folder {
    /// Creates a file with its bytes, as far as the quota lets it.
    fn create(&mut self, path: &Path, inode: Inode, bytes: Bytes, quota: Option<u64>) -> io::Result<()> {
        let length = bytes.len() as u64;
        let fits = quota.is_none_or(|quota| self.used + length <= quota);
        // A failed write leaves the file that was opened for it.
        let bytes = if fits { bytes } else { Bytes::new() };
        let node = Node::File(Arc::new(Content::from_bytes(bytes)));
        self.tree.insert(path, Inode { node, ..inode })?;
        if !fits {
            return Err(error(errno::EDQUOT));
        }
        self.used += length;
        Ok(())
    }
    fn recount(&mut self) {
        self.used = self.tree.inodes().map(|(number, _)| content(&self.tree, number).len()).sum();
    }
}

fn content(tree: &Tree, number: Number) -> Arc<Content> {
    match tree.inode(number).map(|inode| &inode.node) {
        Ok(Node::File(content)) => content.clone(),
        _ => Arc::default(),
    }
}

/// Every file of a tree, in order of path.
fn files(tree: &Tree) -> BTreeMap<Path, Number> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![(Path::root(), ROOT)];
    while let Some((path, number)) = waiting.pop() {
        match tree.inode(number).map(|inode| &inode.node) {
            Ok(Node::Directory(names)) => {
                waiting.extend(names.iter().map(|(name, child)| (path.join(name), *child)));
            }
            Ok(Node::File(_)) => {
                found.insert(path, number);
            }
            _ => {}
        }
    }
    found
}

struct FilesAtRest<'a>(&'a mut Folder);

impl Medium for FilesAtRest<'_> {
    fn blobs(&self) -> Vec<(String, u64)> {
        let tree = &self.0.tree;
        files(tree)
            .into_iter()
            .map(|(path, number)| (path.to_string(), content(tree, number).len()))
            .collect()
    }
    /// Kopia's sharded layout: the path below the folder with the `.shards`, without slashes and `.f`.
    fn blob_name<'a>(&self, key: &'a str) -> std::borrow::Cow<'a, str> {
        let Some(bare) = key.strip_suffix(".f") else { return key.into() };
        let is_repository =
            |end: usize| self.0.tree.resolve(&Path::new(&key[..end]).join(b".shards")).is_ok();
        let start = bare
            .match_indices('/')
            .map(|(at, _)| at)
            .filter(|at| is_repository(*at))
            .max()
            .map_or(0, |at| at + 1);
        bare[start..].replace('/', "").into()
    }
    fn take(&mut self, key: &str) -> Option<(Bytes, Timestamp)> {
        let path = Path::new(key);
        let number = self.0.tree.resolve(&path).ok()?;
        let mtime = self.0.tree.inode(number).ok()?.mtime;
        let bytes = content(&self.0.tree, number).to_bytes();
        self.0.tree.remove(&path, mtime).ok()?;
        self.0.recount();
        Some((bytes.into(), Timestamp::from_nanosecond(mtime.as_nanos()).unwrap_or_default()))
    }
    fn give(&mut self, key: &str, bytes: Bytes, modified: Timestamp) {
        let path = Path::new(key);
        let inode = Inode::new(Node::File(Arc::default()), 0o600, (0, 0), time(modified));
        // The folder stood a moment ago; if a client removed it since, the blob stays away.
        if self.0.create(&path, inode, bytes, None).is_err() {
            self.0.recount();
        }
    }
}

fn time(at: Timestamp) -> Time {
    Time::from_nanos(at.as_nanosecond())
}
