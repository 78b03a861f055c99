//! The verbs of the embedded bed: each is the bed's own, under the name that all beds share.

use std::time::Duration;

use apiserver::Failure;
use fault::Fault;
use jiff::Timestamp;
use json::{Value, json};
use scenario::{
    step::Place,
    tree::{ChangeSpec, TreeSpec},
};

use super::{Bed, ClaimError, Stalled};
use crate::{
    inspect::{self, Blobs, Contents, Taken, Verified},
    ledger::Entry,
    record::Record,
    storage::{TLS_AUTHORITY, TLS_ENDPOINT},
    verbs::{Elsewhere, Probe, Reach, Trouble, Verbs},
    volume::{Character, Volume},
};

/// Host of the bed's object store, as Secrets name it.
const ENDPOINT: &str = "s3.firedrill.test";
/// The NFS server of the bed.
const NFS_SERVER: &str = "nas.firedrill.test";

impl Bed {
    fn bucket_reach(endpoint: &str, bucket: &str) -> Reach {
        let secret = vec![
            ("KOPIA_REPOSITORY", format!("s3://{bucket}")),
            ("KOPIA_S3_BUCKET", bucket.to_owned()),
            ("KOPIA_S3_ENDPOINT", endpoint.to_owned()),
            ("AWS_ACCESS_KEY_ID", "key".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
        ];
        Reach { secret, ..Reach::default() }
    }
}

impl Verbs for Bed {
    fn is_virtual(&self) -> bool {
        !self.options.real_time
    }
    fn now(&self) -> Timestamp {
        Bed::now(self)
    }
    fn record(&self) -> &Record {
        Bed::record(self)
    }
    fn settling(&self) -> Duration {
        Duration::ZERO
    }
    fn catch_up(&mut self) {}
    fn empty(&mut self) -> bool {
        true
    }
    fn clear(&mut self) -> Vec<String> {
        Vec::new()
    }

    fn pass(&mut self, by: Duration) -> Result<(), Trouble> {
        self.advance(by);
        Ok(())
    }
    fn wait(&mut self, what: &str, deadline: Duration, probe: Probe<'_>) -> Result<(), Stalled> {
        self.wait_until(what, deadline, |bed| probe(bed).then_some(()))
    }

    fn apply(&mut self, object: &Value) -> Result<Value, Failure> {
        Bed::apply(self, object)
    }
    fn patch(&mut self, kind: &str, namespace: &str, name: &str, patch: &Value) -> Result<Value, Failure> {
        Bed::patch(self, kind, namespace, name, patch)
    }
    fn delete(&mut self, kind: &str, namespace: &str, name: &str) -> Result<(), Failure> {
        Bed::delete(self, kind, namespace, name)
    }
    fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        Bed::get(self, kind, namespace, name)
    }
    fn list(&self, kind: &str, namespace: &str) -> Vec<Value> {
        Bed::list(self, kind, namespace)
    }

    fn fill_claim(&mut self, namespace: &str, claim: &str, tree: &TreeSpec) -> Result<Entry, ClaimError> {
        Bed::fill_claim(self, namespace, claim, tree)
    }
    fn change_claim(
        &mut self,
        namespace: &str,
        claim: &str,
        change: &ChangeSpec,
    ) -> Result<Entry, ClaimError> {
        Bed::change_claim(self, namespace, claim, change)
    }
    fn write_claim(
        &mut self,
        namespace: &str,
        claim: &str,
        path: &str,
        text: &str,
    ) -> Result<Entry, ClaimError> {
        let edit = |medium: &Volume| inspect::write_file(medium, path, text.as_bytes());
        self.edit_claim(namespace, claim, "write", edit)
    }
    fn ledger_at(&self, namespace: &str, claim: &str, at: Timestamp) -> Option<Entry> {
        Bed::ledger_at(self, namespace, claim, at)
    }
    fn read_claim(&mut self, namespace: &str, claim: &str) -> Result<Option<Volume>, Trouble> {
        Ok(self.bound_volume(namespace, claim))
    }

