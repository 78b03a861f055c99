//! Trees on their way: from a volume in memory into a stream for a pod's hand, and back.
//!
//! Both ways keep everything that the oracle compares. What a file system puts at the root of a fresh block
//! volume (`lost+found`) is nobody's data and is left out. No cluster is known here.

use std::{collections::BTreeMap, io, sync::Arc};

use bytes::Bytes;
use engine::{
    context::Now,
    tree::{Path, Time},
};
use kit::tree_stream::{Attributes, Entry, Error, Extent, Item, Node as Sent, Raw, Reader, Scope, Writer};

use crate::volume::{
    Character, Inode, Node, Tree, Volume,
    content::Content,
    tree::{Number, ROOT},
};

/// What a fresh ext4 has at its root.
const LOST_AND_FOUND: &[u8] = b"lost+found";

/// A stream that makes a directory hold exactly what a volume holds.
///
/// # Errors
/// The format's, for what cannot be sent.
pub fn pack(volume: &Volume) -> Result<Vec<u8>, Error> {
    let tree = volume.tree();
    let mut writer = Vec::new();
    let mut stream = Writer::new(&mut writer, Scope::Whole)?;
    let mut named: BTreeMap<Number, Path> = BTreeMap::new();
    // Sorted by path, so that parents come before children and a file before its links.
    let mut waiting = vec![(Path::root(), ROOT)];
    while let Some((path, number)) = waiting.pop() {
        let Ok(inode) = tree.inode(number) else { continue };
        let first = named.get(&number).cloned();
        let (node, bytes) = match first {
            Some(first) => (Sent::HardLink { to: raw(&first) }, Vec::new()),
            None => sent(inode),
        };
        stream.put(&Entry { path: raw(&path), node, attributes: attributes(inode) }, bytes.as_slice())?;
        if let Node::Directory(children) = &inode.node {
            waiting.extend(children.iter().rev().map(|(name, child)| (path.join(name), *child)));
        } else if inode.links > 1 {
            named.entry(number).or_insert(path);
        }
    }
    stream.finish()?;
    Ok(writer)
}

/// A volume that holds what a stream tells.
///
/// # Errors
/// The format's; those of the tree for entries that do not fit together.
pub fn unpack(stream: &[u8], name: &str, character: Character, now: Now) -> Result<Volume, Unpack> {
    let mut reader = Reader::new(stream)?;
    let volume = Volume::new(name, character, now);
    volume
        .edit(|tree, _| Ok(fill(tree, &mut reader)))
        .map_err(|source| Unpack::Tree { path: String::new(), source })??;
    Ok(volume)
}

