//! Replays a recorded case on the embedded bed, with the original's profile.
//!
//! Each step of the script is played as it stands: creations, patches, deletions and pauses through the
//! bed's verbs, waits on the same levels. It compares nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use engine::{
    Repository,
    blob::memory::MemoryStore,
    context::{Client, Context, Entropy, Now},
    policy::PolicyTarget,
    snapshot::Filter,
};
use jiff::{Timestamp, tz::TimeZone};
use json::{Value, json};
use testbed::{
    bed::{Bed, Binding, Options, StorageClassSpec},
    inspect,
    subject::{Profile, Subject},
    volume::{Character, Credentials, MountOptions},
};

use super::{
    case::{Case, Notification, text_of},
    compare::{Contents, Run},
    host::{self, Host},
    recording::{OWNER, contents, marks_of, owner, retention, users},
    view::{self, Mark},
};

const DEADLINE: Duration = Duration::from_hours(1);

/// The recorded cluster: its one node, and where it kept its repositories.
const NODE: &str = "gold-control-plane";
const ENDPOINT: &str = "minio:9000";
const BUCKET: &str = "gold";
const PASSWORD: &str = "gold-password";

/// The classes of the recorded cluster.
fn classes() -> Vec<StorageClassSpec> {
    let class = |name: &str, provisioner: &str, binding, is_default, snapshots: bool| StorageClassSpec {
        name: name.to_owned(),
        provisioner: provisioner.to_owned(),
        character: Character::HostPath,
        binding,
        is_default,
        can_expand: false,
        snapshot_class: snapshots.then(|| name.to_owned()),
    };
    vec![
        class("csi-dir", "dir.csi.kind.local", Binding::Immediate, false, true),
        class("csi-dir-wffc", "dir.csi.kind.local", Binding::WaitForFirstConsumer, false, false),
        class("standard", "rancher.io/local-path", Binding::WaitForFirstConsumer, true, false),
    ]
}

/// Plays the case and returns what happened.
pub fn replayed(case: &Case, profile: Profile) -> Result<Run> {
    let mut play = Play::start(case, profile);
    for (number, step) in case.steps.iter().enumerate() {
        play.step(number + 1, step).with_context(|| format!("step {}: {step}", number + 1))?;
    }
    Ok(play.finish())
}

struct Play<'a> {
    case: &'a Case,
    bed: Bed,
    trace: Arc<Mutex<Vec<Notification>>>,
    manifests: std::slice::Iter<'a, Value>,
    host: Host,
    marks: Vec<Mark>,
    repositories: BTreeMap<String, Contents>,
    looks: BTreeMap<String, BTreeSet<String>>,
}

impl<'a> Play<'a> {
    fn start(case: &'a Case, profile: Profile) -> Self {
        let options = Options {
            subject: Subject::Reference(profile),
            classes: classes(),
            nodes: vec![NODE.to_owned()],
            ..Options::default()
        };
        let bed = Bed::start(options);
        bed.storage().make_bucket(ENDPOINT, BUCKET);
        let trace = Arc::new(Mutex::new(Vec::new()));
        let (clock, start, sink, namespace) =
            (bed.clock().clone(), bed.now(), trace.clone(), case.namespace());
        bed.server().tap(move |write| {
            if write.namespace == namespace {
                sink.lock().expect("nobody panics holding it").push(Notification {
                    at: clock.now().duration_since(start).as_secs_f64(),
                    change: change_of(write),
                    object: Value::clone(&write.object),
                });
            }
        });
        Self {
            case,
            bed,
            trace,
            manifests: case.manifests.iter(),
            host: Host::default(),
            marks: Vec::new(),
            repositories: BTreeMap::new(),
            looks: BTreeMap::new(),
        }
    }

    fn finish(self) -> Run {
        let trace = self.trace.lock().expect("nobody panics holding it").clone();
        Run {
            view: view::view(&trace, &users(self.case), &self.marks),
            repositories: self.repositories,
            looks: self.looks,
        }
    }

    fn step(&mut self, number: usize, step: &Value) -> Result<()> {
        let namespace = self.case.namespace();
        let (kind, name) = (text_of(&step["kind"]), text_of(&step["name"]));
        match step["do"].as_str().unwrap_or_default() {
            "create" => {
                let manifest = self.manifests.next().context("more creations than manifests")?;
                self.bed.create(manifest)?;
            }
            "patch" if step["patch"].is_array() => {
                let direct = self.bed.server().direct("user");
                let patch = apiserver::Patch::Json(step["patch"].clone());
                let version =
                    self.bed.list(&kind, &namespace).first().map(|object| text_of(&object["apiVersion"]));
                direct.patch(&version.context("an object to patch")?, &kind, &namespace, &name, "", patch)?;
            }
            "patch" => {
                self.bed.patch(&kind, &namespace, &name, &step["patch"])?;
            }
            "delete" => self.bed.delete(&kind, &namespace, &name)?,
            "sleep" => {
                self.bed.advance(Duration::from_secs_f64(step["seconds"].as_f64().unwrap_or_default()));
            }
            "wait-timeout" => {
                self.wait_at_most(&text_of(&step["until"]), step["seconds"].as_f64().unwrap_or(60.0))?;
            }
            "waited" => self.wait(step)?,
            "repository" => {
                let tag = text_of(&step["tag"]);
                let contents = self.contents(&tag)?;
                self.repositories.insert(tag, contents);
            }
            "end" => {}
            other => bail!("no such action: {other}"),
        }
        let until = self.trace.lock().expect("nobody panics holding it").last().map_or(0.0, |last| last.at);
        let marks = marks_of(self.case, number, step).into_iter();
        self.marks.extend(marks.map(|(label, object)| Mark { label, object, until }));
        Ok(())
    }
}

