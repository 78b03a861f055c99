//! A backup from which nothing declared fills the claim again.

use super::{Findings, find, known};
use crate::model::{Model, Severity};

pub(super) fn check(model: &Model, findings: &mut Findings) {
    for (index, app) in known(model) {
        for claim in &app.claims {
            let Some(source) = app.sources.iter().find(|source| source.claim == claim.object.name) else {
                continue;
            };
            let into = app
                .destinations
                .iter()
                .any(|destination| destination.claim.as_deref() == Some(&claim.object.name));
            if claim.filled_by.is_some() || into {
                continue;
            }
            let message = if claim.declared {
                format!(
                    "claim {} is backed up but has no dataSourceRef, and no destination writes to it: after a loss it comes back empty",
                    claim.object.name
                )
            } else {
                format!(
                    "claim {} is backed up but not declared in the input: whoever makes it again makes it empty",
                    claim.object.name
                )
            };
            let origin =
                if claim.declared { claim.object.origin.clone() } else { source.object.origin.clone() };
            find(
                findings,
                index,
                origin,
                "no-way-back",
                Severity::Error,
                message,
                "declare the claim with a dataSourceRef that names a ReplicationDestination of the same identity",
            );
        }
    }
}
