//! Names and order of the variables of a mover pod, and the ordered table a controller fills.
//!
//! Names are those of the fork (`specs/volsync-behaviour.md` section 3.5) and are read by people, policies
//! and scripts; [`safe`] holds the ones that only this reference knows. A controller builds an
//! [`Environment`] in the order of the groups below; the mover reads it with [`crate::Request::from_env`].
//! Nothing here reads the process's environment.

/// `maintenance` asks for maintenance; unset for backup and restore, which come as argument.
pub const DIRECTION: &str = "DIRECTION";

/// Mount path of the data volume.
pub const DATA_DIR: &str = "DATA_DIR";
/// Directory of the cache volume.
pub const KOPIA_CACHE_DIR: &str = "KOPIA_CACHE_DIR";

/// The repository's password; required.
pub const KOPIA_PASSWORD: &str = "KOPIA_PASSWORD";
/// JSON with `encryption`, `compression`, `splitter`, `caching`; used at creation.
pub const KOPIA_MANUAL_CONFIG: &str = "KOPIA_MANUAL_CONFIG";
/// URL of the repository, see [`crate::location`].
pub const KOPIA_REPOSITORY: &str = "KOPIA_REPOSITORY";

/// Name of a Kopia compressor.
pub const KOPIA_COMPRESSION: &str = "KOPIA_COMPRESSION";
/// How many files are read at once.
pub const KOPIA_PARALLELISM: &str = "KOPIA_PARALLELISM";
/// Path recorded (backup) or looked for (restore) instead of `/data`.
pub const KOPIA_SOURCE_PATH_OVERRIDE: &str = "KOPIA_SOURCE_PATH_OVERRIDE";
/// Retention, hourly.
pub const KOPIA_RETAIN_HOURLY: &str = "KOPIA_RETAIN_HOURLY";
/// Retention, daily.
pub const KOPIA_RETAIN_DAILY: &str = "KOPIA_RETAIN_DAILY";
/// Retention, weekly.
pub const KOPIA_RETAIN_WEEKLY: &str = "KOPIA_RETAIN_WEEKLY";
/// Retention, monthly.
pub const KOPIA_RETAIN_MONTHLY: &str = "KOPIA_RETAIN_MONTHLY";
/// Retention, yearly.
pub const KOPIA_RETAIN_YEARLY: &str = "KOPIA_RETAIN_YEARLY";
/// Retention, latest.
pub const KOPIA_RETAIN_LATEST: &str = "KOPIA_RETAIN_LATEST";
/// Shell command before the snapshot.
pub const KOPIA_BEFORE_SNAPSHOT: &str = "KOPIA_BEFORE_SNAPSHOT";
/// Shell command after the snapshot.
pub const KOPIA_AFTER_SNAPSHOT: &str = "KOPIA_AFTER_SNAPSHOT";
/// Additional arguments: a JSON list (safe), or joined by [`ARGUMENT_SEPARATOR`] (original).
pub const KOPIA_ADDITIONAL_ARGS: &str = "KOPIA_ADDITIONAL_ARGS";

/// RFC 3339 instant: newest snapshot not after it.
pub const KOPIA_RESTORE_AS_OF: &str = "KOPIA_RESTORE_AS_OF";
/// Size of the selection window; only 0 has an effect.
pub const KOPIA_SHALLOW: &str = "KOPIA_SHALLOW";
/// How many of the newest snapshots to skip.
pub const KOPIA_PREVIOUS: &str = "KOPIA_PREVIOUS";
/// `true`: remove what the destination holds before restoring.
pub const KOPIA_ENABLE_FILE_DELETION: &str = "KOPIA_ENABLE_FILE_DELETION";

/// `true`: leave cache limits as they are.
pub const KOPIA_SKIP_CACHE_CONFIG: &str = "KOPIA_SKIP_CACHE_CONFIG";
/// Limit of the metadata cache, MiB.
pub const KOPIA_METADATA_CACHE_SIZE_LIMIT_MB: &str = "KOPIA_METADATA_CACHE_SIZE_LIMIT_MB";
/// Limit of the content cache, MiB.
pub const KOPIA_CONTENT_CACHE_SIZE_LIMIT_MB: &str = "KOPIA_CONTENT_CACHE_SIZE_LIMIT_MB";
/// Size of the cache volume, bytes.
pub const KOPIA_CACHE_CAPACITY_BYTES: &str = "KOPIA_CACHE_CAPACITY_BYTES";

