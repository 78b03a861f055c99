//! The kubelet of every node: pods from their first volume to their last word.
//!
//! Sets up volumes, resolves environments, runs init containers and containers, restarts them where the
//! policy says so, reports phases, conditions, container statuses and termination messages (4096 bytes at
//! most), and ends processes: SIGTERM, then SIGKILL after the grace period. Movers run through
//! [`process`]. It does not pull images, probe containers or enforce memory (faults do).

pub mod directory;
pub mod doors;
pub mod environment;
pub mod logs;
pub mod mounts;
pub mod process;
pub mod shell;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use apiserver::Delete;
use contract::pod::TERMINATION_BYTES_MAX;
use fault::{Register, Seam, Verdict};
use jiff::Timestamp;
use json::{Value, json};
use tokio::sync::watch;

use self::{
    logs::Logs,
    mounts::{Mounted, Mounts, Volumes},
    process::{Ended, Mover, Pages, Start, actor_of, credentials},
};
use super::{
    Actor, Change, Cluster, Key, Next, View,
    cluster::{is_deleting, name, namespace, set_condition, text, uid},
    resource,
    scheduler::is_finished,
};
use crate::{
    cost::Rate,
    record::What,
    storage::Storage,
    volume::{FsGroupPolicy, Snapshot},
};

/// How long an image that is there takes to become a running process.
const START: Duration = Duration::from_millis(1500);
/// How long until a set-up that failed is tried again.
const SETUP_RETRY: Duration = Duration::from_secs(10);
/// First and longest pause before a container is restarted in place.
const CRASH_BACKOFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));
/// Grace period of a pod that names none.
const GRACE: u64 = 30;

/// What ends a process from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    Kill(&'static str),
}

/// A container, how it ended, and how often it was restarted in place.
type EndOf = (Arc<Value>, Ended, u64);

/// A pod that is being run.
struct Running {
    stop: watch::Sender<bool>,
    kill: watch::Sender<Option<Signal>>,
}

/// One mover run, as the kubelet saw it: the volume as it was when the process started, and its end.
#[derive(Clone, Debug)]
pub struct Run {
    /// Namespace.
    pub namespace: String,
    /// The Job.
    pub job: String,
    /// The pod.
    pub pod: String,
    /// `backup`, `restore`, `maintenance`.
    pub operation: &'static str,
    /// The claim mounted as data volume; empty for maintenance.
    pub claim: String,
    /// When the process started.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// What the data volume held at the start.
    pub held: Option<Snapshot>,
    /// How it ended.
    pub end: Ended,
    /// Debt of the run: time charged for bytes and operations.
    pub charged: Duration,
}

/// The kubelet.
#[derive(Clone)]
pub struct Kubelet(Arc<Inner>);

struct Inner {
    cluster: Cluster,
    storage: Arc<Storage>,
    faults: Register,
    mover: Mover,
    verbose: bool,
    running: Mutex<BTreeMap<String, Running>>,
    runs: Runs,
    logs: Logs,
}

/// The mover runs of a bed; clones share them.
pub type Runs = Arc<Mutex<Vec<Arc<Run>>>>;

impl Kubelet {
    /// The actor on a cluster.
    pub fn new(
        cluster: &Cluster,
        storage: &Arc<Storage>,
        faults: Register,
        mover: Mover,
        verbose: bool,
    ) -> Self {
        Self(Arc::new(Inner {
            cluster: cluster.for_caller("kubelet"),
            storage: Arc::clone(storage),
            faults,
            mover,
            verbose,
            running: Mutex::default(),
            runs: Runs::default(),
            logs: Logs::default(),
        }))
    }

    /// Every mover run that has ended, in order.
    pub fn runs(&self) -> Vec<Arc<Run>> {
        self.0.runs.lock().expect("no holder of the list of runs panics").clone()
    }

