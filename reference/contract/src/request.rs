//! What a mover is asked to do, read from its arguments and environment.
//!
//! [`Request::from_env`] is a function of its arguments: it never looks into the process or at a file, so
//! that a bed can call it with what a pod's specification resolves to. Parsing rules are the fork's
//! (`specs/volsync-behaviour.md` sections 1.11 and 4), but for `KOPIA_ADDITIONAL_ARGS`, where a JSON list is
//! read first. Whether a request makes sense for the repository is for the mover to find out.
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Identity, Location, Profile, Secret, environment as env, location, pod};

/// The three things a mover does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Store a snapshot of the data volume.
    Backup,
    /// Bring a snapshot back to the data volume.
    Restore,
    /// Collect what no snapshot needs any more.
    Maintenance,
}

impl Operation {
    /// The word of argument and `DIRECTION`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backup => pod::ARGUMENT_BACKUP,
            Self::Restore => pod::ARGUMENT_RESTORE,
            Self::Maintenance => pod::DIRECTION_MAINTENANCE,
        }
    }
}

/// What to keep; `None` inherits the repository's policy, 0 switches a class off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retain {
    /// Newest snapshots.
    pub latest: Option<i32>,
    /// One per hour.
    pub hourly: Option<i32>,
    /// One per day.
    pub daily: Option<i32>,
    /// One per week.
    pub weekly: Option<i32>,
    /// One per month.
    pub monthly: Option<i32>,
    /// One per year.
    pub yearly: Option<i32>,
}

impl Retain {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Parameters of a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// Name of a Kopia compressor.
    pub compression: Option<String>,
    /// How many files are read at once.
    pub parallelism: Option<i32>,
    /// Retention to set on the identity's policy.
    pub retain: Retain,
    /// Shell command before the snapshot; a failure ends the run.
    pub before_action: Option<String>,
    /// Shell command after the snapshot; a failure only warns.
    pub after_action: Option<String>,
    /// Which sync this is an attempt of: all attempts of one leave one whole snapshot.
    pub sync: Option<String>,
}

/// Parameters of a restore.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restore {
    /// `restoreAsOf` as written: the safe profile compares the instant, the original the text.
    pub as_of: Option<String>,
    /// How many of the newest snapshots to skip.
    pub previous: Option<i32>,
    /// Size of the selection window; only 0 has an effect, as in the original.
    pub shallow: Option<i32>,
    /// Remove what the destination holds before restoring.
    pub enable_file_deletion: bool,
    /// Identity (`user@host`) of which somebody says that it has never been backed up.
    pub first_deployment: Option<String>,
}

/// Parameters of maintenance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maintenance {
    /// Owner (`user@host`) from whom ownership may be taken over.
    pub takeover_from: Option<String>,
}

/// The operation with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// [`Operation::Backup`].
    Backup(Backup),
    /// [`Operation::Restore`].
    Restore(Restore),
    /// [`Operation::Maintenance`].
    Maintenance(Maintenance),
}

/// Limits of the cache; a mover that keeps no cache ignores them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cache {
    /// Limit of the metadata cache, MiB.
    pub metadata_mib_max: Option<u64>,
    /// Limit of the content cache, MiB.
    pub content_mib_max: Option<u64>,
    /// Size of the cache volume, bytes.
    pub capacity_bytes: Option<u64>,
}

/// Where mounted policy files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFiles {
    /// Absolute path of the global policy file.
    pub global_policy: String,
    /// Absolute path of the repository config file.
    pub repository_config: String,
}

/// What a mover is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The operation with its parameters.
    pub task: Task,
    /// Where the repository lives.
    pub location: Location,
    /// The repository's password.
    pub password: Secret,
    /// Whose snapshots; for maintenance, username and hostname are the owner to act as.
    pub identity: Identity,
    /// Mount path of the data volume, for the log; `/data` for maintenance, which does not use it.
    pub data_directory: String,
    /// Behaviour where the original loses data.
    pub profile: Profile,
    /// Unique id of the repository known from earlier runs; any other is refused.
    pub expected_unique_id: Option<String>,
    /// Whether a first backup of the identity is known to exist.
    pub is_backup_known: bool,
    /// Additional arguments, in order.
    pub additional_args: Vec<String>,
    /// JSON of `KOPIA_MANUAL_CONFIG`: parameters for the creation of the repository.
    pub manual_config: Option<String>,
    /// JSON of `policyConfig.repositoryConfig`.
    pub structured_config: Option<String>,
    /// Mounted policy files.
    pub policy_files: Option<PolicyFiles>,
    /// Limits of the cache.
    pub cache: Cache,
}

