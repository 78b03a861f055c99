//! Which of the reachable points a fault strikes.
//!
//! An [`Aim`] narrows a fault by actor and class patterns and by counts. The default strikes everything
//! the fault can reach, until it is lifted. Patterns know `*` (any run of bytes) and nothing else.
use serde::{Deserialize, Serialize};

use crate::Point;

/// A filter over points.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Aim {
    /// Pattern over the acting party.
    pub actor: String,
    /// Pattern over the class of thing.
    pub class: String,
    /// How many matching operations are let through first.
    pub skip: u64,
    /// How many times the fault fires before it is spent; without it, until lifted.
    pub times: Option<u64>,
    /// Chance in percent that a matching operation is struck; without it, each is.
    pub percent: Option<u8>,
}

impl Default for Aim {
    fn default() -> Self {
        Self { actor: "*".into(), class: "*".into(), skip: 0, times: None, percent: None }
    }
}

impl Aim {
    /// Aims at one actor.
    pub fn actor(pattern: impl Into<String>) -> Self {
        Self { actor: pattern.into(), ..Self::default() }
    }
    /// Aims at one class of thing.
    pub fn class(pattern: impl Into<String>) -> Self {
        Self { class: pattern.into(), ..Self::default() }
    }
    /// Lets this many matching operations through first.
    #[must_use]
    pub fn skip(mut self, skip: u64) -> Self {
        self.skip = skip;
        self
    }
    /// Fires at most this many times.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }
    /// Whether actor and class fit; counts are the register's.
    pub fn fits(&self, point: &Point) -> bool {
        matches(&self.actor, &point.actor) && matches(&self.class, &point.class)
    }
}

/// Whether `text` fits a pattern in which `*` stands for any run of bytes.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_fit_as_shells_do() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "anything", true),
            ("app", "app", true),
            ("app", "apps", false),
            ("cephfs/*", "cephfs/sparse", true),
            ("cephfs/*", "rbd/sparse", false),
            ("*/p", "main/p", true),
            ("*/p", "main/q", false),
            ("volsync-*-app", "volsync-src-app", true),
            ("volsync-*-app", "volsync-src-apps", false),
            ("a*b*c", "a--b--c", true),
            ("a*b*c", "a--c--b", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} over {text}");
        }
    }
}
