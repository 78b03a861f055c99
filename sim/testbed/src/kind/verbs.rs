//! The verbs of a bed on a real cluster.

use std::time::Duration;

use apiserver::Failure;
use fault::Fault;
use jiff::Timestamp;
use json::Value;
use scenario::{
    step::Place,
    tree::{ChangeSpec, TreeSpec},
};

use super::Bed;
use crate::{
    actor::cluster::{name, namespace, text},
    bed::{ClaimError, Stalled},
    inspect::{self, Blobs, Contents, Taken, Verified},
    ledger::Entry,
    record::Record,
    verbs::{Elsewhere, Probe, Reach, Trouble, Verbs},
    volume::Volume,
};

/// The longest span that is really waited for when a scenario lets time pass.
const SPAN_MAX: Duration = Duration::from_secs(90);
/// What watches, controllers and caches of a cluster may take until everybody has seen a change.
const SETTLING: Duration = Duration::from_secs(20);

impl Verbs for Bed {
    fn is_virtual(&self) -> bool {
        false
    }
    fn now(&self) -> Timestamp {
        self.clock.now()
    }
    fn record(&self) -> &Record {
        &self.record
    }
    fn settling(&self) -> Duration {
        SETTLING
    }
    fn catch_up(&mut self) {
        self.take_firings();
    }
    fn empty(&mut self) -> bool {
        Bed::empty(self)
    }
    fn clear(&mut self) -> Vec<String> {
        Bed::clear(self)
    }

    fn pass(&mut self, by: Duration) -> Result<(), Trouble> {
        if by > SPAN_MAX {
            return Err(Trouble::Unsupported(format!(
                "{} s would really have to pass, and no more than {} s are waited for: say what is waited for, or \
                 tag the scenario @virtual-time if time itself is what it shows",
                by.as_secs(),
                SPAN_MAX.as_secs()
            )));
        }
        self.runtime.block_on(async { tokio::time::sleep(by).await });
        Ok(())
    }

    fn wait(&mut self, what: &str, deadline: Duration, probe: Probe<'_>) -> Result<(), Stalled> {
        self.wait_for(what, deadline, |bed| probe(bed).then_some(()))
    }

    fn apply(&mut self, object: &Value) -> Result<Value, Failure> {
        self.ensure_namespace(namespace(object))?;
        let mut object = object.clone();
        self.idle(&mut object);
        self.provide_nfs(&object)?;
        let written = self.runtime.block_on(self.objects.apply(&object))?;
        self.runtime.block_on(self.mirror.saw(&written, false));
        Ok(written)
    }

    fn patch(&mut self, kind: &str, namespace: &str, name: &str, patch: &Value) -> Result<Value, Failure> {
        let written = self.runtime.block_on(self.objects.patch(kind, namespace, name, patch))?;
        self.runtime.block_on(self.mirror.saw(&written, false));
        Ok(written)
    }

    fn delete(&mut self, kind: &str, namespace: &str, name: &str) -> Result<(), Failure> {
        let before = self.get(kind, namespace, name);
        self.runtime.block_on(self.objects.delete(kind, namespace, name, None))?;
        if let Some(before) = before {
            self.runtime.block_on(self.mirror.saw(&before, true));
        }
        Ok(())
    }

    fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        if self.mirror.has(kind) {
            return self.mirror.get(kind, namespace, name);
        }
        self.runtime.block_on(self.objects.get(kind, namespace, name)).ok()?
    }

    fn list(&self, kind: &str, namespace: &str) -> Vec<Value> {
        if self.mirror.has(kind) {
            return self.mirror.list(kind, namespace);
        }
        self.runtime.block_on(self.objects.list(kind, namespace)).unwrap_or_default()
    }

    fn fill_claim(&mut self, namespace: &str, claim: &str, tree: &TreeSpec) -> Result<Entry, ClaimError> {
        self.fill(namespace, claim, tree)
    }
    fn change_claim(
        &mut self,
        namespace: &str,
        claim: &str,
        change: &ChangeSpec,
    ) -> Result<Entry, ClaimError> {
        self.change(namespace, claim, change)
    }
    fn write_claim(
        &mut self,
        namespace: &str,
        claim: &str,
        path: &str,
        text: &str,
    ) -> Result<Entry, ClaimError> {
        self.write(namespace, claim, path, text)
    }
    fn ledger_at(&self, namespace: &str, claim: &str, at: Timestamp) -> Option<Entry> {
        let history = self.claims.get(&(namespace.to_owned(), claim.to_owned()))?;
        history.entries.iter().rev().find(|entry| entry.at <= at).cloned()
    }
    fn read_claim(&mut self, namespace: &str, claim: &str) -> Result<Option<Volume>, Trouble> {
        let object = self.mirror.get("PersistentVolumeClaim", namespace, claim);
        if object.is_none_or(|object| text(&object, "/spec/volumeName").is_empty()) {
            return Ok(None);
        }
        self.read(namespace, claim).map(Some)
    }

    fn make_place(&mut self, place: &Place) -> Result<Reach, Trouble> {
        self.place(place)
    }
    fn blobs(&mut self, place: &Place) -> Result<Option<Blobs>, Trouble> {
        self.blobs_of(place)
    }
    fn look_into(&self, blobs: &Blobs, password: &str) -> Result<Option<Contents>, engine::Error> {
        self.runtime.block_on(inspect::look(blobs, password, self.clock.now()))
    }
    fn verify(&self, blobs: &Blobs, password: &str) -> Result<Option<Verified>, engine::Error> {
        self.runtime.block_on(inspect::verify(blobs, password, self.clock.now()))
    }

    fn restore_elsewhere(
        &mut self,
        place: &Place,
        password: &str,
        snapshot: &Taken,
    ) -> Result<Vec<Elsewhere>, Trouble> {
        self.restored_elsewhere(place, password, snapshot)
    }

    fn arm(&mut self, fault: Fault) -> Result<fault::Id, Trouble> {
        self.arm_fault(fault)
    }
    fn lift(&mut self, id: fault::Id) -> Result<(), Trouble> {
        self.take_firings();
        self.lift_fault(id)
    }

    fn evict_pod(&mut self, namespace: &str, pod: &str) -> Result<(), Trouble> {
        self.evict(namespace, pod)
    }
    fn signal_pod(&mut self, namespace: &str, pod: &str, signal: i32) -> Result<(), Trouble> {
        self.signal(namespace, pod, signal)
    }
    fn drain(&mut self, within: &str) -> Result<(), Trouble> {
        for pod in self.mirror.list("Pod", within) {
            if pod["metadata"]["deletionTimestamp"].is_null() {
                self.evict(namespace(&pod), name(&pod))?;
            }
        }
        Ok(())
    }
    fn restart_csi_driver(&mut self, driver: &str) -> Result<(), Trouble> {
        self.restart_driver(driver)
    }
    fn stop_controller(&mut self) -> Result<(), Trouble> {
        self.stop_subject()
    }
    fn restart_controller(&mut self) -> Result<(), Trouble> {
        self.restart_subject()
    }
    fn elect_leader(&mut self) -> Result<(), Trouble> {
        Ok(()) // the chart always has it so
    }
    fn leader(&self) -> Option<String> {
        self.subject_leader()
    }
    fn kill_leader(&mut self) -> Result<(), Trouble> {
        self.kill_subject_leader()
    }
    fn reboot_node(&mut self) -> Result<(), Trouble> {
        self.reboot()
    }
    fn metrics(&self) -> Result<String, Trouble> {
        self.subject_metrics()
    }
}
