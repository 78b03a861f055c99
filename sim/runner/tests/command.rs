//! The command line from outside: exit codes, bad input, reports.

use std::{fs, path::Path, process::Command};

struct Ended {
    code: i32,
    out: String,
    err: String,
}

fn firedrill(folder: &Path, arguments: &[&str]) -> Ended {
    let output =
        Command::new(env!("CARGO_BIN_EXE_firedrill")).args(arguments).current_dir(folder).output().unwrap();
    Ended {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn with_file(name: &str, text: &str, arguments: &[&str]) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(name), text).unwrap();
    firedrill(folder.path(), arguments)
}

#[test]
fn bad_input_is_one_error_with_file_and_cure() {
    for (name, text, words) in [
        ("a.yaml", "scenario: [", "a.yaml:1"),
        ("a.yaml", "scenario: x\nsteps:\n- when: {sleep: 5}\n", "a.yaml:3"),
        ("a.feature", "Feature: f\nScenario: s\nGiven a horse\nThen nothing\n", "a.feature:3"),
        ("a.txt", "", "no .feature, .yaml or .yml file"),
    ] {
        let ended = with_file(name, text, &["run", name]);
        assert_eq!(ended.code, 3, "{text:?}: {}", ended.err);
        assert!(ended.err.contains(words), "{text:?}: {}", ended.err);
    }
    let ended = with_file("x", "", &["run", "absent"]);
    assert_eq!(ended.code, 3);
    assert!(ended.err.contains("absent"), "{}", ended.err);
}

#[test]
fn reports_do_not_go_into_a_file() {
    for command in [["run", "--out", "here"], ["drill", "--out", "here"]] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("here"), "kept").unwrap();
        fs::write(folder.path().join("claim.yaml"), "kind: Namespace\nmetadata: {name: a}\n").unwrap();
        let mut words = command.to_vec();
        words.extend((command[0] == "drill").then_some("claim.yaml"));
        let ended = firedrill(folder.path(), &words);
        assert_eq!(ended.code, 3, "{}", ended.err);
        assert!(ended.err.contains("--out names a directory; here is a file"), "{}", ended.err);
        assert_eq!(fs::read_to_string(folder.path().join("here")).unwrap(), "kept");
    }
}

#[test]
fn what_matches_nothing_is_an_error_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(firedrill(folder.path(), &["run", "--filter", "no such scenario"]).code, 4);
    let ended = firedrill(folder.path(), &["reproduce", "no-such-incident"]);
    assert_eq!(ended.code, 4, "{}", ended.err);
    assert_eq!(firedrill(folder.path(), &["run", "--jobs", "0"]).code, 2);
}

#[test]
fn a_scenario_is_played_from_any_folder_and_leaves_record_and_report() {
    let folder = tempfile::tempdir().unwrap();
    let ended = firedrill(folder.path(), &["run", "--filter", "one file comes back"]);
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("1 scenarios: 1 passed"), "{}", ended.out);
    let place = folder.path().join("target/firedrill/run");
    let record = fs::read_to_string(place.join("record.ndjson")).unwrap();
    assert!(
        record.lines().count() > 20
            && record.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
    );
    assert!(fs::read_to_string(place.join("report.html")).unwrap().contains("one file comes back"));
}

#[test]
fn an_expectation_that_does_not_hold_is_violated() {
    let text = "scenario: one sync is called two\nsteps:\n\
        - given: {volume: {name: app, holding: {files: 1, size: 1 KiB}}}\n\
        - given: {repository: {name: main}}\n\
        - given: {replication-source: {name: app, of: app, into: main, trigger: {manual: one}}}\n\
        - when: {await: {synchronised: {source: app, times: 1}}}\n\
        - then: {synchronised: {source: app, times: {exactly: 2}}}\n";
    let ended = with_file("a.yaml", text, &["run", "a.yaml"]);
    assert_eq!(ended.code, 13, "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("1 times instead of"), "{}", ended.out);
}

#[test]
fn a_wait_that_never_ends_is_stalled() {
    let text = "scenario: a sync without a repository never comes\nsteps:\n\
        - given: {volume: {name: app, holding: {files: 1, size: 1 KiB}}}\n\
        - given: {repository: {name: main}}\n\
        - given: {replication-source: {name: app, of: app, into: main, trigger: {manual: one}, fields: {paused: true}}}\n\
        - when: {await: {synchronised: {source: app, times: 1}}}\n\
        - then: {synchronised: {source: app, times: {exactly: 1}}}\n";
    let ended = with_file("a.yaml", text, &["run", "a.yaml"]);
    assert_eq!(ended.code, 11, "{}{}", ended.out, ended.err);
}