    /// What a pod printed so far. Logs of deleted pods are kept for a while by the bed, though not by a node.
    pub fn log(&self, namespace: &str, pod: &str) -> String {
        self.0.logs.of(namespace, pod)
    }

    /// Sends SIGTERM (15) or SIGKILL (9) to a pod's processes; false if it does not run.
    pub fn signal(&self, pod_uid: &str, signal: i32) -> bool {
        let running = self.0.running();
        let Some(pod) = running.get(pod_uid) else { return false };
        if signal == 9 {
            pod.kill.send_replace(Some(Signal::Kill("Error")));
        } else {
            pod.stop.send_replace(true);
        }
        true
    }
}

impl Inner {
    fn running(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.running.lock().expect("no holder of the kubelet's lock panics")
    }

    fn note(&self, pod: &Value, operation: &str, detail: &str) {
        self.cluster.record().push(
            &format!("process/{}/{operation}/Pod", actor_of(pod)),
            What::Pod {
                namespace: namespace(pod).to_owned(),
                name: name(pod).to_owned(),
                operation: operation.to_owned(),
                detail: detail.to_owned(),
            },
        );
    }

    fn write(&self, pod: &Value, change: impl FnOnce(&mut Value)) {
        // A pod of the same name and another uid is another pod.
        let written = self.cluster.change_status(resource::POD, namespace(pod), name(pod), |stored| {
            if uid(stored) == uid(pod) {
                if !stored["status"].is_object() {
                    stored["status"] = json!({});
                }
                change(stored);
            }
        });
        self.cluster.tolerate(written);
    }

    /// Writes that all containers wait, with a reason.
    fn wait_state(&self, pod: &Value, reason: &str, message: &str) {
        let now = self.cluster.timestamp();
        let containers = containers(pod, "containers");
        self.write(pod, |pod| {
            pod["status"]["phase"] = json!("Pending");
            conditions(pod, false, "ContainersNotReady", &now);
            let mut waiting = json!({"reason": reason});
            if !message.is_empty() {
                waiting["message"] = json!(message);
            }
            if pod.pointer("/status/startTime").is_none() {
                pod["status"]["startTime"] = json!(now);
            }
            pod["status"]["containerStatuses"] = containers
                .iter()
                .map(|container| {
                    json!({"name": container["name"], "image": container["image"], "imageID": "", "ready": false,
                        "started": false, "restartCount": 0, "lastState": {}, "state": {"waiting": waiting}})
                })
                .collect();
        });
    }

    /// Runs a pod to its end.
    async fn run(
        self: Arc<Self>,
        pod: Arc<Value>,
        stop: watch::Receiver<bool>,
        mut kill: watch::Receiver<Option<Signal>>,
    ) {
        self.wait_state(&pod, "ContainerCreating", "");
        let pages = Pages::default();
        let work = Arc::clone(&self).work(Arc::clone(&pod), stop, pages.clone());
        let outcome = tokio::select! {
            biased;
            signal = killed(&mut kill) => Err(signal),
            outcome = work => Ok(outcome),
        };
        pages.write_back();
        match outcome {
            Ok(ended) => self.finish(&pod, &ended),
            Err(Signal::Kill(reason)) => {
                let end = Ended { code: 137, message: String::new(), reason };
                self.finish(&pod, &all_ended(&pod, &end));
            }
        }
        self.running().remove(uid(&pod));
        let current = self.cluster.get(resource::POD, namespace(&pod), name(&pod));
        if let Some(current) = current.filter(|current| uid(current) == uid(&pod) && is_deleting(current)) {
            self.remove(&current);
        }
    }

    fn remove(&self, pod: &Value) {
        let options =
            Delete { grace_period_seconds: Some(0), uid: Some(uid(pod).to_owned()), ..Delete::default() };
        let gone = self.cluster.delete(resource::POD, namespace(pod), name(pod), &options);
        self.cluster.tolerate(gone);
    }