    fn make_place(&mut self, place: &Place) -> Result<Reach, Trouble> {
        Ok(match place {
            Place::Bucket(bucket) => {
                self.storage.make_bucket(ENDPOINT, bucket);
                Self::bucket_reach(ENDPOINT, bucket)
            }
            Place::TlsBucket(bucket) => {
                self.storage.make_bucket(TLS_ENDPOINT, bucket);
                let authority = Some(TLS_AUTHORITY.to_owned());
                Reach { authority, ..Self::bucket_reach(TLS_ENDPOINT, bucket) }
            }
            Place::NfsExport(export) => {
                let path = format!("/{export}");
                self.storage.make_export(NFS_SERVER, &path, export);
                Reach::mounted(json!({"nfs": {"server": NFS_SERVER, "path": path}}))
            }
            Place::Claim(claim) => {
                Reach::mounted(json!({"persistentVolumeClaim": {"claimName": claim.name()}}))
            }
        })
    }
    fn blobs(&mut self, place: &Place) -> Result<Option<Blobs>, Trouble> {
        let now = Bed::now(self);
        Ok(match place {
            Place::Bucket(bucket) => {
                self.storage.bucket(ENDPOINT, bucket).map(|bucket| inspect::bucket_blobs(&bucket, ""))
            }
            Place::TlsBucket(bucket) => {
                self.storage.bucket(TLS_ENDPOINT, bucket).map(|bucket| inspect::bucket_blobs(&bucket, ""))
            }
            Place::NfsExport(export) => self
                .storage
                .export(NFS_SERVER, &format!("/{export}"))
                .map(|export| inspect::export_blobs(&export, "", now)),
            Place::Claim(claim) => self
                .bound_volume(claim.namespace(), claim.name())
                .map(|volume| inspect::volume_blobs(&volume, now)),
        })
    }
    fn look_into(&self, blobs: &Blobs, password: &str) -> Result<Option<Contents>, engine::Error> {
        self.block_on(inspect::look(blobs, password, Bed::now(self)))
    }
    fn verify(&self, blobs: &Blobs, password: &str) -> Result<Option<Verified>, engine::Error> {
        self.block_on(inspect::verify(blobs, password, Bed::now(self)))
    }

    /// Here it is the same engine in the same process, opened anew on the bytes as they lie.
    fn restore_elsewhere(
        &mut self,
        place: &Place,
        password: &str,
        snapshot: &Taken,
    ) -> Result<Vec<Elsewhere>, Trouble> {
        let Some(blobs) = self.blobs(place)? else { return Ok(Vec::new()) };
        let into = Volume::new("elsewhere", Character::Rbd, self.clock.as_function());
        let done = self.block_on(inspect::restore(&blobs, password, Bed::now(self), snapshot, &into));
        let by = "an engine that was opened anew on the bytes as they lie".to_owned();
        Ok(vec![Elsewhere { by, held: done.map(|()| into) }])
    }

    fn arm(&mut self, fault: Fault) -> Result<fault::Id, Trouble> {
        Ok(self.faults.arm(fault))
    }
    fn lift(&mut self, id: fault::Id) -> Result<(), Trouble> {
        self.faults.lift(id);
        Ok(())
    }

    fn evict_pod(&mut self, namespace: &str, pod: &str) -> Result<(), Trouble> {
        Bed::evict_pod(self, namespace, pod);
        Ok(())
    }
    fn signal_pod(&mut self, namespace: &str, pod: &str, signal: i32) -> Result<(), Trouble> {
        Bed::signal_pod(self, namespace, pod, signal);
        Ok(())
    }
    fn drain(&mut self, namespace: &str) -> Result<(), Trouble> {
        Bed::drain(self, namespace);
        Ok(())
    }
    fn restart_csi_driver(&mut self, driver: &str) -> Result<(), Trouble> {
        Bed::restart_csi_driver(self, driver);
        Ok(())
    }
    fn stop_controller(&mut self) -> Result<(), Trouble> {
        Bed::stop_controller(self);
        Ok(())
    }
    fn restart_controller(&mut self) -> Result<(), Trouble> {
        Bed::restart_controller(self);
        Ok(())
    }
    fn elect_leader(&mut self) -> Result<(), Trouble> {
        Bed::elect_leader(self);
        Ok(())
    }
    fn leader(&self) -> Option<String> {
        Bed::leader(self)
    }
    fn kill_leader(&mut self) -> Result<(), Trouble> {
        Bed::restart_controller(self);
        Ok(())
    }
    fn reboot_node(&mut self) -> Result<(), Trouble> {
        Bed::reboot_node(self);
        Ok(())
    }
    fn crashes(&self) -> Vec<String> {
        Bed::crashes(self)
    }
    fn metrics(&self) -> Result<String, Trouble> {
        Ok(Bed::metrics(self).text())
    }
}
