//! The engine over the bed's doubles, judged by the oracle: from a tree to blobs and back.
//!
//! The oracle's rules of what Kopia's format cannot carry are held to what really comes back, and the
//! faults of tree and store must be told by the engine or seen by the oracle.
use std::sync::Arc;

use engine::{
    Repository,
    context::{Client, Context, Entropy, Now},
    format::CreateOptions,
    monitor::Silent,
    restore::{DirectoryTimes, RestoreOptions},
    snapshot::{BackupOptions, Snapshot, Source},
    store::SharedStore,
    tree::{Path, WriteTree as _},
    verify::VerifyOptions,
};
use fault::{Aim, Fault, Register, tree};
use jiff::{Timestamp, tz::TimeZone};
use scenario::tree::{Special, TreeSpec};
use testbed::{
    bucket::{Bucket, FaultyStore},
    ledger::{Entry, Ledger},
    oracle::{
        restore::{Attribute, Carries, Loss, Report, judge},
        zeros,
    },
    volume::{Character, Mount, MountOptions, Volume},
};

fn now() -> Now {
    Arc::new(|| Timestamp::from_second(1_780_000_000).expect("within range"))
}

struct Bed {
    register: Register,
    volume: Volume,
    written: Entry,
    repository: Repository,
    snapshot: Snapshot,
}

impl Bed {
    /// A volume with everything in it, backed up once.
    async fn new(spec: &TreeSpec) -> Self {
        let register = Register::new(5);
        let bucket = Bucket::new("main", now(), register.clone());
        let store: SharedStore =
            FaultyStore::new(bucket.view("app/"), "main", "mover", register.clone()).shared();
        let client = Client { username: "app".into(), hostname: "default".into() };
        let context =
            Context { now: now(), entropy: Entropy::from_seed([2; 32]), client, zone: TimeZone::UTC };
        let repository =
            Repository::create(store, "password", CreateOptions::default(), context).await.unwrap();
        let volume = Volume::new("data", Character::Rbd, now());
        volume.populate(spec).unwrap();
        let written = Ledger::new().record(&volume);
        let source = Source { username: "app".into(), host: "default".into(), path: "/data".into() };
        let mount = volume.mount(MountOptions::new("mover").read_only(true));
        let backup = repository.backup(&source, &mount, &BackupOptions::default(), &Silent).await.unwrap();
        Self { register, volume, written, repository, snapshot: backup.snapshot }
    }
    async fn restore(
        &self,
        character: Character,
        options: RestoreOptions,
    ) -> (Volume, Mount, Result<(), engine::Error>) {
        let target = Volume::new("restored", character, now());
        let mount = target.mount(MountOptions::new("mover").register(self.register.clone()));
        let done =
            self.repository.restore(&self.snapshot, &Path::root(), &mount, &options, &Silent).await.map(drop);
        (target, mount, done)
    }
    fn judge(&self, target: &Volume) -> Report {
        judge(target, &self.written, Carries::kopia())
    }
}

fn everything() -> TreeSpec {
    Special::ALL.into_iter().fold(TreeSpec::plain(40, 1 << 20, 7), TreeSpec::with)
}

#[tokio::test]
async fn what_comes_back_is_equal_with_each_loss_declared() {
    let bed = Bed::new(&everything()).await;
    for directory_times in [DirectoryTimes::Recorded, DirectoryTimes::Newest] {
        let (target, mount, done) =
            bed.restore(Character::CephFs, RestoreOptions { directory_times, ..Default::default() }).await;
        done.unwrap();
        mount.unmount().unwrap();
        let report = bed.judge(&target);
        assert!(report.is_equal(), "{report}");
        for loss in [Loss::HardLinks, Loss::Holes, Loss::Xattrs, Loss::Acls, Loss::SpecialFiles] {
            assert!(report.losses.contains_key(&loss), "{loss} is silent: {report}");
        }
    }
    assert!(judge(&bed.volume, &bed.written, Carries::everything()).is_equal(), "a backup changes nothing");
}

#[tokio::test]
async fn dropped_pages_fail_the_restore_or_are_seen() {
    let bed = Bed::new(&TreeSpec::plain(10, 300_000, 3)).await;
    let id = bed.register.arm(tree::cephfs_write_back_zeroing::Spec::default());
    let (_, _, done) = bed.restore(Character::CephFs, RestoreOptions::default()).await;
    assert!(done.is_err(), "the final sync told it");
    bed.register.lift(id);
    let id =
        bed.register.arm(tree::cephfs_write_back_zeroing::Spec { reported: false, ..Default::default() });
    let (target, mount, done) = bed.restore(Character::CephFs, RestoreOptions::default()).await;
    assert!(done.is_ok(), "nothing told it");
    assert!(
        bed.repository.read_back(&bed.snapshot, &mount, &Silent).await.unwrap().is_empty(),
        "the cache is blind"
    );
    mount.drop_caches().unwrap();
    assert!(
        !bed.repository.read_back(&bed.snapshot, &mount, &Silent).await.unwrap().is_empty(),
        "the read-back check does"
    );
    let report = bed.judge(&target);
    assert_eq!(report.counts.keys().copied().collect::<Vec<_>>(), [Attribute::Bytes], "{report}");
    assert!(report.to_string().contains("all zeros"));
    let mount = target.mount(MountOptions::new("oracle"));
    assert_eq!(zeros::find(&mount, &bed.written).unwrap().len(), 10);
    bed.register.lift(id);
    let (target, _, done) = bed.restore(Character::CephFs, RestoreOptions::default()).await;
    done.unwrap();
    assert!(bed.judge(&target).is_equal());
}

/// `control-sparse-restore`: on healthy storage, sparse or not, CephFS or RBD, the bytes are equal; with the
/// guides' hypothesis armed only CephFS loses them.
#[tokio::test]
async fn sparse_restores_are_equal_unless_the_hypothesis_is_armed() {
    let bed = Bed::new(&TreeSpec::plain(6, 400_000, 3).with(Special::Holes)).await;
    for armed in [false, true] {
        let id = armed.then(|| bed.register.arm(Fault::named("sparse-region-loss").unwrap()));
        for sparse in [false, true] {
            for character in [Character::Rbd, Character::CephFs] {
                let (target, _, done) =
                    bed.restore(character, RestoreOptions { sparse, ..Default::default() }).await;
                assert!(done.is_ok(), "nothing is told");
                let lost = armed && character == Character::CephFs;
                assert_eq!(bed.judge(&target).is_equal(), !lost, "{character} sparse {sparse} armed {armed}");
            }
        }
        assert!(id.is_none_or(|id| bed.register.firings(id) > 0));
    }
}

#[tokio::test]
async fn rot_in_a_pack_is_named_by_path_and_the_lift_heals() {
    let bed = Bed::new(&TreeSpec::plain(30, 600_000, 3).with(Special::Noise)).await;
    let options = VerifyOptions { read_percent: 100.0, ..Default::default() };
    assert!(bed.repository.verify(&options, &Silent).await.unwrap().damages.is_empty());
    let id = bed.register.arm(Fault::named("store-bit-rot").unwrap().aimed(Aim::default()));
    let report = bed.repository.verify(&options, &Silent).await.unwrap();
    assert_eq!(bed.register.firings(id), 1);
    assert!(
        !report.damages.is_empty() && report.damages.len() < 30,
        "some paths, not all: {}",
        report.damages.len()
    );
    bed.register.lift(id);
    assert!(bed.repository.verify(&options, &Silent).await.unwrap().damages.is_empty());
}
