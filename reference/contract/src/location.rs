//! Where a repository lives, read from the keys of its Secret.
//!
//! [`Location::from_env`] follows the fork's rules of choice and form (`specs/volsync-behaviour.md`
//! sections 1.11 and 4.3): the first kind whose key is set wins; an empty value counts as unset. It only
//! reads names and forms and never looks whether the place exists.
use std::collections::BTreeMap;

use crate::{Secret, environment as env};

/// Where a repository lives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Location {
    /// A directory in the mover's file system (`filesystem:///repository`), usually a mount.
    Filesystem {
        /// Absolute path, without `..` and without trailing slash.
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
        secret_key: Secret,
        /// Session token, may be empty.
        session_token: Secret,
        /// Absolute path of a file with the certificates (PEM) that the endpoint is trusted by, and no
        /// others; `None` trusts what the mover trusts by itself.
        custom_ca: Option<String>,
        /// Seconds for one request with all its retries; `None` leaves it to the mover.
        retry_seconds: Option<u64>,
    },
    /// Recognised but not supported by this mover (azure, gcs, b2, webdav, sftp, rclone, gdrive).
    Unsupported {
        /// The kind, as the entry script calls it.
        kind: String,
    },
}

/// Why the keys do not name a place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No key of any kind is set.
    #[error("no repository configuration found")]
    None,
    /// `KOPIA_REPOSITORY` has a form that nothing reads.
    #[error("KOPIA_REPOSITORY {url:?} names no kind of repository that is known")]
    UnknownUrl {
        /// The value.
        url: String,
    },
    /// A file system path that is not absolute or leaves its parent.
    #[error("the repository path {path:?} must be absolute and without \"..\"")]
    Path {
        /// The path as given.
        path: String,
    },
    /// A bucket name that S3 does not know.
    #[error("the bucket name {bucket:?} must be 3 to 63 lower-case letters, digits, dots and hyphens")]
    Bucket {
        /// The name as given.
        bucket: String,
    },
    /// A key prefix with characters that the fork refuses.
    #[error("the prefix {prefix:?} may hold letters, digits, \".\", \"_\", \"/\", \"-\" and no \"..\"")]
    Prefix {
        /// The prefix as given.
        prefix: String,
    },
}

/// Kinds that are recognised by a key and not supported, in the order of choice.
const AFTER_S3: [(&str, &str); 2] = [(env::KOPIA_AZURE_CONTAINER, "azure"), (env::KOPIA_GCS_BUCKET, "gcs")];
const AFTER_FILESYSTEM: [(&str, &str); 5] = [
    (env::KOPIA_B2_BUCKET, "b2"),
    (env::WEBDAV_URL, "webdav"),
    (env::SFTP_HOST, "sftp"),
    (env::RCLONE_REMOTE_PATH, "rclone"),
    (env::GOOGLE_DRIVE_FOLDER_ID, "gdrive"),
];

impl Location {
    /// Chooses and reads the place that the environment names.
    ///
    /// # Errors
    /// [`Error`]; the request is wrong and a retry does not help.
    pub fn from_env(variables: &BTreeMap<String, String>) -> Result<Self, Error> {
        let get = |name: &str| variables.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let url = get(env::KOPIA_REPOSITORY).unwrap_or_default();
        let known = |table: &[(&str, &str)]| {
            table
                .iter()
                .find(|(key, _)| get(key).is_some())
                .map(|(_, kind)| Self::Unsupported { kind: (*kind).to_owned() })
        };
        if get(env::KOPIA_S3_BUCKET).is_some() || url.starts_with("s3://") {
            return Self::s3(url, &get);
        }
        if let Some(location) = known(&AFTER_S3) {
            return Ok(location);
        }
        if let Some(path) = url.strip_prefix("filesystem://") {
            return filesystem(path);
        }
        if let Some(location) = known(&AFTER_FILESYSTEM) {
            return Ok(location);
        }
        if url.is_empty() { Err(Error::None) } else { Err(Error::UnknownUrl { url: url.to_owned() }) }
    }

    fn s3<'a>(url: &str, get: &impl Fn(&str) -> Option<&'a str>) -> Result<Self, Error> {
        let (url_bucket, url_prefix) =
            url.strip_prefix("s3://").map_or(("", ""), |rest| rest.split_once('/').unwrap_or((rest, "")));
        let bucket = get(env::KOPIA_S3_BUCKET).unwrap_or(url_bucket);
        let is_bucket_char = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
        if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(is_bucket_char) {
            return Err(Error::Bucket { bucket: bucket.to_owned() });
        }
        let endpoint =
            get(env::KOPIA_S3_ENDPOINT).or(get(env::AWS_S3_ENDPOINT)).unwrap_or("s3.amazonaws.com");
        let endpoint =
            endpoint.strip_prefix("https://").or(endpoint.strip_prefix("http://")).unwrap_or(endpoint);
        let is_true = |name: &str| get(name) == Some("true");
        Ok(Self::S3 {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            bucket: bucket.to_owned(),
            prefix: s3_prefix(url_prefix)?,
            region: get(env::AWS_REGION).or(get(env::AWS_DEFAULT_REGION)).unwrap_or_default().to_owned(),
            disable_tls: is_true(env::KOPIA_S3_DISABLE_TLS) || is_true(env::AWS_S3_DISABLE_TLS),
            access_key: get(env::AWS_ACCESS_KEY_ID).unwrap_or_default().to_owned(),
            secret_key: Secret::new(get(env::AWS_SECRET_ACCESS_KEY).unwrap_or_default()),
            session_token: Secret::new(get(env::AWS_SESSION_TOKEN).unwrap_or_default()),
            custom_ca: get(env::CUSTOM_CA).map(str::to_owned),
            retry_seconds: get(env::safe::S3_RETRY_SECONDS).and_then(|seconds| seconds.parse().ok()),
        })
    }

    /// The place in words fit for a log: no keys.
    pub fn describe(&self) -> String {
        match self {
            Self::Filesystem { path } => format!("filesystem://{path}"),
            Self::S3 { endpoint, bucket, prefix, .. } => format!("s3://{bucket}/{prefix} at {endpoint}"),
            Self::Unsupported { kind } => format!("a repository of kind {kind}"),
        }
    }
}

