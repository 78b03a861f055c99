//! Plays one world: first deployment, days of work and backups, the fire, the restore, the comparison.
//!
//! Promises that the claims and namespaces are really gone before anything is restored, that the restore
//! is started by applying the same manifests again and by nothing else, and that what is compared was
//! read through a fresh mount. The same world and seed give the same record. Judges nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use gitops::model::{Claim, Writer};
use jiff::{SignedDuration, Timestamp};
use scenario::tree::{Special, TreeSpec};
use serde_json::{Value, json};
use testbed::bed::{Bed, Options, StorageClassSpec};
use testbed::ledger::{Entry, Ledger};
use testbed::nfs::Squash;
use testbed::oracle::restore::{Attribute, Carries, ReadBack, Report, compare};
use testbed::volume::{Character, FsGroupPolicy, Snapshot, Volume};

use super::history::History;
use super::plan::{AppPlan, POD_PREFIX, World};

/// How to play.
#[derive(Debug, Clone)]
pub struct Play {
    /// Virtual days before the fire.
    pub days: u32,
    /// All chance.
    pub seed: u64,
    /// Which state to restore.
    pub as_of: AsOf,
}

/// Which state to restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// The newest snapshot.
    Newest,
    /// The state of a moment of the drill's calendar.
    Moment(Timestamp),
    /// The state so long before the fire.
    Before(Duration),
}

/// What came of one claim.
#[derive(Debug, Clone)]
pub struct ClaimOutcome {
    /// Namespace and name.
    pub claim: String,
    /// Why the claim could not even be filled before the fire.
    pub never_filled: Option<String>,
    /// The moment whose state must come back; none if nothing was ever backed up.
    pub moment: Option<Timestamp>,
    /// Why it did not come back at all.
    pub stalled: Option<String>,
    /// The comparison with that state, if the claim came back.
    pub report: Option<Report>,
    /// Whether it came back without a single file.
    pub is_empty: bool,
    /// Another moment whose state it equals instead.
    pub equals: Option<Timestamp>,
    /// From applying the manifests to a running app.
    pub rto: Option<Duration>,
    /// The longest time without a fresh copy.
    pub rpo_worst: Duration,
    /// Files that kubelet gave their group's bits.
    pub group_bits: u64,
    /// What the cluster said.
    pub evidence: Vec<String>,
}

/// What came of one app.
#[derive(Debug, Clone)]
pub struct AppOutcome {
    /// Its position in the model.
    pub index: usize,
    /// Its claims.
    pub claims: Vec<ClaimOutcome>,
    /// Completed syncs of all its sources before the fire.
    pub syncs: usize,
    /// Failed mover runs before the fire.
    pub failures: u32,
}

/// What came of a world.
#[derive(Debug, Clone)]
pub struct Played {
    /// Its apps.
    pub apps: Vec<AppOutcome>,
    /// The fire.
    pub fire: Timestamp,
    /// The record, one line an event.
    pub record: Vec<String>,
}

/// Told as the drill goes on: the virtual day, or a stage.
pub type Progress<'a> = &'a dyn Fn(&str);

/// How long the first deployment and the restore may take, in virtual time.
///
/// A Job of nine attempts fails for good after about 31 minutes; three of them fit.
const PATIENCE: Duration = Duration::from_secs(95 * 60);
const EPOCH: &str = "2026-01-05T00:00:00Z";
const HOUR: Duration = Duration::from_secs(3600);

/// A claim while it is played.
struct Live<'a> {
    app: usize,
    plan: &'a Claim,
    writer: Option<Writer>,
    volume: Option<Volume>,
    /// What it held, from each instant on.
    states: Vec<(Timestamp, Snapshot)>,
    trouble: Option<String>,
}