/// Kopia's user name; always set for backup and restore.
pub const KOPIA_OVERRIDE_USERNAME: &str = "KOPIA_OVERRIDE_USERNAME";
/// Kopia's host name; always set for backup and restore.
pub const KOPIA_OVERRIDE_HOSTNAME: &str = "KOPIA_OVERRIDE_HOSTNAME";
/// `true` for restores.
pub const KOPIA_DISCOVER_SNAPSHOTS: &str = "KOPIA_DISCOVER_SNAPSHOTS";
/// Owner of maintenance, `user@host` or `user` (then `@volsync`); from the Secret.
pub const KOPIA_OVERRIDE_MAINTENANCE_USERNAME: &str = "KOPIA_OVERRIDE_MAINTENANCE_USERNAME";

/// `1`: the original's mover waits instead of working.
pub const DEBUG_MOVER: &str = "DEBUG_MOVER";
/// Path of the custom CA.
pub const CUSTOM_CA: &str = "CUSTOM_CA";
/// JSON text of `policyConfig.repositoryConfig`.
pub const KOPIA_STRUCTURED_REPOSITORY_CONFIG: &str = "KOPIA_STRUCTURED_REPOSITORY_CONFIG";
/// Where the policy files are mounted.
pub const KOPIA_CONFIG_PATH: &str = "KOPIA_CONFIG_PATH";
/// File name of the global policy.
pub const KOPIA_GLOBAL_POLICY_FILE: &str = "KOPIA_GLOBAL_POLICY_FILE";
/// File name of the repository config.
pub const KOPIA_REPOSITORY_CONFIG_FILE: &str = "KOPIA_REPOSITORY_CONFIG_FILE";
/// `1` or `0`; informational.
pub const PRIVILEGED_MOVER: &str = "PRIVILEGED_MOVER";

/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const AWS_ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const AWS_SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const AWS_SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const AWS_DEFAULT_REGION: &str = "AWS_DEFAULT_REGION";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const AWS_REGION: &str = "AWS_REGION";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const AWS_PROFILE: &str = "AWS_PROFILE";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const AWS_S3_ENDPOINT: &str = "AWS_S3_ENDPOINT";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const KOPIA_S3_BUCKET: &str = "KOPIA_S3_BUCKET";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const KOPIA_S3_ENDPOINT: &str = "KOPIA_S3_ENDPOINT";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const KOPIA_S3_DISABLE_TLS: &str = "KOPIA_S3_DISABLE_TLS";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const AWS_S3_DISABLE_TLS: &str = "AWS_S3_DISABLE_TLS";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const AZURE_ACCOUNT_NAME: &str = "AZURE_ACCOUNT_NAME";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const AZURE_ACCOUNT_KEY: &str = "AZURE_ACCOUNT_KEY";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const AZURE_ACCOUNT_SAS: &str = "AZURE_ACCOUNT_SAS";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const AZURE_ENDPOINT_SUFFIX: &str = "AZURE_ENDPOINT_SUFFIX";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const AZURE_STORAGE_ACCOUNT: &str = "AZURE_STORAGE_ACCOUNT";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const AZURE_STORAGE_KEY: &str = "AZURE_STORAGE_KEY";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const AZURE_STORAGE_SAS_TOKEN: &str = "AZURE_STORAGE_SAS_TOKEN";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const KOPIA_AZURE_CONTAINER: &str = "KOPIA_AZURE_CONTAINER";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const KOPIA_AZURE_STORAGE_ACCOUNT: &str = "KOPIA_AZURE_STORAGE_ACCOUNT";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const KOPIA_AZURE_STORAGE_KEY: &str = "KOPIA_AZURE_STORAGE_KEY";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const GOOGLE_PROJECT_ID: &str = "GOOGLE_PROJECT_ID";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const GOOGLE_APPLICATION_CREDENTIALS: &str = "GOOGLE_APPLICATION_CREDENTIALS";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const GOOGLE_DRIVE_FOLDER_ID: &str = "GOOGLE_DRIVE_FOLDER_ID";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const GOOGLE_DRIVE_CREDENTIALS: &str = "GOOGLE_DRIVE_CREDENTIALS";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const KOPIA_GCS_BUCKET: &str = "KOPIA_GCS_BUCKET";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const GCS_BUCKET: &str = "GCS_BUCKET";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const B2_ACCOUNT_ID: &str = "B2_ACCOUNT_ID";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const B2_APPLICATION_KEY: &str = "B2_APPLICATION_KEY";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const KOPIA_B2_BUCKET: &str = "KOPIA_B2_BUCKET";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const WEBDAV_URL: &str = "WEBDAV_URL";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const WEBDAV_USERNAME: &str = "WEBDAV_USERNAME";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const WEBDAV_PASSWORD: &str = "WEBDAV_PASSWORD";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const SFTP_HOST: &str = "SFTP_HOST";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const SFTP_PORT: &str = "SFTP_PORT";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const SFTP_USERNAME: &str = "SFTP_USERNAME";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const SFTP_PASSWORD: &str = "SFTP_PASSWORD";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const SFTP_PATH: &str = "SFTP_PATH";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const SFTP_KEY_FILE: &str = "SFTP_KEY_FILE";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const SFTP_KNOWN_HOSTS: &str = "SFTP_KNOWN_HOSTS";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const SFTP_KNOWN_HOSTS_DATA: &str = "SFTP_KNOWN_HOSTS_DATA";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const RCLONE_REMOTE_PATH: &str = "RCLONE_REMOTE_PATH";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const RCLONE_EXE: &str = "RCLONE_EXE";
/// Key of the repository Secret, passed on when present; see [`crate::location`].
pub const RCLONE_CONFIG: &str = "RCLONE_CONFIG";

