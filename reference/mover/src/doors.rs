//! Everything a run needs from outside, named once.
//!
//! The binary brings the real things, a bed its doubles. A run uses nothing else: no clock, no
//! environment, no file outside the data volume.
use std::{io, sync::Arc};

use engine::{
    context::{Client, Entropy, Now},
    store::{self, SharedStore},
    tree::WriteTree,
};

/// Opens the store that a repository location names.
#[async_trait::async_trait]
pub trait OpenStore: Send + Sync {
    /// Opens the place that `location` describes as it is; never prepares or creates anything.
    ///
    /// # Errors
    /// [`store::ErrorKind::NotFound`] when the place is there and empty (a store that lists nothing is
    /// understood as the same); anything else as the place itself fails: not mounted, refused, unreachable.
    async fn open(&self, location: &contract::Location) -> Result<SharedStore, store::Error>;
    /// Opens a place that was found empty, prepared for a new repository (a directory gets its layout
    /// file). Called only when a repository is about to be created.
    async fn prepare(&self, location: &contract::Location) -> Result<SharedStore, store::Error>;
}

/// How an action ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionEnd {
    /// Its exit code.
    pub code: i32,
    /// What it printed, both streams together.
    pub output: String,
}

/// Runs the shell commands before and after a snapshot (`bash -c`).
///
/// # Cancellation
/// The future is dropped after [`contract::pod::ACTION_SECONDS_MAX`] and when the run is told to stop;
/// whoever started a process ends it.
#[async_trait::async_trait]
pub trait RunAction: Send + Sync {
    /// Runs one command to its end.
    async fn run(&self, command: &str) -> ActionEnd;
}

/// Reads a file by its absolute path.
pub type ReadFile = Arc<dyn Fn(&str) -> io::Result<Vec<u8>> + Send + Sync>;

/// Everything a run needs from outside.
#[derive(Clone)]
pub struct Doors {
    /// Opens the repository's store.
    pub stores: Arc<dyn OpenStore>,
    /// The data volume: source of a backup, destination of a restore; absent for maintenance.
    pub data: Option<Arc<dyn WriteTree>>,
    /// The clock.
    pub now: Now,
    /// Randomness.
    pub entropy: Entropy,
    /// Who the process is by itself: its user (`root`) and host name (the pod's name).
    pub process: Client,
    /// Receives each log line, without a line end.
    pub log: Arc<dyn Fn(&str) + Send + Sync>,
    /// Becomes `true` when the run is told to stop (SIGTERM): it must end soon and non-zero.
    pub stop: tokio::sync::watch::Receiver<bool>,
    /// Runs before and after actions.
    pub actions: Arc<dyn RunAction>,
    /// Reads a mounted policy file by its absolute path.
    pub read_file: ReadFile,
}
