//! Names of things in a scenario: with a namespace where it matters, without where it does not.
//!
//! [`Name`] is `name` or `namespace/name`; [`ObjectRef`] puts a kind in front. What names no namespace
//! lives in [`DEFAULT_NAMESPACE`]. They promise that what is written reads back equal. They do not check
//! whether anything of that name exists.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Where things live that name no namespace.
pub const DEFAULT_NAMESPACE: &str = "default";

/// The name of a namespaced thing: `app-data`, or `media/app-data`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Name {
    namespace: Option<String>,
    name: String,
}

impl Name {
    /// The namespace.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)
    }

    /// The name within its namespace.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same name in another namespace.
    #[must_use]
    pub fn within(&self, namespace: impl Into<String>) -> Self {
        Self { namespace: Some(namespace.into()), name: self.name.clone() }
    }

    /// Another name in the same namespace.
    #[must_use]
    pub fn sibling(&self, name: impl Into<String>) -> Self {
        Self { namespace: self.namespace.clone(), name: name.into() }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace.to_owned()), name),
            None => (None, text),
        };
        let plain = |part: &str| !part.is_empty() && !part.contains(['/', '"', '\n', ' ']);
        if !plain(name) || !namespace.as_deref().is_none_or(plain) {
            return Err(format!("{text:?} is no name: write name, or namespace/name"));
        }
        Ok(Self { namespace, name: name.to_owned() })
    }
}

impl TryFrom<String> for Name {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.to_string()
    }
}

/// An object of the cluster: `ReplicationSource/nightly`, `Job/media/volsync-src-nightly`, `Namespace/media`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ObjectRef {
    /// The kind, as in a manifest.
    pub kind: String,
    /// The name; of a cluster-scoped object without a namespace.
    pub name: Name,
}

impl ObjectRef {
    /// Refers to an object.
    pub fn new(kind: impl Into<String>, name: Name) -> Self {
        Self { kind: kind.into(), name }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

impl FromStr for ObjectRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = text
            .split_once('/')
            .ok_or_else(|| format!("{text:?} is no object: write Kind/name, or Kind/namespace/name"))?;
        if kind.is_empty() || !kind.starts_with(|c: char| c.is_ascii_uppercase()) {
            return Err(format!(
                "{kind:?} is no kind: write it as in a manifest, for example PersistentVolumeClaim"
            ));
        }
        Ok(Self { kind: kind.to_owned(), name: name.parse()? })
    }
}

impl TryFrom<String> for ObjectRef {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ObjectRef> for String {
    fn from(object: ObjectRef) -> Self {
        object.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_at_most_one_namespace() {
        for (text, expected) in [
            ("app", Some(("default", "app"))),
            ("media/app", Some(("media", "app"))),
            ("a/b/c", None),
            ("", None),
            ("/app", None),
            ("two words", None),
        ] {
            let name = text.parse::<Name>().ok();
            assert_eq!(name.as_ref().map(|name| (name.namespace(), name.name())), expected, "{text:?}");
        }
    }

    #[test]
    fn an_object_says_its_kind_first() {
        let job: ObjectRef = "Job/media/x".parse().unwrap();
        assert_eq!((job.kind.as_str(), job.name.namespace(), job.name.name()), ("Job", "media", "x"));
        assert_eq!(job.to_string(), "Job/media/x");
        assert!("job/x".parse::<ObjectRef>().is_err());
        assert!("Job".parse::<ObjectRef>().is_err());
    }
}
