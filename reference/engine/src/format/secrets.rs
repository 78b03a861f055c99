//! Opening and writing the format blob: from a password to everything that reads and writes contents.
//!
//! Refuses what it does not understand by name: algorithms, error correction, required features, a
//! running upgrade. It never writes a format blob over another.

use jiff::Timestamp;

use super::{
    CreateOptions, Format, UniqueId,
    document::{Base64, Inner, Outer, Parameters},
    keys::{FormatKey, KeyDeriver, seal_format, unseal_format},
};
use crate::{
    context::Entropy,
    encrypt::{Encryptor, derive},
    error::Error,
    hash::Hasher,
    split::Splitter,
};

/// The blob that holds the format.
pub const FORMAT_BLOB: &str = "kopia.repository";
/// The blob that holds object-lock settings.
pub const LOCK_BLOB: &str = "kopia.blobcfg";

/// An opened format: parameters and the keys that go with them.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// Identity.
    pub unique_id: UniqueId,
    /// What may be told to everybody.
    pub format: Format,
    /// Names contents.
    pub hasher: Hasher,
    /// Encrypts contents and blobs.
    pub encryptor: Encryptor,
    /// Seals the maintenance schedule.
    pub maintenance_key: [u8; 32],
    /// Raw bytes to repeat at the start of each pack (format version 1 only).
    pub replica: Option<Vec<u8>>,
}

/// A new format: the two blobs to store, and its secrets.
#[derive(Debug)]
pub struct NewFormat {
    /// The bytes of [`FORMAT_BLOB`].
    pub format_blob: Vec<u8>,
    /// The bytes of [`LOCK_BLOB`].
    pub lock_blob: Vec<u8>,
    /// The opened format.
    pub secrets: Secrets,
}

/// Makes keys and the two blobs of a new repository.
pub fn create(password: &str, options: &CreateOptions, entropy: &Entropy) -> Result<NewFormat, Error> {
    Splitter::named(&options.splitter)?;
    if !(10 << 20..=120 << 20).contains(&options.pack_bytes_max) {
        return Err(Error::InvalidInput {
            what: "pack size",
            detail: format!("{} is not within 10 to 120 MiB", options.pack_bytes_max),
        });
    }
    if !options.epochs.enabled {
        return Err(Error::UnsupportedFeature { feature: "writing a repository without epochs".to_owned() });
    }
    let unique_id = entropy.bytes::<32>();
    let parameters = Parameters {
        hash: options.hash.clone(),
        encryption: options.encryption.clone(),
        secret: Base64(entropy.bytes::<32>().to_vec()),
        master_key: Base64(entropy.bytes::<32>().to_vec()),
        version: 3,
        max_pack_size: options.pack_bytes_max,
        index_version: 2,
        epochs: options.epochs.clone(),
        enable_password_change: true,
        splitter: options.splitter.clone(),
        ..Parameters::default()
    };
    let key = KeyDeriver::process().derive(password, &unique_id, &options.key_derivation)?;
    let inner = serde_json::to_vec(&Inner { format: parameters.clone() }).expect("plain data serialises");
    let mut outer = Outer {
        tool: "https://github.com/kopia/kopia".to_owned(),
        build_version: format!("firedrill-{}", env!("CARGO_PKG_VERSION")),
        build_info: "firedrill".to_owned(),
        unique_id: Base64(unique_id.to_vec()),
        key_algo: options.key_derivation.clone(),
        encryption: "AES256_GCM".to_owned(),
        encrypted_block_format: Base64::default(),
    };
    let lock_blob = seal_format(&key, &unique_id, entropy.bytes(), b"{}");
    outer.encrypted_block_format = Base64(seal_format(&key, &unique_id, entropy.bytes(), &inner));
    let format_blob = serde_json::to_vec_pretty(&outer).expect("plain data serialises");
    let secrets = secrets(&outer, &key, parameters, &format_blob)?;
    Ok(NewFormat { format_blob, lock_blob, secrets })
}

