//! Faults of pods and the processes in them.
//!
//! They aim at a point of any seam, so that a process can be ended at exactly the place that matters: the
//! double that meets [`crate::Verdict::Kill`] goes on (SIGTERM is noticed later, by the process itself) or
//! never answers (SIGKILL); who runs the process hears it by [`crate::Register::killed`].
pub mod oom_kill;
pub mod sigterm;
