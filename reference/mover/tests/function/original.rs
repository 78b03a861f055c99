//! The original's behaviour, unsafe parts included, and the safe one beside it.
use std::fs;

use contract::{Ending, ExitCode, outcome::NothingReason};
use engine::store::ErrorKind;

use crate::stage::{At, Stage};

fn original() -> Stage {
    let mut stage = Stage::new();
    stage.set("MOVER_PROFILE", "original");
    stage
}

#[test]
fn a_restore_creates_a_repository_and_calls_nothing_a_success() {
    let mut stage = original();
    let ended = stage.restore();
    assert_eq!(ended.outcome.exit_code, 0, "{}", ended.log);
    assert_eq!(ended.outcome.ending, Ending::NothingRestored { reason: NothingReason::NothingFound });
    for line in [
        "error connecting to repository: repository not initialized in the provided storage",
        "Connection failed, creating new repository...",
        "No eligible snapshots found",
        "No snapshots found for app@media:/data",
        "=== No data will be restored ===",
        "INFO: OPERATION_RESULT: SUCCESS",
    ] {
        assert!(ended.log.contains(line), "{line} is missing:\n{}", ended.log);
    }
    assert!(!stage.store.contents().is_empty(), "a repository was created");

    let ended = Stage::new().restore();
    assert_eq!(ended.outcome.failed().map(|failure| failure.code), Some(ExitCode::RepositoryMissing));
}

#[test]
fn a_wrong_name_restores_nothing_and_wipes_first() {
    let mut stage = original();
    assert_eq!(stage.backup(At::Never).outcome.exit_code, 0);
    fs::write(stage.path("restored/old"), "x").expect("written");
    stage.set("KOPIA_OVERRIDE_USERNAME", "app-dst");
    stage.set("KOPIA_ENABLE_FILE_DELETION", "true");
    let ended = stage.restore();
    assert_eq!(ended.outcome.exit_code, 0, "{}", ended.log);
    assert!(ended.log.contains("app@media:/data - Last snapshot: 2026-01-01T04:00:00Z"), "{}", ended.log);
    assert!(!stage.path("restored/old").exists(), "the original deletes before it selects");
}

#[test]
fn a_wrong_password_surfaces_as_a_failed_creation() {
    let mut stage = original();
    stage.backup(At::Never);
    stage.set("KOPIA_PASSWORD", "quite another one");
    let ended = stage.backup(At::Never);
    assert_eq!(ended.outcome.exit_code, 1);
    assert!(
        ended.log.contains("unable to get repository storage: found existing data in storage location"),
        "{}",
        ended.log
    );
    assert!(ended.log.contains("ERROR: Failed to create repository"), "{}", ended.log);
}

#[test]
fn every_error_ends_with_1() {
    let mut stage = original();
    stage.backup(At::Never);
    assert_eq!(stage.backup(At::Fail(0, ErrorKind::Io)).outcome.exit_code, 1);
    stage.set("KOPIA_PREVIOUS", "5");
    let ended = stage.restore();
    assert_eq!(ended.outcome.exit_code, 1, "previous beyond the end");
    assert!(ended.log.contains("ERROR: Failed to restore snapshot: null"), "{}", ended.log);
}

#[test]
fn a_stop_while_connecting_ends_with_0_and_nothing_stored() {
    let mut stage = original();
    assert_eq!(stage.backup(At::Never).outcome.exit_code, 0);
    let before = stage.store.contents().len();
    let ended = stage.backup(At::Stop(0));
    assert_eq!(ended.outcome.exit_code, 0, "{}", ended.log);
    assert_eq!(ended.outcome.failed().map(|failure| failure.code), Some(ExitCode::Stopped));
    assert!(ended.log.contains("INFO: OPERATION_RESULT: FAILURE\nINFO: EXIT_CODE: 0"), "{}", ended.log);
    assert_eq!(stage.store.contents().len(), before, "nothing was backed up");
}

#[test]
fn the_creating_pod_owns_maintenance() {
    let mut stage = original();
    stage.backup(At::Never);
    stage.set("DIRECTION", "maintenance");
    let ended = stage.restore();
    assert_eq!(ended.outcome.exit_code, 0, "{}", ended.log);
    let expected = Ending::Maintained {
        owner: "maintenance@volsync".into(),
        taken_from: Some("root@volsync-src-app-x7k2p".into()),
    };
    assert_eq!(ended.outcome.ending, expected);
}

#[test]
fn both_profiles_restore_what_is_there() {
    for profile in ["safe", "original"] {
        let mut stage = Stage::new();
        stage.set("MOVER_PROFILE", profile);
        assert_eq!(stage.backup(At::Never).outcome.ending, Ending::BackedUp);
        let ended = stage.restore();
        assert_eq!(ended.outcome.ending, Ending::Restored, "{}", ended.log);
        assert_eq!(fs::read_to_string(stage.path("restored/file")).expect("restored"), "content");
        assert_eq!(ended.outcome.read_back.is_some(), profile == "safe");
    }
}
