//! Faults: when, where, what, as data, and the register that arms, fires and lifts them.
//!
//! A seam's double asks the [`Register`] at every operation, with a stable [`Point`]; the register answers
//! with a [`Verdict`] which the double carries out. It promises that every arming, firing and lift is
//! counted and shown to the observer, and that the same seed and the same operations give the same
//! verdicts. It never reads a clock, draws chance only from its seed, and does not know what a repository,
//! a volume or a cluster is. Read [`catalogue`] for the list, one file of a seam for one fault, then
//! [`register`].
//!
//! # Operation names, as the doubles must spell them
//!
//! | seam | actor | operations | class |
//! |---|---|---|---|
//! | [`Seam::Store`] | the Job, e.g. `volsync-src-app` | `get` `put` `list` `stat` `delete` | `<store>/<blob class>`, e.g. `main/p` |
//! | [`Seam::Tree`] | the mount's actor | `write-back` `open` `sync` | `<character>/dense` or `<character>/sparse` |
//! | [`Seam::Csi`] | the driver | see [`csi::operation`] | volume or snapshot name |
//! | [`Seam::Nfs`] | the mount's actor | `read` `write` `create` `rename` `remove` `lookup` `list` | export name |
//! | [`Seam::Process`] | the Job | `start` `run` | pod or Job name |
pub mod aim;
pub mod catalogue;
pub mod clock;
pub mod csi;
pub mod nfs;
pub mod point;
pub mod process;
pub mod register;
pub mod store;
pub mod tree;

pub use aim::Aim;
pub use catalogue::{CATALOGUE, Effect, Fault, Row, UnknownFault};
pub use point::{Point, Seam, Verdict};
pub use register::{Decision, Due, Event, Firing, Id, Observer, Register};
