//! Metrics, with the original's names and labels.
//!
//! One [`Metrics`] is shared by all reconcilers and printed by [`Metrics::text`], sorted, so that the same
//! history prints the same bytes. Knows no HTTP; the binary serves the text. Summaries hold every value of a
//! controller's life instead of the original's sliding day. Source: section 2.12 of the behaviour
//! specification.
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::SignedDuration;

/// Something to be counted about a replication object.
#[derive(Clone, Debug, PartialEq)]
pub enum Measure {
    /// Whether the volume is out of sync.
    OutOfSync(bool),
    /// A late sync completed.
    MissedInterval,
    /// A sync completed in time: the counter exists from then on.
    NoMissedInterval,
    /// How long a whole sync took.
    SyncDuration(SignedDuration),
    /// A mover succeeded.
    Success,
    /// A mover or its preparation failed, and why.
    Failure(&'static str),
    /// Whether the preparation of a mover went through.
    Connectivity(bool),
    /// A Job has lost pods.
    JobRetry,
    /// The cache, as configured.
    Cache {
        /// Its size.
        bytes: i64,
        /// Whether it is a claim.
        is_claim: bool,
    },
    /// A manifest is wrong in this way.
    ConfigurationError(&'static str),
}

/// What a measure is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Name of the object.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// `source` or `destination`.
    pub role: &'static str,
    /// `backup` or `restore`.
    pub operation: &'static str,
    /// The repository Secret.
    pub repository: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Number(f64),
    Summary(Vec<f64>),
}

type Series = BTreeMap<String, Value>;

/// The series of one controller.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    families: Arc<Mutex<BTreeMap<&'static str, Series>>>,
}

/// Name, type and help of every family.
const FAMILIES: [(&str, &str, &str); 14] = [
    ("volsync_kopia_cache_size_bytes", "gauge", "Current size of the Kopia cache in bytes"),
    ("volsync_kopia_cache_type", "gauge", "Cache type being used (1 for the active type, 0 for inactive)"),
    ("volsync_kopia_configuration_errors_total", "counter", "Total number of configuration errors"),
    ("volsync_kopia_job_retries_total", "counter", "Total number of job retries"),
    (
        "volsync_kopia_operation_failure_total",
        "counter",
        "Total number of failed Kopia operations with failure reason",
    ),
    ("volsync_kopia_operation_success_total", "counter", "Total number of successful Kopia operations"),
    (
        "volsync_kopia_repository_connectivity",
        "gauge",
        "Repository connectivity status (1 if connected, 0 if not)",
    ),
    ("volsync_kopia_snapshot_creation_failure_total", "counter", "Total number of failed snapshot creations"),
    (
        "volsync_kopia_snapshot_creation_success_total",
        "counter",
        "Total number of successful snapshot creations",
    ),
    (
        "volsync_missed_intervals_total",
        "counter",
        "The number of times a synchronization failed to complete before the next scheduled start",
    ),
    ("volsync_sync_duration_seconds", "summary", "Duration of the synchronization interval in seconds"),
    ("volsync_volume_out_of_sync", "gauge", "Set to 1 if the volume is not properly synchronized"),
    ("firedrill_maintenance_failures", "gauge", "Failed maintenance runs in a row"),
    ("firedrill_maintenance_owner_foreign", "gauge", "Set to 1 while maintenance belongs to somebody else"),
];

