//! What an operator sees: results, conditions, events, logs, metrics.

use json::Value;
use scenario::{Name, ObjectRef, expect::RunResult, fields::Fields};

use super::{Failure, Stage, Told, cluster::job_names, replication::explain};

impl Stage {
    pub(super) fn expect_last_run(&mut self, of: &ObjectRef, result: RunResult) -> Told {
        let object = self.must_get(of)?;
        let seen =
            object.pointer("/status/latestMoverStatus/result").and_then(Value::as_str).unwrap_or("absent");
        let wanted = match result {
            RunResult::Successful => "Successful",
            RunResult::Failed => "Failed",
        };
        if seen == wanted {
            return Ok(String::new());
        }
        Err(Failure::violated(format!(
            "the last run of {of} is {seen} instead of {wanted}: {}",
            explain(&object)
        )))
    }

    pub(super) fn expect_job_failed(&mut self, of: &Name) -> Told {
        let jobs = job_names(of);
        let failed = self.scribe().ask(|book| {
            let failed = book.failed_jobs.get(of.namespace()).map_or(&[][..], Vec::as_slice);
            failed
                .iter()
                .filter(|(name, _)| jobs.iter().any(|job| name.starts_with(job.as_str())))
                .cloned()
                .collect::<Vec<_>>()
        });
        match failed.last() {
            Some((name, what)) => Ok(format!("{name} {what}")),
            None => Err(Failure::violated(format!("no Job of {of} has failed"))),
        }
    }

    pub(super) fn expect_mover_log(&mut self, of: &ObjectRef, contains: &str) -> Told {
        let status = self
            .get(of)
            .and_then(|object| Some(object.pointer("/status/latestMoverStatus/logs")?.as_str()?.to_owned()));
        if let Some(line) = status.as_deref().unwrap_or_default().lines().find(|line| line.contains(contains))
        {
            return Ok(line.to_owned());
        }
        let jobs = job_names(&of.name);
        let line = self.scribe().ask(|book| {
            let pods = book.logs.iter().filter(|((namespace, pod), _)| {
                namespace == of.name.namespace() && jobs.iter().any(|job| pod.starts_with(job.as_str()))
            });
            pods.flat_map(|(_, lines)| lines).find(|line| line.contains(contains)).cloned()
        });
        line.ok_or_else(|| Failure::violated(format!("no log of a mover of {of} says {contains:?}")))
    }

    fn latest_image(&self, destination: &Name) -> Result<Option<String>, Failure> {
        let object = self.must_get_kind("ReplicationDestination", destination)?;
        Ok(object.pointer("/status/latestImage/name").and_then(Value::as_str).map(str::to_owned))
    }

    pub(super) fn expect_latest_image(&mut self, destination: &Name, present: bool) -> Told {
        let seen = self.latest_image(destination)?;
        match (&seen, present) {
            (Some(image), true) => Ok(image.clone()),
            (None, false) => Ok(String::new()),
            (Some(image), false) => Err(Failure::violated(format!("{destination} offers the image {image}"))),
            (None, true) => {
                let object = self.must_get_kind("ReplicationDestination", destination)?;
                Err(Failure::violated(format!("{destination} offers no image: {}", explain(&object))))
            }
        }
    }

    pub(super) fn expect_nothing_restored(&mut self, destination: &Name) -> Told {
        if let Some(image) = self.latest_image(destination)? {
            return Err(Failure::violated(format!(
                "{destination} calls nothing restored, but offers the image {image}"
            )));
        }
        let object = self.must_get_kind("ReplicationDestination", destination)?;
        let result =
            object.pointer("/status/latestMoverStatus/result").and_then(Value::as_str).unwrap_or("absent");
        let says_so = object.to_string().to_lowercase().contains("nothing restored");
        if result == "Successful" && !says_so {
            return Err(Failure::violated(format!(
                "{destination} reports {result} although nothing was restored: {}",
                explain(&object)
            )));
        }
        Ok(explain(&object))
    }

    pub(super) fn expect_condition(
        &mut self,
        object: &ObjectRef,
        class: Option<&str>,
        contains: &str,
    ) -> Told {
        let found = self.must_get(object)?;
        let empty = json::List::default();
        let conditions = found.pointer("/status/conditions").and_then(Value::as_array).unwrap_or(&empty);
        let words = |condition: &Value| {
            let text = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
            format!("{}={} {}: {}", text("type"), text("status"), text("reason"), text("message"))
        };
        let fitting = conditions.iter().find(|condition| {
            class.is_none_or(|class| condition["type"] == class) && words(condition).contains(contains)
        });
        match fitting {
            Some(condition) => Ok(words(condition)),
            None => Err(Failure::violated(format!(
                "no condition of {object} says {contains:?}: {}",
                explain(&found)
            ))),
        }
    }

    pub(super) fn expect_event(&mut self, object: &ObjectRef, class: Option<&str>, contains: &str) -> Told {
        if self.scribe().ask(|book| book.has_event(object, class, contains)) {
            return Ok(String::new());
        }
        let wanted = format!("{}/{}", object.kind, object.name.name());
        let seen = self.scribe().ask(|book| {
            let seen = book
                .events
                .iter()
                .filter(|seen| seen.object == wanted)
                .map(|seen| format!("{} {}", seen.class, seen.text));
            seen.collect::<Vec<_>>()
        });
        let seen = if seen.is_empty() {
            "there were none".to_owned()
        } else {
            format!("there were: {}", seen.join("; "))
        };
        Err(Failure::violated(format!("no event of {object} says {contains:?}; {seen}")))
    }

    pub(super) fn expect_metric(&mut self, name: &str, labels: &Fields, value: &Value) -> Told {
        let text = self.bed().metrics()?;
        let wanted = value
            .as_f64()
            .ok_or_else(|| Failure::broken(format!("{value} is no number, so no metric has it")))?;
        let lines: Vec<_> = text.lines().filter(|line| fits(line, name, labels)).collect();
        let Some(line) = lines.first() else {
            return Err(Failure::violated(format!("there is no metric {name} with these labels")));
        };
        let seen: f64 = line.rsplit(' ').next().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
        if (seen - wanted).abs() < 1e-9 {
            Ok((*line).to_owned())
        } else {
            Err(Failure::violated(format!("{line}, instead of {wanted}")))
        }
    }

    pub(super) fn expect_overdue(&mut self, source: &Name, overdue: bool) -> Told {
        let labels = Fields::new().with("obj_name", source.name()).with("obj_namespace", source.namespace());
        let value = Value::from(u32::from(overdue));
        self.expect_metric("volsync_volume_out_of_sync", &labels, &value)
    }
}

/// Whether a line of a metrics page is a sample of this name with these labels.
fn fits(line: &str, name: &str, labels: &Fields) -> bool {
    let (head, rest) = line.split_once(['{', ' ']).unwrap_or((line, ""));
    head == name
        && labels.iter().all(|(key, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            rest.contains(&format!("{key}=\"{value}\""))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_found_by_name_and_labels() {
        let line = r#"volsync_volume_out_of_sync{obj_name="app",role="source"} 1"#;
        for (name, labels, expected) in [
            ("volsync_volume_out_of_sync", Fields::new(), true),
            ("volsync_volume_out_of_sync", Fields::new().with("obj_name", "app"), true),
            ("volsync_volume_out_of_sync", Fields::new().with("obj_name", "other"), false),
            ("volsync_volume_out", Fields::new(), false),
        ] {
            assert_eq!(fits(line, name, &labels), expected, "{name} {labels:?}");
        }
    }
}
