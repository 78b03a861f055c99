//! One backup, restore or maintenance run, as one function.
//!
//! [`run`] does what one mover Job does; the binary around it brings the real doors. It never talks to
//! Kubernetes: what it has to say goes into the [`contract::Outcome`] and the log.
use std::sync::Arc;

use contract::{Outcome, Request};
use engine::{
    context::{Entropy, Now},
    store::{self, SharedStore},
    tree::WriteTree,
};

/// Opens the store that a repository location names.
#[async_trait::async_trait]
pub trait OpenStore: Send + Sync {
    /// Opens the place that `location` describes; does not look inside.
    ///
    /// # Errors
    /// As the place itself fails: not mounted, refused, unreachable.
    async fn open(&self, location: &contract::Location) -> Result<SharedStore, store::Error>;
}

/// Everything a run needs from outside.
pub struct Doors {
    /// Opens the repository's store.
    pub stores: Arc<dyn OpenStore>,
    /// The data volume: source of a backup, destination of a restore; absent for maintenance.
    pub data: Option<Arc<dyn WriteTree>>,
    /// The clock.
    pub now: Now,
    /// Randomness.
    pub entropy: Entropy,
    /// Receives each log line, without a line end.
    pub log: Arc<dyn Fn(&str) + Send + Sync>,
    /// Becomes `true` when the run is told to stop (SIGTERM): it must end soon and non-zero.
    pub stop: tokio::sync::watch::Receiver<bool>,
    /// Runs a before or after action (`bash -c`), returning its exit code and output; the bed simulates it.
    pub action: Arc<dyn Fn(&str) -> (i32, String) + Send + Sync>,
}

/// Runs one mover Job to its end.
///
/// # Guarantees
/// Success is reported only when a snapshot was stored, restored and read back, or maintenance ran; every
/// other end has a non-zero exit code in the outcome, a stop signal included.
pub async fn run(request: Request, doors: Doors) -> Outcome {
    let _ = (request, doors);
    unimplemented!("written by the mover's room")
}
