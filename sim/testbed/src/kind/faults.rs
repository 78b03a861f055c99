//! Faults of a real cluster: each name of the fault model, and what really does it here.
//!
//! | fault | what does it |
//! |---|---|
//! | of a CSI driver, or of the file system of its volumes | our driver, told over its control socket |
//! | of an NFS export | our NFS server, told over its control socket |
//! | an NFS server that is away | its container stopped or paused, or the nodes' packets to it dropped |
//! | of an object store, on the way | our proxy in front of it, told over its control socket |
//! | of an object store, at rest | the bed itself, past the proxy ([`super::damage`]) |
//! | others | unsupported, with the reason |
//!
//! A double that was told keeps count of its firings, and [`Bed::take_firings`] takes them into the record. A
//! fault of an object store strikes the scenario's own buckets only; any other strikes whoever it aims at in the
//! whole cluster: who arms one is not played beside those whom it would strike.

use std::collections::BTreeMap;

use fault::{Fault, Id, Seam, nfs::server_away::How};
use json::Value;
use kit::{
    control::{Reply, Request},
    s3_control::Status,
};

use super::{
    Bed,
    coordinates::{Driver, Nas, ObjectStore},
};
use crate::{record::What, verbs::Trouble};

/// What is armed.
#[derive(Default)]
pub(super) struct Armed {
    next: u64,
    faults: BTreeMap<Id, Arming>,
}

/// One fault that was told to somebody.
#[derive(Clone)]
struct Arming {
    name: &'static str,
    to: Double,
    /// Its number there.
    number: u64,
    /// Firings that the record has already.
    taken: u64,
}

/// Who carries a fault out.
#[derive(Clone)]
enum Double {
    Driver(Driver),
    Nas(Nas),
    /// The NFS server's container and what lies between it and the nodes: no program is told, the world changes.
    Away(Nas, How),
    Proxy(ObjectStore),
    /// The bed itself, at the bytes as they lie.
    Bed,
}

/// What a double tells about one fault.
struct Told {
    firings: u64,
    last: String,
}

impl Bed {
    pub(super) fn arm_fault(&mut self, mut fault: Fault) -> Result<Id, Trouble> {
        let row = fault.effect().row();
        let to = self.double(&fault)?;
        if row.seam == Seam::Store {
            self.aim_at_own_buckets(&mut fault);
        }
        let text = serde_json::to_string(&fault).expect("a fault is plain data");
        let number = match &to {
            Double::Driver(driver) => match self.ask_driver(driver, &Request::Arm(fault.clone()))? {
                Reply::Armed(number) => number,
                other => return Err(unexpected(row.name, &other)),
            },
            Double::Nas(nas) => {
                let status = self.ask_nas(nas, &["arm", &text])?;
                let newest = status["faults"].as_array().and_then(|faults| faults.last()?["id"].as_u64());
                newest
                    .ok_or_else(|| Trouble::Broken(format!("the NFS server did not arm {text}: {status}")))?
            }
            Double::Away(nas, how) => {
                self.take_away(nas, *how)?;
                0
            }
            Double::Proxy(store) => {
                let status = self.ask_proxy(store, &["arm", &text])?;
                let newest = status.armed.last().map(|newest| newest.id);
                newest.ok_or_else(|| Trouble::Broken(format!("the S3 proxy did not arm {text}")))?
            }
            Double::Bed => self.armed.next + 1,
        };
        self.armed.next += 1;
        let id = Id(self.armed.next);
        self.armed.faults.insert(id, Arming { name: row.name, to: to.clone(), number, taken: 0 });
        self.tell_fault(row.name, "armed", &id.to_string());
        if matches!(to, Double::Bed) {
            self.damage.arm(id, fault);
            self.strike_at_rest();
        }
        Ok(id)
    }

