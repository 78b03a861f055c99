//! Raw bytes in JSON: a string where they are UTF-8, base64 in an object where they are not.
use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Bytes of a name, path or target; any bytes are allowed.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Raw(Vec<u8>);

impl Raw {
    /// Takes the bytes as they are.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Raw {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str(".") } else { write!(f, "{}", self.0.escape_ascii()) }
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Shown<'a> {
    Text(std::borrow::Cow<'a, str>),
    Bytes { base64: String },
}

fn shown(bytes: &[u8]) -> Shown<'_> {
    std::str::from_utf8(bytes)
        .map_or_else(|_| Shown::Bytes { base64: STANDARD.encode(bytes) }, |text| Shown::Text(text.into()))
}

fn taken(shown: Shown<'_>) -> Result<Vec<u8>, base64::DecodeError> {
    match shown {
        Shown::Text(text) => Ok(text.into_owned().into_bytes()),
        Shown::Bytes { base64 } => STANDARD.decode(base64),
    }
}

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        shown(&self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        taken(Shown::deserialize(deserializer)?).map(Self).map_err(D::Error::custom)
    }
}

/// Maps of raw names to raw values, as a list of pairs.
pub(super) mod map {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    use super::Raw;

    pub fn serialize<S: Serializer>(
        map: &BTreeMap<Vec<u8>, Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer
            .collect_seq(map.iter().map(|(name, value)| (Raw::new(name.clone()), Raw::new(value.clone()))))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, D::Error> {
        let pairs = Vec::<(Raw, Raw)>::deserialize(deserializer)?;
        let mut map = BTreeMap::new();
        for (name, value) in pairs {
            if map.insert(name.into_bytes(), value.into_bytes()).is_some() {
                return Err(D::Error::custom("an extended attribute stands twice"));
            }
        }
        Ok(map)
    }
}
