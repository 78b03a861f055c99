//! Jobs and cron jobs.

use json::{Value, json};

use super::pod;
use crate::access::{self, at, copy, default, map_mut, number, set, text};
use crate::failure::Cause;

/// Labels that name the job of a pod: current spelling and the older one.
const UID_LABELS: [&str; 2] = ["batch.kubernetes.io/controller-uid", "controller-uid"];
const NAME_LABELS: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];

/// Defaults of a job.
pub(super) fn default_job(job: &mut Value) {
    default_job_spec(job, &["spec"]);
    default_labels(job);
    if let Some(spec) = job.get_mut("spec").filter(|spec| spec.is_object()) {
        let has_no_counts = at(spec, &["completions"]).is_none() && at(spec, &["parallelism"]).is_none();
        if has_no_counts {
            set(spec, &["completions"], 1);
        }
        default(spec, &["parallelism"], 1);
        let is_indexed_backoff = at(spec, &["backoffLimitPerIndex"]).is_some();
        default(spec, &["backoffLimit"], if is_indexed_backoff { 2_147_483_647 } else { 6 });
        default(spec, &["completionMode"], "NonIndexed");
        default(spec, &["suspend"], false);
        default(spec, &["manualSelector"], false);
        let has_failure_policy = at(spec, &["podFailurePolicy"]).is_some();
        default(
            spec,
            &["podReplacementPolicy"],
            if has_failure_policy { "Failed" } else { "TerminatingOrFailed" },
        );
    }
}

/// The template's labels stand in for missing labels of the job.
fn default_labels(job: &mut Value) {
    if shares_labels(job) {
        copy_labels(job);
    }
}

fn default_job_spec(object: &mut Value, path: &[&str]) {
    let Some(spec) = access::at_mut(object, path).filter(|spec| spec.is_object()) else { return };
    pod::default_spec(spec, &["template", "spec"]);
    default(spec, &["template", "metadata"], json!({}));
}

/// Defaults of a cron job. The defaults of its job template are those of a template, not of a job.
pub(super) fn default_cron_job(cron_job: &mut Value) {
    default_job_spec(cron_job, &["spec", "jobTemplate", "spec"]);
    let Some(spec) = cron_job.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    default(spec, &["concurrencyPolicy"], "Allow");
    default(spec, &["suspend"], false);
    default(spec, &["successfulJobsHistoryLimit"], 3);
    default(spec, &["failedJobsHistoryLimit"], 1);
    default(spec, &["jobTemplate", "metadata"], json!({}));
}

/// Gives a new job its selector and the labels that its pods carry.
pub(super) fn label_job(job: &mut Value, shares_labels: bool) {
    if at(job, &["spec", "manualSelector"]) == Some(&json!(true)) {
        return;
    }
    let uid = access::uid(job).to_owned();
    let name = access::name(job).to_owned();
    if let Some(labels) = map_mut(job, &["spec", "template", "metadata", "labels"]) {
        for label in UID_LABELS {
            labels.insert(label.to_owned(), json!(uid));
        }
        for label in NAME_LABELS {
            labels.insert(label.to_owned(), json!(name));
        }
    }
    if let Some(labels) = map_mut(job, &["spec", "selector", "matchLabels"]) {
        labels.insert(UID_LABELS[0].to_owned(), json!(uid));
    }
    // The real server's defaulting makes both label maps one and the same, so that labels which it puts
    // into the template later show up on the job.
    if shares_labels {
        copy_labels(job);
    }
}

/// Whether a job without labels is about to take over those of its template.
pub(super) fn shares_labels(job: &Value) -> bool {
    at(job, &["metadata", "labels"]).is_none_or(|labels| labels.as_object().is_none_or(|map| map.is_empty()))
}

fn copy_labels(job: &mut Value) {
    if let Some(labels) = at(job, &["spec", "template", "metadata", "labels"]).cloned() {
        set(job, &["metadata", "labels"], labels);
    }
}

/// Checks a job.
pub(super) fn validate_job(job: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = access::name(job);
    if name.len() > 63 {
        // The name becomes a label of the pods.
        causes.push(Cause::invalid(
            "spec.template.labels",
            &json!(name),
            "must be no more than 63 characters",
        ));
    }
    causes.extend(validate_job_spec(&job["spec"], "spec"));
    causes
}

fn validate_job_spec(spec: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    for field in
        ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"]
    {
        if let Some(value) = number(spec, &[field])
            && value < 0
        {
            causes.push(Cause::invalid(
                format!("{path}.{field}"),
                &json!(value),
                "must be greater than or equal to 0",
            ));
        }
    }
    let policy = text(spec, &["template", "spec", "restartPolicy"]);
    if policy == "Always" {
        // A pod that always restarts never completes.
        let supported = ["OnFailure".to_owned(), "Never".to_owned()];
        let field = format!("{path}.template.spec.restartPolicy");
        if at(spec, &["template", "spec"]).is_some() {
            causes.push(Cause::unsupported(field, &json!(policy), &supported));
        }
    }
    causes.extend(pod::validate_spec(
        at(spec, &["template", "spec"]).unwrap_or(&Value::Null),
        &format!("{path}.template.spec"),
    ));
    causes
}

