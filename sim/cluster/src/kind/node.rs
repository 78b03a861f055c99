//! One node: a container that boots systemd, containerd and, once kubeadm has been there, a kubelet.

use std::{path::Path, time::Duration};

use testcontainers::bollard::{
    models::ContainerStateStatusEnum, query_parameters::RestartContainerOptionsBuilder,
};

use crate::{
    Error,
    container::Held,
    exec::{self, Command, Output},
    wait::{Look, wait},
};

/// What a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It carries etcd, the API server and the controllers; the only node of a small cluster runs pods too.
    ControlPlane,
    /// It runs pods.
    Worker,
}

impl Role {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Worker => "worker",
        }
    }
}

/// A node of a cluster.
#[derive(Debug)]
pub struct Node {
    pub(crate) held: Held,
    pub(crate) role: Role,
    pub(crate) address: String,
}

impl Node {
    /// Name of the container, of the host and of the Kubernetes node.
    pub fn name(&self) -> &str {
        &self.held.name
    }

    /// What it is for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Its address on the cluster's network.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Runs a command on it; an exit code is an answer.
    pub async fn exec(&self, command: Command) -> Result<Output, Error> {
        exec::exec(&self.held.docker, self.name(), command).await
    }

    /// Runs a command on it that must end with 0.
    pub async fn exec_ok(&self, command: Command) -> Result<Output, Error> {
        exec::exec_ok(&self.held.docker, self.name(), command).await
    }

    /// Writes a file, not below `/tmp` or `/run`.
    pub async fn write(&self, path: &str, bytes: &[u8], mode: u32) -> Result<(), Error> {
        exec::write(&self.held.docker, self.name(), path, bytes, mode).await
    }

    /// Reads a file.
    pub async fn read(&self, path: &str) -> Result<Vec<u8>, Error> {
        exec::read(&self.held.docker, self.name(), path).await
    }

    /// The journal's last lines, of one unit where one is named.
    pub async fn journal(&self, unit: Option<&str>, lines: usize) -> Result<String, Error> {
        let count = lines.to_string();
        let mut words = vec!["journalctl", "--no-pager", "--boot", "--lines", &count];
        words.extend(unit.iter().flat_map(|unit| ["--unit", unit]));
        Ok(self.exec_ok(Command::new(words)).await?.text())
    }

    /// What the first process printed: the entrypoint's lines.
    pub async fn logs(&self) -> Result<String, Error> {
        exec::logs(&self.held.docker, self.name()).await
    }

    /// Puts an image archive (the format of `docker save`) into its containerd.
    pub async fn load_image(&self, archive: &Path) -> Result<(), Error> {
        let name = format!("load-{}.tar", std::process::id());
        // Not /tmp: what the engine writes does not reach a tmpfs.
        exec::upload(&self.held.docker, self.name(), archive, "/var", &name).await?;
        let script = format!(
            "trap 'rm -f /var/{name}' EXIT; ctr -n k8s.io images import --all-platforms --digests --snapshotter overlayfs /var/{name}"
        );
        self.exec_ok(Command::script(script)).await.map(drop)
    }

    /// Freezes every process of the node.
    pub async fn pause(&self) -> Result<(), Error> {
        let paused = self.held.docker.pause_container(self.name()).await;
        paused.map_err(Error::docker(format!("pause {}", self.name())))
    }

    /// Lets its processes go on.
    pub async fn unpause(&self) -> Result<(), Error> {
        let unpaused = self.held.docker.unpause_container(self.name()).await;
        unpaused.map_err(Error::docker(format!("unpause {}", self.name())))
    }

    /// Cuts it off the network. Its address is kept for it only as long as nothing else starts.
    pub async fn disconnect(&self) -> Result<(), Error> {
        self.held.disconnect().await
    }

    /// Puts it back on the network.
    pub async fn connect(&self) -> Result<(), Error> {
        self.held.connect().await?;
        self.same_address().await
    }

    /// The port of 127.0.0.1 behind which one of its published ports lies.
    pub async fn port(&self, container: u16) -> Result<u16, Error> {
        self.held.port(container).await
    }

    pub(crate) async fn reboot(&self) -> Result<(), Error> {
        // systemd does not end on SIGTERM; a second of grace and then the end of all processes is a power cut.
        let options = RestartContainerOptionsBuilder::new().t(1).build();
        let restarted = self.held.docker.restart_container(self.name(), Some(options)).await;
        restarted.map_err(Error::docker(format!("restart {}", self.name())))?;
        self.same_address().await
    }

    async fn same_address(&self) -> Result<(), Error> {
        let after = self.held.address().await?.unwrap_or_default();
        if after == self.address {
            return Ok(());
        }
        Err(Error::AddressChanged { node: self.name().to_owned(), before: self.address.clone(), after })
    }

    /// Waits until systemd has booted and containerd answers.
    pub(crate) async fn wait_booted(&self, within: Duration) -> Result<(), Error> {
        wait(&format!("{} to boot", self.name()), within, || async {
            if let Some(reason) = self.ended().await? {
                return Err(reason);
            }
            let script =
                "systemctl is-system-running 2>&1 || true; ctr version >/dev/null && echo containerd";
            let said = match self.exec(Command::script(script)).await {
                Ok(output) => output.text(),
                Err(error) => return Ok(Look::NotYet(crate::error::chain(&error))),
            };
            let up = said.lines().any(|line| matches!(line.trim(), "running" | "degraded"));
            let ready = up && said.lines().any(|line| line == "containerd");
            Ok(if ready { Look::Reached(()) } else { Look::NotYet(said.trim().replace('\n', ", ")) })
        })
        .await
    }

    /// Why the node's first process ended, if it did: the entrypoint's own last words name what it lacked.
    async fn ended(&self) -> Result<Option<Error>, Error> {
        let state = self.held.inspect().await?.state.unwrap_or_default();
        let ended =
            matches!(state.status, Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD));
        if !ended {
            return Ok(None);
        }
        let log = self.logs().await?;
        let detail = log.lines().rev().find(|line| line.contains("ERROR")).or_else(|| log.lines().last());
        let detail = detail.unwrap_or("it said nothing").trim().to_owned();
        Ok(Some(if detail.contains("privileged") {
            Error::Unprivileged { detail }
        } else {
            Error::Command {
                container: self.name().to_owned(),
                command: "its first process".to_owned(),
                code: state.exit_code.unwrap_or(-1),
                output: detail,
            }
        }))
    }

    pub(crate) async fn delete(self) -> Result<(), Error> {
        self.held.delete().await
    }
}
