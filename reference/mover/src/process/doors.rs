//! The doors of a real process, and one run through them.
use std::sync::Arc;

use anyhow::Context as _;
use contract::{Operation, Outcome, Request};
use engine::{
    context::{Client, Entropy},
    tree::{WriteTree, local::LocalTree},
};
use jiff::Timestamp;
use mover::Doors;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::{action::Shell, stores::RealStores};

/// The system's clock.
#[expect(clippy::disallowed_methods, reason = "the binary is where real time enters")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// Randomness of the operating system.
fn entropy() -> Entropy {
    Entropy::new(|buffer| getrandom::fill(buffer).expect("the operating system gives random bytes"))
}

/// The pod's name, as the kernel knows it.
fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Runs one request with the real things.
///
/// # Errors
/// Only when the process itself cannot be set up; everything else is an outcome.
pub async fn run(request: Request) -> anyhow::Result<Outcome> {
    let (told, stop) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be watched")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be watched")?;
    tokio::spawn(async move {
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        println!("WARN: told to stop");
        // Nobody listens any more only after the run has ended.
        let _ = told.send(true);
        std::future::pending::<()>().await;
    });
    let shell = Arc::new(Shell::default());
    let doors = Doors {
        stores: Arc::new(RealStores { entropy: entropy() }),
        data: data(&request),
        now: Arc::new(now),
        entropy: entropy(),
        process: Client { username: "root".to_owned(), hostname: hostname() },
        log: Arc::new(|line| println!("{line}")),
        stop,
        actions: shell.clone(),
        read_file: Arc::new(|path| std::fs::read(path)),
    };
    // A task of its own, so that a kernel call that never returns cannot keep the stop signal from being heard.
    let ended = tokio::spawn(mover::run(request, doors)).await.context("the run ended without an outcome");
    shell.end_remaining();
    ended
}

/// The data volume; a directory that is not there is the run's to report.
fn data(request: &Request) -> Option<Arc<dyn WriteTree>> {
    if request.operation() == Operation::Maintenance {
        return None;
    }
    LocalTree::open(&request.data_directory).ok().map(|tree| Arc::new(tree) as Arc<dyn WriteTree>)
}
