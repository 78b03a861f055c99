//! A destination that looks for snapshots nobody writes.

use super::{Findings, find, known};
use crate::model::{Model, Severity};

pub(super) fn check(model: &Model, findings: &mut Findings) {
    for (index, app) in known(model) {
        for destination in &app.destinations {
            let all = model
                .apps
                .iter()
                .filter(|other| other.key.cluster == app.key.cluster)
                .flat_map(|other| &other.sources);
            if all.clone().any(|source| source.identity == destination.identity) {
                continue;
            }
            let candidates: Vec<String> =
                app.sources.iter().map(|source| source.identity.to_string()).collect();
            let message = if candidates.is_empty() {
                format!(
                    "{} looks for {}, which no source in the input writes",
                    destination.object.name, destination.identity
                )
            } else {
                format!(
                    "{} looks for {}, but the app's backups are written as {}: the restore finds nothing",
                    destination.object.name,
                    destination.identity,
                    candidates.join(", ")
                )
            };
            let severity = if app.sources.is_empty() { Severity::Warning } else { Severity::Error };
            let cure = app.sources.first().map_or_else(
                || "name the source in spec.kopia.sourceIdentity".to_owned(),
                |source| format!("set spec.kopia.sourceIdentity.sourceName: {}", source.object.name),
            );
            find(
                findings,
                index,
                destination.object.origin.clone(),
                "identity-mismatch",
                severity,
                message,
                cure,
            );
        }
    }
}
