//! Where a blob lies in a sharded folder.
//!
//! A pure function of the blob's name and the `.shards` file; it touches no file.

use serde::{Deserialize, Serialize};

/// The parameters file in the root of the folder.
pub const SHARDS_FILE: &str = ".shards";
/// The ending of every blob's file.
pub const SUFFIX: &str = ".f";

/// The content of [`SHARDS_FILE`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shards {
    /// Lengths of the directory names, outermost first. Kopia writes `null` for a flat layout.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub default: Vec<usize>,
    /// Names up to this length stay in the root.
    #[serde(rename = "maxNonShardedLength", default)]
    pub unsharded_length_max: usize,
    /// Other lengths for names with certain prefixes; the first match wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_empty")]
    pub overrides: Vec<Override>,
}

/// Other lengths for names with one prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// The prefix.
    pub prefix: String,
    /// Lengths of the directory names.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub shards: Vec<usize>,
}

fn null_as_empty<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Default for Shards {
    /// What `kopia repository create` writes.
    fn default() -> Self {
        Self { default: vec![1, 3], unsharded_length_max: 20, overrides: Vec::new() }
    }
}

impl Shards {
    /// The directory and the file name of a blob.
    pub fn place(&self, id: &str) -> (String, String) {
        let mut directory = String::new();
        let mut rest = id;
        if id.len() > self.unsharded_length_max {
            let lengths = self
                .overrides
                .iter()
                .find(|other| id.starts_with(&other.prefix))
                .map_or(&self.default, |other| &other.shards);
            for length in lengths {
                if rest.len() <= *length || !rest.is_char_boundary(*length) {
                    break;
                }
                let (head, tail) = rest.split_at(*length);
                if !directory.is_empty() {
                    directory.push('/');
                }
                directory.push_str(head);
                rest = tail;
            }
        }
        (directory, format!("{rest}{SUFFIX}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(shards: &[usize], id: &str, expected: &str) {
        let shards = Shards { default: shards.to_vec(), ..Shards::default() };
        let (directory, name) = shards.place(id);
        let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
        assert_eq!(path, expected);
    }

    #[test]
    fn blobs_lie_where_the_specification_says() {
        check(&[1, 3], "kopia.repository", "kopia.repository.f");
        check(&[1, 3], "p0d4718e4718e4718e4718e4718e4", "p/0d4/718e4718e4718e4718e4718e4.f");
        check(&[1, 3], "xn0_a6f0a6f0a6f0a6f0a6f0a6f0", "x/n0_/a6f0a6f0a6f0a6f0a6f0a6f0.f");
        check(&[1, 3], "_log_20261121000000_aaaa", "_/log/_20261121000000_aaaa.f");
        check(&[3, 3], "foobarbaz12345678910aaaa", "foo/bar/baz12345678910aaaa.f");
        check(&[], "foobarbaz12345678910aaaa", "foobarbaz12345678910aaaa.f");
        // Twenty bytes are still unsharded, 21 are not.
        check(&[1, 3], "aaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaa.f");
        check(&[1, 3], "aaaaaaaaaaaaaaaaaaaab", "a/aaa/aaaaaaaaaaaaaaaab.f");
    }

    #[test]
    fn the_parameters_file_is_kopias() {
        assert_eq!(
            serde_json::to_string(&Shards::default()).unwrap(),
            r#"{"default":[1,3],"maxNonShardedLength":20}"#
        );
        let flat: Shards = serde_json::from_str(r#"{"default":null,"maxNonShardedLength":20}"#).unwrap();
        assert!(flat.default.is_empty());
        assert!(serde_json::from_str::<Shards>("{").is_err());
    }
}