    /// Everything between a node and the end: set-up, init containers, containers.
    async fn work(self: Arc<Self>, pod: Arc<Value>, stop: watch::Receiver<bool>, pages: Pages) -> Vec<EndOf> {
        let Some(volumes) = self.set_up(&pod, &stop).await else { return stopped_before_start(&pod) };
        let mut stop = stop;
        tokio::select! {
            biased;
            () = tokio::time::sleep(START) => {}
            () = told(&mut stop) => return stopped_before_start(&pod),
        }
        for container in containers(&pod, "initContainers") {
            let container = Arc::new(container.clone());
            let Some(ended) = self.run_container(&pod, &container, &volumes, stop.clone(), 0, &pages).await
            else {
                return stopped_before_start(&pod);
            };
            if ended.code != 0 {
                return all_ended(&pod, &ended);
            }
        }
        let runs = containers(&pod, "containers").iter().map(|container| {
            Arc::clone(&self).keep_running(
                Arc::clone(&pod),
                Arc::new(container.clone()),
                volumes.clone(),
                stop.clone(),
                pages.clone(),
            )
        });
        futures::future::join_all(runs).await
    }

    /// Mounts the volumes, trying again until it succeeds; `None` when told to stop before that.
    async fn set_up(&self, pod: &Value, stop: &watch::Receiver<bool>) -> Option<Volumes> {
        let mut stop = stop.clone();
        let actor = actor_of(pod);
        loop {
            let (_, verdict) = tokio::select! {
                biased;
                verdict = self.faults.pass(Seam::Process, &actor, "start", name(pod)) => verdict,
                () = told(&mut stop) => return None,
            };
            let failure = match verdict {
                Verdict::Fail { message, .. } => message,
                _ => match mounts::set_up(&self.cluster, &self.storage, pod) {
                    Ok(volumes) => {
                        self.own(pod, &volumes).await;
                        return Some(volumes);
                    }
                    Err(message) => message,
                },
            };
            self.cluster.report(pod, "Warning", "FailedMount", &failure);
            tokio::select! {
                biased;
                () = tokio::time::sleep(SETUP_RETRY) => {}
                () = told(&mut stop) => return None,
            }
        }
    }

    /// Applies the pod's fsGroup to its claims.
    async fn own(&self, pod: &Value, volumes: &Volumes) {
        let Some(group) = pod.pointer("/spec/securityContext/fsGroup").and_then(Value::as_u64) else {
            return;
        };
        let policy = match text(pod, "/spec/securityContext/fsGroupChangePolicy") {
            "OnRootMismatch" => FsGroupPolicy::OnRootMismatch,
            _ => FsGroupPolicy::Always,
        };
        for mounted in volumes.values() {
            if let Mounted::Volume { volume, is_read_only, .. } = mounted {
                let done =
                    volume.apply_fs_group(u32::try_from(group).unwrap_or(u32::MAX), policy, *is_read_only);
                let time = Rate::of(volume.character()).time(done.changed, 0);
                if time >= Duration::from_millis(1) {
                    tokio::time::sleep(time).await;
                }
            }
        }
    }

