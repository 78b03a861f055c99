//! The frame of a run: what every operation is given, and how its end becomes an outcome.
//!
//! Under the safe profile a stop signal ends the run at its next await point, whatever it does; under the
//! original's it is noticed only between two commands, as a shell's trap would, and then ends the run with
//! the code of the last command: 0. Nothing here reads a repository.
use std::pin::Pin;

use contract::{Ending, ExitCode, Failure, Operation, Outcome, Profile, Request, outcome, request::Task};
use engine::{
    Monitor,
    context::{Client, Context},
    snapshot::Source,
};
use jiff::{Timestamp, tz::TimeZone};

use crate::{Doors, backup, log::Log, maintenance, restore};

/// What every operation is given.
pub struct Run<'a> {
    /// What is asked.
    pub request: &'a Request,
    /// The outside.
    pub doors: &'a Doors,
    /// Where lines go.
    pub log: Log,
}

/// What is known about a run before its end is.
#[derive(Default)]
pub struct Draft {
    /// The repository that was opened.
    pub repository: Option<outcome::Repository>,
    /// The snapshot that was stored or chosen.
    pub snapshot: Option<outcome::Snapshot>,
    /// What the read-back check compared.
    pub read_back: Option<outcome::ReadBack>,
    /// What was not carried.
    pub losses: Vec<outcome::Loss>,
    /// Trouble that did not end the run.
    pub warnings: Vec<String>,
}

impl Run<'_> {
    /// Whether the original's behaviour is asked for.
    pub fn is_original(&self) -> bool {
        self.request.profile.is_original()
    }
    /// The identity as the engine calls it.
    pub fn source(&self) -> Source {
        let identity = &self.request.identity;
        Source::new(&identity.username, &identity.hostname, &identity.path)
    }
    /// The engine's context for acting as `client`.
    pub fn context(&self, client: Client) -> Context {
        Context {
            now: self.doors.now.clone(),
            entropy: self.doors.entropy.clone(),
            client,
            zone: TimeZone::UTC,
        }
    }
    /// Who this run acts as.
    pub fn client(&self) -> Client {
        let identity = &self.request.identity;
        Client { username: identity.username.clone(), hostname: identity.hostname.clone() }
    }
    /// The present time.
    pub fn now(&self) -> Timestamp {
        (self.doors.now)()
    }
    /// Whole seconds since `start`.
    pub fn seconds_since(&self, start: Timestamp) -> i64 {
        self.now().as_second().saturating_sub(start.as_second()).max(0)
    }
    /// Logs a line and keeps it as a warning.
    pub fn warn(&self, draft: &mut Draft, text: &str) {
        self.log.line(&format!("WARN: {text}"));
        draft.warnings.push(text.to_owned());
    }
    /// Between two commands: whether the run was told to stop meanwhile.
    ///
    /// # Errors
    /// [`ExitCode::Stopped`].
    pub fn between_commands(&self) -> Result<(), Failure> {
        if *self.doors.stop.borrow() { Err(stopped()) } else { Ok(()) }
    }

    async fn perform(&self, draft: &mut Draft) -> Result<Ending, Failure> {
        self.between_commands()?;
        match &self.request.task {
            Task::Backup(task) => backup::backup(self, task, draft).await,
            Task::Restore(task) => restore::restore(self, task, draft).await,
            Task::Maintenance(task) => maintenance::maintain(self, task, draft).await,
        }
    }

    fn begin(&self) {
        let operation = self.request.operation();
        let (arguments, mode) = match operation {
            Operation::Maintenance => ("", "maintenance"),
            _ => (operation.as_str(), "command-based"),
        };
        self.log.line("Starting kopia mover container\n");
        self.log
            .line(&format!("INFO: VolSync kopia container version: firedrill {}", env!("CARGO_PKG_VERSION")));
        self.log.line(&format!("INFO: Arguments: {arguments}\n"));
        self.log.line("Testing mandatory env variables");
        if operation != Operation::Maintenance {
            self.log.line("INFO: Data directory validation passed");
        }
        self.log.line("\nINFO: === Starting kopia operations ===");
        let start = self.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        self.log.line(&format!("INFO: Operation start time: {start}"));
        self.log.line(&format!("INFO: Operation mode: {mode}"));
    }

    fn end(&self, start: Timestamp, draft: Draft, ending: Result<Ending, Failure>) -> Outcome {
        let operation = self.request.operation();
        let mut outcome = match ending {
            Ok(ending) => Outcome::success(operation, ending),
            Err(failure) => Outcome::failure(Some(operation), self.request.profile, failure),
        };
        let is_stopped = outcome.failed().is_some_and(|failure| failure.code == ExitCode::Stopped);
        if is_stopped && self.is_original() {
            // The defect of the original: its trap returns the code of the last finished command.
            outcome.exit_code = 0;
        }
        outcome.repository = draft.repository;
        outcome.read_back = draft.read_back;
        outcome.losses = draft.losses;
        outcome.warnings = draft.warnings;
        if !is_stopped {
            outcome.snapshot = draft.snapshot;
        }
        self.summarise(start, &outcome);
        outcome
    }

    fn summarise(&self, start: Timestamp, outcome: &Outcome) {
        let operation = self.request.operation();
        let is_maintenance = operation == Operation::Maintenance;
        let kind = match (operation, self.is_original()) {
            (Operation::Maintenance, _) => "maintenance",
            (_, true) => "unknown",
            (other, false) => other.as_str(),
        };
        // The original calls a skipped backup a failure that ends with 0.
        let is_success = match outcome.ending {
            Ending::Failed(_) => false,
            Ending::SourceEmpty => !self.is_original(),
            _ => true,
        };
        let result = if is_success { "SUCCESS" } else { "FAILURE" };
        let is_silent = |failure: &Failure| self.is_original() && failure.code == ExitCode::Stopped;
        if let Some(failure) = outcome.failed().filter(|failure| !is_silent(failure)) {
            self.log.line(&format!("ERROR: {}", failure.message));
            if !self.is_original() {
                failure.candidates.iter().for_each(|candidate| {
                    self.log.line(&format!(
                        "ERROR:   candidate {}, {} snapshots, newest {}",
                        candidate.identity, candidate.snapshots, candidate.latest
                    ));
                });
                failure.paths.iter().for_each(|path| self.log.line(&format!("ERROR:   affected {path}")));
            }
        }
        self.log.line("INFO: === OPERATION SUMMARY ===");
        self.log.line(&format!("INFO: OPERATION_TYPE: {kind}"));
        self.log.line(&format!("INFO: OPERATION_RESULT: {result}"));
        if is_maintenance {
            self.log.line(&format!("INFO: MAINTENANCE_STATUS: {result}"));
            match outcome.failed() {
                None => self.log.line(&format!("INFO: MAINTENANCE_DURATION: {}", self.seconds_since(start))),
                Some(failure) => {
                    self.log.line(&format!("INFO: MAINTENANCE_FAILURE_REASON: {}", failure.message));
                    self.log.line("INFO: KOPIA_ERROR_OUTPUT_START:");
                    self.log.line(&format!("INFO:   {}", failure.message));
                    self.log.line("INFO: KOPIA_ERROR_OUTPUT_END");
                }
            }
        }
        self.log.line(&format!("INFO: EXIT_CODE: {}", outcome.exit_code));
        self.log.line("INFO: === Done ===");
    }
}

