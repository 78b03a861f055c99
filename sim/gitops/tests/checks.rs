//! Every check has a fixture that trips it, and a sound repository trips none.

use std::path::{Path, PathBuf};

use gitops::check::TABLE;
use gitops::model::{Problem, Severity};
use gitops::{Input, Model, Options, read};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checks").join(format!("{name}.yaml"))
}

fn model(name: &str) -> Model {
    read(vec![Input::Path(fixture(name))], &Options::default()).unwrap()
}

fn findings(model: &Model) -> Vec<Problem> {
    model.problems.iter().chain(model.apps.iter().flat_map(|app| &app.problems)).cloned().collect()
}

#[test]
fn a_sound_repository_has_no_finding() {
    let model = model("sound");
    assert_eq!(findings(&model), []);
    assert_eq!(model.apps.len(), 1);
}

#[test]
fn every_check_is_tripped_by_its_fixture_and_by_nothing_worse() {
    for check in TABLE {
        let all = findings(&model(check.id));
        let own: Vec<&Problem> = all.iter().filter(|problem| problem.id == check.id).collect();
        assert!(!own.is_empty(), "{}: its fixture does not trip it: {all:#?}", check.id);
        assert!(
            own.iter().all(|problem| !problem.cure.is_empty() && !problem.message.is_empty()),
            "{}: a finding without cure",
            check.id
        );
        assert!(
            own.iter().map(|problem| problem.severity).max() <= Some(check.severity),
            "{}: worse than its row says",
            check.id
        );
        let placed = own.iter().filter(|problem| problem.origin.is_some()).count();
        assert!(
            placed == own.len() || ["no-maintenance", "other-repository"].contains(&check.id),
            "{}: a finding without a place",
            check.id
        );
    }
}

#[test]
fn every_fixture_belongs_to_a_check() {
    let mut names: Vec<String> = std::fs::read_dir(fixture("x").parent().unwrap())
        .unwrap()
        .flatten()
        .map(|entry| entry.path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.retain(|name| name != "sound");
    names.sort();
    let mut ids: Vec<&str> = TABLE.iter().map(|check| check.id).collect();
    ids.sort_unstable();
    assert_eq!(names, ids);
}

#[test]
fn wrong_types_and_unknown_fields_are_findings_and_no_abort() {
    let text = std::fs::read_to_string(fixture("sound")).unwrap();
    for (from, to, part, severity) in [
        ("copyMethod: Snapshot", "copyMethod: Snapshott", "use one of", Severity::Error),
        ("hourly: 24", "hourly: many", "type integer", Severity::Error),
        (
            "    capacity: 1Gi",
            "    restoreTime: x\n    capacity: 1Gi",
            "restoreTime is not a field",
            Severity::Warning,
        ),
        (
            "  repository:\n    repository: notes-kopia",
            "  repository: notes-kopia",
            "type object",
            Severity::Error,
        ),
    ] {
        assert!(text.contains(from), "{from}");
        let changed = text.replacen(from, to, 1);
        let model = read(
            vec![Input::Stream { name: "-".into(), reader: Box::new(std::io::Cursor::new(changed)) }],
            &Options::default(),
        )
        .unwrap();
        let found = findings(&model).into_iter().find(|problem| {
            problem.id == "unknown-field" && format!("{} {}", problem.message, problem.cure).contains(part)
        });
        assert_eq!(
            found.as_ref().map(|problem| problem.severity),
            Some(severity),
            "{to}: {:#?}",
            findings(&model)
        );
        assert_eq!(model.apps.len(), 1, "{to}: the app is still read");
    }
}
