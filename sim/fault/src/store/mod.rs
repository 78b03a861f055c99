//! Faults of an object store: on the way (a decorator asks) and at rest (the holder edits its bytes).
//!
//! At-rest faults are not verdicts on an operation: the holder asks [`crate::Register::due`], picks the
//! victim with the fault's own `choose`, edits, and reports with [`crate::Register::struck`]; after the
//! lift it undoes the edit. That way the damage is seen through every road to the bytes.
pub mod bit_rot;
pub mod clock_skew;
pub mod full;
pub mod missing_blob;
pub mod reset;
pub mod slow;
pub mod unavailable;

/// Picks one of the candidates by seed.
pub(crate) fn pick<T>(candidates: &[T], seed: u64) -> Option<(&T, rand_chacha::ChaCha8Rng)> {
    use rand::{RngExt as _, SeedableRng as _};
    let mut chance = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    if candidates.is_empty() {
        return None;
    }
    let index = chance.random_range(0..candidates.len());
    Some((&candidates[index], chance))
}
