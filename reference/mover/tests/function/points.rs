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

/// The operations of an undisturbed first backup.
fn operations() -> Vec<String> {
    let ended = Stage::new().backup(At::Never);
    assert_eq!(ended.outcome.ending, Ending::BackedUp, "{}", ended.log);
    ended.trace
}

#[test]
fn a_run_that_was_told_to_stop_never_succeeds() {
    let trace = operations();
    let total = trace.len() as u64;
    let data = trace.iter().position(|operation| operation.starts_with("put p")).expect("a data pack");
    let session = trace[..data]
        .iter()
        .rposition(|operation| operation.starts_with("put s"))
        .expect("its session marker");
    for yields in [false, true] {
        for at in 0..total {
            let mut stage = Stage::new();
            stage.yields = yields;
            let ended = stage.backup(At::Stop(at));
            let context = format!("stop at operation {at}, yields {yields}");
            assert_eq!(ended.outcome.exit_code, 143, "{context}:\n{}", ended.log);
            assert!(ended.outcome.snapshot.is_none(), "{context}");
            assert!(ended.log.ends_with("INFO: EXIT_CODE: 143\nINFO: === Done ===\n"), "{context}");
            // A store that answers at once leaves only the engine's own looks at the monitor, while it walks.
            if at < if yields { data } else { session } as u64 {
                let after = stage.restore();
                assert_ne!(
                    after.outcome.ending,
                    Ending::Restored,
                    "{context}: the run went on to its end:\n{}",
                    after.log
                );
            }
            heals(&mut stage, &context);
        }
    }
}

#[test]
fn success_means_that_a_snapshot_is_stored_whatever_fails() {
    let total = operations().len() as u64;
    for kind in [ErrorKind::NoSpace, ErrorKind::Io] {
        for at in 0..total {
            for plan in [At::Fail(at, kind), At::FailOnce(at, kind)] {
                let mut stage = Stage::new();
                let ended = stage.backup(plan);
                if ended.outcome.exit_code == 0 {
                    assert_eq!(ended.outcome.ending, Ending::BackedUp, "{plan:?}");
                    let id = ended.outcome.snapshot.expect("a success names its snapshot").id;
                    let restored = stage.restore();
                    assert_eq!(
                        restored.outcome.snapshot.map(|snapshot| snapshot.id),
                        Some(id),
                        "{plan:?}:\n{}",
                        restored.log
                    );
                } else {
                    let code = ended.outcome.failed().expect("a failure").code;
                    let expected = if kind == ErrorKind::NoSpace {
                        ExitCode::OutOfSpace
                    } else {
                        ExitCode::RepositoryUnreachable
                    };
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

/// How many snapshots a restore can reach.
fn snapshots(stage: &mut Stage) -> usize {
    let reaches = |previous: &usize| {
        stage.set("KOPIA_PREVIOUS", &previous.to_string());
        stage.restore().outcome.ending == Ending::Restored
    };
    (0..4).take_while(reaches).count()
}

#[test]
fn attempts_of_one_sync_leave_one_snapshot_wherever_one_was_cut_off() {
    let total = operations().len() as u64;
    let mut taken = 0;
    for at in 0..total {
        for plan in [At::Stop(at), At::Fail(at, ErrorKind::Io)] {
            let mut stage = Stage::new();
            stage.yields = true;
            stage.set("KOPIA_SYNC", "uid/2026-01-01T03:00:00Z");
            stage.set("KOPIA_RETAIN_LATEST", "9");
            let first = stage.backup(plan);
            let second = stage.backup(At::Never);
            assert_eq!(second.outcome.ending, Ending::BackedUp, "{plan:?}:\n{}", second.log);
            taken += usize::from(second.log.contains("an earlier attempt of this sync stored snapshot"));
            assert_eq!(snapshots(&mut stage), 1, "{plan:?}:\n{}\n{}", first.log, second.log);
        }
    }
    assert!(taken > 0, "no attempt was cut off behind its snapshot: nothing was shown");
}

#[test]
fn another_sync_and_the_original_take_no_snapshot_of_an_earlier_attempt() {
    let ways: [(&str, &str, &str); 3] = [
        ("another sync", "uid/2026-01-01T04:00:00Z", "safe"),
        ("another object of the same identity", "other/2026-01-01T03:00:00Z", "safe"),
        ("the original", "uid/2026-01-01T03:00:00Z", "original"),
    ];
    for (name, sync, profile) in ways {
        let mut stage = Stage::new();
        stage.set("MOVER_PROFILE", profile);
        stage.set("KOPIA_RETAIN_LATEST", "9");
        stage.set("KOPIA_SYNC", "uid/2026-01-01T03:00:00Z");
        let first = stage.backup(At::Never).outcome;
        stage.set("KOPIA_SYNC", sync);
        let second = stage.backup(At::Never).outcome;
        let ids = [first, second].map(|outcome| outcome.snapshot.expect("stored").id);
        assert_ne!(ids[0], ids[1], "{name}");
    }
}
