//! Volumes that hold real trees, with the character of the storage they stand for.
//!
//! A [`Volume`] is the medium: inodes, bytes, holes, capacity. A [`Mount`] is one node's view of it, with a
//! page cache and a write-back queue, acting as somebody; it implements the engine's tree seam. What one
//! mount writes is seen at once by itself, and by a fresh mount only after write-back; names, sizes, modes
//! and times pass at once, as on a cluster file system. Snapshots and clones share memory and are
//! independent. Faults enter at write-back and at open, asked of the [`fault::Register`].
//!
//! It does not model: coherence of dirty pages between two live mounts, atime and ctime, ACL evaluation,
//! allocation beyond whole bytes. Read [`content`] for bytes, [`tree`] for names, [`mount`] for the view.
pub mod content;
pub mod errno;
pub mod files;
pub mod generate;
pub mod mount;
pub mod options;
pub mod ownership;
pub mod permission;
#[cfg(test)]
mod tests;
pub mod tree;
pub mod work;

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard},
};

use engine::{context::Now, tree::Time};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use files::VolumeFiles;
pub use mount::Mount;
pub use options::MountOptions;
pub use ownership::{FsGroupPolicy, Ownership};
pub use permission::{Capabilities, Credentials};
pub use tree::{Inode, Node, Tree};

/// What kind of storage a volume stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Character {
    /// A Ceph block device with ext4: one writer, kubelet applies fsGroup.
    Rbd,
    /// The Ceph file system: many writers, bytes live apart from metadata.
    CephFs,
    /// A directory on the node: no fsGroup, no size limit.
    HostPath,
    /// A local ZFS dataset.
    #[serde(rename = "zfs")]
    LocalZfs,
    /// An NFS export.
    Nfs,
}

impl Character {
    /// Its name in points, records and options.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rbd => "rbd",
            Self::CephFs => "cephfs",
            Self::HostPath => "hostpath",
            Self::LocalZfs => "zfs",
            Self::Nfs => "nfs",
        }
    }
    /// Whether kubelet applies fsGroup to such a volume.
    pub const fn takes_fs_group(self) -> bool {
        !matches!(self, Self::HostPath | Self::Nfs)
    }
    /// What a write beyond the capacity answers: a full file system or a reached quota.
    const fn full(self) -> i32 {
        match self {
            Self::Rbd | Self::HostPath => errno::ENOSPC,
            Self::CephFs | Self::LocalZfs | Self::Nfs => errno::EDQUOT,
        }
    }
}

impl fmt::Display for Character {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug)]
struct State {
    tree: Arc<Tree>,
    capacity: Option<u64>,
    /// What each file takes, as long as it is `counted`.
    charges: BTreeMap<tree::Number, u64>,
    used: u64,
    counted: bool,
}

struct Inner {
    name: String,
    character: Character,
    now: Now,
    state: Mutex<State>,
}

/// A volume: the medium that mounts look at. Clones are the same volume.
#[derive(Clone)]
pub struct Volume(Arc<Inner>);

impl fmt::Debug for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Volume({} {})", self.0.character, self.0.name)
    }
}

/// A volume's tree at an instant; cheap, and never changes.
#[derive(Clone, Debug)]
pub struct Snapshot {
    tree: Arc<Tree>,
    at: Timestamp,
}

impl Snapshot {
    /// The tree.
    pub fn tree(&self) -> &Arc<Tree> {
        &self.tree
    }
    /// When it was cut.
    pub fn at(&self) -> Timestamp {
        self.at
    }
}

