//! A bed: one running assembly of cluster, volumes, stores and subject, driven by synchronous verbs.
//!
//! Each bed owns a current-thread runtime. In virtual time its clock jumps from timer to timer, so a year
//! passes in seconds; with [`Options::real_time`] it is a cluster for curl and kubectl. A verb either
//! writes as caller `user` ([`Bed::apply`], [`Bed::delete`]), lets time pass ([`Bed::advance`],
//! [`Bed::wait_until`]) or looks ([`Bed::get`], [`Bed::list`]); looking costs no time and changes nothing.
//! It never sleeps to wait: waits are on a level, re-probed after every API write, with a deadline.

mod definitions;
mod embedded;
mod options;
mod serve;
mod subject;
mod verbs;
mod volumes;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use apiserver::{ApiServer, Delete, Failure, ManagedFields, Patch, Propagation, Sequencing};
use fault::Register;
use jiff::Timestamp;
use json::{Value, json};

pub use embedded::{Builder, Embedded};
pub use options::{Binding, Options, StorageClassSpec};
pub use volumes::ClaimError;

use crate::{
    actor::{
        Actor, Cluster, Queue,
        binder::Binder,
        cluster::{is_deleting, name, namespace, text, uid},
        cronjob::CronJobs,
        drive,
        driver::{Driver, Drivers},
        expiry::Expiry,
        job::Jobs,
        kubelet::Kubelet,
        protection::Protection,
        provisioner::Provisioner,
        resource,
        scheduler::Scheduler,
        snapshotter,
        workload::Workloads,
    },
    clock::Clock,
    record::{Record, What},
    storage::Storage,
    subject::Assembly,
};

/// A wait that reached its deadline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stalled after {waited:?} ({clock}) waiting for {what}")]
pub struct Stalled {
    /// What was waited for.
    pub what: String,
    /// How long, by this clock.
    pub waited: Duration,
    /// Whose time that is: `virtual` or `real`.
    pub clock: &'static str,
}

/// A running assembly.
pub struct Bed {
    runtime: tokio::runtime::Runtime,
    options: Options,
    clock: Clock,
    record: Record,
    server: ApiServer,
    cluster: Cluster,
    storage: Arc<Storage>,
    faults: Register,
    kubelet: Kubelet,
    assembly: Assembly,
    controller: Option<tokio::task::AbortHandle>,
    /// Whether controllers lead by a Lease, and how many such were started.
    elects: bool,
    started: u32,
    metrics: controller::Metrics,
    histories: BTreeMap<(String, String), volumes::History>,
}

/// How long watch events are kept in virtual time. Whoever asks for older ones gets 410 and lists anew, as of a
/// real server, whose cache keeps the newest 75 s.
const EVENTS_REMEMBERED: Duration = Duration::from_secs(75);
/// The tick at which the server answers one request of an instant after the other.
const TICK: Duration = Duration::from_millis(1);

impl Bed {
    /// Starts a bed and lets it settle: node, classes and custom resource definitions exist, the subject runs.
    ///
    /// # Panics
    /// For a saboteur whose name is not in [`crate::subject::saboteur::ALL`]: check names before.
    pub fn start(options: Options) -> Self {
        let assembly =
            Assembly::of(&options.subject).expect("saboteurs are named as in the list of saboteurs");
        Self::start_with(options, assembly, Vec::new())
    }

