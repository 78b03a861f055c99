//! A claim filled by a destination that is not there.

use super::{Findings, find, known};
use crate::model::{Model, Severity};

pub(super) fn check(model: &Model, findings: &mut Findings) {
    for (index, app) in known(model) {
        for claim in &app.claims {
            let Some(wanted) = &claim.filled_by else { continue };
            let here = |name: &str, namespace: &str| name == wanted && namespace == claim.object.namespace;
            let read = model
                .apps
                .iter()
                .filter(|other| other.key.cluster == app.key.cluster)
                .flat_map(|other| &other.destinations)
                .any(|destination| here(&destination.object.name, &destination.object.namespace));
            let unread = model.unread.iter().any(|unread| {
                unread.title == format!("ReplicationDestination/{wanted}")
                    && unread.namespace == claim.object.namespace
            });
            if read || unread {
                continue;
            }
            let known: Vec<&str> =
                app.destinations.iter().map(|destination| destination.object.name.as_str()).collect();
            let hint = if known.is_empty() {
                "declare it".to_owned()
            } else {
                format!("the app has {}", known.join(", "))
            };
            find(
                findings,
                index,
                claim.object.origin.clone(),
                "dangling-data-source",
                Severity::Error,
                format!(
                    "claim {} is to be filled by ReplicationDestination {wanted}, which is not in namespace {}: it waits for ever",
                    claim.object.name, claim.object.namespace
                ),
                hint,
            );
        }
    }
}
