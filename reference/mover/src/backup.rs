//! A backup: the data volume becomes a snapshot.
//!
//! Order as in the original (`specs/volsync-behaviour.md` section 4.4): an empty volume ends the run
//! before the repository is touched; then compression policy, before action, snapshot, expiry by the
//! policy as it stands (as Kopia's `snapshot create` does), after action, retention policy for the next
//! run. Unreadable entries fail the run although the snapshot without them is stored; the safe profile then
//! lets nothing expire, so that retries do not push whole snapshots out.
//!
//! An attempt may be cut off (power, eviction, memory) after its snapshot was stored and before anybody was
//! told. Under the safe profile the next attempt of the same sync finds that snapshot by its tag and goes on
//! behind it: one sync leaves one whole snapshot, however often it was begun.
use std::{collections::BTreeMap, time::Duration};

use contract::{Ending, ExitCode, Failure, outcome, pod, request};
use engine::{
    Backup, BackupOptions, Error, Repository,
    snapshot::{Filter, Loss, LossKind, Snapshot},
    tree::{Path, ReadTree, WriteTree},
};

use crate::{
    connect::connect,
    failure, policy,
    run::{Draft, Run, StopMonitor},
};

/// The directory that file systems put into an empty volume.
pub const LOST_AND_FOUND: &[u8] = b"lost+found";

/// The tag by which the attempts of one sync know each other's snapshot.
const SYNC_TAG: &str = "firedrill-sync";

/// Runs a backup.
pub async fn backup(run: &Run<'_>, task: &request::Backup, draft: &mut Draft) -> Result<Ending, Failure> {
    run.log.line("=== Checking directory for content ===");
    let tree = run.doors.data.as_deref().ok_or_else(|| {
        Failure::new(
            ExitCode::DataVolume,
            format!("Data directory {} does not exist", run.request.data_directory),
        )
    })?;
    if is_empty(tree).map_err(|error| failure::volume("list the data directory", &error))? {
        run.log.line("== Directory is empty skipping backup ===");
        return Ok(Ending::SourceEmpty);
    }
    let repository = connect(run, draft).await?;
    policy::apply_global(run, draft, &repository).await;
    let start = run.now();
    run.log.line("INFO: === Starting backup operation ===");
    if !run.request.additional_args.is_empty() {
        run.warn(
            draft,
            &format!("additional arguments are not acted upon: {}", run.request.additional_args.join(" ")),
        );
    }
    if let Some(compressor) = &task.compression {
        policy::set_compression(run, &repository, compressor).await?;
        run.between_commands()?;
    }
    if let Some(standing) = of_an_earlier_attempt(run, task, &repository).await? {
        let id = &standing.id;
        run.warn(
            draft,
            &format!("an earlier attempt of this sync stored snapshot {id}; its log names losses"),
        );
        draft.snapshot = Some(summary(&standing));
        expire(run, draft, &repository).await;
    } else {
        take(run, task, tree, &repository, draft).await?;
    }
    run.log.line("INFO: Snapshot created successfully");
    run.between_commands()?;
    if let Some(command) = &task.after_action
        && act(run, "after-snapshot", command).await.is_err()
    {
        run.log.line("ERROR: WARNING: After-snapshot action failed, but snapshot was created successfully");
        draft.warnings.push("the action after the snapshot failed".to_owned());
    }
    run.log.line(&format!("TIMING: Total backup operation took {} seconds", run.seconds_since(start)));
    policy::set_retention(run, draft, &repository, &task.retain).await;
    run.between_commands()?;
    Ok(Ending::BackedUp)
}

/// Action before, snapshot, expiry.
async fn take(
    run: &Run<'_>,
    task: &request::Backup,
    tree: &dyn WriteTree,
    repository: &Repository,
    draft: &mut Draft,
) -> Result<(), Failure> {
    if let Some(command) = &task.before_action {
        act(run, "before-snapshot", command)
            .await
            .map_err(|failure| Failure { message: "Before-snapshot action failed".into(), ..failure })?;
        run.between_commands()?;
    }
    let backup = snapshot(run, task, tree, repository).await?;
    draft.snapshot = Some(summary(&backup.snapshot));
    draft.losses = losses(&backup.losses);
    let is_whole = backup.errors.is_empty();
    if is_whole || run.is_original() {
        expire(run, draft, repository).await;
    }
    if !is_whole {
        return Err(unreadable(run, &backup));
    }
    Ok(())
}

/// What tells a snapshot's sync; the original's snapshots do not.
fn tags(run: &Run<'_>, task: &request::Backup) -> BTreeMap<String, String> {
    let sync = task.sync.iter().filter(|_| !run.is_original());
    sync.map(|sync| (SYNC_TAG.to_owned(), sync.clone())).collect()
}

/// The whole snapshot that an attempt before this one stored for the same sync.
async fn of_an_earlier_attempt(
    run: &Run<'_>,
    task: &request::Backup,
    repository: &Repository,
) -> Result<Option<Snapshot>, Failure> {
    let tags = tags(run, task);
    if tags.is_empty() {
        return Ok(None);
    }
    let filter = Filter { tags, ..Filter::source(&run.source()).complete() };
    let found = repository
        .snapshots(&filter)
        .await
        .map_err(|error| failure::failure("look for the snapshot of an earlier attempt", &error))?;
    let is_whole =
        |snapshot: &Snapshot| snapshot.root.summary.as_ref().is_some_and(|below| below.failed == 0);
    Ok(found.into_iter().rev().find(is_whole))
}

