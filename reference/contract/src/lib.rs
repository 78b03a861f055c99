//! What controller and mover agree on: environment, mounts, exit codes, termination message.
//!
//! Plain data with serde; the controller writes it into a pod, the mover reads it ([`Request::from_env`]),
//! and the other way round for the [`Outcome`]. Names and order are those of VolSync's Kopia fork, so that
//! either side can be exchanged; what the safe behaviour needs in addition starts a group of its own in
//! [`environment::safe`]. It knows neither Kubernetes nor repositories, reads no environment and no file,
//! and never prints a secret. Read next: [`request`], then [`outcome`].
pub mod environment;
pub mod exit;
pub mod identity;
pub mod location;
pub mod outcome;
pub mod pod;
pub mod profile;
pub mod request;
pub mod secret;

pub use environment::{Environment, Value, Variable};
pub use exit::ExitCode;
pub use identity::Identity;
pub use location::Location;
pub use outcome::{Ending, Failure, Outcome};
pub use profile::Profile;
pub use request::{Operation, Request};
pub use secret::Secret;
