//! The subject's life on a bed: start, stop, restart.

use controller::lease;
use json::json;

use super::Bed;
use crate::{
    actor::{
        cluster::{name, namespace, text},
        kubelet::process::PANICKED,
    },
    subject::Surroundings,
};

/// Namespace and name of the controller's Lease.
const LEASE: (&str, &str) = ("firedrill", "firedrill");
const SIGKILL: i32 = 9;

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
                election: self.elects.then(|| {
                    self.started += 1;
                    lease::Options::new(LEASE.0, LEASE.1, format!("controller-{}", self.started))
                }),
            };
            let future = start(around);
            self.controller = Some(self.runtime.spawn(future).abort_handle());
            self.record.note("the subject's controller was started");
        }
    }

    /// Starts the controller again as one that works only while it holds its Lease.
    pub fn elect_leader(&mut self) {
        if self.elects {
            return;
        }
        self.elects = true;
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": LEASE.0}});
        self.apply(&namespace).expect("a namespace can be made");
        self.restart_controller();
    }

    /// Who holds the controller's Lease.
    pub fn leader(&self) -> Option<String> {
        let lease = self.get("Lease", LEASE.0, LEASE.1)?;
        let holder = lease["spec"]["holderIdentity"].as_str()?;
        (!holder.is_empty()).then(|| holder.to_owned())
    }

    /// Cuts the power of every node for a moment: pods and the controller die, volumes stay.
    pub fn reboot_node(&mut self) {
        for pod in self.list("Pod", "") {
            if text(&pod, "/status/phase") == "Running" {
                self.signal_pod(namespace(&pod), name(&pod), SIGKILL);
            }
        }
        self.restart_controller();
        self.record.note("the nodes lost power for a moment");
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
