//! Every broken subject has a scenario that must catch it, and a sound twin that must pass.
//!
//! `firedrill run` plays them; here is checked that none is missing, that each says which oracle is meant
//! to catch it, and that the twin differs in nothing but the subject. A scenario whose saboteur is not
//! caught fails its run: that judgement is tested beside `runner::drive`.

use std::fs;

use acceptance::binary::root;
use scenario::{Scenario, SubjectSpec, Verdict, yaml};
use testbed::subject::saboteur;

/// What is wrong with the scenarios about one saboteur.
fn trouble(name: &str, scenarios: &[Scenario]) -> Vec<String> {
    let [negative, twin] = scenarios else {
        return vec![format!("{name}: {} scenarios instead of two", scenarios.len())];
    };
    let mut trouble = Vec::new();
    let mut expect = |is_so: bool, what: &str| {
        if !is_so {
            trouble.push(format!("{name}: {what}"));
        }
    };
    expect(negative.bed.subject == SubjectSpec::Saboteur(name.to_owned()), "the first is not about it");
    expect(negative.twin.as_deref() == Some(twin.name.as_str()), "the first does not name its twin");
    let proof = negative.proof.as_ref();
    expect(
        proof.is_some_and(|proof| matches!(proof.verdict, Verdict::Violated | Verdict::Crashed)),
        "nothing must be violated or crash",
    );
    expect(proof.is_some_and(|proof| proof.oracle.is_some()), "no oracle is meant to catch it");
    expect(proof.is_some_and(|proof| proof.because.len() > 4), "no reason is demanded");
    expect(
        twin.bed.subject == SubjectSpec::Reference && twin.proof.is_none(),
        "the twin's subject is not the reference",
    );
    expect(twin.steps == negative.steps && twin.seed == negative.seed, "the twin is another story");
    trouble
}

#[test]
fn every_saboteur_has_its_scenario_and_its_twin() {
    let mut found = Vec::new();
    for row in saboteur::ALL {
        let file = root().join("scenarios/negative").join(format!("{}.yaml", row.name.replace('-', "_")));
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        found.extend(trouble(row.name, &yaml::read(&file, &text).unwrap()));
    }
    assert_eq!(found, Vec::<String>::new());
    let files = fs::read_dir(root().join("scenarios/negative")).unwrap().count();
    assert_eq!(files, saboteur::ALL.len(), "a file there is about no saboteur");
}

#[test]
fn a_twin_that_tells_another_story_is_seen() {
    let file = root().join("scenarios/negative/phantom_sync.yaml");
    let mut scenarios = yaml::read(&file, &fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(trouble("phantom-sync", &scenarios), Vec::<String>::new());
    scenarios[1].steps.pop();
    scenarios[0].proof = None;
    assert_eq!(trouble("phantom-sync", &scenarios).len(), 4);
    assert_eq!(trouble("other", &scenarios[..1]).len(), 1);
}