impl Metrics {
    /// Starts with no series.
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T>(&self, edit: impl FnOnce(&mut BTreeMap<&'static str, Series>) -> T) -> T {
        edit(&mut self.families.lock().unwrap_or_else(PoisonError::into_inner))
    }
    fn set(&self, family: &'static str, labels: String, value: f64) {
        self.with(|families| families.entry(family).or_default().insert(labels, Value::Number(value)));
    }
    fn add(&self, family: &'static str, labels: String, amount: f64) {
        self.with(|families| {
            let entry = families.entry(family).or_default().entry(labels).or_insert(Value::Number(0.0));
            if let Value::Number(number) = entry {
                *number += amount;
            }
        });
    }
    fn observe(&self, family: &'static str, labels: String, value: f64) {
        self.with(|families| {
            let entry =
                families.entry(family).or_default().entry(labels).or_insert(Value::Summary(Vec::new()));
            if let Value::Summary(values) = entry {
                values.push(value);
            }
        });
    }

    /// Counts one measure.
    pub fn count(&self, about: &About, measure: &Measure) {
        let general = labels(about, "", &[("method", "kopia")], false);
        let kopia = |operation: &str, extra: &[(&str, &str)]| labels(about, operation, extra, true);
        let is_backup = about.role == "source";
        match measure {
            Measure::OutOfSync(out) => self.set("volsync_volume_out_of_sync", general, f64::from(*out)),
            Measure::MissedInterval => self.add("volsync_missed_intervals_total", general, 1.0),
            Measure::NoMissedInterval => self.add("volsync_missed_intervals_total", general, 0.0),
            Measure::SyncDuration(duration) => {
                self.observe("volsync_sync_duration_seconds", general, duration.as_secs_f64());
            }
            Measure::Success => {
                self.add("volsync_kopia_operation_success_total", kopia(about.operation, &[]), 1.0);
                if is_backup {
                    self.add(
                        "volsync_kopia_snapshot_creation_success_total",
                        kopia(about.operation, &[]),
                        1.0,
                    );
                }
            }
            Measure::Failure(reason) => {
                let labels = kopia(about.operation, &[("failure_reason", reason)]);
                self.add("volsync_kopia_operation_failure_total", labels.clone(), 1.0);
                if is_backup {
                    self.add("volsync_kopia_snapshot_creation_failure_total", labels, 1.0);
                }
            }
            Measure::Connectivity(connected) => {
                self.set("volsync_kopia_repository_connectivity", kopia("", &[]), f64::from(*connected));
            }
            Measure::JobRetry => {
                let labels = kopia(about.operation, &[("retry_reason", "job_pod_failure")]);
                self.add("volsync_kopia_job_retries_total", labels, 1.0);
            }
            Measure::Cache { bytes, is_claim } => {
                self.set("volsync_kopia_cache_size_bytes", kopia("", &[]), *bytes as f64);
                for (type_, active) in [("pvc", *is_claim), ("emptydir", !*is_claim)] {
                    self.set(
                        "volsync_kopia_cache_type",
                        kopia("", &[("cache_type", type_)]),
                        f64::from(active),
                    );
                }
            }
            Measure::ConfigurationError(kind) => {
                self.add("volsync_kopia_configuration_errors_total", kopia("", &[("error_type", kind)]), 1.0);
            }
        }
    }

    /// Sets a gauge about a KopiaMaintenance.
    pub fn maintenance(&self, family: &'static str, namespace: &str, name: &str, value: f64) {
        let labels = format!("obj_name=\"{}\",obj_namespace=\"{}\"", escaped(name), escaped(namespace));
        self.set(family, labels, value);
    }

    /// Reads one number: of a gauge, a counter, or the count of a summary.
    ///
    /// `labels` may be any part of the series' labels; the first series that has all of them is read.
    pub fn value(&self, family: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.with(|families| {
            let series = families.get(family)?;
            let wanted: Vec<String> =
                labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
            series
                .iter()
                .find(|(known, _)| wanted.iter().all(|label| known.split(',').any(|one| one == label)))
                .map(|(_, value)| match value {
                    Value::Number(number) => *number,
                    Value::Summary(values) => values.len() as f64,
                })
        })
    }

    /// Forgets every series of an object that is gone (safe profile).
    pub fn forget(&self, role: &str, namespace: &str, name: &str) {
        let wanted = [
            format!("obj_name=\"{}\"", escaped(name)),
            format!("obj_namespace=\"{}\"", escaped(namespace)),
            format!("role=\"{role}\""),
        ];
        self.with(|families| {
            for series in families.values_mut() {
                series
                    .retain(|known, _| !wanted.iter().all(|label| known.split(',').any(|one| one == label)));
            }
        });
    }

    /// Prints all series in the text format of Prometheus.
    pub fn text(&self) -> String {
        let families = self.with(|families| families.clone());
        let mut text = String::new();
        let mut known = FAMILIES;
        known.sort_unstable();
        for (name, type_, help) in known {
            let Some(series) = families.get(name) else { continue };
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {type_}");
            for (labels, value) in series {
                match value {
                    Value::Number(number) => {
                        let _ = writeln!(text, "{name}{{{labels}}} {number}");
                    }
                    Value::Summary(values) => summary(&mut text, name, labels, values),
                }
            }
        }
        text
    }
}

fn summary(text: &mut String, name: &str, labels: &str, values: &[f64]) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    for (percent, quantile) in [(50, "0.5"), (90, "0.9"), (99, "0.99")] {
        let at = (sorted.len() * percent).div_ceil(100).max(1) - 1;
        let value = sorted.get(at).copied().unwrap_or(f64::NAN);
        let _ = writeln!(text, "{name}{{{labels},quantile=\"{quantile}\"}} {value}");
    }
    let _ = writeln!(text, "{name}_sum{{{labels}}} {}", values.iter().sum::<f64>());
    let _ = writeln!(text, "{name}_count{{{labels}}} {}", values.len());
}

