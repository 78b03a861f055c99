//! Opening the repository, and the few cases in which one is created.
//!
//! Safe: only a backup creates, only in a place that is truly empty, and only when no earlier run knew a
//! repository there; a repository with another unique id than the known one is refused. A wrong password,
//! foreign data or an unreachable place never lead to a creation. Original: whatever goes wrong while
//! connecting leads to an attempt to create, on restores and maintenance too
//! (`specs/volsync-behaviour.md` section 4.3). The lines are those of the original's script.
use contract::{ExitCode, Failure, Location, Operation, outcome};
use engine::{CreateOptions, Error, Repository, store};

use crate::{
    failure::{self, chain},
    run::{Draft, Run},
};

/// Who owns maintenance of a repository that the safe mover creates: the default identity of
/// KopiaMaintenance, never a pod that will be gone.
pub const MAINTENANCE_OWNER: &str = "maintenance@volsync";

/// Opens the repository, or creates it where that is allowed.
pub async fn connect(run: &Run<'_>, draft: &mut Draft) -> Result<Repository, Failure> {
    let start = run.now();
    announce(run);
    if let Location::Unsupported { kind } = &run.request.location {
        return Err(Failure::new(
            ExitCode::Misconfigured,
            format!("a repository of kind {kind} is not supported by this mover"),
        ));
    }
    let result = open(run).await;
    let (repository, created) = match result {
        Ok(repository) => {
            run.log.line("Connected to repository.\n");
            (repository, false)
        }
        Err(error) => {
            run.log.line(&format!("error connecting to repository: {}", chain(&error)));
            if run.is_original() {
                (create_as_original(run, &error).await?, true)
            } else {
                create_safely(run, error).await?
            }
        }
    };
    let unique_id = repository.unique_id().to_string();
    if !run.is_original()
        && let Some(expected) = &run.request.expected_unique_id
        && !expected.eq_ignore_ascii_case(&unique_id)
    {
        return Err(Failure::new(
            ExitCode::WrongRepository,
            format!(
                "the repository at {} is {unique_id}, but earlier runs used {expected}: the place shows another repository than the known one",
                run.request.location.describe()
            ),
        ));
    }
    draft.repository = Some(outcome::Repository { unique_id, created });
    name_what_is_ignored(run, draft);
    identify(run, start);
    run.between_commands()?;
    Ok(repository)
}

async fn open(run: &Run<'_>) -> Result<Repository, Error> {
    match run.doors.stores.open(&run.request.location).await {
        Ok(store) => Repository::open(store, run.request.password.expose(), run.context(run.client())).await,
        // A directory without layout file and without anything else.
        Err(error) if error.kind == store::ErrorKind::NotFound => Err(Error::NotARepository),
        Err(error) => Err(Error::Store(error)),
    }
}

/// Prepares the place and creates, as `client`; a faster creator's repository is opened instead.
async fn create(run: &Run<'_>, options: CreateOptions) -> Result<(Repository, bool), Error> {
    run.log.line("=== Creating repository ===");
    let password = run.request.password.expose();
    let client = if run.is_original() { run.doors.process.clone() } else { run.client() };
    let store = run.doors.stores.prepare(&run.request.location).await?;
    match Repository::create(store, password, options, run.context(client)).await {
        Ok(repository) if !run.is_original() => Ok((repository, true)),
        // The original sets its identity only now.
        Ok(_) => Ok((open(run).await?, true)),
        Err(Error::NotEmpty { .. }) if !run.is_original() => Ok((open(run).await?, false)),
        Err(error) => Err(error),
    }
}

