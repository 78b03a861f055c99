//! What a mover must refuse, with the right reason and without touching anything.
use std::{fs, os::unix::fs::FileExt as _};

use contract::{ExitCode, Identity};

use crate::stage::{Ended, PASSWORD, Stage, listing, noise};

fn failed_with(ended: &Ended, code: ExitCode) -> &contract::Failure {
    assert_eq!(ended.code, Some(code.number()), "{}", ended.log);
    let failure = ended.outcome.failed().expect("a failure");
    assert_eq!(failure.code, code);
    failure
}

#[test]
fn a_restore_never_creates_a_repository() {
    let stage = Stage::new();
    failed_with(&stage.restore().run(), ExitCode::RepositoryMissing);
    failed_with(&stage.maintenance().run(), ExitCode::RepositoryMissing);
    assert!(listing(&stage.repository()).is_empty());
    fs::remove_dir(stage.repository()).expect("removed");
    failed_with(&stage.restore().run(), ExitCode::Misconfigured);
    assert!(!stage.repository().exists());
}

#[test]
fn a_wrong_password_is_never_a_reason_to_create() {
    let stage = Stage::filled();
    stage.backed_up();
    let before = listing(&stage.repository());
    for job in [stage.backup(), stage.restore(), stage.maintenance()] {
        let ended = job.with("KOPIA_PASSWORD", "another password").run();
        failed_with(&ended, ExitCode::WrongPassword);
        assert!(!ended.log.contains("another password"));
    }
    assert_eq!(listing(&stage.repository()), before);
    assert_eq!(stage.restore().with("KOPIA_PASSWORD", PASSWORD).run().code, Some(0));
}

#[test]
fn a_wrong_identity_is_told_with_its_candidates() {
    let stage = Stage::filled();
    stage.backed_up();
    fs::write(stage.restored().join("kept"), "x").expect("written");
    for (username, hostname) in [("app-dst", "media"), ("App", "media"), ("app", "downloads")] {
        let ended =
            stage.restore().named(username, hostname).with("KOPIA_ENABLE_FILE_DELETION", "true").run();
        let failure = failed_with(&ended, ExitCode::OnlyAlike);
        assert_eq!(failure.candidates.len(), 1, "{username}@{hostname}");
        assert_eq!(failure.candidates[0].identity, Identity::new("app", "media", "/data"));
    }
    let ended = stage.restore().with("KOPIA_SOURCE_PATH_OVERRIDE", "/config").run();
    failed_with(&ended, ExitCode::OnlyAlike);
    assert!(stage.restored().join("kept").exists(), "deleted before anything was selected");
}

#[test]
fn a_declared_first_deployment_starts_empty_and_creates_nothing() {
    let first =
        contract::Ending::NothingRestored { reason: contract::outcome::NothingReason::FirstDeployment };
    let stage = Stage::filled();
    let declared = |identity: &str| stage.restore().with("KOPIA_FIRST_DEPLOYMENT", identity);
    assert_eq!(declared("app@media").run().outcome.ending, first, "from an empty place");
    assert!(listing(&stage.repository()).is_empty(), "a restore made something");
    failed_with(&declared("another@media").run(), ExitCode::RepositoryMissing);
    failed_with(&declared("app@media").with("KOPIA_BACKUP_KNOWN", "true").run(), ExitCode::WrongRepository);
    failed_with(
        &declared("app@media").with("MOVER_PROFILE", "safe").with("KOPIA_EXPECTED_UNIQUE_ID", "c0ffee").run(),
        ExitCode::WrongRepository,
    );
    fs::write(stage.repository().join("somebody's"), "x").expect("written");
    let ended = declared("app@media").run();
    assert!(ended.outcome.failed().is_some(), "a place that holds something is not empty: {}", ended.log);
    fs::remove_file(stage.repository().join("somebody's")).expect("removed");

    stage.backed_up();
    let beside = || stage.restore().named("app", "downloads");
    failed_with(&beside().run(), ExitCode::OnlyAlike);
    failed_with(&beside().with("KOPIA_FIRST_DEPLOYMENT", "app@media").run(), ExitCode::OnlyAlike);
    let declared = || beside().with("KOPIA_FIRST_DEPLOYMENT", "app@downloads");
    assert_eq!(declared().run().outcome.ending, first, "beside another app");
    failed_with(&declared().with("KOPIA_BACKUP_KNOWN", "true").run(), ExitCode::NothingEligible);
}

