//! What a picture of a run needs: lanes with spans and marks, gathered from the record as it grows.
//!
//! A lane for each replication, for its Jobs, for volume snapshots, and for faults. Promises a bounded
//! size whatever the length of the run: close spans of one kind in one lane flow together. Reads record
//! events only; draws nothing (see `report::svg`).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use testbed::record::{Event, What};

/// Lanes over time.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Timeline {
    /// The lanes, in the order in which they first had something.
    pub lanes: Vec<Lane>,
}

/// One row of the picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// What it is about.
    pub name: String,
    /// What happened in it, by beginning.
    pub spans: Vec<Span>,
}

/// Something that lasted, or (begin equals end) that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// When it began.
    pub from: Timestamp,
    /// When it ended.
    pub to: Timestamp,
    /// What: `sync`, `job`, `job-failed`, `snapshot`, `fault`, `fired`.
    pub class: String,
    /// What a reader is told who points at it.
    pub label: String,
    /// How many flowed together.
    pub count: u64,
}

/// No lane holds more; a picture has about as many pixels.
const SPANS_MAX: usize = 1_000;

/// Gathers a timeline from events.
#[derive(Debug, Default)]
pub struct Gatherer {
    lanes: Vec<(String, Vec<Span>)>,
    open: BTreeMap<String, (usize, Timestamp)>,
    last_sync: BTreeMap<String, String>,
}

