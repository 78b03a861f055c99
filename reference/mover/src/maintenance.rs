//! Maintenance: collecting what no snapshot needs, as one owner.
//!
//! Safe: a foreign owner is a failure that names them, unless takeover from exactly this owner was asked
//! for; it never creates a repository. Original: takes ownership from whoever has it
//! (`specs/volsync-behaviour.md` section 4.10). Quick first, whose failure only warns, then full.
use contract::{Ending, ExitCode, Failure, request};
use engine::{MaintenanceKind, Repository, Safety};

use crate::{
    connect::connect,
    failure,
    run::{Draft, Run, StopMonitor},
};

/// Runs maintenance.
pub async fn maintain(
    run: &Run<'_>,
    task: &request::Maintenance,
    draft: &mut Draft,
) -> Result<Ending, Failure> {
    run.log.line("INFO: === Running MAINTENANCE ONLY ====");
    let repository = connect(run, draft).await?;
    let start = run.now();
    run.log.line("INFO: === Starting maintenance operation ====");
    let taken_from = own(run, task, &repository).await?;
    run.between_commands()?;
    let monitor = StopMonitor::of(run);
    run.log.line("INFO: Running Kopia quick maintenance...");
    if let Err(error) = repository.maintain(MaintenanceKind::Quick, Safety::Full, &monitor).await {
        let failure = failure::failure("run quick maintenance", &error);
        if failure.code == ExitCode::Stopped {
            return Err(failure);
        }
        run.warn(draft, &failure.message);
        run.log.line("WARN: Quick maintenance failed, continuing with full maintenance...");
    }
    run.between_commands()?;
    run.log.line("INFO: Running Kopia full maintenance...");
    let report = repository
        .maintain(MaintenanceKind::Full, Safety::Full, &monitor)
        .await
        .map_err(|error| failure::failure("run full maintenance", &error))?;
    for task in &report.tasks {
        run.log.line(&format!("{}: {} ({} B)", task.name, task.count, task.bytes));
    }
    run.log.line(&format!(
        "INFO: Maintenance operation completed successfully in {} seconds",
        run.seconds_since(start)
    ));
    run.between_commands()?;
    Ok(Ending::Maintained { owner: run.client().to_string(), taken_from })
}

/// Makes sure that we own maintenance; returns from whom it was taken.
async fn own(
    run: &Run<'_>,
    task: &request::Maintenance,
    repository: &Repository,
) -> Result<Option<String>, Failure> {
    let expected = run.client().to_string();
    let info = repository
        .maintenance_info()
        .await
        .map_err(|error| failure::failure("read the maintenance owner", &error))?;
    run.log.line("INFO: === Checking maintenance ownership ====");
    run.log.line(&format!("INFO: Expected maintenance owner: {expected}"));
    run.log.line(&format!("INFO: Current maintenance owner: {}", info.owner));
    if info.owner == expected {
        return Ok(None);
    }
    let may_take = run.is_original()
        || info.owner.is_empty()
        || task.takeover_from.as_deref() == Some(info.owner.as_str());
    if !may_take {
        return Err(Failure::new(
            ExitCode::MaintenanceForeign,
            format!(
                "maintenance must be run by designated user: {}; takeover from them was not asked for",
                info.owner
            ),
        ));
    }
    run.log.line(&format!("WARN: Repository has different maintenance owner: {}", info.owner));
    run.log.line(&format!("WARN: Expected: {expected}"));
    run.log.line("INFO: Attempting to claim maintenance ownership...");
    repository
        .set_maintenance_owner(&expected)
        .await
        .map_err(|error| failure::failure("take over maintenance", &error))?;
    run.log.line("INFO:  Successfully claimed maintenance ownership");
    Ok((!info.owner.is_empty()).then_some(info.owner))
}
