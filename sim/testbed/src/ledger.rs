//! What the bed itself wrote: every path with its attributes, at an instant.
//!
//! An [`Entry`] is taken from the medium, not through a mount, so that no cache, permission or fault of a
//! tree seam can colour it; oracles compare what was read back with it. Taking one is incremental: bytes
//! are hashed once per written content, attributes are shared between entries, and an unchanged tree costs
//! a pointer. It never reads a clock and judges nothing.
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use engine::tree::{Kind, Path, Time};
use jiff::Timestamp;

use crate::volume::{
    Inode, Node, Snapshot, Tree, Volume,
    content::Content,
    tree::{Number, ROOT},
};

/// The attributes of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// File, directory, symlink or special, with a device's numbers.
    pub kind: Kind,
    /// SHA-256 of a file's bytes.
    pub sha256: Option<[u8; 32]>,
    /// Length of a file.
    pub size: u64,
    /// Permission bits (`0o7777`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Time,
    /// Extended attributes without ACLs.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// ACLs by attribute name.
    pub acls: BTreeMap<Vec<u8>, Vec<u8>>,
    /// A symlink's raw target.
    pub target: Option<Vec<u8>>,
    /// A file's holes.
    pub holes: Vec<Range<u64>>,
}

/// The extended attributes that are ACLs.
pub fn is_acl(name: &[u8]) -> bool {
    name.starts_with(b"system.posix_acl_") || name == b"system.nfs4_acl" || name == b"system.richacl"
}

/// A tree at an instant.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Every path, the root included, with its attributes.
    pub paths: Arc<BTreeMap<Path, Arc<Attributes>>>,
    /// Hard-link classes: the sorted paths of every file with more than one name.
    pub links: Arc<BTreeSet<Vec<Path>>>,
}

impl Entry {
    /// How many regular files there are, by path.
    pub fn files(&self) -> u64 {
        self.paths.values().filter(|attributes| attributes.kind == Kind::File).count() as u64
    }
    /// The sum of all file lengths, by path.
    pub fn bytes(&self) -> u64 {
        self.paths.values().map(|attributes| attributes.size).sum()
    }
    /// Whether nothing but the root is there.
    pub fn is_empty(&self) -> bool {
        self.paths.len() <= 1
    }
    /// Whether both hold the same paths, attributes and links; the instants may differ.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.paths, &other.paths) || self.paths == other.paths && self.links == other.links
    }
}

/// The memory that makes taking entries of one volume cheap.
#[derive(Debug, Default)]
pub struct Ledger {
    tree: Option<Arc<Tree>>,
    last: Option<Entry>,
    known: BTreeMap<Number, (Arc<Inode>, Arc<Attributes>)>,
}

impl Ledger {
    /// An empty memory.
    pub fn new() -> Self {
        Self::default()
    }
    /// Takes down what the volume holds.
    pub fn record(&mut self, volume: &Volume) -> Entry {
        self.record_snapshot(&volume.snapshot())
    }
    /// Takes down what a snapshot holds.
    pub fn record_snapshot(&mut self, snapshot: &Snapshot) -> Entry {
        let (tree, at) = (snapshot.tree(), snapshot.at());
        if let (Some(known), Some(last)) = (&self.tree, &self.last)
            && Arc::ptr_eq(known, tree)
        {
            return Entry { at, ..last.clone() };
        }
        let mut known = BTreeMap::new();
        let mut paths = BTreeMap::new();
        let mut names: BTreeMap<Number, Vec<Path>> = BTreeMap::new();
        let mut waiting = vec![(Path::root(), ROOT)];
        while let Some((path, number)) = waiting.pop() {
            let Ok(inode) = tree.inode(number) else { continue };
            let attributes = self.attributes(number, inode);
            known.insert(number, (inode.clone(), attributes.clone()));
            match &inode.node {
                Node::Directory(children) => {
                    waiting.extend(children.iter().map(|(name, child)| (path.join(name), *child)));
                }
                _ if inode.links > 1 => names.entry(number).or_default().push(path.clone()),
                _ => {}
            }
            paths.insert(path, attributes);
        }
        let links = names.into_values().map(|mut class| {
            class.sort();
            class
        });
        let entry = Entry { at, paths: Arc::new(paths), links: Arc::new(links.collect()) };
        self.tree = Some(tree.clone());
        self.known = known;
        self.last = Some(entry.clone());
        entry
    }

    fn attributes(&self, number: Number, inode: &Arc<Inode>) -> Arc<Attributes> {
        let known = self.known.get(&number);
        if let Some((before, attributes)) = known
            && Arc::ptr_eq(before, inode)
        {
            return attributes.clone();
        }
        // Only metadata changed: the bytes need no second hash.
        let hashed = known.and_then(|(before, attributes)| match (&before.node, &inode.node) {
            (Node::File(before), Node::File(content)) if Arc::ptr_eq(before, content) => attributes.sha256,
            _ => None,
        });
        Arc::new(Attributes::of(inode, hashed))
    }
}

