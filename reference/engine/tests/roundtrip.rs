//! The public face, end to end on a store in memory: what was put is got, damage is named exactly,
//! retention and maintenance delete only what they may.

mod support;

use engine::{
    BackupOptions, CreateOptions, Error, ErrorKind, Filter, LossKind, MaintenanceKind, Policy, PolicyTarget,
    Repository, RestoreOptions, Retention, Safety, Silent, Source, VerifyOptions,
    restore::Damaged,
    tree::{LocalTree, Path},
};
use proptest::prelude::*;
use support::{Bed, block_on, compare, fill, noise};

fn source() -> Source {
    Source::new("app", "cluster", "/data")
}

/// Futures of the façade can be spawned on any runtime.
#[test]
fn futures_are_send() {
    fn check<T: Send>(_: &T) {}
    let bed = Bed::new(1);
    let create = Repository::create(bed.store.clone(), "p", CreateOptions::default(), bed.context("a", "b"));
    check(&create);
    let repository = block_on(create).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let tree = LocalTree::open(directory.path()).unwrap();
    let options = BackupOptions::default();
    let source = source();
    check(&repository.backup(&source, &tree, &options, &Silent));
    check(&repository.expire(&source));
    check(&repository.maintain(MaintenanceKind::Full, Safety::Full, &Silent));
    check(&repository.verify(&VerifyOptions::default(), &Silent));
}

#[test]
fn what_was_put_is_got() {
    let bed = Bed::new(2);
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(from.path(), 7, 40);
    let repository = bed.create();
    let tree = LocalTree::open(from.path()).unwrap();
    let backup = block_on(repository.backup(&source(), &tree, &BackupOptions::default(), &Silent)).unwrap();
    assert_eq!(backup.errors, []);
    let repository = bed.open();
    let snapshots = block_on(repository.snapshots(&Filter::source(&source()))).unwrap();
    assert_eq!(snapshots, std::slice::from_ref(&backup.snapshot));
    let into = LocalTree::open(to.path()).unwrap();
    let restored = block_on(repository.restore(
        &snapshots[0],
        &Path::root(),
        &into,
        &RestoreOptions::default(),
        &Silent,
    ))
    .unwrap();
    assert!(restored.files > 10 && restored.damaged.is_empty());
    assert_eq!(compare(from.path(), to.path()), Vec::<String>::new());
    assert_eq!(block_on(repository.read_back(&snapshots[0], &into, &Silent)).unwrap(), []);
    // The comparison itself can fail: a changed byte is seen by both judges.
    let victim =
        support::files(to.path()).into_iter().find(|file| file.metadata().unwrap().len() > 100).unwrap();
    let mut bytes = std::fs::read(&victim).unwrap();
    bytes[50] ^= 1;
    std::fs::write(&victim, bytes).unwrap();
    assert_ne!(compare(from.path(), to.path()), Vec::<String>::new());
    assert_eq!(block_on(repository.read_back(&snapshots[0], &into, &Silent)).unwrap().len(), 1);
}

#[test]
fn unchanged_files_are_not_read_again() {
    let bed = Bed::new(3);
    let from = tempfile::tempdir().unwrap();
    fill(from.path(), 8, 30);
    let repository = bed.create();
    let tree = LocalTree::open(from.path()).unwrap();
    let first = block_on(repository.backup(&source(), &tree, &BackupOptions::default(), &Silent)).unwrap();
    bed.advance_hours(1);
    let second = block_on(bed.open().backup(&source(), &tree, &BackupOptions::default(), &Silent)).unwrap();
    assert_eq!(second.snapshot.stats.files_hashed, 0);
    assert_eq!(second.snapshot.stats.files_cached, first.snapshot.stats.files_hashed);
    assert_eq!(second.snapshot.root.object, first.snapshot.root.object);
    assert!(second.bytes_written < 20_000, "{}", second.bytes_written);
}

#[test]
fn threads_do_not_change_the_bytes() {
    let from = tempfile::tempdir().unwrap();
    fill(from.path(), 9, 30);
    let digests: Vec<_> = [1, 2, 5]
        .map(|parallelism| {
            let bed = Bed::new(4);
            let repository = bed.create();
            let options = BackupOptions {
                parallelism,
                compression: Some("zstd-fastest".to_owned()),
                ..BackupOptions::default()
            };
            block_on(repository.backup(&source(), &LocalTree::open(from.path()).unwrap(), &options, &Silent))
                .unwrap();
            bed.digest()
        })
        .into();
    assert_eq!(digests[0], digests[1]);
    assert_eq!(digests[0], digests[2]);
}

