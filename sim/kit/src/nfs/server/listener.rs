//! Connections: each reads records, answers them as they are ready, in any order.
//!
//! Calls of one connection run side by side, up to [`CALLS_AT_ONCE`]; a client that sends more waits. Dropping
//! the listener closes its port and its connections, as the end of the process does.
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::{JoinHandle, JoinSet},
};

use super::dispatch::Dispatcher;
use crate::nfs::wire;

/// Calls of one connection that run at once.
pub const CALLS_AT_ONCE: usize = 64;

/// A port that is served while this lives.
pub struct Listener {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listener {
    /// Binds and serves.
    pub async fn bind(
        address: SocketAddr,
        dispatcher: Arc<Dispatcher>,
        connections: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            // Dropped with this task, and every connection with it.
            let mut open = JoinSet::new();
            loop {
                match listener.accept().await {
                    Ok((stream, peer)) => {
                        let (dispatcher, counted) = (dispatcher.clone(), Counted::new(connections.clone()));
                        open.spawn(async move {
                            let _counted = counted;
                            if let Err(error) = serve(stream, peer, dispatcher).await {
                                tracing::debug!(%peer, %error, "connection ended");
                            }
                        });
                        while open.try_join_next().is_some() {}
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        // Out of descriptors: others must end first.
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    }
                }
            }
        });
        Ok(Self { address, task })
    }
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// One more connection, while it lives.
struct Counted(Arc<AtomicU64>);

impl Counted {
    fn new(connections: Arc<AtomicU64>) -> Self {
        connections.fetch_add(1, Ordering::Relaxed);
        Self(connections)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, dispatcher: Arc<Dispatcher>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    let (mut reader, mut writer) = stream.into_split();
    let (answers, mut ready) = mpsc::channel(CALLS_AT_ONCE);
    let room = Arc::new(Semaphore::new(CALLS_AT_ONCE));
    let reading = async {
        while let Some(record) = wire::read_record(&mut reader).await? {
            // The semaphore is never closed.
            let Ok(place) = room.clone().acquire_owned().await else { break };
            let (dispatcher, answers) = (dispatcher.clone(), answers.clone());
            // Not bound to the connection: what was begun is finished and remembered for a second asking.
            tokio::spawn(async move {
                let answer = dispatcher.answer(peer.ip(), local, record).await;
                drop(place);
                // Without a connection nobody waits for it.
                let _ = answers.send(answer).await;
            });
        }
        Ok(())
    };
    let writing = async {
        while let Some(answer) = ready.recv().await {
            match answer {
                Some(record) => writer.write_all(&record).await?,
                None => return Ok(()),
            }
        }
        Ok(())
    };
    tokio::select! {
        biased;
        result = writing => result,
        result = reading => result,
    }
}
