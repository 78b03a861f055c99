//! The end of events: they go an hour after they were last seen, as the API server's lease does it.

use std::time::Duration;

use jiff::Timestamp;

use super::{Actor, Change, Cluster, Key, Next, View, cluster::text, resource};

/// Takes old events away.
pub struct Expiry {
    cluster: Cluster,
}

/// How long events live (`--event-ttl`).
const EVENT_TTL: Duration = Duration::from_secs(3600);

impl Expiry {
    /// The actor on a cluster.
    pub fn new(cluster: &Cluster) -> Self {
        Self { cluster: cluster.for_caller("event-ttl") }
    }
}

#[async_trait::async_trait]
impl Actor for Expiry {
    fn name(&self) -> &str {
        self.cluster.caller()
    }

    fn keys(&self, change: &Change, _: &View<'_>) -> Vec<Key> {
        if change.kind == "Event" && change.verb == apiserver::Verb::Create {
            vec![Key::new(resource::EVENT, &change.namespace, &change.name)]
        } else {
            Vec::new()
        }
    }

    async fn reconcile(&self, key: &Key) -> Next {
        let Some(event) = self.cluster.get(resource::EVENT, &key.namespace, &key.name) else {
            return Next::Done;
        };
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
        let gone =
            self.cluster.delete(resource::EVENT, &key.namespace, &key.name, &apiserver::Delete::default());
        self.cluster.tolerate(gone);
        Next::Done
    }
}
