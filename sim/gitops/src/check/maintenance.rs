//! A repository that nobody maintains.

use super::Findings;
use crate::model::{Model, Problem, Severity};

pub(super) fn check(model: &Model, findings: &mut Findings) {
    let is_written = |repository: &&crate::model::Repository| {
        model.apps.iter().flat_map(|app| &app.sources).any(|source| {
            source.mover.location.as_ref() == Some(&repository.location)
                && source.object.cluster == repository.cluster
        })
    };
    for repository in model.repositories.iter().filter(is_written) {
        let kept: Vec<_> = model
            .maintenance
            .iter()
            .filter(|maintenance| maintenance.location.as_ref() == Some(&repository.location))
            .collect();
        if kept.is_empty() {
            findings.push((
                None,
                Problem::new(
                    "no-maintenance",
                    Severity::Warning,
                    format!(
                        "no KopiaMaintenance in the input is for the repository at {}: it only grows",
                        repository.location
                    ),
                    "add one KopiaMaintenance for it",
                ),
            ));
        } else if kept.iter().all(|maintenance| !maintenance.active) {
            findings.push((
                None,
                Problem::new(
                    "no-maintenance",
                    Severity::Warning,
                    format!("the maintenance of the repository at {} is switched off", repository.location),
                    "enable it",
                )
                .at(kept[0].object.origin.clone()),
            ));
        } else if kept.len() > 1 {
            let names: Vec<&str> = kept.iter().map(|maintenance| maintenance.object.name.as_str()).collect();
            findings.push((
                None,
                Problem::new(
                    "no-maintenance",
                    Severity::Note,
                    format!(
                        "{} maintain the same repository at {}: they take its ownership from each other",
                        names.join(", "),
                        repository.location
                    ),
                    "keep one",
                )
                .at(kept[0].object.origin.clone()),
            ));
        }
    }
}
