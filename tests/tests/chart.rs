//! The chart: what it says is described, and what it renders is what an API server takes.
//!
//! Rendering needs `helm` on PATH or named by `FIREDRILL_HELM`; without it those tests say so and pass, unless
//! `FIREDRILL_REQUIRE` names `helm`. That the rules are exactly what the controller does is shown by
//! `features.rs`, which plays the features under them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use testbed::bed::Embedded;

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/firedrill")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(chart().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Paths of values whose schema is missing or says nothing.
fn undescribed(values: &Value, schema: &Value, path: &str) -> Vec<String> {
    let Some(values) = values.as_object() else { return Vec::new() };
    let Some(known) = schema["properties"].as_object() else {
        // A map for users to fill.
        return Vec::new();
    };
    let mut missing = Vec::new();
    for (name, value) in values {
        let path = format!("{path}.{name}");
        match known.get(name) {
            Some(below) if below["description"].is_string() => {
                missing.extend(undescribed(value, below, &path));
            }
            _ => missing.push(path),
        }
    }
    missing
}

#[test]
fn every_value_is_described_where_it_stands_and_in_the_schema() {
    let text = read("values.yaml");
    let schema: Value = serde_json::from_str(&read("values.schema.json")).expect("the schema is JSON");
    let values = yaml(&text);
    assert_eq!(undescribed(&values, &schema, ""), Vec::<String>::new());
    assert!(!undescribed(&json!({"stray": 1}), &schema, "").is_empty(), "an undescribed value is seen");
    // A line that sets something stands below a comment, below its parent, or beside its siblings in a list.
    let mut before = "";
    for line in text.lines() {
        let is_setting = line.contains(':') && !line.trim_start().starts_with('#');
        let is_deep = line.starts_with("    ");
        assert!(
            !is_setting || is_deep || before.trim_start().starts_with('#') || line.trim_end().ends_with(':'),
            "no comment above {line:?}"
        );
        before = line;
    }
    // Whatever the schema knows has its place in the values, so that it is documented there.
    let known: Vec<_> = schema["properties"].as_object().expect("properties").keys().collect();
    assert!(known.iter().all(|name| *name == "global" || values.get(name.as_str()).is_some()), "{known:?}");
}

/// Where helm is; `None` says why not.
fn helm() -> Option<PathBuf> {
    let named = std::env::var_os("FIREDRILL_HELM").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        named.or_else(|| std::env::split_paths(&path).map(|at| at.join("helm")).find(|at| at.is_file()));
    if found.is_none() {
        let required = std::env::var("FIREDRILL_REQUIRE").unwrap_or_default();
        let reason = "no helm on PATH and no FIREDRILL_HELM";
        assert!(
            !required.split(',').any(|part| part == "helm"),
            "FIREDRILL_REQUIRE asks for helm, but {reason}"
        );
        println!("skipped: {reason}");
    }
    found
}

/// Runs helm with the chart; the error is what it says.
fn run(helm: &Path, arguments: &[&str]) -> Result<String, String> {
    let home = tempfile::tempdir().expect("a temporary folder");
    let output = Command::new(helm)
        .args(arguments)
        .env("HOME", home.path())
        .env_remove("KUBECONFIG")
        .output()
        .expect("helm runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn render(helm: &Path, sets: &[&str]) -> Result<Vec<Value>, String> {
    let folder = chart().display().to_string();
    let mut arguments = vec!["template", "drill", &folder, "--namespace", "backup-system"];
    sets.iter().for_each(|set| arguments.extend(["--set", set]));
    let text = run(helm, &arguments)?;
    let documents = text.split("\n---").filter(|part| part.lines().any(|line| line.starts_with("kind:")));
    Ok(documents.map(yaml).collect())
}

fn find<'a>(objects: &'a [Value], kind: &str, ending: &str) -> &'a Value {
    let is_it = |object: &&Value| {
        object["kind"] == kind
            && object["metadata"]["name"].as_str().is_some_and(|name| name.ends_with(ending))
    };
    objects.iter().find(is_it).unwrap_or_else(|| panic!("no {kind} {ending}"))
}