/// Plays a world.
pub fn play(world: &World, how: &Play, progress: Progress<'_>) -> Played {
    #[expect(clippy::expect_used, reason = "a literal time")]
    let epoch: Timestamp = EPOCH.parse().expect("a literal time");
    let options = Options { seed: how.seed, epoch, classes: world.classes.clone(), verbose_record: false, ..Options::default() };
    let mut bed = Bed::start(options);
    lay_ground(&mut bed, world);
    // The cluster's own actors settle first.
    bed.advance(Duration::from_secs(5));
    progress("repositories");
    found_repositories(&mut bed, world);
    progress("first deployment");
    deploy(&mut bed, world, None);
    let mut claims = live(world);
    await_apps(&mut bed, &mut claims);
    for (at, live) in claims.iter_mut().enumerate() {
        fill(&bed, live, how.seed ^ (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }
    let filled = bed.now();
    // Where nothing came up there is nothing to lose, and no day would change that.
    let hopeless = !claims.is_empty() && claims.iter().all(|live| live.trouble.is_some());
    if !hopeless {
        pass_days(&mut bed, world, &mut claims, how, progress);
    }
    let fire = bed.now();
    let events = bed.record().events();
    let histories: BTreeMap<(String, String), History> = world
        .apps
        .iter()
        .flat_map(|plan| &plan.app.sources)
        .map(|source| ((source.object.namespace.clone(), source.object.name.clone()), History::of(&events, &source.object.namespace, &source.object.name)))
        .collect();
    if hopeless {
        let mut apps: Vec<AppOutcome> = world.apps.iter().map(|plan| app_outcome(plan, &histories, fire)).collect();
        for live in &claims {
            apps[live.app].claims.push(untouched(live));
        }
        return Played { apps, fire, record: lines(&bed) };
    }
    progress("fire");
    destroy(&mut bed, world);
    let as_of = match how.as_of {
        AsOf::Newest => None,
        AsOf::Moment(moment) => Some(moment),
        AsOf::Before(age) => fire.checked_sub(SignedDuration::try_from(age).unwrap_or_default()).ok(),
    };
    progress("restore");
    let begin = bed.now();
    deploy(&mut bed, world, as_of);
    let back = await_restored(&mut bed, &claims, begin);
    progress("comparison");
    let mut apps: Vec<AppOutcome> = world.apps.iter().map(|plan| app_outcome(plan, &histories, fire)).collect();
    for (live, back) in claims.iter().zip(back) {
        let outcome = judge(&bed, &world.apps[live.app], live, back, &histories, (filled, fire, as_of));
        apps[live.app].claims.push(outcome);
    }
    Played { apps, fire, record: lines(&bed) }
}

fn lines(bed: &Bed) -> Vec<String> {
    bed.record().events().iter().map(testbed::record::Event::to_line).collect()
}

/// The outcome of a claim of which nothing is known yet.
fn untouched(live: &Live<'_>) -> ClaimOutcome {
    ClaimOutcome {
        claim: format!("{}/{}", live.plan.object.namespace, live.plan.object.name),
        never_filled: live.trouble.clone(),
        moment: None,
        stalled: None,
        report: None,
        is_empty: false,
        equals: None,
        rto: None,
        rpo_worst: Duration::ZERO,
        group_bits: 0,
        evidence: Vec::new(),
    }
}

fn app_outcome(plan: &AppPlan, histories: &BTreeMap<(String, String), History>, fire: Timestamp) -> AppOutcome {
    let own = plan.app.sources.iter().filter_map(|source| histories.get(&(source.object.namespace.clone(), source.object.name.clone())));
    let (syncs, failures) = own.fold((0, 0), |(syncs, failures), history| (syncs + history.syncs.iter().filter(|(_, end)| *end <= fire).count(), failures + history.failures));
    AppOutcome { index: plan.index, claims: Vec::new(), syncs, failures }
}

/// Exports, buckets and classes: what stands outside of the cluster and survives the fire.
fn lay_ground(bed: &mut Bed, world: &World) {
    for (server, path) in &world.exports {
        let export = bed.storage().make_export(server, path, &format!("{server}:{path}"));
        export.set_root(0, 0, 0o777);
        export.set_squash(Squash::All(1000, 1000));
    }
    let mut class = StorageClassSpec::new(FOUNDER, Character::Rbd);
    class.snapshot_class = None;
    bed.add_class(&class);
    for (endpoint, bucket) in &world.buckets {
        bed.storage().make_bucket(endpoint, bucket);
    }
    for class in &world.snapshot_classes {
        // A class that is there already is as good.
        let _ = bed.apply(class);
    }
}

/// A name that no home cluster uses.
const FOUNDER: &str = "firedrill-founder";

/// Brings every repository into being, as somebody once did: a restore never creates one, so that the
/// first deployment of the manifests alone would wait for ever on an empty export.
fn found_repositories(bed: &mut Bed, world: &World) {
    let mut seen = Vec::new();
    for source in world.apps.iter().flat_map(|plan| plan.objects.iter().zip(std::iter::repeat(plan))).filter_map(|(object, plan)| (object["kind"] == "ReplicationSource").then_some((object, plan))) {
        let (object, plan) = source;
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let Some(read) = plan.app.sources.iter().find(|read| read.object.name == text("/metadata/name") && read.object.namespace == text("/metadata/namespace")) else { continue };
        let Some(location) = read.mover.location.clone().filter(|location| !seen.contains(location)) else { continue };
        let secret = world.shared.iter().find(|shared| shared["kind"] == "Secret" && shared.pointer("/metadata/name") == Some(&json!(read.mover.repository)) && shared.pointer("/metadata/namespace") == Some(&json!(read.object.namespace)));
        let Some(mut secret) = secret.cloned() else { continue };
        seen.push(location);
        let namespace = format!("{FOUNDER}-{}", seen.len());
        secret["metadata"]["namespace"] = json!(namespace);
        let kopia = &object["spec"]["kopia"];
        let mut spec = json!({"repository": read.mover.repository, "copyMethod": "Direct"});
        for key in ["moverVolumes", "moverSecurityContext"] {
            if let Some(value) = kopia.get(key) {
                spec[key] = value.clone();
            }
        }
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "founder", "namespace": namespace}, "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": FOUNDER, "resources": {"requests": {"storage": "1Gi"}}}});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "founder", "namespace": namespace}, "spec": {"containers": [{"name": "app", "image": "app", "command": ["sh", "-c", "sleep infinity"], "volumeMounts": [{"name": "data", "mountPath": "/data"}]}], "terminationGracePeriodSeconds": 1, "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "founder"}}]}});
        let founder = json!({"apiVersion": "volsync.backube/v1alpha1", "kind": "ReplicationSource", "metadata": {"name": "founder", "namespace": namespace}, "spec": {"sourcePVC": "founder", "trigger": {"manual": "once"}, "kopia": spec}});
        bed.ensure_namespace(&namespace);
        bed.advance(Duration::from_secs(2));
        for object in [&claim, &pod, &secret] {
            refused(bed, object);
        }
        let bound = bed.wait_until("the founder's claim", HOUR, |bed| bed.bound_volume(&namespace, "founder"));
        if let Ok(volume) = bound {
            let owner = read.mover.writer.map_or((0, 0), |writer| (writer.uid, writer.gid));
            let _ = volume.populate(&TreeSpec::plain(1, 16, 1).owned_by(owner.0, owner.1));
        }
        refused(bed, &founder);
        let done = bed.wait_until("the repository to be founded", HOUR, |bed| {
            bed.get("ReplicationSource", &namespace, "founder").and_then(|source| source.pointer("/status/lastManualSync").cloned()).filter(|tag| *tag == json!("once"))
        });
        if done.is_err() {
            bed.record().note(&format!("the repository of {} could not be founded", read.object.name));
        }
        for kind in ["ReplicationSource", "Pod", "PersistentVolumeClaim"] {
            let _ = bed.delete(kind, &namespace, "founder");
        }
        let _ = bed.delete("Namespace", "", &namespace);
    }
}

