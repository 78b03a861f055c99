//! The order of requests inside one instant.
//!
//! Two tasks that are due in one virtual instant are polled in an order that differs between processes (hash
//! seeds, addresses). So requests are not answered when they are polled: they are gathered, and one is
//! answered per tick, first those that arrived in earlier instants, then by a seeded hash of caller, method,
//! path and body. On a paused clock time only moves when every task waits, so all requests of an instant
//! have arrived before the next tick. The server's own work (garbage collection) stands in the same line.
//!
//! A request whose client went away before its turn is not performed.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::request::{Answer, Request};
use crate::server::ApiServer;
use crate::work::Work;

/// Waits in line; smaller goes first.
type Turn = (Instant, u64, u64);

enum Job {
    Request(Box<Request>, oneshot::Sender<Answer>),
    Work(Work),
}

#[derive(Default)]
struct Line {
    waiting: BTreeMap<Turn, Job>,
    is_served: bool,
    arrivals: u64,
    /// When the last answer was given: the next one comes at least one tick later.
    served_at: Option<Instant>,
}

/// Gathers requests and answers one per tick.
#[derive(Default)]
pub(crate) struct Sequencer {
    line: Mutex<Line>,
}

impl Sequencer {
    /// Puts a request in line; the receiver gets its answer.
    pub fn enqueue(&self, server: &ApiServer, tick: Duration, request: Request) -> oneshot::Receiver<Answer> {
        let (answer, receiver) = oneshot::channel();
        let hash = digest(server.inner.options.seed, |hasher| {
            for part in [&request.caller, request.method.as_str(), &request.path, &request.query] {
                hasher.update((part.len() as u64).to_le_bytes());
                hasher.update(part.as_bytes());
            }
            hasher.update(&request.body);
        });
        self.push(server, tick, [(hash, Job::Request(Box::new(request), answer))]);
        receiver
    }

    /// Puts work of the server itself in line.
    pub fn enqueue_work(&self, server: &ApiServer, tick: Duration, work: Vec<Work>) {
        let seed = server.inner.options.seed;
        let jobs = work
            .into_iter()
            .map(|work| (digest(seed, |hasher| hasher.update(format!("{work:?}"))), Job::Work(work)));
        self.push(server, tick, jobs);
    }

    fn push(&self, server: &ApiServer, tick: Duration, jobs: impl IntoIterator<Item = (u64, Job)>) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        for (hash, job) in jobs {
            line.arrivals += 1;
            let turn = (now, hash, line.arrivals);
            line.waiting.insert(turn, job);
        }
        if !line.is_served {
            line.is_served = true;
            let serving = Serving { server: server.clone(), is_done: false };
            tokio::spawn(async move { serving.run(tick).await });
        }
    }

    fn next(&self, now: Instant) -> Next {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match line.waiting.first_entry() {
                None => {
                    line.is_served = false;
                    return Next::Nobody;
                }
                // Others may still arrive in this instant.
                Some(entry) if entry.key().0 >= now => return Next::Later,
                Some(entry) => match entry.remove() {
                    Job::Request(_, answer) if answer.is_closed() => {}
                    job => {
                        line.served_at = Some(now);
                        return Next::Job(job);
                    }
                },
            }
        }
    }

    fn served_at(&self) -> Option<Instant> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner).served_at
    }
}

enum Next {
    Job(Job),
    Later,
    Nobody,
}

/// The task that serves the line; gives it back when its runtime goes away.
struct Serving {
    server: ApiServer,
    is_done: bool,
}

impl Serving {
    async fn run(mut self, tick: Duration) {
        let server = self.server.clone();
        loop {
            let now = Instant::now();
            let earliest = server.inner.sequencer.served_at().map_or(now, |served| served + tick);
            tokio::time::sleep_until((now + tick).max(earliest)).await;
            match server.inner.sequencer.next(Instant::now()) {
                Next::Nobody => {
                    self.is_done = true;
                    return;
                }
                Next::Later => {}
                Next::Job(Job::Request(request, answer)) => {
                    let made = server.answer(&request);
                    server.settle();
                    // The client may have gone while its request was performed.
                    let _ = answer.send(made);
                }
                Next::Job(Job::Work(work)) => {
                    server.lock().perform(&work);
                    server.settle();
                }
            }
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        // The runtime went away. Nobody waits for the answers; the server's own work must not be lost.
        let left = {
            let mut line = self.server.inner.sequencer.line.lock().unwrap_or_else(PoisonError::into_inner);
            line.is_served = false;
            line.served_at = None;
            std::mem::take(&mut line.waiting)
        };
        let work = left.into_values().filter_map(|job| match job {
            Job::Work(work) => Some(work),
            Job::Request(..) => None,
        });
        self.server.lock().work.extend(work);
    }
}

fn digest(seed: u64, feed: impl FnOnce(&mut Sha256)) -> u64 {
    let mut hasher = Sha256::new();
    hasher.update(seed.to_le_bytes());
    feed(&mut hasher);
    let bytes = hasher.finalize();
    u64::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]])
}
