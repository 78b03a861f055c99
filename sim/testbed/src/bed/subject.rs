//! The subject's life on a bed: start, stop, restart.

use super::Bed;

impl Bed {
    /// Stops the subject's controller as a killed pod: no farewell, nothing finished.
    pub fn stop_controller(&mut self) {
        if let Some(controller) = self.controller.take() {
            controller.abort();
            self.record.note("the subject's controller was stopped");
        }
    }

    /// Starts the subject's controller again, with empty caches; without one, does nothing.
    pub fn restart_controller(&mut self) {
        self.stop_controller();
        let _entered = self.runtime.enter();
        if let Some(start) = &self.assembly.controller {
            let future = start(&self.server, &self.clock);
            self.controller = Some(self.runtime.spawn(future).abort_handle());
            self.record.note("the subject's controller was started");
        }
    }

    /// Whether the subject's controller runs.
    pub fn has_controller(&self) -> bool {
        self.controller.as_ref().is_some_and(|controller| !controller.is_finished())
    }
}
