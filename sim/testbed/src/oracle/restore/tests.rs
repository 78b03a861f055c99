//! The oracle sees each attribute, tells declared losses apart, and stays quiet over a perfect copy.
use std::sync::Arc;

use engine::tree::{Kind, Path, Time, WriteTree as _};
use jiff::Timestamp;
use scenario::tree::{Special, TreeSpec};

use super::*;
use crate::{
    ledger::{Entry, Ledger},
    volume::{Character, Credentials, Inode, MountOptions, Node, Tree, Volume, content::Content},
};

fn source() -> Volume {
    let volume = Volume::new("v", Character::Rbd, Arc::new(|| Timestamp::UNIX_EPOCH));
    let spec = Special::ALL.into_iter().fold(TreeSpec::plain(40, 600_000, 7), TreeSpec::with);
    volume.populate(&spec).unwrap();
    volume
}
fn read_back(volume: &Volume) -> ReadBack {
    // Root with every capability reads what nobody may.
    ReadBack::of(&volume.mount(MountOptions::new("oracle")))
}
fn find(entry: &Entry, test: impl Fn(&Path, &crate::ledger::Attributes) -> bool) -> Path {
    entry
        .paths
        .iter()
        .find(|(path, attributes)| test(path, attributes))
        .expect("the tree shows every special")
        .0
        .clone()
}
fn is_utf8(path: &Path) -> bool {
    std::str::from_utf8(path.as_bytes()).is_ok()
}

#[test]
fn a_perfect_copy_is_equal_without_any_loss() {
    let volume = source();
    let entry = Ledger::new().record(&volume);
    let report = compare(&entry, &read_back(&volume.clone_as("copy")), Carries::everything());
    assert!(report.is_equal() && report.losses.is_empty(), "{report}");
    assert_eq!((report.files, report.bytes), (entry.files(), entry.bytes()));
}

type Mutation = fn(&mut Tree, &Entry) -> std::io::Result<()>;

fn edit(tree: &mut Tree, path: &Path, change: impl FnOnce(&mut Inode)) -> std::io::Result<()> {
    let number = tree.resolve(path)?;
    tree.edit(number, change)
}
fn plain_file(entry: &Entry) -> Path {
    find(entry, |path, a| {
        a.kind == Kind::File
            && a.size > 5000
            && a.holes.is_empty()
            && is_utf8(path)
            && !entry.links.iter().flatten().any(|other| other == path)
    })
}

