//! Retention that keeps something else than it says.

use super::{Findings, find, known};
use crate::model::{Model, Severity};

/// Kopia's defaults for keys that are left out.
const DEFAULTS: [(&str, i64); 6] =
    [("latest", 10), ("hourly", 48), ("daily", 7), ("weekly", 4), ("monthly", 24), ("yearly", 3)];

pub(super) fn check(model: &Model, findings: &mut Findings) {
    for (index, app) in known(model) {
        for source in &app.sources {
            let at = || source.object.origin.clone();
            if let Some((key, value)) = source.retain.iter().find(|(_, value)| **value < 0) {
                find(
                    findings,
                    index,
                    at(),
                    "retention",
                    Severity::Warning,
                    format!("{}: retain.{key} is {value}", source.object.name),
                    "use 0 to keep none of a kind",
                );
            }
            let inherited: Vec<String> = DEFAULTS
                .iter()
                .filter(|(key, _)| !source.retain.contains_key(*key))
                .map(|(key, default)| format!("{key} {default}"))
                .collect();
            if inherited.is_empty() && source.retain.values().all(|value| *value == 0) {
                find(
                    findings,
                    index,
                    at(),
                    "retention",
                    Severity::Warning,
                    format!("{}: all kinds are 0, so Kopia keeps every snapshot", source.object.name),
                    "give at least one kind a number",
                );
            } else if !inherited.is_empty() && !source.retain.is_empty() {
                find(
                    findings,
                    index,
                    at(),
                    "retention",
                    Severity::Note,
                    format!(
                        "{}: what is left out is inherited from Kopia, not zero: {}",
                        source.object.name,
                        inherited.join(", ")
                    ),
                    "write all six kinds to keep exactly what is meant",
                );
            }
            let total: i64 = source.retain.values().sum();
            if source.schedule.is_some() && total == 1 && inherited.is_empty() {
                find(
                    findings,
                    index,
                    at(),
                    "retention",
                    Severity::Warning,
                    format!(
                        "{}: one snapshot is kept: a damaged backup replaces the last good one",
                        source.object.name
                    ),
                    "keep some days",
                );
            }
        }
    }
}
