//! Laws over every point at which a run can be interfered with.
use contract::{Ending, ExitCode};
use engine::store::ErrorKind;

use crate::stage::{At, Stage};

/// Whatever a run said, the next undisturbed one must do its work on what is left in the store.
fn heals(stage: &mut Stage, context: &str) {
    let next = stage.backup(At::Never);
    assert_eq!(next.outcome.exit_code, 0, "{context}: the next run failed:\n{}", next.log);
    let restored = stage.restore();
    assert_eq!(restored.outcome.ending, Ending::Restored, "{context}:\n{}", restored.log);
}

/// How many operations an undisturbed first backup takes.
fn operations() -> u64 {
    let ended = Stage::new().backup(At::Never);
    assert_eq!(ended.outcome.ending, Ending::BackedUp, "{}", ended.log);
    ended.operations
}

#[test]
fn a_run_that_was_told_to_stop_never_succeeds() {
    let total = operations();
    assert!(total > 5);
    for yields in [false, true] {
        for at in 0..total {
            let mut stage = Stage::new();
            stage.yields = yields;
            let ended = stage.backup(At::Stop(at));
            let context = format!("stop at operation {at}, yields {yields}");
            assert_eq!(ended.outcome.exit_code, 143, "{context}:\n{}", ended.log);
            assert!(ended.outcome.snapshot.is_none(), "{context}");
            assert!(ended.log.ends_with("INFO: EXIT_CODE: 143\nINFO: === Done ===\n"), "{context}");
            heals(&mut stage, &context);
        }
    }
}

#[test]
fn success_means_that_a_snapshot_is_stored_whatever_fails() {
    let total = operations();
    for kind in [ErrorKind::NoSpace, ErrorKind::Io] {
        for at in 0..total {
            for plan in [At::Fail(at, kind), At::FailOnce(at, kind)] {
                let mut stage = Stage::new();
                let ended = stage.backup(plan);
                if ended.outcome.exit_code == 0 {
                    assert_eq!(ended.outcome.ending, Ending::BackedUp, "{plan:?}");
                    let id = ended.outcome.snapshot.expect("a success names its snapshot").id;
                    let restored = stage.restore();
                    assert_eq!(restored.outcome.snapshot.map(|snapshot| snapshot.id), Some(id), "{plan:?}:\n{}", restored.log);
                } else {
                    let code = ended.outcome.failed().expect("a failure").code;
                    let expected = if kind == ErrorKind::NoSpace { ExitCode::OutOfSpace } else { ExitCode::RepositoryUnreachable };
                    assert_eq!(code, expected, "{plan:?}:\n{}", ended.log);
                }
                heals(&mut stage, &format!("{plan:?}"));
            }
        }
    }
}

#[test]
fn a_stop_signal_during_an_action_counts_too() {
    let mut stage = Stage::new();
    stage.set("KOPIA_AFTER_SNAPSHOT", "stop");
    assert_eq!(stage.backup(At::Never).outcome.exit_code, 143);
}
