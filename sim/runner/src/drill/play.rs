//! Plays one world: first deployment, days of work and backups, the fire, the restore, the comparison.
//!
//! Promises that the claims and namespaces are really gone before anything is restored, that the restore
//! is started by applying the same manifests again and by nothing else, and that what is compared was
//! read through a fresh mount. The same world and seed give the same record. Judges nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use gitops::model::{Claim, Writer};
use jiff::{SignedDuration, Timestamp};
use json::{Value, json};
use testbed::bed::{Bed, Options};
use testbed::oracle::restore::Report;
use testbed::volume::{Snapshot, Volume};

use super::compare::{judge, untouched};
use super::ground::{found_repositories, lay_ground, root_certificate};
use super::history::History;
use super::plan::{AppPlan, POD_PREFIX, World};
use super::workload::{fill, pass_days};

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
const PATIENCE: Duration = Duration::from_mins(95);
const EPOCH: &str = "2026-01-05T00:00:00Z";

/// A claim while it is played.
pub(super) struct Live<'a> {
    /// Its app's position in the world.
    pub(super) app: usize,
    /// The claim as planned.
    pub(super) plan: &'a Claim,
    /// The user that writes it.
    pub(super) writer: Option<Writer>,
    /// The volume behind it.
    pub(super) volume: Option<Volume>,
    /// What it held, from each instant on.
    pub(super) states: Vec<(Timestamp, Snapshot)>,
    /// Why it could not be filled.
    pub(super) trouble: Option<String>,
}

