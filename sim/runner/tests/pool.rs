//! What becomes of a scenario whose process ends without an outcome.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use runner::{
    drive::On,
    input::Found,
    outcome::Outcome,
    pool::{FREE, Pool},
};
use scenario::{Scenario, Verdict};

/// One program is written and started at a time: a child that another test starts meanwhile inherits the open file of
/// the writer for a moment, and Linux starts no file that is open for writing ("Text file busy").
static WRITER: Mutex<()> = Mutex::new(());

/// Lets a program made of these shell lines take the place of the child.
fn played(script: &str, limit: Duration) -> Outcome {
    played_by_one(script, limit, 1).remove(0)
}

/// Lets one worker play so many scenarios with such a program; it may keep files in `$here`.
fn played_by_one(script: &str, limit: Duration, scenarios: usize) -> Vec<Outcome> {
    let _alone = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("child");
    fs::write(&program, format!("#!/bin/sh\nhere=$(dirname \"$0\")\ncat > /dev/null\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let pool = Pool { program, jobs: 1, limit, records: folder.path().to_owned(), on: On::Embedded };
    let found =
        |nth| Found { file: PathBuf::from("a.yaml"), scenario: Scenario::new(format!("claim {nth}")) };
    pool.play(&(0..scenarios).map(found).collect::<Vec<_>>(), |_| {})
}

#[test]
fn a_child_that_a_signal_kills_has_crashed() {
    let outcome = played("kill -SEGV $$", Duration::from_secs(60));
    assert_eq!(outcome.verdict, Verdict::Crashed, "{}", outcome.reason);
    assert!(outcome.reason.contains("SIGSEGV"), "{}", outcome.reason);
}

#[test]
fn a_child_that_says_nothing_or_never_ends_is_a_broken_harness() {
    let silent = played("echo words >&2; exit 3", Duration::from_secs(60));
    assert_eq!(silent.verdict, Verdict::Broken);
    assert!(silent.reason.contains("exit status: 3") && silent.reason.contains("words"), "{}", silent.reason);
    let endless = played("exec sleep 1000", Duration::from_secs(1));
    assert_eq!(endless.verdict, Verdict::Broken);
    assert!(endless.reason.contains("did not end within 1 s"), "{}", endless.reason);
}

#[test]
fn the_next_scenario_begins_when_the_bed_is_free_and_not_before() {
    let limit = Duration::from_secs(60);
    // The first says that the bed is free, and ends when the second was there.
    let hands_over = format!(
        "if mkdir $here/first 2>/dev/null; then
           echo '{FREE}' >&2
           while [ ! -e $here/second ]; do sleep 0.02; done
         else
           touch $here/second
         fi
         exit 3"
    );
    for outcome in played_by_one(&hands_over, limit, 2) {
        assert!(outcome.reason.contains("exit status: 3"), "{}", outcome.reason);
    }
    // Without that word nobody is there beside another.
    let looks = "mkdir $here/alone || exit 4; sleep 0.1; rmdir $here/alone; exit 3";
    for outcome in played_by_one(looks, limit, 3) {
        assert!(outcome.reason.contains("exit status: 3"), "{}", outcome.reason);
    }
}
