//! What of a shared bed a scenario needs, and so beside which others it may play.
//!
//! Most need their own namespaces and nothing else. Whoever names a kind of storage needs that storage as it should
//! be, or, with a fault of it, for himself: the others do not notice. Whoever ends a controller, restarts a driver or
//! lets an operator work needs the whole bed.
use std::collections::BTreeSet;

use fault::{Fault, Seam};
use scenario::{Act, Scenario, Step};

/// Storage that a fault can take from those who use it, and from nobody else.
const STORAGE: [&str; 2] = ["nfs", "cephfs"];

/// What a scenario needs of a bed that it shares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The whole bed, for itself.
    is_alone: bool,
    uses: BTreeSet<&'static str>,
    disturbs: BTreeSet<&'static str>,
}

impl Needs {
    /// Reads a scenario.
    pub fn of(scenario: &Scenario) -> Self {
        let text = serde_json::to_string(&scenario.steps).expect("steps are plain data").to_lowercase();
        let uses = STORAGE.into_iter().filter(|storage| text.contains(storage)).collect();
        let mut needs = Self { is_alone: scenario.steps.iter().any(takes_all), uses, ..Self::default() };
        for spec in scenario.faults() {
            match spec.fault().map(|fault| struck(&fault)) {
                Ok(Struck::Own) => {}
                Ok(Struck::Storage(storage)) => drop(needs.disturbs.insert(storage)),
                // What cannot be read is told when it is played.
                Ok(Struck::All) | Err(_) => needs.is_alone = true,
            }
        }
        needs
    }

    /// Whether the two may play at once.
    pub fn bears(&self, other: &Self) -> bool {
        let spoils = |one: &Self, other: &Self| {
            one.is_alone
                || one
                    .disturbs
                    .iter()
                    .any(|storage| other.uses.contains(storage) || other.disturbs.contains(storage))
        };
        !spoils(self, other) && !spoils(other, self)
    }

    /// Who begins first: those who disturb, one after the other, while the others play; then the others; those who
    /// play alone at the end.
    pub fn turn(&self) -> u8 {
        match (self.is_alone, self.disturbs.is_empty()) {
            (false, false) => 0,
            (false, true) => 1,
            (true, _) => 2,
        }
    }
}

/// Whom a fault strikes on a shared bed.
enum Struck {
    /// The scenario that armed it.
    Own,
    /// The users of one kind of storage.
    Storage(&'static str),
    /// Everybody.
    All,
}

fn struck(fault: &Fault) -> Struck {
    let row = fault.row();
    match row.seam {
        // It strikes the scenario's own buckets.
        Seam::Store => Struck::Own,
        Seam::Nfs => Struck::Storage("nfs"),
        Seam::Tree if row.name.starts_with("cephfs-") => Struck::Storage("cephfs"),
        _ => Struck::All,
    }
}

fn takes_all(step: &Step) -> bool {
    matches!(
        step,
        Step::When(
            Act::StopController
                | Act::RestartController
                | Act::KillLeader
                | Act::RebootNode
                | Act::RestartCsi(_)
                | Act::Run { .. }
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(steps: &str) -> Needs {
        let steps: Vec<Step> = serde_saphyr::from_str(steps).expect("steps");
        Needs::of(&Scenario { steps, ..Scenario::new("one") })
    }

    const PLAIN: &str = "- given: {repository: {name: main}}";
    const ON_NFS: &str = "- given: {repository: {name: main, on: {nfs-export: backups}}}";
    const NFS_AWAY: &str = "- given: {fault: {name: nfs-server-away}}";
    const ON_CEPHFS: &str =
        "- given: {volume: {name: a, class: cephfs, holding: {files: 1, size: 1 KiB, seed: 1}}}";
    const CEPHFS_ZEROES: &str = "- given: {fault: {name: cephfs-write-back-zeroing}}";
    const STORE_AWAY: &str = "- given: {fault: {name: store-unavailable}}";
    const STUCK: &str = "- given: {fault: {name: csi-delete-snapshot-fails}}";
    const REBOOT: &str = "- when: reboot-node";

    #[test]
    fn whoever_takes_storage_away_plays_beside_those_who_do_not_use_it() {
        let rows = [
            (PLAIN, PLAIN, true),
            (NFS_AWAY, PLAIN, true),
            (NFS_AWAY, ON_NFS, false),
            (NFS_AWAY, NFS_AWAY, false),
            (ON_NFS, ON_NFS, true),
            (NFS_AWAY, CEPHFS_ZEROES, true),
            (NFS_AWAY, ON_CEPHFS, true),
            (CEPHFS_ZEROES, ON_CEPHFS, false),
            (STORE_AWAY, STORE_AWAY, true),
            (STUCK, PLAIN, false),
            (REBOOT, PLAIN, false),
            (REBOOT, REBOOT, false),
        ];
        for (one, other, expected) in rows {
            let (first, second) = (needs(one), needs(other));
            assert_eq!(first.bears(&second), expected, "{one} beside {other}");
            assert_eq!(second.bears(&first), expected, "{other} beside {one}");
        }
    }

    #[test]
    fn whoever_plays_alone_comes_last() {
        let turns = [NFS_AWAY, PLAIN, REBOOT].map(|steps| needs(steps).turn());
        assert!(turns.is_sorted_by(|a, b| a < b), "{turns:?}");
    }
}