#[test]
fn what_the_format_cannot_carry_is_told() {
    let bed = Bed::new(5);
    let from = tempfile::tempdir().unwrap();
    let path = from.path();
    std::fs::write(path.join("one"), b"same inode").unwrap();
    std::fs::hard_link(path.join("one"), path.join("two")).unwrap();
    std::os::unix::net::UnixListener::bind(path.join("socket")).unwrap();
    let odd = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"odd\xff\xfename");
    std::fs::write(path.join(odd), b"x").unwrap();
    std::fs::File::create(path.join("sparse")).unwrap().set_len(1 << 20).unwrap();
    let repository = bed.create();
    let backup = block_on(repository.backup(
        &source(),
        &LocalTree::open(path).unwrap(),
        &BackupOptions::default(),
        &Silent,
    ))
    .unwrap();
    let losses: Vec<(String, LossKind)> =
        backup.losses.iter().map(|loss| (loss.path.to_string(), loss.kind.clone())).collect();
    for expected in [
        ("two", LossKind::HardLink { same_as: Path::new("one") }),
        ("socket", LossKind::Socket),
        ("sparse", LossKind::Holes),
        ("odd\u{fffd}\u{fffd}name", LossKind::Name { stored: "odd\u{fffd}\u{fffd}name".to_owned() }),
    ] {
        assert!(losses.contains(&(expected.0.to_owned(), expected.1.clone())), "{expected:?} in {losses:?}");
    }
    assert_eq!(losses.len(), 4, "{losses:?}");
    let to = tempfile::tempdir().unwrap();
    let into = LocalTree::open(to.path()).unwrap();
    let options = RestoreOptions { sparse: true, ..RestoreOptions::default() };
    block_on(repository.restore(&backup.snapshot, &Path::root(), &into, &options, &Silent)).unwrap();
    assert_eq!(std::fs::read(to.path().join("two")).unwrap(), b"same inode");
    assert!(!to.path().join("socket").exists());
    assert_eq!(std::fs::read(to.path().join("sparse")).unwrap(), vec![0; 1 << 20]);
}

#[test]
fn opening_tells_nothing_foreign_and_wrong_apart() {
    let bed = Bed::new(6);
    let open = |password: &str| {
        block_on(Repository::open(bed.store.clone(), password, bed.context("a", "b")))
            .map(drop)
            .map_err(|error| error.kind())
    };
    assert_eq!(open("p"), Err(ErrorKind::NotARepository));
    bed.memory.insert("photo.jpg", "x".into(), bed.now());
    assert_eq!(open("p"), Err(ErrorKind::ForeignData));
    let create = || {
        block_on(Repository::create(
            bed.store.clone(),
            "password",
            CreateOptions::default(),
            bed.context("a", "b"),
        ))
        .map(drop)
    };
    assert_eq!(create().unwrap_err().kind(), ErrorKind::NotEmpty);
    bed.memory.damage("photo.jpg", |_| None);
    create().unwrap();
    assert_eq!(create().unwrap_err().kind(), ErrorKind::NotEmpty);
    assert_eq!(open("wrong"), Err(ErrorKind::WrongPassword));
    assert_eq!(open("password"), Ok(()));
    bed.memory.damage("kopia.repository", |bytes| {
        bytes.truncate(300);
        Some(())
    });
    assert_eq!(open("password"), Err(ErrorKind::CorruptFormat));
}

