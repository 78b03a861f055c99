//! A repository path that nothing mounts.

use super::{Findings, find, known};
use crate::model::{Location, Model, Severity};

pub(super) fn check(model: &Model, findings: &mut Findings) {
    for (index, app) in known(model) {
        let movers = app
            .sources
            .iter()
            .map(|source| (&source.object, &source.mover))
            .chain(app.destinations.iter().map(|destination| (&destination.object, &destination.mover)));
        for (object, mover) in movers {
            let by_claim = object
                .object
                .pointer("/spec/kopia/moverVolumes")
                .and_then(serde_json::Value::as_array)
                .into_iter()
                .flatten()
                .any(|volume| volume.pointer("/volumeSource/persistentVolumeClaim").is_some());
            if let (Some(Location::Filesystem { path, export: None }), false) = (&mover.location, by_claim) {
                find(
                    findings,
                    index,
                    object.origin.clone(),
                    "unmounted-repository",
                    Severity::Warning,
                    format!(
                        "nothing in the input mounts {path} into the mover of {}: without it the repository is a directory in a container",
                        object.name
                    ),
                    "add moverVolumes, or give the paths that hold the admission policy which mounts it",
                );
            }
        }
    }
}
