//! From the password to the keys of a repository.
//!
//! Key derivation is never weakened: what makes it bearable for a simulation of thousands of runs is that
//! one process remembers what it derived, by password hash, unique identifier and algorithm. It keeps no
//! password.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use sha2::{Digest as _, Sha256};

use crate::{
    encrypt::{Unauthentic, derive, seal, unseal},
    error::Error,
};

/// The key that the password gives.
pub type FormatKey = [u8; 32];

/// Digest of the password, unique identifier, algorithm.
type Question = ([u8; 32], Vec<u8>, String);

/// Derives format keys and remembers them.
#[derive(Default)]
pub struct KeyDeriver {
    known: Mutex<BTreeMap<Question, FormatKey>>,
}

impl std::fmt::Debug for KeyDeriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyDeriver")
    }
}

static PROCESS: KeyDeriver = KeyDeriver::new();

impl KeyDeriver {
    /// Remembers nothing yet.
    pub const fn new() -> Self {
        Self { known: Mutex::new(BTreeMap::new()) }
    }
    /// The deriver of this process. It is a memo of a pure function: no outcome depends on what it holds.
    pub fn process() -> &'static Self {
        &PROCESS
    }
    /// Derives the key, or recalls it.
    ///
    /// # Errors
    /// [`Error::UnsupportedFeature`] naming the algorithm.
    pub fn derive(&self, password: &str, unique_id: &[u8], algorithm: &str) -> Result<FormatKey, Error> {
        let digest: [u8; 32] = Sha256::digest(password.as_bytes()).into();
        let index = (digest, unique_id.to_vec(), algorithm.to_owned());
        if let Some(key) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&index) {
            return Ok(*key);
        }
        let key = derive_format_key(password, unique_id, algorithm)?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(index, key);
        Ok(key)
    }
}

fn derive_format_key(password: &str, unique_id: &[u8], algorithm: &str) -> Result<FormatKey, Error> {
    let mut key = [0; 32];
    match algorithm {
        "scrypt-65536-8-1" => {
            let parameters = scrypt::Params::new(16, 8, 1).expect("these parameters are valid");
            scrypt::scrypt(password.as_bytes(), unique_id, &parameters, &mut key)
                .expect("32 bytes is a valid length");
        }
        "pbkdf2-sha256-600000" => {
            pbkdf2::pbkdf2::<hmac::Hmac<Sha256>>(password.as_bytes(), unique_id, 600_000, &mut key)
                .expect("HMAC takes keys of any length");
        }
        _ => return Err(Error::UnsupportedFeature { feature: format!("key derivation {algorithm:?}") }),
    }
    Ok(key)
}

/// Seals the inner format or the object-lock settings.
pub fn seal_format(key: &FormatKey, unique_id: &[u8], nonce: [u8; 12], plain: &[u8]) -> Vec<u8> {
    seal(&derive(key, unique_id, b"AES"), nonce, plain, &derive(key, unique_id, b"CHECKSUM"))
}

/// Opens the inner format or the object-lock settings.
pub fn unseal_format(key: &FormatKey, unique_id: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Unauthentic> {
    unseal(&derive(key, unique_id, b"AES"), sealed, &derive(key, unique_id, b"CHECKSUM"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 14.1 of the format.
    #[test]
    fn keys_are_those_of_the_specification() {
        let unique_id: Vec<u8> = (0x20..0x40).collect();
        let check = |algorithm: &str, expected: &str| {
            let key = KeyDeriver::new().derive("correct horse", &unique_id, algorithm).unwrap();
            assert_eq!(hex::encode(key), expected, "{algorithm}");
            key
        };
        check("pbkdf2-sha256-600000", "39aeea2168f1fd768c44b765e12d0dacbd60e0f289187258fd3e77e354f8197b");
        let key =
            check("scrypt-65536-8-1", "86c6ab86aa918f5d6154b183c8c3fbb2c95ac51140933cab90b63615b74114bd");
        assert_eq!(
            hex::encode(derive(&key, &unique_id, b"AES")),
            "c53a4e5f3ec2552c33b3d7c2b21f5ef2ba725e2647b933225b8d50e4ca6c2226"
        );
        assert_eq!(
            hex::encode(derive(&key, &unique_id, b"CHECKSUM")),
            "b5f5e2a9d5a5d09c45f8a5e78dda9e327c60cceb6ef91c1cba0b4c78b6c66113"
        );
        let sealed = seal_format(&key, &unique_id, [0; 12], b"{}");
        assert_eq!(hex::encode(&sealed), "00000000000000000000000007bd4dc9a53c31a2fb242f9c7955c5aee441");
        assert_eq!(unseal_format(&key, &unique_id, &sealed).unwrap(), b"{}");
    }

    #[test]
    fn a_memo_answers_as_the_function_does() {
        let deriver = KeyDeriver::new();
        let first = deriver.derive("a", b"0123456789abcdef", "scrypt-65536-8-1").unwrap();
        assert_eq!(deriver.derive("a", b"0123456789abcdef", "scrypt-65536-8-1").unwrap(), first);
        assert_ne!(deriver.derive("b", b"0123456789abcdef", "scrypt-65536-8-1").unwrap(), first);
        assert_ne!(deriver.derive("a", b"0123456789abcdee", "scrypt-65536-8-1").unwrap(), first);
        assert!(deriver.derive("a", b"0123456789abcdef", "").is_err());
    }
}
