//! Files that cannot be read: the run fails, what could be read is stored, and a restore says what is missing.
use std::sync::Arc;

use contract::{Ending, ExitCode};
use engine::tree::local::LocalTree;

use crate::{
    bad::{Bad, Medium},
    stage::{At, Ended, Stage},
};

fn partial(stage: &mut Stage) -> Ended {
    let tree = LocalTree::open(stage.path("data")).expect("opened");
    stage.backup_of(Arc::new(Bad(tree, Medium::Unreadable)), At::Never)
}

#[test]
fn an_unreadable_file_fails_the_backup_and_is_named() {
    let mut stage = Stage::new();
    let ended = partial(&mut stage);
    let failure = ended.outcome.failed().expect("a failure");
    assert_eq!((failure.code, failure.paths_total), (ExitCode::SourceUnreadable, 1), "{}", ended.log);
    assert!(failure.paths[0].starts_with("other: "), "{failure:?}");
    assert!(!ended.log.contains("INFO: Snapshot created successfully"));

    let restored = stage.restore();
    assert_eq!(restored.outcome.ending, Ending::Restored, "{}", restored.log);
    assert_eq!(restored.outcome.snapshot, ended.outcome.snapshot, "what could be read was stored");
    assert_eq!(
        restored.outcome.losses.iter().map(|loss| (loss.count, loss.example.as_str())).collect::<Vec<_>>(),
        [(1, "other")]
    );
}

#[test]
fn retries_over_an_unreadable_file_push_no_whole_snapshot_out() {
    let mut stage = Stage::new();
    for (class, keep) in
        [("LATEST", "1"), ("HOURLY", "0"), ("DAILY", "0"), ("WEEKLY", "0"), ("MONTHLY", "0"), ("YEARLY", "0")]
    {
        stage.set(&format!("KOPIA_RETAIN_{class}"), keep);
    }
    let whole = stage.backup(At::Never).outcome.snapshot.expect("stored");
    for round in 0..3 {
        // A file that looks unchanged would be taken over unread.
        std::fs::write(stage.path("data/other"), format!("changed {round}")).expect("written");
        assert_ne!(partial(&mut stage).outcome.exit_code, 0);
    }
    stage.set("KOPIA_PREVIOUS", "3");
    assert_eq!(stage.restore().outcome.snapshot, Some(whole));
}

#[test]
fn a_partial_snapshot_is_not_taken_for_the_sync_that_left_it() {
    let mut stage = Stage::new();
    stage.set("KOPIA_SYNC", "uid/2026-01-01T03:00:00Z");
    let partial = partial(&mut stage).outcome.snapshot.expect("what could be read was stored");
    let whole = stage.backup(At::Never);
    assert_eq!(whole.outcome.ending, Ending::BackedUp, "{}", whole.log);
    assert_ne!(whole.outcome.snapshot.expect("stored").id, partial.id);
}

#[test]
fn the_original_fails_with_1_in_its_own_words() {
    let mut stage = Stage::new();
    stage.set("MOVER_PROFILE", "original");
    let ended = partial(&mut stage);
    assert_eq!(ended.outcome.exit_code, 1);
    for line in
        ["Found 1 fatal error(s) while snapshotting app@media:/data.", "ERROR: Failed to create snapshot"]
    {
        assert!(ended.log.contains(line), "{line} is missing:\n{}", ended.log);
    }
}
