//! A repository Secret that is absent or lacks a key.

use super::{Findings, find, known};
use crate::model::{Model, Problem, SecretKind, Severity};
use crate::secret::REQUIRED;

pub(super) fn check(model: &Model, findings: &mut Findings) {
    let verdict = |cluster: &str, namespace: &str, name: &str| -> Option<(String, String)> {
        if name.is_empty() {
            return Some((
                "spec.kopia.repository names no Secret".into(),
                "write the name of the repository Secret".into(),
            ));
        }
        let secret = model.secrets.iter().find(|secret| {
            secret.object.cluster == cluster
                && secret.object.namespace == namespace
                && secret.object.name == name
        })?;
        if secret.kind == SecretKind::Absent {
            return Some((
                format!(
                    "repository Secret {namespace}/{name} is nowhere in the input: the mover will not start"
                ),
                "add the Secret or ExternalSecret that makes it, or the path that holds it".into(),
            ));
        }
        let missing: Vec<&str> =
            REQUIRED.into_iter().filter(|key| !secret.values.contains_key(*key)).collect();
        (!missing.is_empty()).then(|| {
            (
                format!(
                    "repository Secret {namespace}/{name} ({}) has no {}",
                    secret.object.origin,
                    missing.join(" and no ")
                ),
                format!(
                    "add {}: the mover needs both keys even where another key selects the store",
                    missing.join(" and ")
                ),
            )
        })
    };
    for (index, app) in known(model) {
        let movers = app
            .sources
            .iter()
            .map(|source| (&source.object, &source.mover))
            .chain(app.destinations.iter().map(|destination| (&destination.object, &destination.mover)));
        for (object, mover) in movers {
            if let Some((message, cure)) = verdict(&object.cluster, &object.namespace, &mover.repository) {
                find(
                    findings,
                    index,
                    object.origin.clone(),
                    "missing-secret",
                    Severity::Error,
                    message,
                    cure,
                );
            }
        }
    }
    for maintenance in &model.maintenance {
        if let Some((message, cure)) =
            verdict(&maintenance.object.cluster, &maintenance.object.namespace, &maintenance.repository)
        {
            findings.push((
                None,
                Problem::new(
                    "missing-secret",
                    Severity::Warning,
                    format!("KopiaMaintenance {}: {message}", maintenance.object.name),
                    cure,
                )
                .at(maintenance.object.origin.clone()),
            ));
        }
    }
}
