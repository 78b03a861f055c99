//! Names and numbers drawn from the bed's seed, as pure functions of what they are for.
//!
//! No stream is shared between parts of the bed: whoever needs chance derives it from the seed and its own
//! name, so that one part drawing more does not change what another sees.

use sha2::{Digest as _, Sha256};

/// 32 bytes for a purpose.
pub fn bytes(seed: u64, purpose: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(seed.to_be_bytes());
    for part in purpose {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

/// The first `length` hex digits for a purpose (at most 64).
pub fn hex(seed: u64, purpose: &[&str], length: usize) -> String {
    let mut text = hex::encode(bytes(seed, purpose));
    text.truncate(length);
    text
}

/// A number below `limit` for a purpose.
pub fn below(seed: u64, purpose: &[&str], limit: u64) -> u64 {
    let bytes = bytes(seed, purpose);
    let mut first = [0; 8];
    first.copy_from_slice(&bytes[..8]);
    u64::from_be_bytes(first) % limit.max(1)
}
