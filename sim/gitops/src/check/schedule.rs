//! A schedule that the custom resource or the parser behind it refuses.

use super::{Findings, find, known};
use crate::model::{Model, Object, Problem, Severity};
use crate::schedule::{crd_accepts, parser_accepts};

fn verdict(object: &Object, schedule: &str, descriptors: bool) -> Option<Problem> {
    let message = if !crd_accepts(schedule) {
        format!("{}: the API server refuses the schedule {schedule:?}", object.name)
    } else if !descriptors && schedule.starts_with('@') {
        format!("{}: KopiaMaintenance's parser knows no {schedule:?}", object.name)
    } else {
        format!(
            "{}: the API server takes the schedule {schedule:?} and the controller does not: {}",
            object.name,
            parser_accepts(schedule).err()?
        )
    };
    Some(
        Problem::new(
            "schedule-not-parsed",
            Severity::Error,
            message,
            "write five fields of numbers, such as 0 * * * *",
        )
        .at(object.origin.clone()),
    )
}

pub(super) fn check(model: &Model, findings: &mut Findings) {
    for (index, app) in known(model) {
        let all =
            app.sources.iter().map(|source| (&source.object, &source.schedule)).chain(
                app.destinations.iter().map(|destination| (&destination.object, &destination.schedule)),
            );
        for (object, schedule) in all {
            if let Some(problem) = schedule.as_deref().and_then(|schedule| verdict(object, schedule, true)) {
                let origin = problem.origin.clone().unwrap_or_else(|| object.origin.clone());
                find(
                    findings,
                    index,
                    origin,
                    "schedule-not-parsed",
                    problem.severity,
                    problem.message,
                    problem.cure,
                );
            }
        }
    }
    for maintenance in &model.maintenance {
        if let Some(problem) =
            maintenance.schedule.as_deref().and_then(|schedule| verdict(&maintenance.object, schedule, false))
        {
            findings.push((None, problem));
        }
    }
}