#[test]
fn a_flipped_byte_is_named_exactly() {
    let bed = Bed::new(7);
    let from = tempfile::tempdir().unwrap();
    for n in 0..5u64 {
        std::fs::write(from.path().join(format!("file{n}")), noise(n, 5000)).unwrap();
    }
    let repository = bed.create();
    let tree = LocalTree::open(from.path()).unwrap();
    let backup = block_on(repository.backup(&source(), &tree, &BackupOptions::default(), &Silent)).unwrap();
    assert!(block_on(bed.open().verify(&VerifyOptions::default(), &Silent)).unwrap().is_whole());
    // Contents follow a preamble of 32 bytes, each with 28 bytes of overhead: this is within the third.
    let pack = bed.blobs("p").pop().unwrap();
    bed.memory.damage(&pack, |bytes| {
        bytes[32 + 2 * 5028 + 100] ^= 0x10;
        Some(())
    });
    let repository = bed.open();
    let report = block_on(repository.verify(&VerifyOptions::default(), &Silent)).unwrap();
    let named: Vec<String> = report.damages.iter().map(|damage| damage.path.to_string()).collect();
    assert_eq!(named, ["file2"]);
    assert_eq!(report.damages[0].pack.as_ref().unwrap().as_str(), pack);
    // A restore fails by default, and restores all the rest when told to go on.
    let to = tempfile::tempdir().unwrap();
    let into = LocalTree::open(to.path()).unwrap();
    let restore = |damaged| {
        let options = RestoreOptions { damaged, ..RestoreOptions::default() };
        block_on(repository.restore(&backup.snapshot, &Path::root(), &into, &options, &Silent))
    };
    assert_eq!(restore(Damaged::Fail).unwrap_err().kind(), ErrorKind::CorruptContent);
    let restored = restore(Damaged::Continue).unwrap();
    assert_eq!(restored.damaged.len(), 1);
    assert_eq!(restored.files, 4);
    assert!(!to.path().join("file2").exists());
    // A lost pack is named as such.
    bed.memory.damage(&pack, |_| None);
    let report = block_on(bed.open().verify(&VerifyOptions::default(), &Silent)).unwrap();
    assert_eq!(report.damages.len(), 5);
    assert!(report.damages[0].reason.contains("lost with pack"), "{}", report.damages[0].reason);
}

#[test]
fn a_damaged_index_is_no_empty_repository() {
    let bed = Bed::new(8);
    bed.create();
    let index = bed.blobs("xn").pop().unwrap();
    bed.memory.damage(&index, |bytes| {
        bytes[40] ^= 1;
        Some(())
    });
    let error =
        block_on(Repository::open(bed.store.clone(), "password", bed.context("app", "cluster"))).unwrap_err();
    assert!(matches!(error, Error::CorruptIndex { .. }), "{error}");
}

#[test]
fn retention_and_maintenance_delete_only_what_they_may() {
    let bed = Bed::new(10);
    let from = tempfile::tempdir().unwrap();
    let repository = bed.create();
    let policy = Policy {
        retention: Retention {
            keep_latest: Some(2),
            keep_hourly: Some(0),
            keep_daily: Some(0),
            keep_weekly: Some(0),
            keep_monthly: Some(0),
            keep_annual: Some(0),
            ..Retention::default()
        },
        ..Policy::default()
    };
    block_on(repository.set_policy(&PolicyTarget::Path(source()), &policy)).unwrap();
    let mut pinned = None;
    let mut packs_max = 0;
    for day in 0..12u64 {
        std::fs::write(from.path().join("data"), noise(day, 300_000)).unwrap();
        let repository = bed.open();
        let tree = LocalTree::open(from.path()).unwrap();
        let backup =
            block_on(repository.backup(&source(), &tree, &BackupOptions::default(), &Silent)).unwrap();
        if day == 1 {
            pinned = Some(block_on(repository.pin(&backup.snapshot.id, &["keep".to_owned()])).unwrap());
        }
        let expired = block_on(repository.expire(&source())).unwrap();
        assert!(expired.iter().all(|snapshot| snapshot.pins.is_empty() && snapshot.id != backup.snapshot.id));
        let report = block_on(repository.maintain(MaintenanceKind::Full, Safety::Full, &Silent)).unwrap();
        assert_eq!(report.tasks[0].name, "snapshot-gc");
        let repository = bed.open();
        let snapshots = block_on(repository.snapshots(&Filter::all())).unwrap();
        assert_eq!(snapshots.len() as u64, [1, 2, 2, 3][day.min(3) as usize]);
        assert!(
            block_on(repository.verify(&VerifyOptions::default(), &Silent)).unwrap().is_whole(),
            "day {day}"
        );
        packs_max = packs_max.max(bed.blobs("p").len());
        bed.advance_hours(24);
    }
    let pinned = pinned.unwrap();
    let snapshot = block_on(bed.open().snapshot(&pinned.id)).unwrap();
    assert_eq!(snapshot.pins, ["keep"]);
    // Twelve days of 300 kB each were written; what expired days ago is gone.
    let bytes: usize = bed.memory.contents().values().map(|(bytes, _)| bytes.len()).sum();
    assert!(bytes < 8 * 300_000, "{bytes} bytes remain");
    assert!(packs_max < 12, "{packs_max} packs");
    let info = block_on(bed.open().maintenance_info()).unwrap();
    assert_eq!(info.owner, "app@cluster");
    assert!(info.runs["full-delete-blobs"].iter().all(|run| run.error.is_none()));
    assert!(bed.blobs("xw").len() <= 2, "{:?}", bed.blobs("xw"));
}

