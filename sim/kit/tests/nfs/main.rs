//! The NFS server and the mount helper together, over loopback and the machine's FUSE.
//!
//! Both are the real program, as processes, so that a killed server is a killed server. Skipped with a reason
//! where there is no FUSE or no root; `FIREDRILL_REQUIRE=fuse` makes that a failure.
#![allow(clippy::disallowed_methods, reason = "real processes take real time")]
mod bed;
mod files;
mod mounting;
mod outages;
mod switches;