/// Prints labels in the order of their names.
fn labels(about: &About, operation: &str, extra: &[(&str, &str)], is_kopia: bool) -> String {
    let mut all = BTreeMap::from([
        ("obj_name", about.name.as_str()),
        ("obj_namespace", &about.namespace),
        ("role", about.role),
    ]);
    if is_kopia {
        all.insert("operation", operation);
        all.insert("repository", &about.repository);
    }
    all.extend(extra.iter().copied());
    let all: Vec<String> = all.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
    all.join(",")
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about() -> About {
        About {
            name: "app".into(),
            namespace: "t1".into(),
            role: "source",
            operation: "backup",
            repository: "repo".into(),
        }
    }

    #[test]
    fn series_print_as_the_original_s() {
        let metrics = Metrics::new();
        metrics.count(&about(), &Measure::OutOfSync(true));
        metrics.count(&about(), &Measure::OutOfSync(false));
        metrics.count(&about(), &Measure::Success);
        metrics.count(&about(), &Measure::SyncDuration(SignedDuration::from_millis(1500)));
        let text = metrics.text();
        for line in [
            "# TYPE volsync_volume_out_of_sync gauge",
            "volsync_volume_out_of_sync{method=\"kopia\",obj_name=\"app\",obj_namespace=\"t1\",role=\"source\"} 0",
            "volsync_kopia_operation_success_total{obj_name=\"app\",obj_namespace=\"t1\",operation=\"backup\",repository=\"repo\",role=\"source\"} 1",
            "volsync_sync_duration_seconds{method=\"kopia\",obj_name=\"app\",obj_namespace=\"t1\",role=\"source\",quantile=\"0.9\"} 1.5",
            "volsync_sync_duration_seconds_count{method=\"kopia\",obj_name=\"app\",obj_namespace=\"t1\",role=\"source\"} 1",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\nis not in\n{text}");
        }
        assert_eq!(metrics.value("volsync_volume_out_of_sync", &[("obj_name", "app")]), Some(0.0));
        assert_eq!(metrics.value("volsync_volume_out_of_sync", &[("obj_name", "ap")]), None);
        metrics.forget("source", "t1", "app");
        assert_eq!(metrics.value("volsync_volume_out_of_sync", &[("obj_name", "app")]), None);
    }
}
