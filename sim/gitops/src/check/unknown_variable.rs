//! A variable without a value: the app cannot be known.

use super::Findings;
use crate::model::{Model, Problem, Severity};

pub(super) fn check(model: &Model, findings: &mut Findings) {
    for (index, app) in model.apps.iter().enumerate() {
        for unknown in &app.unknown {
            findings.push((
                Some(index),
                Problem::new(
                    "unknown-variable",
                    Severity::Error,
                    format!("{} needs the variable {}, which is unset", unknown.asked_by, unknown.variable),
                    unknown.hint.clone(),
                )
                .at(unknown.origin.clone()),
            ));
        }
    }
}
