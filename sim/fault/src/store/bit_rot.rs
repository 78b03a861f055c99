//! Bit rot: one bit of a stored blob flips, and nothing notices before it is read.
//!
//! The world: disks without checksums, memory errors, a NAS bug. Names, sizes and listings stay right; the
//! AEAD seal notices at the next read of that part. The victim is chosen by seed among the blobs of the aimed
//! class; lifting flips the bit back (the mirror's copy is brought in). A sound subject's verify and restore
//! fail and name exactly the affected paths; the rest restores.
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};
use rand::RngExt as _;

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "store-bit-rot",
    seam: Seam::Store,
    survivable: false,
    about: "one bit of a stored blob flips at rest",
    aims_at: "stores by name; blobs by class or by name",
    sound: "verify and restore fail naming exactly the affected paths; the rest restores",
};

/// The fault as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Where it strikes.
    pub aim: Aim,
    /// Pattern over the store's name.
    pub store: String,
    /// Pattern over blob names; `p*` is any pack of file contents, `q*` any of directories and manifests.
    pub blob: String,
}

impl Default for Spec {
    fn default() -> Self {
        Self { aim: Aim::default(), store: "*".to_owned(), blob: "p*".to_owned() }
    }
}

impl Effect for Spec {
    fn row(&self) -> &'static Row {
        &ROW
    }
    fn aim(&self) -> &Aim {
        &self.aim
    }
    fn reaches(&self, point: &Point) -> bool {
        let _ = point;
        false
    }
    fn verdict(&self, _: &Point, _: &mut ChaCha8Rng, _: &mut BTreeSet<String>) -> Verdict {
        Verdict::Proceed
    }
}

/// What was struck, so that the lift can undo it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victim {
    /// The blob.
    pub blob: String,
    /// The byte within it.
    pub offset: u64,
    /// The bit within the byte, as a mask.
    pub mask: u8,
}

impl Spec {
    /// Picks a victim among the holder's blobs, given in a stable order with their lengths; `None` when
    /// none fits yet.
    pub fn choose(&self, blobs: &[(String, u64)], seed: u64) -> Option<Victim> {
        let fits = |(name, length): &&(String, u64)| *length > 0 && crate::aim::matches(&self.blob, name);
        let candidates: Vec<&(String, u64)> = blobs.iter().filter(fits).collect();
        let ((blob, length), mut chance) = super::pick(&candidates, seed)?;
        // The middle half: the ends may be padding that no content covers.
        let offset = chance.random_range(length / 4..=(length - 1) - (length - 1) / 4);
        Some(Victim { blob: blob.clone(), offset, mask: 1 << chance.random_range(0..8) })
    }
}

impl Victim {
    /// Flips the bit; doing it twice restores the bytes.
    pub fn flip(&self, bytes: &mut [u8]) {
        if let Some(byte) = bytes.get_mut(self.offset as usize) {
            *byte ^= self.mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_victim_is_one_of_those_aimed_at_and_the_same_for_a_seed() {
        let blobs =
            vec![("p1".to_owned(), 9), ("p2".to_owned(), 0), ("q1".to_owned(), 9), ("p3".to_owned(), 1)];
        for seed in 0..64 {
            let victim = Spec::default().choose(&blobs, seed).expect("there are packs");
            assert!(["p1", "p3"].contains(&victim.blob.as_str()), "{victim:?}");
            assert_eq!(Some(&victim), Spec::default().choose(&blobs, seed).as_ref());
            let mut bytes = vec![7; if victim.blob == "p1" { 9 } else { 1 }];
            let truth = bytes.clone();
            victim.flip(&mut bytes);
            assert_ne!(bytes, truth);
            victim.flip(&mut bytes);
            assert_eq!(bytes, truth);
        }
        assert_eq!(Spec::default().choose(&[], 1), None);
    }
}
