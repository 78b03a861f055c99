//! A mover that is told to stop: it ends with 143 and nothing it did counts.
use std::{fs, process::Command};

use contract::{Ending, ExitCode, outcome::NothingReason};

use crate::stage::{Stage, await_file, await_level, listing, noise, pause};

fn terminate(id: u32) {
    let status = Command::new("kill").args(["-TERM", &id.to_string()]).status().expect("kill runs");
    assert!(status.success());
}

#[test]
fn a_stop_signal_during_an_action_ends_with_143_and_no_snapshot() {
    let stage = Stage::filled();
    let started = stage.path("started");
    let action = format!("echo $$ > {0}.new; mv {0}.new {0}; sleep 300 & wait", started.display());
    let job = stage.backup().with("KOPIA_BEFORE_SNAPSHOT", action);
    let child = job.start();
    await_file(&started);
    let shell = fs::read_to_string(&started).expect("the shell's id").trim().to_owned();
    terminate(child.id());
    let ended = job.finish(child);
    assert_eq!(ended.code, Some(143), "{}", ended.log);
    assert_eq!(ended.outcome.failed().map(|failure| failure.code), Some(ExitCode::Stopped));
    assert!(ended.outcome.snapshot.is_none());
    await_level("the action's shell to end with the mover", || {
        fs::read_to_string(format!("/proc/{shell}/stat")).map_or(true, |stat| stat.contains(") Z "))
    });
    let after = stage.restore().run();
    assert_eq!(
        after.outcome.ending,
        Ending::NothingRestored { reason: NothingReason::FirstDeployment },
        "{}",
        after.log
    );
    assert_eq!(stage.backup().run().code, Some(0), "the next run heals");
}

/// Law: whenever the signal comes, success means a stored snapshot, and anything else is 143.
#[test]
fn success_is_never_reported_without_a_snapshot_whenever_the_signal_comes() {
    let stage = Stage::new();
    for index in 0..40_u64 {
        fs::write(stage.data().join(format!("file-{index}")), noise(400_000, index)).expect("written");
    }
    let mut stopped = 0;
    for delay in [0, 5, 20, 60, 150, 400] {
        let repository = stage.path(&format!("repository-{delay}"));
        fs::create_dir(&repository).expect("made");
        let at = |job: crate::stage::Job| {
            job.with("KOPIA_REPOSITORY", format!("filesystem://{}", repository.display()))
        };
        let started = stage.path(&format!("started-{delay}"));
        // The first action lasts until the signal, so that at least one is always in time.
        let lasts = if delay == 0 { " && sleep 60" } else { "" };
        let job =
            at(stage.backup()).with("KOPIA_BEFORE_SNAPSHOT", format!("touch {}{lasts}", started.display()));
        let child = job.start();
        // The action tells that the mover has its signal handlers; before that the kernel ends it.
        await_file(&started);
        pause(delay);
        terminate(child.id());
        let ended = job.finish(child);
        if ended.code == Some(0) {
            assert_eq!(ended.outcome.ending, Ending::BackedUp);
            let restored = at(stage.restore()).with("KOPIA_ENABLE_FILE_DELETION", "true").run();
            assert_eq!(restored.outcome.ending, Ending::Restored, "after {delay} ms: {}", restored.log);
            assert_eq!(listing(&stage.restored()), listing(&stage.data()));
        } else {
            stopped += 1;
            assert_eq!(ended.code, Some(143), "after {delay} ms: {}", ended.log);
            assert!(ended.outcome.snapshot.is_none());
        }
    }
    assert!(stopped > 0, "no signal came in time: the test shows nothing");
}

#[test]
fn a_stopped_restore_is_not_called_restored() {
    let stage = Stage::new();
    for index in 0..2000_u64 {
        fs::write(stage.data().join(format!("file-{index}")), noise(2000, index)).expect("written");
    }
    stage.backed_up();
    let job = stage.restore();
    let child = job.start();
    // The first file in the destination tells that the restore is at work.
    await_level("the first restored file", || {
        fs::read_dir(stage.restored()).expect("listed").next().is_some()
    });
    terminate(child.id());
    let ended = job.finish(child);
    assert_eq!(ended.code, Some(143), "{}", ended.log);
    assert_eq!(stage.restore().run().code, Some(0), "the next run heals");
    assert_eq!(listing(&stage.restored()), listing(&stage.data()));
}
