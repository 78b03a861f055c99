//! Turns with a real Kopia: it opens, lists, verifies, restores and maintains what we wrote, and we read and
//! reuse what it wrote.
//!
//! Needs `kopia` on PATH; without it the test says so and passes, unless `FIREDRILL_REQUIRE` contains
//! `kopia`.

mod support;

use std::{
    fs,
    path::{Path as FilePath, PathBuf},
    process::Command,
    sync::Arc,
};

use engine::{
    BackupOptions, CreateOptions, Filter, MaintenanceKind, Repository, RestoreOptions, Safety, Silent,
    Source, VerifyOptions,
    blob::directory::{DirectoryStore, LocalFiles},
    context::{Client, Context, Entropy},
    store::SharedStore,
    tree::{LocalTree, Path},
};
use jiff::{Timestamp, tz::TimeZone};
use support::{Bed, block_on, compare, fill, noise};

const PASSWORD: &str = "correct horse";

/// Where kopia is; `None` says why not.
fn kopia() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|directory| directory.join("kopia")).find(|file| file.is_file());
    if found.is_none() {
        let is_required = std::env::var("FIREDRILL_REQUIRE").is_ok_and(|required| required.contains("kopia"));
        assert!(!is_required, "FIREDRILL_REQUIRE asks for kopia, and there is none on PATH");
        println!("skipped: no kopia on PATH");
    }
    found
}

struct Kopia {
    binary: PathBuf,
    home: tempfile::TempDir,
}

