//! A Kubernetes API server double: a tower service that stock clients use unchanged.

mod direct;
mod failure;
mod options;
mod server;
mod service;

pub use direct::{Delete, Direct, Patch, Propagation, Selection};
pub use failure::{Cause, Failure};
pub use options::{Admission, Attributes, Clock, ManagedFields, Operation, Options, Sequencing};
pub use server::{ApiServer, Verb, Write};
pub use service::{ApiService, Body};
