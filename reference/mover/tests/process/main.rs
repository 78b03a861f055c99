//! The mover as a process, tried from outside: real files, real signals, real exit codes.
//!
//! Every test runs the binary with an environment of its own and looks at exit code, termination message,
//! log and the two trees. What needs something this machine may lack prints why it is skipped.

mod interop;
mod refusal;
mod round_trip;
mod s3;
#[path = "../../../engine/tests/support/s3_server.rs"]
mod s3_server;
mod space;
mod stage;
mod stop;
