//! Through a real mount: everything passes, a full volume says so, and what is lost is lost as on CephFS.
use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _},
    path::PathBuf,
};

use fault::Fault;

use super::*;
use crate::directory::tests::{everything, is_root, planted, same, walked};

/// A volume with its mounts; everything goes when this is dropped.
struct Bed {
    folder: tempfile::TempDir,
    volume: Arc<Volume>,
    register: Register,
    mounts: Vec<(PathBuf, Option<Session>)>,
}

impl Drop for Bed {
    fn drop(&mut self) {
        for (target, session) in &mut self.mounts {
            // A failed test must not leave a mount behind, whoever still looks at it.
            let _ = rustix::mount::unmount(&*target, UnmountFlags::DETACH);
            if let Some(session) = session.take() {
                session.join();
            }
        }
    }
}

impl Bed {
    /// `None` where FUSE cannot be had here; the reason is printed.
    fn new(limit: Option<u64>) -> Option<Self> {
        let reason = if !Path::new("/dev/fuse").exists() {
            "no /dev/fuse"
        } else if !is_root() {
            "mounting needs root"
        } else {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("data")).unwrap();
            fs::set_permissions(folder.path().join("data"), fs::Permissions::from_mode(0o777)).unwrap();
            let volume = Arc::new(Volume::open(&folder.path().join("data"), limit).unwrap());
            return Some(Self { folder, volume, register: Register::new(1), mounts: Vec::new() });
        };
        assert!(
            !std::env::var("FIREDRILL_REQUIRE")
                .is_ok_and(|parts| parts.split(',').any(|part| part == "fuse")),
            "FIREDRILL_REQUIRE names fuse, and it cannot be had: {reason}"
        );
        eprintln!("skipped: {reason}");
        None
    }
    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
    fn mount(&mut self, character: &str) -> PathBuf {
        let target = self.folder.path().join(format!("mount-{}", self.mounts.len()));
        fs::create_dir(&target).unwrap();
        let view = View {
            actor: "volsync-dst-app".to_owned(),
            character: character.to_owned(),
            has_write_back: character == "cephfs",
            full: if character == "cephfs" { Errno::DQUOT } else { Errno::NOSPC },
            read_only: false,
            register: self.register.clone(),
        };
        let session = Session::mount(Arc::clone(&self.volume), &target, view).unwrap();
        self.mounts.push((target.clone(), Some(session)));
        target
    }
    fn unmount(&mut self, target: &Path) {
        rustix::mount::unmount(target, UnmountFlags::empty()).unwrap();
        let (_, session) = self.mounts.iter_mut().find(|(mounted, _)| mounted == target).unwrap();
        session.take().unwrap().join();
    }
    fn arm(&self, fault: &str) -> fault::Id {
        self.register.arm(Fault::named(fault).unwrap())
    }
}

fn patterned(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8 + 1).collect()
}

fn forget(path: &Path) {
    let file = fs::File::open(path).unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
}

#[test]
fn everything_passes() {
    for character in ["rbd", "cephfs"] {
        let Some(mut bed) = Bed::new(None) else { return };
        let target = bed.mount(character);
        planted(&target, &everything()).unwrap();
        same(&walked(&target), &everything());
        bed.unmount(&target);
        same(&walked(&bed.data()), &everything());
        let again = bed.mount(character);
        same(&walked(&again), &everything());
    }
}

