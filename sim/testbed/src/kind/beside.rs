//! What stands beside the cluster in containers of its own, and the nodes themselves: commands in them.

use super::{Bed, coordinates::Nas};
use crate::verbs::Trouble;

impl Bed {
    /// Runs a command in a container of the engine that must end well; gives what it printed.
    pub(super) fn in_container(
        &self,
        container: &str,
        words: &[&str],
        input: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, Trouble> {
        let run = async {
            let docker = cluster::engine::connect().await?;
            let mut command = cluster::Command::new(words.iter().copied());
            if let Some(input) = input {
                command = command.input(input);
            }
            cluster::exec::exec_ok(&docker, container, command).await
        };
        let said = self.runtime.block_on(run);
        said.map(|said| said.stdout).map_err(|error| Trouble::Broken(cluster::chain(&error)))
    }

    /// The NFS server, if the cluster has one.
    pub(super) fn nas(&self) -> Result<Nas, Trouble> {
        self.at
            .nas
            .clone()
            .ok_or_else(|| Trouble::Unsupported("this cluster was prepared without an NFS server".to_owned()))
    }

    /// Makes an export of the NFS server, past the server.
    pub(super) fn make_export(&self, nas: &Nas, export: &str) -> Result<(), Trouble> {
        let path = format!("{}/{export}", nas.directory);
        self.in_container(&nas.container, &["/kit", "hand", "make", &path], None).map(drop)
    }

    /// Reads what lies behind an export, past the server and every fault of it.
    pub(super) fn read_export(&self, nas: &Nas, export: &str) -> Result<Vec<u8>, Trouble> {
        let path = format!("{}/{export}", nas.directory);
        self.in_container(&nas.container, &["/kit", "hand", "read", &path], None)
    }
}
