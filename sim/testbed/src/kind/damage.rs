//! Damage at rest in a real bucket: the bed edits an object past the proxy, and undoes it after the lift.
//!
//! The victim is picked by the fault itself among the objects of the scenario's own buckets, as on the embedded
//! bed. A fault that finds none yet is tried again whenever the bed looks at the bucket or takes firings, which is
//! later than on the embedded bed, where it strikes at the next operation. The object store stamps an edited
//! object anew; its time is not kept. What the subject wrote over a victim in the meantime stays.

use std::collections::BTreeMap;

use bytes::Bytes;
use engine::store::{ErrorKind, SharedStore};
use fault::{Fault, Id, store::bit_rot::Victim};

use super::{Bed, api::chain, places::open_bucket};
use crate::verbs::Trouble;

/// Faults at rest that are armed, and what they did.
#[derive(Default)]
pub(super) struct Damage(BTreeMap<Id, Arming>);

struct Arming {
    fault: Fault,
    wound: Option<Wound>,
}

/// One object that was edited.
struct Wound {
    is_tls: bool,
    bucket: String,
    blob: String,
    truth: Bytes,
    /// What lies there now; nothing if the object was removed.
    damaged: Option<Bytes>,
}

impl Damage {
    pub(super) fn arm(&mut self, id: Id, fault: Fault) {
        self.0.insert(id, Arming { fault, wound: None });
    }
}

impl Bed {
    /// Does the damage that is due.
    pub(super) fn strike_at_rest(&mut self) {
        let due: Vec<_> = self.damage.0.iter().filter(|(_, arming)| arming.wound.is_none()).collect();
        let due: Vec<_> = due.into_iter().map(|(id, arming)| (*id, arming.fault.clone())).collect();
        for (id, fault) in due {
            let Some(pattern) = fault.at_rest_in() else { continue };
            let aimed = self.buckets.iter().filter(|(_, bucket)| fault::aim::matches(pattern, bucket));
            for (is_tls, bucket) in aimed.cloned().collect::<Vec<_>>() {
                match self.wound(id, &fault, is_tls, &bucket) {
                    Ok(None) => {}
                    Ok(Some((wound, what))) => {
                        self.tell_fault(fault.name(), "fired", &format!("{id} at {bucket}: {what}"));
                        if let Some(arming) = self.damage.0.get_mut(&id) {
                            arming.wound = Some(wound);
                        }
                        break;
                    }
                    Err(trouble) => {
                        self.record.note(format!("{id} could not strike {bucket}: {trouble}"));
                    }
                }
            }
        }
    }

    /// Undoes what a fault did, unless somebody wrote there since.
    pub(super) fn heal_at_rest(&mut self, id: Id) -> Result<(), Trouble> {
        let Some(Wound { is_tls, bucket, blob, truth, damaged }) =
            self.damage.0.remove(&id).and_then(|arming| arming.wound)
        else {
            return Ok(());
        };
        let store = self.opened(is_tls, &bucket)?;
        let healed = self.runtime.block_on(async {
            let lies = match store.get(&blob, None).await {
                Ok(bytes) => Some(bytes),
                Err(error) if error.kind == ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            if lies == damaged { store.put(&blob, truth).await } else { Ok(()) }
        });
        healed.map_err(|error| Trouble::Broken(format!("{bucket}/{blob} stays damaged: {}", chain(&error))))
    }

    /// Damages one object of a bucket; nothing if none fits yet.
    fn wound(
        &self,
        id: Id,
        fault: &Fault,
        is_tls: bool,
        bucket: &str,
    ) -> Result<Option<(Wound, String)>, Trouble> {
        let store = self.opened(is_tls, bucket)?;
        // The real bed has no seed: one stream for each arming.
        let seed = id.0;
        let done = self.runtime.block_on(async {
            let listed = store.list("").await?;
            let blobs: Vec<_> = listed.into_iter().map(|found| (found.id, found.length)).collect();
            let (blob, flip) = match fault {
                Fault::StoreBitRot(spec) => match spec.choose(&blobs, seed) {
                    Some(victim) => (victim.blob.clone(), Some(victim)),
                    None => return Ok(None),
                },
                Fault::StoreMissingBlob(spec) => match spec.choose(&blobs, seed) {
                    Some(victim) => (victim.blob, None),
                    None => return Ok(None),
                },
                _ => return Ok(None),
            };
            let truth = store.get(&blob, None).await?;
            let (damaged, what) = edit(&store, &blob, &truth, flip.as_ref()).await?;
            let wound = Wound { is_tls, bucket: bucket.to_owned(), blob, truth, damaged };
            Ok(Some((wound, what)))
        });
        done.map_err(|error: engine::store::Error| Trouble::Broken(chain(&error)))
    }

    fn opened(&self, is_tls: bool, bucket: &str) -> Result<SharedStore, Trouble> {
        open_bucket(&self.store(is_tls)?, bucket).map_err(Trouble::Broken)
    }
}

/// Flips the bit of a victim, or removes the object; tells what lies there then.
async fn edit(
    store: &SharedStore,
    blob: &str,
    truth: &Bytes,
    flip: Option<&Victim>,
) -> Result<(Option<Bytes>, String), engine::store::Error> {
    let Some(victim) = flip else {
        store.delete(blob).await?;
        return Ok((None, format!("{blob} removed")));
    };
    let mut bytes = truth.to_vec();
    victim.flip(&mut bytes);
    let damaged = Bytes::from(bytes);
    store.put(blob, damaged.clone()).await?;
    Ok((Some(damaged), format!("{blob} byte {} mask {:#04x}", victim.offset, victim.mask)))
}