#[test]
fn links_renames_and_open_files_behave() {
    let Some(mut bed) = Bed::new(None) else { return };
    let target = bed.mount("cephfs");
    fs::create_dir(target.join("d")).unwrap();
    fs::write(target.join("d/f"), b"first").unwrap();
    fs::hard_link(target.join("d/f"), target.join("g")).unwrap();
    assert_eq!(
        fs::metadata(target.join("g")).unwrap().ino(),
        fs::metadata(target.join("d/f")).unwrap().ino()
    );
    fs::rename(target.join("d"), target.join("e")).unwrap();
    assert_eq!(fs::read(target.join("e/f")).unwrap(), b"first");
    let mut open = fs::OpenOptions::new().read(true).write(true).open(target.join("g")).unwrap();
    fs::remove_file(target.join("e/f")).unwrap();
    fs::remove_file(target.join("g")).unwrap();
    open.write_all(b"still there").unwrap();
    assert_eq!(open.metadata().unwrap().len(), 11);
    let mut text = vec![0; 11];
    open.read_exact_at(&mut text, 0).unwrap();
    assert_eq!(text, b"still there");
    drop(open);
    fs::write(target.join("a"), b"a").unwrap();
    fs::write(target.join("b"), b"b").unwrap();
    fs::rename(target.join("a"), target.join("b")).unwrap();
    assert_eq!(fs::read(target.join("b")).unwrap(), b"a");
    assert!(fs::read(target.join("a")).is_err());
    let mut appended = fs::OpenOptions::new().append(true).open(target.join("b")).unwrap();
    appended.write_all(b"bc").unwrap();
    drop(appended);
    assert_eq!(fs::read(target.join("b")).unwrap(), b"abc");
    fs::remove_dir(target.join("e")).unwrap();
    assert_eq!(fs::read_dir(&target).unwrap().count(), 1, "the latch is in no listing");
}

#[test]
fn a_full_volume_says_so_and_room_comes_back() {
    let Some(mut bed) = Bed::new(Some(1 << 20)) else { return };
    let target = bed.mount("rbd");
    fs::write(target.join("half"), patterned(600 << 10)).unwrap();
    let error = fs::write(target.join("more"), patterned(600 << 10)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(28), "{error}");
    fs::remove_file(target.join("half")).unwrap();
    fs::remove_file(target.join("more")).unwrap();
    assert_eq!(bed.volume.used(), 0);
    fs::write(target.join("more"), patterned(900 << 10)).unwrap();
    let stats = rustix::fs::statvfs(&target).unwrap();
    assert_eq!(stats.f_blocks * stats.f_frsize, 1 << 20);
    bed.volume.resize(Some(4 << 20));
    fs::write(target.join("half"), patterned(600 << 10)).unwrap();
}

#[test]
fn zeroing_keeps_metadata_and_the_writers_view() {
    let Some(mut bed) = Bed::new(None) else { return };
    let (writer, bytes) = (bed.mount("cephfs"), patterned(100_001));
    let whole = fs::File::open(&writer).unwrap();
    let id = bed.arm("cephfs-write-back-zeroing");
    fs::write(writer.join("f"), &bytes).unwrap();
    let time = UNIX_TIME + std::time::Duration::from_nanos(1_234_567_891);
    fs::File::options().write(true).open(writer.join("f")).unwrap().set_modified(time).unwrap();
    assert!(bed.register.firings(id) >= 1, "the write-back did not meet the fault");
    assert!(fs::read(writer.join("f")).unwrap() == bytes, "the writer's cache shows what it wrote");
    // Another mount, such as another node's.
    let reader = bed.mount("cephfs");
    let seen = fs::read(reader.join("f")).unwrap();
    assert!(seen.len() == bytes.len() && seen.iter().all(|byte| *byte == 0), "another mount reads zeros");
    assert_eq!(fs::metadata(reader.join("f")).unwrap().modified().unwrap(), time);
    // The error is latched, and heard once.
    let error = rustix::fs::syncfs(&whole).unwrap_err();
    assert_eq!(error, Errno::INVAL);
    rustix::fs::syncfs(&whole).unwrap();
    // And the writer's cache is only a cache.
    forget(&writer.join("f"));
    assert!(fs::read(writer.join("f")).unwrap().iter().all(|byte| *byte == 0));
    bed.register.lift(id);
    fs::write(writer.join("f"), &bytes).unwrap();
    assert!(fs::read(bed.data().join("f")).unwrap() == bytes, "lifted, new writes hold");
    rustix::fs::syncfs(&whole).unwrap();
}

