//! One backup, restore or maintenance run, as one function.
//!
//! [`run`] does what one mover Job does; the binary around it brings the real doors. It promises that
//! success is never reported without a stored, or restored and read back, snapshot, and that a run that was
//! told to stop ends with 143 (safe profile). It never talks to Kubernetes, reads no clock and no
//! environment: what it has to say goes into the [`contract::Outcome`] and the log. The original's unsafe
//! behaviour is a profile of the request; each module says where it differs. Read next: [`Doors`], then the
//! operations in `backup`, `restore`, `maintenance`.
mod backup;
mod connect;
mod doors;
mod failure;
mod log;
mod maintenance;
mod policy;
mod restore;
mod run;
mod select;

pub use connect::MAINTENANCE_OWNER;
pub use doors::{ActionEnd, Doors, OpenStore, ReadFile, RunAction};
pub use run::run;