    /// Runs a container once; `None` when it was told to stop before it could start.
    async fn run_container(
        &self,
        pod: &Arc<Value>,
        container: &Arc<Value>,
        volumes: &Volumes,
        stop: watch::Receiver<bool>,
        restarts: u64,
        pages: &Pages,
    ) -> Option<Ended> {
        let mut told_to_stop = stop.clone();
        let variables = loop {
            let refused = match environment::resolve(&self.cluster, pod, container) {
                Ok(variables) => match refuse_root(pod, container) {
                    None => break variables,
                    Some(why) => why,
                },
                Err(why) => why,
            };
            self.wait_state(pod, "CreateContainerConfigError", &refused);
            self.cluster.report(pod, "Warning", "Failed", &format!("Error: {refused}"));
            tokio::select! {
                biased;
                () = tokio::time::sleep(SETUP_RETRY) => {}
                () = told(&mut told_to_stop) => return None,
            }
        };
        let image = text(container, "/image");
        self.cluster.report(
            pod,
            "Normal",
            "Pulled",
            &format!("Container image \"{image}\" already present on machine"),
        );
        self.cluster.report(
            pod,
            "Normal",
            "Created",
            &format!("Created container: {}", text(container, "/name")),
        );
        self.cluster.report(
            pod,
            "Normal",
            "Started",
            &format!("Started container {}", text(container, "/name")),
        );
        self.started(pod, container, restarts);
        let mounts: Mounts = mounts::of_container(volumes, container);
        let start = Start {
            cluster: self.cluster.clone(),
            storage: Arc::clone(&self.storage),
            faults: self.faults.clone(),
            mover: Arc::clone(&self.mover),
            pod: Arc::clone(pod),
            container: Arc::clone(container),
            variables,
            mounts,
            restarts,
            stop,
            verbose: self.verbose,
            pages: pages.clone(),
            runs: Arc::clone(&self.runs),
            logs: self.logs.clone(),
        };
        let actor = actor_of(pod);
        // Asked for its number and for kills; a kill waits in the register for `killed` below.
        let _ = self.faults.at(Seam::Process, &actor, "run", name(pod));
        let mut process = std::pin::pin!(start.run());
        loop {
            let signal = tokio::select! {
                biased;
                signal = self.faults.killed(&actor) => signal,
                ended = &mut process => return Some(ended),
            };
            self.note(pod, "signal", &signal.to_string());
            if signal == 15 {
                if let Some(running) = self.running().get(uid(pod)) {
                    running.stop.send_replace(true);
                }
            } else {
                return Some(Ended {
                    code: 128 + signal,
                    message: String::new(),
                    reason: if signal == 9 { "OOMKilled" } else { "Error" },
                });
            }
        }
    }

    /// Runs a container and restarts it in place as the pod's policy says.
    async fn keep_running(
        self: Arc<Self>,
        pod: Arc<Value>,
        container: Arc<Value>,
        volumes: Volumes,
        stop: watch::Receiver<bool>,
        pages: Pages,
    ) -> EndOf {
        let mut restarts = 0;
        let mut told_to_stop = stop.clone();
        loop {
            let ended = self.run_container(&pod, &container, &volumes, stop.clone(), restarts, &pages).await;
            let Some(ended) = ended else { return (container, Ended::with(143, String::new()), restarts) };
            let again = match text(&pod, "/spec/restartPolicy") {
                "Never" => false,
                "OnFailure" => ended.code != 0,
                _ => true,
            };
            if !again || *stop.borrow() {
                return (container, ended, restarts);
            }
            let pause = CRASH_BACKOFF.0.saturating_mul(1 << restarts.min(5)).min(CRASH_BACKOFF.1);
            restarts += 1;
            self.crashed(&pod, &container, &ended, restarts);
            tokio::select! {
                biased;
                () = tokio::time::sleep(pause) => {}
                () = told(&mut told_to_stop) => return (container, ended, restarts),
            }
        }
    }

    fn started(&self, pod: &Value, container: &Value, restarts: u64) {
        let now = self.cluster.timestamp();
        self.note(pod, "started", text(container, "/name"));
        let is_init = containers(pod, "initContainers").contains(container);
        self.write(pod, |pod| {
            if is_init {
                return;
            }
            pod["status"]["phase"] = json!("Running");
            conditions(pod, true, "", &now);
            status_of(pod, container, |status| {
                status["ready"] = json!(true);
                status["started"] = json!(true);
                status["restartCount"] = json!(restarts);
                status["state"] = json!({"running": {"startedAt": now}});
            });
        });
    }

