//! Saboteurs that change what the controller writes to the API.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use apiserver::{Admission, Attributes, Failure, Operation};
use json::{Value, json};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of a forger's lock panics")
}

/// Points every volume snapshot of the controller at another claim of its namespace.
#[derive(Default)]
pub struct WrongClaim {
    claims: Mutex<BTreeMap<String, Vec<String>>>,
}

impl Admission for WrongClaim {
    fn mutate(&self, attributes: &Attributes<'_>, object: &mut Value) -> Result<(), Failure> {
        if attributes.operation != Operation::Create {
            return Ok(());
        }
        let mut claims = lock(&self.claims);
        let known = claims.entry(attributes.namespace.to_owned()).or_default();
        let is_controller = attributes.caller == "controller";
        match attributes.kind {
            // Only the users' own claims: the controller's temporaries come and go.
            "PersistentVolumeClaim"
                if !is_controller && !known.iter().any(|name| name == attributes.name) =>
            {
                known.push(attributes.name.to_owned());
            }
            "VolumeSnapshot" if is_controller && attributes.name.ends_with("-src") => {
                let source = &mut object["spec"]["source"]["persistentVolumeClaimName"];
                if let Some(other) = known.iter().find(|name| source.as_str() != Some(name.as_str())) {
                    *source = json!(other);
                }
            }
            _ => {}
        }
        Ok(())
    }
    fn validate(&self, _: &Attributes<'_>, _: &Value) -> Result<(), Failure> {
        Ok(())
    }
}

/// Writes the first image of every destination into its status for ever, and keeps that image alive.
#[derive(Default)]
pub struct StaleImage {
    first: Mutex<BTreeMap<(String, String), Value>>,
}

impl Admission for StaleImage {
    fn mutate(&self, attributes: &Attributes<'_>, object: &mut Value) -> Result<(), Failure> {
        if attributes.caller != "controller" {
            return Ok(());
        }
        match attributes.kind {
            "VolumeSnapshot"
                if attributes.operation == Operation::Create && !attributes.name.ends_with("-src") =>
            {
                object["metadata"]["labels"]["volsync.backube/do-not-delete"] = json!("stale");
            }
            "ReplicationDestination"
                if attributes.subresource == "status" && object["status"]["latestImage"].is_object() =>
            {
                let image = &mut object["status"]["latestImage"];
                let at = (attributes.namespace.to_owned(), attributes.name.to_owned());
                let kept = lock(&self.first).entry(at).or_insert_with(|| image.clone()).clone();
                *image = kept;
            }
            _ => {}
        }
        Ok(())
    }
    fn validate(&self, _: &Attributes<'_>, _: &Value) -> Result<(), Failure> {
        Ok(())
    }
}
