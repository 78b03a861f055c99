//! What runs inside a container: a mover, or a small shell.
//!
//! A container whose command is the mover's becomes one call of the mover function, with doors over the
//! bed. A process dies by dropping its future; its page cache survives it, as in the world, and is written
//! back by the node.

use std::{
    collections::BTreeMap,
    io,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
};

use contract::{Outcome, Request, environment, pod as paper};
use engine::{
    context::{Client, Entropy},
    tree::WriteTree,
};
use futures::{FutureExt as _, future::BoxFuture};
use json::Value;
use tokio::sync::watch;

use super::{
    Run, Runs,
    doors::{StoreDoor, data_door, read_file},
    logs::Logs,
    mounts::{Mounted, Mounts},
    shell,
};
use crate::{
    actor::{
        Cluster,
        cluster::{name, namespace, text, uid},
    },
    cost::Meter,
    record::What,
    seed,
    storage::Storage,
    volume::{Capabilities, Credentials, Mount, MountOptions},
};

/// The mover as a function, so that a saboteur can take its place.
pub type Mover = Arc<dyn Fn(Request, mover::Doors) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// Exit code of a process that panics.
pub const PANICKED: i32 = 101;

/// What a panic said.
fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Exit code.
    pub code: i32,
    /// Termination message; empty if there is none.
    pub message: String,
    /// `Completed`, `Error`, `OOMKilled`.
    pub reason: &'static str,
}

impl Ended {
    /// The end of a process that left with this code.
    pub fn with(code: i32, message: String) -> Self {
        Self { code, message, reason: if code == 0 { "Completed" } else { "Error" } }
    }
}

/// Everything a process is started with.
pub struct Start {
    /// The cluster, as kubelet.
    pub cluster: Cluster,
    /// The bed's storage.
    pub storage: Arc<Storage>,
    /// The bed's faults.
    pub faults: fault::Register,
    /// The mover.
    pub mover: Mover,
    /// The pod.
    pub pod: Arc<Value>,
    /// The container in its specification.
    pub container: Arc<Value>,
    /// Its environment.
    pub variables: BTreeMap<String, String>,
    /// Its mounts.
    pub mounts: Mounts,
    /// How often it was restarted in place.
    pub restarts: u64,
    /// Becomes true at SIGTERM.
    pub stop: watch::Receiver<bool>,
    /// Whether blob operations and log lines are recorded.
    pub verbose: bool,
    /// Receives every mount, so that the node can write its pages back whatever becomes of the process.
    pub pages: Pages,
    /// Where mover runs are noted.
    pub runs: Runs,
    /// Where logs are kept.
    pub logs: Logs,
}

/// The mounts whose dirty pages outlive their processes.
#[derive(Clone, Debug, Default)]
pub struct Pages(Arc<Mutex<Vec<Arc<Mount>>>>);

impl Pages {
    fn hold(&self, mount: &Arc<Mount>) {
        self.0.lock().expect("no holder of the list of mounts panics").push(Arc::clone(mount));
    }
    /// Writes everything back, as the node does after the end of a process.
    pub fn write_back(&self) {
        for mount in self.0.lock().expect("no holder of the list of mounts panics").drain(..) {
            if let Err(error) = mount.sync() {
                // In the world nobody reads this error any more.
                tracing::debug!(%error, "write-back after the end of a process failed");
            }
        }
    }
}

/// The Job that a pod belongs to, or the pod's own name: the actor of points.
pub fn actor_of(pod: &Value) -> String {
    match text(pod, "/metadata/labels/job-name") {
        "" => name(pod).to_owned(),
        job => job.to_owned(),
    }
}

/// Whether a container is a mover.
pub fn is_mover(container: &Value) -> bool {
    container.pointer("/command/0").is_some_and(|command| command == paper::COMMAND)
}

impl Start {
    /// Runs the process to its end.
    pub async fn run(self) -> Ended {
        if is_mover(&self.container) { self.run_mover().await } else { self.run_shell().await }
    }

