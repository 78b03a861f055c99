//! What a volume promises: reads, caches, snapshots, capacity, permissions, faults and generation.
use std::{
    io::Read as _,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use engine::tree::{Kind, Path, ReadTree as _, WriteTree as _};
use fault::{Aim, Register, tree as faults};
use jiff::Timestamp;
use proptest::prelude::*;
use scenario::tree::{ChangeSpec, Special, TreeSpec};

use super::*;
use crate::{
    cost::{Meter, Rate},
    ledger::Ledger,
};

fn volume(character: Character) -> Volume {
    Volume::new("v", character, Arc::new(|| Timestamp::UNIX_EPOCH))
}
fn options() -> MountOptions {
    MountOptions::new("test")
}
fn write(mount: &Mount, path: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = mount.create_file(&Path::new(path), 0o644)?;
    file.write_at(0, bytes)?;
    file.finish()
}
fn read(mount: &Mount, path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    mount.open(&Path::new(path))?.read_to_end(&mut bytes)?;
    Ok(bytes)
}
fn code<T>(answer: io::Result<T>) -> Option<i32> {
    answer.err().and_then(|error| error.raw_os_error())
}

#[test]
fn a_fresh_mount_sees_only_what_was_written_back() {
    let volume = volume(Character::CephFs);
    let writer = volume.mount(options());
    write(&writer, "a", b"hello").unwrap();
    let other = volume.mount(options());
    assert_eq!(read(&writer, "a").unwrap(), b"hello");
    assert_eq!(read(&other, "a").unwrap(), [0; 5], "names and sizes pass at once, bytes do not");
    assert_eq!(writer.dirty_bytes(), 5);
    writer.drop_caches().unwrap();
    assert_eq!(read(&writer, "a").unwrap(), b"hello", "dirty pages are never dropped");
    writer.sync().unwrap();
    assert_eq!((read(&other, "a").unwrap(), writer.dirty_bytes()), (b"hello".to_vec(), 0));
    write(&other, "a", b"again").unwrap();
    other.unmount().unwrap();
    assert_eq!(read(&writer, "a").unwrap(), b"again", "a clean page gives way to what others wrote");
}

#[test]
fn a_node_that_dies_loses_what_was_not_written_back() {
    let volume = volume(Character::Rbd);
    let mount = volume.mount(options());
    write(&mount, "kept", b"kept").unwrap();
    mount.sync().unwrap();
    write(&mount, "lost", b"lost").unwrap();
    mount.crash();
    assert_eq!(code(read(&mount, "kept")), Some(errno::EIO));
    let fresh = volume.mount(options());
    assert_eq!(
        (read(&fresh, "kept").unwrap(), read(&fresh, "lost").unwrap()),
        (b"kept".to_vec(), vec![0; 4])
    );
    assert_eq!(volume.used(), 4);
}

#[test]
fn dropped_pages_show_after_the_cache_is_gone_and_the_error_once() {
    let register = Register::new(1);
    let volume = volume(Character::CephFs);
    let mount = volume.mount(options().register(register.clone()));
    write(&mount, "old", b"old").unwrap();
    mount.sync().unwrap();
    let id = register.arm(faults::cephfs_write_back_zeroing::Spec::default());
    write(&mount, "a", b"hello").unwrap();
    assert_eq!(code(mount.sync()), Some(errno::EINVAL));
    assert!(mount.sync().is_ok(), "an error of write-back is told once");
    assert_eq!(read(&mount, "a").unwrap(), b"hello", "the writer still sees its cache");
    let entry = volume.mount(options()).entry(&Path::new("a")).unwrap();
    assert_eq!((entry.size, entry.mode), (5, 0o644), "metadata is kept");
    mount.drop_caches().unwrap();
    assert_eq!(read(&mount, "a").unwrap(), [0; 5]);
    assert_eq!(read(&mount, "old").unwrap(), b"old");
    assert_eq!(register.firings(id), 1);
    register.lift(id);
    write(&mount, "a", b"hello").unwrap();
    mount.sync().unwrap();
    assert_eq!(read(&volume.mount(options()), "a").unwrap(), b"hello");
}

#[test]
fn a_silent_loss_is_not_told_by_sync_and_other_storage_is_spared() {
    for (character, lost) in
        [(Character::CephFs, true), (Character::Rbd, false), (Character::LocalZfs, false)]
    {
        let register = Register::new(1);
        register.arm(faults::cephfs_write_back_zeroing::Spec { reported: false, ..Default::default() });
        let volume = volume(character);
        let mount = volume.mount(options().register(register));
        write(&mount, "a", b"hello").unwrap();
        mount.sync().unwrap();
        assert_eq!(read(&volume.mount(options()), "a").unwrap() == [0; 5], lost, "{character}");
    }
}

#[test]
fn a_read_error_names_no_other_file() {
    let register = Register::new(1);
    let volume = volume(Character::Rbd);
    let mount = volume.mount(options().register(register.clone()));
    write(&mount, "a", b"x").unwrap();
    let id = register.arm(faults::read_error::Spec { aim: Aim::actor("test").times(1) });
    assert_eq!(code(read(&mount, "a")), Some(errno::EIO));
    assert_eq!(read(&mount, "a").unwrap(), b"x");
    assert_eq!(register.firings(id), 1);
}

#[test]
fn a_snapshot_is_independent_both_ways() {
    let volume = volume(Character::Rbd);
    volume.populate(&TreeSpec::plain(20, 100_000, 3)).unwrap();
    let snapshot = volume.snapshot();
    let before = Ledger::new().record_snapshot(&snapshot);
    volume.work(1, 50).unwrap();
    assert!(Ledger::new().record_snapshot(&snapshot).is_same(&before));
    let copy = Volume::from_snapshot("copy", Character::Rbd, Arc::new(|| Timestamp::UNIX_EPOCH), &snapshot);
    let source = Ledger::new().record(&volume);
    copy.work(2, 50).unwrap();
    assert!(Ledger::new().record(&volume).is_same(&source));
    assert!(!Ledger::new().record(&copy).is_same(&before));
    assert_eq!(volume.clone_as("twin").used(), volume.used());
}

#[test]
fn a_full_volume_refuses_growth_and_gives_space_back() {
    for (character, expected) in [(Character::Rbd, errno::ENOSPC), (Character::CephFs, errno::EDQUOT)] {
        let volume = volume(character).with_capacity(10_000);
        let mount = volume.mount(options());
        write(&mount, "a", &[1; 6000]).unwrap();
        assert_eq!(code(write(&mount, "b", &[1; 6000])), Some(expected), "{character}");
        assert_eq!(read(&mount, "a").unwrap(), [1; 6000]);
        write(&mount, "a", &[2; 9000]).unwrap();
        mount.remove_file(&Path::new("a")).unwrap();
        write(&mount, "b", &[3; 10_000]).unwrap();
        let mut sparse = mount.create_file(&Path::new("sparse"), 0o600).unwrap();
        sparse.set_len(1 << 40).unwrap();
        assert_eq!(volume.used(), 10_000, "holes take nothing");
        mount.rename(&Path::new("sparse"), &Path::new("b")).unwrap();
        assert_eq!(volume.used(), 0);
        assert!(volume.populate(&TreeSpec::plain(3, 20_000, 1)).is_err());
    }
}

#[test]
fn a_mover_without_privileges_is_held_to_them() {
    let volume = volume(Character::HostPath);
    let root = volume.mount(options());
    write(&root, "secret", b"x").unwrap();
    root.set_mode(&Path::new("secret"), 0o600).unwrap();
    root.create_dir(&Path::new("closed"), 0o700).unwrap();
    root.create_dir(&Path::new("drop"), 0o1777).unwrap();
    write(&root, "drop/roots", b"x").unwrap();
    let mover = volume.mount(options().credentials(Credentials::user(568, 568)));
    write(&mover, "mine", b"y").unwrap();
    let path = Path::new;
    let table = [
        ("reads another's 0600", code(read(&mover, "secret")), Some(errno::EACCES)),
        ("lists a closed directory", code(mover.read_dir(&path("closed"))), Some(errno::EACCES)),
        ("writes into it", code(write(&mover, "closed/x", b"")), Some(errno::EACCES)),
        ("truncates another's", code(write(&mover, "secret", b"")), Some(errno::EACCES)),
        ("gives its file away", code(mover.set_owner(&path("mine"), 1000, 1000)), Some(errno::EPERM)),
        ("keeps its file", code(mover.set_owner(&path("mine"), 568, 568)), None),
        ("changes another's mode", code(mover.set_mode(&path("secret"), 0o777)), Some(errno::EPERM)),
        ("sets another's time", code(mover.set_mtime(&path("secret"), Time::default())), Some(errno::EPERM)),
        ("removes under sticky", code(mover.remove_file(&path("drop/roots"))), Some(errno::EPERM)),
        ("moves under sticky", code(mover.rename(&path("drop/roots"), &path("mine"))), Some(errno::EPERM)),
        ("reads its own", code(read(&mover, "mine")), None),
    ];
    for (what, answer, expected) in table {
        assert_eq!(answer, expected, "{what}");
    }
    let bare = volume.mount(options().credentials(Credentials::root().with_capabilities(Capabilities::NONE)));
    assert_eq!(code(bare.set_owner(&path("secret"), 1, 1)), Some(errno::EPERM));
    assert_eq!(code(read(&bare, "secret")), None, "root owns it");
    mover.set_mode(&path("mine"), 0o600).unwrap();
    assert_eq!(code(read(&bare, "mine")), Some(errno::EACCES), "root without capabilities is nobody special");
}

#[test]
fn errors_are_those_of_linux() {
    let volume = volume(Character::Rbd);
    let mount = volume.mount(options());
    let path = Path::new;
    write(&mount, "file", b"x").unwrap();
    mount.create_dir(&path("dir"), 0o755).unwrap();
    write(&mount, "dir/inner", b"x").unwrap();
    mount.create_symlink(&path("link"), b"file").unwrap();
    let table = [
        ("an absent file", code(read(&mount, "absent")), Some(errno::ENOENT)),
        ("a file below a file", code(read(&mount, "file/x")), Some(errno::ENOTDIR)),
        ("a directory as file", code(read(&mount, "dir")), Some(errno::EISDIR)),
        ("a symlink as file", code(read(&mount, "link")), Some(errno::ELOOP)),
        ("a full directory removed", code(mount.remove_dir(&path("dir"))), Some(errno::ENOTEMPTY)),
        ("a file removed as directory", code(mount.remove_dir(&path("file"))), Some(errno::ENOTDIR)),
        ("a directory removed as file", code(mount.remove_file(&path("dir"))), Some(errno::EISDIR)),
        ("a directory where a file is", code(mount.create_dir(&path("file"), 0o755)), Some(errno::EEXIST)),
        ("a directory again", code(mount.create_dir(&path("dir"), 0o755)), None),
        ("a symlink again", code(mount.create_symlink(&path("link"), b"x")), Some(errno::EEXIST)),
        ("a file over a directory", code(mount.rename(&path("file"), &path("dir"))), Some(errno::EISDIR)),
        ("a directory over a file", code(mount.rename(&path("dir"), &path("file"))), Some(errno::ENOTDIR)),
        ("a directory into itself", code(mount.rename(&path("dir"), &path("dir/sub"))), Some(errno::EINVAL)),
        ("a file over a file", code(mount.rename(&path("dir/inner"), &path("file"))), None),
        ("the emptied directory", code(mount.remove_dir(&path("dir"))), None),
        ("a file's target", code(mount.read_link(&path("file"))), Some(errno::EINVAL)),
    ];
    for (what, answer, expected) in table {
        assert_eq!(answer, expected, "{what}");
    }
    let frozen = volume.mount(options().read_only(true));
    assert_eq!(code(write(&frozen, "x", b"")), Some(errno::EROFS));
    assert_eq!(code(frozen.set_mode(&path("file"), 0)), Some(errno::EROFS));
    assert!(read(&frozen, "file").is_ok());
}

#[test]
fn fs_group_is_applied_as_kubelet_does() {
    let volume = volume(Character::Rbd);
    let mount = volume.mount(options());
    mount.create_dir(&Path::new("dir"), 0o700).unwrap();
    write(&mount, "dir/file", b"x").unwrap();
    mount.set_mode(&Path::new("dir/file"), 0o600).unwrap();
    mount.create_symlink(&Path::new("link"), b"x").unwrap();
    mount.sync().unwrap();
    let done = volume.apply_fs_group(568, FsGroupPolicy::Always, false);
    assert_eq!(done, Ownership { visited: 4, changed: 4 });
    let look = |path: &str| {
        let entry = mount.entry(&Path::new(path)).unwrap();
        (entry.mode, entry.gid)
    };
    assert_eq!((look("dir"), look("dir/file"), look("")), ((0o2770, 568), (0o660, 568), (0o2775, 568)));
    let mover = volume.mount(options().credentials(Credentials::user(1000, 1000).with_group(568)));
    write(&mover, "dir/new", b"y").unwrap();
    assert_eq!(look("dir/new"), (0o644, 568), "setgid hands the group on");
    assert_eq!(
        volume.apply_fs_group(568, FsGroupPolicy::OnRootMismatch, false),
        Ownership { visited: 1, changed: 0 }
    );
    let hostpath = self::volume(Character::HostPath);
    assert_eq!(hostpath.apply_fs_group(568, FsGroupPolicy::Always, false).visited, 0);
}

#[test]
fn changing_an_owner_takes_setuid_away() {
    let volume = volume(Character::Rbd);
    let mount = volume.mount(options());
    write(&mount, "tool", b"x").unwrap();
    mount.set_mode(&Path::new("tool"), 0o6755).unwrap();
    mount.set_owner(&Path::new("tool"), 5, 5).unwrap();
    assert_eq!(mount.entry(&Path::new("tool")).unwrap().mode, 0o755);
}

#[test]
fn work_is_charged() {
    let meter = Meter::new(1);
    let volume = volume(Character::Rbd);
    let mount = volume.mount(options().meter(meter.clone()));
    write(&mount, "a", &vec![1; 18_000_000]).unwrap();
    let wrote = meter.spent();
    assert!(wrote >= Rate::of(Character::Rbd).time(1, 18_000_000), "{wrote:?}");
    read(&mount, "a").unwrap();
    assert!(meter.spent() >= (wrote * 2).saturating_sub(std::time::Duration::from_millis(5)));
}

#[test]
fn changes_are_the_seeds_and_the_clocks() {
    let seconds = Arc::new(AtomicI64::new(1_800_000_000));
    let make = |seconds: &Arc<AtomicI64>| {
        let seconds = seconds.clone();
        let now: Now = Arc::new(move || Timestamp::from_second(seconds.load(Ordering::SeqCst)).unwrap());
        let volume = Volume::new("v", Character::Rbd, now);
        volume.populate(&TreeSpec::plain(30, 2_000_000, 3).with(Special::Database)).unwrap();
        volume
    };
    let (a, b, c) = (make(&seconds), make(&seconds), make(&seconds));
    let before = Ledger::new().record(&a);
    seconds.fetch_add(3600, Ordering::SeqCst);
    for volume in [&a, &b] {
        volume.work(5, 30).unwrap();
        volume.change(&ChangeSpec { changed: 4, added: 2, removed: 1, seed: 9 }).unwrap();
    }
    c.work(6, 30).unwrap();
    let take = |volume: &Volume| Ledger::new().record(volume);
    assert!(take(&a).is_same(&take(&b)));
    assert!(!take(&a).is_same(&take(&c)));
    let after = take(&c);
    let changed: Vec<_> = after
        .paths
        .iter()
        .filter(|(path, now)| {
            now.kind == Kind::File && before.paths.get(*path).is_some_and(|then| then.sha256 != now.sha256)
        })
        .collect();
    assert!(!changed.is_empty());
    for (path, attributes) in changed {
        assert!(attributes.mtime.seconds >= 1_800_003_600, "{path} changed without its time");
    }
    let spec = ChangeSpec { changed: 3, added: 0, removed: 0, seed: 1 };
    let then = take(&c);
    c.change(&spec).unwrap();
    let now = take(&c);
    let differing =
        now.paths.iter().filter(|(path, a)| a.kind == Kind::File && then.paths[*path].sha256 != a.sha256);
    assert_eq!(differing.count(), 3);
}

#[test]
fn work_on_nothing_writes_nothing_and_a_change_can_begin() {
    let volume = volume(Character::Rbd);
    volume.work(1, 10).unwrap();
    assert_eq!(Ledger::new().record(&volume).files(), 0, "nothing is written to where nothing is");
    volume.change(&ChangeSpec { added: 2, ..ChangeSpec::default() }).unwrap();
    assert_eq!(Ledger::new().record(&volume).files(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Any spec is met exactly, whatever specials it asks for.
    #[test]
    fn a_spec_is_met_whatever_it_asks(
        files in 0u32..30, bytes in 0u64..200_000, seed in 0u64..1000,
        with in proptest::sample::subsequence(Special::ALL.to_vec(), 0..=17),
    ) {
        let bytes = if files == 0 { 0 } else { bytes };
        let spec = with.into_iter().fold(TreeSpec::plain(files, bytes, seed), TreeSpec::with);
        let volume = volume(Character::Rbd);
        volume.populate(&spec).unwrap();
        let entry = Ledger::new().record(&volume);
        let extra: u64 = entry.links.iter().map(|class| class.len() as u64 - 1).sum();
        let twice: u64 = entry.links.iter().map(|class| entry.paths[&class[0]].size * (class.len() as u64 - 1)).sum();
        prop_assert_eq!((entry.files() - extra, entry.bytes() - twice), (u64::from(files), bytes));
        // What the mount shows is what the ledger holds, and links are counted right.
        let mount = volume.mount(options());
        for (path, attributes) in entry.paths.iter() {
            let shown = mount.entry(path).unwrap();
            prop_assert_eq!((shown.kind, shown.mode, shown.uid, shown.gid, shown.mtime),
                (attributes.kind, attributes.mode, attributes.uid, attributes.gid, attributes.mtime));
            let names = entry.links.iter().find(|class| class.contains(path)).map_or(1, Vec::len);
            prop_assert_eq!(shown.links as usize, names, "{}", path);
        }
        volume.work(seed, 40).unwrap();
        let used: u64 = volume.tree().inodes().map(|(_, inode)| match &inode.node {
            Node::File(content) => content.stored(), _ => 0 }).sum();
        prop_assert_eq!(volume.used(), used);
    }
}
