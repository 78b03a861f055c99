//! Every saboteur is caught by the oracle meant for it, and the honest twin by none.

use std::time::Duration;

use json::{Value, json};
use scenario::tree::{ChangeSpec, TreeSpec};
use testbed::{
    bed::{Bed, Options},
    oracle::restore::{Attribute, Carries, judge},
    subject::{Subject, saboteur},
};

const MINUTE: Duration = Duration::from_secs(60);

fn claim(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "apps"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "ceph-block", "resources": {"requests": {"storage": "1Gi"}}},
    })
}

fn filled_by(name: &str) -> Value {
    let mut claim = claim(name);
    claim["spec"]["dataSourceRef"] =
        json!({"apiGroup": "volsync.backube", "kind": "ReplicationDestination", "name": "app-dst"});
    claim
}

fn apply(bed: &mut Bed, object: &Value) {
    bed.apply(object).unwrap_or_else(|failure| panic!("{failure}: {object}"));
}

fn tag(bed: &mut Bed, kind: &str, name: &str, tag: &str) -> bool {
    bed.patch(kind, "apps", name, &json!({"spec": {"trigger": {"manual": tag}}})).expect("a tag");
    bed.wait_until(tag, 90 * MINUTE, |bed| {
        (bed.field(kind, "apps", name, "/status/lastManualSync") == tag).then_some(())
    })
    .is_ok()
}

/// What an operator's oracles have to say about a restored claim.
fn compare(bed: &mut Bed, claim: &str) -> Vec<String> {
    apply(bed, &filled_by(claim));
    let bound = bed.wait_until(claim, 60 * MINUTE, |bed| bed.is_claim_bound("apps", claim).then_some(()));
    if bound.is_err() {
        return vec![format!("{claim} was never bound")];
    }
    let expected = bed.ledger_last("apps", "data").expect("the bed wrote it");
    let report = judge(&bed.bound_volume("apps", claim).expect("bound"), &expected, Carries::kopia());
    let attributes: Vec<&Attribute> = report.counts.keys().collect();
    if report.is_equal() { Vec::new() } else { vec![format!("{claim} differs in {attributes:?}")] }
}

/// Back up, restore, change, back up, restore again; then a repository that cannot be opened.
fn story(subject: Subject) -> Vec<String> {
    let mut bed = Bed::start(Options { subject, ..Options::default() });
    bed.make_bucket("minio:9000", "backups");
    bed.ensure_namespace("apps");
    bed.patch(
        "Namespace",
        "",
        "apps",
        &json!({"metadata": {"annotations": {"volsync.backube/privileged-movers": "true"}}}),
    )
    .expect("annotated");
    let secret = |password: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "repo", "namespace": "apps"},
            "stringData": {
                "KOPIA_REPOSITORY": "s3://backups/apps", "KOPIA_PASSWORD": password, "AWS_S3_ENDPOINT": "minio:9000",
                "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
            },
        })
    };
    apply(&mut bed, &secret("correct horse"));
    for name in ["data", "other"] {
        apply(&mut bed, &claim(name));
    }
    bed.fill_claim("apps", "other", &TreeSpec::plain(3, 3_000, 9)).expect("filled");
    bed.fill_claim("apps", "data", &TreeSpec::plain(12, 60_000, 7).owned_by(568, 568)).expect("filled");
    apply(
        &mut bed,
        &json!({
            "apiVersion": "volsync.backube/v1alpha1", "kind": "ReplicationSource", "metadata": {"name": "app", "namespace": "apps"},
            "spec": {"sourcePVC": "data", "trigger": {"manual": "one"}, "kopia": {"repository": "repo", "copyMethod": "Snapshot"}},
        }),
    );
    let mut found = Vec::new();
    if !tag(&mut bed, "ReplicationSource", "app", "one") {
        found.push("the first sync did not end".to_owned());
    }
    apply(
        &mut bed,
        &json!({
            "apiVersion": "volsync.backube/v1alpha1", "kind": "ReplicationDestination", "metadata": {"name": "app-dst", "namespace": "apps"},
            "spec": {"trigger": {"manual": "first"}, "kopia": {
                "repository": "repo", "copyMethod": "Snapshot", "capacity": "1Gi", "accessModes": ["ReadWriteOnce"],
                "storageClassName": "ceph-block", "sourceIdentity": {"sourceName": "app"}, "enableFileDeletion": true,
            }},
        }),
    );
    tag(&mut bed, "ReplicationDestination", "app-dst", "first");
    found.extend(compare(&mut bed, "restored-first"));
    bed.change_claim("apps", "data", &ChangeSpec { seed: 3, changed: 4, added: 1, removed: 0 })
        .expect("changed");
    tag(&mut bed, "ReplicationSource", "app", "two");
    tag(&mut bed, "ReplicationDestination", "app-dst", "second");
    found.extend(compare(&mut bed, "restored-second"));

    apply(&mut bed, &secret("wrong"));
    if tag(&mut bed, "ReplicationSource", "app", "three") {
        found.push("a sync with the wrong password counted".to_owned());
    }
    found
}

#[test]
fn the_honest_twin_is_not_caught() {
    assert_eq!(story(Subject::default()), Vec::<String>::new());
}

#[test]
fn every_saboteur_is_caught_for_the_right_reason() {
    let expected = [
        ("empty-restore", "restored-first differs in [Missing"),
        ("wrong-claim", "restored-first differs in [Missing"),
        ("newest-dropped", "restored-second differs"),
        ("mtime-lost", "restored-first differs in [Mtime]"),
        ("uid-lost", "restored-first differs in [Uid"),
        ("stale-image", "restored-second differs"),
        ("phantom-sync", "restored-second differs"),
        ("swallowed-failure", "a sync with the wrong password counted"),
        ("zeroed-files", "restored-first differs in [Bytes]"),
        ("partial-restore", "restored-first differs in [Missing]"),
    ];
    // What crashes takes its process along: the runner's tests and `scenarios/negative/` see it.
    let judged: Vec<_> =
        saboteur::ALL.iter().map(|row| row.name).filter(|name| *name != "panicking-mover").collect();
    assert_eq!(expected.map(|(name, _)| name).to_vec(), judged);
    let mut wrong = Vec::new();
    for (name, reason) in expected {
        let found = story(Subject::Saboteur(name.to_owned()));
        if !found.iter().any(|line| line.starts_with(reason)) {
            wrong.push(format!("{name}: expected {reason:?}, found {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
