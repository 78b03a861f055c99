//! What becomes of a scenario whose process ends without an outcome.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

use runner::{drive::On, input::Found, pool::Pool};
use scenario::{Scenario, Verdict};

/// Lets a program made of these shell lines take the place of the child.
fn played(script: &str, limit: Duration) -> runner::outcome::Outcome {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("child");
    fs::write(&program, format!("#!/bin/sh\ncat > /dev/null\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let pool = Pool { program, jobs: 1, limit, records: folder.path().to_owned(), on: On::Embedded };
    let found = Found { file: PathBuf::from("a.yaml"), scenario: Scenario::new("a claim") };
    pool.play(&[found], |_| {}).remove(0)
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
