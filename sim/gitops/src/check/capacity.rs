//! Volumes of a restore that do not fit the claim.

use super::{Findings, find, known};
use crate::model::{Model, Severity};

pub(super) fn check(model: &Model, findings: &mut Findings) {
    for (index, app) in known(model) {
        for claim in &app.claims {
            for destination in app
                .destinations
                .iter()
                .filter(|destination| claim.filled_by.as_deref() == Some(&destination.object.name))
            {
                let (Some(want), Some(have)) = (claim.capacity_bytes, destination.capacity_bytes) else {
                    continue;
                };
                let (name, way) = (&claim.object.name, &destination.object.name);
                if have > want {
                    find(
                        findings,
                        index,
                        claim.object.origin.clone(),
                        "capacity",
                        Severity::Error,
                        format!(
                            "{way} restores into {have} bytes and claim {name} asks for {want}: a claim smaller than the snapshot stays Pending"
                        ),
                        "give both the same capacity",
                    );
                } else if have < want {
                    find(
                        findings,
                        index,
                        destination.object.origin.clone(),
                        "capacity",
                        Severity::Warning,
                        format!(
                            "{way} restores into {have} bytes and claim {name} has {want}: with more data than that the restore runs out of space"
                        ),
                        "give both the same capacity",
                    );
                }
            }
            for source in app.sources.iter().filter(|source| source.claim == claim.object.name) {
                let copy = source
                    .object
                    .object
                    .pointer("/spec/kopia/capacity")
                    .and_then(serde_json::Value::as_str)
                    .and_then(crate::storage::bytes);
                if let (Some(copy), Some(want)) = (copy, claim.capacity_bytes)
                    && copy < want
                {
                    find(
                        findings,
                        index,
                        source.object.origin.clone(),
                        "capacity",
                        Severity::Error,
                        format!(
                            "{} copies a claim of {want} bytes into {copy}: drivers refuse a copy smaller than its source",
                            source.object.name
                        ),
                        "leave spec.kopia.capacity out",
                    );
                }
            }
        }
    }
}
