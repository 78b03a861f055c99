//! Faults: armed, lifted, and whether they struck.

use scenario::step::FaultSpec;

use super::{Failure, Stage, Told};

impl Stage {
    pub(super) fn arm(&mut self, spec: &FaultSpec) -> Told {
        let fault = spec.fault().map_err(Failure::broken)?;
        let id = self.bed_mut().arm(fault)?;
        self.armed.push((spec.name.clone(), id));
        Ok(id.to_string())
    }

    pub(super) fn lift(&mut self, name: &str) -> Told {
        let ids: Vec<_> = self.armed.iter().filter(|(armed, _)| armed == name).map(|(_, id)| *id).collect();
        if ids.is_empty() {
            return Err(Failure::broken(format!("the fault {name} was not armed, so it cannot be lifted")));
        }
        for id in ids {
            self.bed_mut().lift(id)?;
        }
        Ok(String::new())
    }

    pub(super) fn expect_fired(&mut self, name: &str) -> Told {
        self.bed_mut().catch_up();
        let fired = self.scribe().ask(|book| book.fired.get(name).copied().unwrap_or(0));
        if fired > 0 {
            return Ok(format!("{fired} times"));
        }
        Err(Failure::violated(format!("the fault {name} has not fired")))
    }
}
