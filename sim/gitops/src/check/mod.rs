//! Opinions on a repository: one file a check, one row in the table, one fixture that trips it.
//!
//! Promises that every finding names its place and its cure, and that a repository of the usual shape
//! has no error. Checks read the model and nothing else; they do not drill. [`TABLE`] is the list that
//! people read.

mod capacity;
mod claim_without_backup;
mod copy_method;
mod copy_trigger;
mod data_source;
mod destination_claim;
mod fields;
mod identity;
mod maintenance;
mod mover_user;
mod no_way_back;
mod repository;
mod retention;
mod schedule;
mod secret;
mod shared_identity;
mod trigger;
mod unknown_variable;
mod unmounted;

use crate::model::{App, Model, Problem, Severity};

/// What a check found, and in which app.
pub(crate) type Findings = Vec<(Option<usize>, Problem)>;

/// One row of the table.
pub struct Check {
    /// Its id, as it stands in findings; also the name of its fixture.
    pub id: &'static str,
    /// What it is about.
    pub title: &'static str,
    /// The worst severity it gives.
    pub severity: Severity,
    run: fn(&Model, &mut Findings),
}

/// All checks.
pub const TABLE: &[Check] = &[
    Check {
        id: "claim-without-backup",
        title: "a claim that no replication source reads",
        severity: Severity::Error,
        run: claim_without_backup::check,
    },
    Check {
        id: "no-way-back",
        title: "a backup from which nothing declared fills the claim again",
        severity: Severity::Error,
        run: no_way_back::check,
    },
    Check {
        id: "identity-mismatch",
        title: "a destination that looks for snapshots nobody writes",
        severity: Severity::Error,
        run: identity::check,
    },
    Check {
        id: "other-repository",
        title: "a destination that looks into another repository, or with another password",
        severity: Severity::Error,
        run: repository::check,
    },
    Check {
        id: "missing-secret",
        title: "a repository Secret that is absent or lacks a key",
        severity: Severity::Error,
        run: secret::check,
    },
    Check {
        id: "schedule-not-parsed",
        title: "a schedule that the CRD or the parser refuses",
        severity: Severity::Error,
        run: schedule::check,
    },
    Check {
        id: "unknown-field",
        title: "a field or a type that the custom resource does not have",
        severity: Severity::Error,
        run: fields::check,
    },
    Check {
        id: "copy-method",
        title: "a copy method that is unset or cannot work",
        severity: Severity::Error,
        run: copy_method::check,
    },
    Check {
        id: "retention",
        title: "retention that keeps something else than it says",
        severity: Severity::Warning,
        run: retention::check,
    },
    Check {
        id: "capacity",
        title: "volumes of a restore that do not fit the claim",
        severity: Severity::Error,
        run: capacity::check,
    },
    Check {
        id: "dangling-data-source",
        title: "a claim filled by a destination that is not there",
        severity: Severity::Error,
        run: data_source::check,
    },
    Check {
        id: "shared-identity",
        title: "several sources that write under one identity",
        severity: Severity::Error,
        run: shared_identity::check,
    },
    Check {
        id: "unknown-variable",
        title: "a variable without a value",
        severity: Severity::Error,
        run: unknown_variable::check,
    },
    Check {
        id: "destination-claim",
        title: "a claim that waits for the destination that waits for it",
        severity: Severity::Error,
        run: destination_claim::check,
    },
    Check {
        id: "no-maintenance",
        title: "a repository that nobody maintains",
        severity: Severity::Warning,
        run: maintenance::check,
    },
    Check {
        id: "mover-user",
        title: "a mover that runs as another user than the app or the way back",
        severity: Severity::Warning,
        run: mover_user::check,
    },
    Check {
        id: "trigger",
        title: "a source that does not run by itself",
        severity: Severity::Error,
        run: trigger::check,
    },
    Check {
        id: "copy-trigger",
        title: "a claim whose copies wait for somebody",
        severity: Severity::Note,
        run: copy_trigger::check,
    },
    Check {
        id: "unmounted-repository",
        title: "a repository path that nothing mounts",
        severity: Severity::Warning,
        run: unmounted::check,
    },
];

/// Runs all checks and files their findings.
pub(crate) fn run(model: &mut Model) {
    let mut findings = Findings::new();
    for check in TABLE {
        (check.run)(model, &mut findings);
    }
    for (app, problem) in findings {
        match app {
            Some(app) => model.apps[app].problems.push(problem),
            None => model.problems.push(problem),
        }
    }
    for app in &mut model.apps {
        app.problems.sort_by(|a, b| {
            b.severity
                .cmp(&a.severity)
                .then_with(|| a.origin.cmp(&b.origin))
                .then_with(|| a.message.cmp(&b.message))
        });
        app.problems.dedup();
    }
}

/// Apps whose manifests are known; what is unknown has a finding of its own.
fn known(model: &Model) -> impl Iterator<Item = (usize, &App)> {
    model.apps.iter().enumerate().filter(|(_, app)| app.unknown.is_empty())
}

fn find(
    findings: &mut Findings,
    app: usize,
    origin: crate::yaml::Origin,
    id: &str,
    severity: Severity,
    message: String,
    cure: impl Into<String>,
) {
    findings.push((Some(app), Problem::new(id, severity, message, cure).at(origin)));
}
