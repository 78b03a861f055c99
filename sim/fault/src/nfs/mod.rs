//! Faults of an NFS export, as its clients meet them.
//!
//! The actor of a point is the mount's, the class is the export's name. Whether a hang is felt as a hang
//! or as EIO is the mount's option (hard or soft), not the fault's.
pub mod hard_mount_hang;
pub mod no_space;
pub mod server_away;
pub mod soft_mount_eio;
pub mod stale_handle;
pub mod wrong_export;

/// The operations that change something on the export.
pub const WRITES: &[&str] = &["write", "create", "rename", "remove", "mkdir"];
