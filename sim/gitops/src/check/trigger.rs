//! A source that does not run by itself.

use super::{Findings, find, known};
use crate::model::{Model, Severity};

pub(super) fn check(model: &Model, findings: &mut Findings) {
    for (index, app) in known(model) {
        for source in &app.sources {
            let (severity, message, cure) = match (&source.schedule, &source.manual, source.paused) {
                (_, _, true) => (
                    Severity::Error,
                    "is paused: no backup happens, and it looks healthy".to_owned(),
                    "remove spec.paused",
                ),
                (Some(_), Some(tag), _) => (
                    Severity::Error,
                    format!("has a manual trigger {tag:?} beside its schedule: the schedule is suspended"),
                    "remove spec.trigger.manual",
                ),
                (None, Some(tag), _) => (
                    Severity::Error,
                    format!("runs once for the manual trigger {tag:?} and never again"),
                    "give it a schedule",
                ),
                (None, None, _) => (
                    Severity::Warning,
                    "has no trigger: it backs up without a pause".to_owned(),
                    "give it a schedule",
                ),
                (Some(_), None, false) => continue,
            };
            find(
                findings,
                index,
                source.object.origin.clone(),
                "trigger",
                severity,
                format!("{} {message}", source.object.name),
                cure,
            );
        }
    }
}
