//! Plans of KopiaMaintenance by table.
use std::collections::BTreeSet;

use api::names as keys;
use controller::act::{Act, Status};
use controller::maintain::Observed;
use controller::maintain::plan::{foreign_owner, plan};
use jiff::Timestamp;
use serde_json::{Value, json};

const NOW: &str = "2026-03-01T10:00:00Z";
const CRON_JOB: &str = "kopia-maint-daily-e0f7e4a4b1f8bb28";
const FOREIGN: &str = r#"{"exitCode":21,"operation":"maintenance","ending":{"result":"failed","code":"maintenance-foreign",
    "message":"maintenance must be run by designated user: root@old; takeover from them was not asked for"}}"#;

fn of<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object")
}

fn observed(is_original: bool, change: impl FnOnce(&mut Value)) -> Observed {
    let mut maintenance = json!({
        "metadata": {"name": "daily", "namespace": "t1", "uid": "u1", "generation": 1,
                     "creationTimestamp": "2026-03-01T09:59:00Z",
                     "finalizers": [keys::KOPIA_MAINTENANCE_FINALIZER]},
        "spec": {"repository": {"repository": "repo"}, "trigger": {"schedule": "0 3 * * *"}},
    });
    change(&mut maintenance);
    Observed {
        maintenance: of(maintenance),
        is_original,
        image: "mover".into(),
        job_backoff_limit: None,
        cron_job: None,
        jobs: Vec::new(),
        pods: Vec::new(),
        has_secret: true,
        has_cache_claim: true,
        missing: BTreeSet::new(),
        rival: None,
        known_repository: None,
    }
}

fn now() -> Timestamp {
    NOW.parse().expect("an instant")
}

fn told(acts: &[Act]) -> Vec<String> {
    acts.iter()
        .map(|act| match act {
            Act::Create(object) => format!("create {}", object.describe().replace(CRON_JOB, "<cron>")),
            Act::Patch { kind, patch, .. } => format!("patch {kind:?} {patch}"),
            Act::Delete { kind, .. } => format!("delete {kind:?}"),
            Act::Event { reason, .. } => format!("event {reason}"),
            Act::Status(status) => ready(status),
            other => format!("{other:?}"),
        })
        .collect()
}

