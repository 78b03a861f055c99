//! The verbs that change objects.
//!
//! Each is a plain function from state to state, run under the server's lock. The order inside a verb is the
//! real server's: decode (prune, default), admission, system fields, validation, managed fields, store.

mod create;
mod delete;
mod patch;
mod update;

pub(crate) use delete::Deleted;
