//! The same seed gives the same record, byte for byte.
//!
//! Five scenarios of different character are played twenty times each, every time in processes of their
//! own, by turns with `--jobs 1` and `--jobs 2`, and the SHA-256 of each record is compared; so are those
//! of a release build, where there is one. Another seed must give another record, or nothing was shown.
//! What must not be in a record at all (real time, paths, names of this machine) is looked for in its text.
//! `FIREDRILL_RUNS` sets another number of runs, for machines that are busy or in doubt.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use acceptance::binary::{self, Profile};
use serde_json::Value;

/// Where the five stand, and which they are: file and claim.
const SCENARIOS: [(&str, &str); 5] = [
    ("features/nightly.feature", "Each night's changes are in that night's snapshot"),
    ("features/auto_restore.feature", "With backups present, a new claim is filled before it binds"),
    (
        "scenarios/regressions/half_a_day.yaml",
        "half a day of backups with maintenance leaves what the policy keeps",
    ),
    (
        "scenarios/regressions/killed_mover.yaml",
        "a mover killed for memory is tried again, and nothing counts twice",
    ),
    ("scenarios/smoke/one_file.yaml", "one file comes back"),
];

/// How often each is played, in every profile.
fn runs() -> usize {
    env::var("FIREDRILL_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(20)
}

/// What one `firedrill run` left behind.
struct Run {
    /// The digests of the records by claim.
    digests: BTreeMap<String, String>,
    /// All records, joined.
    record: String,
}

fn play(program: &Path, jobs: usize, seed: Option<u64>) -> Run {
    let out = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command
        .current_dir(binary::root())
        .args(["run", "--format", "json", "--jobs", &jobs.to_string(), "--out"])
        .arg(out.path());
    for (file, name) in SCENARIOS {
        command.args([file, "--filter", name]);
    }
    if let Some(seed) = seed {
        command.args(["--seed", &seed.to_string()]);
    }
    let output = command.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {words}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let scenarios = report["scenarios"].as_array().unwrap();
    let digests: BTreeMap<_, _> =
        scenarios.iter().map(|one| (text(&one["scenario"]), text(&one["digest"]))).collect();
    let files: BTreeSet<_> = scenarios.iter().map(|one| text(&one["file"])).collect();
    assert_eq!(files, SCENARIOS.iter().map(|(file, _)| (*file).to_owned()).collect(), "{words}");
    assert!(scenarios.iter().all(|one| one["verdict"] == "passed"), "{words}");
    Run { digests, record: fs::read_to_string(out.path().join("record.ndjson")).unwrap() }
}

/// The first line in which two records differ, for whoever must find out why.
fn first_difference(one: &str, other: &str) -> String {
    let lines = one.lines().zip(other.lines()).enumerate();
    match lines.into_iter().find(|(_, (one, other))| one != other && !one.starts_with("{\"digest\"")) {
        Some((at, (one, other))) => format!("line {}:\n  {one}\n  {other}", at + 1),
        None => "one record is longer than the other".to_owned(),
    }
}

fn debug() -> PathBuf {
    binary::program("runner", "firedrill", Profile::Debug).expect("a debug build is always to be had")
}

/// Plays a program again and again, as many processes side by side as there are cores, and wants the first record.
fn same(first: &Run, program: &Path, runs: std::ops::Range<usize>, what: &str) {
    let next = AtomicUsize::new(runs.start);
    let play_on = || {
        loop {
            let run = next.fetch_add(1, Ordering::Relaxed);
            if run >= runs.end {
                return;
            }
            let jobs = run % 2 + 1;
            let again = play(program, jobs, None);
            assert!(
                again.digests == first.digests,
                "{what} run {run} with --jobs {jobs} differs: {}",
                first_difference(&first.record, &again.record)
            );
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(play_on);
        }
    });
}

#[test]
fn the_same_seed_gives_the_same_record_in_every_process_and_profile() {
    let first = play(&debug(), 1, None);
    same(&first, &debug(), 1..runs(), "debug");
    match binary::program("runner", "firedrill", Profile::Release) {
        Ok(release) => same(&first, &release, 0..runs(), "release"),
        Err(reason) => println!("skipped: the same over profiles: {reason}"),
    }
}

#[test]
fn another_seed_gives_another_record() {
    let (one, other) = (play(&debug(), 2, Some(1_001)), play(&debug(), 2, Some(1_002)));
    for (name, digest) in &one.digests {
        assert_ne!(Some(digest), other.digests.get(name), "{name}: the seed changes nothing");
    }
}

/// What stands in a record although it is true of this machine or this hour only.
fn foreign(record: &str, words: &BTreeSet<String>) -> Vec<String> {
    words.iter().filter(|word| record.contains(word.as_str())).cloned().collect()
}

#[test]
fn a_record_knows_nothing_of_this_machine_or_hour() {
    let mut words = BTreeSet::new();
    words.insert(binary::root().display().to_string());
    words.insert(env::temp_dir().display().to_string() + "/");
    for variable in ["HOME", "HOSTNAME", "CARGO_TARGET_DIR"] {
        // A word as short as `/` or `pc` says nothing.
        words.extend(env::var(variable).ok().filter(|value| value.len() > 4));
    }
    if let Ok(host) = fs::read_to_string("/proc/sys/kernel/hostname") {
        words.extend(Some(host.trim().to_owned()).filter(|host| host.len() > 4));
    }
    #[expect(clippy::disallowed_methods, reason = "the hour of the test is what must not be found")]
    let now = jiff::Timestamp::now();
    for days in [-1, 0, 1] {
        words.insert((now + jiff::SignedDuration::from_hours(24 * days)).strftime("%Y-%m-%d").to_string());
    }
    assert_eq!(foreign(&play(&debug(), 2, None).record, &words), Vec::<String>::new());

    // The checkout may lie under the directory for temporary files, which is then found too.
    let root = binary::root().display().to_string();
    let found = foreign(&format!("{{\"line\":\"opened {root}/x at {now}\"}}"), &words);
    for leak in [root, now.strftime("%Y-%m-%d").to_string()] {
        assert!(found.contains(&leak), "the leak {leak} is seen");
    }
}
