//! The subject: whose promises the bed puts to the test.
//!
//! The reference runs in process; `None` leaves the cluster without a controller, for those who attach
//! their own; a saboteur is the reference with one seam wrapped or its mover replaced, so that an oracle
//! must catch it. What cannot be had in process (the real operator) belongs to another tier.

use std::fmt;

/// Which controller and mover run on a bed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The reference controller and mover, in process.
    Reference(controller::Profile),
    /// No controller: volumes, Jobs and pods live, custom resources are only stored.
    None,
    /// The reference with one deliberate defect, by name.
    Saboteur(String),
}

impl Default for Subject {
    fn default() -> Self {
        Self::Reference(controller::Profile::Safe)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reference(controller::Profile::Safe) => f.write_str("reference"),
            Self::Reference(controller::Profile::Original) => f.write_str("reference (original's profile)"),
            Self::None => f.write_str("none"),
            Self::Saboteur(name) => write!(f, "saboteur {name}"),
        }
    }
}
