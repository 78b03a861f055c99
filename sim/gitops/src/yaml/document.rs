//! One Kubernetes object with the place it came from.
//!
//! Promises that the origin names the file a person would edit, also after patches and substitution.
//! Does not judge the object.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

/// A file and a line in it; lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The path as the user would write it; `-` is standard input.
    pub file: Arc<str>,
    /// The line.
    pub line: u32,
}

impl Origin {
    /// A place in a file.
    pub fn new(file: &str, line: u32) -> Self {
        Self { file: file.into(), line }
    }
}

impl serde::Serialize for Origin {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// One document of a YAML stream, or an object that a builder made of one.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The object.
    pub value: Value,
    /// Where the document begins.
    pub origin: Origin,
    /// The text as it stood in the file, for finding a field's line.
    pub text: Arc<str>,
}

impl Document {
    /// A document that no file holds as such.
    pub fn made(value: Value, origin: Origin) -> Self {
        Self { value, origin, text: "".into() }
    }

    /// The value at a path of keys, if it is there.
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(&self.value, |value, key| value.get(key))
    }

    /// The text at a path of keys.
    pub fn str(&self, path: &[&str]) -> Option<&str> {
        self.at(path)?.as_str()
    }

    /// `kind`, or nothing.
    pub fn kind(&self) -> &str {
        self.str(&["kind"]).unwrap_or_default()
    }

    /// `apiVersion`, or nothing.
    pub fn api_version(&self) -> &str {
        self.str(&["apiVersion"]).unwrap_or_default()
    }

    /// The API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version().rsplit_once('/').map_or("", |(group, _)| group)
    }

    /// Whether this is a resource of that group and kind.
    pub fn is(&self, group: &str, kind: &str) -> bool {
        self.group() == group && self.kind() == kind
    }

    /// `metadata.name`, or nothing.
    pub fn name(&self) -> &str {
        self.str(&["metadata", "name"]).unwrap_or_default()
    }

    /// `metadata.namespace`, or nothing.
    pub fn namespace(&self) -> &str {
        self.str(&["metadata", "namespace"]).unwrap_or_default()
    }

    /// A label or an annotation.
    pub fn mark(&self, key: &str) -> Option<&str> {
        self.str(&["metadata", "annotations", key]).or_else(|| self.str(&["metadata", "labels", key]))
    }

    /// `Kind/name`, as kubectl would say it.
    pub fn title(&self) -> String {
        format!("{}/{}", self.kind(), self.name())
    }

    /// The line on which a key first stands in the document; the document's own line if it is not found.
    pub fn line_of(&self, path: &[&str]) -> Origin {
        let mut lines = self.text.lines().enumerate();
        let mut found = None;
        for key in path {
            let hit = lines.find(|(_, line)| {
                let line = line.trim_start().trim_start_matches("- ").trim_start();
                line.strip_prefix(key)
                    .or_else(|| line.strip_prefix('"')?.strip_prefix(key)?.strip_prefix('"'))
                    .is_some_and(|rest| rest.starts_with(':'))
            });
            match hit {
                Some((at, _)) => found = Some(at),
                None => break,
            }
        }
        Origin { file: self.origin.file.clone(), line: self.origin.line + found.unwrap_or(0) as u32 }
    }
}