    /// As [`Bed::start`] with a subject taken apart, and further objects that exist before it runs.
    pub fn start_with(options: Options, assembly: Assembly, objects: Vec<Value>) -> Self {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        // In virtual time nothing waits for a socket; without a driver for them a wake-up is no system call.
        if options.real_time {
            builder.enable_all();
        } else {
            builder.enable_time();
        }
        if !options.real_time {
            builder.start_paused(true);
        }
        let runtime =
            builder.build().expect("a current-thread runtime needs no resources that could be missing");
        let entered = runtime.enter();
        let clock = Clock::start(options.epoch, runtime.handle().clone());
        let record = Record::new(clock.clone());
        let faults = Register::new(options.seed);
        observe(&faults, &record);
        let mut server_options = apiserver::Options::new(clock.as_function(), options.seed);
        server_options.sequencing =
            if options.real_time { Sequencing::Immediate } else { Sequencing::Tick(TICK) };
        server_options.managed_fields =
            if options.real_time { ManagedFields::Always } else { ManagedFields::FromFirstApply };
        server_options.admission.clone_from(&assembly.admission);
        if !options.real_time {
            server_options.watch_timeout_min = Duration::from_secs(24 * 3600);
            // A kube client takes a watch for dead after 295 s of silence.
            server_options.bookmark_period = Duration::from_secs(280);
            // A watch here is not broken off, so nobody resumes from far behind; old events only cost memory,
            // and memory that goes round slowly is out of every cache when it is used again.
            server_options.history_age = Some(EVENTS_REMEMBERED);
        }
        let server = ApiServer::new(server_options);
        let cluster =
            Cluster::new(server.clone(), clock.clone(), record.clone(), options.seed, options.verbose_record);
        let drivers = Arc::new(Drivers::default());
        let storage = Arc::new(Storage::new(Arc::clone(&drivers), clock.clone(), faults.clone()));
        let kubelet = Kubelet::new(
            &cluster,
            &storage,
            faults.clone(),
            Arc::clone(&assembly.mover),
            options.verbose_record,
        );
        let actors: Vec<Arc<dyn Actor>> = vec![
            Arc::new(Binder::new(&cluster)),
            Arc::new(Provisioner::new(&cluster, &drivers)),
            Arc::new(Protection::new(&cluster)),
            Arc::new(snapshotter::Controller::new(&cluster, faults.clone())),
            Arc::new(snapshotter::Sidecar::new(&cluster, &drivers)),
            Arc::new(Workloads::new(&cluster)),
            Arc::new(CronJobs::new(&cluster)),
            Arc::new(Jobs::new(&cluster)),
            Arc::new(Scheduler::new(&cluster)),
            Arc::new(kubelet.clone()),
            Arc::new(Expiry::new(&cluster)),
        ];
        let driven: Vec<(Arc<dyn Actor>, Arc<Queue>)> =
            actors.into_iter().map(|actor| (actor, Arc::new(Queue::default()))).collect();
        cluster.attach(driven.clone());
        for (actor, queue) in driven {
            runtime.spawn(drive(actor, queue));
        }
        drop(entered);
        let user = cluster.for_caller("user");
        let mut bed = Self {
            runtime,
            options,
            clock,
            record,
            server,
            cluster: user,
            storage,
            faults,
            kubelet,
            assembly,
            controller: None,
            elects: false,
            started: 0,
            metrics: controller::Metrics::new(),
            histories: BTreeMap::new(),
        };
        bed.furnish();
        for object in objects {
            let made = bed.create(&object).map(|_| ());
            bed.cluster.tolerate(made);
        }
        bed.restart_controller();
        bed.advance(Duration::from_secs(1));
        bed
    }

    /// Creates what a cluster has before anybody uses it.
    fn furnish(&mut self) {
        let admin = self.cluster.for_caller("cluster-admin");
        let definitions = api::crd::all().into_iter();
        let mut objects: Vec<Value> = definitions
            .map(|definition| json::to_value(definition).expect("a definition is plain data"))
            .collect();
        objects.extend(self.options.nodes.iter().map(|node| definitions::node(node)));
        for object in objects {
            admin.direct().create(object).expect("a fresh server takes its own definitions");
        }
        for class in self.options.classes.clone() {
            self.add_class(&class);
        }
    }

    /// Adds a storage class with its driver; a driver that is there already is shared.
    pub fn add_class(&mut self, class: &StorageClassSpec) {
        let _entered = self.runtime.enter();
        if self.storage.drivers().get(&class.provisioner).is_none() {
            let driver = Driver::new(
                &class.provisioner,
                class.character,
                self.faults.clone(),
                self.record.clone(),
                self.clock.clone(),
                self.options.seed,
            );
            self.storage.drivers().add(driver);
        }
        let admin = self.cluster.for_caller("cluster-admin");
        for object in
            std::iter::once(definitions::storage_class(class)).chain(definitions::snapshot_class(class))
        {
            if let Err(failure) = admin.direct().create(object) {
                tracing::debug!(class = class.name, %failure, "a class exists already");
            }
        }
    }

