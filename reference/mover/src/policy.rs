//! Policies that a run sets: compression and retention of its identity, and the mounted global policy.
//!
//! A policy is edited, never replaced: values that somebody else set stay. The mounted file's keys are the
//! original's (`specs/volsync-behaviour.md` section 4.7); keys it does not honour are named, not guessed.
use contract::{ExitCode, Failure, request::Retain};
use engine::{Policy, PolicyTarget, Repository, Source};
use serde_json::Value;

use crate::{
    failure,
    run::{Draft, Run},
};

/// Names that `kopia policy set --compression` takes (0.22).
const COMPRESSORS: [&str; 18] = [
    "none",
    "deflate-best-compression",
    "deflate-best-speed",
    "deflate-default",
    "gzip",
    "gzip-best-compression",
    "gzip-best-speed",
    "pgzip",
    "pgzip-best-compression",
    "pgzip-best-speed",
    "s2-better",
    "s2-default",
    "s2-parallel-4",
    "s2-parallel-8",
    "zstd",
    "zstd-best-compression",
    "zstd-better-compression",
    "zstd-fastest",
];

/// Longest policy file that is read, in bytes (1 MiB, as the original).
const POLICY_BYTES_MAX: usize = 1 << 20;

async fn edit(
    repository: &Repository,
    target: &PolicyTarget,
    change: impl FnOnce(&mut Policy),
) -> Result<(), engine::Error> {
    let stored = repository.policy_of(target).await?;
    let mut policy = stored.clone().unwrap_or_default();
    change(&mut policy);
    if stored.as_ref() == Some(&policy) { Ok(()) } else { repository.set_policy(target, &policy).await }
}

/// Sets the compressor of the identity's path.
pub async fn set_compression(
    run: &Run<'_>,
    repository: &Repository,
    compressor: &str,
) -> Result<(), Failure> {
    run.log.line(&format!("INFO: Setting compression to {compressor}"));
    let refused = |failure: Failure| {
        run.log.line(&failure.message);
        Failure { message: format!("Failed to apply compression policy: {}", failure.message), ..failure }
    };
    if !COMPRESSORS.contains(&compressor) {
        return Err(refused(Failure::new(
            ExitCode::Misconfigured,
            format!("{compressor:?} is no compressor that Kopia knows"),
        )));
    }
    let target = PolicyTarget::Path(run.source());
    edit(repository, &target, |policy| policy.compression.compressor_name = Some(compressor.to_owned()))
        .await
        .map_err(|error| refused(failure::failure("set the compression policy", &error)))
}

/// Sets retention; a failure only warns, since the snapshot is stored.
///
/// The safe profile aims at the identity's own path, the original always at `/data` (its defect RET-7).
pub async fn set_retention(run: &Run<'_>, draft: &mut Draft, repository: &Repository, retain: &Retain) {
    let own = run.source();
    let source =
        if run.is_original() { Source::new(own.username, own.host, contract::pod::DATA_BACKUP) } else { own };
    run.log.line("=== Applying retention policy ===");
    run.log.line(&format!("Setting policy for {source}"));
    if retain.is_empty() {
        run.log.line("no changes specified");
        if run.is_original() {
            // Kopia calls an edit without changes an error.
            run.log.line("Warning: Failed to set retention policy, continuing with defaults");
        }
        return;
    }
    let values = [
        ("number of yearly backups to keep", retain.yearly),
        ("number of monthly backups to keep", retain.monthly),
        ("number of weekly backups to keep", retain.weekly),
        ("number of daily backups to keep", retain.daily),
        ("number of hourly backups to keep", retain.hourly),
        ("number of latest backups to keep", retain.latest),
    ];
    for (name, value) in values {
        if let Some(value) = value {
            run.log.line(&format!(" - setting \"{name}\" to {value}."));
        }
    }
    let result = edit(repository, &PolicyTarget::Path(source), |policy| {
        let keep = |stored: &mut Option<u32>, wanted: Option<i32>| {
            if let Some(wanted) = wanted {
                *stored = Some(u32::try_from(wanted).unwrap_or(0));
            }
        };
        let retention = &mut policy.retention;
        keep(&mut retention.keep_latest, retain.latest);
        keep(&mut retention.keep_hourly, retain.hourly);
        keep(&mut retention.keep_daily, retain.daily);
        keep(&mut retention.keep_weekly, retain.weekly);
        keep(&mut retention.keep_monthly, retain.monthly);
        keep(&mut retention.keep_annual, retain.yearly);
    })
    .await;
    match result {
        Ok(()) => run.log.line("Retention policy applied successfully"),
        Err(error) => {
            run.log.line("Warning: Failed to set retention policy, continuing with defaults");
            draft.warnings.push(failure::failure("set the retention policy", &error).message);
        }
    }
}

