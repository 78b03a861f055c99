//! Reconcilers for ReplicationSource, ReplicationDestination and KopiaMaintenance.
//!
//! [`run`] serves the three kinds and the volume populator with one kube client until it is dropped. It
//! never opens a repository: what happened inside comes back by `contract`.
use std::sync::Arc;

use jiff::Timestamp;

/// A clock: each call tells the present time. Waiting uses tokio's clock.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How a controller behaves where the original operator loses data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Profile {
    /// The safe behaviour (default).
    #[default]
    Safe,
    /// As VolSync's Kopia fork behaves, unsafe parts included.
    Original,
}

/// What a controller needs besides a client.
#[derive(Clone)]
pub struct Settings {
    /// Policy where the original loses data.
    pub profile: Profile,
    /// The clock.
    pub now: Now,
    /// The image that mover containers are given.
    pub mover_image: String,
}

/// Runs all reconcilers until dropped.
pub async fn run(client: kube::Client, settings: Settings) {
    let _ = (client, settings);
    unimplemented!("written by the controller's room")
}
