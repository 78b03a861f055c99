//! The corpus's own mutating admission policies, evaluated by a real API server.
//!
//! People inject the repository's NFS volume and a start-up jitter into mover Jobs by policy; whether a policy is
//! accepted, and what it does to which Job, only an API server knows. Each policy of each repository is applied to a
//! kind cluster (in the version that it serves; rewrites are printed), and Jobs as the operator makes them are sent
//! through it as a dry run. Needs the corpus beside the checkout and a cluster; without one of them it is skipped
//! with the reason, unless `FIREDRILL_REQUIRE` names it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use acceptance::binary::{is_required, root};
use cluster::{KindCluster, Look, Run, RunOptions, chain, kind::policies::as_served, wait};
use serde_json::{Value, json};

/// How long a policy may take until the server plays it.
const EFFECT: Duration = Duration::from_secs(30);
/// Somebody else's Job that gets its name from the server.
const GENERATED: &str = "anything-";
/// Policies that refuse every such Job in the whole cluster (case M19 of the survey): their condition on a name that is
/// not there yet is an error, no other condition is false, and the policy's failure is the request's.
const REFUSES_GENERATED: [&str; 3] =
    ["Subbeh__home-ops maintenance", "adampetrovic__home-ops maintenance", "axeII__home-ops maintenance"];
/// Jobs of an operator.
const MOVERS: [&str; 4] =
    ["volsync-src-app", "volsync-dst-app", "kopia-maint-daily-0123456789abcdef", "volsync-rsync-app"];

/// What a policy does to a Job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Effect {
    Nfs,
    InitContainer(String),
    Refused(String),
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nfs => f.write_str("NFS volume"),
            Self::InitContainer(name) => write!(f, "init container {name}"),
            Self::Refused(why) => write!(f, "refused: {why}"),
        }
    }
}

/// The policy files of the corpus with the repository that each is of.
fn files(corpus: &Path) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    let mut folders = vec![corpus.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml")
                && std::fs::read_to_string(&path).is_ok_and(|text| {
                    text.lines().any(|line| line.trim_end() == "kind: MutatingAdmissionPolicy")
                })
            {
                let below = path.strip_prefix(corpus).unwrap();
                let repository =
                    below.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
                let place = below.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
                found.insert(format!("{repository} {place}"), path);
            }
        }
    }
    found
}

fn job(name: &str) -> Value {
    let mut metadata = json!({"name": name, "namespace": "default"});
    if name.starts_with("volsync-") || name.starts_with("kopia-") {
        metadata["labels"] =
            json!({"app.kubernetes.io/created-by": "volsync", "volsync.backube/kopia-maintenance": "true"});
    }
    if name.ends_with('-') {
        metadata.as_object_mut().unwrap().remove("name");
        metadata["generateName"] = json!(name);
    }
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata,
        "spec": {"template": {"spec": {
            "restartPolicy": "Never",
            "containers": [{
                "name": "kopia", "image": "kind.local/none", "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
            }],
            "volumes": [{"name": "cache", "emptyDir": {}}],
        }}},
    })
}

/// Sends a manifest through the server as a dry run: the objects as they come out, or why one was refused.
async fn dry_run(cluster: &KindCluster, manifest: &Value) -> Result<Vec<Value>, String> {
    let words = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
    let answer = cluster.kubectl(words, Some(&manifest.to_string())).await.unwrap();
    if answer.code != 0 {
        return Err(String::from_utf8_lossy(&answer.stderr).trim().to_owned());
    }
    let made = serde_json::Deserializer::from_str(&answer.text()).into_iter().collect::<Result<_, _>>();
    Ok(made.expect("kubectl prints one object after the other"))
}

/// What was done to a Job that came out.
fn done_to(made: &Value) -> BTreeSet<Effect> {
    let pod = &made["spec"]["template"]["spec"];
    let list = |name: &str| pod[name].as_array().cloned().unwrap_or_default();
    let mut effects: BTreeSet<_> = list("initContainers")
        .iter()
        .map(|one| Effect::InitContainer(one["name"].as_str().unwrap_or_default().to_owned()))
        .collect();
    if list("volumes").iter().any(|volume| volume["nfs"].is_object()) {
        effects.insert(Effect::Nfs);
    }
    effects
}

/// Sends Jobs through the server: what became of each. All go at once, because starting kubectl takes longer than its
/// question; each goes alone where one is refused, to see whose refusal it is.
async fn effects(cluster: &KindCluster, names: &[&str]) -> Vec<BTreeSet<Effect>> {
    let jobs: Vec<_> = names.iter().map(|name| job(name)).collect();
    if let Ok(made) = dry_run(cluster, &json!({"apiVersion": "v1", "kind": "List", "items": jobs})).await {
        assert_eq!(made.len(), names.len(), "an answer for each Job");
        return made.iter().map(done_to).collect();
    }
    let mut effects = Vec::new();
    for job in &jobs {
        effects.push(match dry_run(cluster, job).await {
            Ok(made) => made.iter().flat_map(done_to).collect(),
            Err(refusal) => [Effect::Refused(refusal)].into(),
        });
    }
    effects
}

