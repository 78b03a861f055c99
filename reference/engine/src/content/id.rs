//! The name of a content: an optional prefix letter and the hash of its bytes.

use std::{cmp::Ordering, fmt, str::FromStr};

/// The longest hash of any supported algorithm, in bytes.
pub const HASH_BYTES_MAX: usize = 32;

/// Identifies a content. `None` as prefix means file data; `k` directories, `x` indirect streams,
/// `m` manifests.
///
/// # Guarantees
/// Ordered as in every index: unprefixed first, then by letter, then by hash bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id {
    key: [u8; 1 + HASH_BYTES_MAX],
    length: u8,
}

impl Id {
    /// Builds an identifier from a prefix and a hash of at most [`HASH_BYTES_MAX`] bytes.
    pub fn new(prefix: Option<u8>, hash: &[u8]) -> Self {
        assert!(hash.len() <= HASH_BYTES_MAX, "a hash has at most 32 bytes");
        let mut key = [0; 1 + HASH_BYTES_MAX];
        key[0] = prefix.unwrap_or(0);
        key[1..=hash.len()].copy_from_slice(hash);
        Self { key, length: 1 + hash.len() as u8 }
    }
    /// Reads the key bytes of an index: prefix byte (0 for none), then the hash.
    pub fn from_key(key: &[u8]) -> Option<Self> {
        match key {
            [0, hash @ ..] if hash.len() <= HASH_BYTES_MAX => Some(Self::new(None, hash)),
            [prefix @ b'g'..=b'z', hash @ ..] if hash.len() <= HASH_BYTES_MAX => {
                Some(Self::new(Some(*prefix), hash))
            }
            _ => None,
        }
    }
    /// The key bytes of an index.
    pub fn key(&self) -> &[u8] {
        &self.key[..usize::from(self.length)]
    }
    /// The prefix letter.
    pub fn prefix(&self) -> Option<u8> {
        (self.key[0] != 0).then_some(self.key[0])
    }
    /// The hash.
    pub fn hash(&self) -> &[u8] {
        &self.key[1..usize::from(self.length)]
    }
}

impl PartialOrd for Id {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Id {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(other.key())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(prefix) = self.prefix() {
            write!(f, "{}", char::from(prefix))?;
        }
        f.write_str(&hex::encode(self.hash()))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The text is not the name of a content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed content identifier {0:?}")]
pub struct Malformed(pub String);

impl FromStr for Id {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed(text.to_owned());
        let bytes = text.as_bytes();
        let (prefix, digits) = match bytes {
            [prefix @ b'g'..=b'z', digits @ ..] => (Some(*prefix), digits),
            digits => (None, digits),
        };
        if digits.is_empty() || digits.len() > 2 * HASH_BYTES_MAX {
            return Err(malformed());
        }
        let hash = hex::decode(digits).map_err(|_| malformed())?;
        Ok(Self::new(prefix, &hash))
    }
}