async fn create_safely(run: &Run<'_>, error: Error) -> Result<(Repository, bool), Failure> {
    if !matches!(error, Error::NotARepository) {
        return Err(failure::failure("open the repository", &error));
    }
    let place = run.request.location.describe();
    if let Some(expected) = &run.request.expected_unique_id {
        return Err(Failure::new(
            ExitCode::WrongRepository,
            format!(
                "{place} is empty, but earlier runs used the repository {expected} there: a wrong or empty export is mounted; refused to create another repository"
            ),
        ));
    }
    if run.request.is_backup_known {
        return Err(Failure::new(
            ExitCode::WrongRepository,
            format!(
                "{place} is empty, but a first backup is known to exist; refused to take it for a new repository"
            ),
        ));
    }
    if run.request.operation() != Operation::Backup {
        return Err(Failure::new(
            ExitCode::RepositoryMissing,
            format!(
                "repository not initialized in the provided storage ({place}); a {} never creates one",
                run.request.operation().as_str()
            ),
        ));
    }
    run.log.line("The place is empty and no repository is known: creating the first one");
    let options =
        CreateOptions { maintenance_owner: Some(MAINTENANCE_OWNER.to_owned()), ..CreateOptions::default() };
    let created =
        create(run, options).await.map_err(|error| failure::failure("create the repository", &error))?;
    run.log.line("Connected to repository.\n");
    Ok(created)
}

async fn create_as_original(run: &Run<'_>, _error: &Error) -> Result<Repository, Failure> {
    run.log.line("Connection failed, creating new repository...\n");
    match create(run, CreateOptions::default()).await {
        Ok((repository, _)) => {
            run.log.line("Connected to repository.\n");
            Ok(repository)
        }
        Err(error) => {
            let text = match &error {
                Error::NotEmpty { .. } => {
                    "unable to get repository storage: found existing data in storage location".to_owned()
                }
                other => chain(other),
            };
            run.log.line(&format!("{text}\n"));
            Err(Failure::new(failure::code(&error), "Failed to create repository"))
        }
    }
}

/// Configuration of the original that this mover does not act upon is named, never swallowed.
fn name_what_is_ignored(run: &Run<'_>, draft: &mut Draft) {
    let request = run.request;
    for (name, value) in [
        (contract::environment::KOPIA_MANUAL_CONFIG, &request.manual_config),
        (contract::environment::KOPIA_STRUCTURED_REPOSITORY_CONFIG, &request.structured_config),
    ] {
        if value.is_some() {
            run.warn(draft, &format!("{name} is not acted upon by this mover"));
        }
    }
}

fn announce(run: &Run<'_>) {
    run.log.line("INFO: === Starting repository connection process ===");
    run.log.line("INFO: Repository not connected, attempting to connect or create...\n");
    run.log.line("Attempting to connect to existing repository...");
    run.log.line("=== Connecting to existing repository ===");
    match &run.request.location {
        Location::Filesystem { path } => {
            run.log.line("Connecting to filesystem repository");
            run.log.line(&format!("Using filesystem path: {path}"));
        }
        Location::S3 { endpoint, bucket, prefix, .. } => {
            run.log.line("Connecting to S3 repository");
            run.log.line(&format!("Using S3 bucket: {bucket}"));
            run.log.line(&format!("Resolved S3_ENDPOINT: {endpoint}"));
            run.log.line(&format!("Using S3 prefix: {prefix}"));
        }
        Location::Unsupported { kind } => run.log.line(&format!("Connecting to {kind} repository")),
    }
}

/// The lines about the client identity and the cache; there is no cache to configure.
fn identify(run: &Run<'_>, start: jiff::Timestamp) {
    let identity = &run.request.identity;
    let what = if run.request.operation() == Operation::Maintenance { "maintenance" } else { "client" };
    run.log.line(&format!("INFO: Setting {what} identity to '{}'", identity.user_at_host()));
    run.log.line("INFO: Applying client identity configuration...");
    run.log.line(&format!("Setting local username to {}", identity.username));
    run.log.line(&format!("Setting local hostname to {}", identity.hostname));
    run.log.line(&format!("INFO:  Client identity set successfully to {}", identity.user_at_host()));
    run.log.line("INFO: Verifying client identity after set-client command...");
    run.log.line(&format!("Hostname:            {}", identity.hostname));
    run.log.line(&format!("Username:            {}", identity.username));
    run.log.line("INFO: === Configuring cache directory after connection ===");
    run.log.line(&format!("INFO: Cache directory ready at {}", contract::pod::CACHE));
    run.log.line(&format!(
        "TIMING: Total repository connection process took {} seconds\n",
        run.seconds_since(start)
    ));
}
