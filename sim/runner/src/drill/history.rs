//! What the record tells about syncs: when each began and ended, and what failed.
//!
//! Promises facts of the record only; nothing is derived from what the controller promised. Pure.

use std::time::Duration;

use jiff::Timestamp;
use testbed::record::{Event, What};

/// The syncs of one replication source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Completed syncs: begin and end.
    pub syncs: Vec<(Timestamp, Timestamp)>,
    /// Mover Jobs or pods that failed.
    pub failures: u32,
}

impl History {
    /// Reads the syncs of `namespace/name`; a Job of it is named after it.
    pub fn of(events: &[Event], namespace: &str, name: &str) -> Self {
        let mut history = Self::default();
        let mut started: Option<Timestamp> = None;
        let job = format!("volsync-src-{name}");
        for event in events {
            match &event.what {
                What::ApiWrite { object_kind, namespace: space, name: object, fields, .. }
                    if object_kind == "ReplicationSource" && space == namespace && object == name =>
                {
                    let time = |field: &str| {
                        fields.get(field).and_then(|value| value.as_str()?.parse::<Timestamp>().ok())
                    };
                    if let Some(start) = time("status.lastSyncStartTime") {
                        // Kubernetes keeps whole seconds: the write itself is the better witness.
                        if started.is_none() {
                            started = Some(start.min(event.at));
                        }
                    } else if let (Some(begin), Some(_)) = (started, time("status.lastSyncTime")) {
                        history.syncs.push((begin, event.at));
                        started = None;
                    }
                }
                What::Job { namespace: space, name: object, operation, .. }
                    if space == namespace && *object == job && operation == "failed" =>
                {
                    history.failures += 1;
                }
                What::Pod { namespace: space, name: object, operation, detail }
                    if space == namespace
                        && object.starts_with(&job)
                        && operation == "terminated"
                        && !detail.starts_with('0')
                        && !detail.contains("exit 0")
                        && !detail.contains("code 0") =>
                {
                    history.failures += u32::from(detail.contains(|c: char| c.is_ascii_digit()));
                }
                _ => {}
            }
        }
        history
    }

    /// The longest time without a fresh copy between `from` and `to`.
    pub fn worst_gap(&self, from: Timestamp, to: Timestamp) -> Duration {
        let mut worst = Duration::ZERO;
        let mut last = from;
        for moment in self
            .syncs
            .iter()
            .filter(|(begin, end)| *begin >= from && *end <= to)
            .map(|(begin, _)| *begin)
            .chain([to])
        {
            worst = worst.max(Duration::try_from(moment.duration_since(last)).unwrap_or_default());
            last = moment;
        }
        worst
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use json::json;

    fn write(at: &str, start: Option<&str>, end: Option<&str>) -> Event {
        let fields = [("status.lastSyncStartTime", start), ("status.lastSyncTime", end)]
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), json!(value?))))
            .collect();
        let what = What::ApiWrite {
            caller: "controller".into(),
            verb: "update".into(),
            resource: "volsync.backube/v1alpha1/replicationsources".into(),
            object_kind: "ReplicationSource".into(),
            namespace: "n".into(),
            name: "a".into(),
            resource_version: 1,
            digest: String::new(),
            fields,
        };
        Event { sequence: 0, at: at.parse().unwrap(), point: String::new(), what }
    }

    #[test]
    fn syncs_are_read_from_status_writes() {
        let events = [
            write("2026-01-01T00:00:01Z", Some("2026-01-01T00:00:01Z"), None),
            write("2026-01-01T00:00:20Z", None, Some("2026-01-01T00:00:20Z")),
            write("2026-01-01T00:00:21Z", None, Some("2026-01-01T00:00:20Z")),
            write("2026-01-01T03:00:00Z", Some("2026-01-01T03:00:00Z"), Some("2026-01-01T00:00:20Z")),
            write("2026-01-01T03:00:30Z", None, Some("2026-01-01T03:00:30Z")),
        ];
        let history = History::of(&events, "n", "a");
        assert_eq!(history.syncs.len(), 2, "{history:?}");
        assert_eq!(
            history
                .worst_gap("2026-01-01T00:00:00Z".parse().unwrap(), "2026-01-01T05:00:00Z".parse().unwrap()),
            Duration::from_secs(3 * 3600 - 1)
        );
        assert_eq!(History::of(&events, "n", "b"), History::default());
    }
}