    async fn run_mover(self) -> Ended {
        let actor = actor_of(&self.pod);
        let args: Vec<String> = strings(&self.container["args"]);
        let log = self.log();
        let request = match Request::from_env(&args, &self.variables) {
            Ok(request) => request,
            Err(error) => {
                let mut message = error.to_string();
                let mut source = std::error::Error::source(&error);
                while let Some(cause) = source {
                    message = format!("{message}: {cause}");
                    source = cause.source();
                }
                log(&format!("ERROR: {message}"));
                let failure = contract::Failure::new(contract::ExitCode::Misconfigured, message);
                let profile = match self.variables.get(environment::safe::MOVER_PROFILE).map(String::as_str) {
                    Some("original") => contract::Profile::Original,
                    _ => contract::Profile::Safe,
                };
                let outcome = Outcome::failure(None, profile, failure);
                return Ended::with(outcome.exit_code, outcome.to_termination_message());
            }
        };
        let (request_operation, data_directory) =
            (request.operation().as_str(), request.data_directory.clone());
        let credentials = credentials(&self.pod, &self.container);
        let purpose = [namespace(&self.pod), name(&self.pod), uid(&self.pod), &self.restarts.to_string()]
            .map(str::to_owned);
        let purpose: Vec<&str> = std::iter::once("mover").chain(purpose.iter().map(String::as_str)).collect();
        let seed_bytes = seed::bytes(self.cluster.seed(), &purpose);
        let entropy = Entropy::from_seed(seed_bytes);
        let meter = Meter::new(seed::below(self.cluster.seed(), &purpose, u64::MAX));
        let options = MountOptions::new(&actor)
            .credentials(credentials.clone())
            .register(self.faults.clone())
            .meter(meter.clone());
        let data = match request.operation() {
            contract::Operation::Maintenance => None,
            _ => data_door(&self.storage, &self.mounts, &request.data_directory, options),
        };
        let user = if credentials.uid == 0 { "root".to_owned() } else { format!("user{}", credentials.uid) };
        let (faults, clock, who) = (self.faults.clone(), self.cluster.clock().clone(), actor.clone());
        let mounts = self.mounts.clone();
        let doors = mover::Doors {
            stores: Arc::new(StoreDoor {
                storage: Arc::clone(&self.storage),
                mounts: self.mounts.clone(),
                credentials,
                actor: actor.clone(),
                faults: self.faults.clone(),
                meter: meter.clone(),
                entropy: entropy.clone(),
                record: self.verbose.then(|| self.cluster.record().clone()),
            }),
            data: data.clone().map(|mount| mount as Arc<dyn WriteTree>),
            now: Arc::new(move || faults.clock(&who, clock.now())),
            entropy,
            process: Client { username: user, hostname: name(&self.pod).to_owned() },
            log,
            stop: self.stop.clone(),
            actions: Arc::new(Actions {
                places: data
                    .iter()
                    .map(|mount| (request.data_directory.clone(), Arc::clone(mount)))
                    .collect(),
            }),
            read_file: Arc::new(move |path: &str| -> io::Result<Vec<u8>> { read_file(&mounts, path) }),
        };
        if let Some(mount) = &data {
            self.pages.hold(mount);
        }
        let (started, held) =
            (self.cluster.clock().now(), data.as_ref().map(|mount| mount.volume().snapshot()));
        let claim = match self.mounts.get(data_directory.trim_end_matches('/')) {
            Some(Mounted::Volume { claim, .. }) if data.is_some() => claim.clone(),
            _ => String::new(),
        };
        let log = Arc::clone(&doors.log);
        let running = AssertUnwindSafe(async { (self.mover)(request, doors).await }).catch_unwind();
        let end = match running.await {
            Ok(outcome) => Ended::with(outcome.exit_code, outcome.to_termination_message()),
            // As in a process of its own: it leaves words, a code and no message.
            Err(panic) => {
                let words = words(&*panic);
                log(&format!("thread 'main' panicked: {words}"));
                Ended::with(PANICKED, String::new())
            }
        };
        meter.settle().await;
        let run = Run {
            namespace: namespace(&self.pod).to_owned(),
            job: actor,
            pod: name(&self.pod).to_owned(),
            operation: request_operation,
            claim,
            started,
            ended: self.cluster.clock().now(),
            held,
            end: end.clone(),
            charged: meter.spent(),
        };
        self.runs.lock().expect("no holder of the list of runs panics").push(Arc::new(run));
        end
    }