/// Opens the format blob with a password.
pub fn open(format_blob: &[u8], password: &str, now: Timestamp) -> Result<Secrets, Error> {
    let corrupt = |detail: String| Error::CorruptFormat { detail };
    let outer: Outer = serde_json::from_slice(format_blob).map_err(|error| corrupt(error.to_string()))?;
    if outer.unique_id.0.len() < 16 {
        return Err(corrupt("the unique identifier is too short".to_owned()));
    }
    if outer.encryption != "AES256_GCM" {
        return Err(Error::UnsupportedFeature {
            feature: format!("format encryption {:?}", outer.encryption),
        });
    }
    let key = KeyDeriver::process().derive(password, &outer.unique_id.0, &outer.key_algo)?;
    let inner = unseal_format(&key, &outer.unique_id.0, &outer.encrypted_block_format.0)
        .map_err(|_| Error::WrongPassword)?;
    let inner: Inner = serde_json::from_slice(&inner).map_err(|error| corrupt(error.to_string()))?;
    let parameters = inner.format;
    for required in &parameters.required_features {
        if !matches!(required.name.as_str(), "index-v1" | "index-v2") && !required.if_not_understood.warn {
            return Err(Error::UnsupportedFeature { feature: format!("feature {}", required.name) });
        }
    }
    if let Some(lock) = parameters.upgrade_lock.as_ref().filter(|lock| lock.is_locked(now)) {
        return Err(Error::Locked { owner: lock.owner_id.clone() });
    }
    secrets(&outer, &key, parameters, format_blob)
}

fn secrets(
    outer: &Outer,
    key: &FormatKey,
    parameters: Parameters,
    format_blob: &[u8],
) -> Result<Secrets, Error> {
    if !(1..=3).contains(&parameters.version) {
        return Err(Error::UnsupportedFeature { feature: format!("format version {}", parameters.version) });
    }
    if !parameters.ecc.is_empty() && parameters.ecc_overhead_percent > 0 {
        return Err(Error::UnsupportedFeature { feature: format!("error correction {}", parameters.ecc) });
    }
    if parameters.index_version > 2 {
        return Err(Error::UnsupportedFeature {
            feature: format!("index version {}", parameters.index_version),
        });
    }
    if !Splitter::is_known(&parameters.splitter) {
        return Err(Error::UnsupportedFeature { feature: format!("splitter {}", parameters.splitter) });
    }
    let hasher = Hasher::new(&parameters.hash, &parameters.secret.0)?;
    let encryptor = Encryptor::new(&parameters.encryption, &parameters.master_key.0)?;
    let material = if parameters.enable_password_change { &parameters.master_key.0[..] } else { &key[..] };
    Ok(Secrets {
        unique_id: UniqueId::new(outer.unique_id.0.clone()),
        maintenance_key: derive(material, &outer.unique_id.0, b"maintenance schedule"),
        replica: (!parameters.enable_password_change).then(|| format_blob.to_vec()),
        hasher,
        encryptor,
        format: Format {
            version: parameters.version,
            hash: parameters.hash,
            encryption: parameters.encryption,
            splitter: parameters.splitter,
            key_derivation: outer.key_algo.clone(),
            pack_bytes_max: if parameters.max_pack_size == 0 { 20 << 20 } else { parameters.max_pack_size },
            index_version: parameters.index_version.max(1),
            epochs: parameters.epochs,
            password_change: parameters.enable_password_change,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 14.1 of the format.
    #[test]
    fn the_maintenance_key_is_that_of_the_specification() {
        let (unique_id, master): (Vec<u8>, Vec<u8>) = ((0x20..0x40).collect(), (0x40..0x60).collect());
        assert_eq!(
            hex::encode(derive(&master, &unique_id, b"maintenance schedule")),
            "6cf1047e73e8d863419061759cf4c7a1565944c9636a6b5d7b71fc48f060e2a5"
        );
    }

    #[test]
    fn what_was_created_opens_with_its_password_only() {
        let new = create("right", &CreateOptions::default(), &Entropy::from_seed([1; 32])).unwrap();
        let opened = open(&new.format_blob, "right", Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(opened.format, new.secrets.format);
        assert_eq!(opened.unique_id, new.secrets.unique_id);
        assert!(matches!(open(&new.format_blob, "wrong", Timestamp::UNIX_EPOCH), Err(Error::WrongPassword)));
        assert!(matches!(
            open(&new.format_blob[..200], "right", Timestamp::UNIX_EPOCH),
            Err(Error::CorruptFormat { .. })
        ));
    }
}