fn ready(status: &Status) -> String {
    let Status::Maintenance(status) = status else { panic!("a maintenance status") };
    let all = status.conditions.clone().unwrap_or_default();
    all.iter()
        .map(|one| format!("{}={} {}", one.type_, one.status, one.reason))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The CronJob that is planned for an observation, as the cluster would hold it.
fn made(observed: &Observed) -> k8s_openapi::api::batch::v1::CronJob {
    controller::maintain::objects::cron_job(observed, 0)
}

#[test]
fn a_schedule_becomes_a_cron_job() {
    let observed = observed(false, |_| {});
    let said = told(&plan(&observed, now()));
    assert!(said[0].starts_with("create CronJob/kopia-maint-daily-"), "{said:?}");
    assert_eq!(
        said[1..],
        [
            "event CronJobCreated",
            "MaintenanceHealthy=True OperatingNormally, Progressing=False ReconcileComplete, Ready=True MaintenanceActive",
            "Requeue(1800s)",
        ]
    );
    let mut settled = observed.clone();
    settled.cron_job = Some(made(&observed));
    let Some(Act::Status(status)) =
        plan(&settled, now()).into_iter().find(|act| matches!(act, Act::Status(_)))
    else {
        panic!("a status is written");
    };
    let Status::Maintenance(status) = *status else { panic!("a maintenance status") };
    settled.maintenance.status = Some(status);
    // Nothing new: nothing is written, whatever the clock says.
    assert_eq!(told(&plan(&settled, now() + jiff::SignedDuration::from_secs(1))), ["Requeue(1800s)"]);
}

#[test]
fn the_next_look_comes_when_a_window_ends_or_as_the_original_has_it() {
    let next = |is_original: bool, at: &str| {
        let mut settled = observed(is_original, |_| {});
        settled.cron_job = Some(made(&settled));
        told(&plan(&settled, at.parse().expect("an instant"))).pop().expect("an act")
    };
    // The first window begins at three o'clock of the next night and ends with the longest run, three hours later.
    assert_eq!(next(false, "2026-03-02T05:00:00Z"), "Requeue(1800s)");
    assert_eq!(next(false, "2026-03-02T05:50:00Z"), "Requeue(601s)");
    assert_eq!(next(true, "2026-03-02T05:50:00Z"), "Requeue(300s)");
}

#[test]
fn a_changed_manifest_updates_the_cron_job_in_place() {
    let check = |is_original: bool, change: fn(&mut Value), updated: bool| {
        let before = observed(is_original, |_| {});
        let mut after = observed(is_original, change);
        after.cron_job = Some(made(&before));
        let said = told(&plan(&after, now()));
        assert_eq!(said.iter().any(|line| line.starts_with("patch CronJob")), updated, "{said:?}");
    };
    let schedule = |object: &mut Value| object["spec"]["trigger"]["schedule"] = json!("0 4 * * *");
    let secret = |object: &mut Value| object["spec"]["repository"]["repository"] = json!("other");
    for is_original in [true, false] {
        check(is_original, |_| {}, false);
        check(is_original, schedule, true);
    }
    // The original never updates the environment.
    check(true, secret, false);
    check(false, secret, true);
}

#[test]
fn an_invalid_object_can_still_go_away() {
    let leaving = |is_original: bool| {
        let mut observed = observed(is_original, |object| {
            object["metadata"]["deletionTimestamp"] = json!("2026-03-01T09:59:59Z");
            object["spec"]["trigger"]["schedule"] = json!("@daily");
        });
        observed.cron_job = Some(of(json!({"metadata": {"name": "c"}})));
        told(&plan(&observed, now()))
    };
    assert_eq!(leaving(false), ["delete CronJob", "patch Maintenance {\"metadata\":{\"finalizers\":[]}}"]);
    assert_eq!(leaving(true)[0], "event ValidationFailed");
}

#[test]
fn the_second_maintenance_of_a_repository_stands_back() {
    let mut observed = observed(false, |_| {});
    observed.rival = Some("ops/first".into());
    let acts = plan(&observed, now());
    assert_eq!(told(&acts)[0], "event RepositoryTaken");
    let Act::Event { message, .. } = &acts[0] else { panic!("an event") };
    assert_eq!(message, "KopiaMaintenance ops/first maintains this repository already");
}

#[test]
fn a_dead_owner_is_named_and_replaced_only_on_purpose() {
    let pod = of(json!({
        "metadata": {"name": "p"},
        "status": {"containerStatuses": [{
            "name": "kopia-maintenance", "image": "", "imageID": "", "ready": false, "restartCount": 1, "state": {},
            "lastState": {"terminated": {"exitCode": 21, "message": FOREIGN}},
        }]},
    }));
    let mut observed_ = observed(false, |_| {});
    observed_.cron_job = Some(made(&observed_));
    observed_.pods = vec![pod];
    assert_eq!(foreign_owner(&observed_.pods).as_deref(), Some("root@old"));
    let said = told(&plan(&observed_, now()));
    assert_eq!(said[0], "event OwnerForeign");
    assert!(said[1].contains("MaintenanceHealthy=False OwnerForeign"), "{said:?}");
    let takeover = observed(false, |object| {
        object["metadata"]["annotations"] = json!({keys::TAKE_OWNERSHIP: "root@old"});
    });
    let job = made(&takeover);
    let pod =
        job.spec.and_then(|spec| spec.job_template.spec).and_then(|spec| spec.template.spec).expect("a pod");
    let variables = pod.containers[0].env.clone().unwrap_or_default();
    let from = variables.iter().find(|one| one.name == "KOPIA_MAINTENANCE_TAKEOVER_FROM");
    assert_eq!(from.and_then(|one| one.value.as_deref()), Some("root@old"));
}

#[test]
fn a_missed_window_is_told() {
    let mut observed = observed(false, |object| {
        object["metadata"]["creationTimestamp"] = json!("2026-02-27T10:00:00Z");
    });
    observed.cron_job = Some(made(&observed));
    let said = told(&plan(&observed, now()));
    assert_eq!(said[0], "event MaintenanceMissed");
}

#[test]
fn a_manual_tag_runs_once() {
    let manual = |is_original: bool, status: Value| {
        let mut observed = observed(is_original, |object| {
            object["spec"]["trigger"] = json!({"manual": "now"});
        });
        let name = controller::names::maintenance_job("t1", "daily", "now");
        if !status.is_null() {
            let labels = json!({keys::MAINTENANCE_TYPE: "manual"});
            observed.jobs = vec![of(json!({"metadata": {"name": name, "labels": labels}, "status": status}))];
        }
        told(&plan(&observed, now()))
    };
    for is_original in [true, false] {
        let said = manual(is_original, Value::Null);
        assert!(said[0].starts_with("create Job/kopia-maint-manual-"), "{said:?}");
        assert_eq!(manual(is_original, json!({"active": 1})), ["Requeue(10s)"]);
        assert_eq!(manual(is_original, json!({"succeeded": 1}))[0], "event ManualMaintenanceCompleted");
    }
    // One lost pod ends the original's run (MAN-4).
    assert_eq!(manual(true, json!({"active": 1, "failed": 1}))[0], "event ManualMaintenanceFailed");
    assert_eq!(manual(false, json!({"active": 1, "failed": 1})), ["Requeue(10s)"]);
    assert_eq!(
        manual(true, json!({"succeeded": 1}))[1],
        "MaintenanceHealthy=True OperatingNormally, Progressing=True CreatingCronJob, Ready=False CronJobCreationFailed"
    );
}

#[test]
fn a_disabled_one_drops_its_cron_job() {
    let mut observed = observed(false, |object| object["spec"]["enabled"] = json!(false));
    observed.cron_job = Some(of(json!({"metadata": {"name": "c"}})));
    let said = told(&plan(&observed, now()));
    assert_eq!(said[0], "delete CronJob");
    assert!(said[1].contains("Ready=False MaintenanceDisabled"), "{said:?}");
}
