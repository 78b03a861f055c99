//! A text that must not be printed.
//!
//! [`Secret`] has no `Display` and no serde; its `Debug` tells only whether it is set, in the words the
//! mover's log uses.
use std::fmt;

/// A password or key; readable only through [`Secret::expose`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    /// The text itself, for those who must use it.
    pub fn expose(&self) -> &str {
        &self.0
    }
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "[NOT SET]" } else { "[SET]" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "[SET]");
        assert_eq!(format!("{:?}", Secret::default()), "[NOT SET]");
    }
}