impl Kopia {
    fn run(&self, arguments: &[&str]) -> String {
        let home = self.home.path();
        let output = Command::new(&self.binary)
            .arg(format!("--config-file={}", home.join("config").display()))
            .args(["--no-progress", "--no-use-keyring"])
            .args(arguments)
            .env_clear()
            .env("KOPIA_PASSWORD", PASSWORD)
            .env("HOME", home)
            .env("TZ", "UTC")
            .env("KOPIA_CACHE_DIRECTORY", home.join("cache"))
            .env("KOPIA_LOG_DIR", home.join("logs"))
            .env("KOPIA_CHECK_FOR_UPDATES", "false")
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "kopia {arguments:?}: {}\n{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    }
    fn connect(&self, folder: &FilePath) {
        let path = format!("--path={}", folder.display());
        self.run(&[
            "repository",
            "connect",
            "filesystem",
            &path,
            "--override-username=app",
            "--override-hostname=cluster",
        ]);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "kopia lives in real time, and so must we when we take turns with it"
)]
fn real_time() -> Timestamp {
    Timestamp::try_from(std::time::SystemTime::now()).unwrap()
}

/// Real time, system randomness: as the mover would open it.
fn context() -> Context {
    Context {
        now: Arc::new(real_time),
        entropy: Entropy::new(|buffer| getrandom::fill(buffer).unwrap()),
        client: Client { username: "app".to_owned(), hostname: "cluster".to_owned() },
        zone: TimeZone::UTC,
    }
}

fn store(folder: &FilePath) -> SharedStore {
    let files = Arc::new(LocalFiles::new(folder));
    Arc::new(block_on(DirectoryStore::create(files, context().entropy)).unwrap())
}

fn open(folder: &FilePath) -> Repository {
    block_on(Repository::open(store(folder), PASSWORD, context())).unwrap()
}

fn count(json: &str) -> usize {
    serde_json::from_str::<serde_json::Value>(json).unwrap().as_array().unwrap().len()
}

#[test]
fn kopia_and_engine_take_turns() {
    let Some(binary) = kopia() else { return };
    let kopia = Kopia { binary, home: tempfile::tempdir().unwrap() };
    let work = tempfile::tempdir().unwrap();
    let (data, folder) = (work.path().join("data"), work.path().join("repository"));
    fs::create_dir(&data).unwrap();
    fs::create_dir(&folder).unwrap();
    fill(&data, 21, 60);
    fs::write(data.join("large"), noise(3, 9_000_000)).unwrap();
    fs::write(data.join("zeros"), vec![0; 6_000_000]).unwrap();
    let source = Source::new("app", "cluster", data.to_str().unwrap());

    // We create and back up.
    let repository =
        block_on(Repository::create(store(&folder), PASSWORD, CreateOptions::default(), context())).unwrap();
    let options = BackupOptions {
        compression: Some("zstd-fastest".to_owned()),
        parallelism: 2,
        ..BackupOptions::default()
    };
    let backup =
        block_on(repository.backup(&source, &LocalTree::open(&data).unwrap(), &options, &Silent)).unwrap();
    assert_eq!(backup.errors, []);

    // Kopia opens, lists, verifies, restores.
    kopia.connect(&folder);
    assert_eq!(count(&kopia.run(&["snapshot", "list", "--all", "--json"])), 1);
    kopia.run(&["snapshot", "verify", "--verify-files-percent=100"]);
    kopia.run(&["content", "verify", "--full"]);
    let restored = work.path().join("restored");
    kopia.run(&["snapshot", "restore", backup.snapshot.id.as_str(), restored.to_str().unwrap()]);
    let differences = compare(&data, &restored);
    // Kopia gives sub-directories the newest time below them, and symlinks whole microseconds.
    let is_time_only = |text: &String| text.contains("directory mode") || text.contains("mode 120777");
    assert!(differences.iter().all(is_time_only), "{differences:?}");

    // It takes a snapshot of the same tree: everything is taken over from ours, byte for byte.
    kopia.run(&["snapshot", "create", data.to_str().unwrap()]);
    let repository = open(&folder);
    let snapshots = block_on(repository.snapshots(&Filter::source(&source))).unwrap();
    assert_eq!(snapshots.len(), 2);
    assert_eq!(snapshots[1].stats.files_hashed, 0, "kopia reused every file of ours");
    assert_eq!(snapshots[0].root.object, snapshots[1].root.object, "kopia wrote the same directories");

    // It changes something; we read, restore and reuse that.
    fs::write(data.join("new"), b"from kopia's turn").unwrap();
    kopia.run(&["snapshot", "create", data.to_str().unwrap()]);
    let repository = open(&folder);
    let snapshots = block_on(repository.snapshots(&Filter::source(&source))).unwrap();
    let into = work.path().join("into");
    fs::create_dir(&into).unwrap();
    block_on(repository.restore(
        &snapshots[2],
        &Path::root(),
        &LocalTree::open(&into).unwrap(),
        &RestoreOptions::default(),
        &Silent,
    ))
    .unwrap();
    assert_eq!(compare(&data, &into), Vec::<String>::new());
    let backup =
        block_on(repository.backup(&source, &LocalTree::open(&data).unwrap(), &options, &Silent)).unwrap();
    assert_eq!(backup.snapshot.stats.files_hashed, 0, "we reused every file of kopia's");
    assert_eq!(backup.snapshot.root.object, snapshots[2].root.object);

    // Both maintain; both find everything whole afterwards.
    block_on(repository.delete_snapshot(&snapshots[0].id)).unwrap();
    kopia.run(&["maintenance", "run", "--full", "--safety=none"]);
    let repository = open(&folder);
    block_on(repository.maintain(MaintenanceKind::Full, Safety::None, &Silent)).unwrap();
    let info = kopia.run(&["maintenance", "info", "--json"]);
    assert!(info.contains("snapshot-gc"), "{info}");
    let runs = block_on(open(&folder).maintenance_info()).unwrap().runs;
    // Kopia's automatic maintenance may have run as well.
    assert!(runs["snapshot-gc"].len() >= 2, "each recorded its run where the other sees it");
    kopia.run(&["snapshot", "verify", "--verify-files-percent=100"]);
    kopia.run(&["content", "verify", "--full"]);
    assert_eq!(count(&kopia.run(&["snapshot", "list", "--all", "--json"])), 3);
    assert!(block_on(open(&folder).verify(&VerifyOptions::default(), &Silent)).unwrap().is_whole());

    // Kopia sees damage where we see it.
    let pack = block_on(store(&folder).list("p")).unwrap().pop().unwrap();
    block_on(store(&folder).delete(&pack.id)).unwrap();
    assert!(!block_on(open(&folder).verify(&VerifyOptions::default(), &Silent)).unwrap().is_whole());
}

/// The digest over all blobs of a seeded repository that a real Kopia accepted. When it changes, the bytes we
/// write have changed: run `kopia_accepts_the_frozen_repository` with a kopia on PATH before freezing anew.
const FROZEN: &str = "82d20e662a1eb8fa45622358f2ba4b3889799dba40f1d0133b5c46e81efaf126";

/// A seeded repository with two snapshots, an expiry and a full maintenance.
fn frozen() -> Bed {
    let bed = Bed::new(2026);
    let tree = support::Fixed;
    let source = Source::new("app", "cluster", "/data");
    let repository = bed.create();
    let options = BackupOptions { compression: Some("zstd-fastest".to_owned()), ..BackupOptions::default() };
    block_on(repository.backup(&source, &tree, &options, &Silent)).unwrap();
    bed.advance_hours(30);
    block_on(bed.open().backup(&source, &tree, &BackupOptions::default(), &Silent)).unwrap();
    block_on(bed.open().expire(&source)).unwrap();
    block_on(bed.open().maintain(MaintenanceKind::Full, Safety::Full, &Silent)).unwrap();
    bed
}

#[test]
fn the_bytes_of_the_frozen_repository_have_not_changed() {
    assert_eq!(frozen().digest(), FROZEN);
}

#[test]
fn kopia_accepts_the_frozen_repository() {
    let Some(binary) = kopia() else { return };
    let kopia = Kopia { binary, home: tempfile::tempdir().unwrap() };
    let folder = tempfile::tempdir().unwrap();
    let to = store(folder.path());
    for (id, (bytes, _)) in frozen().memory.contents() {
        block_on(to.put(&id, bytes)).unwrap();
    }
    let path = format!("--path={}", folder.path().display());
    let output = Kopia { binary: kopia.binary.clone(), home: tempfile::tempdir().unwrap() };
    // The frozen repository has the test bed's own password.
    let run = |arguments: &[&str]| {
        let home = output.home.path();
        let done = Command::new(&output.binary)
            .arg(format!("--config-file={}", home.join("config").display()))
            .args(["--no-progress", "--no-use-keyring"])
            .args(arguments)
            .env_clear()
            .env("KOPIA_PASSWORD", "password")
            .env("HOME", home)
            .output()
            .unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    run(&[
        "repository",
        "connect",
        "filesystem",
        &path,
        "--override-username=app",
        "--override-hostname=cluster",
    ]);
    assert_eq!(count(&run(&["snapshot", "list", "--all", "--json"])), 2);
    run(&["snapshot", "verify", "--verify-files-percent=100"]);
    run(&["content", "verify", "--full"]);
}