#[test]
fn only_the_owner_maintains() {
    let bed = Bed::new(11);
    bed.create();
    let other =
        block_on(Repository::open(bed.store.clone(), "password", bed.context("other", "host"))).unwrap();
    let maintain = || block_on(other.maintain(MaintenanceKind::Quick, Safety::Full, &Silent));
    assert_eq!(
        maintain().unwrap_err().to_string(),
        "maintenance must be run by designated user: app@cluster"
    );
    block_on(other.set_maintenance_owner("other@host")).unwrap();
    maintain().unwrap();
    // A clock that runs ten minutes ahead of the store's must not maintain.
    let skewed =
        block_on(Repository::open(bed.store.clone(), "password", bed.skewed("other", "host", 600))).unwrap();
    let error = block_on(skewed.maintain(MaintenanceKind::Quick, Safety::Full, &Silent)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ClockSkew);
}

#[test]
fn an_unreadable_file_is_told_and_the_rest_is_stored() {
    let bed = Bed::new(12);
    let from = tempfile::tempdir().unwrap();
    fill(from.path(), 3, 5);
    std::fs::write(from.path().join("locked"), b"secret").unwrap();
    let tree =
        support::Refusing { inner: LocalTree::open(from.path()).unwrap(), refused: Path::new("locked") };
    let backup = block_on(bed.create().backup(&source(), &tree, &BackupOptions::default(), &Silent)).unwrap();
    assert_eq!(backup.errors.len(), 1);
    assert_eq!(backup.errors[0].path, Path::new("locked"));
    let summary = backup.snapshot.root.summary.unwrap();
    assert_eq!(summary.failed, 1);
    assert_eq!(summary.errors[0].0, "locked");
    assert_eq!(backup.snapshot.incomplete, None);
    let options = BackupOptions { fail_fast: true, ..BackupOptions::default() };
    let backup = block_on(bed.open().backup(&source(), &tree, &options, &Silent)).unwrap();
    assert_eq!(backup.snapshot.incomplete.as_deref(), Some("canceled"));
}

#[test]
fn a_long_backup_leaves_checkpoints_and_then_removes_them() {
    let bed = Bed::new(13);
    let from = tempfile::tempdir().unwrap();
    for n in 0..6u64 {
        std::fs::create_dir_all(from.path().join("a/b")).unwrap();
        std::fs::write(from.path().join(format!("a/b/file{n}")), noise(n, 9000)).unwrap();
    }
    let repository = bed.create();
    // Every file takes twenty minutes to read.
    let tree = support::Slow { inner: LocalTree::open(from.path()).unwrap(), bed: &bed, minutes: 20 };
    let seen = support::Checkpoints::default();
    let backup = block_on(repository.backup(&source(), &tree, &BackupOptions::default(), &seen)).unwrap();
    assert_eq!(seen.count(), 2);
    let snapshots = block_on(bed.open().snapshots(&Filter::all())).unwrap();
    assert_eq!(snapshots, [backup.snapshot]);
    assert!(block_on(bed.open().verify(&VerifyOptions::default(), &Silent)).unwrap().is_whole());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// Trees are small and their bytes come from few seeds, so that contents collide.
    #[test]
    fn any_tree_comes_back(seed in 0u64..40, count in 0u64..30, compression in prop_oneof![Just("none"), Just("zstd-fastest"), Just("gzip")]) {
        let bed = Bed::new(seed);
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fill(from.path(), seed, count);
        let repository = block_on(Repository::create(
            bed.store.clone(), "password", CreateOptions { splitter: "DYNAMIC-128K-BUZHASH".to_owned(), ..CreateOptions::default() }, bed.context("app", "cluster"),
        )).unwrap();
        let tree = LocalTree::open(from.path()).unwrap();
        let options = BackupOptions { compression: Some(compression.to_owned()), ..BackupOptions::default() };
        let backup = block_on(repository.backup(&source(), &tree, &options, &Silent)).unwrap();
        let repository = bed.open();
        let restore = RestoreOptions { atomic: seed % 2 == 0, sparse: seed % 3 == 0, ..RestoreOptions::default() };
        block_on(repository.restore(&backup.snapshot, &Path::root(), &LocalTree::open(to.path()).unwrap(), &restore, &Silent)).unwrap();
        prop_assert_eq!(compare(from.path(), to.path()), Vec::<String>::new());
        prop_assert!(block_on(repository.verify(&VerifyOptions::default(), &Silent)).unwrap().is_whole());
    }
}
