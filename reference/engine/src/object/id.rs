//! The name of an object: a content, a compressed content, or a stream that lists objects.

use std::{fmt, str::FromStr};

use crate::content;

/// Identifies an object.
///
/// # Source
/// Section 6.1 of the format: `[Z][D]content`, or one `I` per level of indirection before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    indirection: u8,
    is_compressed: bool,
    content: content::Id,
}

impl Id {
    /// The object that is exactly one content.
    pub fn direct(content: content::Id) -> Self {
        Self { indirection: 0, is_compressed: false, content }
    }
    /// The object whose parts are listed by this one; `None` for a legacy compressed object, which cannot list.
    pub fn indirect(self) -> Option<Self> {
        (!self.is_compressed && self.indirection < u8::MAX)
            .then(|| Self { indirection: self.indirection + 1, ..self })
    }
    /// The object that lists the parts of this one; `None` for a direct object.
    pub fn list(self) -> Option<Self> {
        (self.indirection > 0).then(|| Self { indirection: self.indirection - 1, ..self })
    }
    /// Whether the content's bytes are a legacy compressed stream (`Z`).
    pub fn is_compressed(&self) -> bool {
        self.is_compressed
    }
    /// The innermost content.
    pub fn content(&self) -> content::Id {
        self.content
    }
}

impl From<content::Id> for Id {
    fn from(content: content::Id) -> Self {
        Self::direct(content)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for _ in 0..self.indirection {
            f.write_str("I")?;
        }
        if self.is_compressed {
            f.write_str("Z")?;
        }
        write!(f, "{}", self.content)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The text is not the name of an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed object identifier {0:?}")]
pub struct Malformed(pub String);

impl FromStr for Id {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed(text.to_owned());
        let inner = text.trim_start_matches('I');
        let indirection = u8::try_from(text.len() - inner.len()).map_err(|_| malformed())?;
        let (is_compressed, inner) = inner.strip_prefix('Z').map_or((false, inner), |rest| (true, rest));
        if is_compressed && indirection > 0 {
            return Err(malformed());
        }
        let inner = inner.strip_prefix('D').unwrap_or(inner);
        let content = inner.parse().map_err(|_| malformed())?;
        Ok(Self { indirection, is_compressed, content })
    }
}