/// Every optional key of the repository Secret that RS and RD movers are given, in the order of the pod.
pub const BACKEND_KEYS: [&str; 44] = [
    AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY,
    AWS_SESSION_TOKEN,
    AWS_DEFAULT_REGION,
    AWS_REGION,
    AWS_PROFILE,
    AWS_S3_ENDPOINT,
    KOPIA_S3_BUCKET,
    KOPIA_S3_ENDPOINT,
    KOPIA_S3_DISABLE_TLS,
    AWS_S3_DISABLE_TLS,
    AZURE_ACCOUNT_NAME,
    AZURE_ACCOUNT_KEY,
    AZURE_ACCOUNT_SAS,
    AZURE_ENDPOINT_SUFFIX,
    AZURE_STORAGE_ACCOUNT,
    AZURE_STORAGE_KEY,
    AZURE_STORAGE_SAS_TOKEN,
    KOPIA_AZURE_CONTAINER,
    KOPIA_AZURE_STORAGE_ACCOUNT,
    KOPIA_AZURE_STORAGE_KEY,
    GOOGLE_PROJECT_ID,
    GOOGLE_APPLICATION_CREDENTIALS,
    GOOGLE_DRIVE_FOLDER_ID,
    GOOGLE_DRIVE_CREDENTIALS,
    KOPIA_GCS_BUCKET,
    GCS_BUCKET,
    B2_ACCOUNT_ID,
    B2_APPLICATION_KEY,
    KOPIA_B2_BUCKET,
    WEBDAV_URL,
    WEBDAV_USERNAME,
    WEBDAV_PASSWORD,
    SFTP_HOST,
    SFTP_PORT,
    SFTP_USERNAME,
    SFTP_PASSWORD,
    SFTP_PATH,
    SFTP_KEY_FILE,
    SFTP_KNOWN_HOSTS,
    SFTP_KNOWN_HOSTS_DATA,
    RCLONE_REMOTE_PATH,
    RCLONE_EXE,
    RCLONE_CONFIG,
];

/// Proxy variables, passed on when the controller has them, in order.
pub const PROXY: [&str; 6] =
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"];

/// Between two additional arguments in the original's form of [`KOPIA_ADDITIONAL_ARGS`].
pub const ARGUMENT_SEPARATOR: &str = "|VOLSYNC_ARG_SEP|";

/// Variables that only this reference knows; the original's mover ignores them.
pub mod safe {
    /// `safe` (default) or `original`.
    pub const MOVER_PROFILE: &str = "MOVER_PROFILE";
    /// Unique id of the repository as the status of earlier runs knows it: any other repository, or an
    /// empty place, is refused.
    pub const KOPIA_EXPECTED_UNIQUE_ID: &str = "KOPIA_EXPECTED_UNIQUE_ID";
    /// `true` when a first backup of the wanted identity is known to exist: a restore that finds nothing
    /// then fails, always.
    pub const KOPIA_BACKUP_KNOWN: &str = "KOPIA_BACKUP_KNOWN";
    /// Identity (`user@host`) of which somebody says that it has never been backed up: a restore of it that
    /// finds no repository in an empty place, or only others' snapshots alike, leaves the volume empty.
    pub const KOPIA_FIRST_DEPLOYMENT: &str = "KOPIA_FIRST_DEPLOYMENT";
    /// Which sync a backup belongs to: the object's uid and the time the sync began. An attempt that finds a
    /// whole snapshot of its own sync, left by one that was cut off before it could say so, takes that one.
    pub const KOPIA_SYNC: &str = "KOPIA_SYNC";
    /// Owner (`user@host`) from whom maintenance may be taken over, and nobody else.
    pub const KOPIA_MAINTENANCE_TAKEOVER_FROM: &str = "KOPIA_MAINTENANCE_TAKEOVER_FROM";
    /// Seconds that one request to an S3 store may take with all its retries; a key of the repository Secret.
    pub const S3_RETRY_SECONDS: &str = "S3_RETRY_SECONDS";
    /// Where the termination message goes, instead of `/dev/termination-log`.
    pub const TERMINATION_LOG: &str = "TERMINATION_LOG";
}