/// Applies the manifests and starts the apps' pods; what the API server refuses stays away.
fn deploy(bed: &mut Bed, world: &World, as_of: Option<Timestamp>) {
    let is_space = |object: &&Value| object["kind"] == "Namespace";
    for object in world.shared.iter().filter(is_space) {
        refused(bed, object);
    }
    // A namespace takes pods only once its default service account is there.
    bed.advance(Duration::from_secs(2));
    for namespace in &world.namespaces {
        root_certificate(bed, namespace);
    }
    for object in world.shared.iter().filter(|object| !is_space(object)) {
        refused(bed, object);
    }
    for plan in &world.apps {
        for object in &plan.objects {
            let mut object = object.clone();
            if let (Some(moment), true) = (as_of, object["kind"] == "ReplicationDestination") {
                object["spec"]["kopia"]["restoreAsOf"] = json!(moment.to_string());
            }
            refused(bed, &object);
        }
        for claim in &plan.app.claims {
            let pod = pod(claim, plan.app.writer);
            refused(bed, &pod);
        }
    }
}

/// Every pod mounts this; a namespace that was there before the cluster's actors may lack it.
fn root_certificate(bed: &mut Bed, namespace: &str) {
    if bed.get("ConfigMap", namespace, "kube-root-ca.crt").is_none() {
        refused(bed, &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt", "namespace": namespace}, "data": {"ca.crt": ""}}));
    }
}

/// Namespaces that a cluster does not let go.
fn is_permanent(namespace: &str) -> bool {
    namespace == "default" || namespace.starts_with("kube-")
}

fn refused(bed: &mut Bed, object: &Value) {
    if let Err(failure) = bed.apply(object) {
        let title = format!("{}/{}", object["kind"].as_str().unwrap_or_default(), object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default());
        bed.record().note(&format!("refused: {title}: {failure}"));
    }
}

/// The app: a pod that uses the claim as its user.
fn pod(claim: &Claim, writer: Option<Writer>) -> Value {
    let mut security = json!({});
    if let Some(writer) = writer {
        security = json!({"runAsUser": writer.uid, "runAsGroup": writer.gid});
        if let Some(group) = writer.fs_group {
            security["fsGroup"] = json!(group);
            security["fsGroupChangePolicy"] = json!("OnRootMismatch");
        }
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("{POD_PREFIX}{}", claim.object.name), "namespace": claim.object.namespace, "labels": {"app.kubernetes.io/name": claim.object.name}},
        "spec": {"securityContext": security, "restartPolicy": "Always", "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "app", "image": "app", "command": ["sh", "-c", "sleep infinity"], "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim.object.name}}]}})
}