impl Play<'_> {
    /// Waits for what the script waited for.
    fn wait(&mut self, step: &Value) -> Result<()> {
        let until = text_of(&step["until"]);
        let namespace = self.case.namespace();
        if let Some(pod) = until.strip_prefix("Pod/").and_then(|rest| rest.strip_suffix(" ended")) {
            return self.ended(pod);
        }
        if until == "bound" || until.ends_with(" bound") {
            let claim = self.bound_claim(step["t"].as_f64().unwrap_or_default())?;
            return self.until(&until, |bed| Ok(bed.is_claim_bound(&namespace, &claim)));
        }
        self.until(&until, |bed| holds(bed, &namespace, &until))
    }

    /// The script's own time-out is part of the recording: reaching it is no failure.
    fn wait_at_most(&mut self, until: &str, seconds: f64) -> Result<()> {
        let namespace = self.case.namespace();
        self.reach(until, Duration::from_secs_f64(seconds), |bed| holds(bed, &namespace, until)).map(drop)
    }

    fn until(&mut self, what: &str, probe: impl FnMut(&Bed) -> Result<bool>) -> Result<()> {
        ensure!(self.reach(what, DEADLINE, probe)?, "{what} is not reached within {DEADLINE:?}");
        Ok(())
    }

    fn reach(
        &mut self,
        what: &str,
        deadline: Duration,
        mut probe: impl FnMut(&Bed) -> Result<bool>,
    ) -> Result<bool> {
        let mut broken = None;
        let reached = self.bed.wait_until(what, deadline, |bed| match probe(bed) {
            Ok(is_true) => is_true.then_some(()),
            Err(error) => {
                broken = Some(error);
                Some(())
            }
        });
        broken.map_or(Ok(reached.is_ok()), Err)
    }

    /// A helper pod "ends" when the bed has done what its script does.
    fn ended(&mut self, pod: &str) -> Result<()> {
        let namespace = self.case.namespace();
        self.until(&format!("Pod/{pod} runs"), |bed| {
            let phase = text_of(&bed.get("Pod", &namespace, pod).unwrap_or_default()["status"]["phase"]);
            Ok(phase == "Running" || phase == "Succeeded")
        })?;
        let object = self.bed.get("Pod", &namespace, pod).context("the pod is there")?;
        let claim = text_of(&object["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"]);
        let volume =
            self.bed.bound_volume(&namespace, &claim).with_context(|| format!("{claim} is not bound"))?;
        let mount = volume.mount(MountOptions::new(pod).credentials(Credentials::root()));
        if pod.starts_with("look-") {
            self.looks.insert(pod.to_owned(), host::look(&mount)?);
        } else {
            let command = object["spec"]["containers"][0]["command"].as_array().context("a command")?;
            self.host.run(&claim, command.last().and_then(Value::as_str).unwrap_or_default(), &mount)?;
        }
        mount.unmount()?;
        Ok(())
    }

    /// The claim of a bare `bound`: the user's claim that the recording saw bound last before that second.
    fn bound_claim(&self, at: f64) -> Result<String> {
        let users = users(self.case);
        let bound = self.case.trace.iter().rev().find(|notification| {
            let object = &notification.object;
            notification.at <= at + 0.05
                && object["kind"] == "PersistentVolumeClaim"
                && object["status"]["phase"] == "Bound"
                && object["spec"]["dataSourceRef"]["kind"] == "ReplicationDestination"
                && users.contains(&format!("PersistentVolumeClaim/{}", text_of(&object["metadata"]["name"])))
        });
        Ok(text_of(&bound.context("the recording saw no claim bound")?.object["metadata"]["name"]))
    }

    /// What the case's repository holds now: its prefix of the bucket, or the claim that movers mount.
    fn contents(&self, tag: &str) -> Result<Contents> {
        let namespace = self.case.namespace();
        let bucket =
            self.bed.storage().bucket(ENDPOINT, BUCKET).context("the bucket was made at the start")?;
        let mut blobs = inspect::bucket_blobs(&bucket, &format!("{namespace}/"));
        let sources = self.case.manifests.iter().filter(|object| object["kind"] == "ReplicationSource");
        for claim in sources.filter_map(|source| {
            source["spec"]["kopia"]["moverVolumes"][0]["volumeSource"]["persistentVolumeClaim"]["claimName"].as_str()
        }) {
            if let (true, Some(volume)) = (blobs.is_empty(), self.bed.bound_volume(&namespace, claim)) {
                blobs = inspect::volume_blobs(&volume, self.bed.now());
            }
        }
        let mut lines = self.bed.block_on(seen(&blobs, self.bed.now()))?;
        for (what, text) in &mut lines {
            if what == OWNER {
                *text = owner(self.case, tag, text);
            }
        }
        Ok(contents(lines.into_iter()))
    }
}