    async fn run_shell(self) -> Ended {
        let words: Vec<String> =
            strings(&self.container["command"]).into_iter().chain(strings(&self.container["args"])).collect();
        let always = !matches!(text(&self.pod, "/spec/restartPolicy"), "Never" | "OnFailure");
        let is_init = self
            .pod
            .pointer("/spec/initContainers")
            .and_then(Value::as_array)
            .is_some_and(|all| all.contains(&*self.container));
        if always && !is_init {
            // A workload serves until it is told to stop.
            let mut stop = self.stop.clone();
            while !*stop.borrow_and_update() {
                if stop.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            return Ended::with(0, String::new());
        }
        let is_shell = words.first().is_some_and(|word| {
            word == "sh" || word == "bash" || word.ends_with("/sh") || word.ends_with("/bash")
        });
        let script = match words.iter().position(|word| word == "-c" || word == "-ec" || word == "-lc") {
            Some(at) if is_shell => words.get(at + 1).cloned().unwrap_or_default(),
            _ => words.join(" "),
        };
        let credentials = credentials(&self.pod, &self.container);
        let actor = actor_of(&self.pod);
        let places: shell::Places = self
            .mounts
            .iter()
            .filter_map(|(path, mounted)| match mounted {
                Mounted::Volume { volume, is_read_only, .. } => {
                    let options = MountOptions::new(&actor)
                        .credentials(credentials.clone())
                        .register(self.faults.clone())
                        .read_only(*is_read_only);
                    Some((path.clone(), Arc::new(volume.mount(options))))
                }
                _ => None,
            })
            .collect();
        places.iter().for_each(|(_, mount)| self.pages.hold(mount));
        let log = self.log();
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let mut stop = self.stop.clone();
        let end = tokio::select! {
            biased;
            end = shell::run(&script, &places) => end,
            // A shell without a trap dies by the signal.
            () = async { while !*stop.borrow_and_update() { if stop.changed().await.is_err() { std::future::pending::<()>().await; } } } => {
                shell::End { code: 143, output: String::new() }
            }
        };
        for line in end.output.lines() {
            log(line);
        }
        Ended::with(end.code, String::new())
    }

    fn log(&self) -> Arc<dyn Fn(&str) + Send + Sync> {
        let (server, record) = (self.cluster.server().clone(), self.cluster.record().clone());
        let (space, pod) = (namespace(&self.pod).to_owned(), name(&self.pod).to_owned());
        let container = text(&self.container, "/name").to_owned();
        let (verbose, place) = (self.verbose, format!("log/{}", actor_of(&self.pod)));
        let logs = self.logs.clone();
        Arc::new(move |line: &str| {
            server.append_pod_log(&space, &pod, &container, &format!("{line}\n"));
            logs.add(&space, &pod, line);
            if verbose {
                record.push(
                    &place,
                    What::MoverLog { namespace: space.clone(), pod: pod.clone(), line: line.to_owned() },
                );
            }
        })
    }
}

struct Actions {
    places: shell::Places,
}

#[async_trait::async_trait]
impl mover::RunAction for Actions {
    async fn run(&self, command: &str) -> mover::ActionEnd {
        let end = shell::run(command, &self.places).await;
        mover::ActionEnd { code: end.code, output: end.output }
    }
}

/// As whom a container runs.
pub fn credentials(pod: &Value, container: &Value) -> Credentials {
    let of_pod = &pod["spec"]["securityContext"];
    let of_container = &container["securityContext"];
    let number = |field: &str| {
        of_container[field]
            .as_u64()
            .or_else(|| of_pod[field].as_u64())
            .map(|id| u32::try_from(id).unwrap_or(u32::MAX))
    };
    let uid = number("runAsUser").unwrap_or(0);
    let gid = number("runAsGroup").unwrap_or(0);
    let mut credentials = if uid == 0 { Credentials::root() } else { Credentials::user(uid, gid) };
    credentials.gid = gid;
    let fs_group = of_pod["fsGroup"].as_u64();
    let groups = of_pod["supplementalGroups"].as_array().into_iter().flatten().filter_map(Value::as_u64);
    for group in groups.chain(fs_group) {
        credentials = credentials.with_group(u32::try_from(group).unwrap_or(u32::MAX));
    }
    let capabilities = &of_container["capabilities"];
    let lists = |field: &str, wanted: &str| {
        capabilities[field]
            .as_array()
            .is_some_and(|list| list.iter().any(|each| each == wanted || each == "ALL"))
    };
    let base = if uid == 0 { Capabilities::DEFAULT_ROOT } else { Capabilities::NONE };
    let privileged = of_container["privileged"] == true;
    // Added capabilities reach only root: other users get none without file capabilities.
    let has = |wanted: &str, by_default: bool| {
        (uid == 0 && (privileged || lists("add", wanted))) || (by_default && !lists("drop", wanted))
    };
    credentials.with_capabilities(Capabilities {
        dac_override: has("DAC_OVERRIDE", base.dac_override),
        dac_read_search: has("DAC_READ_SEARCH", base.dac_read_search),
        chown: has("CHOWN", base.chown),
        fowner: has("FOWNER", base.fowner),
        fsetid: has("FSETID", base.fsetid),
    })
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