impl Gatherer {
    /// Takes an event into account.
    pub fn see(&mut self, event: &Event) {
        match &event.what {
            What::ApiWrite { object_kind, namespace, name, verb, fields, .. } => {
                let text = |key: &str| {
                    fields.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned()
                };
                let object = place(namespace, name);
                match object_kind.as_str() {
                    "ReplicationSource" | "ReplicationDestination" | "KopiaMaintenance" => {
                        let lane = self.lane(&format!("{object_kind} {object}"));
                        let started = text("status.lastSyncStartTime");
                        let key = format!("sync/{object_kind}/{object}");
                        if !started.is_empty() {
                            self.open.entry(key.clone()).or_insert((lane, event.at));
                        }
                        let mut done = text("status.lastSyncTime");
                        if done.is_empty() {
                            done = text("status.lastMaintenanceTime");
                        }
                        if !done.is_empty() && self.last_sync.get(&key) != Some(&done) {
                            self.last_sync.insert(key.clone(), done);
                            self.close(&key, lane, event.at, "sync", &format!("sync of {object}"));
                        }
                    }
                    "VolumeSnapshot" => {
                        let lane = self.lane("volume snapshots");
                        let key = format!("snapshot/{object}");
                        if verb == "create" {
                            self.open.insert(key, (lane, event.at));
                        } else if verb == "delete" {
                            self.close(&key, lane, event.at, "snapshot", &object);
                        }
                    }
                    _ => {}
                }
            }
            What::Job { namespace, name, operation, detail } => {
                let object = place(namespace, name);
                let lane = self.lane(&format!("Job {object}"));
                let key = format!("job/{object}");
                match operation.as_str() {
                    "created" => {
                        self.open.insert(key, (lane, event.at));
                    }
                    "pod-failed" => {
                        self.mark(lane, event.at, "job-failed", &format!("{object}: a pod failed {detail}"));
                    }
                    "complete" => self.close(&key, lane, event.at, "job", &format!("{object} complete")),
                    "failed" => {
                        self.close(&key, lane, event.at, "job-failed", &format!("{object} failed {detail}"));
                    }
                    "deleted" if self.open.contains_key(&key) => {
                        self.close(&key, lane, event.at, "job", &format!("{object} deleted while running"));
                    }
                    _ => {}
                }
            }
            What::Fault { name, state, target } => {
                let lane = self.lane(&format!("fault {name}"));
                let key = format!("fault/{name}");
                match state.as_str() {
                    "armed" => {
                        self.open.insert(key, (lane, event.at));
                    }
                    "fired" => self.mark(lane, event.at, "fired", &format!("{name} strikes {target}")),
                    "lifted" => self.close(&key, lane, event.at, "fault", name),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// The timeline, with everything still open ending at `end`.
    pub fn finish(mut self, end: Timestamp) -> Timeline {
        for (key, (lane, from)) in std::mem::take(&mut self.open) {
            let class = key.split('/').next().unwrap_or_default().to_owned();
            self.lanes[lane].1.push(Span {
                from,
                to: end,
                label: format!("{class} (still open)"),
                class,
                count: 1,
            });
        }
        let lanes = self.lanes.into_iter().filter(|(_, spans)| !spans.is_empty());
        let mut lanes: Vec<_> = lanes
            .map(|(name, mut spans)| {
                spans.sort_by(|a, b| (a.from, a.to, &a.class).cmp(&(b.from, b.to, &b.class)));
                Lane { name, spans: flow_together(spans) }
            })
            .collect();
        lanes.sort_by_key(|lane| rank(&lane.name));
        Timeline { lanes }
    }

    fn lane(&mut self, name: &str) -> usize {
        if let Some(at) = self.lanes.iter().position(|(lane, _)| lane == name) {
            return at;
        }
        self.lanes.push((name.to_owned(), Vec::new()));
        self.lanes.len() - 1
    }

    fn mark(&mut self, lane: usize, at: Timestamp, class: &str, label: &str) {
        self.push(lane, Span { from: at, to: at, class: class.into(), label: label.into(), count: 1 });
    }

    fn close(&mut self, key: &str, lane: usize, to: Timestamp, class: &str, label: &str) {
        let from = self.open.remove(key).map_or(to, |(_, from)| from);
        self.push(lane, Span { from, to, class: class.into(), label: label.into(), count: 1 });
    }

    fn push(&mut self, lane: usize, span: Span) {
        let spans = &mut self.lanes[lane].1;
        spans.push(span);
        if spans.len() >= 4 * SPANS_MAX {
            *spans = flow_together(std::mem::take(spans));
        }
    }
}

fn place(namespace: &str, name: &str) -> String {
    if namespace == scenario::name::DEFAULT_NAMESPACE {
        name.to_owned()
    } else {
        format!("{namespace}/{name}")
    }
}

fn rank(lane: &str) -> u8 {
    ["ReplicationSource", "ReplicationDestination", "KopiaMaintenance", "Job", "volume", "fault"]
        .iter()
        .position(|start| lane.starts_with(start))
        .map_or(9, |at| at as u8)
}

/// Joins neighbours of one class that stand close, until few enough are left.
fn flow_together(mut spans: Vec<Span>) -> Vec<Span> {
    let length = |spans: &[Span]| match (spans.first(), spans.last()) {
        (Some(first), Some(last)) => last.to.duration_since(first.from).as_secs(),
        _ => 0,
    };
    let mut near = length(&spans) / i64::try_from(SPANS_MAX).unwrap_or(1) + 1;
    while spans.len() > SPANS_MAX {
        let mut joined: Vec<Span> = Vec::new();
        for span in spans {
            match joined.last_mut() {
                Some(last)
                    if last.class == span.class && span.from.duration_since(last.to).as_secs() <= near =>
                {
                    last.to = last.to.max(span.to);
                    last.count += span.count;
                }
                _ => joined.push(span),
            }
        }
        spans = joined;
        near *= 2;
        if near > 1 << 40 {
            break;
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(at: i64) -> Span {
        let from = Timestamp::from_second(at).unwrap();
        Span { from, to: from, class: "sync".into(), label: String::new(), count: 1 }
    }

    #[test]
    fn a_long_run_stays_small_and_loses_no_count() {
        let spans: Vec<_> = (0..9_000).map(|hour| span(hour * 3_600)).collect();
        let joined = flow_together(spans);
        assert!(joined.len() <= SPANS_MAX, "{}", joined.len());
        assert_eq!(joined.iter().map(|span| span.count).sum::<u64>(), 9_000);
    }

    #[test]
    fn a_short_run_keeps_each_span() {
        let spans: Vec<_> = (0..10).map(|hour| span(hour * 3_600)).collect();
        assert_eq!(flow_together(spans.clone()), spans);
    }
}
