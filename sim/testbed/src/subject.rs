//! The subject: whose promises the bed puts to the test.
//!
//! The reference runs in process; `None` leaves the cluster without a controller, for those who attach
//! their own; a saboteur is the reference with one seam wrapped or its mover replaced, so that an oracle
//! must catch it. What cannot be had in process (the real operator) belongs to another tier.

pub mod saboteur;

use std::{fmt, sync::Arc};

use apiserver::ApiServer;
use futures::future::BoxFuture;

pub use controller::Profile;
use controller::lease::Elector;

use crate::{access::Guard, actor::kubelet::process::Mover, clock::Clock};

/// Which controller and mover run on a bed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The reference controller and mover, in process.
    Reference(controller::Profile),
    /// No controller: volumes, Jobs and pods live, custom resources are only stored.
    None,
    /// The reference with one deliberate defect, by name.
    Saboteur(String),
}

impl Default for Subject {
    fn default() -> Self {
        Self::Reference(controller::Profile::Safe)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reference(controller::Profile::Safe) => f.write_str("reference"),
            Self::Reference(controller::Profile::Original) => f.write_str("reference (original's profile)"),
            Self::None => f.write_str("none"),
            Self::Saboteur(name) => write!(f, "saboteur {name}"),
        }
    }
}

/// Starts a controller on a server; dropped or aborted, it is a killed process.
pub type StartController = Arc<dyn Fn(Surroundings) -> BoxFuture<'static, ()> + Send + Sync>;

/// What a controller is started with.
#[derive(Clone)]
pub struct Surroundings {
    /// The cluster's server.
    pub server: ApiServer,
    /// The bed's clock.
    pub clock: Clock,
    /// Where the reference counts; fresh at every start, as in a new process.
    pub metrics: controller::Metrics,
    /// How it takes part in the election of a leader, if it does.
    pub election: Option<controller::lease::Options>,
}

/// A subject taken apart into what a bed starts.
#[derive(Clone)]
pub struct Assembly {
    /// The controller, if there is one.
    pub controller: Option<StartController>,
    /// The mover.
    pub mover: Mover,
    /// What stands between the controller and the server's store.
    pub admission: Vec<Arc<dyn apiserver::Admission>>,
}

/// The reference's mover.
pub fn honest_mover() -> Mover {
    Arc::new(|request, doors| Box::pin(mover::run(request, doors)))
}

/// The image that mover containers are given; nothing is pulled.
pub const MOVER_IMAGE: &str = "firedrill/mover:bed";

impl Assembly {
    /// Takes a subject apart; `None` for a saboteur whose name nobody knows ([`saboteur::ALL`]).
    pub fn of(subject: &Subject) -> Option<Self> {
        match subject {
            Subject::None => Some(Self { controller: None, mover: honest_mover(), admission: Vec::new() }),
            Subject::Reference(profile) => Some(Self {
                controller: Some(reference(*profile)),
                mover: honest_mover(),
                admission: Vec::new(),
            }),
            Subject::Saboteur(name) => saboteur::assemble(name),
        }
    }

    /// A controller of one's own, given a client; movers are the reference's.
    pub fn own<F>(controller: impl Fn(kube::Client) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let start: StartController = Arc::new(move |around| {
            let client = kube::Client::new(around.server.service("controller"), "default");
            Box::pin(controller(client))
        });
        Self { controller: Some(start), mover: honest_mover(), admission: Vec::new() }
    }
}

/// The reference controller with a client of its own.
pub fn reference(profile: controller::Profile) -> StartController {
    Arc::new(move |around| {
        let client = match Guard::installed() {
            Some(guard) => guard.client(&around.server, "controller"),
            None => kube::Client::new(around.server.service("controller"), "default"),
        };
        let settings = controller::Settings {
            metrics: around.metrics,
            // In this process no connection is lost unnoticed.
            watch_timeout: Some(0),
            ..controller::Settings::new(profile, around.clock.as_function(), MOVER_IMAGE)
        };
        let Some(election) = around.election else { return Box::pin(controller::run(client, settings)) };
        // The Lease is granted by a Role of its own, which the guard's rules do not know.
        let server = kube::Client::new(around.server.service("controller"), "default");
        let mut elector = Elector::new(server, election, around.clock.as_function());
        Box::pin(async move {
            elector.acquire(|| {}).await;
            tokio::select! {
                biased;
                lost = elector.hold() => tracing::warn!(%lost, "this controller does not lead any more"),
                () = controller::run(client, settings) => {}
            }
        })
    })
}