/// What one variable of a pod holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The value itself.
    Literal(String),
    /// A key of a Secret in the pod's namespace.
    SecretKey {
        /// Name of the Secret.
        secret: String,
        /// Key in it; the variable's own name in this contract.
        key: String,
        /// Whether the pod starts without it.
        is_optional: bool,
    },
}

/// One variable of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Where its value comes from.
    pub value: Value,
}

/// The ordered variables of a mover container. A name may occur twice; Kubernetes lets the last win.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment(Vec<Variable>);

impl Environment {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }
    /// Appends a literal.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "numbers and texts alike are handed over as they come")]
    pub fn literal(mut self, name: &str, value: impl ToString) -> Self {
        self.0.push(Variable { name: name.to_owned(), value: Value::Literal(value.to_string()) });
        self
    }
    /// Appends a literal if there is a value.
    #[must_use]
    pub fn optional(self, name: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.literal(name, value),
            None => self,
        }
    }
    /// Appends a literal `true` if `condition` holds.
    #[must_use]
    pub fn flag(self, name: &str, condition: bool) -> Self {
        if condition { self.literal(name, "true") } else { self }
    }
    /// Appends a reference to the key of the same name in a Secret.
    #[must_use]
    pub fn secret(mut self, name: &str, secret: &str, is_optional: bool) -> Self {
        let value = Value::SecretKey { secret: secret.to_owned(), key: name.to_owned(), is_optional };
        self.0.push(Variable { name: name.to_owned(), value });
        self
    }
    /// Appends the groups that every backup and restore mover starts with: base, repository, backends.
    ///
    /// `mover_volume` is the mount path of the first mover volume that is a claim: it replaces the
    /// Secret's `KOPIA_REPOSITORY`.
    #[must_use]
    pub fn with_repository(self, data_directory: &str, secret: &str, mover_volume: Option<&str>) -> Self {
        let table = self
            .literal(DATA_DIR, data_directory)
            .literal(KOPIA_CACHE_DIR, crate::pod::CACHE)
            .secret(KOPIA_PASSWORD, secret, false)
            .secret(KOPIA_MANUAL_CONFIG, secret, true);
        let table = match mover_volume {
            Some(mount) => {
                table.literal(KOPIA_REPOSITORY, format!("filesystem://{}/{mount}", crate::pod::MOVER_VOLUMES))
            }
            None => table.secret(KOPIA_REPOSITORY, secret, false),
        };
        BACKEND_KEYS.iter().fold(table, |table, key| table.secret(key, secret, true))
    }
    /// Appends additional arguments as a JSON list, which survives every character; none for an empty list.
    #[must_use]
    pub fn additional_args(self, args: &[String]) -> Self {
        if args.is_empty() {
            return self;
        }
        self.literal(KOPIA_ADDITIONAL_ARGS, serde_json::json!(args))
    }
    /// The variables in order.
    pub fn into_variables(self) -> Vec<Variable> {
        self.0
    }
    /// The variables in order.
    pub fn variables(&self) -> &[Variable] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_the_pods_order() {
        let table =
            Environment::new().with_repository("/data", "repo", None).flag("X", false).literal("Y", 1);
        let names: Vec<&str> = table.variables().iter().map(|variable| variable.name.as_str()).collect();
        assert_eq!(
            names[..5],
            ["DATA_DIR", "KOPIA_CACHE_DIR", "KOPIA_PASSWORD", "KOPIA_MANUAL_CONFIG", "KOPIA_REPOSITORY"]
        );
        assert_eq!(names[5..5 + BACKEND_KEYS.len()], BACKEND_KEYS);
        assert_eq!(names.last(), Some(&"Y"));
    }

    #[test]
    fn a_claim_among_the_mover_volumes_is_the_repository() {
        let table = Environment::new().with_repository("/data", "repo", Some("nas"));
        let value = Value::Literal("filesystem:///mnt/nas".into());
        assert!(table.variables().contains(&Variable { name: KOPIA_REPOSITORY.into(), value }));
    }
}
