//! Reads a GitOps repository or rendered manifests into the neutral backup model.
//!
//! Promises that what it reads it reads as Flux and kustomize would hand it to the cluster, and that
//! whatever it did not read it names: nothing is passed over in silence. The result is deterministic.
//! Needs no cluster, no network and no program (a `kustomize` may be named for what the own builder
//! does not know). Invariants: never reads the clock or the environment; never writes; invents values
//! only for what Git does not hold, and lists them as assumed. It does not run anything: the drill in
//! `runner` does. Read `model` for the result, `load` and `flux` for the way in, `check` for opinions.

pub mod check;
pub mod error;
pub mod flux;
pub mod identity;
pub mod model;
pub mod schedule;
pub mod secret;
pub mod storage;
pub mod substitute;
pub mod yaml;

mod assemble;
mod load;
mod policy;
mod resourceset;
mod template;

pub use error::Error;
pub use load::{Input, Options, read};
pub use model::Model;
