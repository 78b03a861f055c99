//! A Kubernetes 1.34 API server double: a tower service that stock clients use unchanged.
//!
//! In process and without sockets for simulations (`kube::Client::new(server.service("me"), "default")`),
//! over HTTP for kubectl ([`serve`]). Time, randomness and the order of requests inside one instant are
//! passed in ([`Options`]), so that a seed rebuilds a run write by write.
//!
//! # Promises
//! Each is held by a test in `tests/`.
//! - *One history.* Every accepted write gets the next resourceVersion of the whole server; a write that changes
//!   nothing is no write. A writer that started from another resourceVersion gets 409.
//! - *Watches* deliver every event after a resourceVersion once, in order, or answer 410 when history no longer
//!   holds it. Bookmarks, streaming lists, `timeoutSeconds`. Pages of a list show one moment.
//! - *Deletion* waits for finalizers and grace periods; dependents follow in background, in foreground or are
//!   orphaned (a Job without a policy orphans its pods, as the real one); namespaces empty themselves.
//! - *Status and spec* have separate doors; `generation` counts changes of the spec alone.
//! - *Custom resources* are served from the moment their definition is stored: pruning, defaulting,
//!   structural schema, strict field validation, printer columns, with the real server's sentences.
//! - *Patches*: JSON, merge, strategic (built-in types), server-side apply with ownership per manager.
//! - *Defaulting* of namespaces, pods, jobs, cron jobs, claims and volumes equals that of a recorded real server.
//! - *Order*: with [`Sequencing::Tick`] two processes with one seed write the same.
//!
//! # Not promised
//! Authentication and authorisation (everybody may do everything); admission and conversion webhooks; CEL rules
//! in definitions; unknown fields of built-in types (kept, not pruned or refused); protobuf; exec, attach
//! and port-forward; quotas; removal of protection finalizers and every other controller but garbage
//! collection, namespaces and definitions: those are actors that others bring.
//!
//! # Reading order
//! `options`, `server`, `direct` (faces); `state` and `verbs`, `work` (what the server does by itself), `store`
//! (history); `kinds` (built-in rules), `schema`, `crd` (custom ones); `route`, `watch`, `service`, `sequence` (HTTP).

mod access;
mod builtin;
mod convert;
mod crd;
mod direct;
mod discovery;
mod failure;
mod fields;
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
mod serve;
mod server;
mod service;
mod shape;
mod state;
mod store;
mod subresource;
mod table;
mod typing;
mod validate;
mod verbs;
mod watch;
mod work;

pub use direct::{Delete, Direct, Patch, Propagation, Selection};
pub use failure::{Cause, Failure};
pub use options::{Admission, Attributes, Clock, ManagedFields, Operation, Options, Sequencing};
pub use serve::serve;
pub use server::{ApiServer, Verb, Write};
pub use service::{ApiService, Body};
