//! A claim that waits for the destination that waits for it.

use super::{Findings, find, known};
use crate::model::{Model, Severity};

pub(super) fn check(model: &Model, findings: &mut Findings) {
    for (index, app) in known(model) {
        for destination in &app.destinations {
            let Some(name) = &destination.claim else { continue };
            if app.claims.iter().any(|claim| {
                claim.object.name == *name && claim.filled_by.as_deref() == Some(&destination.object.name)
            }) {
                find(
                    findings,
                    index,
                    destination.object.origin.clone(),
                    "destination-claim",
                    Severity::Error,
                    format!(
                        "{} writes to claim {name}, and claim {name} is to be filled by it: both wait for ever",
                        destination.object.name
                    ),
                    "drop destinationPVC, or drop the claim's dataSourceRef",
                );
            }
        }
    }
}