    fn crashed(&self, pod: &Value, container: &Value, ended: &Ended, restarts: u64) {
        let now = self.cluster.timestamp();
        self.note(pod, "restarted", &format!("exit code {}, restart {restarts}", ended.code));
        let message =
            format!("Back-off restarting failed container {} in pod {}", text(container, "/name"), name(pod));
        self.cluster.report(pod, "Warning", "BackOff", &message);
        self.write(pod, |pod| {
            status_of(pod, container, |status| {
                let started = text(status, "/state/running/startedAt").to_owned();
                status["ready"] = json!(false);
                status["started"] = json!(false);
                status["restartCount"] = json!(restarts);
                status["lastState"] = json!({"terminated": terminated(ended, &started, &now)});
                status["state"] = json!({"waiting": {"reason": "CrashLoopBackOff", "message": message}});
            });
        });
    }

    fn finish(&self, pod: &Value, ended: &[EndOf]) {
        let now = self.cluster.timestamp();
        let failed = ended.iter().find(|(_, ended, _)| ended.code != 0);
        let detail = match failed.or(ended.first()) {
            Some((_, ended, _)) => format!("exit code {}", ended.code),
            None => String::new(),
        };
        self.note(pod, "terminated", &detail);
        self.write(pod, |pod| {
            pod["status"]["phase"] = json!(if failed.is_some() { "Failed" } else { "Succeeded" });
            conditions(pod, false, if failed.is_some() { "PodFailed" } else { "PodCompleted" }, &now);
            for (container, ended, restarts) in ended {
                status_of(pod, container, |status| {
                    let started = match text(status, "/state/running/startedAt") {
                        "" => now.clone(),
                        started => started.to_owned(),
                    };
                    status["ready"] = json!(false);
                    status["started"] = json!(false);
                    status["restartCount"] = json!(restarts);
                    status["state"] = json!({"terminated": terminated(ended, &started, &now)});
                });
            }
        });
    }
}

#[async_trait::async_trait]
impl Actor for Kubelet {
    fn name(&self) -> &str {
        self.0.cluster.caller()
    }

    fn keys(&self, change: &Change, _: &View<'_>) -> Vec<Key> {
        let is_ours = change.kind == "Pod" && change.caller != self.0.cluster.caller();
        let is_assigned = is_ours && !text(&change.object, "/spec/nodeName").is_empty();
        if is_assigned || (change.kind == "Pod" && is_deleting(&change.object)) {
            vec![Key::new(resource::POD, &change.namespace, &change.name)]
        } else {
            Vec::new()
        }
    }

    async fn reconcile(&self, key: &Key) -> Next {
        let inner = &self.0;
        let Some(pod) = inner.cluster.get(resource::POD, &key.namespace, &key.name) else {
            // Deleted by force: whatever ran there ends at once.
            return Next::Done;
        };
        if is_deleting(&pod) {
            if !inner.running().contains_key(uid(&pod)) {
                inner.remove(&pod);
                return Next::Done;
            }
            let grace =
                pod.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_u64).unwrap_or(GRACE);
            let is_first =
                inner.running().get(uid(&pod)).is_some_and(|running| !running.stop.send_replace(true));
            if is_first {
                inner.note(&pod, "signal", "15");
                inner.cluster.report(&pod, "Normal", "Killing", "Stopping container");
            }
            let age = text(&pod, "/metadata/deletionTimestamp").parse::<Timestamp>().ok();
            // The server writes the end of the grace period as the time of deletion.
            let left = age.map_or(Duration::from_secs(grace), |end| {
                Duration::try_from(end.duration_since(inner.cluster.clock().now())).unwrap_or_default()
            });
            if left.is_zero() && !is_first {
                inner.note(&pod, "signal", "9");
                if let Some(running) = inner.running().get(uid(&pod)) {
                    running.kill.send_replace(Some(Signal::Kill("Error")));
                }
                return Next::Done;
            }
            return Next::After(left.max(Duration::from_secs(1)));
        }
        if is_finished(&pod)
            || text(&pod, "/spec/nodeName").is_empty()
            || inner.running().contains_key(uid(&pod))
        {
            return Next::Done;
        }
        let (stop, told) = watch::channel(false);
        let (kill, killed) = watch::channel(None);
        inner.running().insert(uid(&pod).to_owned(), Running { stop, kill });
        tokio::spawn(Arc::clone(inner).run(pod, told, killed));
        Next::Done
    }
}