fn is_empty(tree: &(impl ReadTree + ?Sized)) -> std::io::Result<bool> {
    Ok(tree.read_dir(&Path::root())?.iter().all(|entry| entry.name == LOST_AND_FOUND))
}

async fn snapshot(
    run: &Run<'_>,
    task: &request::Backup,
    tree: &dyn WriteTree,
    repository: &Repository,
) -> Result<Backup, Failure> {
    let source = run.source();
    let start = run.now();
    run.log.line(&format!("INFO: Creating snapshot for {source}"));
    run.log.line("INFO: Starting kopia snapshot creation...");
    run.log.line(&format!("Snapshotting {source} ..."));
    let parallelism = task.parallelism.and_then(|wanted| usize::try_from(wanted).ok()).unwrap_or(1).max(1);
    let options = BackupOptions { parallelism, tags: tags(run, task), ..BackupOptions::default() };
    let backup =
        repository.backup(&source, tree, &options, &StopMonitor::of(run)).await.map_err(|error| {
            let failure = failure::failure("create the snapshot", &error);
            run.log.line(&failure.message);
            if run.is_original() {
                Failure { message: "Failed to create snapshot".into(), ..failure }
            } else {
                failure
            }
        })?;
    let seconds = run.seconds_since(start);
    if let Some(reason) = &backup.snapshot.incomplete {
        return Err(Failure::new(ExitCode::Failed, format!("the snapshot is incomplete: {reason}")));
    }
    run.log.line(&format!(
        "Created snapshot with root {} and ID {} in {seconds}s",
        backup.snapshot.root.object, backup.snapshot.id
    ));
    run.log.line(&format!("TIMING: Snapshot creation completed in {seconds} seconds"));
    Ok(backup)
}

async fn expire(run: &Run<'_>, draft: &mut Draft, repository: &Repository) {
    match repository.expire(&run.source()).await {
        Ok(expired) if expired.is_empty() => {}
        Ok(expired) => run.log.line(&format!("INFO: {} snapshots expired", expired.len())),
        Err(Error::Cancelled) => {}
        Err(error) => run.warn(draft, &failure::failure("expire snapshots", &error).message),
    }
}

fn unreadable(run: &Run<'_>, backup: &Backup) -> Failure {
    let count = backup.errors.len();
    run.log.line(&format!("Found {count} fatal error(s) while snapshotting {}.", run.source()));
    for error in &backup.errors {
        run.log.line(&format!("  {}: {}", error.path, error.error));
    }
    let message = if run.is_original() {
        "Failed to create snapshot".to_owned()
    } else {
        format!("{count} entries could not be read; snapshot {} was stored without them", backup.snapshot.id)
    };
    Failure {
        paths: backup.errors.iter().map(|error| format!("{}: {}", error.path, error.error)).collect(),
        paths_total: count as u64,
        ..Failure::new(ExitCode::SourceUnreadable, message)
    }
}

/// Runs an action within its time.
async fn act(run: &Run<'_>, when: &str, command: &str) -> Result<(), Failure> {
    run.log.line(&format!("Running {when} action: {command}"));
    let limit = Duration::from_secs(pod::ACTION_SECONDS_MAX);
    let end = tokio::time::timeout(limit, run.doors.actions.run(command)).await;
    if let Ok(end) = &end
        && !end.output.is_empty()
    {
        run.log.line(end.output.trim_end_matches('\n'));
    }
    if matches!(&end, Ok(end) if end.code == 0) {
        run.log.line(&format!("{when} action completed successfully"));
        return Ok(());
    }
    let message = format!("{when} action failed or timed out after {} seconds", limit.as_secs());
    run.log.line(&format!("ERROR: {message}"));
    Err(Failure::new(ExitCode::ActionFailed, message))
}

/// A snapshot as the outcome tells it.
pub fn summary(snapshot: &Snapshot) -> outcome::Snapshot {
    let below = snapshot.root.summary.as_ref();
    outcome::Snapshot {
        id: snapshot.id.to_string(),
        identity: crate::select::identity(snapshot),
        start: snapshot.start_time,
        files: below.map_or(0, |below| below.files),
        bytes: below.map_or(0, |below| below.size),
    }
}

/// Groups losses by what they are, with one example each.
fn losses(losses: &[Loss]) -> Vec<outcome::Loss> {
    let mut groups: BTreeMap<&str, outcome::Loss> = BTreeMap::new();
    for loss in losses {
        let what = match &loss.kind {
            LossKind::HardLink { .. } => "hard links",
            LossKind::ExtendedAttributes => "extended attributes",
            LossKind::Fifo => "named pipes",
            LossKind::Socket => "sockets",
            LossKind::CharDevice => "character devices",
            LossKind::BlockDevice => "block devices",
            LossKind::Holes => "holes",
            LossKind::Name { .. } => "names that are not UTF-8",
            LossKind::Time { .. } => "modification times",
        };
        let example = || outcome::Loss { what: what.to_owned(), count: 0, example: loss.path.to_string() };
        groups.entry(what).or_insert_with(example).count += 1;
    }
    groups.into_values().collect()
}
