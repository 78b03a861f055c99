//! One backup, restore or maintenance run, as one function.
//!
//! [`run`] does what one mover Job does; the binary around it brings the real doors. It never talks to
//! Kubernetes: what it has to say goes into the [`contract::Outcome`] and the log.
mod doors;

use contract::{Outcome, Request};
pub use doors::{ActionEnd, Doors, OpenStore, RunAction};

/// Runs one mover Job to its end.
///
/// # Guarantees
/// Success is reported only when a snapshot was stored, restored and read back, or maintenance ran; every
/// other end has a non-zero exit code in the outcome, a stop signal included.
pub async fn run(request: Request, doors: Doors) -> Outcome {
    let _ = (request, doors);
    unimplemented!("written by the mover's room")
}
