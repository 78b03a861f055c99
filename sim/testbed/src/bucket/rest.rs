//! Damage at rest: carries out the faults that edit stored bytes, and undoes them after the lift.
//!
//! A holder of blobs settles its [`Damage`] whenever it is touched, before the touch: damage that is due
//! is done to a victim that the fault itself picks from the holder's blobs, damage that was lifted is
//! undone. So a fault armed between two operations has struck before the second. What the subject wrote
//! over a victim in the meantime wins over the undoing.
use std::{borrow::Cow, collections::BTreeMap};

use bytes::Bytes;
use fault::{Fault, Id, Point, Register, Seam, store};
use jiff::Timestamp;

/// Something that holds blobs.
pub trait Medium {
    /// Keys with lengths, in a stable order.
    fn blobs(&self) -> Vec<(String, u64)>;
    /// The blob name behind a key, at which faults aim.
    fn blob_name<'a>(&self, key: &'a str) -> Cow<'a, str>;
    /// Takes a blob out.
    fn take(&mut self, key: &str) -> Option<(Bytes, Timestamp)>;
    /// Puts a blob in with its time.
    fn give(&mut self, key: &str, bytes: Bytes, modified: Timestamp);
}

struct Wound {
    key: String,
    truth: (Bytes, Timestamp),
    damaged: Option<Bytes>,
}

/// The damage done to one holder.
#[derive(Default)]
pub struct Damage {
    wounds: BTreeMap<Id, Wound>,
}

impl Damage {
    /// Does what is due and undoes what was lifted.
    pub fn settle(&mut self, register: &Register, holder: &str, medium: &mut dyn Medium) {
        let healed: Vec<Id> = self.wounds.keys().copied().filter(|id| register.is_over(*id)).collect();
        for id in healed {
            let wound = self.wounds.remove(&id).expect("the key was just seen");
            let now = medium.take(&wound.key);
            let untouched = now.as_ref().map(|(bytes, _)| bytes) == wound.damaged.as_ref();
            match (untouched, now) {
                (true, _) => medium.give(&wound.key, wound.truth.0, wound.truth.1),
                (false, Some((bytes, modified))) => medium.give(&wound.key, bytes, modified),
                (false, None) => {}
            }
        }
        for due in register.due(holder) {
            let keys = medium.blobs();
            let names: Vec<(String, u64)> =
                keys.iter().map(|(key, length)| (medium.blob_name(key).into_owned(), *length)).collect();
            let key_of =
                |blob: &str| names.iter().position(|(name, _)| name == blob).map(|at| keys[at].0.clone());
            let (victim, flip) = match &due.fault {
                Fault::StoreBitRot(spec) => {
                    let Some(victim) = spec.choose(&names, due.seed) else { continue };
                    (victim.blob.clone(), Some(victim))
                }
                Fault::StoreMissingBlob(spec) => {
                    let Some(store::missing_blob::Victim { blob }) = spec.choose(&names, due.seed) else {
                        continue;
                    };
                    (blob, None)
                }
                _ => continue,
            };
            let Some(key) = key_of(&victim) else { continue };
            let Some(truth) = medium.take(&key) else { continue };
            let damaged = flip.as_ref().map(|flip| {
                let mut bytes = truth.0.to_vec();
                flip.flip(&mut bytes);
                Bytes::from(bytes)
            });
            if let Some(bytes) = &damaged {
                medium.give(&key, bytes.clone(), truth.1);
            }
            let what = flip.map_or_else(
                || format!("{victim} removed"),
                |flip| format!("{victim} byte {} mask {:#04x}", flip.offset, flip.mask),
            );
            let point = Point {
                seam: Seam::Store,
                actor: holder.to_owned(),
                operation: "at-rest".to_owned(),
                class: super::blob_class(&victim).to_owned(),
                nth: 0,
            };
            self.wounds.insert(due.id, Wound { key, truth, damaged });
            register.struck(due.id, &point, &what);
        }
    }
}
