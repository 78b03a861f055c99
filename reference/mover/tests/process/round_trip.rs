//! What was backed up comes back, and only that counts as success.
use std::fs;

use contract::{Ending, outcome::NothingReason};

use crate::stage::{Stage, fill, listing, noise};

#[test]
fn what_was_backed_up_is_restored() {
    let stage = Stage::filled();
    let ended = stage.backed_up();
    assert_eq!(ended.outcome.ending, Ending::BackedUp);
    let snapshot = ended.outcome.snapshot.expect("a snapshot");
    assert_eq!((snapshot.files, snapshot.identity.to_string().as_str()), (5, "app@media:/data"));
    assert!(ended.outcome.repository.as_ref().is_some_and(|repository| repository.created));
    for line in [
        "=== Checking directory for content ===",
        "INFO: Snapshot created successfully",
        "=== Applying retention policy ===",
    ] {
        assert!(ended.log.contains(line), "{line} is missing:\n{}", ended.log);
    }

    let ended = stage.restore().run();
    assert_eq!((ended.code, &ended.outcome.ending), (Some(0), &Ending::Restored), "{}", ended.log);
    let read_back = ended.outcome.read_back.expect("a read-back check");
    assert_eq!((read_back.files, read_back.mismatches), (5, 0));
    assert_eq!(listing(&stage.restored()), listing(&stage.data()));
    for line in
        ["Selected snapshot with id: ", "INFO: Snapshot restore completed successfully", "INFO: === Done ==="]
    {
        assert!(ended.log.contains(line), "{line} is missing:\n{}", ended.log);
    }
}

#[test]
fn the_snapshot_before_comes_back_and_deletion_leaves_nothing_else() {
    let stage = Stage::filled();
    stage.backed_up();
    let before = listing(&stage.data());
    fs::write(stage.data().join("later"), noise(1000, 3)).expect("written");
    stage.backed_up();
    fs::create_dir_all(stage.restored().join("old/er")).expect("made");
    fs::write(stage.restored().join("old/er/file"), "x").expect("written");
    let ended = stage.restore().with("KOPIA_PREVIOUS", 1).with("KOPIA_ENABLE_FILE_DELETION", "true").run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(listing(&stage.restored()), before);
}

#[test]
fn an_empty_volume_is_no_backup() {
    let stage = Stage::new();
    fs::create_dir(stage.data().join("lost+found")).expect("made");
    let ended = stage.backup().run();
    assert_eq!((ended.code, ended.outcome.ending), (Some(0), Ending::SourceEmpty));
    assert!(ended.outcome.snapshot.is_none());
    assert!(ended.log.contains("== Directory is empty skipping backup ==="));
    assert!(listing(&stage.repository()).is_empty(), "the repository was touched");
}

#[test]
fn the_first_deployment_says_that_nothing_was_restored() {
    let stage = Stage::filled();
    stage.backed_up();
    let ended = stage.restore().named("other", "media").run();
    let expected = Ending::NothingRestored { reason: NothingReason::FirstDeployment };
    assert_eq!((ended.code, ended.outcome.ending), (Some(0), expected), "{}", ended.log);
    assert!(listing(&stage.restored()).is_empty());
}

#[test]
fn maintenance_runs_as_its_owner_and_takes_over_only_on_purpose() {
    let stage = Stage::filled();
    stage.backed_up();
    let ended = stage.maintenance().run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(
        ended.outcome.ending,
        Ending::Maintained { owner: "maintenance@volsync".into(), taken_from: None }
    );

    let second = || stage.maintenance().with("KOPIA_OVERRIDE_MAINTENANCE_USERNAME", "second@kept");
    let ended = second().run();
    assert_eq!(ended.code, Some(contract::ExitCode::MaintenanceForeign.number()), "{}", ended.log);
    assert!(ended.outcome.failed().is_some_and(|failure| failure.message.contains("maintenance@volsync")));
    let ended = second().with("KOPIA_MAINTENANCE_TAKEOVER_FROM", "somebody@else").run();
    assert_eq!(ended.code, Some(contract::ExitCode::MaintenanceForeign.number()));
    let ended = second().with("KOPIA_MAINTENANCE_TAKEOVER_FROM", "maintenance@volsync").run();
    let expected =
        Ending::Maintained { owner: "second@kept".into(), taken_from: Some("maintenance@volsync".into()) };
    assert_eq!((ended.code, ended.outcome.ending), (Some(0), expected), "{}", ended.log);
    assert_eq!(stage.restore().run().code, Some(0));
}

#[test]
fn retention_keeps_the_newest() {
    let stage = Stage::filled();
    for round in 0..4 {
        fs::write(stage.data().join("round"), round.to_string()).expect("written");
        // The policy set by one run is applied by the next.
        let ended = stage
            .backup()
            .with("KOPIA_RETAIN_LATEST", 2)
            .with("KOPIA_RETAIN_HOURLY", 0)
            .with("KOPIA_RETAIN_DAILY", 0)
            .with("KOPIA_RETAIN_WEEKLY", 0)
            .with("KOPIA_RETAIN_MONTHLY", 0)
            .with("KOPIA_RETAIN_YEARLY", 0)
            .run();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
    }
    let restored = |previous: i32| {
        let ended = stage.restore().with("KOPIA_PREVIOUS", previous).run();
        (ended.code, fs::read_to_string(stage.restored().join("round")).unwrap_or_default())
    };
    assert_eq!(restored(0), (Some(0), "3".to_owned()));
    assert_eq!(restored(1), (Some(0), "2".to_owned()));
    assert_eq!(restored(2).0, Some(contract::ExitCode::NothingEligible.number()));
}

#[test]
fn actions_run_around_the_snapshot() {
    let stage = Stage::filled();
    let data = stage.data();
    let before = format!("echo dumped > {}/dump; echo told", data.display());
    let ended =
        stage.backup().with("KOPIA_BEFORE_SNAPSHOT", before).with("KOPIA_AFTER_SNAPSHOT", "exit 7").run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("told\nbefore-snapshot action completed successfully"), "{}", ended.log);
    assert_eq!(ended.outcome.warnings.len(), 1);
    stage.restore().run();
    assert_eq!(fs::read_to_string(stage.restored().join("dump")).expect("restored"), "dumped\n");

    let ended = stage.backup().with("KOPIA_BEFORE_SNAPSHOT", "echo bad >&2; exit 9").run();
    assert_eq!(ended.code, Some(contract::ExitCode::ActionFailed.number()));
    assert!(
        ended.log.contains("before-snapshot action failed or timed out after 300 seconds"),
        "{}",
        ended.log
    );
}

#[test]
fn a_second_volume_of_the_same_repository_is_not_seen() {
    let stage = Stage::filled();
    stage.backed_up();
    let other = Stage::new();
    fill(&other.data());
    fs::write(other.data().join("mine"), "mine").expect("written");
    let repository = format!("filesystem://{}", stage.repository().display());
    let ended = other.backup().named("other", "media").with("KOPIA_REPOSITORY", &repository).run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let ended = stage.restore().run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(listing(&stage.restored()), listing(&stage.data()));
}
