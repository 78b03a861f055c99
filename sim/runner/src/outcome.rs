//! The outcome of a scenario: what a child process hands to its parent, and what reports are made of.
//!
//! Plain data. Real time stands only here, never in the record, so that records stay equal from run to
//! run. It judges nothing: verdicts come from `drive`.

use jiff::Timestamp;
use scenario::Verdict;
use serde::{Deserialize, Serialize};

use crate::timeline::Timeline;

/// What came of playing one scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The claim.
    pub scenario: String,
    /// One sentence about it.
    pub about: String,
    /// The feature it belongs to.
    pub feature: String,
    /// The incident it reproduces.
    pub id: Option<String>,
    /// The file it stands in.
    pub file: String,
    /// The seed it was played with.
    pub seed: u64,
    /// The bed that it was played on.
    #[serde(default = "embedded")]
    pub bed: String,
    /// Who was put to the test.
    pub subject: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Why; empty if everything was as expected.
    pub reason: String,
    /// When the bed started, in virtual time.
    pub starts: Timestamp,
    /// When it ended.
    pub ends: Timestamp,
    /// Real time in milliseconds.
    pub real_ms: u64,
    /// The steps.
    pub steps: Vec<StepOutcome>,
    /// The faults that were armed.
    pub faults: Vec<FaultOutcome>,
    /// What differed and was declared beforehand, because the format cannot carry it.
    pub losses: Vec<String>,
    /// Syncs that counted.
    pub syncs: u32,
    /// Events in the record.
    pub events: u64,
    /// SHA-256 of the record.
    pub digest: String,
    /// What a picture of the run needs.
    pub timeline: Timeline,
}

fn embedded() -> String {
    "embedded".to_owned()
}

impl Outcome {
    /// Virtual time in seconds.
    pub fn virtual_seconds(&self) -> u64 {
        u64::try_from(self.ends.duration_since(self.starts).as_secs()).unwrap_or(0)
    }

    /// The command that plays it again.
    pub fn replay(&self) -> String {
        let bed = if self.bed == embedded() { String::new() } else { format!(" --bed {}", self.bed) };
        format!("firedrill run {} --filter '{}' --seed {}{bed}", self.file, self.scenario, self.seed)
    }
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepOutcome {
    /// Its words.
    pub text: String,
    /// Whether it went well; none if it was not reached.
    pub passed: Option<bool>,
    /// When it began, in virtual time.
    pub at: Timestamp,
    /// What was seen.
    pub detail: String,
    /// Lines of the record from its time.
    pub evidence: Vec<Evidence>,
    /// How many more there are in the record.
    pub evidence_more: u64,
}

/// One line of evidence, taken from the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Sequence number in the record.
    pub sequence: u64,
    /// Virtual time.
    pub at: Timestamp,
    /// What kind of line: `event`, `condition`, `log`, `job`, `fault`, `object`, `verdict`, `note`.
    pub class: String,
    /// The line.
    pub text: String,
}

/// What came of a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultOutcome {
    /// Its name.
    pub name: String,
    /// How often it fired.
    pub fired: u64,
}
