//! The subject's life on a bed: start, stop, restart.

use super::Bed;
use crate::{actor::kubelet::process::PANICKED, subject::Surroundings};

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
        if let Some(start) = self.assembly.controller.clone() {
            self.metrics = controller::Metrics::new();
            let around = Surroundings {
                server: self.server.clone(),
                clock: self.clock.clone(),
                metrics: self.metrics.clone(),
            };
            let future = start(around);
            self.controller = Some(self.runtime.spawn(future).abort_handle());
            self.record.note("the subject's controller was started");
        }
    }

    /// What the reference has counted since its controller was started.
    pub fn metrics(&self) -> &controller::Metrics {
        &self.metrics
    }

    /// Which processes of the subject ended where they must not: movers that panicked, a controller that
    /// nobody stopped.
    pub fn crashes(&self) -> Vec<String> {
        let mut crashes: Vec<String> = self
            .kubelet
            .runs()
            .iter()
            .filter(|run| run.end.code == PANICKED)
            .map(|run| {
                let log = self.kubelet.log(&run.namespace, &run.pod);
                let last = log.lines().last().unwrap_or_default();
                format!("the mover of Job {}/{} crashed: {last}", run.namespace, run.job)
            })
            .collect();
        if self.controller.as_ref().is_some_and(tokio::task::AbortHandle::is_finished) {
            crashes.push("the controller ended by itself".to_owned());
        }
        crashes
    }

    /// Whether the subject's controller runs.
    pub fn has_controller(&self) -> bool {
        self.controller.as_ref().is_some_and(|controller| !controller.is_finished())
    }
}
