//! Several sources that write under one identity into one repository.

use std::collections::BTreeMap;

use super::{Findings, find, known};
use crate::model::{Model, Severity};

pub(super) fn check(model: &Model, findings: &mut Findings) {
    let mut seen = BTreeMap::<_, Vec<_>>::new();
    for (index, app) in known(model) {
        for source in &app.sources {
            seen.entry((&source.object.cluster, &source.mover.location, &source.identity))
                .or_default()
                .push((index, source));
        }
    }
    for ((_, _, identity), sources) in seen.into_iter().filter(|(_, sources)| sources.len() > 1) {
        let names: Vec<String> = sources
            .iter()
            .map(|(_, source)| format!("{}/{}", source.object.namespace, source.object.name))
            .collect();
        for (index, source) in sources {
            find(
                findings,
                index,
                source.object.origin.clone(),
                "shared-identity",
                Severity::Error,
                format!(
                    "{} all write as {identity}: a restore takes whichever came last, and they expire each other's snapshots",
                    names.join(", ")
                ),
                "give each its own spec.kopia.username, or its own path",
            );
        }
    }
}
