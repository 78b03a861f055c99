//! A restore: a snapshot becomes the content of the data volume.
//!
//! Safe: never creates a repository; only a complete snapshot of the wanted identity is restored; nothing
//! is removed before it is known what to restore; after the restore everything is written back, caches are
//! dropped, and every file is compared with the snapshot. Nothing found is in order only when nothing alike
//! stands in a healthy repository that is the known one, and no first backup is known; who declares the first
//! deployment of exactly this identity may also start from an empty place or beside others alike. Original: selection,
//! deletion and success as its script has them (`specs/volsync-behaviour.md` section 4.9).
use contract::{Ending, ExitCode, Failure, outcome, outcome::NothingReason, request};
use engine::{
    Filter, Mismatch, MismatchKind, Repository, RestoreOptions, Snapshot,
    restore::{Damaged, DirectoryTimes},
    tree::{Kind, Path, WriteTree},
};

use crate::{
    backup::{LOST_AND_FOUND, summary},
    connect::connect,
    failure,
    run::{Draft, Run, StopMonitor},
    select::{self, Choice},
};

/// The flag of `kopia snapshot restore` that is honoured among additional arguments.
const SPARSE: &str = "--write-sparse-files";

/// Runs a restore.
pub async fn restore(run: &Run<'_>, task: &request::Restore, draft: &mut Draft) -> Result<Ending, Failure> {
    let tree = run.doors.data.as_deref().ok_or_else(|| {
        Failure::new(
            ExitCode::DataVolume,
            format!("Data directory {} does not exist", run.request.data_directory),
        )
    })?;
    let repository = match connect(run, draft).await {
        Err(failure) if failure.code == ExitCode::RepositoryMissing && is_declared_first(run, task) => {
            run.log.line("=== No data will be restored ===");
            run.log.line(
                "INFO: The place is empty and the first deployment was declared: nothing restored, nothing created",
            );
            return Ok(Ending::NothingRestored { reason: NothingReason::FirstDeployment });
        }
        opened => opened?,
    };
    let start = run.now();
    run.log.line("INFO: === Starting restore operation ===");
    if run.is_original() && task.enable_file_deletion {
        wipe(run, tree)?;
    }
    let snapshots = list(run, &repository).await?;
    let wanted = &run.request.identity;
    let snapshot = match select::choose(&snapshots, wanted, task, run.request.profile) {
        Choice::Snapshot(snapshot) => snapshot,
        Choice::Null => {
            run.log.line("Selected snapshot with id: null");
            discover(run, &snapshots);
            return Err(Failure::new(ExitCode::NothingEligible, "Failed to restore snapshot: null"));
        }
        Choice::Nothing => return nothing(run, task, &snapshots),
    };
    run.log
        .line(&format!("Using previous offset: {} (0=latest, 1=previous, etc.)", task.previous.unwrap_or(0)));
    run.log.line(&format!("Selected snapshot with id: {}", snapshot.id));
    draft.snapshot = Some(summary(snapshot));
    warn_of_gaps(run, draft, snapshot);
    if !run.is_original() && task.enable_file_deletion {
        wipe(run, tree)?;
    }
    bring_back(run, draft, &repository, snapshot, tree).await.inspect_err(|_| {
        if run.is_original() {
            discover(run, &snapshots);
        }
    })?;
    run.log.line(&format!("TIMING: Total restore operation took {} seconds", run.seconds_since(start)));
    run.log.line("INFO: Snapshot restore completed successfully");
    run.between_commands()?;
    Ok(Ending::Restored)
}

async fn list(run: &Run<'_>, repository: &Repository) -> Result<Vec<Snapshot>, Failure> {
    let identity = &run.request.identity;
    run.log.line("Discovery mode enabled - will list available snapshots if restore fails");
    run.log.line("Selecting snapshot to restore");
    run.log.line(&format!(
        "Note: Looking for snapshots with path {} (original path) even though restoring to {}",
        identity.path, run.request.data_directory
    ));
    run.log.line(&format!("Looking for snapshots with identity: {identity}"));
    repository.snapshots(&Filter::all()).await.map_err(|error| failure::failure("list snapshots", &error))
}

