//! What the bed has written to claims, and when: the truth that oracles compare with.
//!
//! Each claim that the bed fills has a twin in memory, made by the same generator as on the embedded bed; the
//! twin is what is shipped to the claim and what the ledger takes down. What a pod or a mover changes in the
//! claim is not seen here; a claim that the bed did not fill is read before it is changed.

use std::io;

use scenario::tree::{ChangeSpec, TreeSpec};

use super::{
    Bed,
    hand::Errand,
    trees::{self, pack},
};
use crate::{
    bed::ClaimError,
    inspect,
    ledger::{Entry, Ledger},
    record::What,
    verbs::Trouble,
    volume::{Character, Volume},
};

/// One claim's twin and what it held at which times.
pub(super) struct History {
    twin: Volume,
    ledger: Ledger,
    pub entries: Vec<Entry>,
}

impl Bed {
    pub(super) fn fill(
        &mut self,
        namespace: &str,
        claim: &str,
        tree: &TreeSpec,
    ) -> Result<Entry, ClaimError> {
        self.edit(namespace, claim, "fill", false, |twin| twin.populate(tree))
    }

    pub(super) fn change(
        &mut self,
        namespace: &str,
        claim: &str,
        by: &ChangeSpec,
    ) -> Result<Entry, ClaimError> {
        self.edit(namespace, claim, "change", true, |twin| twin.change(by))
    }

    pub(super) fn write(
        &mut self,
        namespace: &str,
        claim: &str,
        path: &str,
        text: &str,
    ) -> Result<Entry, ClaimError> {
        self.edit(namespace, claim, "write", true, |twin| inspect::write_file(twin, path, text.as_bytes()))
    }

    fn edit(
        &mut self,
        namespace: &str,
        claim: &str,
        operation: &str,
        keeps: bool,
        edit: impl FnOnce(&Volume) -> io::Result<()>,
    ) -> Result<Entry, ClaimError> {
        let write =
            |source| ClaimError::Write { namespace: namespace.to_owned(), claim: claim.to_owned(), source };
        let cannot = |trouble: Trouble| match trouble {
            Trouble::Stalled(source) => {
                ClaimError::Unbound { namespace: namespace.to_owned(), claim: claim.to_owned(), source }
            }
            Trouble::Unsupported(why) | Trouble::Broken(why) => write(io::Error::other(why)),
        };
        let key = (namespace.to_owned(), claim.to_owned());
        if !self.claims.contains_key(&key) {
            let twin = if keeps {
                self.read(namespace, claim).map_err(cannot)?
            } else {
                Volume::new(
                    format!("{namespace}/{claim}"),
                    self.character(namespace, claim),
                    self.clock.as_function(),
                )
            };
            self.claims.insert(key.clone(), History { twin, ledger: Ledger::new(), entries: Vec::new() });
        }
        let twin = self.claims[&key].twin.clone();
        edit(&twin).map_err(write)?;
        let stream = pack(&twin).map_err(|error| write(io::Error::other(error)))?;
        self.hand(namespace, claim, Errand::Write(stream)).map_err(cannot)?;
        let history = self.claims.get_mut(&key).expect("it was just there");
        // Taken down when it has arrived: from now on it is what the claim holds.
        let entry = Entry { at: self.clock.now(), ..history.ledger.record(&twin) };
        history.entries.push(entry.clone());
        self.record.push(
            &format!("tree/bed/{operation}/{namespace}/{claim}"),
            What::Volume {
                volume: format!("{namespace}/{claim}"),
                operation: operation.to_owned(),
                detail: format!("{} files, {} bytes", entry.files(), entry.bytes()),
            },
        );
        Ok(entry)
    }

    /// What a claim holds, read through a fresh pod.
    pub(super) fn read(&mut self, namespace: &str, claim: &str) -> Result<Volume, Trouble> {
        let stream = self.hand(namespace, claim, Errand::Read)?;
        let name = format!("{namespace}/{claim}");
        let (character, now) = (self.character(namespace, claim), self.clock.as_function());
        trees::unpack(&stream, &name, character, now)
            .map_err(|error| Trouble::Broken(format!("the claim {name} was not read whole: {error}")))
    }

    /// The character of the storage behind a claim, by the driver of its class.
    fn character(&self, namespace: &str, claim: &str) -> Character {
        let class = self.mirror.get("PersistentVolumeClaim", namespace, claim);
        let class =
            class.and_then(|claim| Some(claim.pointer("/spec/storageClassName")?.as_str()?.to_owned()));
        match class.as_deref() {
            Some("cephfs") => Character::CephFs,
            Some("hostpath") => Character::HostPath,
            Some("nfs") => Character::Nfs,
            _ => Character::Rbd,
        }
    }
}
