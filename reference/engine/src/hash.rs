//! Keyed hashes that name contents.
//!
//! One row per algorithm in [`ALGORITHMS`]; adding one is adding a row. The key is the repository's
//! secret and never leaves the repository. Output is at most 32 bytes.

use blake2::{
    Blake2bMac, Blake2sMac,
    digest::{
        KeyInit, Mac,
        consts::{U16, U32},
    },
};
use hmac::Hmac;
use sha2::{Sha224, Sha256};

use crate::error::Error;

type Function = fn(key: &[u8], data: &[u8]) -> Vec<u8>;

/// The names that Kopia's format knows, the bytes kept, and the function where it is built in.
const ALGORITHMS: &[(&str, usize, Option<Function>)] = &[
    ("BLAKE2B-256-128", 16, Some(mac::<Blake2bMac<U32>>)),
    ("BLAKE2B-256", 32, Some(mac::<Blake2bMac<U32>>)),
    ("BLAKE2S-128", 16, Some(mac::<Blake2sMac<U16>>)),
    ("BLAKE2S-256", 32, Some(mac::<Blake2sMac<U32>>)),
    ("HMAC-SHA256", 32, Some(mac::<Hmac<Sha256>>)),
    ("HMAC-SHA256-128", 16, Some(mac::<Hmac<Sha256>>)),
    ("HMAC-SHA224", 28, Some(mac::<Hmac<Sha224>>)),
    ("BLAKE3-256", 32, None),
    ("BLAKE3-256-128", 16, None),
    ("HMAC-SHA3-224", 28, None),
    ("HMAC-SHA3-256", 32, None),
];

fn mac<M: Mac + KeyInit>(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("Hasher::new tried this key");
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

/// A hash algorithm with its key.
#[derive(Clone)]
pub struct Hasher {
    function: Function,
    length: usize,
    key: Vec<u8>,
}

impl Hasher {
    /// Finds an algorithm by Kopia's name.
    ///
    /// # Errors
    /// [`Error::UnsupportedFeature`] naming the algorithm; [`Error::CorruptFormat`] for an impossible key.
    pub fn new(name: &str, key: &[u8]) -> Result<Self, Error> {
        let row = ALGORITHMS.iter().find(|(known, ..)| *known == name);
        let Some((_, length, Some(function))) = row else {
            return Err(Error::UnsupportedFeature { feature: format!("hash {name}") });
        };
        let key_bytes_max = if name.starts_with("BLAKE2B") { 64 } else { 32 };
        if name.starts_with("BLAKE2") && (key.is_empty() || key.len() > key_bytes_max) {
            return Err(Error::CorruptFormat {
                detail: format!("a secret of {} bytes does not fit {name}", key.len()),
            });
        }
        Ok(Self { function: *function, length: *length, key: key.to_vec() })
    }
    /// Hashes; the result has [`Hasher::output_bytes`] bytes.
    pub fn hash(&self, data: &[u8]) -> Vec<u8> {
        let mut hash = (self.function)(&self.key, data);
        hash.truncate(self.length);
        hash
    }
    /// Bytes of each hash.
    pub fn output_bytes(&self) -> usize {
        self.length
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hasher").field("length", &self.length).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 14.2 of the format: name, hash of nothing, hash of "hello kopia"; key = bytes 00..1f.
    const VECTORS: &[(&str, &str, &str)] = &[
        ("BLAKE2B-256-128", "4e51e7a913fc80137da52880fecca175", "4535fcbe761df7c62b5da83f8ba84165"),
        (
            "BLAKE2B-256",
            "4e51e7a913fc80137da52880fecca175bf81e117d5c68126dc2774033517ea0d",
            "4535fcbe761df7c62b5da83f8ba841651af84b91e70e5023430f4dc9b10f2126",
        ),
        ("BLAKE2S-128", "9536f9b267655743dee97b8a670f9f53", "c741a0a9d8485f19c8bfc299fa3cef98"),
        (
            "BLAKE2S-256",
            "48a8997da407876b3d79c0d92325ad3b89cbb754d86ab71aee047ad345fd2c49",
            "fa0c927031c5db0a613aee01eab2fcf39092532820d594a6a4558572a429a20a",
        ),
        (
            "HMAC-SHA256",
            "d38b42096d80f45f826b44a9d5607de72496a415d3f4a1a8c88e3bb9da8dc1cb",
            "87a222670ec75fa580126a7a6d29fd1b7560f14a3715479c6403bfb4f4deefef",
        ),
        (
            "HMAC-SHA224",
            "2a7430f93bb5456d155c654063c7074aa70c01936a6c0e53a9f9407f",
            "c8e7acdf30572dd91f9f653c82fd8d75c835ce09aae8e820717afa2a",
        ),
    ];

    #[test]
    fn hashes_are_those_of_the_specification() {
        let key: Vec<u8> = (0..32).collect();
        for (name, empty, hello) in VECTORS {
            let hasher = Hasher::new(name, &key).unwrap();
            assert_eq!(hex::encode(hasher.hash(b"")), *empty, "{name}");
            assert_eq!(hex::encode(hasher.hash(b"hello kopia")), *hello, "{name}");
        }
    }

    #[test]
    fn an_unsupported_hash_is_named() {
        let error = Hasher::new("BLAKE3-256", &[0; 32]).unwrap_err();
        assert!(error.to_string().contains("hash BLAKE3-256"), "{error}");
    }
}