fn live(world: &World) -> Vec<Live<'_>> {
    world
        .apps
        .iter()
        .enumerate()
        .flat_map(|(app, plan)| plan.app.claims.iter().map(move |claim| Live { app, plan: claim, writer: plan.app.writer, volume: None, states: Vec::new(), trouble: None }))
        .collect()
}

fn is_running(bed: &Bed, claim: &Claim) -> bool {
    let bound = bed.get("PersistentVolumeClaim", &claim.object.namespace, &claim.object.name).is_some_and(|claim| claim.pointer("/status/phase") == Some(&json!("Bound")));
    bound && bed.get("Pod", &claim.object.namespace, &format!("{POD_PREFIX}{}", claim.object.name)).is_some_and(|pod| pod.pointer("/status/phase") == Some(&json!("Running")))
}

/// Releases copies for claims whose copies wait for a trigger, as somebody must.
fn release_copies(bed: &mut Bed, claims: &[Live<'_>]) {
    for live in claims.iter().filter(|live| live.plan.copy_trigger) {
        let object = &live.plan.object;
        let waits = bed.get("PersistentVolumeClaim", &object.namespace, &object.name).is_some_and(|claim| claim.pointer("/metadata/annotations/volsync.backube~1latest-copy-status") == Some(&json!("WaitingForTrigger")));
        if waits {
            let patch = json!({"metadata": {"annotations": {"volsync.backube/copy-trigger": bed.now().to_string()}}});
            let _ = bed.patch("PersistentVolumeClaim", &object.namespace, &object.name, &patch);
        }
    }
}

fn await_apps(bed: &mut Bed, claims: &mut [Live<'_>]) {
    let until = bed.now() + SignedDuration::try_from(PATIENCE).unwrap_or_default();
    for live in claims.iter_mut() {
        let left = Duration::try_from(until.duration_since(bed.now())).unwrap_or_default();
        let what = format!("claim {}/{} in use", live.plan.object.namespace, live.plan.object.name);
        if bed.wait_until(&what, left, |bed| is_running(bed, live.plan).then_some(())).is_err() {
            live.trouble = Some(format!("the first deployment does not come up: {}", why(bed, live.plan)));
        }
        live.volume = bed.bound_volume(&live.plan.object.namespace, &live.plan.object.name);
    }
}

fn fill(bed: &Bed, live: &mut Live<'_>, seed: u64) {
    let Some(volume) = &live.volume else { return };
    let room = live.plan.capacity_bytes.unwrap_or(1 << 30) / 8;
    let mut spec = TreeSpec::plain(48, room.min(1 << 20), seed)
        .with(Special::HardLinks)
        .with(Special::Holes)
        .with(Special::Symlinks)
        .with(Special::EmptyDirectories)
        .with(Special::EmptyFiles)
        .with(Special::Xattrs)
        .with(Special::Database)
        .with(Special::Duplicates);
    if let Some(writer) = live.writer {
        spec = spec.owned_by(writer.uid, writer.fs_group.unwrap_or(writer.gid));
    }
    match volume.populate(&spec) {
        Ok(()) => live.states.push((bed.now(), volume.snapshot())),
        Err(error) => live.trouble = Some(format!("the claim cannot be filled: {error}")),
    }
}

/// Whether a source of the app is just now copying.
fn is_syncing(bed: &Bed, plan: &AppPlan) -> bool {
    plan.app.sources.iter().any(|source| bed.get("ReplicationSource", &source.object.namespace, &source.object.name).is_some_and(|source| source.pointer("/status/lastSyncStartTime").is_some_and(|time| !time.is_null())))
}

/// Lets the days pass: the workload writes each hour, never while a copy of its claim is being taken.
fn pass_days(bed: &mut Bed, world: &World, claims: &mut [Live<'_>], how: &Play, progress: Progress<'_>) {
    let begin = bed.now();
    let end = begin + SignedDuration::from_hours(24 * i64::from(how.days));
    let mut tick = 0_u64;
    // The workload writes at minute 37, which few schedules use.
    let past = begin.as_second().rem_euclid(3600);
    let mut next = begin + SignedDuration::from_secs((37 * 60 - past).rem_euclid(3600));
    while next <= end {
        if tick.is_multiple_of(24) {
            progress(&format!("day {} of {}", tick / 24 + 1, how.days));
        }
        bed.advance_to(next);
        release_copies(bed, claims);
        work(bed, world, claims, how.seed ^ tick);
        tick += 1;
        next += SignedDuration::try_from(HOUR).unwrap_or_default();
    }
    bed.advance_to(end);
    let upcoming = world
        .apps
        .iter()
        .flat_map(|plan| &plan.app.sources)
        .filter_map(|source| bed.get("ReplicationSource", &source.object.namespace, &source.object.name)?.pointer("/status/nextSyncTime")?.as_str()?.parse::<Timestamp>().ok())
        .filter(|time| *time > end)
        .min();
    if let Some(upcoming) = upcoming.filter(|upcoming| upcoming.duration_since(end) < SignedDuration::from_hours(25)) {
        let lead = upcoming - SignedDuration::from_secs(30);
        if lead > bed.now() {
            bed.advance_to(lead - SignedDuration::from_secs(10).min(lead.duration_since(bed.now())));
            work(bed, world, claims, how.seed ^ u64::MAX);
            bed.advance_to(lead);
        }
    }
}

fn work(bed: &mut Bed, world: &World, claims: &mut [Live<'_>], seed: u64) {
    for at in 0..claims.len() {
        let plan = &world.apps[claims[at].app];
        if is_syncing(bed, plan) {
            let wait = Duration::from_secs(600);
            let _ = bed.wait_until("the copy to be over", wait, |bed| (!is_syncing(bed, plan)).then_some(()));
        }
        if is_syncing(bed, plan) {
            // A copy that hangs may be taken at any time: what it would hold could not be told.
            continue;
        }
        let live = &mut claims[at];
        if let (Some(volume), None) = (&live.volume, &live.trouble) {
            match volume.work(seed.wrapping_mul(31).wrapping_add(at as u64), 4) {
                Ok(()) => live.states.push((bed.now(), volume.snapshot())),
                Err(error) => live.trouble = Some(format!("the workload cannot write: {error}")),
            }
        }
    }
}

/// Claims and namespaces go; repositories stay.
fn destroy(bed: &mut Bed, world: &World) {
    for namespace in &world.namespaces {
        for kind in ["Pod", "ReplicationSource", "ReplicationDestination", "KopiaMaintenance", "Job", "CronJob", "PersistentVolumeClaim", "Secret"] {
            for object in bed.list(kind, namespace) {
                let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
                let _ = bed.delete(kind, namespace, &name);
            }
        }
        if !is_permanent(namespace) {
            let _ = bed.delete("Namespace", "", namespace);
        }
    }
    let spaces = &world.namespaces;
    let gone = bed.wait_until("everything to be gone", PATIENCE, |bed| {
        let empty = spaces.iter().all(|namespace| bed.list("PersistentVolumeClaim", namespace).is_empty() && bed.list("ReplicationDestination", namespace).is_empty() && bed.list("Pod", namespace).is_empty());
        (empty && spaces.iter().all(|namespace| is_permanent(namespace) || bed.get("Namespace", "", namespace).is_none())).then_some(())
    });
    if gone.is_err() {
        bed.record().note("the fire left something standing");
    }
    bed.advance(Duration::from_secs(60));
}

/// Waits for each claim; gives the time it took, or what the cluster says.
fn await_restored(bed: &mut Bed, claims: &[Live<'_>], begin: Timestamp) -> Vec<Result<Duration, String>> {
    let until = begin + SignedDuration::try_from(PATIENCE).unwrap_or_default();
    let mut back: Vec<Option<Duration>> = vec![None; claims.len()];
    loop {
        let left = Duration::try_from(until.duration_since(bed.now())).unwrap_or_default();
        let waiting: Vec<usize> = (0..claims.len()).filter(|at| back[*at].is_none()).collect();
        if waiting.is_empty() || left.is_zero() {
            break;
        }
        let Ok(at) = bed.wait_until("the next claim to come back", left, |bed| waiting.iter().copied().find(|at| is_running(bed, claims[*at].plan))) else { break };
        back[at] = Some(Duration::try_from(bed.now().duration_since(begin)).unwrap_or_default());
    }
    back.into_iter().enumerate().map(|(at, time)| time.ok_or_else(|| why(bed, claims[at].plan))).collect()
}

/// What the cluster says about a claim that does not come: events and conditions, none of our own words.
fn why(bed: &Bed, claim: &Claim) -> String {
    let object = &claim.object;
    let mut said = Vec::new();
    if let Some(name) = &claim.filled_by {
        match bed.get("ReplicationDestination", &object.namespace, name) {
            Some(destination) => {
                let text = |pointer: &str| destination.pointer(pointer).and_then(Value::as_str).unwrap_or_default().trim().to_owned();
                let logs = text("/status/latestMoverStatus/logs");
                if let Some(line) = logs.lines().rev().find(|line| line.to_lowercase().contains("error") || line.contains("No snapshots") || line.contains("candidate")).or(logs.lines().last()) {
                    said.push(format!("mover of {name}: {line}"));
                }
                let reason = text("/status/conditions/0/reason");
                said.push(format!("ReplicationDestination/{name}: {reason}: {}", text("/status/conditions/0/message")));
            }
            None => said.push(format!("ReplicationDestination/{name} does not exist")),
        }
    }
    said.extend(warnings(bed, &object.namespace, &[&object.name, &format!("{POD_PREFIX}{}", object.name), claim.filled_by.as_deref().unwrap_or_default()]).into_iter().rev().take(2));
    if said.is_empty() { "it stays Pending, and nothing says why".to_owned() } else { said.join("; ") }
}

fn warnings(bed: &Bed, namespace: &str, names: &[&str]) -> Vec<String> {
    let mut found: Vec<(String, String)> = bed
        .list("Event", namespace)
        .into_iter()
        .filter_map(|event| {
            let text = |one: &str, other: &str| event.pointer(one).or(event.pointer(other)).and_then(Value::as_str).unwrap_or_default().to_owned();
            let name = text("/involvedObject/name", "/regarding/name");
            let is_about = names.contains(&name.as_str()) && !name.is_empty();
            (is_about && text("/type", "/type") == "Warning").then(|| (text("/lastTimestamp", "/metadata/creationTimestamp"), format!("{}: {}", text("/reason", "/reason"), text("/message", "/note"))))
        })
        .collect();
    found.sort();
    found.dedup_by(|a, b| a.1 == b.1);
    found.into_iter().map(|(_, text)| text).collect()
}

/// Compares one claim with the state that must have come back.
fn judge(bed: &Bed, plan: &AppPlan, live: &Live<'_>, back: Result<Duration, String>, histories: &BTreeMap<(String, String), History>, times: (Timestamp, Timestamp, Option<Timestamp>)) -> ClaimOutcome {
    let (filled, fire, as_of) = times;
    let claim = &live.plan.object;
    let history = source_of(plan, live.plan).and_then(|name| histories.get(&name));
    let limit = as_of.unwrap_or(fire);
    let first = live.states.first().map(|(at, _)| *at);
    // A sync before the claim was filled copied nothing.
    let moment = history.and_then(|history| history.syncs.iter().filter(|(begin, end)| *end <= fire && *begin <= limit && first.is_some_and(|first| *begin >= first)).map(|(begin, _)| *begin).next_back());
    let mut outcome = ClaimOutcome {
        moment,
        rpo_worst: history.map_or_else(|| Duration::try_from(fire.duration_since(filled)).unwrap_or_default(), |history| history.worst_gap(filled, fire)),
        ..untouched(live)
    };
    match back {
        Err(said) => {
            outcome.stalled = Some(said);
            return outcome;
        }
        Ok(rto) => outcome.rto = Some(rto),
    }
    let Some(mount) = bed.mount_claim(&claim.namespace, &claim.name) else {
        outcome.stalled = Some("the claim is bound to a volume that cannot be mounted".to_owned());
        return outcome;
    };
    let found = ReadBack::of(&mount);
    outcome.is_empty = found.paths.keys().filter(|path| !matches!(path.to_string().trim_matches('/'), "" | ".") && !path.to_string().contains("lost+found")).count() == 0;
    let mut names = vec![claim.name.as_str()];
    names.extend(live.plan.filled_by.as_deref());
    names.extend(plan.app.destinations.iter().map(|destination| destination.object.name.as_str()));
    outcome.evidence = warnings(bed, &claim.namespace, &names);
    let state = |moment: Timestamp| live.states.iter().take_while(|(at, _)| *at <= moment).last();
    let Some(expected) = moment.and_then(state) else { return outcome };
    let carries = Carries::kopia().without_mount_point();
    let (report, group_bits) = against(&expected.1, &found, carries, live.writer, plan);
    if !report.is_equal() && !outcome.is_empty {
        outcome.equals = live.states.iter().rev().take(200).find(|(_, snapshot)| against(snapshot, &found, carries, live.writer, plan).0.is_equal()).map(|(at, _)| *at);
    }
    outcome.report = Some(report);
    outcome.group_bits = group_bits;
    outcome
}

/// The source whose backups the claim's way back restores; else the first that reads the claim.
fn source_of(plan: &AppPlan, claim: &Claim) -> Option<(String, String)> {
    let destination = plan.app.destinations.iter().find(|destination| claim.filled_by.as_deref() == Some(&destination.object.name) || destination.claim.as_deref() == Some(&claim.object.name));
    let own: Vec<_> = plan.app.sources.iter().filter(|source| source.claim == claim.object.name).collect();
    let matching = destination.and_then(|destination| own.iter().find(|source| source.identity == destination.identity && source.mover.location == destination.mover.location));
    matching.or(own.first()).map(|source| (source.object.namespace.clone(), source.object.name.clone()))
}

/// Compares as written, and if that differs as kubelet's fsGroup leaves it: that is the cluster's doing
/// on every mount, not the backup's.
fn against(snapshot: &Snapshot, found: &ReadBack, carries: Carries, writer: Option<Writer>, plan: &AppPlan) -> (Report, u64) {
    let expected = Ledger::new().record_snapshot(snapshot);
    let report = compare(&expected, found, carries);
    let only_group = !report.is_equal() && report.counts.keys().all(|attribute| matches!(attribute, Attribute::Mode | Attribute::Gid));
    if !only_group {
        return (report, 0);
    }
    let now = snapshot.at();
    let volume = Volume::from_snapshot("expected", Character::Rbd, std::sync::Arc::new(move || now), snapshot);
    let groups = plan.app.sources.iter().filter_map(|source| source.mover.writer).chain(plan.app.destinations.iter().filter_map(|destination| destination.mover.writer)).chain(writer);
    let mut changed = 0;
    for group in groups.filter_map(|writer| writer.fs_group) {
        changed = changed.max(volume.apply_fs_group(group, FsGroupPolicy::Always, false).changed);
    }
    let adjusted: Entry = Ledger::new().record(&volume);
    let second = compare(&adjusted, found, carries);
    if second.is_equal() { (second, changed) } else { (report, 0) }
}
