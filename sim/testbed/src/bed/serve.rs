//! A bed in real time, on a socket.

use std::{io, net::TcpListener};

use super::Bed;

impl Bed {
    /// Serves the cluster over HTTP on a listener while everything on the bed runs, until `until` is done.
    /// Meant for beds started with [`super::Options::real_time`]: sockets and virtual time do not mix.
    ///
    /// # Errors
    /// When the listener cannot be used or is of no more use.
    pub fn serve(&mut self, listener: TcpListener, until: impl Future<Output = ()>) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let server = self.server.clone();
        self.runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tokio::select! {
                biased;
                () = until => Ok(()),
                served = apiserver::serve(listener, server) => served,
            }
        })
    }
}