/// The failure of a run that was told to stop.
pub fn stopped() -> Failure {
    Failure::new(ExitCode::Stopped, "told to stop before the run was done; nothing of it counts")
}

/// Lets the engine notice a stop signal where it does not wait.
pub struct StopMonitor(tokio::sync::watch::Receiver<bool>);

impl StopMonitor {
    /// Watches the run's stop signal; under the original's profile it never asks to stop.
    pub fn of(run: &Run<'_>) -> Self {
        let never = || tokio::sync::watch::channel(false).1;
        Self(if run.is_original() { never() } else { run.doors.stop.clone() })
    }
}

impl Monitor for StopMonitor {
    fn cancelled(&self) -> bool {
        *self.0.borrow()
    }
}

/// Waits until the run is told to stop; for ever if nobody can tell any more.
async fn told_to_stop(mut stop: tokio::sync::watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Runs one mover Job to its end.
///
/// # Guarantees
/// Under the safe profile success is reported only when a snapshot was stored, restored and read back, or
/// maintenance ran, or when there was nothing to do and the outcome says so; every other end has a non-zero
/// exit code, a stop signal included. The log's last line but one tells the exit code.
/// # Cancellation
/// Dropping the future is a killed process: nothing is undone, nothing half-done is visible as a snapshot.
///
/// The future is boxed so that it is compiled here: an `async fn` is compiled by every crate that polls it.
pub fn run(request: Request, doors: Doors) -> Pin<Box<dyn Future<Output = Outcome> + Send>> {
    Box::pin(to_its_end(request, doors))
}

async fn to_its_end(request: Request, doors: Doors) -> Outcome {
    let log = Log::new(doors.log.clone(), &request);
    let run = Run { request: &request, doors: &doors, log };
    let start = run.now();
    let mut draft = Draft::default();
    run.begin();
    let ending = match request.profile {
        Profile::Original => run.perform(&mut draft).await,
        Profile::Safe => tokio::select! {
            biased;
            () = told_to_stop(doors.stop.clone()) => Err(stopped()),
            ending = run.perform(&mut draft) => ending,
        },
    };
    run.end(start, draft, ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_may_be_spawned() {
        fn is_send<T: Send>(_: impl Fn(Request, Doors) -> T) {}
        is_send(run);
    }
}
