//! The read-back check, against volumes that lose what was written.
use std::sync::Arc;

use contract::{ExitCode, Failure};
use engine::tree::local::LocalTree;

use crate::{
    bad::{Bad, Medium},
    stage::{At, Stage},
};

fn restored_onto(medium: Medium) -> Failure {
    let mut stage = Stage::new();
    assert_eq!(stage.backup(At::Never).outcome.exit_code, 0);
    let tree = LocalTree::open(stage.path("restored")).expect("opened");
    let ended = stage.restore_into(Arc::new(Bad(tree, medium)), At::Never);
    assert_ne!(ended.outcome.exit_code, 0, "{}", ended.log);
    ended.outcome.failed().cloned().expect("a failure")
}

#[test]
fn a_failing_sync_fails_the_restore() {
    let check =
        |errno, expected| assert_eq!(restored_onto(Medium::FailsSync(errno)).code, expected, "{errno}");
    check(22, ExitCode::SyncFailed);
    check(5, ExitCode::SyncFailed);
    check(28, ExitCode::OutOfSpace);
}

#[test]
fn zeros_are_found_and_called_zeros() {
    let failure = restored_onto(Medium::DropsPages);
    assert_eq!(failure.code, ExitCode::ReadBackMismatch);
    assert_eq!(failure.paths.len(), 1, "{failure:?}");
    assert!(failure.paths[0].starts_with("other: reads as zeros"), "{failure:?}");
    assert!(failure.message.contains("1 of them as zeros"), "{failure:?}");
}

#[test]
fn lengths_and_absence_are_found() {
    let failure = restored_onto(Medium::Truncates);
    assert_eq!(
        (failure.code, failure.paths),
        (ExitCode::ReadBackMismatch, vec!["file: 4 bytes instead of 7".to_owned()])
    );
    let failure = restored_onto(Medium::Loses);
    assert_eq!((failure.code, failure.paths), (ExitCode::ReadBackMismatch, vec!["file: missing".to_owned()]));
}

#[test]
fn the_original_does_not_look() {
    let mut stage = Stage::new();
    stage.backup(At::Never);
    stage.set("MOVER_PROFILE", "original");
    let tree = LocalTree::open(stage.path("restored")).expect("opened");
    let ended = stage.restore_into(Arc::new(Bad(tree, Medium::DropsPages)), At::Never);
    assert_eq!(ended.outcome.exit_code, 0, "{}", ended.log);
}