    pub(super) fn lift_fault(&mut self, id: Id) -> Result<(), Trouble> {
        let Some(arming) = self.armed.faults.get(&id).cloned() else { return Ok(()) };
        match &arming.to {
            Double::Driver(driver) => match self.ask_driver(driver, &Request::Lift(arming.number))? {
                Reply::Done(_) => {}
                other => return Err(unexpected(arming.name, &other)),
            },
            Double::Nas(nas) => {
                self.ask_nas(nas, &["lift", &arming.number.to_string()])?;
            }
            Double::Away(nas, how) => self.bring_back(nas, *how)?,
            Double::Proxy(store) => {
                self.ask_proxy(store, &["lift", &arming.number.to_string()])?;
            }
            Double::Bed => self.heal_at_rest(id)?,
        }
        self.armed.faults.remove(&id);
        self.tell_fault(arming.name, "lifted", &id.to_string());
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
    pub(super) fn take_firings(&mut self) {
        self.strike_at_rest();
        let ids: Vec<_> = self.armed.faults.keys().copied().collect();
        for id in ids {
            let arming = self.armed.faults[&id].clone();
            let Ok(Some(told)) = self.told(&arming) else { continue };
            for nth in arming.taken..told.firings {
                self.tell_fault(
                    arming.name,
                    "fired",
                    &format!("{id} for the {}. time: {}", nth + 1, told.last),
                );
            }
            if let Some(kept) = self.armed.faults.get_mut(&id) {
                kept.taken = told.firings;
            }
        }
    }

    /// What a fault aims at, by the names that the scenario's buckets have in this cluster.
    fn aim_at_own_buckets(&self, fault: &mut Fault) {
        match fault {
            Fault::StoreBitRot(spec) => spec.store = self.private(&spec.store),
            Fault::StoreMissingBlob(spec) => spec.store = self.private(&spec.store),
            other => {
                let aim = other.aim_mut();
                aim.class = format!("{}{}", self.prefix, aim.class);
            }
        }
    }

    fn told(&self, arming: &Arming) -> Result<Option<Told>, Trouble> {
        match &arming.to {
            Double::Driver(driver) => {
                let Reply::Faults(faults) = self.ask_driver(driver, &Request::Faults)? else {
                    return Ok(None);
                };
                let one = faults.into_iter().find(|fault| fault.id == arming.number);
                Ok(one.map(|one| Told {
                    firings: one.firings,
                    last: one.fired.last().cloned().unwrap_or_default(),
                }))
            }
            Double::Nas(nas) => {
                let status = self.ask_nas(nas, &["status"])?;
                let faults = status["faults"].as_array().cloned().unwrap_or_default();
                let one = faults.into_iter().find(|fault| fault["id"].as_u64() == Some(arming.number));
                Ok(one.map(|one| Told {
                    firings: one["firings"].as_u64().unwrap_or(0),
                    last: one["last"].as_str().unwrap_or_default().to_owned(),
                }))
            }
            // A server that is away counts nothing: what the nodes send there in vain is counted on their side.
            Double::Away(nas, how) if !self.at.nodes.is_empty() => Ok(Some(Told {
                firings: self.sent_in_vain(nas)?,
                last: format!("a packet to {}, which is away: {how:?}", nas.container),
            })),
            // Nobody counts on nodes that are no containers of ours.
            Double::Away(nas, how) => {
                Ok(Some(Told { firings: 1, last: format!("{} is away: {how:?}", nas.container) }))
            }
            Double::Proxy(store) => {
                let armed = self.ask_proxy(store, &["status"])?.armed;
                let one = armed.into_iter().find(|one| one.id == arming.number);
                let last = format!("at {}, on the way to {}", store.inside, store.straight);
                Ok(one.map(|one| Told { firings: one.firings, last }))
            }
            // Told when it is done.
            Double::Bed => Ok(None),
        }
    }

    /// Who in this cluster can carry a fault out.
    fn double(&self, fault: &Fault) -> Result<Double, Trouble> {
        let row = fault.effect().row();
        if let Fault::NfsServerAway(spec) = fault {
            if spec.aim != fault::Aim::default() {
                return Err(Trouble::Unsupported(
                    "a whole server goes away for everybody on a real cluster: leave the aim out".to_owned(),
                ));
            }
            return Ok(Double::Away(self.nas()?, spec.how));
        }
        let nobody = |why: &str| {
            Err(Trouble::Unsupported(format!("nothing in this cluster does {}: {why}", row.name)))
        };
        match row.seam {
            Seam::Csi | Seam::Tree => match self.at.drivers.first() {
                Some(driver) => Ok(Double::Driver(driver.clone())),
                None => nobody("its CSI drivers are none of ours"),
            },
            Seam::Nfs => Ok(Double::Nas(self.nas()?)),
            Seam::Store if fault.at_rest_in().is_some() => self.store(false).map(|_| Double::Bed),
            Seam::Store if fault.effect().aim().actor != "*" => {
                nobody("its movers share one access key, so that a proxy cannot tell them apart by actor")
            }
            Seam::Store => match self.store(false)? {
                store if store.proxy.is_empty() => {
                    nobody("its object store is a real one, without a proxy in front")
                }
                store => Ok(Double::Proxy(store)),
            },
            Seam::Process => {
                nobody("a mover is killed by a step (SIGTERM, SIGKILL, eviction), not at a point within it")
            }
            Seam::Clock => nobody("all its containers share the machine's clock"),
            Seam::Api => nobody("its API server is a real one, without a proxy in front"),
        }
    }

    pub(super) fn ask_driver(&self, driver: &Driver, request: &Request) -> Result<Reply, Trouble> {
        let text = serde_json::to_string(request).expect("a request is plain data");
        let words = ["/kit", "csi-ctl", "ask", text.as_str()];
        let pods = self.runtime.block_on(self.objects.list("Pod", &driver.namespace)).unwrap_or_default();
        let (key, value) = driver.selector.split_once('=').unwrap_or((driver.selector.as_str(), ""));
        let pod = pods.iter().find(|pod| pod["metadata"]["labels"][key] == value);
        let pod = pod.and_then(|pod| pod["metadata"]["name"].as_str());
        let pod = pod.ok_or_else(|| Trouble::Broken(format!("the driver {} has no pod", driver.name)))?;
        let limit = std::time::Duration::from_secs(20);
        let asked = self.objects.exec_in(&driver.namespace, pod, &driver.container, &words, None, limit);
        let said = self.runtime.block_on(asked).map_err(Trouble::Broken)?;
        serde_json::from_slice(&said).map_err(|error| {
            Trouble::Broken(format!("the driver {} answered nonsense: {error}", driver.name))
        })
    }

    fn ask_nas(&self, nas: &Nas, words: &[&str]) -> Result<Value, Trouble> {
        let words: Vec<_> = ["/kit", "nfs-ctl"].iter().chain(words).copied().collect();
        let said = self.in_container(&nas.container, &words, None)?;
        serde_json::from_slice(&said)
            .map_err(|error| Trouble::Broken(format!("the NFS server answered nonsense: {error}")))
    }

    fn ask_proxy(&self, store: &ObjectStore, words: &[&str]) -> Result<Status, Trouble> {
        let words: Vec<_> = ["/kit", "s3-ctl"].iter().chain(words).copied().collect();
        let said = self.in_container(&store.proxy, &words, None)?;
        serde_json::from_slice(&said)
            .map_err(|error| Trouble::Broken(format!("the S3 proxy answered nonsense: {error}")))
    }

    pub(super) fn tell_fault(&self, name: &str, state: &str, target: &str) {
        let what = What::Fault { name: name.to_owned(), state: state.to_owned(), target: target.to_owned() };
        self.record.push(&format!("fault/{name}/{state}"), what);
    }
}

fn unexpected(name: &str, reply: &Reply) -> Trouble {
    match reply {
        Reply::Refused(why) => Trouble::Unsupported(format!("the driver refused the fault {name}: {why}")),
        other => Trouble::Broken(format!("the driver answered the fault {name} with {other:?}")),
    }
}
