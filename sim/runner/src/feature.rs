//! Features: scenarios spelled in Gherkin, read through the phrase table.
//!
//! Promises that a feature means what cucumber would make of it: backgrounds come first, outlines are
//! played once per row of examples, `And` continues what stands above. Tags with a value set what words
//! do not say: `@seed:7`, `@id:nfs-estale`, `@subject:original`, `@subject:saboteur:NAME`,
//! `@starts:2026-03-01T00:00:00Z`, `@class:cephfs`, `@quiet`, `@twin:its_name_with_underscores`. Every
//! other tag is a word to filter by. It opens no file.

use std::path::{Path, PathBuf};

use gherkin::{Background, Feature, GherkinEnv, StepType};
use scenario::{
    Scenario, Step, SubjectSpec,
    phrase::{self, Keyword, Sentence},
};

/// Why a feature cannot be played.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {problem}", file.display())]
pub struct Error {
    /// Which file.
    pub file: PathBuf,
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong, and how to mend it.
    pub problem: String,
}

/// Reads the scenarios of a feature.
///
/// # Errors
/// The first trouble, with file, line and cure.
pub fn read(file: &Path, text: &str) -> Result<Vec<Scenario>, Error> {
    let fail = |line, problem: String| Error { file: file.to_owned(), line, problem };
    let feature = Feature::parse(text, GherkinEnv::default()).map_err(|error| {
        // The parser keeps its position private and lists what it expected in an order of its own.
        let words = error.to_string();
        let place =
            words.split(|character: char| !character.is_ascii_digit()).find(|digits| !digits.is_empty());
        let line = place.and_then(|digits| digits.parse().ok()).unwrap_or(1);
        fail(
            line,
            "this is no Gherkin: a feature is Feature:, then Scenario:, then Given, When and Then".to_owned(),
        )
    })?;
    let mut scenarios = Vec::new();
    let rules = feature
        .rules
        .iter()
        .flat_map(|rule| rule.scenarios.iter().map(move |one| (rule.background.as_ref(), one)));
    let plain = feature.scenarios.iter().map(|one| (None, one));
    for (background, one) in plain.chain(rules) {
        for (name, steps) in expand(one) {
            let before = feature.background.iter().chain(background).flat_map(steps_of_background);
            let mut scenario = settings(&feature, one).map_err(|problem| fail(one.position.line, problem))?;
            scenario.name = name;
            for step in before.chain(steps) {
                let line = step.position.line;
                let read = read_step(&step).map_err(|problem| fail(line, problem))?;
                scenario.steps.push(read);
            }
            scenario.check().map_err(|problem| fail(one.position.line, problem))?;
            scenarios.push(scenario);
        }
    }
    if scenarios.is_empty() {
        return Err(fail(
            1,
            "the feature has no scenario: write Scenario: and the claim it shows".to_owned(),
        ));
    }
    Ok(scenarios)
}

/// A scenario without its steps: what its name, description and tags say.
///
/// # Errors
/// A tag whose value is wrong, with its cure.
pub fn settings(feature: &Feature, one: &gherkin::Scenario) -> Result<Scenario, String> {
    let mut scenario = Scenario::new(&one.name);
    scenario.feature.clone_from(&feature.name);
    scenario.about =
        squeeze(one.description.as_deref().or(feature.description.as_deref()).unwrap_or_default());
    for tag in feature.tags.iter().chain(&one.tags) {
        set_tag(&mut scenario, tag)?;
    }
    Ok(scenario)
}

/// The sentence of one Gherkin step.
pub fn sentence(step: &gherkin::Step) -> Sentence {
    let keyword = match step.ty {
        StepType::Given => Keyword::Given,
        StepType::When => Keyword::When,
        StepType::Then => Keyword::Then,
    };
    Sentence {
        keyword,
        text: step.value.clone(),
        rows: step.table.as_ref().map(|table| table.rows.clone()).unwrap_or_default(),
        doc: step.docstring.as_ref().map(|doc| doc.trim_matches('\n').to_owned()),
    }
}

fn read_step(step: &gherkin::Step) -> Result<Step, String> {
    phrase::read(&sentence(step)).map_err(|error| error.to_string())
}

fn steps_of_background(background: &Background) -> Vec<gherkin::Step> {
    background.steps.clone()
}

