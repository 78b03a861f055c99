//! Authenticated encryption of contents and blobs, and the plain sealing it rests on.
//!
//! Each thing encrypted has an identifier from which its key is derived, and which is authenticated
//! along; nonces are random and come from the caller. It never reuses a key for two identifiers.
//! Adding a cipher is adding a variant of [`Cipher`].

use aes_gcm::{
    Aes256Gcm,
    aead::{Aead as _, AeadInOut as _, KeyInit as _, Payload},
};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::error::Error;

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 12;
/// Bytes that encryption adds: nonce and tag.
pub const OVERHEAD_BYTES: usize = NONCE_BYTES + 16;

/// The bytes do not open: wrong key, wrong identifier, or altered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("authentication failed")]
pub struct Unauthentic;

/// Derives bytes from key material (RFC 5869 with SHA-256).
pub fn derive(material: &[u8], salt: &[u8], info: &[u8]) -> [u8; 32] {
    let mut output = [0; 32];
    Hkdf::<Sha256>::new(Some(salt), material)
        .expand(info, &mut output)
        .expect("32 bytes are within what HKDF gives");
    output
}

/// Seals with AES-256-GCM: nonce, ciphertext, tag.
pub fn seal(key: &[u8; 32], nonce: [u8; NONCE_BYTES], plain: &[u8], associated: &[u8]) -> Vec<u8> {
    let cipher = Aes256Gcm::new(&(*key).into());
    let mut sealed = Vec::with_capacity(plain.len() + OVERHEAD_BYTES);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plain);
    let tag = cipher
        .encrypt_inout_detached(&nonce.into(), associated, (&mut sealed[NONCE_BYTES..]).into())
        .expect("no chunk reaches the 64 GiB limit of GCM");
    sealed.extend_from_slice(&tag);
    sealed
}

/// Opens what [`seal`] made.
pub fn unseal(key: &[u8; 32], sealed: &[u8], associated: &[u8]) -> Result<Vec<u8>, Unauthentic> {
    let (nonce, payload) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(Unauthentic)?;
    let cipher = Aes256Gcm::new(&(*key).into());
    cipher.decrypt(&(*nonce).into(), Payload { msg: payload, aad: associated }).map_err(|_| Unauthentic)
}

#[derive(Clone, Copy, Debug)]
enum Cipher {
    Aes256Gcm,
}

/// An encryption algorithm with its master secret.
#[derive(Clone)]
pub struct Encryptor {
    cipher: Cipher,
    secret: [u8; 32],
}

impl Encryptor {
    /// Finds an algorithm by Kopia's name.
    ///
    /// # Errors
    /// [`Error::UnsupportedFeature`] naming the algorithm.
    pub fn new(name: &str, master_key: &[u8]) -> Result<Self, Error> {
        let cipher = match name {
            "AES256-GCM-HMAC-SHA256" => Cipher::Aes256Gcm,
            _ => return Err(Error::UnsupportedFeature { feature: format!("encryption {name}") }),
        };
        // The purpose is the salt here and the info is empty, unlike the keys of the format blob.
        Ok(Self { cipher, secret: derive(master_key, b"encryption", b"") })
    }
    fn key(&self, identifier: &[u8]) -> [u8; 32] {
        let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&self.secret)
            .expect("HMAC takes keys of any length");
        mac.update(identifier);
        mac.finalize().into_bytes().into()
    }
    /// Encrypts under the key of this identifier.
    pub fn encrypt(&self, identifier: &[u8], nonce: [u8; NONCE_BYTES], plain: &[u8]) -> Vec<u8> {
        match self.cipher {
            Cipher::Aes256Gcm => seal(&self.key(identifier), nonce, plain, identifier),
        }
    }
    /// Decrypts what was encrypted under the key of this identifier.
    pub fn decrypt(&self, identifier: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Unauthentic> {
        match self.cipher {
            Cipher::Aes256Gcm => unseal(&self.key(identifier), sealed, identifier),
        }
    }
}

impl std::fmt::Debug for Encryptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encryptor").field("cipher", &self.cipher).finish_non_exhaustive()
    }
}

/// The identifier of a blob: the last 32 hexadecimal digits of its name before the first `-`.
pub fn blob_identifier(name: &str) -> Option<Vec<u8>> {
    let head = name.split('-').next().unwrap_or(name);
    let digits = head.get(head.len().checked_sub(32)?..)?;
    hex::decode(digits).ok()
}

/// The identifier of a content: the last 16 bytes of its hash.
pub fn content_identifier(hash: &[u8]) -> &[u8] {
    &hash[hash.len().saturating_sub(16)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Vec<u8> {
        hex::decode("4535fcbe761df7c62b5da83f8ba84165").unwrap()
    }

    #[test]
    fn stored_bytes_are_those_of_the_specification() {
        let master: Vec<u8> = (0x40..0x60).collect();
        let encryptor = Encryptor::new("AES256-GCM-HMAC-SHA256", &master).unwrap();
        assert_eq!(
            hex::encode(encryptor.secret),
            "efffeb0407ce08e6fca4220165c06bf4508d6ee17538f6a69f8df8149a6067d2"
        );
        assert_eq!(
            hex::encode(encryptor.key(&hello())),
            "2166e7578cd9769649cf1abac37b4b5cbc2e32fb79398bd1898e87bb6bce23fa"
        );
        let stored = encryptor.encrypt(&hello(), [0; 12], b"hello kopia");
        assert_eq!(
            hex::encode(&stored),
            "00000000000000000000000061248ceec0a28dfff4e84fc229fee0ce698ca86c2993e33c0b04b5"
        );
        assert_eq!(encryptor.decrypt(&hello(), &stored).unwrap(), b"hello kopia");
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let encryptor = Encryptor::new("AES256-GCM-HMAC-SHA256", &[7; 32]).unwrap();
        let stored = encryptor.encrypt(&hello(), [9; 12], b"some plain text");
        for bit in 0..stored.len() * 8 {
            let mut altered = stored.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(encryptor.decrypt(&hello(), &altered), Err(Unauthentic), "bit {bit}");
        }
        assert_eq!(encryptor.decrypt(b"another", &stored), Err(Unauthentic));
    }

    #[test]
    fn blob_identifiers_end_at_the_first_dash() {
        let expected = hello();
        for name in [
            "xn0_4535fcbe761df7c62b5da83f8ba84165-s0123456789abcdef124-c1",
            "n4535fcbe761df7c62b5da83f8ba84165",
            "s00004535fcbe761df7c62b5da83f8ba84165-s0123456789abcdef124",
        ] {
            assert_eq!(blob_identifier(name).as_deref(), Some(&expected[..]), "{name}");
        }
        assert_eq!(blob_identifier("xw17"), None);
    }
}
