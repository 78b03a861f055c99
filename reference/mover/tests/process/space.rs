//! Full disks, really full: a size limit of the process, and a small file system where one can be mounted.
use std::{fs, process::Command};

use contract::ExitCode;

use crate::stage::{Stage, noise};

fn full_of(stage: &Stage) {
    for index in 0..8_u64 {
        fs::write(stage.data().join(format!("file-{index}")), noise(1_000_000, index)).expect("written");
    }
}

/// `ulimit -f` counts 1024 bytes in bash; with SIGXFSZ ignored, writes beyond it fail.
const LIMITED: &str = r#"trap '' XFSZ; ulimit -f 512; exec "$@""#;

#[test]
fn a_store_without_space_fails_the_backup_and_older_snapshots_stay() {
    let stage = Stage::filled();
    stage.backed_up();
    full_of(&stage);
    let job = stage.backup();
    let ended = job.finish(job.under(LIMITED).spawn().expect("started"));
    assert_eq!(ended.code, Some(ExitCode::OutOfSpace.number()), "{}", ended.log);
    assert!(ended.outcome.snapshot.is_none());
    let ended = stage.restore().run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(!stage.restored().join("file-0").exists());
    assert_eq!(stage.backup().run().code, Some(0), "the next run heals");
}

#[test]
fn a_volume_without_space_fails_the_restore() {
    let stage = Stage::new();
    full_of(&stage);
    stage.backed_up();
    let job = stage.restore();
    let ended = job.finish(job.under(LIMITED).spawn().expect("started"));
    assert_eq!(ended.code, Some(ExitCode::OutOfSpace.number()), "{}", ended.log);
}

#[test]
fn a_full_file_system_fails_the_backup() {
    let can_mount = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "mount",
            "-t",
            "tmpfs",
            "-o",
            "size=1m",
            "tmpfs",
            "/tmp",
        ])
        .output()
        .is_ok_and(|output| output.status.success());
    if !can_mount {
        println!("skipped: this machine lets nobody mount a small file system in a namespace of its own");
        return;
    }
    let stage = Stage::new();
    full_of(&stage);
    let script = format!(
        "mount -t tmpfs -o size=2m tmpfs '{0}' && \"$@\"; code=$?; ls -R '{0}' > '{1}'; exit $code",
        stage.repository().display(),
        stage.path("left").display()
    );
    let job = stage.backup();
    let mut command = job.under(&script);
    // The same environment and script, in a mount namespace of its own.
    let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let variables: Vec<_> =
        command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "bash"])
        .args(arguments)
        .env_clear()
        .envs(variables);
    let ended = job.finish(command.stdout(std::process::Stdio::piped()).spawn().expect("started"));
    assert_eq!(ended.code, Some(ExitCode::OutOfSpace.number()), "{}", ended.log);
    assert!(ended.log.to_lowercase().contains("no space left"), "{}", ended.log);
}