    /// The options it was started with.
    pub fn options(&self) -> &Options {
        &self.options
    }
    /// The bed's present time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
    /// The clock itself.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
    /// What happened so far.
    pub fn record(&self) -> &Record {
        &self.record
    }
    /// The faults: arm and lift them here.
    pub fn faults(&self) -> &Register {
        &self.faults
    }
    /// Volumes, buckets and exports.
    pub fn storage(&self) -> &Arc<Storage> {
        &self.storage
    }
    /// The API server.
    pub fn server(&self) -> &ApiServer {
        &self.server
    }
    /// The cluster as caller `user`.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// A kube client that writes as `caller`.
    pub fn client(&self, caller: &str) -> kube::Client {
        let _entered = self.runtime.enter();
        kube::Client::new(self.server.service(caller), "default")
    }

    /// Runs a future on the bed's runtime to its end; virtual time may pass.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Lets virtual time pass; everything runs.
    pub fn advance(&mut self, by: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(by).await });
    }

    /// Lets virtual time pass until the clock shows `time`; a time in the past lets none pass.
    pub fn advance_to(&mut self, time: Timestamp) {
        let until = self.clock.instant_of(time);
        self.runtime.block_on(async { tokio::time::sleep_until(until).await });
    }

    /// Waits until `probe` gives a value, re-probing after every API write.
    ///
    /// # Errors
    /// [`Stalled`] when the deadline (virtual time from now) passes first.
    pub fn wait_until<T>(
        &mut self,
        what: &str,
        deadline: Duration,
        mut probe: impl FnMut(&Self) -> Option<T>,
    ) -> Result<T, Stalled> {
        let mut revision = self.cluster.revision();
        let until = self.clock.instant_of(self.now()) + deadline;
        loop {
            revision.borrow_and_update();
            if let Some(value) = probe(self) {
                return Ok(value);
            }
            let is_late = self.runtime.block_on(async {
                tokio::select! {
                    biased;
                    changed = revision.changed() => changed.is_err(),
                    () = tokio::time::sleep_until(until) => true,
                }
            });
            if is_late {
                // The last write may have come in the same instant as the deadline.
                let clock = if self.options.real_time { "real" } else { "virtual" };
                return probe(self).ok_or_else(|| Stalled { what: what.to_owned(), waited: deadline, clock });
            }
        }
    }

    /// Creates or updates one object (server-side apply as field manager `user`, forced); its namespace is
    /// created if it is missing.
    pub fn apply(&mut self, object: &Value) -> Result<Value, Failure> {
        self.ensure_namespace(namespace(object));
        let _entered = self.runtime.enter();
        let patch = Patch::Apply { object: object.clone(), manager: "user".to_owned(), force: true };
        let (version, kind) = (text(object, "/apiVersion"), text(object, "/kind"));
        let applied =
            self.cluster.direct().patch(version, kind, namespace(object), name(object), "", patch)?;
        Ok(Arc::unwrap_or_clone(applied))
    }

    /// Creates one object; its namespace is created if it is missing.
    pub fn create(&mut self, object: &Value) -> Result<Value, Failure> {
        self.ensure_namespace(namespace(object));
        let _entered = self.runtime.enter();
        self.cluster.direct().create(object.clone()).map(Arc::unwrap_or_clone)
    }

    /// Makes sure that a namespace exists.
    pub fn ensure_namespace(&mut self, namespace: &str) {
        if namespace.is_empty() || self.cluster.get(resource::NAMESPACE, "", namespace).is_some() {
            return;
        }
        let _entered = self.runtime.enter();
        let made =
            self.cluster.create(resource::NAMESPACE, json!({"metadata": {"name": namespace}})).map(|_| ());
        self.cluster.tolerate(made);
    }

    /// Applies a JSON merge patch; `kind` is `Kind` or `Kind.group`.
    pub fn patch(
        &mut self,
        kind: &str,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Value, Failure> {
        let _entered = self.runtime.enter();
        let Some(known) = self.cluster.known(kind) else { return Err(Failure::not_found("", kind, name)) };
        let patch = Patch::Merge(patch.clone());
        let patched =
            self.cluster.direct().patch(&known.api_version(), &known.kind, namespace, name, "", patch)?;
        Ok(Arc::unwrap_or_clone(patched))
    }

    /// Deletes one object (background propagation); an absent one is not an error.
    pub fn delete(&mut self, kind: &str, namespace: &str, name: &str) -> Result<(), Failure> {
        let _entered = self.runtime.enter();
        let Some(known) = self.cluster.known(kind) else { return Ok(()) };
        let options = Delete { propagation: Some(Propagation::Background), ..Delete::default() };
        match self.cluster.direct().delete(&known.api_version(), &known.kind, namespace, name, &options) {
            Err(failure) if failure.code == 404 => Ok(()),
            other => other,
        }
    }

    /// Looks at one object; costs no time.
    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let known = self.cluster.known(kind)?;
        self.cluster.get_dynamic(&known.group, &known.plural, namespace, name).map(|object| (*object).clone())
    }

    /// Looks at all objects of a kind, in a namespace or (empty) everywhere, sorted by namespace and name.
    pub fn list(&self, kind: &str, namespace: &str) -> Vec<Value> {
        let Some(known) = self.cluster.known(kind) else { return Vec::new() };
        let objects = self.cluster.list_dynamic(&known.group, &known.plural, namespace);
        objects.into_iter().map(|object| (*object).clone()).collect()
    }

    /// Evicts a pod: deletes it with its grace period, as a drain does. False if it does not exist.
    pub fn evict_pod(&mut self, namespace: &str, pod: &str) -> bool {
        let _entered = self.runtime.enter();
        let Some(object) = self.cluster.get(resource::POD, namespace, pod) else { return false };
        self.note_pod(&object, "evicted");
        let gone =
            self.cluster.for_caller("eviction").delete(resource::POD, namespace, pod, &Delete::default());
        self.cluster.tolerate(gone);
        true
    }

    /// Sends SIGTERM (15) or SIGKILL (9) to a pod's processes without deleting the pod; false if it does not run.
    pub fn signal_pod(&mut self, namespace: &str, pod: &str, signal: i32) -> bool {
        let Some(object) = self.cluster.get(resource::POD, namespace, pod) else { return false };
        self.note_pod(&object, &format!("signal {signal}"));
        self.kubelet.signal(uid(&object), signal)
    }

    /// Evicts every pod of a namespace (empty: of all) that is not going away already; tells how many.
    pub fn drain(&mut self, namespace: &str) -> usize {
        let pods = self.cluster.list(resource::POD, namespace);
        let pods: Vec<_> = pods.iter().filter(|pod| !is_deleting(pod)).collect();
        pods.iter().filter(|pod| self.evict_pod(crate::actor::cluster::namespace(pod), name(pod))).count()
    }

    /// Restarts a CSI driver (empty: all of them): its table of operations in flight is gone.
    pub fn restart_csi_driver(&mut self, driver: &str) {
        let _entered = self.runtime.enter();
        for each in self.storage.drivers().all() {
            if driver.is_empty() || each.name() == driver {
                each.restart();
            }
        }
    }

    fn note_pod(&self, pod: &Value, operation: &str) {
        self.record.push(
            &format!("bed/{operation}/Pod"),
            What::Pod {
                namespace: namespace(pod).to_owned(),
                name: name(pod).to_owned(),
                operation: operation.to_owned(),
                detail: String::new(),
            },
        );
    }
}

/// Writes what happens to faults into the record.
fn observe(faults: &Register, record: &Record) {
    let record = record.clone();
    faults.observe(Arc::new(move |event| {
        let (name, state, target) = match event {
            fault::Event::Armed { id, fault } => (fault.name().to_owned(), "armed", id.to_string()),
            fault::Event::Fired { id, name, point, verdict } => {
                ((*name).to_owned(), "fired", format!("{id} at {point}: {verdict}"))
            }
            fault::Event::Lifted { id, name, lingers } => (
                (*name).to_owned(),
                "lifted",
                if *lingers { format!("{id}, lingers") } else { id.to_string() },
            ),
            fault::Event::Restarted { seam } => (format!("{seam}"), "restarted", String::new()),
        };
        let place = format!("fault/{name}/{state}");
        record.push(&place, What::Fault { name, state: state.to_owned(), target });
    }));
}
