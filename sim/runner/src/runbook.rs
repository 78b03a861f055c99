//! Runbooks: what an operator does about an incident, made of the scenario's own steps.
//!
//! Promises that each kubectl line is the one that was played, and that each step says what it brought:
//! the waits and looks of the scenario that follow it. What no kubectl does (mending a NAS, a cluster of
//! disks) is a step in words, from the fault model. Plays nothing.

use fault::Row;
use scenario::{Act, Expect, Scenario, Step, phrase, step::Await};

/// One step of a runbook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Where it stands among the scenario's steps.
    pub at: usize,
    /// What it is for.
    pub why: String,
    /// The line to copy; none for what is done outside the cluster.
    pub line: Option<String>,
}

/// The runbook's steps, in order.
pub fn measures(scenario: &Scenario) -> Vec<Measure> {
    let steps = scenario.steps.iter().enumerate();
    steps
        .filter_map(|(at, step)| match step {
            Step::When(Act::Run { why, line }) => {
                let why = if why.is_empty() { "Run".to_owned() } else { upper(why) };
                Some(Measure { at, why, line: Some(line.to_string()) })
            }
            Step::When(Act::Lift(name)) => Some(Measure { at, why: mend(name), line: None }),
            Step::When(Act::RestartCsi(driver)) => {
                Some(Measure { at, why: format!("Restart the CSI driver {driver}"), line: None })
            }
            _ => None,
        })
        .collect()
}

fn mend(name: &str) -> String {
    row(name).map_or_else(
        || format!("Mend the cause ({name})"),
        |row| format!("Mend the cause, outside the cluster: {}", row.about),
    )
}

/// A fault's row in the fault model.
pub fn row(name: &str) -> Option<&'static Row> {
    fault::CATALOGUE.iter().find(|row| row.name == name)
}

/// What tells the incident: the looks and waits for words before the first measure.
pub fn symptoms(scenario: &Scenario) -> Vec<&Step> {
    let end = measures(scenario).first().map_or(scenario.steps.len(), |measure| measure.at);
    scenario.steps[..end].iter().filter(|step| symptom(step).is_some()).collect()
}

/// The words that a step looks for in what an operator sees.
pub fn symptom(step: &Step) -> Option<&str> {
    match step {
        Step::Then(
            Expect::MoverLog { contains, .. }
            | Expect::Condition { contains, .. }
            | Expect::Event { contains, .. },
        )
        | Step::When(Act::Await(Await::Event { contains, .. } | Await::Condition { contains, .. })) => {
            Some(contains)
        }
        _ => None,
    }
}

/// The runbook of a scenario as Markdown.
pub fn write(scenario: &Scenario) -> String {
    let mut text = format!("# Runbook: {}\n\n", scenario.id.as_deref().unwrap_or(&scenario.name));
    text.push_str(&format!("{}.\n\n", upper(&scenario.name)));
    if !scenario.about.is_empty() {
        text.push_str(&format!("{}\n\n", scenario.about));
    }
    let signs = symptoms(scenario);
    if !signs.is_empty() {
        text.push_str("You see:\n\n");
        signs.iter().for_each(|step| text.push_str(&format!("- {}\n", said(step))));
        text.push_str("\nYou do:\n\n");
    }
    let measures = measures(scenario);
    for (number, measure) in measures.iter().enumerate() {
        let end = measures.get(number + 1).map_or(scenario.steps.len(), |next| next.at);
        let effects: Vec<_> =
            scenario.steps[measure.at + 1..end].iter().filter(|step| is_effect(step)).map(said).collect();
        match &measure.line {
            Some(line) => {
                let line = line.replace('\n', "\n   ");
                text.push_str(&format!(
                    "{}. {}:\n\n   ```sh\n   {line}\n   ```\n\n",
                    number + 1,
                    measure.why
                ));
            }
            None => text.push_str(&format!("{}. {}.\n\n", number + 1, measure.why)),
        }
        if number + 1 < measures.len() {
            effects.iter().for_each(|effect| text.push_str(&format!("   - then: {effect}\n")));
            if !effects.is_empty() {
                text.push('\n');
            }
        } else if !effects.is_empty() {
            text.push_str("Healthy again when:\n\n");
            effects.iter().for_each(|effect| text.push_str(&format!("- {effect}\n")));
        }
    }
    text
}

const fn is_effect(step: &Step) -> bool {
    matches!(step, Step::Then(_) | Step::When(Act::Await(_)))
}

/// A step's words without its keyword.
fn said(step: &Step) -> String {
    let title = phrase::title(step);
    ["Given ", "When ", "Then "]
        .iter()
        .find_map(|keyword| title.strip_prefix(keyword))
        .unwrap_or(&title)
        .to_owned()
}

/// A text that begins with a capital.
pub fn upper(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_runbook_has_lines_to_copy_their_effects_and_signs_of_health() {
        let text = "Feature: f\n  @id:x\n  Scenario: a stuck snapshot blocks the sync\n    Given the fault \"csi-delete-snapshot-fails\"\n    When the operator runs to remove what holds it\n      \"\"\"\n      kubectl -n media delete volumesnapshot stuck\n      \"\"\"\n    Then the claim \"app\" is bound\n    When the fault \"csi-delete-snapshot-fails\" ends\n    Then \"nightly\" has synchronised once\n";
        let scenario = crate::feature::read(Path::new("x.feature"), text).unwrap().remove(0);
        let book = write(&scenario);
        assert!(
            book.contains(
                "1. Remove what holds it:\n\n   ```sh\n   kubectl -n media delete volumesnapshot stuck\n"
            ),
            "{book}"
        );
        assert!(book.contains("   - then: the claim \"app\" is bound\n"), "{book}");
        assert!(book.contains("2. Mend the cause, outside the cluster: DeleteSnapshot"), "{book}");
        assert!(book.contains("Healthy again when:\n\n- \"nightly\" has synchronised once"), "{book}");
    }
}
