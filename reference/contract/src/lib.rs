//! What controller and mover agree on: environment, mounts, exit codes, termination message.
//!
//! Plain data with serde; the controller writes it into a pod, the mover reads it, and the other way
//! round for the outcome. It knows neither Kubernetes nor repositories. (First cut: the mover's room
//! completes it.)
use serde::{Deserialize, Serialize};

/// What a mover is asked to do, parsed from its environment and arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {}

/// Where a repository lives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Location {
    /// A directory in the mover's file system (`filesystem:///repository`), usually a mount.
    Filesystem {
        /// Absolute path.
        path: String,
    },
    /// A bucket.
    S3 {
        /// Host and optional port, without scheme.
        endpoint: String,
        /// Bucket name.
        bucket: String,
        /// Key prefix, empty or ending in `/`.
        prefix: String,
        /// Region, may be empty.
        region: String,
        /// Whether TLS is switched off.
        disable_tls: bool,
        /// Access key id.
        access_key: String,
        /// Secret key.
        secret_key: String,
    },
    /// Recognised but not supported by this mover (azure, gcs, b2, webdav, sftp, rclone, gdrive).
    Unsupported {
        /// The kind, as the entry script calls it.
        kind: String,
    },
}

/// How a mover run ended; written as JSON to the termination message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The process's exit code.
    pub exit_code: i32,
}
