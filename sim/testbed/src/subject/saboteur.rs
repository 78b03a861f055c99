//! Deliberately broken subjects: the harness must be able to fail.
//!
//! Each saboteur is the reference with one defect, put in by replacing its mover or by changing what its
//! controller writes to the API ([`apiserver::Admission`]). Each lies as well as it can: what it breaks it
//! also hides from the reference's own checks, so that only an oracle can tell. [`ALL`] names them with the
//! oracle meant for each; a name that is not there is refused ([`assemble`] gives `None`).

mod forger;
mod stand_in;
mod tree;

use std::sync::Arc;

use super::{Assembly, reference};

/// A saboteur in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// What it does wrong.
    pub about: &'static str,
    /// Which oracle must catch it.
    pub caught_by: &'static str,
}

const fn row(name: &'static str, about: &'static str, caught_by: &'static str) -> Row {
    Row { name, about, caught_by }
}

/// Every saboteur.
pub const ALL: [Row; 11] = [
    row(
        "empty-restore",
        "restores into nowhere and reports success: the volume stays empty",
        "restored equals the ledger",
    ),
    row(
        "wrong-claim",
        "cuts the volume snapshot of another claim of the namespace",
        "restored equals the ledger",
    ),
    row(
        "newest-dropped",
        "drops the newest snapshot after each backup but the first",
        "a newer snapshot after each sync",
    ),
    row(
        "mtime-lost",
        "restores every file with the time of the restore",
        "restored equals the ledger: modification time",
    ),
    row("uid-lost", "restores every file as root's", "restored equals the ledger: owner"),
    row(
        "stale-image",
        "publishes the first restore's image for ever",
        "restored equals the ledger, second restore",
    ),
    row(
        "phantom-sync",
        "counts every backup but the first without running it",
        "a newer snapshot after each sync",
    ),
    row("swallowed-failure", "reports every failed run as a success", "a failing run is reported"),
    row("zeroed-files", "restores names and sizes, and zeros for bytes", "restored equals the ledger: bytes"),
    row(
        "partial-restore",
        "leaves out every third file of a restore",
        "restored equals the ledger: presence",
    ),
    row("panicking-mover", "panics in every backup but the first", "no process of the subject crashes"),
];

/// The assembly of a saboteur; `None` for a name that is not in [`ALL`].
pub fn assemble(name: &str) -> Option<Assembly> {
    let honest = super::honest_mover();
    let controller = Some(reference(controller::Profile::Safe));
    let with_mover = |mover| Assembly { controller: controller.clone(), mover, admission: Vec::new() };
    let with_forger = |forger: Arc<dyn apiserver::Admission>| Assembly {
        controller: controller.clone(),
        mover: honest.clone(),
        admission: vec![forger],
    };
    Some(match name {
        "empty-restore" => with_mover(stand_in::restore_elsewhere(honest.clone())),
        "wrong-claim" => with_forger(Arc::new(forger::WrongClaim::default())),
        "newest-dropped" => with_mover(stand_in::drop_newest(honest.clone())),
        "mtime-lost" => with_mover(stand_in::restore_through(honest.clone(), tree::Defect::Mtime)),
        "uid-lost" => with_mover(stand_in::restore_through(honest.clone(), tree::Defect::Owner)),
        "stale-image" => with_forger(Arc::new(forger::StaleImage::default())),
        "phantom-sync" => with_mover(stand_in::phantom(honest.clone())),
        "swallowed-failure" => with_mover(stand_in::swallow(honest.clone())),
        "zeroed-files" => with_mover(stand_in::restore_through(honest.clone(), tree::Defect::Bytes)),
        "panicking-mover" => with_mover(stand_in::panic_later(honest.clone())),
        "partial-restore" => with_mover(stand_in::restore_through(honest.clone(), tree::Defect::Presence)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_assembly() {
        for row in ALL {
            assert!(assemble(row.name).is_some(), "{}", row.name);
        }
        assert!(assemble("nobody").is_none());
    }
}
