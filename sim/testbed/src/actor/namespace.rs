//! What a namespace gets by itself, and the end of events.
//!
//! Each namespace receives the ServiceAccount `default`; events go after an hour, as the API server's
//! lease does it (`--event-ttl`). Deleting a namespace's contents is the API server's own work.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::{
    Actor, Change, Cluster, Key, Next, View,
    cluster::{is_deleting, text},
    resource,
};

/// Gives namespaces their ServiceAccount and takes old events away.
pub struct Namespaces {
    cluster: Cluster,
}

/// How long events live.
const EVENT_TTL: Duration = Duration::from_secs(3600);

impl Namespaces {
    /// The actor on a cluster.
    pub fn new(cluster: &Cluster) -> Self {
        Self { cluster: cluster.for_caller("serviceaccount-controller") }
    }
}

#[async_trait::async_trait]
impl Actor for Namespaces {
    fn name(&self) -> &str {
        self.cluster.caller()
    }

    fn keys(&self, change: &Change, _: &View<'_>) -> Vec<Key> {
        match (change.kind.as_str(), change.verb) {
            ("Namespace", apiserver::Verb::Create) => vec![Key::new(resource::NAMESPACE, "", &change.name)],
            ("Event", apiserver::Verb::Create) => vec![Key::new(resource::EVENT, &change.namespace, &change.name)],
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &Key) -> Next {
        if key.kind == "Event" {
            let Some(event) = self.cluster.get(resource::EVENT, &key.namespace, &key.name) else { return Next::Done };
            let seen = [
                text(&event, "/lastTimestamp"),
                text(&event, "/series/lastObservedTime"),
                text(&event, "/eventTime"),
                text(&event, "/metadata/creationTimestamp"),
            ];
            let last = seen.iter().find_map(|time| time.parse::<Timestamp>().ok());
            let age = last.map_or(Duration::ZERO, |last| {
                Duration::try_from(self.cluster.clock().now().duration_since(last)).unwrap_or_default()
            });
            if age < EVENT_TTL {
                return Next::After(EVENT_TTL.saturating_sub(age));
            }
            let gone = self.cluster.delete(resource::EVENT, &key.namespace, &key.name, &apiserver::Delete::default());
            self.cluster.tolerate(gone);
            return Next::Done;
        }
        let Some(namespace) = self.cluster.get(resource::NAMESPACE, "", &key.name) else { return Next::Done };
        if !is_deleting(&namespace) && self.cluster.get(resource::SERVICE_ACCOUNT, &key.name, "default").is_none() {
            let account = json!({"metadata": {"name": "default", "namespace": key.name}});
            let made = self.cluster.create(resource::SERVICE_ACCOUNT, account).map(|_| ());
            self.cluster.tolerate(made);
        }
        Next::Done
    }
}