#[test]
fn after_a_first_backup_nothing_found_is_never_in_order() {
    let stage = Stage::filled();
    stage.backed_up();
    let ended = stage.restore().named("other", "elsewhere").with("KOPIA_BACKUP_KNOWN", "true").run();
    failed_with(&ended, ExitCode::NothingEligible);
    let ended = stage.restore().with("KOPIA_RESTORE_AS_OF", "2001-01-01T00:00:00Z").run();
    let failure = failed_with(&ended, ExitCode::NothingEligible);
    assert!(failure.message.contains("restoreAsOf 2001-01-01T00:00:00Z"), "{}", failure.message);
    failed_with(&stage.restore().with("KOPIA_PREVIOUS", 1).run(), ExitCode::NothingEligible);
}

#[test]
fn another_repository_than_the_known_one_is_refused() {
    let stage = Stage::filled();
    let known = stage.backed_up().outcome.repository.expect("a repository").unique_id;
    let stranger = Stage::filled();
    let other = stranger.backed_up().outcome.repository.expect("a repository").unique_id;
    assert_ne!(known, other);
    let before = listing(&stranger.repository());
    for job in [stranger.backup(), stranger.restore()] {
        let ended = job.with("KOPIA_EXPECTED_UNIQUE_ID", &known).run();
        let failure = failed_with(&ended, ExitCode::WrongRepository);
        assert!(failure.message.contains(&known) && failure.message.contains(&other), "{}", failure.message);
    }
    assert_eq!(listing(&stranger.repository()), before);
    assert_eq!(stage.backup().with("KOPIA_EXPECTED_UNIQUE_ID", &known).run().code, Some(0));
}

#[test]
fn an_empty_export_in_the_known_ones_place_is_refused() {
    let stage = Stage::filled();
    for (name, value) in [("KOPIA_EXPECTED_UNIQUE_ID", "c0ffee"), ("KOPIA_BACKUP_KNOWN", "true")] {
        failed_with(&stage.backup().with(name, value).run(), ExitCode::WrongRepository);
    }
    assert!(listing(&stage.repository()).is_empty());
    assert_eq!(stage.backup().run().code, Some(0), "without a known repository the first backup creates it");
}

#[test]
fn foreign_data_is_no_place_for_a_repository() {
    let stage = Stage::filled();
    fs::write(stage.repository().join("somebody's file"), "x").expect("written");
    let ended = stage.backup().run();
    assert!(ended.code.is_some_and(|code| code > 1), "{}", ended.log);
    assert_eq!(listing(&stage.repository()).len(), 1);
}

#[test]
fn a_request_that_cannot_be_read_names_the_variable() {
    let stage = Stage::new();
    let ended = stage.backup().with("KOPIA_OVERRIDE_USERNAME", "").run();
    let failure = failed_with(&ended, ExitCode::Misconfigured);
    assert_eq!(failure.message, "KOPIA_OVERRIDE_USERNAME must be defined");
    let ended = Stage::filled().backup().with("KOPIA_REPOSITORY", "s3://bucket/prefix").run();
    let failure = failed_with(&ended, ExitCode::Misconfigured);
    assert!(failure.message.contains("AWS_ACCESS_KEY_ID"), "{}", failure.message);
    let ended = Stage::filled().backup().with("KOPIA_COMPRESSION", "s2").run();
    failed_with(&ended, ExitCode::Misconfigured);
}

#[test]
fn bit_rot_fails_the_restore_and_names_the_path() {
    let stage = Stage::new();
    fs::write(stage.data().join("small"), "small").expect("written");
    fs::write(stage.data().join("big"), noise(3_000_000, 11)).expect("written");
    stage.backed_up();
    let pack = fs::read_dir(stage.repository()).expect("listed").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = pack.flat_map(|path| walk(&path)).collect();
    files.sort_by_key(|path| fs::metadata(path).map_or(0, |metadata| metadata.len()));
    let largest = files.pop().expect("a pack");
    let file = fs::OpenOptions::new().read(true).write(true).open(&largest).expect("opened");
    let middle = file.metadata().expect("described").len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).expect("read");
    file.write_all_at(&[byte[0] ^ 1], middle).expect("written");
    let ended = stage.restore().run();
    let failure = failed_with(&ended, ExitCode::RepositoryCorrupt);
    assert_eq!((failure.paths.len(), failure.paths_total), (1, 1), "{failure:?}");
    assert!(failure.paths[0].starts_with("big: "), "{failure:?}");
    assert_eq!(fs::read_to_string(stage.restored().join("small")).expect("the rest is restored"), "small");
}

fn walk(path: &std::path::Path) -> Vec<std::path::PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    fs::read_dir(path).expect("listed").flat_map(|entry| walk(&entry.expect("an entry").path())).collect()
}
