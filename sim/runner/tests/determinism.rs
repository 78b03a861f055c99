//! The same seed gives the same record, byte for byte: over processes, over jobs, over profiles.
//!
//! Plays five scenarios again and again with the real binary and compares the digests of their records.
//! `FIREDRILL_RELEASE` may name a release build of the same sources; its digests must be the same (CI sets
//! it). `FIREDRILL_RUNS` sets the number of runs; 20 in CI, fewer by default, because each is a process.

use std::{collections::BTreeMap, path::Path, process::Command};

use serde_json::Value;

const SCENARIOS: &[&str] = &[
    "A nightly backup holds what the volume held",
    "A lost claim comes back through a destination of one's own",
    "With backups present, a new claim is filled before it binds",
    "Two apps in one repository do not see each other",
    "one file comes back",
];

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn digests(program: &Path, jobs: &str, seed: Option<&str>) -> BTreeMap<String, String> {
    let out = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command.current_dir(root()).args(["run", "--format", "json", "--jobs", jobs, "--out"]).arg(out.path());
    for name in SCENARIOS {
        command.args(["--filter", name]);
    }
    if let Some(seed) = seed {
        command.args(["--seed", seed]);
    }
    let output = command.output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let scenarios = report["scenarios"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let found: BTreeMap<_, _> = scenarios.map(|one| (text(&one["scenario"]), text(&one["digest"]))).collect();
    assert_eq!(found.len(), SCENARIOS.len(), "{}", String::from_utf8_lossy(&output.stderr));
    found
}

#[test]
fn the_same_seed_gives_the_same_record() {
    let program = Path::new(env!("CARGO_BIN_EXE_firedrill"));
    let runs: usize = std::env::var("FIREDRILL_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(4);
    let first = digests(program, "1", None);
    for run in 1..runs {
        let jobs = if run % 2 == 0 { "1" } else { "2" };
        assert_eq!(digests(program, jobs, None), first, "run {run} with --jobs {jobs} differs");
    }
    match std::env::var_os("FIREDRILL_RELEASE") {
        Some(release) => assert_eq!(digests(Path::new(&release), "2", None), first, "the release build differs"),
        None => println!("not compared with a release build: FIREDRILL_RELEASE names none"),
    }
}

#[test]
fn another_seed_gives_another_record() {
    let program = Path::new(env!("CARGO_BIN_EXE_firedrill"));
    let (one, other) = (digests(program, "2", Some("1001")), digests(program, "2", Some("1002")));
    for (name, digest) in &one {
        assert_ne!(Some(digest), other.get(name), "{name}: the seed changes nothing");
    }
}