/// Decides what it means that no snapshot was chosen.
fn nothing(run: &Run<'_>, task: &request::Restore, snapshots: &[Snapshot]) -> Result<Ending, Failure> {
    let wanted = &run.request.identity;
    run.log.line("No eligible snapshots found");
    run.log.line(&format!("No snapshots found for {wanted}\n"));
    discover(run, snapshots);
    let own: Vec<&Snapshot> =
        snapshots.iter().filter(|snapshot| select::identity(snapshot) == *wanted).collect();
    let alike = select::alike(snapshots, wanted);
    if run.is_original() {
        run.log.line("=== No data will be restored ===");
        return Ok(Ending::NothingRestored { reason: NothingReason::NothingFound });
    }
    if !own.is_empty() {
        let incomplete = own.iter().filter(|snapshot| snapshot.incomplete.is_some()).count();
        let asked = asked(task);
        let message = format!(
            "{wanted} has {} snapshots ({incomplete} of them incomplete), but none that was asked for ({asked})",
            own.len()
        );
        return Err(Failure { candidates: alike, ..Failure::new(ExitCode::NothingEligible, message) });
    }
    if !alike.is_empty() && !is_declared_first(run, task) {
        let names: Vec<String> = alike.iter().map(|line| line.identity.to_string()).collect();
        let message = format!(
            "no snapshot of {wanted}, but the same app may stand there as {}; name the one that is meant",
            names.join(", ")
        );
        return Err(Failure { candidates: alike, ..Failure::new(ExitCode::OnlyAlike, message) });
    }
    if run.request.is_backup_known {
        let message = format!(
            "a first backup of {wanted} is known to exist, but the repository holds no snapshot of it"
        );
        return Err(Failure {
            candidates: select::lines(snapshots),
            ..Failure::new(ExitCode::NothingEligible, message)
        });
    }
    run.log.line("=== No data will be restored ===");
    run.log.line("INFO: Nothing alike stands in this repository and no first backup is known: first deployment, nothing restored");
    Ok(Ending::NothingRestored { reason: NothingReason::FirstDeployment })
}

/// Whether somebody said that exactly this identity has never been backed up.
fn is_declared_first(run: &Run<'_>, task: &request::Restore) -> bool {
    !run.is_original() && task.first_deployment.as_deref() == Some(&run.request.identity.user_at_host())
}

fn asked(task: &request::Restore) -> String {
    let mut words = Vec::new();
    words.extend(task.as_of.as_ref().map(|time| format!("restoreAsOf {time}")));
    words.extend(task.previous.map(|previous| format!("previous {previous}")));
    words.extend(task.shallow.map(|shallow| format!("shallow {shallow}")));
    if words.is_empty() { "a complete one".to_owned() } else { words.join(", ") }
}

fn discover(run: &Run<'_>, snapshots: &[Snapshot]) {
    run.log.line("=== Discovery Mode: Available Snapshots ===");
    run.log.line("Listing all available snapshot identities in the repository...");
    run.log.line("Found snapshots in repository:\n");
    for snapshot in snapshots {
        let line = serde_json::json!({
            "id": snapshot.id.as_str(),
            "userName": snapshot.source.username,
            "hostName": snapshot.source.host,
            "path": snapshot.source.path,
            "startTime": snapshot.start_time.to_string(),
            "endTime": snapshot.end_time.to_string(),
        });
        run.log.line(&line.to_string());
    }
    run.log.line("\nAvailable identities (username@hostname combinations):");
    for line in select::lines(snapshots) {
        run.log.line(&format!("{} - Last snapshot: {}", line.identity, line.latest));
    }
    run.log.line("=== End Discovery Mode ===\n");
}

/// A snapshot that Kopia calls complete may lack what could not be read.
fn warn_of_gaps(run: &Run<'_>, draft: &mut Draft, snapshot: &Snapshot) {
    let below = snapshot.root.summary.clone().unwrap_or_default();
    if below.failed > 0 && !run.is_original() {
        run.warn(
            draft,
            &format!(
                "snapshot {} lacks {} entries that could not be read when it was taken",
                snapshot.id, below.failed
            ),
        );
        let example = below.errors.first().map_or(String::new(), |(path, _)| path.clone());
        draft.losses.push(outcome::Loss {
            what: "unreadable when backed up".into(),
            count: below.failed,
            example,
        });
    }
}

/// Removes everything in the destination but `lost+found`.
fn wipe(run: &Run<'_>, tree: &dyn WriteTree) -> Result<(), Failure> {
    run.log.line("INFO: File deletion enabled, cleaning destination directory");
    let entries =
        tree.read_dir(&Path::root()).map_err(|error| failure::volume("list the data directory", &error))?;
    for entry in entries.into_iter().filter(|entry| entry.name != LOST_AND_FOUND) {
        remove(tree, &Path::root().join(&entry.name), entry.kind)
            .map_err(|error| failure::volume("remove what the data directory holds", &error))?;
    }
    Ok(())
}

fn remove(tree: &dyn WriteTree, path: &Path, kind: Kind) -> std::io::Result<()> {
    if kind != Kind::Directory {
        return tree.remove_file(path);
    }
    for entry in tree.read_dir(path)? {
        remove(tree, &path.join(&entry.name), entry.kind)?;
    }
    tree.remove_dir(path)
}

