//! Checks of a KopiaMaintenance that its schema does not make, with the original's texts.
//!
//! Pure. Source: section 5.1 of the behaviour specification.
use std::collections::BTreeMap;

use api::KopiaMaintenanceSpec;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::cron::{Dialect, Schedule};
use crate::text::bytes;

/// What is wrong with a KopiaMaintenance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No repository Secret is named.
    #[error("repository.repository field is required")]
    Repository,
    /// A schedule and a manual tag at once.
    #[error("cannot specify both schedule and manual triggers")]
    TwoTriggers,
    /// `trigger.schedule` does not parse.
    #[error("invalid cron schedule format in trigger: {0}")]
    TriggerSchedule(crate::cron::Error),
    /// The deprecated `schedule` does not parse.
    #[error("invalid cron schedule format: {0}")]
    Schedule(crate::cron::Error),
    /// Resources are unreasonable.
    #[error("invalid resource requirements: {0}")]
    Resources(String),
    /// Extra volumes are wrong.
    #[error(transparent)]
    Volume(crate::obstacle::Obstacle),
}

/// The schedule in force.
pub fn schedule_text(spec: &KopiaMaintenanceSpec) -> &str {
    let wanted = spec.trigger.as_ref().and_then(|trigger| trigger.schedule.as_deref());
    wanted.filter(|text| !text.is_empty()).unwrap_or(if spec.schedule.is_empty() {
        "0 2 * * *"
    } else {
        &spec.schedule
    })
}

/// The manual tag, if one is set.
pub fn manual_tag(spec: &KopiaMaintenanceSpec) -> Option<&str> {
    spec.trigger.as_ref()?.manual.as_deref().filter(|tag| !tag.is_empty())
}

/// Checks a specification.
pub fn check(spec: &KopiaMaintenanceSpec) -> Result<(), Error> {
    if spec.repository.repository.is_empty() {
        return Err(Error::Repository);
    }
    let triggered =
        spec.trigger.as_ref().and_then(|trigger| trigger.schedule.as_deref()).filter(|text| !text.is_empty());
    if triggered.is_some() && manual_tag(spec).is_some() {
        return Err(Error::TwoTriggers);
    }
    if let Some(text) = triggered {
        Schedule::parse(text, Dialect::FieldsOnly).map_err(Error::TriggerSchedule)?;
    }
    if !spec.schedule.is_empty() {
        Schedule::parse(&spec.schedule, Dialect::FieldsOnly).map_err(Error::Schedule)?;
    }
    resources(spec).map_err(Error::Resources)?;
    for volume in spec.mover_volumes.iter().flatten() {
        crate::plan::prerequisite::mount_path(volume).map_err(Error::Volume)?;
    }
    Ok(())
}

/// 100 GiB, the most memory that may be asked for.
const MEMORY_MAX: i64 = 100 << 30;
/// 32 cores, in thousandths.
const CPU_MAX: i64 = 32_000;

/// Reads a CPU quantity in thousandths of a core.
fn millis(quantity: &Quantity) -> Option<i64> {
    match quantity.0.strip_suffix('m') {
        Some(millis) => millis.parse().ok(),
        None => quantity.0.parse::<f64>().ok().map(|cores| (cores * 1000.0) as i64),
    }
}

fn resources(spec: &KopiaMaintenanceSpec) -> Result<(), String> {
    let Some(resources) = &spec.resources else { return Ok(()) };
    let none = BTreeMap::new();
    let (limits, requests) =
        (resources.limits.as_ref().unwrap_or(&none), resources.requests.as_ref().unwrap_or(&none));
    let known =
        |name: &str| matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
    let (memory_limit, cpu_limit) =
        (limits.get("memory").and_then(bytes), limits.get("cpu").and_then(millis));
    if memory_limit.is_some_and(|limit| limit <= 0) {
        return Err("memory limit must be positive".into());
    }
    if memory_limit.is_some_and(|limit| limit > MEMORY_MAX) {
        return Err("memory limit exceeds maximum allowed (100Gi)".into());
    }
    if cpu_limit.is_some_and(|limit| limit <= 0) {
        return Err("CPU limit must be positive".into());
    }
    if cpu_limit.is_some_and(|limit| limit > CPU_MAX) {
        return Err("CPU limit exceeds maximum allowed (32 cores)".into());
    }
    let (memory, cpu) = (requests.get("memory").and_then(bytes), requests.get("cpu").and_then(millis));
    if memory.is_some_and(|request| request <= 0) {
        return Err("memory request must be positive".into());
    }
    if memory.zip(memory_limit).is_some_and(|(request, limit)| request > limit) {
        return Err("memory request exceeds memory limit".into());
    }
    if cpu.is_some_and(|request| request <= 0) {
        return Err("CPU request must be positive".into());
    }
    if cpu.zip(cpu_limit).is_some_and(|(request, limit)| request > limit) {
        return Err("CPU request exceeds CPU limit".into());
    }
    if let Some(name) = limits.keys().find(|name| !known(name)) {
        return Err(format!("unsupported resource limit: {name}"));
    }
    match requests.keys().find(|name| !known(name)) {
        Some(name) => Err(format!("unsupported resource request: {name}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "rows are written in place")]
    fn check_spec(change: Value, expected: &str) {
        let mut spec = json!({"repository": {"repository": "repo"}});
        spec.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        let spec = serde_json::from_value(spec).expect("a specification");
        assert_eq!(check(&spec).err().map(|error| error.to_string()).unwrap_or_default(), expected);
    }

    #[test]
    fn texts_are_the_original_s() {
        check_spec(json!({}), "");
        check_spec(json!({"trigger": {"schedule": "*/1 * * * *"}}), "");
        check_spec(json!({"repository": {"repository": ""}}), "repository.repository field is required");
        check_spec(
            json!({"trigger": {"schedule": "0 2 * * *", "manual": "now"}}),
            "cannot specify both schedule and manual triggers",
        );
        check_spec(
            json!({"trigger": {"schedule": "@daily"}}),
            "invalid cron schedule format in trigger: parser does not accept descriptors: @daily",
        );
        check_spec(
            json!({"schedule": "1 2"}),
            "invalid cron schedule format: expected exactly 5 fields, found 2: [1 2]",
        );
        let resources =
            |limits: Value, requests: Value| json!({"resources": {"limits": limits, "requests": requests}});
        check_spec(
            resources(json!({"memory": "101Gi"}), json!({})),
            "invalid resource requirements: memory limit exceeds maximum allowed (100Gi)",
        );
        check_spec(
            resources(json!({"cpu": "1"}), json!({"cpu": "1500m"})),
            "invalid resource requirements: CPU request exceeds CPU limit",
        );
        check_spec(
            resources(json!({"nvidia.com/gpu": "1"}), json!({})),
            "invalid resource requirements: unsupported resource limit: nvidia.com/gpu",
        );
    }

    #[test]
    fn schedules_have_an_order() {
        let of = |value: Value| -> KopiaMaintenanceSpec {
            serde_json::from_value(value).expect("a specification")
        };
        let plain = of(json!({"repository": {"repository": "r"}}));
        assert_eq!(schedule_text(&plain), "0 2 * * *");
        let both = of(
            json!({"repository": {"repository": "r"}, "schedule": "1 1 * * *", "trigger": {"schedule": "2 2 * * *"}}),
        );
        assert_eq!(schedule_text(&both), "2 2 * * *");
    }
}
