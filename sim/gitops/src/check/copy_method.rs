//! A copy method that is unset or cannot work.

use super::{Findings, find, known};
use crate::model::{Model, Severity};

pub(super) fn check(model: &Model, findings: &mut Findings) {
    for (index, app) in known(model) {
        for source in &app.sources {
            if source.mover.copy_method.is_empty() {
                find(
                    findings,
                    index,
                    source.object.origin.clone(),
                    "copy-method",
                    Severity::Error,
                    format!("{} has no copyMethod: every sync fails before a mover runs", source.object.name),
                    "set spec.kopia.copyMethod: Snapshot",
                );
            } else if matches!(source.mover.copy_method.as_str(), "Direct" | "None") {
                find(
                    findings,
                    index,
                    source.object.origin.clone(),
                    "copy-method",
                    Severity::Warning,
                    format!(
                        "{} reads the live volume ({}): what it stores is not one moment of it",
                        source.object.name, source.mover.copy_method
                    ),
                    "use Snapshot or Clone where the driver has them",
                );
            }
        }
        for destination in &app.destinations {
            if matches!(destination.mover.copy_method.as_str(), "" | "Clone") {
                find(
                    findings,
                    index,
                    destination.object.origin.clone(),
                    "copy-method",
                    Severity::Error,
                    format!(
                        "{} has copyMethod {:?}: a destination needs Snapshot or Direct",
                        destination.object.name, destination.mover.copy_method
                    ),
                    "set spec.kopia.copyMethod: Snapshot",
                );
            }
            let populates =
                app.claims.iter().any(|claim| claim.filled_by.as_deref() == Some(&destination.object.name));
            if populates && matches!(destination.mover.copy_method.as_str(), "Direct" | "None") {
                find(
                    findings,
                    index,
                    destination.object.origin.clone(),
                    "copy-method",
                    Severity::Error,
                    format!(
                        "{} is to fill a claim and makes no snapshot ({}): the claim waits for ever",
                        destination.object.name, destination.mover.copy_method
                    ),
                    "set spec.kopia.copyMethod: Snapshot",
                );
            }
        }
    }
}