fn arguments(objects: &[Value]) -> Vec<String> {
    let container = &find(objects, "Deployment", "")["spec"]["template"]["spec"]["containers"][0];
    let texts = container["args"].as_array().expect("arguments").iter();
    texts.map(|text| text.as_str().expect("a text").to_owned()).collect()
}

#[test]
fn the_chart_is_clean_and_an_api_server_takes_it() {
    let Some(helm) = helm() else { return };
    let folder = chart().display().to_string();
    run(&helm, &["lint", "--strict", &folder]).unwrap_or_else(|error| panic!("{error}"));
    let objects = render(&helm, &[]).expect("the chart renders");
    let kinds: BTreeMap<&str, usize> = objects.iter().fold(BTreeMap::new(), |mut counts, object| {
        *counts.entry(object["kind"].as_str().expect("a kind")).or_default() += 1;
        counts
    });
    let expected = [
        ("ClusterRole", 1),
        ("ClusterRoleBinding", 1),
        ("Deployment", 1),
        ("Role", 1),
        ("RoleBinding", 1),
        ("Service", 1),
        ("ServiceAccount", 1),
    ];
    assert_eq!(kinds, expected.into());
    let mut bed = Embedded::builder().build();
    bed.ensure_namespace("backup-system");
    for object in &objects {
        bed.apply(&object.clone().into()).unwrap_or_else(|failure| panic!("{object}: {failure:?}"));
    }
    // The rules that the features are played under are the ones that are installed.
    assert_eq!(find(&objects, "ClusterRole", "")["rules"], yaml(&read("files/controller-rules.yaml")));
    let pod = &find(&objects, "Deployment", "")["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let context = &pod["containers"][0]["securityContext"];
    assert_eq!(
        *context,
        json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}})
    );
    // The pod's own labels are what the Deployment and the Service look for.
    let labels = find(&objects, "Deployment", "")["spec"]["template"]["metadata"]["labels"].clone();
    for selector in [
        &find(&objects, "Deployment", "")["spec"]["selector"]["matchLabels"],
        &find(&objects, "Service", "-metrics")["spec"]["selector"],
    ] {
        assert!(selector.as_object().expect("labels").iter().all(|(key, value)| labels[key] == *value));
    }
}

#[test]
fn values_reach_the_controller() {
    let Some(helm) = helm() else { return };
    let plain = arguments(&render(&helm, &[]).expect("it renders"));
    assert!(plain.contains(&"--leader-elect".to_owned()) && plain.contains(&"--profile=safe".to_owned()));
    assert!(!plain.iter().any(|text| text.starts_with("--backoff-limit")), "{plain:?}");
    let sets = [
        "mover.backoffLimit=1",
        "mover.image.repository=kind.local/mover",
        "mover.image.tag=t",
        "profile=original",
    ];
    let set = arguments(&render(&helm, &sets).expect("it renders"));
    for wanted in ["--backoff-limit=1", "--mover-image=kind.local/mover:t", "--profile=original"] {
        assert!(set.contains(&wanted.to_owned()), "{set:?}");
    }
    let zero = arguments(&render(&helm, &["mover.backoffLimit=0"]).expect("it renders"));
    assert!(zero.contains(&"--backoff-limit=0".to_owned()), "{zero:?}");
    let alone =
        render(&helm, &["leaderElection.enabled=false", "rbac.create=false", "metrics.service=false"]);
    let alone = alone.expect("it renders");
    assert_eq!(alone.len(), 2, "ServiceAccount and Deployment");
    assert_eq!(find(&alone, "Deployment", "")["spec"]["strategy"]["type"], "Recreate");
}

#[test]
fn wrong_values_are_refused_with_their_name() {
    let Some(helm) = helm() else { return };
    let check = |sets: &[&str], words: &str| {
        let error = render(&helm, sets).expect_err("refused");
        assert!(error.contains(words), "{error}");
    };
    check(&["profle=safe"], "profle");
    check(&["profile=fast"], "profile");
    check(&["mover.backoffLimit=-1"], "backoffLimit");
    check(&["metrics.port=70000"], "port");
    check(&["replicas=2", "leaderElection.enabled=false"], "replicas above 1 need leaderElection.enabled");
}
