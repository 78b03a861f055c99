//! Mount paths, volume names, container names and arguments of a mover pod.
//!
//! The names are those of the fork (`specs/volsync-behaviour.md` sections 3.5 and 5.2); admission policies
//! in the field match on them, so they are part of the contract.

/// Container of a backup or restore mover.
pub const CONTAINER: &str = "kopia";
/// Container of a maintenance mover.
pub const CONTAINER_MAINTENANCE: &str = "kopia-maintenance";
/// Command of every mover container.
pub const COMMAND: &str = "/mover-kopia/entry.sh";
/// Argument of a backup mover.
pub const ARGUMENT_BACKUP: &str = "backup";
/// Argument of a restore mover.
pub const ARGUMENT_RESTORE: &str = "restore";
/// Value of [`crate::environment::DIRECTION`] that asks for maintenance; the pod then has no arguments.
pub const DIRECTION_MAINTENANCE: &str = "maintenance";

/// Where a backup finds the data volume; also the default path of every identity.
pub const DATA_BACKUP: &str = "/data";
/// Where a restore finds the data volume.
pub const DATA_RESTORE: &str = "/restore/data";
/// Where the cache volume is mounted.
pub const CACHE: &str = "/cache";
/// Where the memory-backed scratch volume is mounted.
pub const TMP: &str = "/tmp";
/// The empty directory around [`DATA_RESTORE`].
pub const RESTORE: &str = "/restore";
/// Where a custom CA is mounted, and its file.
pub const CUSTOM_CA: &str = "/customCA";
/// File name of the custom CA.
pub const CUSTOM_CA_FILE: &str = "ca.crt";
/// Where the policy Secret or ConfigMap is mounted.
pub const POLICY: &str = "/kopia-config";
/// Where file-based credentials are mounted.
pub const CREDENTIALS: &str = "/credentials";
/// Parent of the mover volumes: `/mnt/<mountPath>`.
pub const MOVER_VOLUMES: &str = "/mnt";

/// Volume name of the data claim.
pub const VOLUME_DATA: &str = "data";
/// Volume name of [`TMP`].
pub const VOLUME_TMP: &str = "tempdir";
/// Volume name of [`RESTORE`].
pub const VOLUME_RESTORE: &str = "restore";
/// Volume name of [`CACHE`].
pub const VOLUME_CACHE: &str = "cache";
/// Volume name of [`CUSTOM_CA`].
pub const VOLUME_CUSTOM_CA: &str = "custom-ca";
/// Volume name of [`POLICY`].
pub const VOLUME_POLICY: &str = "kopia-config";
/// Volume name of [`CREDENTIALS`].
pub const VOLUME_CREDENTIALS: &str = "credentials";
/// Volume name prefix of a mover volume: `u-<mountPath>`.
pub const VOLUME_MOVER_PREFIX: &str = "u-";
/// Volume name of `/tmp` in a maintenance pod.
pub const VOLUME_MAINTENANCE_TMP: &str = "tmp";
/// Volume name of the cache in a maintenance pod.
pub const VOLUME_MAINTENANCE_CACHE: &str = "kopia-cache";

/// Where Kubernetes picks up the termination message.
pub const TERMINATION_LOG: &str = "/dev/termination-log";
/// Longest termination message that Kubernetes keeps, in bytes.
pub const TERMINATION_BYTES_MAX: usize = 4096;
/// How much of the end of the mover's log a controller of the original keeps, in bytes.
pub const LOG_TAIL_BYTES: usize = 1024;
/// Default size limit of an empty-directory cache, in bytes (8 GiB).
pub const CACHE_CAPACITY_BYTES_DEFAULT: u64 = 8 << 30;
/// How long a before or after action may take, in seconds.
pub const ACTION_SECONDS_MAX: u64 = 300;
