//! A claim that no replication source reads.

use super::{Findings, find, known};
use crate::model::{Model, Severity};

pub(super) fn check(model: &Model, findings: &mut Findings) {
    for (index, app) in known(model) {
        for claim in app.claims.iter().filter(|claim| claim.declared) {
            if app.sources.iter().any(|source| {
                source.claim == claim.object.name && source.object.namespace == claim.object.namespace
            }) {
                continue;
            }
            let other = model.unread.iter().find(|unread| {
                unread.namespace == claim.object.namespace
                    && unread.claim.as_deref() == Some(&claim.object.name)
            });
            let (severity, message) = match other {
                Some(other) => (
                    Severity::Note,
                    format!(
                        "claim {} is backed up by {} only, which is not read yet ({})",
                        claim.object.name, other.mover, other.title
                    ),
                ),
                None => (
                    Severity::Error,
                    format!(
                        "no replication source reads claim {}: what it holds is lost with it",
                        claim.object.name
                    ),
                ),
            };
            find(
                findings,
                index,
                claim.object.origin.clone(),
                "claim-without-backup",
                severity,
                message,
                format!(
                    "add a ReplicationSource with sourcePVC: {}, or accept it: --accept {}=REASON",
                    claim.object.name, app.key
                ),
            );
        }
    }
}