/// Checks a cron job.
pub(super) fn validate_cron_job(cron_job: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let schedule = text(cron_job, &["spec", "schedule"]);
    if schedule.is_empty() {
        causes.push(Cause::required("spec.schedule", ""));
    } else if let Some(wrong) = schedule_error(schedule) {
        causes.push(Cause::invalid("spec.schedule", &json!(schedule), &wrong));
    }
    let policy = text(cron_job, &["spec", "concurrencyPolicy"]);
    if !matches!(policy, "Allow" | "Forbid" | "Replace") {
        let supported = ["Allow".to_owned(), "Forbid".to_owned(), "Replace".to_owned()];
        causes.push(Cause::unsupported("spec.concurrencyPolicy", &json!(policy), &supported));
    }
    let spec = at(cron_job, &["spec", "jobTemplate", "spec"]).unwrap_or(&Value::Null);
    causes.extend(validate_job_spec(spec, "spec.jobTemplate.spec"));
    causes
}

/// What robfig/cron's standard parser would say, for what people get wrong most.
fn schedule_error(schedule: &str) -> Option<String> {
    if let Some(word) = schedule.strip_prefix('@') {
        let is_known =
            matches!(word, "yearly" | "annually" | "monthly" | "weekly" | "daily" | "midnight" | "hourly")
                || word.starts_with("every ");
        return (!is_known).then(|| format!("unrecognized descriptor: {schedule}"));
    }
    let fields: Vec<&str> = schedule
        .split_whitespace()
        .filter(|field| !field.starts_with("TZ=") && !field.starts_with("CRON_TZ="))
        .collect();
    if fields.len() != 5 {
        return Some(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    let bounds = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)];
    let names = |field: &str| {
        [
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "sun", "mon",
            "tue", "wed", "thu", "fri", "sat",
        ]
        .contains(&field.to_lowercase().as_str())
    };
    for (field, (low, high)) in fields.iter().zip(bounds) {
        for part in field.split(',') {
            let (range, step) = part.split_once('/').unwrap_or((part, "1"));
            if step.parse::<u32>().is_err() {
                return Some(format!(
                    "failed to parse int from {step}: strconv.Atoi: parsing \"{step}\": invalid syntax"
                ));
            }
            if range == "*" || range == "?" {
                continue;
            }
            for end in range.split('-') {
                if names(end) {
                    continue;
                }
                match end.parse::<u32>() {
                    Err(_) => {
                        return Some(format!(
                            "failed to parse int from {end}: strconv.Atoi: parsing \"{end}\": invalid syntax"
                        ));
                    }
                    Ok(value) if value < low => {
                        return Some(format!("beginning of range ({value}) below minimum ({low}): {range}"));
                    }
                    Ok(value) if value > high => {
                        return Some(format!("end of range ({value}) above maximum ({high}): {range}"));
                    }
                    Ok(_) => {}
                }
            }
        }
    }
    None
}

/// Checks that a job's pod template and selector stay, except while it is suspended and never ran.
pub(super) fn validate_job_update(before: &Value, after: &Value) -> Vec<Cause> {
    let mut causes = validate_job(after);
    let is_pristine = at(before, &["spec", "suspend"]) == Some(&json!(true))
        && at(before, &["status", "startTime"]).is_none();
    let mut expected = at(before, &["spec", "template"]).cloned().unwrap_or_default();
    let found = at(after, &["spec", "template"]).cloned().unwrap_or_default();
    if is_pristine {
        // Scheduling directives may change before the first start.
        for path in [
            ["spec", "nodeSelector"],
            ["spec", "affinity"],
            ["spec", "tolerations"],
            ["spec", "schedulingGates"],
            ["metadata", "labels"],
            ["metadata", "annotations"],
        ] {
            copy(&found, &mut expected, &path);
        }
    }
    let immutable = |field: &str, value: &Value| Cause::invalid(field, value, "field is immutable");
    for field in [
        "completions",
        "completionMode",
        "selector",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "manualSelector",
    ] {
        let new = at(after, &["spec", field]);
        if new != at(before, &["spec", field]) && field != "manualSelector" {
            causes.push(immutable(&format!("spec.{field}"), new.unwrap_or(&Value::Null)));
        }
    }
    if found != expected {
        causes.push(immutable("spec.template", &found));
    }
    causes
}