/// Why a stream made no volume.
#[derive(Debug, thiserror::Error)]
pub enum Unpack {
    /// The stream is not whole or not sound.
    #[error(transparent)]
    Stream(#[from] Error),
    /// An entry does not fit into the tree.
    #[error("the entry {path:?} of a tree stream does not fit into its tree")]
    Tree {
        /// The entry.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn fill(tree: &mut Tree, reader: &mut Reader<&[u8]>) -> Result<(), Unpack> {
    let mut directories = Vec::new();
    while let Some(item) = reader.next()? {
        let Item::Put(entry) = item else { continue };
        let path = Path::new(entry.path.as_bytes());
        let first = path.as_bytes().split(|byte| *byte == b'/').next();
        if first == Some(LOST_AND_FOUND) {
            continue;
        }
        let does_not_fit = |source| Unpack::Tree { path: path.to_string(), source };
        let mtime = time(entry.attributes.mtime);
        if let Sent::HardLink { to } = &entry.node {
            tree.link(&Path::new(to.as_bytes()), &path, mtime).map_err(does_not_fit)?;
            continue;
        }
        let node = received(reader, &entry.node)?;
        let inode = Inode {
            xattrs: entry.attributes.xattrs.clone(),
            ..Inode::new(node, entry.attributes.mode, (entry.attributes.uid, entry.attributes.gid), mtime)
        };
        if path.is_root() {
            tree.edit(ROOT, |root| {
                (root.mode, root.uid, root.gid) = (inode.mode, inode.uid, inode.gid);
                root.xattrs.clone_from(&inode.xattrs);
            })
            .map_err(does_not_fit)?;
        } else {
            tree.insert(&path, inode).map_err(does_not_fit)?;
        }
        if entry.node == Sent::Directory {
            directories.push((path, mtime));
        }
    }
    // Adding names has moved the times of the directories above them.
    for (path, mtime) in directories {
        let set = tree.resolve(&path).and_then(|number| tree.edit(number, |inode| inode.mtime = mtime));
        set.map_err(|source| Unpack::Tree { path: path.to_string(), source })?;
    }
    Ok(())
}

fn received(reader: &mut Reader<&[u8]>, node: &Sent) -> Result<Node, Unpack> {
    Ok(match node {
        Sent::File { size, .. } => {
            let mut content = Content::default();
            for (at, bytes) in reader.extents(node)? {
                content.write(at, Bytes::from(bytes));
            }
            content.set_len(*size);
            Node::File(Arc::new(content))
        }
        Sent::Directory | Sent::HardLink { .. } => Node::Directory(BTreeMap::new()),
        Sent::Symlink { target } => Node::Symlink(target.as_bytes().to_vec()),
        Sent::Fifo => Node::Fifo,
        Sent::Socket => Node::Socket,
        Sent::CharDevice { major, minor } => Node::CharDevice(*major, *minor),
        Sent::BlockDevice { major, minor } => Node::BlockDevice(*major, *minor),
    })
}

fn sent(inode: &Inode) -> (Sent, Vec<u8>) {
    match &inode.node {
        Node::File(content) => {
            let extents = extents(content);
            let all = content.to_bytes();
            let stored = extents.iter().flat_map(|extent| {
                all[extent.at as usize..(extent.at + extent.length) as usize].iter().copied()
            });
            let stored = stored.collect();
            (Sent::File { size: content.len(), extents }, stored)
        }
        Node::Directory(_) => (Sent::Directory, Vec::new()),
        Node::Symlink(target) => (Sent::Symlink { target: Raw::new(target.clone()) }, Vec::new()),
        Node::Fifo => (Sent::Fifo, Vec::new()),
        Node::Socket => (Sent::Socket, Vec::new()),
        Node::CharDevice(major, minor) => (Sent::CharDevice { major: *major, minor: *minor }, Vec::new()),
        Node::BlockDevice(major, minor) => (Sent::BlockDevice { major: *major, minor: *minor }, Vec::new()),
    }
}

/// What lies between the holes.
fn extents(content: &Content) -> Vec<Extent> {
    let mut extents = Vec::new();
    let mut at = 0;
    let end = content.len();
    for hole in content.holes().into_iter().chain(std::iter::once(end..end)) {
        if hole.start > at {
            extents.push(Extent { at, length: hole.start - at });
        }
        at = hole.end;
    }
    extents
}

fn attributes(inode: &Inode) -> Attributes {
    Attributes {
        mode: if matches!(inode.node, Node::Symlink(_)) { 0o777 } else { inode.mode },
        uid: inode.uid,
        gid: inode.gid,
        mtime: kit::tree_stream::Time { seconds: inode.mtime.seconds, nanoseconds: inode.mtime.nanoseconds },
        xattrs: inode.xattrs.clone(),
    }
}

fn raw(path: &Path) -> Raw {
    Raw::new(path.as_bytes())
}

fn time(time: kit::tree_stream::Time) -> Time {
    Time { seconds: time.seconds, nanoseconds: time.nanoseconds }
}

#[cfg(test)]
mod tests {
    use scenario::tree::{Special, TreeSpec};

    use super::*;
    use crate::ledger::Ledger;

    fn now() -> Now {
        Arc::new(|| jiff::Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        let everything = Special::ALL.into_iter().fold(TreeSpec::plain(60, 2 << 20, 7), TreeSpec::with);
        let volume = Volume::new("one", Character::Rbd, now());
        volume.populate(&everything).unwrap();
        let stream = pack(&volume).unwrap();
        let again = unpack(&stream, "two", Character::Rbd, now()).unwrap();
        let (before, after) = (Ledger::new().record(&volume), Ledger::new().record(&again));
        for (path, attributes) in before.paths.iter() {
            assert_eq!(after.paths.get(path), Some(attributes), "{path}");
        }
        assert!(before.is_same(&after));
    }

    #[test]
    fn a_stream_that_was_cut_off_makes_no_volume() {
        let volume = Volume::new("one", Character::Rbd, now());
        volume.populate(&TreeSpec::plain(5, 10_000, 7)).unwrap();
        let stream = pack(&volume).unwrap();
        for end in [0, 10, stream.len() / 2, stream.len() - 1] {
            assert!(unpack(&stream[..end], "two", Character::Rbd, now()).is_err(), "{end} bytes were enough");
        }
    }
}
