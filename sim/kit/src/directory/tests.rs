//! What is planted is walked, and a copy is its original.
use std::{
    collections::BTreeMap,
    io::{Seek as _, SeekFrom, Write as _},
};

use proptest::prelude::*;

use super::*;
use crate::tree_stream::{Attributes, Entry, Extent, Node, Time};

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn attributes(mode: u32) -> Attributes {
    // Others than root cannot read back what has no read bit for its owner.
    let mode = if is_root() { mode } else { mode | 0o400 };
    let (uid, gid) = if is_root() {
        (1234, 4321)
    } else {
        (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
    };
    let mtime = Time { seconds: 1_500_000_000, nanoseconds: 123_456_789 };
    Attributes { mode, uid, gid, mtime, xattrs: BTreeMap::new() }
}

pub(crate) fn put(path: &[u8], node: Node, mode: u32) -> (Entry, Vec<u8>) {
    let data = (0..node.stored_bytes()).map(|at| (at % 251) as u8 + 1).collect();
    (Entry { path: Raw::new(path), node, attributes: attributes(mode) }, data)
}

pub(crate) fn file(size: u64, extents: &[(u64, u64)]) -> Node {
    Node::File { size, extents: extents.iter().copied().map(Extent::from).collect() }
}

/// One of everything that this user may make, in the order of a walk.
pub(crate) fn everything() -> Vec<(Entry, Vec<u8>)> {
    let mut tree = vec![
        put(b"", Node::Directory, 0o2770),
        put(b"0\xff raw \n", file(5, &[(0, 5)]), 0o4755),
        put(b"again", Node::HardLink { to: Raw::new(*b"0\xff raw \n") }, 0o4755),
        put(b"closed", Node::Directory, 0o500),
        put(b"empty", file(0, &[]), 0o000),
        put(b"holes", file(1 << 20, &[(65536, 4096), (1 << 19, 8192)]), 0o640),
        put(b"link", Node::Symlink { target: Raw::new(*b"../nowhere\xfe") }, 0o777),
        put(b"only-hole", file(1 << 30, &[]), 0o600),
        put(b"pipe", Node::Fifo, 0o620),
        put(b"socket", Node::Socket, 0o700),
        put(b"closed/inner", file(3, &[(0, 3)]), 0o444),
    ];
    if is_root() {
        tree.insert(10, put(b"zero", Node::CharDevice { major: 1, minor: 5 }, 0o666));
        tree.insert(11, put(b"zzz", Node::BlockDevice { major: 7, minor: 3 }, 0o660));
        let xattrs = &mut tree[1].0.attributes.xattrs;
        xattrs.insert(b"trusted.overlay".to_vec(), vec![0, 1, 255]);
        let capability = [1, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        xattrs.insert(b"security.capability".to_vec(), capability.to_vec());
        tree[2].0.attributes = tree[1].0.attributes.clone();
    }
    tree[1].0.attributes.xattrs.insert(b"user.empty".to_vec(), Vec::new());
    tree[2].0.attributes = tree[1].0.attributes.clone();
    // The access ACL `user::rwx,user:7:r-x,group::r--,mask::r-x,other::---`, as the kernel stores it.
    let acl = |entries: &[(u16, u16, u32)]| {
        let mut bytes = 2_u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(permissions.to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        bytes
    };
    let list = acl(&[(1, 7, u32::MAX), (2, 5, 7), (4, 4, u32::MAX), (16, 5, u32::MAX), (32, 0, u32::MAX)]);
    let inner = &mut tree[3].0.attributes;
    inner.mode = 0o750;
    inner.xattrs.insert(b"system.posix_acl_access".to_vec(), list.clone());
    inner.xattrs.insert(b"system.posix_acl_default".to_vec(), list);
    tree
}

pub(crate) fn planted(root: &Path, tree: &[(Entry, Vec<u8>)]) -> Result<Vec<String>, Error> {
    let directory = Directory::open(root).unwrap();
    let mut planter = Planter::new(&directory);
    for (entry, data) in tree {
        planter.put(entry, |file| {
            let Node::File { extents, .. } = &entry.node else { panic!("only files are filled") };
            let mut rest = &data[..];
            for extent in extents {
                let (run, left) = rest.split_at(extent.length as usize);
                at("fill", &entry.path, file.seek(SeekFrom::Start(extent.at)))?;
                at("fill", &entry.path, file.write_all(run))?;
                rest = left;
            }
            Ok(())
        })?;
    }
    planter.finish()
}

pub(crate) fn walked(root: &Path) -> Vec<(Entry, Vec<u8>)> {
    use std::io::Read as _;
    let mut tree = Vec::new();
    let walk = Directory::open(root).unwrap().walk(&mut |entry, file| {
        let mut data = Vec::new();
        if let (Node::File { extents, .. }, Some(mut file)) = (&entry.node, file) {
            for extent in extents {
                file.seek(SeekFrom::Start(extent.at)).unwrap();
                file.take(extent.length).read_to_end(&mut data).unwrap();
            }
        }
        tree.push((entry.clone(), data));
        Ok(())
    });
    walk.unwrap();
    tree
}

#[track_caller]
pub(crate) fn same(left: &[(Entry, Vec<u8>)], right: &[(Entry, Vec<u8>)]) {
    for (left, right) in left.iter().zip(right) {
        assert_eq!(left.0, right.0);
        assert!(left.1 == right.1, "the bytes of {} differ", left.0.path);
    }
    assert_eq!(left.len(), right.len());
}

#[test]
fn what_is_planted_is_walked() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(planted(folder.path(), &everything()).unwrap(), Vec::<String>::new());
    same(&walked(folder.path()), &everything());
    // Once more over what is there: nothing is in the way.
    planted(folder.path(), &everything()).unwrap();
    same(&walked(folder.path()), &everything());
}

#[test]
fn a_copy_is_its_original() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    planted(from.path(), &everything()).unwrap();
    let mut bytes = 0;
    let mut tick = |count| {
        bytes += count;
        Ok(())
    };
    copy(from.path(), to.path(), &mut tick).unwrap();
    same(&walked(to.path()), &everything());
    assert_eq!(bytes, 5 + 4096 + 8192 + 3);
    // A walk that sees nothing would make everything the same.
    std::fs::write(to.path().join("more"), b"x").unwrap();
    assert_ne!(walked(to.path()).len(), everything().len());
}

#[test]
fn a_tree_cannot_leave_its_root_through_a_link() {
    let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::os::unix::fs::symlink(outside.path(), root.path().join("out")).unwrap();
    let (entry, _) = put(b"out/stolen", Node::Fifo, 0o600);
    let directory = Directory::open(root.path()).unwrap();
    let error = Planter::new(&directory).put(&entry, |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("out/stolen"), "{error}");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn removing_takes_all_below_and_forgives_absence() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("a/b/c")).unwrap();
    std::fs::write(root.path().join("a/b/f"), b"x").unwrap();
    let directory = Directory::open(root.path()).unwrap();
    let mut planter = Planter::new(&directory);
    planter.remove(&Raw::from("nothing")).unwrap();
    planter.remove(&Raw::from("a/b")).unwrap();
    assert!(root.path().join("a").exists() && !root.path().join("a/b").exists());
    planter.remove(&Raw::default()).unwrap();
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn what_may_not_be_given_is_listed_only_where_that_is_wanted() {
    if is_root() {
        eprintln!("skipped: root may give everything away");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let directory = Directory::open(root.path()).unwrap();
    let (mut entry, _) = put(b"f", file(0, &[]), 0o600);
    entry.attributes.uid = 1;
    assert!(Planter::new(&directory).put(&entry, |_| Ok(())).is_err());
    let mut planter = Planter::new(&directory).lenient(true);
    planter.put(&entry, |_| Ok(())).unwrap();
    assert_eq!(planter.finish().unwrap().len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn names_times_and_holes_survive(
        names in proptest::collection::btree_set("[a-c\\x80-\\xff .]{1,6}".prop_filter("not a dot", |name| name != "." && name != ".."), 1..8),
        seconds in -2_000_000_000_i64..4_000_000_000, nanoseconds in 0_u32..1_000_000_000,
        mode in 0_u32..0o1000, run in 0_u64..4,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut tree = vec![put(b"", Node::Directory, 0o755)];
        for name in &names {
            // Runs at block bounds: smaller holes are the file system's to fill.
            let mut entry = put(name.as_bytes(), file(1 << 18, &[(65536 * run, 65536)]), mode);
            entry.0.attributes.mtime = Time { seconds, nanoseconds };
            tree.push(entry);
        }
        planted(folder.path(), &tree).unwrap();
        same(&walked(folder.path()), &tree);
    }
}
