//! Whose snapshots: `username@hostname:path`, and how names become one.
//!
//! The rules by which a replication source's name and namespace become Kopia's username and hostname
//! (`specs/volsync-behaviour.md` section 3.9). Different names can share an identity; that is the
//! original's rule, and both sides keep it.
use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The identity of a line of snapshots.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    /// Kopia's user name; the replication source's name unless overridden.
    pub username: String,
    /// Kopia's host name; the namespace unless overridden.
    pub hostname: String,
    /// The recorded path; `/data` unless overridden.
    pub path: String,
}

impl Identity {
    /// Builds an identity from parts used verbatim.
    pub fn new(username: impl Into<String>, hostname: impl Into<String>, path: impl Into<String>) -> Self {
        Self { username: username.into(), hostname: hostname.into(), path: path.into() }
    }
    /// `username@hostname`, as `status.kopia.requestedIdentity` shows it.
    pub fn user_at_host(&self) -> String {
        format!("{}@{}", self.username, self.hostname)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}", self.username, self.hostname, self.path)
    }
}

impl FromStr for Identity {
    type Err = ();
    /// Reads `username@hostname:path`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (username, rest) = text.split_once('@').ok_or(())?;
        let (hostname, path) = rest.split_once(':').ok_or(())?;
        if username.is_empty() || hostname.is_empty() || path.is_empty() {
            return Err(());
        }
        Ok(Self::new(username, hostname, path))
    }
}

/// Longest username, in characters; what is beyond is cut off.
pub const USERNAME_CHARS_MAX: usize = 50;
/// Username when nothing of the name is left.
pub const NAME_DEFAULT: &str = "volsync-default";

/// Makes a username of a resource's name: keeps ASCII letters, digits, `-` and `_`, trims `-_`, cuts to 50.
///
/// # Source
/// `specs/volsync-behaviour.md` section 3.9.
pub fn sanitise_username(name: &str) -> String {
    let kept: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect();
    let cut: String = kept.trim_matches(['-', '_']).chars().take(USERNAME_CHARS_MAX).collect();
    if cut.is_empty() { NAME_DEFAULT.to_owned() } else { cut }
}

/// Makes a hostname of a namespace: keeps ASCII letters, digits, `.` and `-`, turns `_` into `-`, trims
/// `-.`; falls back on the sanitised name of the resource.
pub fn sanitise_hostname(namespace: &str, resource_name: &str) -> String {
    let kept: String = namespace
        .chars()
        .map(|c| if c == '_' { '-' } else { c })
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
        .collect();
    let trimmed = kept.trim_matches(['-', '.']);
    if trimmed.is_empty() { sanitise_username(resource_name) } else { trimmed.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_usernames() {
        let check = |name: &str, expected: &str| assert_eq!(sanitise_username(name), expected, "{name}");
        check("app-data", "app-data");
        check("my.app", "myapp");
        check("-_x_-", "x");
        check("...", NAME_DEFAULT);
        check(&"a".repeat(60), &"a".repeat(50));
    }

    #[test]
    fn namespaces_become_hostnames() {
        let check = |ns: &str, expected: &str| assert_eq!(sanitise_hostname(ns, "app"), expected, "{ns}");
        check("media", "media");
        check("my_ns.", "my-ns");
        check("§§", "app");
    }

    #[test]
    fn what_is_printed_is_read() {
        let identity = Identity::new("app", "media", "/data:odd");
        assert_eq!(identity.to_string().parse(), Ok(identity));
        assert_eq!("app@media".parse::<Identity>(), Err(()));
    }
}
