//! A mover that runs as another user than the app, or than the way back.

use super::{Findings, find, known};
use crate::model::{Model, Severity};

pub(super) fn check(model: &Model, findings: &mut Findings) {
    for (index, app) in known(model) {
        for source in &app.sources {
            if let (Some(mover), Some(writer)) = (source.mover.writer, app.writer)
                && mover.uid != writer.uid
                && mover.uid != 0
            {
                find(
                    findings,
                    index,
                    source.object.origin.clone(),
                    "mover-user",
                    Severity::Warning,
                    format!(
                        "{} reads as user {} what the app writes as user {}: files only their owner may read are left out",
                        source.object.name, mover.uid, writer.uid
                    ),
                    format!("set moverSecurityContext.runAsUser: {}", writer.uid),
                );
            }
            for destination in
                app.destinations.iter().filter(|destination| destination.identity == source.identity)
            {
                let (from, to) = (
                    source.mover.writer.map(|writer| writer.uid),
                    destination.mover.writer.map(|writer| writer.uid),
                );
                if from != to {
                    let say = |uid: Option<u32>| {
                        uid.map_or_else(|| "the image's user".to_owned(), |uid| format!("user {uid}"))
                    };
                    find(
                        findings,
                        index,
                        destination.object.origin.clone(),
                        "mover-user",
                        Severity::Warning,
                        format!(
                            "{} restores as {} what {} read as {}: files come back with another owner",
                            destination.object.name,
                            say(to),
                            source.object.name,
                            say(from)
                        ),
                        "give both the same moverSecurityContext",
                    );
                }
            }
        }
    }
}
