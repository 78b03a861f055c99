//! Plays the features on a kind cluster and on the embedded bed, and wants the same verdicts.
//!
//! Every feature without the tag `@virtual-time` is played twice; at least 99 % of the verdicts must be equal, and
//! none on the cluster may be `unsupported`: what a real cluster cannot play must be tagged. A run that is interrupted
//! or killed at some moment leaves nothing of its own at the engine. All this is played only where
//! `FIREDRILL_REQUIRE=kind` asks for it, because nobody's `cargo test` should start privileged containers by surprise;
//! then a missing engine, image or program is a failure.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    time::Duration,
};

use acceptance::binary::{Profile, is_required, program, root};
use runner::{
    command::compare::{Comparison, read, terminal},
    drive::{FIXED_NAMESPACE, VIRTUAL_TIME},
};
use scenario::Verdict;
use testbed::kind::ground::{self, Options};

/// The share of verdicts that must be equal.
const PERCENT: u8 = 99;
/// Scenarios that are played side by side: most of their time is waiting, and four keep two cores busy by three
/// quarters.
const JOBS: &str = "4";
/// How runs are ended before their time: as by Ctrl-C, and as by the kernel.
const ENDS: [&str; 2] = ["INT", "KILL"];
/// The longest that such a run is left alone, in seconds: by then scenarios are being played.
const PATIENCE: u64 = 60;

/// Tests of clusters go one after another: this machine has two cores.
static ALONE: Mutex<()> = Mutex::new(());

/// The program, if clusters are asked for: optimised where it has been built so already, because every turn that it
/// takes is one that the cluster beside it does not get.
fn wanted(what: &str) -> Option<PathBuf> {
    if !is_required("kind") {
        println!(
            "skipped: {what}: it takes minutes and privileged containers, FIREDRILL_REQUIRE=kind plays it"
        );
        return None;
    }
    if let Err(error) = ground::check(&Options::here()) {
        panic!("FIREDRILL_REQUIRE names kind, but {error}");
    }
    let firedrill = program("runner", "firedrill", Profile::Release)
        .or_else(|_| program("runner", "firedrill", Profile::Debug));
    Some(firedrill.expect("debug builds are never refused"))
}

fn play(firedrill: &Path, bed: &str, out: &Path) {
    let status = Command::new(firedrill)
        .current_dir(root())
        .args(["run", "features", "--bed", bed, "--without", VIRTUAL_TIME, "--without", FIXED_NAMESPACE])
        .args(["--limit", "900", "--jobs", JOBS, "--out"])
        .arg(out)
        .status()
        .expect("firedrill starts");
    // Verdicts are compared below; here counts only that there are some.
    assert!(
        status.code().is_some_and(|code| code != 1 && code != 3),
        "firedrill run --bed {bed} ended with {status}"
    );
}

