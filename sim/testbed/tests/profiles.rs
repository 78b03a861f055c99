//! What the original reports as done although it is not, and the safe profile does not.

use std::time::Duration;

use json::{Value, json};
use scenario::tree::TreeSpec;
use testbed::{
    bed::{Bed, Options},
    inspect,
    subject::{Profile, Subject},
};

const HOUR: Duration = Duration::from_hours(1);
const PASSWORD: &str = "correct horse";
const TERM: i32 = 15;

/// What a user is told against what is so.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// The tag stands in the status as synchronised.
    is_told: bool,
    /// What a sync is for has happened.
    is_done: bool,
}

const LIE: Seen = Seen { is_told: true, is_done: false };
const DONE: Seen = Seen { is_told: true, is_done: true };
const WAITING: Seen = Seen { is_told: false, is_done: false };

fn bed(profile: Profile) -> Bed {
    let mut bed = Bed::start(Options { subject: Subject::Reference(profile), ..Options::default() });
    bed.make_bucket("minio:9000", "backups");
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "repo", "namespace": "apps"},
        "stringData": {
            "KOPIA_REPOSITORY": "s3://backups/apps", "KOPIA_PASSWORD": PASSWORD, "AWS_S3_ENDPOINT": "minio:9000",
            "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
        },
    });
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "apps"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "ceph-block",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    });
    apply(&mut bed, &secret);
    apply(&mut bed, &claim);
    bed
}

fn apply(bed: &mut Bed, object: &Value) {
    bed.apply(object).unwrap_or_else(|failure| panic!("{failure}: {object}"));
}

fn source(is_paused: bool) -> Value {
    json!({
        "apiVersion": "volsync.backube/v1alpha1", "kind": "ReplicationSource",
        "metadata": {"name": "app", "namespace": "apps"},
        "spec": {
            "sourcePVC": "data", "paused": is_paused, "trigger": {"manual": "once"},
            "kopia": {"repository": "repo", "copyMethod": "Snapshot"},
        },
    })
}

fn is_told(bed: &mut Bed, kind: &str) -> bool {
    let told = |bed: &Bed| bed.field(kind, "apps", "app", "/status/lastManualSync") == "once";
    bed.wait_until("the tag in the status", HOUR, |bed| told(bed).then_some(())).is_ok()
}

fn snapshots(bed: &mut Bed) -> usize {
    let bucket = bed.storage().bucket("minio:9000", "backups").expect("it was made");
    let blobs = inspect::bucket_blobs(&bucket, "apps/");
    let contents = bed.block_on(inspect::look(&blobs, PASSWORD, bed.now())).expect("a repository or nothing");
    contents.map_or(0, |contents| contents.snapshots.len())
}

/// The node asks the mover to stop as soon as it runs.
fn stopped(profile: Profile) -> Seen {
    let mut bed = bed(profile);
    bed.fill_claim("apps", "data", &TreeSpec::plain(5, 5_000, 7)).expect("filled");
    apply(&mut bed, &source(false));
    let running = bed.wait_until("a running mover", HOUR, |bed| {
        let pods = bed.list("Pod", "apps");
        let pod = pods.iter().find(|pod| pod["status"]["phase"] == "Running")?;
        Some(pod["metadata"]["name"].as_str()?.to_owned())
    });
    let pod = running.expect("a mover runs");
    assert!(bed.signal_pod("apps", &pod, TERM), "{pod} does not run");
    let is_told = is_told(&mut bed, "ReplicationSource");
    Seen { is_told, is_done: snapshots(&mut bed) > 0 }
}

/// A restore from a place where no repository is.
fn restored_nothing(profile: Profile) -> Seen {
    let mut bed = bed(profile);
    let destination = json!({
        "apiVersion": "volsync.backube/v1alpha1", "kind": "ReplicationDestination",
        "metadata": {"name": "app", "namespace": "apps"},
        "spec": {"trigger": {"manual": "once"}, "kopia": {
            "repository": "repo", "copyMethod": "Direct", "destinationPVC": "data",
        }},
    });
    apply(&mut bed, &destination);
    let is_told = is_told(&mut bed, "ReplicationDestination");
    let volume = bed.bound_volume("apps", "data").expect("a mover used it");
    Seen { is_told, is_done: inspect::entries(&volume) > 0 }
}

/// A paused source is given a tag.
fn paused(profile: Profile) -> Seen {
    let mut bed = bed(profile);
    bed.fill_claim("apps", "data", &TreeSpec::plain(5, 5_000, 7)).expect("filled");
    apply(&mut bed, &source(true));
    let is_told = is_told(&mut bed, "ReplicationSource");
    Seen { is_told, is_done: !bed.runs().is_empty() }
}

#[test]
fn a_mover_told_to_stop_has_made_no_backup() {
    assert_eq!(stopped(Profile::Original), LIE);
    assert_eq!(stopped(Profile::Safe), DONE, "another attempt makes the backup");
}

#[test]
fn a_restore_from_an_empty_place_has_restored_nothing() {
    assert_eq!(restored_nothing(Profile::Original), LIE);
    assert_eq!(restored_nothing(Profile::Safe), WAITING);
}

#[test]
fn a_paused_source_makes_no_backup() {
    assert_eq!(paused(Profile::Original), LIE);
    assert_eq!(paused(Profile::Safe), WAITING);
}