/// One mutant for each promised attribute, and for the presence of paths.
const MUTANTS: &[(Attribute, Mutation)] = &[
    (Attribute::Bytes, |tree, entry| {
        edit(tree, &plain_file(entry), |inode| {
            let Node::File(content) = &mut inode.node else { unreachable!() };
            let mut byte = [0];
            content.read(4321, &mut byte);
            Arc::make_mut(content).write(4321, vec![byte[0] ^ 1].into());
        })
    }),
    (Attribute::Type, |tree, entry| {
        let path = find(entry, |_, a| a.kind == Kind::Symlink);
        edit(tree, &path, |inode| inode.node = Node::File(Arc::default()))
    }),
    (Attribute::Mode, |tree, entry| edit(tree, &plain_file(entry), |inode| inode.mode ^= 0o4000)),
    (Attribute::Uid, |tree, entry| edit(tree, &plain_file(entry), |inode| inode.uid += 1)),
    (Attribute::Gid, |tree, entry| edit(tree, &plain_file(entry), |inode| inode.gid += 1)),
    (Attribute::Mtime, |tree, entry| edit(tree, &plain_file(entry), |inode| inode.mtime.nanoseconds ^= 1)),
    (Attribute::Xattrs, |tree, entry| {
        let path = find(entry, |_, a| !a.xattrs.is_empty());
        edit(tree, &path, |inode| {
            inode.xattrs.insert(b"user.origin".to_vec(), b"elsewhere".to_vec());
        })
    }),
    (Attribute::Acls, |tree, entry| {
        let path = find(entry, |_, a| !a.acls.is_empty());
        edit(tree, &path, |inode| {
            for (_, value) in inode.xattrs.iter_mut().filter(|(name, _)| name.starts_with(b"system.")) {
                value[6] ^= 4;
            }
        })
    }),
    (Attribute::HardLinks, |tree, entry| {
        let class = entry.links.iter().next().expect("there are links");
        let number = tree.resolve(&class[0])?;
        let copy = Inode { links: 1, ..(**tree.inode(number)?).clone() };
        let parent = class[0].parent().unwrap();
        let mtime = tree.inode(tree.resolve(&parent)?)?.mtime;
        tree.remove(&class[0], mtime)?;
        tree.insert(&class[0], copy)?;
        edit(tree, &parent, |inode| inode.mtime = mtime)
    }),
    (Attribute::Target, |tree, entry| {
        let path = find(entry, |_, a| a.kind == Kind::Symlink);
        edit(tree, &path, |inode| inode.node = Node::Symlink(b"elsewhere".to_vec()))
    }),
    (Attribute::Holes, |tree, entry| {
        let path = find(entry, |_, a| !a.holes.is_empty());
        edit(tree, &path, |inode| {
            let Node::File(content) = &mut inode.node else { unreachable!() };
            *content = Arc::new(Content::from_bytes(content.to_bytes().into()));
        })
    }),
    (Attribute::SpecialFiles, |tree, entry| {
        let path = find(entry, |_, a| matches!(a.kind, Kind::CharDevice(..)));
        edit(tree, &path, |inode| inode.node = Node::CharDevice(1, 5))
    }),
    (Attribute::RawNames, |tree, entry| {
        let path = find(entry, |path, _| std::str::from_utf8(path.name()).is_err());
        let parent = path.parent().unwrap();
        let mtime = tree.inode(tree.resolve(&parent)?)?.mtime;
        tree.rename(&path, &parent.join(String::from_utf8_lossy(path.name()).as_bytes()), mtime)?;
        edit(tree, &parent, |inode| inode.mtime = mtime)
    }),
    (Attribute::DirectoryMtimes, |tree, entry| {
        let path = find(entry, |path, a| a.kind == Kind::Directory && !path.is_root());
        edit(tree, &path, |inode| inode.mtime.nanoseconds ^= 1)
    }),
    (Attribute::Missing, |tree, entry| {
        let path = plain_file(entry);
        let mtime = tree.inode(tree.resolve(&path.parent().unwrap())?)?.mtime;
        tree.remove(&path, mtime).map(drop)
    }),
    (Attribute::Extra, |tree, entry| {
        let mtime = entry.paths[&Path::root()].mtime;
        tree.insert(&Path::new("extra"), Inode::new(Node::Fifo, 0o600, (0, 0), mtime)).map(drop)
    }),
];

#[test]
fn each_attribute_has_a_mutant_that_is_seen_as_itself_and_as_nothing_else() {
    let source = source();
    let entry = Ledger::new().record(&source);
    for promised in Attribute::PROMISED {
        assert!(MUTANTS.iter().any(|(attribute, _)| *attribute == promised), "{promised} has no mutant");
    }
    for (attribute, mutate) in MUTANTS {
        let mutant = source.clone_as("mutant");
        mutant.edit(|tree, _| mutate(tree, &entry)).unwrap();
        let report = compare(&entry, &read_back(&mutant), Carries::everything());
        let seen: Vec<_> = report.counts.keys().copied().collect();
        assert_eq!(seen, [*attribute], "{report}");
    }
}