/// Seen on a real cluster: a restore that replaced a tree heard ESTALE from its final sync.
#[test]
fn replacing_a_tree_leaves_no_error_of_its_own() {
    let Some(mut bed) = Bed::new(None) else { return };
    let writer = bed.mount("cephfs");
    fs::write(writer.join("f"), patterned(100_000)).unwrap();
    let whole = fs::File::open(&writer).unwrap();
    fs::remove_file(writer.join("f")).unwrap();
    fs::write(writer.join("big"), patterned(1_300_000)).unwrap();
    assert_eq!(rustix::fs::syncfs(&whole), Ok(()));
    let id = bed.arm("cephfs-write-back-zeroing");
    fs::remove_file(writer.join("big")).unwrap();
    fs::write(writer.join("again"), patterned(1_300_000)).unwrap();
    fs::remove_file(writer.join("again")).unwrap();
    planted(&writer, &everything()).unwrap();
    assert!(bed.register.firings(id) > 0);
    assert_eq!(rustix::fs::syncfs(&whole), Err(Errno::INVAL));
    assert_eq!(rustix::fs::syncfs(&whole), Ok(()));
}

const UNIX_TIME: std::time::SystemTime = std::time::UNIX_EPOCH;

#[test]
fn fsync_hears_of_its_own_file() {
    let Some(mut bed) = Bed::new(None) else { return };
    let writer = bed.mount("cephfs");
    bed.arm("cephfs-write-back-zeroing");
    let mut file = fs::File::create(writer.join("f")).unwrap();
    file.write_all(&patterned(5000)).unwrap();
    assert_eq!(file.sync_all().unwrap_err().raw_os_error(), Some(22));
    file.sync_all().unwrap();
    let mut text = Vec::new();
    fs::File::open(writer.join("f")).unwrap().read_to_end(&mut text).unwrap();
    assert!(text == patterned(5000), "the cache of the writer outlives its fsync");
}

#[test]
fn sparse_files_lose_their_regions_without_a_word() {
    let Some(mut bed) = Bed::new(None) else { return };
    let writer = bed.mount("cephfs");
    let whole = fs::File::open(&writer).unwrap();
    let id = bed.arm("sparse-region-loss");
    let sparse = fs::File::create(writer.join("sparse")).unwrap();
    sparse.set_len(1 << 20).unwrap();
    sparse.write_all_at(&patterned(8192), 1 << 19).unwrap();
    drop(sparse);
    fs::write(writer.join("dense"), patterned(50_000)).unwrap();
    rustix::fs::syncfs(&whole).unwrap();
    assert_eq!(bed.register.firings(id), 1);
    let reader = bed.mount("cephfs");
    let seen = fs::read(reader.join("sparse")).unwrap();
    assert!(seen.len() == 1 << 20 && seen.iter().all(|byte| *byte == 0));
    assert!(fs::read(reader.join("dense")).unwrap() == patterned(50_000));
}

#[test]
fn a_read_error_is_met_at_open() {
    let Some(mut bed) = Bed::new(None) else { return };
    let target = bed.mount("rbd");
    fs::write(target.join("f"), b"x").unwrap();
    let id = bed.arm("tree-read-error");
    assert_eq!(fs::read(target.join("f")).unwrap_err().raw_os_error(), Some(5));
    bed.register.lift(id);
    assert_eq!(fs::read(target.join("f")).unwrap(), b"x");
}

#[test]
fn a_volume_held_still_does_not_change() {
    let Some(mut bed) = Bed::new(None) else { return };
    let target = bed.mount("rbd");
    fs::write(target.join("before"), b"x").unwrap();
    let volume = Arc::clone(&bed.volume);
    let guard = volume.hold();
    let (path, (done, wait)) = (target.join("during"), std::sync::mpsc::channel());
    let writer = std::thread::spawn(move || {
        fs::write(path, b"y").unwrap();
        done.send(()).unwrap();
    });
    let waited = wait.recv_timeout(std::time::Duration::from_millis(300));
    assert!(waited.is_err() && !bed.data().join("during").exists(), "a change went through");
    drop(guard);
    wait.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
    writer.join().unwrap();
    assert!(bed.data().join("during").exists());
}
