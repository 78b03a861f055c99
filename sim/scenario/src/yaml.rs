//! YAML: the spelling of scenarios for the weather.
//!
//! A file holds one scenario or several (documents). Unknown fields are refused, numbers such as `0644`
//! are octal as in YAML 1.1, and every error names file, line and cure. It reads text that it is given
//! and opens no file.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Scenario, Step};

/// Why a file is no scenario.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {problem}", file.display())]
pub struct Error {
    /// Which file.
    pub file: PathBuf,
    /// Which line, from 1.
    pub line: u64,
    /// What is wrong, and how to mend it.
    pub problem: String,
}

/// Reads the scenarios of a file.
///
/// # Errors
/// The first trouble, with file, line and cure.
pub fn read(file: &Path, text: &str) -> Result<Vec<Scenario>, Error> {
    let fail = |line, problem| Error { file: file.to_owned(), line, problem };
    let scenarios: Vec<Scenario> =
        serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| {
            let line = error.location().map_or(1, |location| location.line());
            fail(line, cure(&error.without_snippet().to_string()))
        })?;
    if scenarios.is_empty() {
        return Err(fail(1, "the file is empty: write scenario: and the claim it shows".to_owned()));
    }
    for scenario in &scenarios {
        let line = text
            .lines()
            .position(|line| line.contains(scenario.name.as_str()) && line.starts_with("scenario:"));
        scenario.check().map_err(|problem| fail(line.map_or(1, |line| line as u64 + 1), problem))?;
    }
    Ok(scenarios)
}

/// Writes a scenario.
pub fn write(scenario: &Scenario) -> String {
    to_text(scenario)
}

/// Writes one step.
pub fn write_step(step: &Step) -> String {
    to_text(step)
}

/// Reads one step.
///
/// # Errors
/// What is wrong, in a sentence.
pub fn read_step(text: &str) -> Result<Step, String> {
    from_text(text)
}

fn to_text(value: &impl Serialize) -> String {
    serde_saphyr::to_string(value).expect("a scenario is plain data")
}

fn from_text<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
    serde_saphyr::from_str_with_options(text, options())
        .map_err(|error| cure(&error.without_snippet().to_string()))
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! { legacy_octal_numbers: true }
}

fn cure(message: &str) -> String {
    if message.contains("unknown field") || message.contains("unknown variant") {
        format!("{message}; see `firedrill run --phrases` for what there is")
    } else {
        message.to_owned()
    }
}