#[test]
fn the_features_come_to_the_same_verdicts_on_a_real_cluster() {
    let Some(firedrill) = wanted("the features on a kind cluster") else { return };
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("embedded"), folder.path().join("kind"));
    play(&firedrill, "kind", &there);
    play(&firedrill, "embedded", &here);
    let runs = [read(&here).unwrap(), read(&there).unwrap()];
    let unplayable: Vec<_> =
        runs[1].iter().filter(|outcome| outcome.verdict == Verdict::Unsupported).collect();
    let comparison = Comparison::of(&runs);
    println!("{}", terminal(&comparison));
    for outcome in &unplayable {
        println!("unsupported without the tag @virtual-time: {}: {}", outcome.scenario, outcome.reason);
    }
    assert!(
        unplayable.is_empty(),
        "{} scenarios cannot be played on kind and do not say so",
        unplayable.len()
    );
    assert!(comparison.is_good(PERCENT), "fewer than {PERCENT} % of the verdicts are equal");
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the moment of a power cut is no level: it is chosen by chance"
)]
fn a_run_that_is_ended_at_any_moment_leaves_nothing() {
    let Some(firedrill) = wanted("ending runs on a kind cluster") else { return };
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let seed = std::env::var("FIREDRILL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!(
        "again: FIREDRILL_SEED={seed} FIREDRILL_REQUIRE=kind cargo test -p acceptance --test kind ended_at_any_moment"
    );
    let folder = tempfile::tempdir().unwrap();
    let programs = programs();
    let before = engine();
    sees_what_is_left(&before);
    for (nth, signal) in ENDS.iter().enumerate() {
        let chance = (seed + nth as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let after = Duration::from_millis(500 + chance % (PATIENCE * 1_000));
        println!("SIG{signal} after {:.1} s", after.as_secs_f64());
        let mut run = Command::new(&firedrill)
            .current_dir(root())
            .args(["run", "features/nightly.feature", "--bed", "kind", "--without", VIRTUAL_TIME, "--out"])
            .arg(folder.path().join(nth.to_string()))
            .arg("--programs")
            .arg(&programs)
            .stdout(Stdio::null())
            .spawn()
            .expect("firedrill starts");
        std::thread::sleep(after);
        let told = Command::new("kill").args(["-s", signal, &run.id().to_string()]).status();
        let was_alive = told.expect("kill runs").success();
        let ended = run.wait().expect("a child can be waited for");
        println!("  the run ended with {ended}{}", if was_alive { "" } else { ", before the signal" });
        if *signal == "KILL" {
            let made = new(&before);
            let swept = Command::new(&firedrill).arg("sweep").output().expect("firedrill starts");
            assert!(swept.status.success(), "firedrill sweep: {}", String::from_utf8_lossy(&swept.stderr));
            print!("  left by it: {}\n{}", made.len(), String::from_utf8_lossy(&swept.stdout));
        }
        let left = new(&before);
        assert!(left.is_empty(), "SIG{signal} after {after:?} left:\n{}", left.join("\n"));
    }
}

/// Leaves something of each sort that can be left without harm, and wants it to be seen.
fn sees_what_is_left(before: &BTreeSet<String>) {
    let name = format!("firedrill-left-{}", std::process::id());
    let docker = |words: &[&str]| {
        let made = Command::new("docker").args(words).stdout(Stdio::null()).status();
        assert!(made.expect("docker starts").success(), "docker {words:?} failed");
    };
    let folder = cluster::cache::root().join("runs").join(&name);
    docker(&["network", "create", &name]);
    docker(&["volume", "create", &name]);
    std::fs::create_dir_all(&folder).expect("the cache can be written to");
    let seen = new(before);
    std::fs::remove_dir(&folder).expect("it was just made");
    docker(&["volume", "rm", &name]);
    docker(&["network", "rm", &name]);
    let wanted =
        [format!("directory {}", folder.display()), format!("network {name}"), format!("volume {name}")];
    assert_eq!(seen, wanted, "what is left behind is not seen, so that its absence proves nothing");
}

/// The directory of the programs that stand beside a cluster, built: what is ended is to be the run, not a compiler.
fn programs() -> PathBuf {
    let runtime = tokio::runtime::Runtime::new().expect("threads can be had");
    let built = runtime.block_on(async {
        let monitor = cluster::progress::Monitor::lines();
        cluster::image::static_binaries(&root(), &["kit", "controller", "mover"], &monitor).await
    });
    let built = built.unwrap_or_else(|error| panic!("{}", cluster::chain(&error)));
    built["kit"].parent().expect("a program lies somewhere").to_owned()
}

/// Everything at the engine, in the directory of runs, and among loop devices and mounts that could be of a run.
fn engine() -> BTreeSet<String> {
    let run = |program: &str, words: &[&str]| {
        let listed = Command::new(program).args(words).output();
        let listed = listed.unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        assert!(listed.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&listed.stderr));
        String::from_utf8_lossy(&listed.stdout).into_owned()
    };
    let mut seen = BTreeSet::new();
    let lists = [
        ("container", run("docker", &["ps", "--all", "--format", "{{.Names}}"])),
        ("network", run("docker", &["network", "ls", "--format", "{{.Name}}"])),
        ("volume", run("docker", &["volume", "ls", "--format", "{{.Name}}"])),
        ("loop device", run("losetup", &["--list", "--noheadings", "--output", "NAME,BACK-FILE"])),
    ];
    for (what, list) in lists {
        seen.extend(list.lines().map(|line| format!("{what} {line}")));
    }
    let runs = cluster::cache::root().join("runs");
    let folders = std::fs::read_dir(&runs).into_iter().flatten().flatten();
    seen.extend(folders.map(|folder| format!("directory {}", folder.path().display())));
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("Linux tells its mounts");
    let ours = mounts.lines().filter(|line| line.contains("firedrill"));
    seen.extend(ours.map(|line| format!("mount {line}")));
    seen
}

/// What came since.
fn new(before: &BTreeSet<String>) -> Vec<String> {
    engine().difference(before).cloned().collect()
}
