//! Drills real manifests: a sound repository comes back, and a broken one does not, for the right reason.
//!
//! Each test breaks one thing in a copy of the fixture, and looks at the verdict and at the reason. The
//! corpus beside the workspace is used when it is there, and its absence is printed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser;
use gitops::{Input, Options, read};
use runner::drill::certificate::{Certificate, Verdict};
use runner::drill::{Args, Drilled, Format, Screen, hold};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../gitops/tests/fixtures/home")
}

/// Holds a drill as the command would.
fn drill(path: &Path, flags: &[&str]) -> Drilled {
    let words = [&["drill", path.to_str().unwrap()], flags].concat();
    let args = Line::parse_from(words).args;
    let options = Options { variables: args.set.iter().cloned().collect(), ..Options::default() };
    let model = read(vec![Input::Path(path.to_owned())], &options).unwrap();
    hold(&args, &model, jiff::civil::date(2026, 11, 21), &Screen::silent()).unwrap()
}

fn certificate<'a>(drilled: &'a Drilled, app: &str) -> &'a Certificate {
    drilled
        .statement
        .certificates
        .iter()
        .find(|certificate| certificate.app.ends_with(&format!("/{app}")))
        .unwrap_or_else(|| panic!("no certificate for {app}"))
}

fn text(drilled: &Drilled) -> String {
    drilled.statement.text(Format::Terminal)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::write(target, std::fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

/// A copy of a repository with one text replaced in one file.
fn broken(from: &Path, file: &str, old: &str, new: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    copy(from, directory.path());
    let path = directory.path().join(file);
    let before = std::fs::read_to_string(&path).unwrap();
    assert!(before.contains(old), "{file} does not hold {old:?}");
    std::fs::write(path, before.replacen(old, new, 1)).unwrap();
    directory
}

/// What a broken repository must be told, and nothing else is.
#[track_caller]
fn must_fail(directory: &Path, app: &str, parts: &[&str]) {
    let drilled = drill(directory, &["--days", "1", "--app", app]);
    let certificate = certificate(&drilled, app.rsplit('/').next().unwrap());
    assert_eq!((certificate.verdict, drilled.code), (Verdict::NotProtected, 13), "{}", text(&drilled));
    let because = certificate.because.join("\n");
    for part in parts {
        assert!(because.contains(part), "{part:?} is not among the reasons:\n{because}");
    }
}

#[test]
fn a_sound_repository_comes_back_byte_for_byte() {
    let drilled = drill(&home(), &["--days", "2"]);
    assert_eq!(drilled.code, 0, "{}", text(&drilled));
    for app in ["notes", "photos", "wiki"] {
        let certificate = certificate(&drilled, app);
        assert_eq!(certificate.verdict, Verdict::Protected, "{}", text(&drilled));
        assert!(
            certificate.syncs >= 8
                && certificate.claims[0].files > 40
                && certificate.claims[0].rto_seconds.is_some(),
            "{certificate:#?}"
        );
        assert!(
            !certificate.claims[0].losses.is_empty(),
            "hard links are in the tree and the format cannot carry them"
        );
    }
    assert_eq!(certificate(&drilled, "photos").claims[0].rpo_worst_seconds / 3600, 6);
    for format in [Format::Json, Format::Markdown] {
        assert!(drilled.statement.text(format).contains("office/photos"));
    }
}

#[test]
fn the_same_seed_gives_the_same_record() {
    let record = || drill(&home(), &["--days", "1", "--app", "notes", "--seed", "7"]).records;
    assert_eq!(record(), record());
}

const DESTINATION: &str = "kubernetes/components/kopia/destination.yaml";

#[test]
fn a_broken_source_identity_flips_the_verdict() {
    let directory = broken(&home(), DESTINATION, "    sourceIdentity:\n      sourceName: ${APP}\n", "");
    must_fail(directory.path(), "notes", &["notes-dst@office:/data", "notes@office:/data"]);
}

#[test]
fn a_broken_data_source_flips_the_verdict() {
    let directory =
        broken(&home(), "kubernetes/components/kopia/claim.yaml", "name: ${APP}-dst", "name: ${APP}");
    must_fail(
        directory.path(),
        "notes",
        &["ReplicationDestination/notes does not exist", "is to be filled by ReplicationDestination notes"],
    );
}

#[test]
fn a_broken_password_flips_the_verdict() {
    let directory = broken(&home(), DESTINATION, "repository: ${APP}-kopia", "repository: ${APP}-restore");
    let secret =
        std::fs::read_to_string(directory.path().join("kubernetes/components/kopia/secret.yaml")).unwrap();
    let other = secret
        .replace("${APP}-kopia", "${APP}-restore")
        .replace("{{ .KOPIA_PASSWORD }}", "{{ .OLD_PASSWORD }}");
    std::fs::write(
        directory.path().join("kubernetes/components/kopia/secret.yaml"),
        format!("{secret}---\n{other}"),
    )
    .unwrap();
    must_fail(directory.path(), "notes", &["password"]);
}

#[test]
fn a_schedule_that_only_the_crd_accepts_flips_the_verdict() {
    let directory =
        broken(&home(), "kubernetes/components/kopia/source.yaml", "${SCHEDULE:=0 * * * *}", "H 10 * * *");
    must_fail(directory.path(), "notes", &["the controller does not"]);
}

#[test]
fn what_nobody_backs_up_fails_unless_it_is_accepted() {
    let directory =
        broken(&home(), "kubernetes/components/kopia/kustomization.yaml", "  - ./source.yaml\n", "");
    let drilled = drill(directory.path(), &["--days", "1", "--app", "notes"]);
    assert_eq!(
        (certificate(&drilled, "notes").verdict, drilled.code),
        (Verdict::NotProtected, 13),
        "{}",
        text(&drilled)
    );
    let accepted = |flag: &str| drill(directory.path(), &["--days", "1", "--app", "notes", "--accept", flag]);
    let drilled = accepted("office/notes=can be made again,until=2027-01-01");
    assert_eq!(
        (certificate(&drilled, "notes").verdict, drilled.code),
        (Verdict::Accepted, 0),
        "{}",
        text(&drilled)
    );
    let drilled = accepted("office/notes=can be made again,until=2026-01-01");
    assert_eq!(
        (certificate(&drilled, "notes").verdict, drilled.code),
        (Verdict::NotProtected, 13),
        "an acceptance that ran out accepts nothing"
    );
}

#[test]
fn an_unset_variable_makes_an_app_unknown_by_name() {
    let directory =
        broken(&home(), "kubernetes/components/kopia/claim.yaml", "${CLASS:=ceph-block}", "${CLUSTER_CLASS}");
    let drilled = drill(directory.path(), &["--days", "1", "--app", "notes"]);
    let certificate = certificate(&drilled, "notes");
    assert_eq!((certificate.verdict, drilled.code), (Verdict::Unknown, 10));
    assert!(
        certificate.because[0].contains("CLUSTER_CLASS") && certificate.because[0].contains("--set"),
        "{:?}",
        certificate.because
    );
}

#[test]
fn yesterday_comes_back_when_it_is_asked_for() {
    let drilled = drill(&home(), &["--days", "2", "--app", "notes", "--as-of", "20h"]);
    assert_eq!(drilled.code, 0, "{}", text(&drilled));
    assert!(
        certificate(&drilled, "notes").claims[0]
            .moment
            .as_ref()
            .is_some_and(|moment| moment.starts_with("2026-01-06T0")),
        "{:?}",
        certificate(&drilled, "notes").claims[0].moment
    );
}

fn corpus() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let named = std::env::var_os("FIREDRILL_CORPUS").map(PathBuf::from);
    [named, Some(root.join("../shared/corpus"))].into_iter().flatten().find(|path| path.is_dir())
}

/// Drills one app that the manifests protect; `firedrill drill` plays them all.
fn is_restored(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy();
    let model = read(vec![Input::Path(path.to_owned())], &Options::default()).unwrap();
    let sound = model.apps.iter().find(|app| {
        app.unknown.is_empty()
            && !app.sources.is_empty()
            && app.problems.iter().all(|problem| problem.severity < gitops::model::Severity::Error)
    });
    let Some(app) = sound else {
        println!("{name}: no app with a Kopia backup and a way back");
        return false;
    };
    let drilled = drill(path, &["--days", "1", "--app", &app.key.to_string()]);
    let certificate = &drilled.statement.certificates[0];
    println!("{name}: {}: {}", certificate.app, certificate.verdict.words());
    certificate.verdict == Verdict::Protected && certificate.claims.iter().all(|claim| claim.files > 0)
}

#[test]
fn repositories_of_the_corpus_are_drilled_to_restored_bytes() {
    let Some(corpus) = corpus() else {
        println!("skipped: no corpus at ../shared/corpus and FIREDRILL_CORPUS is not set");
        return;
    };
    let mut names: Vec<PathBuf> = std::fs::read_dir(&corpus)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    names.sort();
    let next = AtomicUsize::new(0);
    let restored = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                while let Some(path) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    restored.fetch_add(usize::from(is_restored(path)), Ordering::Relaxed);
                }
            });
        }
    });
    let restored = restored.into_inner();
    assert!(restored >= 12, "only {restored} repositories came back");
    let onedr0p = corpus.join("onedr0p__home-ops");
    let component = "kubernetes/components/volsync";
    let directory = broken(
        &onedr0p,
        &format!("{component}/replicationdestination.yaml"),
        "    sourceIdentity:\n      sourceName: ${APP}\n",
        "",
    );
    must_fail(directory.path(), "default/sonarr", &["sonarr-dst@default:/data", "sonarr@default:/data"]);
    let directory =
        broken(&onedr0p, &format!("{component}/pvc.yaml"), "name: ${APP}-dst", "name: ${APP}-other");
    must_fail(directory.path(), "default/sonarr", &["ReplicationDestination/sonarr-other does not exist"]);
    let directory = broken(
        &onedr0p,
        &format!("{component}/replicationdestination.yaml"),
        "repository: ${APP}-volsync-secret",
        "repository: ${APP}-old",
    );
    let secret =
        std::fs::read_to_string(directory.path().join(component).join("externalsecret.yaml")).unwrap();
    let other = secret
        .trim_start_matches("---\n")
        .replace("${APP}-volsync", "${APP}-old")
        .replace("${APP}-old-secret", "${APP}-old")
        .replace("{{ .KOPIA_PASSWORD }}", "{{ .OTHER_PASSWORD }}");
    std::fs::write(
        directory.path().join(component).join("externalsecret.yaml"),
        format!("{secret}---\n{other}"),
    )
    .unwrap();
    must_fail(directory.path(), "default/sonarr", &["password"]);
}
