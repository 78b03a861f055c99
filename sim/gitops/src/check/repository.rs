//! A destination that looks into another repository, or with another password.

use super::{Findings, find, known};
use crate::model::{Model, Severity};

pub(super) fn check(model: &Model, findings: &mut Findings) {
    for (index, app) in known(model) {
        for destination in &app.destinations {
            let twins: Vec<_> =
                app.sources.iter().filter(|source| source.identity == destination.identity).collect();
            if twins.is_empty()
                || destination.mover.location.is_none()
                || twins.iter().any(|source| source.mover.location.is_none())
            {
                continue;
            }
            let same: Vec<_> =
                twins.iter().filter(|source| source.mover.location == destination.mover.location).collect();
            let at = destination.object.origin.clone();
            let name = &destination.object.name;
            if same.is_empty() {
                let place = destination.mover.location.as_ref().map(ToString::to_string).unwrap_or_default();
                let other = twins[0].mover.location.as_ref().map(ToString::to_string).unwrap_or_default();
                find(
                    findings,
                    index,
                    at,
                    "other-repository",
                    Severity::Error,
                    format!("{name} looks into {place}, the backups are in {other}"),
                    "use the same repository Secret and the same moverVolumes in both",
                );
            } else if same.iter().all(|source| source.mover.password != destination.mover.password) {
                find(
                    findings,
                    index,
                    at,
                    "other-repository",
                    Severity::Error,
                    format!(
                        "{name} opens the repository with another password (Secret {}) than the source writes with (Secret {})",
                        destination.mover.repository, same[0].mover.repository
                    ),
                    "use the same Secret in both, or the same entry of the secret store",
                );
            }
        }
    }
    for repository in model.repositories.iter().filter(|repository| !repository.one_password) {
        findings.push((
            None,
            crate::model::Problem::new(
                "other-repository",
                Severity::Error,
                format!(
                    "the repository at {} is opened with different passwords by {}",
                    repository.location,
                    repository.secrets.join(", ")
                ),
                "only one of them can be right: give all the same KOPIA_PASSWORD",
            ),
        ));
    }
}
