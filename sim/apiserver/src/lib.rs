//! A Kubernetes API server double: a tower service that stock clients use unchanged.

mod access;
mod builtin;
mod convert;
mod crd;
mod direct;
mod discovery;
mod failure;
mod kinds;
mod managed;
mod openapi;
mod options;
mod patch;
mod quantity;
mod request;
mod resource;
mod route;
mod schema;
mod selector;
mod sequence;
mod server;
mod service;
mod shape;
mod state;
mod store;
mod subresource;
mod table;
mod validate;
mod watch;
mod work;

pub use direct::{Delete, Direct, Patch, Propagation, Selection};
pub use failure::{Cause, Failure};
pub use options::{Admission, Attributes, Clock, ManagedFields, Operation, Options, Sequencing};
pub use server::{ApiServer, Verb, Write};
pub use service::{ApiService, Body};