/// Applies the mounted global policy; failures only warn, as in the original.
pub async fn apply_global(run: &Run<'_>, draft: &mut Draft, repository: &Repository) {
    let Some(files) = &run.request.policy_files else { return };
    let document = match (run.doors.read_file)(&files.global_policy) {
        Ok(bytes) if bytes.len() > POLICY_BYTES_MAX => {
            return run.warn(draft, "the global policy file is over 1 MiB and was skipped");
        }
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => {
            return run.warn(
                draft,
                &format!("the global policy file {} cannot be read: {error}", files.global_policy),
            );
        }
    };
    let Ok(document) = serde_json::from_slice::<Value>(&document) else {
        return run.warn(draft, "the global policy file is not valid JSON and was skipped");
    };
    let (change, ignored) = global(&document);
    if !ignored.is_empty() {
        run.warn(
            draft,
            &format!("keys of the global policy file that are not honoured: {}", ignored.join(", ")),
        );
    }
    match edit(repository, &PolicyTarget::Global, |policy| change.apply(policy)).await {
        Ok(()) => run.log.line("INFO: Global policy applied"),
        Err(error) => run.warn(draft, &failure::failure("set the global policy", &error).message),
    }
}

/// What a policy file changes.
#[derive(Debug, Default, PartialEq)]
struct GlobalChange {
    hourly: Option<u32>,
    daily: Option<u32>,
    weekly: Option<u32>,
    monthly: Option<u32>,
    yearly: Option<u32>,
    compressor: Option<String>,
}

impl GlobalChange {
    fn apply(self, policy: &mut Policy) {
        let retention = &mut policy.retention;
        retention.keep_hourly = self.hourly.or(retention.keep_hourly);
        retention.keep_daily = self.daily.or(retention.keep_daily);
        retention.keep_weekly = self.weekly.or(retention.keep_weekly);
        retention.keep_monthly = self.monthly.or(retention.keep_monthly);
        retention.keep_annual = self.yearly.or(retention.keep_annual);
        policy.compression.compressor_name = self.compressor.or(policy.compression.compressor_name.take());
    }
}

/// Reads the honoured keys; the others are returned by name.
fn global(document: &Value) -> (GlobalChange, Vec<String>) {
    let mut change = GlobalChange::default();
    let mut ignored = Vec::new();
    for (group, keys) in document.as_object().into_iter().flatten() {
        for (key, value) in keys.as_object().into_iter().flatten() {
            let number = || value.as_u64().and_then(|number| u32::try_from(number).ok());
            match (group.as_str(), key.as_str(), number()) {
                ("retention", "keepHourly", Some(keep)) => change.hourly = Some(keep),
                ("retention", "keepDaily", Some(keep)) => change.daily = Some(keep),
                ("retention", "keepWeekly", Some(keep)) => change.weekly = Some(keep),
                ("retention", "keepMonthly", Some(keep)) => change.monthly = Some(keep),
                ("retention", "keepYearly", Some(keep)) => change.yearly = Some(keep),
                ("compression", "compressor", _)
                    if value.as_str().is_some_and(|name| COMPRESSORS.contains(&name)) =>
                {
                    change.compressor = value.as_str().map(str::to_owned);
                }
                _ => ignored.push(format!("{group}.{key}")),
            }
        }
    }
    (change, ignored)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn honoured_keys_are_read_and_others_named() {
        let (change, ignored) = global(&json!({
            "retention": {"keepDaily": 3, "keepYearly": 1, "keepLatest": 9},
            "compression": {"compressor": "zstd"},
            "scheduling": {"interval": "1h"},
        }));
        assert_eq!(
            (change.daily, change.yearly, change.compressor.as_deref()),
            (Some(3), Some(1), Some("zstd"))
        );
        assert_eq!(ignored, ["retention.keepLatest", "scheduling.interval"]);
    }

    #[test]
    fn what_the_file_leaves_out_stays() {
        let mut policy = Policy::default();
        policy.retention.keep_daily = Some(7);
        policy.compression.compressor_name = Some("none".into());
        global(&json!({"retention": {"keepHourly": 2}})).0.apply(&mut policy);
        assert_eq!((policy.retention.keep_hourly, policy.retention.keep_daily), (Some(2), Some(7)));
        assert_eq!(policy.compression.compressor_name.as_deref(), Some("none"));
    }
}
