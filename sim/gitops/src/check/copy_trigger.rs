//! A claim whose copies wait for somebody.

use super::{Findings, find, known};
use crate::model::{Model, Severity};

pub(super) fn check(model: &Model, findings: &mut Findings) {
    for (index, app) in known(model) {
        for claim in app.claims.iter().filter(|claim| claim.copy_trigger) {
            find(
                findings,
                index,
                claim.object.origin.clone(),
                "copy-trigger",
                Severity::Note,
                format!(
                    "claim {} is copied only when volsync.backube/copy-trigger changes: a backup depends on whoever does that",
                    claim.object.name
                ),
                "make sure that it is done in time, or remove volsync.backube/use-copy-trigger",
            );
        }
    }
}
