//! The body of a watch: a stream of JSON events, one per line.
//!
//! Events come in the order of resourceVersions. The stream ends at its deadline, as a server's does; a
//! client that fell silent costs nothing but its queue. Bookmarks carry the newest resourceVersion at the
//! time they are sent, which is right because everything older has been queued before. They are sent at
//! the same instants to all watches, whenever those began: a client with twenty watches wakes once a period.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::resource::Resource;
use crate::server::ApiServer;
use crate::shape::Shape;
use crate::store::{Change, Event, Stored};

/// One thing to send.
#[derive(Debug)]
pub(crate) enum Item {
    Object(Change, Arc<Stored>),
    /// A bookmark at this resourceVersion; the flag marks the end of the initial list.
    Bookmark(u64, bool),
    /// A status that ends the watch.
    Error(Value),
}

/// How a watch runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub lifetime: Duration,
    /// Send bookmarks this often.
    pub bookmarks: Option<Duration>,
}

/// The body of a watch.
pub(crate) struct WatchBody {
    server: ApiServer,
    resource: Arc<Resource>,
    shape: Shape,
    first: VecDeque<Item>,
    events: Option<mpsc::UnboundedReceiver<(Change, Arc<Event>)>>,
    deadline: Pin<Box<Sleep>>,
    bookmark: Option<(Duration, Pin<Box<Sleep>>)>,
    has_sent_columns: bool,
}

impl fmt::Debug for WatchBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchBody").field("resource", &self.resource.plural).finish_non_exhaustive()
    }
}

impl WatchBody {
    /// Creates a watch that sends the first items, then events until its deadline.
    pub fn new(
        server: ApiServer,
        resource: Arc<Resource>,
        shape: Shape,
        first: VecDeque<Item>,
        events: Option<mpsc::UnboundedReceiver<(Change, Arc<Event>)>>,
        terms: Terms,
    ) -> Self {
        let now = Instant::now();
        let bookmark = terms.bookmarks.map(|period| {
            let first = now + until_next(period, (server.inner.options.now)());
            (period, Box::pin(sleep_until(first)))
        });
        Self {
            server,
            resource,
            shape,
            first,
            events,
            deadline: Box::pin(sleep_until(now + terms.lifetime)),
            bookmark,
            has_sent_columns: false,
        }
    }

    fn line(&mut self, item: &Item) -> Bytes {
        let (kind, object) = match item {
            Item::Object(change, stored) => {
                let word = match change {
                    Change::Added => "ADDED",
                    Change::Modified => "MODIFIED",
                    Change::Deleted => "DELETED",
                };
                let first = !std::mem::replace(&mut self.has_sent_columns, true);
                (word, self.shape.object(&self.resource, stored, first, (self.server.inner.options.now)()))
            }
            Item::Bookmark(version, is_end) => {
                let mut object = json!({
                    "kind": self.resource.kind,
                    "apiVersion": self.resource.api_version(),
                    "metadata": {"resourceVersion": version.to_string(), "creationTimestamp": null},
                });
                if *is_end {
                    object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
                }
                ("BOOKMARK", Bytes::from(self.shape.bookmark(object).to_string()))
            }
            Item::Error(status) => ("ERROR", Bytes::from(status.to_string())),
        };
        let mut line = BytesMut::with_capacity(object.len() + 40);
        line.put_slice(b"{\"type\":\"");
        line.put_slice(kind.as_bytes());
        line.put_slice(b"\",\"object\":");
        line.put(object);
        line.put_slice(b"}\n");
        line.freeze()
    }

    /// Returns the next line, or `None` at the end.
    pub fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(item) = self.first.pop_front() {
            return Poll::Ready(Some(self.line(&item)));
        }
        let Some(events) = &mut self.events else { return Poll::Ready(None) };
        if let Poll::Ready(received) = events.poll_recv(cx) {
            return Poll::Ready(received.map(|(change, event)| {
                // A watcher that sees an object leave gets its last state under the new version.
                self.line(&Item::Object(change, Arc::clone(&event.object)))
            }));
        }
        if self.deadline.as_mut().poll(cx).is_ready() {
            self.events = None;
            return match self.bookmark.take() {
                Some(_) => {
                    let version = self.server.resource_version();
                    Poll::Ready(Some(self.line(&Item::Bookmark(version, false))))
                }
                None => Poll::Ready(None),
            };
        }
        if let Some((period, timer)) = &mut self.bookmark
            && timer.as_mut().poll(cx).is_ready()
        {
            // From the last one, not from now: a clock that stands still must not make this spin.
            let next = timer.deadline() + *period;
            timer.as_mut().reset(next.max(Instant::now()));
            let version = self.server.resource_version();
            return Poll::Ready(Some(self.line(&Item::Bookmark(version, false))));
        }
        Poll::Pending
    }
}

/// The time to the next instant of a grid of this width that all watches share; never zero.
fn until_next(period: Duration, now: jiff::Timestamp) -> Duration {
    let width = period.as_millis().max(1);
    let passed = u128::try_from(now.as_millisecond()).unwrap_or(0) % width;
    Duration::from_millis(u64::try_from(width - passed).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watches_that_began_at_different_times_meet() {
        let at = |milliseconds| jiff::Timestamp::from_millisecond(milliseconds).expect("a time");
        let period = Duration::from_secs(280);
        for (now, expected) in [(280_000, 280_000), (280_001, 279_999), (559_999, 1), (-5, 280_000)] {
            assert_eq!(until_next(period, at(now)), Duration::from_millis(expected), "{now}");
        }
    }
}