impl Volume {
    /// An empty volume as a provisioner hands it out: root owned by root, mode 0755 (0777 for directories
    /// of the node and for CephFS, as their provisioners do).
    pub fn new(name: impl Into<String>, character: Character, now: Now) -> Self {
        let mode = if matches!(character, Character::HostPath | Character::CephFs) { 0o777 } else { 0o755 };
        let tree = Tree::new(mode, (0, 0), time((now)()));
        Self::holding(name.into(), character, now, Arc::new(tree))
    }
    /// A volume made from a snapshot: it shares bytes with it and goes its own way.
    pub fn from_snapshot(
        name: impl Into<String>,
        character: Character,
        now: Now,
        snapshot: &Snapshot,
    ) -> Self {
        Self::holding(name.into(), character, now, snapshot.tree.clone())
    }
    /// Limits the bytes that can be written; a smaller limit than what is there stops further growth.
    #[must_use]
    pub fn with_capacity(self, bytes: u64) -> Self {
        self.resize(Some(bytes));
        self
    }
    /// Changes the capacity.
    pub fn resize(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }
    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }
    /// Its character.
    pub fn character(&self) -> Character {
        self.0.character
    }
    /// Bytes written to it, holes left out.
    pub fn used(&self) -> u64 {
        let mut state = self.state();
        state.count();
        state.used
    }
    /// Its capacity.
    pub fn capacity(&self) -> Option<u64> {
        self.state().capacity
    }
    /// The tree on the medium as it stands now; cheap.
    pub fn tree(&self) -> Arc<Tree> {
        self.state().tree.clone()
    }
    /// Cuts a snapshot of the medium; what mounts have not written back is not in it.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { tree: self.tree(), at: (self.0.now)() }
    }
    /// Makes an independent copy under another name, with the same capacity.
    #[must_use]
    pub fn clone_as(&self, name: impl Into<String>) -> Self {
        let copy = Self::holding(name.into(), self.0.character, self.0.now.clone(), self.tree());
        copy.resize(self.capacity());
        copy
    }
    /// Lets the bed itself change the medium, past permissions, caches and faults.
    ///
    /// # Errors
    /// Those of `change`, which then may be half done; ENOSPC or EDQUOT when it left more than fits.
    pub fn edit<R>(&self, change: impl FnOnce(&mut Tree, Time) -> io::Result<R>) -> io::Result<R> {
        let now = time((self.0.now)());
        let mut state = self.state();
        let done = change(Arc::make_mut(&mut state.tree), now);
        state.counted = false;
        let overfull = state.may_overflow(0);
        match done {
            Ok(_) if overfull => Err(errno::error(self.0.character.full())),
            done => done,
        }
    }
    /// Mounts it.
    pub fn mount(&self, options: MountOptions) -> Mount {
        Mount::new(self.clone(), options)
    }

    fn holding(name: String, character: Character, now: Now, tree: Arc<Tree>) -> Self {
        let state = State { tree, capacity: None, charges: BTreeMap::new(), used: 0, counted: false };
        Self(Arc::new(Inner { name, character, now, state: Mutex::new(state) }))
    }
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no holder of a volume's lock panics")
    }
    fn now(&self) -> Time {
        time((self.0.now)())
    }
}

impl State {
    /// Counts what files take, if the bed changed them since the last count.
    fn count(&mut self) {
        if std::mem::replace(&mut self.counted, true) {
            return;
        }
        let stored = self.tree.inodes().filter_map(|(number, inode)| match &inode.node {
            Node::File(content) => Some((number, content.stored())),
            _ => None,
        });
        self.charges = stored.collect();
        self.used = self.charges.values().sum();
    }
    fn may_overflow(&mut self, growth: u64) -> bool {
        if self.capacity.is_some() {
            self.count();
        }
        self.capacity.is_some_and(|capacity| self.used.saturating_add(growth) > capacity)
    }
    /// Notes that a file now takes this many bytes; refuses growth beyond the capacity.
    fn charge(&mut self, number: tree::Number, stored: u64) -> bool {
        self.count();
        let before = self.charges.get(&number).copied().unwrap_or(0);
        let used = self.used - before + stored;
        if stored > before && self.capacity.is_some_and(|capacity| used > capacity) {
            return false;
        }
        self.used = used;
        self.charges.insert(number, stored);
        true
    }
    fn discharge(&mut self, number: tree::Number) {
        // Without a count the next one sees that it is gone.
        if self.counted {
            self.used -= self.charges.remove(&number).unwrap_or(0);
        }
    }
}

/// A timestamp as a file's time.
pub fn time(at: Timestamp) -> Time {
    Time::from_nanos(at.as_nanosecond())
}