/// Why arguments and environment are no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A mandatory variable is absent or empty.
    #[error("{name} must be defined")]
    Missing {
        /// Name of the variable.
        name: &'static str,
    },
    /// Neither `backup` nor `restore`, and no `DIRECTION=maintenance`.
    #[error("unknown operation {argument:?}: expected \"backup\" or \"restore\", or DIRECTION=maintenance")]
    Operation {
        /// The argument, empty when there was none.
        argument: String,
    },
    /// A variable whose value has not the form that its name promises.
    #[error("{name}={value:?} is not {expected}")]
    Form {
        /// Name of the variable.
        name: &'static str,
        /// Its value; never one of a secret.
        value: String,
        /// What was expected, such as `a whole number`.
        expected: &'static str,
    },
    /// The repository's keys do not name a place.
    #[error("the repository's keys do not name a place")]
    Location(#[source] location::Error),
}

impl Request {
    /// Reads a request from the container's arguments and resolved environment.
    ///
    /// # Units and shape
    /// Empty values count as unset. Unknown variables are ignored.
    /// # Errors
    /// [`Error`] names the first variable that is wrong; exit code [`crate::ExitCode::Misconfigured`].
    pub fn from_env(args: &[String], variables: &BTreeMap<String, String>) -> Result<Self, Error> {
        let read = Reader(variables);
        let profile = match read.text(env::safe::MOVER_PROFILE) {
            None => Profile::Safe,
            Some(word) => word
                .parse()
                .map_err(|()| form(env::safe::MOVER_PROFILE, &word, "\"safe\" or \"original\""))?,
        };
        let operation = operation(args, read.text(env::DIRECTION).as_deref())?;
        let password = read.required(env::KOPIA_PASSWORD)?;
        let data_directory = match operation {
            Operation::Maintenance => read.text(env::DATA_DIR).unwrap_or_else(|| pod::DATA_BACKUP.to_owned()),
            _ => read.required(env::DATA_DIR)?,
        };
        let task = match operation {
            Operation::Backup => Task::Backup(backup(&read)?),
            Operation::Restore => Task::Restore(restore(&read, profile)?),
            Operation::Maintenance => Task::Maintenance(Maintenance {
                takeover_from: read.text(env::safe::KOPIA_MAINTENANCE_TAKEOVER_FROM),
            }),
        };
        Ok(Self {
            task,
            location: Location::from_env(variables).map_err(Error::Location)?,
            password: Secret::new(password),
            identity: identity(&read, operation)?,
            data_directory,
            profile,
            expected_unique_id: read.text(env::safe::KOPIA_EXPECTED_UNIQUE_ID),
            is_backup_known: read.is_true(env::safe::KOPIA_BACKUP_KNOWN),
            additional_args: read
                .text(env::KOPIA_ADDITIONAL_ARGS)
                .map_or_else(Vec::new, |text| split_arguments(&text)),
            manual_config: read.json(env::KOPIA_MANUAL_CONFIG)?,
            structured_config: read.json(env::KOPIA_STRUCTURED_REPOSITORY_CONFIG)?,
            policy_files: policy_files(&read),
            cache: Cache {
                metadata_mib_max: read.number(env::KOPIA_METADATA_CACHE_SIZE_LIMIT_MB)?,
                content_mib_max: read.number(env::KOPIA_CONTENT_CACHE_SIZE_LIMIT_MB)?,
                capacity_bytes: read.number(env::KOPIA_CACHE_CAPACITY_BYTES)?,
            },
        })
    }

    /// Which of the three this is.
    pub fn operation(&self) -> Operation {
        match self.task {
            Task::Backup(_) => Operation::Backup,
            Task::Restore(_) => Operation::Restore,
            Task::Maintenance(_) => Operation::Maintenance,
        }
    }
}

impl Restore {
    /// [`Restore::as_of`] as an instant; `None` when unset or, under the original's profile, unreadable.
    pub fn as_of_instant(&self) -> Option<Timestamp> {
        self.as_of.as_ref().and_then(|text| text.parse().ok())
    }
}

fn operation(args: &[String], direction: Option<&str>) -> Result<Operation, Error> {
    if direction == Some(pod::DIRECTION_MAINTENANCE) {
        return Ok(Operation::Maintenance);
    }
    match args {
        [only] if only == pod::ARGUMENT_BACKUP => Ok(Operation::Backup),
        [only] if only == pod::ARGUMENT_RESTORE => Ok(Operation::Restore),
        _ => Err(Error::Operation { argument: args.join(" ") }),
    }
}

