//! Stock `kube` clients, watchers and Controllers on the server, under a paused clock.

mod apply;
mod custom;
mod objects;
mod sequence;
mod watches;

use std::sync::Arc;
use std::time::Duration;

use apiserver::{ApiServer, Options, Sequencing};
use jiff::Timestamp;
use kube::Client;

/// The instant at which every test begins: 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600;

/// A server whose clock is the paused clock of the runtime.
fn server(sequencing: Sequencing) -> ApiServer {
    let begin = tokio::time::Instant::now();
    let now = move || Timestamp::from_second(START).expect("a time") + (tokio::time::Instant::now() - begin);
    let mut options = Options::new(Arc::new(now), 7).sequencing(sequencing);
    options.history = 64;
    options.history_age = Some(Duration::from_hours(1));
    ApiServer::new(options)
}

fn tick() -> Sequencing {
    Sequencing::Tick(Duration::from_millis(1))
}

fn client(server: &ApiServer, caller: &str) -> Client {
    Client::new(server.service(caller), "default")
}