async fn bring_back(
    run: &Run<'_>,
    draft: &mut Draft,
    repository: &Repository,
    snapshot: &Snapshot,
    tree: &dyn WriteTree,
) -> Result<(), Failure> {
    run.log.line("INFO: Executing restore command...");
    run.log.line(&format!(
        "Restoring to local filesystem ({}) with parallelism=8...",
        run.request.data_directory
    ));
    let start = run.now();
    let unknown: Vec<&str> =
        run.request.additional_args.iter().map(String::as_str).filter(|arg| *arg != SPARSE).collect();
    if !unknown.is_empty() {
        run.warn(draft, &format!("additional arguments are not acted upon: {}", unknown.join(" ")));
    }
    let options = RestoreOptions {
        atomic: true,
        sparse: run.request.additional_args.iter().any(|arg| arg == SPARSE),
        damaged: if run.is_original() { Damaged::Fail } else { Damaged::Continue },
        directory_times: if run.is_original() { DirectoryTimes::Newest } else { DirectoryTimes::Recorded },
        ..RestoreOptions::default()
    };
    let monitor = StopMonitor::of(run);
    let restored =
        repository.restore(snapshot, &Path::root(), tree, &options, &monitor).await.map_err(|error| {
            let failure = failure::failure("restore the snapshot", &error);
            run.log.line(&failure.message);
            if run.is_original() {
                Failure { message: format!("Failed to restore snapshot: {}", snapshot.id), ..failure }
            } else {
                failure
            }
        })?;
    run.log.line(&format!(
        "Restored {} files, {} directories and {} symbolic links ({} B).\n",
        restored.files, restored.directories, restored.symlinks, restored.bytes
    ));
    run.log.line(&format!("TIMING: Restore execution took {} seconds", run.seconds_since(start)));
    if !restored.ignored.is_empty() {
        draft.warnings.push(format!(
            "{} attributes were refused by the destination, the first at {}",
            restored.ignored.len(),
            restored.ignored[0].path
        ));
    }
    tree.sync().map_err(|error| failure::volume("sync the data volume", &error))?;
    if run.is_original() {
        return Ok(());
    }
    let damaged: Vec<String> =
        restored.damaged.iter().map(|damage| format!("{}: {}", damage.path, damage.reason)).collect();
    read_back(run, draft, repository, snapshot, tree, damaged, (restored.files, restored.bytes)).await
}

/// Compares what another mount would see with the snapshot.
async fn read_back(
    run: &Run<'_>,
    draft: &mut Draft,
    repository: &Repository,
    snapshot: &Snapshot,
    tree: &dyn WriteTree,
    damaged: Vec<String>,
    (files, bytes): (u64, u64),
) -> Result<(), Failure> {
    tree.drop_caches().map_err(|error| failure::volume("drop cached pages before reading back", &error))?;
    let found = repository
        .read_back(snapshot, tree, &StopMonitor::of(run))
        .await
        .map_err(|error| failure::failure("read back what was restored", &error))?;
    let is_known = |mismatch: &Mismatch| {
        let path = mismatch.path.to_string();
        damaged.iter().any(|line| {
            line.split(": ")
                .next()
                .is_some_and(|known| path == known || path.starts_with(&format!("{known}/")))
        }) || matches!(mismatch.kind, MismatchKind::Damaged { .. })
    };
    let mismatches: Vec<String> = found.iter().filter(|mismatch| !is_known(mismatch)).map(describe).collect();
    draft.read_back = Some(outcome::ReadBack { files, bytes, mismatches: found.len() as u64 });
    if !mismatches.is_empty() {
        let zeros = found
            .iter()
            .filter(|mismatch| matches!(mismatch.kind, MismatchKind::Content { is_zeros: true, .. }))
            .count();
        let message = format!(
            "{} of {files} restored files read back different from snapshot {}, {zeros} of them as zeros",
            mismatches.len(),
            snapshot.id
        );
        return Err(Failure {
            paths_total: mismatches.len() as u64,
            paths: mismatches,
            ..Failure::new(ExitCode::ReadBackMismatch, message)
        });
    }
    if !damaged.is_empty() {
        let message = format!(
            "{} paths of snapshot {} are damaged in the repository; the rest was restored",
            damaged.len(),
            snapshot.id
        );
        return Err(Failure {
            paths_total: damaged.len() as u64,
            paths: damaged,
            ..Failure::new(ExitCode::RepositoryCorrupt, message)
        });
    }
    run.log.line(&format!("INFO: Read back {files} files ({bytes} B): equal to the snapshot"));
    Ok(())
}

fn describe(mismatch: &Mismatch) -> String {
    let path = &mismatch.path;
    match &mismatch.kind {
        MismatchKind::Missing => format!("{path}: missing"),
        MismatchKind::Kind => format!("{path}: of another kind"),
        MismatchKind::Size { expected, found } => format!("{path}: {found} bytes instead of {expected}"),
        MismatchKind::Content { offset, length, is_zeros: true } => {
            format!("{path}: reads as zeros in {length} bytes at {offset}")
        }
        MismatchKind::Content { offset, length, is_zeros: false } => {
            format!("{path}: other content in {length} bytes at {offset}")
        }
        MismatchKind::Target => format!("{path}: links elsewhere"),
        MismatchKind::Unreadable { error } => format!("{path}: cannot be read: {error}"),
        MismatchKind::Damaged { error } => format!("{path}: damaged in the repository: {error}"),
    }
}