/// What a client of our own sees in a copy of a repository; nothing where nothing is.
async fn seen(blobs: &inspect::Blobs, now: Timestamp) -> Result<Vec<(String, String)>> {
    if blobs.is_empty() {
        return Ok(Vec::new());
    }
    let clock: Now = Arc::new(move || now);
    let store = MemoryStore::new(clock.clone());
    for (name, (bytes, modified)) in blobs {
        store.insert(name, bytes.clone(), *modified);
    }
    let client = Client { username: "client".to_owned(), hostname: "of-our-own".to_owned() };
    let context = Context { now: clock, entropy: Entropy::from_seed([1; 32]), client, zone: TimeZone::UTC };
    let repository = Repository::open(Arc::new(store), PASSWORD, context).await?;
    let mut lines = Vec::new();
    let mut targets = BTreeMap::from([("@:".to_owned(), PolicyTarget::Global)]);
    for snapshot in repository.snapshots(&Filter::all()).await? {
        let source = &snapshot.source;
        let identity = format!("{}@{}:{}", source.username, source.host, source.path);
        targets.insert(identity.clone(), PolicyTarget::Path(source.clone()));
        let summary = snapshot.root.summary.clone().unwrap_or_default();
        let incomplete = if snapshot.incomplete.is_some() { " incomplete" } else { "" };
        let (files, symlinks, directories, bytes) =
            (summary.files, summary.symlinks, summary.dirs, summary.size);
        lines.push((
            identity,
            format!("{files} files {symlinks} symlinks {directories} dirs {bytes} bytes{incomplete}"),
        ));
    }
    let global = repository.policy_of(&PolicyTarget::Global).await?.unwrap_or_default();
    for (name, target) in targets {
        if let Some(own) = repository.policy_of(&target).await? {
            lines.push((format!("policy of {name}"), retention(&json::to_value(own.or(&global))?)));
        }
    }
    lines.push((OWNER.to_owned(), repository.maintenance_info().await?.owner));
    Ok(lines)
}

fn change_of(write: &apiserver::Write) -> String {
    match write.verb {
        apiserver::Verb::Create => "ADDED",
        apiserver::Verb::Update => "MODIFIED",
        apiserver::Verb::Delete => "DELETED",
    }
    .to_owned()
}

/// Whether a wait of the script is over; the sentences are those of the recorder.
fn holds(bed: &Bed, namespace: &str, until: &str) -> Result<bool> {
    let status =
        |kind: &str, name: &str| bed.get(kind, namespace, name).unwrap_or_default()["status"].clone();
    let words: Vec<_> = until.split_whitespace().collect();
    Ok(match words.as_slice() {
        ["default", "ServiceAccount"] => bed.get("ServiceAccount", namespace, "default").is_some(),
        [object, "gone"] if object.contains('/') => {
            let (kind, name) = object.split_once('/').unwrap_or_default();
            bed.get(kind, namespace, name).is_none()
        }
        [object, tag, "and", "reason", reason] => {
            let (kind, name) = object.split_once('/').context("an object")?;
            let status = status(kind, name);
            let tag = tag.strip_prefix("lastManualSync=").context("a tag")?;
            let conditions = status["conditions"].as_array().into_iter().flatten();
            let settled = conditions.into_iter().any(|condition| condition["reason"] == **reason);
            status["lastManualSync"] == tag && settled
        }
        ["mover", "pod", "of", name, "Running"] => bed.list("Pod", namespace).iter().any(|pod| {
            let job = text_of(&pod["metadata"]["labels"]["job-name"]);
            (job == format!("volsync-src-{name}") || job == format!("volsync-dst-{name}"))
                && pod["status"]["phase"] == "Running"
                && pod["metadata"]["deletionTimestamp"].is_null()
        }),
        [name, "runs"] => status("Pod", name)["phase"] == "Running",
        ["gone"] => bed.list("KopiaMaintenance", namespace).is_empty(),
        [name, "gone"] => bed.get("Pod", namespace, name).is_none(),
        [name, field] if name.ends_with(':') => {
            !status("KopiaMaintenance", name.trim_end_matches(':'))[*field].is_null()
        }
        ["maintenance", "tag", "used"] => bed
            .list("KopiaMaintenance", namespace)
            .iter()
            .any(|km| km["status"]["lastManualSync"] != json!(null)),
        _ => bail!("no such wait: {until}"),
    })
}