fn filesystem(path: &str) -> Result<Location, Error> {
    if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return Err(Error::Path { path: path.to_owned() });
    }
    let trimmed = path.trim_end_matches('/');
    Ok(Location::Filesystem { path: if trimmed.is_empty() { "/".to_owned() } else { trimmed.to_owned() } })
}

/// Collapses slashes and adds the trailing one, as the fork does before it passes `--prefix`.
fn s3_prefix(raw: &str) -> Result<String, Error> {
    let is_prefix_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '-');
    if !raw.chars().all(is_prefix_char) || raw.contains("..") {
        return Err(Error::Prefix { prefix: raw.to_owned() });
    }
    Ok(raw.split('/').filter(|part| !part.is_empty()).flat_map(|part| [part, "/"]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<String, Error> {
        let variables = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Location::from_env(&variables).map(|location| location.describe())
    }
    fn check(pairs: &[(&str, &str)], expected: &str) {
        assert_eq!(read(pairs).as_deref(), Ok(expected), "{pairs:?}");
    }

    #[test]
    fn the_first_kind_whose_key_is_set_wins() {
        check(&[("KOPIA_REPOSITORY", "filesystem:///repo/")], "filesystem:///repo");
        check(&[("KOPIA_REPOSITORY", "filesystem:///")], "filesystem:///");
        check(&[("KOPIA_REPOSITORY", "s3://bucket/a//b")], "s3://bucket/a/b/ at s3.amazonaws.com");
        check(
            &[
                ("KOPIA_REPOSITORY", "s3://ignored/p"),
                ("KOPIA_S3_BUCKET", "wins"),
                ("AWS_S3_ENDPOINT", "http://m:9000/"),
            ],
            "s3://wins/p/ at m:9000",
        );
        check(
            &[("KOPIA_REPOSITORY", "filesystem:///r"), ("KOPIA_AZURE_CONTAINER", "c")],
            "a repository of kind azure",
        );
        check(&[("KOPIA_REPOSITORY", "filesystem:///r"), ("SFTP_HOST", "h")], "filesystem:///r");
        check(&[("SFTP_HOST", "h"), ("KOPIA_S3_BUCKET", "")], "a repository of kind sftp");
    }

    #[test]
    fn wrong_forms_are_named() {
        assert_eq!(read(&[]), Err(Error::None));
        assert_eq!(read(&[("KOPIA_REPOSITORY", "b2://x")]), Err(Error::UnknownUrl { url: "b2://x".into() }));
        assert!(matches!(read(&[("KOPIA_REPOSITORY", "filesystem://rel")]), Err(Error::Path { .. })));
        assert!(matches!(read(&[("KOPIA_REPOSITORY", "filesystem:///a/../b")]), Err(Error::Path { .. })));
        assert!(matches!(read(&[("KOPIA_REPOSITORY", "s3://Up")]), Err(Error::Bucket { .. })));
        assert!(matches!(read(&[("KOPIA_REPOSITORY", "s3://bucket/a b")]), Err(Error::Prefix { .. })));
    }

    #[test]
    fn what_vouches_for_the_endpoint_is_read() {
        let pairs = [
            ("KOPIA_REPOSITORY", "s3://bucket"),
            ("CUSTOM_CA", "/customCA/ca.crt"),
            ("S3_RETRY_SECONDS", "7"),
        ];
        let variables = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let Ok(Location::S3 { custom_ca, retry_seconds, .. }) = Location::from_env(&variables) else {
            panic!("not a bucket")
        };
        assert_eq!((custom_ca.as_deref(), retry_seconds), (Some("/customCA/ca.crt"), Some(7)));
    }

    #[test]
    fn a_scheme_alone_does_not_switch_tls_off() {
        let tls = |pairs: &[(&str, &str)]| {
            let variables = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            matches!(Location::from_env(&variables), Ok(Location::S3 { disable_tls: false, .. }))
        };
        assert!(tls(&[("KOPIA_S3_BUCKET", "bucket"), ("KOPIA_S3_ENDPOINT", "http://minio:9000")]));
        assert!(!tls(&[("KOPIA_S3_BUCKET", "bucket"), ("AWS_S3_DISABLE_TLS", "true")]));
        assert!(tls(&[("KOPIA_S3_BUCKET", "bucket"), ("KOPIA_S3_DISABLE_TLS", "1")]));
    }
}
