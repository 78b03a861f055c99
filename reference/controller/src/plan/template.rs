//! Comparing the Job that is wanted with the Job that exists.
//!
//! Only what is ours counts: volumes, mounts, containers and labels that admission added are left alone
//! (ADM-6 of the behaviour specification), and so is what an API server fills in.
use k8s_openapi::api::batch::v1::Job;
use serde_json::Value;

/// Volumes that only a controller makes; any other surplus volume is somebody else's.
const OURS: [&str; 7] = ["data", "tempdir", "restore", "cache", "custom-ca", "kopia-config", "credentials"];

/// Tells whether a Job still is what is wanted.
pub fn is_same(wanted: &Job, actual: &Job) -> bool {
    let pod = |job: &Job| {
        let template = job.spec.as_ref().map(|spec| &spec.template);
        serde_json::to_value(template).unwrap_or_default()
    };
    let (wanted, actual) = (pod(wanted), pod(actual));
    let (wanted_spec, actual_spec) = (&wanted["spec"], &actual["spec"]);
    let (ours, theirs) = (&wanted_spec["containers"][0], &actual_spec["containers"][0]);
    ["image", "command", "args", "env"].iter().all(|field| ours[field] == theirs[field])
        && is_equal_or_empty(&ours["resources"], &theirs["resources"])
        && is_within(&ours["securityContext"], &theirs["securityContext"])
        && is_within(&ours["volumeMounts"], &theirs["volumeMounts"])
        && is_within(&wanted_spec["volumes"], &actual_spec["volumes"])
        && !has_left_over(&wanted_spec["volumes"], &actual_spec["volumes"])
        && wanted_spec["serviceAccountName"] == actual_spec["serviceAccountName"]
        && is_equal_or_empty(&wanted_spec["securityContext"], &actual_spec["securityContext"])
        && is_equal_or_empty(&wanted_spec["nodeSelector"], &actual_spec["nodeSelector"])
        && is_equal_or_empty(&wanted_spec["affinity"], &actual_spec["affinity"])
        && is_within(&wanted_spec["tolerations"], &actual_spec["tolerations"])
        && is_within(&wanted["metadata"]["labels"], &actual["metadata"]["labels"])
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(object) => object.is_empty(),
        Value::Array(array) => array.is_empty(),
        _ => false,
    }
}

fn is_equal_or_empty(wanted: &Value, actual: &Value) -> bool {
    wanted == actual || (is_empty(wanted) && is_empty(actual))
}

/// Tells whether everything that is wanted is there; more may be there.
fn is_within(wanted: &Value, actual: &Value) -> bool {
    match (wanted, actual) {
        (Value::Object(wanted), Value::Object(actual)) => wanted.iter().all(|(key, value)| {
            is_empty(value) || actual.get(key).is_some_and(|there| is_within(value, there))
        }),
        (Value::Array(wanted), Value::Array(actual)) => {
            wanted.iter().all(|value| actual.iter().any(|there| is_within(value, there)))
        }
        _ => is_equal_or_empty(wanted, actual) || (is_empty(wanted) && !actual.is_array()),
    }
}

/// Tells whether a volume of ours is there that is not wanted any more.
fn has_left_over(wanted: &Value, actual: &Value) -> bool {
    let names = |volumes: &Value| -> Vec<String> {
        let volumes = volumes.as_array().cloned().unwrap_or_default();
        volumes.iter().filter_map(|volume| volume["name"].as_str().map(Into::into)).collect()
    };
    let wanted = names(wanted);
    names(actual)
        .iter()
        .any(|name| (OURS.contains(&name.as_str()) || name.starts_with("u-")) && !wanted.contains(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(change: impl FnOnce(&mut Value)) -> Job {
        let mut job = json!({"spec": {"template": {
            "metadata": {"labels": {"app.kubernetes.io/created-by": "volsync"}},
            "spec": {
                "containers": [{
                    "name": "kopia", "image": "i", "args": ["backup"],
                    "env": [{"name": "A", "value": "1"}],
                    "resources": {},
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "c"}},
                            {"name": "custom-ca", "secret": {"secretName": "s"}}],
                "securityContext": {},
                "serviceAccountName": "a",
            },
        }}});
        change(&mut job);
        serde_json::from_value(job).expect("a Job")
    }

    fn check(expected: bool, change: impl FnOnce(&mut Value)) {
        assert_eq!(is_same(&job(|_| {}), &job(change)), expected);
    }

    #[test]
    fn what_admission_and_defaulting_add_is_no_difference() {
        check(true, |_| {});
        check(true, |job| {
            job["spec"]["template"]["spec"]["volumes"][1]["secret"]["defaultMode"] = json!(420);
        });
        check(true, |job| {
            let spec = &mut job["spec"]["template"]["spec"];
            let nfs = json!({"name": "repository", "nfs": {"server": "n", "path": "/"}});
            spec["volumes"].as_array_mut().expect("a list").push(nfs);
            let mount = json!({"name": "repository", "mountPath": "/repository"});
            spec["containers"][0]["volumeMounts"].as_array_mut().expect("a list").push(mount);
            spec["initContainers"] = json!([{"name": "jitter"}]);
            spec["dnsPolicy"] = json!("ClusterFirst");
        });
        check(true, |job| job["spec"]["template"]["metadata"]["labels"]["job-name"] = json!("j"));
    }

    #[test]
    fn what_the_manifest_changes_is_a_difference() {
        check(false, |job| job["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = json!("2"));
        check(false, |job| {
            job["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "1"}});
        });
        check(false, |job| job["spec"]["template"]["spec"]["securityContext"] = json!({"runAsUser": 1}));
        check(false, |job| {
            job["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] = json!("d");
        });
        check(false, |job| {
            let extra = json!({"name": "u-old", "nfs": {"server": "n", "path": "/"}});
            job["spec"]["template"]["spec"]["volumes"].as_array_mut().expect("a list").push(extra);
        });
    }
}