fn backup(read: &Reader<'_>) -> Result<Backup, Error> {
    Ok(Backup {
        compression: read.text(env::KOPIA_COMPRESSION),
        parallelism: read.number(env::KOPIA_PARALLELISM)?,
        retain: Retain {
            latest: read.number(env::KOPIA_RETAIN_LATEST)?,
            hourly: read.number(env::KOPIA_RETAIN_HOURLY)?,
            daily: read.number(env::KOPIA_RETAIN_DAILY)?,
            weekly: read.number(env::KOPIA_RETAIN_WEEKLY)?,
            monthly: read.number(env::KOPIA_RETAIN_MONTHLY)?,
            yearly: read.number(env::KOPIA_RETAIN_YEARLY)?,
        },
        before_action: read.text(env::KOPIA_BEFORE_SNAPSHOT),
        after_action: read.text(env::KOPIA_AFTER_SNAPSHOT),
        sync: read.text(env::safe::KOPIA_SYNC),
    })
}

fn restore(read: &Reader<'_>, profile: Profile) -> Result<Restore, Error> {
    let restore = Restore {
        as_of: read.text(env::KOPIA_RESTORE_AS_OF),
        previous: read.number(env::KOPIA_PREVIOUS)?,
        shallow: read.number(env::KOPIA_SHALLOW)?,
        enable_file_deletion: read.is_true(env::KOPIA_ENABLE_FILE_DELETION),
        first_deployment: read.text(env::safe::KOPIA_FIRST_DEPLOYMENT),
    };
    if let (Profile::Safe, Some(text), None) = (profile, &restore.as_of, restore.as_of_instant()) {
        return Err(form(env::KOPIA_RESTORE_AS_OF, text, "an RFC 3339 time with its offset"));
    }
    if let (Profile::Safe, Some(previous @ ..0)) = (profile, restore.previous) {
        return Err(form(env::KOPIA_PREVIOUS, &previous.to_string(), "zero or more"));
    }
    Ok(restore)
}

fn identity(read: &Reader<'_>, operation: Operation) -> Result<Identity, Error> {
    if operation == Operation::Maintenance {
        let owner =
            read.text(env::KOPIA_OVERRIDE_MAINTENANCE_USERNAME).unwrap_or_else(|| "maintenance".to_owned());
        let (username, hostname) = owner.split_once('@').unwrap_or((&owner, "volsync"));
        return Ok(Identity::new(username, hostname, pod::DATA_BACKUP));
    }
    let path = read.text(env::KOPIA_SOURCE_PATH_OVERRIDE).unwrap_or_else(|| pod::DATA_BACKUP.to_owned());
    if !path.starts_with('/') {
        return Err(form(env::KOPIA_SOURCE_PATH_OVERRIDE, &path, "an absolute path"));
    }
    Ok(Identity::new(
        read.required(env::KOPIA_OVERRIDE_USERNAME)?,
        read.required(env::KOPIA_OVERRIDE_HOSTNAME)?,
        path,
    ))
}

fn policy_files(read: &Reader<'_>) -> Option<PolicyFiles> {
    let directory = read.text(env::KOPIA_CONFIG_PATH)?;
    let file = |name, default: &str| {
        format!("{directory}/{}", read.text(name).unwrap_or_else(|| default.to_owned()))
    };
    Some(PolicyFiles {
        global_policy: file(env::KOPIA_GLOBAL_POLICY_FILE, "global-policy.json"),
        repository_config: file(env::KOPIA_REPOSITORY_CONFIG_FILE, "repository.config"),
    })
}

/// Reads a JSON list, or else the original's joined form, split at the whole separator.
///
/// The original splits at each *character* of its separator (defect ARG-2); nothing is gained by keeping
/// that, so no profile does.
fn split_arguments(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_else(|_| {
        text.split(env::ARGUMENT_SEPARATOR).filter(|arg| !arg.is_empty()).map(str::to_owned).collect()
    })
}

fn form(name: &'static str, value: &str, expected: &'static str) -> Error {
    Error::Form { name, value: value.to_owned(), expected }
}

/// Reads variables, empty ones as unset.
struct Reader<'a>(&'a BTreeMap<String, String>);

