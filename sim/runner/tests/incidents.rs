//! Incidents from outside: every listed one is reproduced, its story quotes its record and nothing else,
//! and without the mechanism its symptoms vanish.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use runner::{input, runbook};
use scenario::{Scenario, SubjectSpec};
use testbed::record::{Event, What};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn firedrill(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_firedrill")).args(arguments).current_dir(root()).output().unwrap()
}

/// The scenarios of each incident, in the order in which they are played.
fn incidents() -> BTreeMap<String, Vec<Scenario>> {
    let found = input::load(&[root().join("features"), root().join("scenarios")]).unwrap();
    let mut incidents: BTreeMap<String, Vec<Scenario>> = BTreeMap::new();
    for scenario in found.into_iter().map(|found| found.scenario) {
        if let Some(id) = scenario.id.clone() {
            incidents.entry(id).or_default().push(scenario);
        }
    }
    incidents
}

/// What an operator sees of an event, in the words that a story quotes.
fn seen(event: &Event) -> Option<String> {
    let text = match &event.what {
        What::ClusterEvent { class, reason, object, message, .. } => {
            format!("{class} {reason} {object}: {message}\n{reason}: {message}")
        }
        What::Condition { object, class, status, reason, message, .. } => {
            format!("{object} {class}={status} {reason}: {message}")
        }
        What::MoverLog { pod, line, .. } => format!("{pod}: {line}"),
        _ => return None,
    };
    Some(text.replace('\n', " "))
}

fn record(out: &Path, at: usize) -> Vec<String> {
    let text = fs::read_to_string(out.join("records").join(format!("{at:03}.ndjson"))).unwrap();
    let events = text.lines().map(|line| serde_json::from_str::<Event>(line).unwrap());
    events.filter_map(|event| seen(&event)).collect()
}

#[test]
fn every_incident_is_reproduced_from_its_record_and_vanishes_with_its_mechanism() {
    let folder = tempfile::tempdir().unwrap();
    let incidents = incidents();
    assert!(incidents.len() >= 14, "{:?}", incidents.keys());
    let mut twins = 0;
    for (id, scenarios) in &incidents {
        let out = folder.path().join(id);
        let ended = firedrill(&["reproduce", id, "--out", out.to_str().unwrap()]);
        let story = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert_eq!(ended.status.code(), Some(0), "{id}: {story}{}", String::from_utf8_lossy(&ended.stderr));
        let records: Vec<_> = (0..scenarios.len()).map(|at| record(&out, at)).collect();

        let known: BTreeSet<_> = records.iter().flatten().map(String::as_str).collect();
        for line in story.lines() {
            let quote = ["condition  ", "event      ", "log        "]
                .iter()
                .find_map(|class| line.get(10..)?.strip_prefix(class));
            if let Some(quote) = quote {
                let stands = known.contains(quote) || known.iter().any(|text| text.starts_with(quote));
                assert!(stands, "{id}: {quote:?} is not in the record");
            }
        }

        for (scenario, record) in scenarios.iter().zip(&records) {
            let Some(twin) = &scenario.twin else { continue };
            let at = scenarios.iter().position(|other| other.name == *twin);
            let at = at.unwrap_or_else(|| {
                panic!("{id}: {:?} names the twin {twin:?}, which does not exist", scenario.name)
            });
            let symptoms: Vec<_> =
                runbook::symptoms(scenario).into_iter().filter_map(runbook::symptom).collect();
            assert!(
                !symptoms.is_empty(),
                "{id}: {:?} shows nothing that an operator would see",
                scenario.name
            );
            for symptom in symptoms {
                assert!(record.iter().any(|text| text.contains(symptom)), "{id}: nobody says {symptom:?}");
                let again = records[at].iter().find(|text| text.contains(symptom));
                assert_eq!(again, None, "{id}: {symptom:?} is said without the mechanism too");
            }
            twins += 1;
        }
    }
    assert!(twins >= 12, "only {twins} incidents have a twin");
}

#[test]
fn where_the_original_is_unsafe_its_profile_shows_it_and_is_caught() {
    let incidents = incidents();
    for id in [
        "mover-sigterm-reported-successful",
        "restore-empty-success",
        "restore-identity-mismatch",
        "nfs-wrong-or-empty-export",
        "cephfs-tentacle-writeback-einval-zeroing",
    ] {
        let original = incidents[id].iter().filter(|scenario| scenario.bed.subject == SubjectSpec::Original);
        let caught = original.filter(|scenario| scenario.proof.is_some()).count();
        assert!(caught > 0, "{id}: no scenario shows what the original does");
    }
}

#[test]
fn an_unknown_id_is_one_error_with_the_nearest_names() {
    let ended = firedrill(&["reproduce", "nfs-estal"]);
    let error = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(4), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("\"nfs-estal\"") && error.contains("nfs-estale"), "{error}");
}

#[test]
fn a_runbook_has_what_to_look_for_what_to_do_and_what_it_brings() {
    let ended = firedrill(&["reproduce", "csi-hung-op-lock", "--runbook"]);
    let book = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert_eq!(ended.status.code(), Some(0), "{book}");
    for words in [
        "# Runbook: csi-hung-op-lock",
        "You see:",
        "```sh\n   kubectl -n rook-ceph rollout restart deployment csi-rbdplugin-provisioner\n",
        "Healthy again when:",
    ] {
        assert!(book.contains(words), "{words:?} is missing in:\n{book}");
    }
}