/// Plays a world.
pub fn play(world: &World, how: &Play, progress: Progress<'_>) -> Played {
    #[expect(clippy::expect_used, reason = "a literal time")]
    let epoch: Timestamp = EPOCH.parse().expect("a literal time");
    let options = Options {
        seed: how.seed,
        epoch,
        classes: world.classes.clone(),
        verbose_record: false,
        ..Options::default()
    };
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
        .map(|source| {
            (
                (source.object.namespace.clone(), source.object.name.clone()),
                History::of(&events, &source.object.namespace, &source.object.name),
            )
        })
        .collect();
    if hopeless {
        let mut apps: Vec<AppOutcome> =
            world.apps.iter().map(|plan| app_outcome(plan, &histories, fire)).collect();
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
    let mut apps: Vec<AppOutcome> =
        world.apps.iter().map(|plan| app_outcome(plan, &histories, fire)).collect();
    for (live, back) in claims.iter().zip(back) {
        let outcome = judge(&bed, &world.apps[live.app], live, back, &histories, (filled, fire, as_of));
        apps[live.app].claims.push(outcome);
    }
    Played { apps, fire, record: lines(&bed) }
}

fn lines(bed: &Bed) -> Vec<String> {
    bed.record().events().iter().map(testbed::record::Event::to_line).collect()
}

fn app_outcome(
    plan: &AppPlan,
    histories: &BTreeMap<(String, String), History>,
    fire: Timestamp,
) -> AppOutcome {
    let own =
        plan.app.sources.iter().filter_map(|source| {
            histories.get(&(source.object.namespace.clone(), source.object.name.clone()))
        });
    let (syncs, failures) = own.fold((0, 0), |(syncs, failures), history| {
        (syncs + history.syncs.iter().filter(|(_, end)| *end <= fire).count(), failures + history.failures)
    });
    AppOutcome { index: plan.index, claims: Vec::new(), syncs, failures }
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

/// Namespaces that a cluster does not let go.
fn is_permanent(namespace: &str) -> bool {
    namespace == "default" || namespace.starts_with("kube-")
}

pub(super) fn refused(bed: &mut Bed, object: &Value) {
    if let Err(failure) = bed.apply(object) {
        let title = format!(
            "{}/{}",
            object["kind"].as_str().unwrap_or_default(),
            object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
        );
        bed.record().note(format!("refused: {title}: {failure}"));
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
        .flat_map(|(app, plan)| {
            plan.app.claims.iter().map(move |claim| Live {
                app,
                plan: claim,
                writer: plan.app.writer,
                volume: None,
                states: Vec::new(),
                trouble: None,
            })
        })
        .collect()
}

fn is_running(bed: &Bed, claim: &Claim) -> bool {
    let bound = bed
        .get("PersistentVolumeClaim", &claim.object.namespace, &claim.object.name)
        .is_some_and(|claim| claim.pointer("/status/phase") == Some(&json!("Bound")));
    bound
        && bed
            .get("Pod", &claim.object.namespace, &format!("{POD_PREFIX}{}", claim.object.name))
            .is_some_and(|pod| pod.pointer("/status/phase") == Some(&json!("Running")))
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

/// Claims and namespaces go; repositories stay.
fn destroy(bed: &mut Bed, world: &World) {
    for namespace in &world.namespaces {
        for kind in [
            "Pod",
            "ReplicationSource",
            "ReplicationDestination",
            "KopiaMaintenance",
            "Job",
            "CronJob",
            "PersistentVolumeClaim",
            "Secret",
        ] {
            for object in bed.list(kind, namespace) {
                let name =
                    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
                let _ = bed.delete(kind, namespace, &name);
            }
        }
        if !is_permanent(namespace) {
            let _ = bed.delete("Namespace", "", namespace);
        }
    }
    let spaces = &world.namespaces;
    let gone = bed.wait_until("everything to be gone", PATIENCE, |bed| {
        let empty = spaces.iter().all(|namespace| {
            bed.list("PersistentVolumeClaim", namespace).is_empty()
                && bed.list("ReplicationDestination", namespace).is_empty()
                && bed.list("Pod", namespace).is_empty()
        });
        (empty
            && spaces
                .iter()
                .all(|namespace| is_permanent(namespace) || bed.get("Namespace", "", namespace).is_none()))
        .then_some(())
    });
    if gone.is_err() {
        bed.record().note("the fire left something standing");
    }
    bed.advance(Duration::from_mins(1));
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
        let Ok(at) = bed.wait_until("the next claim to come back", left, |bed| {
            waiting.iter().copied().find(|at| is_running(bed, claims[*at].plan))
        }) else {
            break;
        };
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
                let text = |pointer: &str| {
                    destination.pointer(pointer).and_then(Value::as_str).unwrap_or_default().trim().to_owned()
                };
                let logs = text("/status/latestMoverStatus/logs");
                if let Some(line) = logs
                    .lines()
                    .rev()
                    .find(|line| {
                        line.to_lowercase().contains("error")
                            || line.contains("No snapshots")
                            || line.contains("candidate")
                    })
                    .or(logs.lines().last())
                {
                    said.push(format!("mover of {name}: {line}"));
                }
                let reason = text("/status/conditions/0/reason");
                said.push(format!(
                    "ReplicationDestination/{name}: {reason}: {}",
                    text("/status/conditions/0/message")
                ));
            }
            None => said.push(format!("ReplicationDestination/{name} does not exist")),
        }
    }
    said.extend(
        warnings(
            bed,
            &object.namespace,
            &[
                &object.name,
                &format!("{POD_PREFIX}{}", object.name),
                claim.filled_by.as_deref().unwrap_or_default(),
            ],
        )
        .into_iter()
        .rev()
        .take(2),
    );
    if said.is_empty() { "it stays Pending, and nothing says why".to_owned() } else { said.join("; ") }
}

pub(super) fn warnings(bed: &Bed, namespace: &str, names: &[&str]) -> Vec<String> {
    let mut found: Vec<(String, String)> = bed
        .list("Event", namespace)
        .into_iter()
        .filter_map(|event| {
            let text = |one: &str, other: &str| {
                event
                    .pointer(one)
                    .or(event.pointer(other))
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            let name = text("/involvedObject/name", "/regarding/name");
            let is_about = names.contains(&name.as_str()) && !name.is_empty();
            (is_about && text("/type", "/type") == "Warning").then(|| {
                (
                    text("/lastTimestamp", "/metadata/creationTimestamp"),
                    format!("{}: {}", text("/reason", "/reason"), text("/message", "/note")),
                )
            })
        })
        .collect();
    found.sort();
    found.dedup_by(|a, b| a.1 == b.1);
    found.into_iter().map(|(_, text)| text).collect()
}
