//! Plays the features on a kind cluster and on the embedded bed, and wants the same verdicts.
//!
//! Every feature without the tag `@virtual-time` is played twice; at least 99 % of the verdicts must be equal, and
//! none on the cluster may be `unsupported`: what a real cluster cannot play must be tagged. It is played only where
//! `FIREDRILL_REQUIRE=kind` asks for it, because nobody's `cargo test` should start privileged containers by surprise;
//! then a missing engine, image or program is a failure.

use std::{path::Path, process::Command};

use acceptance::binary::{Profile, is_required, program, root};
use runner::{
    command::compare::{Comparison, read, terminal},
    drive::{FIXED_NAMESPACE, VIRTUAL_TIME},
};
use scenario::Verdict;
use testbed::kind::ground::{self, Options};

/// The share of verdicts that must be equal.
const PERCENT: u8 = 99;

fn play(firedrill: &Path, bed: &str, out: &Path) {
    let status = Command::new(firedrill)
        .current_dir(root())
        .args(["run", "features", "--bed", bed, "--without", VIRTUAL_TIME, "--without", FIXED_NAMESPACE])
        .args(["--limit", "900", "--out"])
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
    if !is_required("kind") {
        println!(
            "skipped: the features on a kind cluster: it takes minutes and privileged containers, FIREDRILL_REQUIRE=kind plays them"
        );
        return;
    }
    let firedrill = program("runner", "firedrill", Profile::Debug).expect("debug builds are never refused");
    if let Err(error) = ground::check(&Options::here()) {
        panic!("FIREDRILL_REQUIRE names kind, but {error}");
    }
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
