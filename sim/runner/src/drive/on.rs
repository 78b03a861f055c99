//! Where a scenario is played: on a bed of its own in this process, or in its part of a real cluster.
//!
//! Plain data, so that a run can hand it to the process that plays. What the bed of a scenario asks for and a
//! cluster cannot be is found here, before anything is done.

use std::path::Path;

use scenario::{Scenario, SubjectSpec, moved::moved};
use serde::{Deserialize, Serialize};
use testbed::{
    kind::{self, Coordinates},
    verbs::Verbs,
};

use super::{Failure, Stage};

/// Scenarios with this tag show something about time itself, and need a clock that jumps.
pub const VIRTUAL_TIME: &str = "virtual-time";

/// Scenarios with this tag name things that are called after their namespace, which is another one on a cluster
/// that scenarios share.
pub const FIXED_NAMESPACE: &str = "fixed-namespace";

/// Where a scenario is played.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "there is one for each run and one for each of its scenarios")]
pub enum On {
    /// An embedded bed in virtual time.
    #[default]
    Embedded,
    /// A part of a real cluster.
    Cluster {
        /// The cluster.
        at: Coordinates,
        /// What its namespaces begin with.
        prefix: String,
        /// Whether everything stays there afterwards.
        keep: bool,
    },
}

impl On {
    /// The bed's name in reports.
    pub fn name(&self) -> &str {
        match self {
            Self::Embedded => "embedded",
            Self::Cluster { at, .. } => &at.bed,
        }
    }

    /// The place of one of many scenarios.
    #[must_use]
    pub fn nth(&self, nth: usize) -> Self {
        match self {
            Self::Embedded => Self::Embedded,
            Self::Cluster { at, prefix, keep } => {
                Self::Cluster { at: at.clone(), prefix: format!("{prefix}{nth}-"), keep: *keep }
            }
        }
    }

    /// Sets the stage for a scenario; gives the scenario as it is to be played there.
    ///
    /// # Errors
    /// The scenario asks for what this place cannot be; the place cannot be used.
    pub fn set(&self, scenario: &Scenario, record: Option<&Path>) -> Result<(Stage, Scenario), Failure> {
        let Self::Cluster { at, prefix, .. } = self else {
            return Ok((Stage::set(scenario, record)?, scenario.clone()));
        };
        can_be(scenario)?;
        let to = |namespace: &str| kind::Bed::namespace(prefix, namespace);
        let played = moved(scenario, &to).map_err(Failure::broken)?;
        let bed =
            kind::Bed::attach(at.clone(), prefix).map_err(|error| Failure::broken(error.to_string()))?;
        let bed: Box<dyn Verbs> = Box::new(bed);
        Ok((Stage::on(bed, &played, record)?, played))
    }

    /// Whether scenarios share what they are played on.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Cluster { .. })
    }

    /// Whether what the scenario made is cleared away when it is over.
    pub fn clears(&self) -> bool {
        matches!(self, Self::Cluster { keep: false, .. })
    }
}

/// What a cluster that stands already cannot be for a scenario.
fn can_be(scenario: &Scenario) -> Result<(), Failure> {
    if scenario.tags.contains(VIRTUAL_TIME) {
        return Err(Failure::unsupported("it is tagged @virtual-time: a real cluster's clock does not jump"));
    }
    if scenario.tags.contains(FIXED_NAMESPACE) {
        return Err(Failure::unsupported(
            "it is tagged @fixed-namespace: scenarios that share a cluster have namespaces of their own",
        ));
    }
    if scenario.bed.starts.is_some() {
        return Err(Failure::unsupported(
            "it begins at a certain time, and a real cluster's clock cannot be set",
        ));
    }
    match &scenario.bed.subject {
        SubjectSpec::Reference => Ok(()),
        other => Err(Failure::unsupported(format!(
            "the cluster runs the reference as its chart installs it, not the subject {}",
            super::stage::subject(other)
        ))),
    }
}
