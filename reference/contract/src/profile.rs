//! The compatibility policy of the subject: safe, or as the original does.
//!
//! A profile changes behaviour only where the original operator loses data or reports a success that did
//! not happen; the README's table lists each difference. It is not a test switch.
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How the subject behaves where the original operator loses data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// The safe behaviour (default).
    #[default]
    Safe,
    /// As VolSync's Kopia fork behaves, unsafe parts included.
    Original,
}

impl Profile {
    /// The word used in the environment.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::Original => "original",
        }
    }
    /// Whether this is [`Profile::Original`].
    pub fn is_original(self) -> bool {
        self == Self::Original
    }
}

impl FromStr for Profile {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "safe" => Ok(Self::Safe),
            "original" => Ok(Self::Original),
            _ => Err(()),
        }
    }
}