impl Reader<'_> {
    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).filter(|value| !value.is_empty()).cloned()
    }
    fn required(&self, name: &'static str) -> Result<String, Error> {
        self.text(name).ok_or(Error::Missing { name })
    }
    fn is_true(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| value == "true")
    }
    fn number<N: std::str::FromStr>(&self, name: &'static str) -> Result<Option<N>, Error> {
        self.text(name)
            .map(|text| text.parse().map_err(|_| form(name, &text, "a whole number in range")))
            .transpose()
    }
    /// A text that must be JSON; the value is not quoted in the error, it may hold keys.
    fn json(&self, name: &'static str) -> Result<Option<String>, Error> {
        let text = self.text(name);
        if let Some(text) = &text
            && serde_json::from_str::<serde_json::Value>(text).is_err()
        {
            return Err(form(name, "…", "valid JSON"));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: [(&str, &str); 5] = [
        ("KOPIA_PASSWORD", "secret"),
        ("DATA_DIR", "/data"),
        ("KOPIA_REPOSITORY", "filesystem:///repository"),
        ("KOPIA_OVERRIDE_USERNAME", "app"),
        ("KOPIA_OVERRIDE_HOSTNAME", "media"),
    ];

    fn read(arg: &str, more: &[(&str, &str)]) -> Result<Request, Error> {
        let variables = BASE.iter().chain(more).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let args: Vec<String> = arg.split_whitespace().map(str::to_owned).collect();
        Request::from_env(&args, &variables)
    }

    #[test]
    fn a_backup_is_read() {
        let request = read(
            "backup",
            &[("KOPIA_RETAIN_DAILY", "7"), ("KOPIA_COMPRESSION", "zstd"), ("KOPIA_PARALLELISM", "")],
        );
        let request = request.expect("a valid request");
        assert_eq!(request.identity.to_string(), "app@media:/data");
        let Task::Backup(backup) = request.task else { panic!("not a backup") };
        assert_eq!((backup.retain.daily, backup.retain.latest, backup.parallelism), (Some(7), None, None));
        assert_eq!(backup.compression.as_deref(), Some("zstd"));
    }

    #[test]
    fn maintenance_has_its_own_identity() {
        let check = |owner: &str, expected: &str| {
            let more = [("DIRECTION", "maintenance"), ("KOPIA_OVERRIDE_MAINTENANCE_USERNAME", owner)];
            assert_eq!(read("", &more).expect("valid").identity.user_at_host(), expected);
        };
        check("", "maintenance@volsync");
        check("keeper", "keeper@volsync");
        check("a@b", "a@b");
    }

    #[test]
    fn errors_name_the_variable() {
        assert_eq!(read("", &[]), Err(Error::Operation { argument: String::new() }));
        assert_eq!(read("maintenance", &[]), Err(Error::Operation { argument: "maintenance".into() }));
        assert_eq!(read("backup", &[("KOPIA_PASSWORD", "")]), Err(Error::Missing { name: "KOPIA_PASSWORD" }));
        assert!(matches!(
            read("restore", &[("KOPIA_PREVIOUS", "x")]),
            Err(Error::Form { name: "KOPIA_PREVIOUS", .. })
        ));
        assert!(matches!(read("restore", &[("KOPIA_PREVIOUS", "-1")]), Err(Error::Form { .. })));
        assert!(matches!(read("restore", &[("KOPIA_RESTORE_AS_OF", "yesterday")]), Err(Error::Form { .. })));
        let config =
            read("backup", &[("KOPIA_MANUAL_CONFIG", "{hunter2")]).expect_err("not JSON").to_string();
        assert!(!config.contains("hunter2"));
    }

    #[test]
    fn the_original_takes_odd_times_and_counts() {
        let more =
            [("MOVER_PROFILE", "original"), ("KOPIA_RESTORE_AS_OF", "yesterday"), ("KOPIA_PREVIOUS", "-1")];
        assert!(read("restore", &more).is_ok());
    }

    #[test]
    fn arguments_survive_every_character() {
        let check = |text: &str, expected: &[&str]| assert_eq!(split_arguments(text), expected, "{text}");
        check(r#"["--tags=ENV:PROD","a b"]"#, &["--tags=ENV:PROD", "a b"]);
        check("--a|VOLSYNC_ARG_SEP|--tags=ENV:PROD", &["--a", "--tags=ENV:PROD"]);
        check("", &[]);
    }

    #[test]
    fn a_request_never_prints_its_password() {
        assert!(!format!("{:?}", read("backup", &[("KOPIA_PASSWORD", "hunter2")])).contains("hunter2"));
    }
}
