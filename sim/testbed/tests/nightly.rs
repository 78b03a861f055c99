//! The whole path: a replication source on a bed, from the object to restored bytes.

use std::time::Duration;

use json::{Value, json};
use scenario::tree::TreeSpec;
use testbed::{
    bed::{Bed, Options},
    ledger::Entry,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn apply(bed: &mut Bed, objects: &[Value]) {
    for object in objects {
        bed.apply(object).unwrap_or_else(|failure| panic!("{failure}: {object}"));
    }
}

fn claim(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "apps"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "ceph-block", "resources": {"requests": {"storage": "1Gi"}}},
    })
}

fn secret() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "repo", "namespace": "apps"},
        "stringData": {
            "KOPIA_REPOSITORY": "s3://backups/apps", "KOPIA_PASSWORD": "correct horse", "AWS_S3_ENDPOINT": "minio:9000",
            "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
        },
    })
}

fn source(schedule: &str) -> Value {
    json!({
        "apiVersion": "volsync.backube/v1alpha1", "kind": "ReplicationSource", "metadata": {"name": "app", "namespace": "apps"},
        "spec": {
            "sourcePVC": "data", "trigger": {"schedule": schedule},
            "kopia": {"repository": "repo", "copyMethod": "Snapshot", "retain": {"hourly": 24, "daily": 7}},
        },
    })
}

fn protected_app(options: Options, schedule: &str) -> (Bed, Entry) {
    let mut bed = Bed::start(options);
    bed.make_bucket("minio:9000", "backups");
    apply(&mut bed, &[secret(), claim("data")]);
    let held =
        bed.fill_claim("apps", "data", &TreeSpec::plain(50, 400_000, 7)).expect("an empty volume takes it");
    apply(&mut bed, &[source(schedule)]);
    (bed, held)
}

fn status(bed: &Bed, kind: &str, name: &str, field: &str) -> String {
    bed.field(kind, "apps", name, &format!("/status/{field}"))
}

fn dump(bed: &Bed) -> String {
    let logs: Vec<String> =
        bed.runs().iter().map(|run| format!("{run:?}\n{}", bed.pod_log(&run.namespace, &run.pod))).collect();
    format!("{}\n{}", bed.record().to_ndjson(), logs.join("\n"))
}

#[test]
fn a_backup_is_made_and_restores_to_what_the_volume_held() {
    let (mut bed, held) = protected_app(Options::default(), "0 3 * * *");
    let synced = bed.wait_until("the first sync", 30 * MINUTE, |bed| {
        (!status(bed, "ReplicationSource", "app", "lastSyncTime").is_empty()).then_some(())
    });
    assert!(synced.is_ok(), "{}", dump(&bed));
    assert_eq!(
        status(&bed, "ReplicationSource", "app", "latestMoverStatus/result"),
        "Successful",
        "{}",
        dump(&bed)
    );
    let run = bed.runs().into_iter().find(|run| run.operation == "backup").expect("a mover ran");
    assert_eq!(run.end.code, 0, "{}", run.end.message);
    bed.advance(MINUTE);
    assert!(bed.list("Job", "apps").is_empty(), "temporaries are removed at the end of a sync");

    apply(
        &mut bed,
        &[json!({
            "apiVersion": "volsync.backube/v1alpha1", "kind": "ReplicationDestination", "metadata": {"name": "app-dst", "namespace": "apps"},
            "spec": {"trigger": {"manual": "restore-once"}, "kopia": {
                "repository": "repo", "copyMethod": "Snapshot", "capacity": "1Gi", "accessModes": ["ReadWriteOnce"],
                "storageClassName": "ceph-block", "sourceIdentity": {"sourceName": "app"},
            }},
        })],
    );
    let mut restored = claim("restored");
    restored["spec"]["dataSourceRef"] =
        json!({"apiGroup": "volsync.backube", "kind": "ReplicationDestination", "name": "app-dst"});
    apply(&mut bed, &[restored]);
    let bound = bed.wait_until("the restored claim", 60 * MINUTE, |bed| {
        bed.is_claim_bound("apps", "restored").then_some(())
    });
    assert!(bound.is_ok(), "{}", dump(&bed));
    let volume = bed.bound_volume("apps", "restored").expect("it is bound");
    let report = testbed::oracle::restore::judge(&volume, &held, testbed::oracle::restore::Carries::kopia());
    assert!(report.is_equal(), "{report:?}");
}

/// FNV-1a: stable across processes and builds, unlike the standard library's hasher.
fn digest(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn hourly_syncs_come_once_an_hour() {
    let (mut bed, _) = protected_app(Options::default(), "0 * * * *");
    bed.advance(6 * HOUR + 10 * MINUTE);
    let backups = bed.runs().iter().filter(|run| run.operation == "backup" && run.end.code == 0).count();
    assert_eq!(backups, 7, "one at creation and one an hour: {}", dump(&bed));
    println!("record digest {:016x}", digest(&bed.record().to_ndjson()));
}

#[test]
fn the_same_seed_gives_the_same_record_in_every_process() {
    let digest_of_a_process = || {
        let exe = std::env::current_exe().expect("a test runs from a file");
        let child = std::process::Command::new(exe)
            .args(["--exact", "hourly_syncs_come_once_an_hour", "--nocapture"])
            .output()
            .expect("it can be started again");
        let printed = String::from_utf8_lossy(&child.stdout).into_owned();
        let at = printed.find("record digest ").unwrap_or_else(|| panic!("no digest in {printed}"));
        printed[at..].lines().next().expect("a line").to_owned()
    };
    assert_eq!(digest_of_a_process(), digest_of_a_process());
}