impl Attributes {
    fn of(inode: &Inode, hashed: Option<[u8; 32]>) -> Self {
        let content: Option<&Content> = match &inode.node {
            Node::File(content) => Some(content),
            _ => None,
        };
        let (acls, xattrs) = inode.xattrs.clone().into_iter().partition(|(name, _)| is_acl(name));
        Self {
            kind: inode.node.kind(),
            sha256: content.map(|content| hashed.unwrap_or_else(|| content.sha256())),
            size: content.map_or(0, Content::len),
            mode: inode.mode,
            uid: inode.uid,
            gid: inode.gid,
            mtime: inode.mtime,
            xattrs,
            acls,
            target: match &inode.node {
                Node::Symlink(target) => Some(target.clone()),
                _ => None,
            },
            holes: content.map_or_else(Vec::new, Content::holes),
        }
    }
}

#[cfg(test)]
mod tests {
    use scenario::tree::{Special, TreeSpec};

    use super::*;
    use crate::volume::Character;

    fn volume(spec: &TreeSpec) -> Volume {
        let volume = Volume::new("v", Character::Rbd, Arc::new(|| Timestamp::UNIX_EPOCH));
        volume.populate(spec).unwrap();
        volume
    }
    fn everything() -> TreeSpec {
        Special::ALL.into_iter().fold(TreeSpec::plain(60, 2 << 20, 7), TreeSpec::with)
    }

    #[test]
    fn the_same_spec_is_the_same_tree_and_another_seed_is_another() {
        let take = |spec: &TreeSpec| Ledger::new().record(&volume(spec));
        assert!(take(&everything()).is_same(&take(&everything())));
        assert!(!take(&everything()).is_same(&take(&TreeSpec { seed: 8, ..everything() })));
    }

    #[test]
    fn a_spec_is_met_exactly_and_each_special_shows() {
        let entry = Ledger::new().record(&volume(&everything()));
        let extra: u64 = entry.links.iter().map(|class| class.len() as u64 - 1).sum();
        assert_eq!(entry.files() - extra, 60);
        let linked: u64 =
            entry.links.iter().map(|class| entry.paths[&class[0]].size * (class.len() as u64 - 1)).sum();
        assert_eq!(entry.bytes() - linked, 2 << 20);
        let any = |test: &dyn Fn(&Path, &Attributes) -> bool| {
            entry.paths.iter().any(|(path, attributes)| test(path, attributes))
        };
        assert!(any(&|_, a| a.holes.len() >= 3), "holes at start, middle and end");
        assert!(any(&|_, a| !a.xattrs.is_empty()) && any(&|_, a| !a.acls.is_empty()));
        assert!(
            any(&|_, a| matches!(a.kind, Kind::CharDevice(1, 3)))
                && any(&|_, a| matches!(a.kind, Kind::BlockDevice(..)))
        );
        assert!(any(&|_, a| a.kind == Kind::Fifo) && any(&|_, a| a.kind == Kind::Socket));
        assert!(
            any(&|path, _| std::str::from_utf8(path.name()).is_err())
                && any(&|path, _| path.name().len() == 255)
        );
        assert!(any(&|_, a| a.mode & 0o4000 != 0) && any(&|_, a| a.kind == Kind::File && a.mode == 0));
        assert!(any(&|_, a| a.mtime.seconds < 0) && any(&|_, a| a.mtime.seconds > 4_000_000_000));
        assert!(any(&|_, a| a.kind == Kind::File && a.size == 0) && any(&|_, a| a.uid == 568));
        assert!(any(&|_, a| a.target.as_deref() == Some(b"does/not/exist")));
        assert!(any(&|path, _| path.as_bytes().split(|byte| *byte == b'/').count() > 20));
        let digests: Vec<_> = entry.paths.values().filter(|a| a.size > 0).filter_map(|a| a.sha256).collect();
        assert!(
            digests.iter().collect::<BTreeSet<_>>().len() as u64 + extra < digests.len() as u64,
            "duplicates"
        );
    }

    #[test]
    fn an_unchanged_tree_costs_a_pointer_and_a_change_only_itself() {
        let volume = volume(&TreeSpec::plain(50, 100_000, 1));
        let mut ledger = Ledger::new();
        let first = ledger.record(&volume);
        assert!(Arc::ptr_eq(&first.paths, &ledger.record(&volume).paths));
        volume.work(3, 2).unwrap();
        let second = ledger.record(&volume);
        assert!(!first.is_same(&second));
        let shared = second
            .paths
            .iter()
            .filter(|(path, a)| first.paths.get(path).is_some_and(|b| Arc::ptr_eq(a, b)))
            .count();
        assert!(shared >= 45, "only {shared} of 50 files are shared");
        assert!(second.is_same(&Ledger::new().record(&volume)), "memory changes nothing");
    }
}