/// What happens to the Jobs of movers, taken together.
async fn effects_on_movers(cluster: &KindCluster) -> BTreeSet<Effect> {
    effects(cluster, &MOVERS).await.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_of_the_corpus_do_what_they_say_on_a_real_api_server() {
    let what = "the admission policies of the corpus";
    if !is_required("kind") {
        println!(
            "skipped: {what}: it takes a cluster in privileged containers, FIREDRILL_REQUIRE=kind makes one"
        );
        return;
    }
    let corpus = root().join("../shared/corpus");
    if !corpus.is_dir() {
        assert!(
            !is_required("corpus"),
            "FIREDRILL_REQUIRE names corpus, and there is none at ../shared/corpus"
        );
        println!("skipped: {what}: there is no corpus at ../shared/corpus");
        return;
    }
    let run = Run::start(RunOptions::default()).await.unwrap_or_else(|error| panic!("{}", chain(&error)));
    let made = KindCluster::builder(&run, "admission").create().await;
    let cluster = made.unwrap_or_else(|error| panic!("{}", chain(&error)));
    let version = cluster.policy_version().await.unwrap().expect("this server serves mutating policies");
    let mut surprises = Vec::new();
    for (place, path) in files(&corpus) {
        let text = std::fs::read_to_string(&path).unwrap();
        // Flux puts these in before the server sees the policy.
        let text = text.replace("${SECRET_NFS_DOMAIN}", "nas.internal");
        let served = as_served(&text, &version);
        println!("{place}");
        served.rewritten.iter().for_each(|what| println!("  rewritten: {what}"));
        let applied = cluster.apply(&served.text).await;
        if let Err(error) = applied {
            surprises.push(format!("{place}: not accepted: {}", chain(&error)));
            continue;
        }
        // The server plays a policy a moment after it has taken it: until then no Job is touched.
        let begun = wait("a policy to take effect", EFFECT, || async {
            // A file may hold several policies, and each takes effect by itself.
            let seen = effects_on_movers(&cluster).await;
            let jitter = Effect::InitContainer("jitter".to_owned());
            let has_all = (!text.contains("nfs: Object.spec") || seen.contains(&Effect::Nfs))
                && (!text.contains("\"jitter\"") || seen.contains(&jitter));
            let begun = !seen.is_empty() && has_all;
            Ok(if begun { Look::Reached(()) } else { Look::NotYet(format!("seen so far: {seen:?}")) })
        });
        if let Err(error) = begun.await {
            surprises.push(format!("{place}: {}", chain(&error)));
        }
        let mut all = BTreeSet::new();
        let names: Vec<_> = MOVERS.into_iter().chain(["unrelated", GENERATED]).collect();
        for (name, seen) in names.iter().copied().zip(effects(&cluster, &names).await) {
            let told: Vec<_> = seen.iter().map(ToString::to_string).collect();
            println!("  {name}: {}", if told.is_empty() { "untouched".to_owned() } else { told.join(", ") });
            all.extend(seen.iter().cloned().map(|effect| (name, effect)));
        }
        let has = |wanted: &Effect| MOVERS.iter().any(|name| all.contains(&(*name, wanted.clone())));
        if text.contains("nfs: Object.spec") && !has(&Effect::Nfs) {
            surprises.push(format!("{place}: it speaks of an NFS volume and no mover gets one"));
        }
        if text.contains("\"jitter\"") && !has(&Effect::InitContainer("jitter".to_owned())) {
            surprises.push(format!("{place}: it speaks of a jitter and no mover gets one"));
        }
        let refused =
            all.iter().any(|(name, effect)| *name == GENERATED && matches!(effect, Effect::Refused(_)));
        if refused != REFUSES_GENERATED.contains(&place.as_str()) {
            let how = if refused { "are refused" } else { "are let through" };
            surprises.push(format!("{place}: Jobs of others with generateName {how}"));
        }
        cluster
            .kubectl_ok(["delete", "--ignore-not-found", "--wait", "-f", "-"], Some(&served.text))
            .await
            .unwrap();
        let gone = wait("a policy to lose its effect", EFFECT, || async {
            let seen = effects_on_movers(&cluster).await;
            Ok(if seen.is_empty() { Look::Reached(()) } else { Look::NotYet(format!("{seen:?}")) })
        });
        gone.await.unwrap_or_else(|error| panic!("{}", chain(&error)));
    }
    drop(cluster);
    run.finish().await.unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}
