//! Strategies that draw trees, changes and names, for property tests in any room.
//!
//! Behind the feature `strategies`, which adds this and changes nothing else. Biased towards edges and
//! collisions: empty trees, single files, equal seeds, everything special at once. Sizes stay small, so
//! that a property can be tried hundreds of times.

use proptest::{collection::btree_set, prelude::*, sample::select};

use crate::{
    name::Name,
    quantity::ByteSize,
    tree::{ChangeSpec, Owner, Special, TreeSpec},
};

/// A tree of at most 40 files and 256 KiB.
pub fn tree() -> impl Strategy<Value = TreeSpec> {
    let files = prop_oneof![1 => Just(0_u32), 1 => Just(1), 4 => 2..40_u32];
    let size = prop_oneof![1 => Just(0_u64), 1 => Just(1), 4 => 1..262_144_u64];
    let with = prop_oneof![
        2 => Just(std::collections::BTreeSet::new()),
        3 => btree_set(select(&Special::ALL[..]), 1..4),
        1 => Just(Special::ALL.into_iter().collect()),
    ];
    let owner = prop::option::of((0..3_u32, 0..3_u32).prop_map(|(uid, gid)| Owner { uid, gid }));
    (files, size, 0..4_u64, with, owner).prop_map(|(files, size, seed, with, owner)| {
        let size = ByteSize(if files == 0 { 0 } else { size });
        TreeSpec { files, size, seed, with, owner }
    })
}

/// A change of a few files, sometimes of none and sometimes of more than there are.
pub fn change() -> impl Strategy<Value = ChangeSpec> {
    let count = || prop_oneof![2 => Just(0_u32), 4 => 1..6_u32, 1 => Just(1_000)];
    (count(), count(), count(), 0..4_u64).prop_map(|(changed, added, removed, seed)| ChangeSpec {
        changed,
        added,
        removed,
        seed,
    })
}

/// A name, with and without a namespace, from few letters so that names collide.
pub fn name() -> impl Strategy<Value = Name> {
    "([ab]/)?[ab][ab.-]{0,2}[ab]".prop_map(|text| text.parse().expect("the pattern draws names only"))
}