#[test]
fn a_loss_is_declared_only_where_the_format_says_so() {
    let source = source();
    let entry = Ledger::new().record(&source);
    // What stays a difference under Kopia's rules, and what becomes a loss.
    for (attribute, mutate) in MUTANTS {
        let mutant = source.clone_as("mutant");
        mutant.edit(|tree, _| mutate(tree, &entry)).unwrap();
        let report = compare(&entry, &read_back(&mutant), Carries::kopia());
        let forgiven = match attribute {
            Attribute::HardLinks => Some(Loss::HardLinks),
            Attribute::Holes => Some(Loss::Holes),
            Attribute::RawNames => Some(Loss::RawNames),
            _ => None,
        };
        assert_eq!(report.is_equal(), forgiven.is_some(), "{attribute}: {report}");
        assert_eq!(report.losses.keys().next().copied(), forgiven, "{attribute}: {report}");
    }
}

/// Makes of a tree what Kopia's format brings back of it.
fn as_kopia_brings_it(tree: &mut Tree, entry: &Entry) {
    for (path, attributes) in entry.paths.iter().rev() {
        let number = tree.resolve(path).unwrap();
        if !matches!(attributes.kind, Kind::File | Kind::Directory | Kind::Symlink) {
            tree.remove(path, Time::default()).unwrap();
            continue;
        }
        tree.edit(number, |inode| {
            inode.xattrs.clear();
            if let Node::File(content) = &mut inode.node {
                *content = Arc::new(Content::from_bytes(content.to_bytes().into()));
            }
        })
        .unwrap();
    }
    for class in entry.links.iter() {
        for path in &class[1..] {
            let number = tree.resolve(path).unwrap();
            let copy = Inode { links: 1, ..(**tree.inode(number).unwrap()).clone() };
            tree.remove(path, Time::default()).unwrap();
            tree.insert(path, copy).unwrap();
        }
    }
    for (path, attributes) in entry.paths.iter().filter(|(_, attributes)| attributes.kind == Kind::Directory)
    {
        edit(tree, path, |inode| inode.mtime = attributes.mtime).unwrap();
    }
    settle(tree, &Path::root());
    // Only the restore cuts the times of symlinks; their folder's was taken from the snapshot.
    for (path, _) in entry.paths.iter().filter(|(_, attributes)| attributes.kind == Kind::Symlink) {
        edit(tree, path, |inode| inode.mtime.nanoseconds -= inode.mtime.nanoseconds % 1000).unwrap();
    }
}

/// Gives every directory below the root the newest time beneath it, by recursion: another way than the oracle's.
fn settle(tree: &mut Tree, path: &Path) -> Time {
    let mut newest = None;
    for child in tree.read_dir(path).unwrap() {
        let at = path.join(&child.name);
        let below = if child.kind == Kind::Directory { settle(tree, &at) } else { child.mtime };
        let time = below.max(child.mtime);
        newest = newest.max(Some(time));
    }
    let own = tree.entry(path).unwrap().mtime;
    let time = newest.map_or(own, |newest| newest.max(Time::default()));
    if !path.is_root() {
        edit(tree, path, |inode| inode.mtime = time).unwrap();
    }
    time
}

#[test]
fn what_kopia_brings_back_is_equal_with_every_loss_declared() {
    let source = source();
    let entry = Ledger::new().record(&source);
    let copy = source.clone_as("copy");
    copy.edit(|tree, _| {
        as_kopia_brings_it(tree, &entry);
        Ok(())
    })
    .unwrap();
    let report = compare(&entry, &read_back(&copy), Carries::kopia());
    assert!(report.is_equal(), "{report}");
    for loss in [
        Loss::HardLinks,
        Loss::Holes,
        Loss::Xattrs,
        Loss::Acls,
        Loss::SpecialFiles,
        Loss::DirectoryMtimes,
        Loss::SymlinkMtimes,
    ] {
        assert!(report.losses.contains_key(&loss), "{loss} is silent: {report}");
    }
    assert!(!compare(&entry, &read_back(&copy), Carries::everything()).is_equal());
}

