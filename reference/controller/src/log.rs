//! What a controller keeps of a mover's log, and what it reads out of it.
//!
//! Pure. Source: section 2.7 of the behaviour specification ("log capture", "discovery parsing").
use std::collections::BTreeMap;

use api::crd::AvailableIdentity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize;

use crate::subject::Role;
use crate::text::tail;

/// Words that keep a line of a restore's log, in any case.
const TROUBLE: [&str; 3] = ["error", "failed", "unable to"];
/// Words that keep a line of a restore's log, as they are.
const LANDMARKS: [&str; 7] = [
    "=== Discovery Mode",
    "Available Snapshots",
    "No snapshots found",
    "Snapshot created successfully",
    "Snapshot restore completed",
    "Repository connected",
    "No eligible snapshots",
];

/// Keeps what the status shows of a log: for a destination only telling lines, and of those the end.
pub fn kept(role: Role, log: &str, bytes_max: usize) -> String {
    let lines = log.lines().filter(|line| role == Role::Source || is_telling(line));
    let joined = lines.collect::<Vec<_>>().join("\n");
    tail(&joined, bytes_max).to_owned()
}

fn is_telling(line: &str) -> bool {
    let lower = line.to_lowercase();
    TROUBLE.iter().any(|word| lower.contains(word))
        || LANDMARKS.iter().any(|word| line.contains(word))
        || (line.contains("\"userName\"") && line.contains("\"hostName\""))
        || is_snapshot_line(line)
}

/// `user@host:path … YYYY-MM-DD`.
fn is_snapshot_line(line: &str) -> bool {
    let Some((_, rest)) = line.split_once('@') else { return false };
    let Some((_, rest)) = rest.split_once(':') else { return false };
    rest.as_bytes().windows(10).any(|window| {
        window
            .iter()
            .enumerate()
            .all(|(at, byte)| if matches!(at, 4 | 7) { *byte == b'-' } else { byte.is_ascii_digit() })
    })
}

/// What a failed restore's log says about the repository.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Discovery {
    /// The identity that was looked for, `user@host`.
    pub requested: Option<String>,
    /// The identities that are there, sorted.
    pub available: Vec<AvailableIdentity>,
}

impl Discovery {
    /// The sentence that goes before the log when alternatives are known.
    pub fn sentence(&self) -> Option<String> {
        let requested = self.requested.as_ref()?;
        if self.available.is_empty() {
            return None;
        }
        let names: Vec<&str> = self.available.iter().map(|one| one.identity.as_str()).collect();
        Some(format!(
            "No snapshots found for identity '{requested}'. Available identities: {}",
            names.join(", ")
        ))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SnapshotLine {
    user_name: String,
    host_name: String,
    end_time: Option<jiff::Timestamp>,
}

/// Reads the discovery block of a log.
pub fn discovery(log: &str) -> Discovery {
    let mut found = Discovery::default();
    let mut by_identity: BTreeMap<String, (i32, Option<jiff::Timestamp>)> = BTreeMap::new();
    let mut in_block = false;
    for line in log.lines() {
        for (before, end) in
            [("No snapshots found for ", ':'), ("unable to find snapshots for source \"", ':')]
        {
            if let Some((_, rest)) = line.split_once(before)
                && let Some((identity, _)) = rest.split_once(end)
                && identity.contains('@')
            {
                found.requested = Some(identity.to_owned());
            }
        }
        if line.contains("=== Discovery Mode") {
            in_block = true;
        } else if in_block && let Ok(snapshot) = serde_json::from_str::<SnapshotLine>(line.trim()) {
            let entry =
                by_identity.entry(format!("{}@{}", snapshot.user_name, snapshot.host_name)).or_default();
            entry.0 += 1;
            entry.1 = entry.1.max(snapshot.end_time);
        }
    }
    found.available = by_identity
        .into_iter()
        .map(|(identity, (snapshot_count, latest))| AvailableIdentity {
            identity,
            snapshot_count,
            latest_snapshot: latest.map(Time),
        })
        .collect();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_keeps_every_line_and_a_restore_the_telling_ones() {
        let log = "Starting kopia mover container\nINFO: Snapshot restore completed successfully\nfine\nERROR: no\n\
                   app@t1:/data - Last snapshot: 2026-01-01\n{\"userName\":\"a\",\"hostName\":\"b\"}";
        assert_eq!(kept(Role::Source, log, 1024), log);
        assert_eq!(
            kept(Role::Destination, log, 1024),
            "INFO: Snapshot restore completed successfully\nERROR: no\napp@t1:/data - Last snapshot: 2026-01-01\n\
             {\"userName\":\"a\",\"hostName\":\"b\"}"
        );
        assert_eq!(kept(Role::Source, log, 5), ":\"b\"}");
    }

    #[test]
    fn discovery_groups_snapshots_by_identity() {
        let log = "No snapshots found for app@t1:/data\n=== Discovery Mode: Available Snapshots ===\n\
            {\"id\":\"1\",\"userName\":\"web\",\"hostName\":\"t1\",\"path\":\"/data\",\"startTime\":\"2026-01-01T00:00:00Z\",\"endTime\":\"2026-01-01T00:00:01Z\"}\n\
            {\"id\":\"2\",\"userName\":\"web\",\"hostName\":\"t1\",\"path\":\"/data\",\"startTime\":\"2026-01-02T00:00:00Z\",\"endTime\":\"2026-01-02T00:00:01Z\"}\n\
            {\"id\":\"3\",\"userName\":\"db\",\"hostName\":\"t1\",\"path\":\"/data\",\"startTime\":\"2026-01-02T00:00:00Z\",\"endTime\":\"2026-01-02T00:00:01Z\"}\n\
            === End Discovery Mode ===";
        let found = discovery(log);
        let summary: Vec<_> =
            found.available.iter().map(|one| (one.identity.as_str(), one.snapshot_count)).collect();
        assert_eq!(summary, [("db@t1", 1), ("web@t1", 2)]);
        assert_eq!(
            found.sentence().as_deref(),
            Some("No snapshots found for identity 'app@t1'. Available identities: db@t1, web@t1")
        );
        assert_eq!(discovery("nothing of the kind"), Discovery::default());
    }
}