/// The scenario itself, or one per row of its examples.
fn expand(scenario: &gherkin::Scenario) -> Vec<(String, Vec<gherkin::Step>)> {
    if scenario.examples.is_empty() {
        return vec![(scenario.name.clone(), scenario.steps.clone())];
    }
    let mut expanded = Vec::new();
    for table in scenario.examples.iter().filter_map(|examples| examples.table.as_ref()) {
        let Some((head, rows)) = table.rows.split_first() else { continue };
        for row in rows {
            let fill = |text: &str| {
                head.iter()
                    .zip(row)
                    .fold(text.to_owned(), |text, (key, value)| text.replace(&format!("<{key}>"), value))
            };
            let mut steps = scenario.steps.clone();
            for step in &mut steps {
                step.value = fill(&step.value);
                step.docstring = step.docstring.as_deref().map(fill);
                for cell in step.table.iter_mut().flat_map(|table| table.rows.iter_mut().flatten()) {
                    *cell = fill(cell);
                }
            }
            let mut name = fill(&scenario.name);
            if name == scenario.name {
                name = format!("{name} ({})", row.join(", "));
            }
            expanded.push((name, steps));
        }
    }
    expanded
}

fn set_tag(scenario: &mut Scenario, tag: &str) -> Result<(), String> {
    let (key, value) = tag.split_once(':').unwrap_or((tag, ""));
    match key {
        "seed" => {
            scenario.seed =
                value.parse().map_err(|_| format!("@{tag}: a seed is a whole number, as in @seed:7"))?;
        }
        "id" => scenario.id = Some(value.to_owned()),
        "twin" => scenario.twin = Some(value.replace('_', " ")),
        "class" => scenario.bed.default_class = Some(value.to_owned()),
        "quiet" => scenario.bed.quiet = true,
        "starts" => {
            let starts = value
                .parse()
                .map_err(|_| format!("@{tag}: write a time, as in @starts:2026-03-01T00:00:00Z"))?;
            scenario.bed.starts = Some(starts);
        }
        "subject" => {
            scenario.bed.subject = match value.split_once(':') {
                None if value == "reference" => SubjectSpec::Reference,
                None if value == "original" => SubjectSpec::Original,
                None if value == "none" => SubjectSpec::None,
                Some(("saboteur", name)) => SubjectSpec::Saboteur(name.to_owned()),
                _ => {
                    return Err(format!(
                        "@{tag}: known subjects are reference, original, none and saboteur:NAME"
                    ));
                }
            }
        }
        _ => {
            scenario.tags.insert(tag.to_owned());
        }
    }
    Ok(())
}

fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEATURE: &str = r#"
@nightly
Feature: Nightly backups
  A promise.

  Background:
    Given a repository "main"

  @seed:7 @K01
  Scenario: One night
    Given a volume "app" holding 3 files and 1 MiB from seed 1
    When 24 hours pass
    Then the repository "main" verifies

  Scenario Outline: <days> days
    When <days> days pass
    Then the repository "main" verifies
    Examples:
      | days |
      | 2    |
      | 3    |
"#;

    #[test]
    fn a_feature_means_what_cucumber_makes_of_it() {
        let scenarios = read(Path::new("x.feature"), FEATURE).unwrap();
        let shown: Vec<_> =
            scenarios.iter().map(|one| (one.name.as_str(), one.seed, one.steps.len())).collect();
        assert_eq!(shown, [("One night", 7, 4), ("2 days", 1, 3), ("3 days", 1, 3)]);
        assert!(scenarios[0].tags.contains("K01") && scenarios[0].tags.contains("nightly"));
        assert_eq!(scenarios[0].about, "A promise.");
    }

    #[test]
    fn trouble_is_told_with_file_line_and_cure() {
        for (text, line, words) in [
            ("Scenario: x", 2, "this is no Gherkin"),
            ("Feature: f\n", 1, "no scenario"),
            ("Feature: f\n Scenario: s\n  Given a horse\n  Then nothing", 3, "no phrase fits"),
            ("Feature: f\n Scenario: s\n  When 24 hours pass\n", 2, "no step looks"),
            ("Feature: f\n @seed:x\n Scenario: s\n  When 24 hours pass\n", 3, "@seed:7"),
            (
                "Feature: f\n Scenario: s\n  Given the fault \"cosmic-ray\"\n  Then the fault \"cosmic-ray\" has fired",
                2,
                "known are",
            ),
        ] {
            let error = read(Path::new("x.feature"), text).unwrap_err();
            assert!(error.problem.contains(words), "{text:?}: {error}");
            assert_eq!(error.line, line, "{text:?}: {error}");
        }
    }
}
