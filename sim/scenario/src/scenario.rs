//! A scenario: a claim, the bed it needs, and the steps that show it.
//!
//! Its name is the claim, so that a list of names reads as a list of promises. It says which bed and
//! subject it needs, which verdict proves the claim (for a broken subject that is not `passed`), and
//! which scenario is its twin without the fault. It holds no result and runs nothing.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    step::{Build, Step},
    verdict::Verdict,
};

/// One claim and how it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// The claim.
    #[serde(rename = "scenario")]
    pub name: String,
    /// One sentence about what it shows.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// The feature it belongs to; of a YAML file, its folder.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub feature: String,
    /// The incident that it reproduces, as the catalogue names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Words to filter by; case numbers such as `K01`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    /// Everything random comes from it.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// The bed it needs.
    #[serde(default, skip_serializing_if = "BedSpec::is_default")]
    pub bed: BedSpec,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// What proves the claim, if it is not that everything passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    /// The same without the fault, which passes for the right reason: a scenario's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twin: Option<String>,
}

const fn default_seed() -> u64 {
    1
}

impl Scenario {
    /// A scenario with nothing in it but its claim.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            about: String::new(),
            feature: String::new(),
            id: None,
            tags: BTreeSet::new(),
            seed: default_seed(),
            bed: BedSpec::default(),
            steps: Vec::new(),
            proof: None,
            twin: None,
        }
    }

    /// Finds what serde cannot: no steps, faults that nobody knows, a proof that proves nothing.
    ///
    /// # Errors
    /// A sentence with its cure.
    pub fn check(&self) -> Result<(), String> {
        if self.name.trim().is_empty() {
            return Err("the scenario has no name: write the claim that it shows".to_owned());
        }
        if self.steps.is_empty() {
            return Err("the scenario has no steps: nothing would be shown".to_owned());
        }
        if !self.steps.iter().any(|step| matches!(step, Step::Then(_))) {
            return Err("no step looks at anything: add one that begins with then".to_owned());
        }
        for fault in self.faults() {
            fault.fault()?;
        }
        if self.proof.as_ref().is_some_and(|proof| proof.verdict == Verdict::Passed) {
            return Err("a proof by `passed` is what every scenario has: leave it out".to_owned());
        }
        Ok(())
    }

    /// The faults that its steps arm, in order.
    pub fn faults(&self) -> impl Iterator<Item = &crate::step::FaultSpec> {
        self.steps.iter().filter_map(|step| match step {
            Step::Given(Build::Fault(fault)) | Step::When(crate::step::Act::Create(Build::Fault(fault))) => {
                Some(fault)
            }
            _ => None,
        })
    }
}

/// Which verdict proves the claim of a scenario about a broken subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Proof {
    /// The verdict that must come.
    pub verdict: Verdict,
    /// Text that its reason must contain.
    pub because: String,
    /// The oracle that must say so: the name under which the record has its verdicts. Any if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oracle: Option<String>,
}

/// What a scenario needs of its bed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct BedSpec {
    /// Whose promises are put to the test.
    #[serde(skip_serializing_if = "SubjectSpec::is_default")]
    pub subject: SubjectSpec,
    /// The virtual time at which it starts; 2026-01-01T00:00:00Z if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts: Option<Timestamp>,
    /// The storage class of claims that name none; `rbd` if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_class: Option<String>,
    /// For long runs: keep log lines and blob operations out of the record.
    #[serde(skip_serializing_if = "is_false")]
    pub quiet: bool,
}

impl BedSpec {
    /// Whether nothing special is needed.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Whose promises are put to the test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum SubjectSpec {
    /// The reference.
    #[default]
    Reference,
    /// The reference with the original operator's profile, unsafe parts included.
    Original,
    /// A broken subject, by name.
    Saboteur(String),
    /// No controller.
    None,
}

impl SubjectSpec {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
