//! What a run of a scenario comes to, and the exit code of each.
//!
//! Ordered from good to worst, so that the worst of many is their maximum. A process that ran many
//! scenarios ends with the code of the worst; codes are promised to users and never change their meaning.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The outcome of a scenario. The order is that of badness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything expected was so.
    Passed,
    /// This pair of bed and subject cannot play it; nothing was shown either way.
    Unsupported,
    /// Something that was waited for did not come in time.
    Stalled,
    /// The subject ended where it must not.
    Crashed,
    /// Wrong, lost or leaked data, false success, or an expectation that did not hold.
    Violated,
    /// The harness itself failed; the run says nothing about the subject.
    Broken,
}

impl Verdict {
    /// The exit code of a process of which this is the worst verdict.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Unsupported => 10,
            Self::Stalled => 11,
            Self::Crashed => 12,
            Self::Violated => 13,
            Self::Broken => 14,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Unsupported => "unsupported",
            Self::Stalled => "stalled",
            Self::Crashed => "crashed",
            Self::Violated => "violated",
            Self::Broken => "broken",
        })
    }
}