#[test]
fn output_is_bounded_and_counts_are_not() {
    let volume = source();
    let entry = Ledger::new().record(&volume);
    let empty = Volume::new("empty", Character::Rbd, Arc::new(|| Timestamp::UNIX_EPOCH));
    let report = compare(&entry, &read_back(&empty), Carries::kopia());
    assert_eq!(report.differences.len(), DIFFERENCES_LISTED);
    assert!(report.differing() > 50, "{report}");
    assert!(report.to_string().lines().count() < 40);
}

#[test]
fn what_cannot_be_read_is_not_called_equal() {
    let volume = source();
    let entry = Ledger::new().record(&volume);
    let blind = volume.mount(MountOptions::new("blind").credentials(Credentials::user(4242, 4242)));
    let report = compare(&entry, &ReadBack::of(&blind), Carries::kopia());
    assert!(report.counts.contains_key(&Attribute::Unreadable), "{report}");
}

#[test]
fn the_mount_point_may_be_left_to_the_cluster() {
    let volume = source();
    let entry = Ledger::new().record(&volume);
    let copy = volume.clone_as("copy");
    copy.mount(MountOptions::new("m")).set_mode(&Path::root(), 0o2775).unwrap();
    assert!(!compare(&entry, &read_back(&copy), Carries::kopia()).is_equal());
    let report = compare(&entry, &read_back(&copy), Carries::kopia().without_mount_point());
    assert!(report.is_equal() && report.losses.contains_key(&Loss::MountPoint), "{report}");
}

#[test]
fn names_and_times_beyond_the_format_are_declared_and_nothing_else_hides_behind_them() {
    let volume = Volume::new("v", Character::Rbd, Arc::new(|| Timestamp::UNIX_EPOCH));
    let far = Time { seconds: 10_000_000_000, nanoseconds: 0 };
    let file = |bytes: &'static [u8], mtime| {
        Inode::new(Node::File(Arc::new(Content::from_bytes(bytes.into()))), 0o644, (0, 0), mtime)
    };
    let at = Time { seconds: 5, nanoseconds: 0 };
    volume
        .edit(|tree, _| {
            tree.insert(&Path::new(b"caf\xe9\xff"), file(b"raw", at))?;
            tree.insert(&Path::new("far"), file(b"far", far))
        })
        .unwrap();
    let entry = Ledger::new().record(&volume);
    // (what was brought back, losses, differences)
    let check = |change: &dyn Fn(&mut Tree), losses: &[Loss], differences: &[Attribute]| {
        let copy = volume.clone_as("copy");
        copy.edit(|tree, _| {
            change(tree);
            edit(tree, &Path::root(), |inode| inode.mtime = entry.paths[&Path::root()].mtime)
        })
        .unwrap();
        let report = judge(&copy, &entry, Carries::kopia());
        assert_eq!(report.losses.keys().copied().collect::<Vec<_>>(), losses, "{report}");
        assert_eq!(report.counts.keys().copied().collect::<Vec<_>>(), differences, "{report}");
    };
    let raw = Path::new(b"caf\xe9\xff");
    let replaced = Path::new("caf\u{fffd}\u{fffd}");
    check(&|_| {}, &[], &[]);
    check(&|tree| drop(tree.remove(&raw, at)), &[Loss::RawNames], &[]);
    check(&|tree| drop(tree.rename(&raw, &replaced, at)), &[Loss::RawNames], &[]);
    check(
        &|tree| {
            tree.rename(&raw, &replaced, at).unwrap();
            edit(tree, &replaced, |inode| inode.node = file(b"bad", at).node).unwrap();
        },
        &[Loss::RawNames],
        &[Attribute::Bytes],
    );
    check(
        &|tree| drop(tree.rename(&raw, &Path::new("elsewhere"), at)),
        &[Loss::RawNames],
        &[Attribute::Extra],
    );
    check(&|tree| edit(tree, &Path::new("far"), |inode| inode.mtime = at).unwrap(), &[Loss::FarTimes], &[]);
    check(&|tree| edit(tree, &raw, |inode| inode.mtime.nanoseconds = 7).unwrap(), &[], &[Attribute::Mtime]);
}