async fn told(stop: &mut watch::Receiver<bool>) {
    while !*stop.borrow_and_update() {
        if stop.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn killed(kill: &mut watch::Receiver<Option<Signal>>) -> Signal {
    loop {
        let signal = *kill.borrow_and_update();
        if let Some(signal) = signal {
            return signal;
        }
        if kill.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn containers<'a>(pod: &'a Value, field: &str) -> &'a [Value] {
    pod["spec"][field].as_array().map_or(&[], |list| list.as_slice())
}

/// All containers, with the same end.
fn all_ended(pod: &Value, end: &Ended) -> Vec<EndOf> {
    let all = containers(pod, "containers").iter();
    all.map(|container| (Arc::new(container.clone()), end.clone(), 0)).collect()
}

fn stopped_before_start(pod: &Value) -> Vec<EndOf> {
    all_ended(pod, &Ended::with(143, String::new()))
}

fn refuse_root(pod: &Value, container: &Value) -> Option<String> {
    let demands = |context: &Value| context["runAsNonRoot"].as_bool();
    let demanded =
        demands(&container["securityContext"]).or_else(|| demands(&pod["spec"]["securityContext"]))?;
    let names_user = container["securityContext"]["runAsUser"].is_u64()
        || pod["spec"]["securityContext"]["runAsUser"].is_u64();
    if !demanded || credentials(pod, container).uid != 0 {
        return None;
    }
    let why = if names_user {
        "container's runAsUser breaks non-root policy"
    } else {
        "container has runAsNonRoot and image will run as root"
    };
    // Only movers have an image without a user here; other images are taken to bring theirs.
    (names_user || process::is_mover(container)).then(|| {
        format!(
            "{why} (pod: \"{}_{}({})\", container: {})",
            name(pod),
            namespace(pod),
            uid(pod),
            text(container, "/name")
        )
    })
}

fn terminated(ended: &Ended, started: &str, finished: &str) -> Value {
    let mut state =
        json!({"exitCode": ended.code, "reason": ended.reason, "startedAt": started, "finishedAt": finished});
    if !ended.message.is_empty() {
        let mut end = ended.message.len().min(TERMINATION_BYTES_MAX);
        while !ended.message.is_char_boundary(end) {
            end -= 1;
        }
        state["message"] = json!(ended.message[..end]);
    }
    state
}

fn status_of(pod: &mut Value, container: &Value, change: impl FnOnce(&mut Value)) {
    if !pod["status"]["containerStatuses"].is_array() {
        pod["status"]["containerStatuses"] = json!([]);
    }
    let statuses = pod["status"]["containerStatuses"].as_array_mut().expect("made an array above");
    let at = statuses.iter().position(|status| status["name"] == container["name"]).unwrap_or_else(|| {
        statuses.push(
            json!({"name": container["name"], "image": container["image"], "imageID": "", "ready": false,
            "restartCount": 0, "lastState": {}, "state": {}}),
        );
        statuses.len() - 1
    });
    change(&mut statuses[at]);
}

fn conditions(pod: &mut Value, is_ready: bool, reason: &str, now: &str) {
    let ready = if is_ready { "True" } else { "False" };
    let is_over = matches!(reason, "PodCompleted" | "PodFailed");
    let sandbox = if is_over { "False" } else { "True" };
    set_condition(pod, "PodReadyToStartContainers", sandbox, "", "", now);
    set_condition(pod, "Initialized", "True", if reason == "PodCompleted" { reason } else { "" }, "", now);
    set_condition(pod, "Ready", ready, reason, "", now);
    set_condition(pod, "ContainersReady", ready, reason, "", now);
}
