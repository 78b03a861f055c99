//! A container beside the cluster: an NFS server, a proxy, a store. Nodes and pods reach it by its alias.
//!
//! It can be stopped, paused and cut off the network, which are three different outages to whoever talks to it:
//! connections refused, connections that hang, and no route.

use futures::future::BoxFuture;
use std::{collections::BTreeMap, time::Duration};

use crate::{
    Error, Run,
    container::{Held, HostMount, Port, Spec},
    exec::{self, Command, Output},
    power,
    wait::{Look, wait},
};

/// What a sibling is to be; ends with [`SiblingBuilder::start`].
#[derive(Debug, Clone)]
pub struct SiblingBuilder {
    run: Run,
    spec: Spec,
}

/// A running container beside the cluster.
#[derive(Debug)]
pub struct Sibling {
    held: Held,
    alias: String,
}

impl SiblingBuilder {
    /// Arguments behind the image's entrypoint.
    #[must_use]
    pub fn arguments<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.spec.arguments = arguments.into_iter().map(Into::into).collect();
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.spec.environment.insert(name.into(), value.into());
        self
    }

    /// One more name under which others reach it.
    #[must_use]
    pub fn alias(mut self, alias: impl Into<String>) -> Self {
        self.spec.aliases.push(alias.into());
        self
    }

    /// Publishes a port on 127.0.0.1; [`Sibling::port`] says where.
    #[must_use]
    pub fn port(mut self, container: u16) -> Self {
        self.spec.ports.push(Port { container, host: None });
        self
    }

    /// Publishes a port on a certain port of 127.0.0.1.
    #[must_use]
    pub fn port_at(mut self, container: u16, host: u16) -> Self {
        self.spec.ports.push(Port { container, host: Some(host) });
        self
    }

    /// Gives it an anonymous volume, which goes with it.
    #[must_use]
    pub fn volume(mut self, path: impl Into<String>) -> Self {
        self.spec.volumes.push(path.into());
        self
    }

    /// Gives it a file system in memory.
    #[must_use]
    pub fn tmpfs(mut self, path: impl Into<String>) -> Self {
        self.spec.tmpfs.push(path.into());
        self
    }

    /// Shows it something of the engine's machine.
    #[must_use]
    pub fn mount(mut self, mount: HostMount) -> Self {
        self.spec.mounts.push(mount);
        self
    }

    /// Gives it all capabilities and devices the engine has.
    #[must_use]
    pub fn privileged(mut self) -> Self {
        self.spec.privileged = true;
        self
    }

    /// Runs it as another user, such as `1000:1000`.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.spec.user = Some(user.into());
        self
    }

    /// Adds a label beside the run's own.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.spec.labels.insert(name.into(), value.into());
        self
    }

    /// Starts it and sees that it still runs; what it serves is for the caller to wait for.
    pub fn start(self) -> BoxFuture<'static, Result<Sibling, Error>> {
        Box::pin(async move {
            let alias = self.spec.aliases[0].clone();
            let held = Box::pin(Held::start(&self.run, self.spec)).await?;
            Ok(Sibling { held, alias })
        })
    }
}

impl Sibling {
    /// A container of an image (name and tag), known as `name` on the run's network.
    pub fn builder(run: &Run, name: &str, image: impl Into<String>) -> SiblingBuilder {
        let spec = Spec {
            name: run.name(name),
            image: image.into(),
            aliases: vec![name.to_owned()],
            environment: BTreeMap::new(),
            ..Spec::default()
        };
        SiblingBuilder { run: run.clone(), spec }
    }

    /// The first name under which pods, nodes and other siblings reach it.
    pub fn alias(&self) -> &str {
        &self.alias
    }

    /// The container's name at the engine.
    pub fn container(&self) -> &str {
        &self.held.name
    }

    /// Its address on the run's network; none while it is cut off or stopped.
    pub async fn address(&self) -> Result<Option<String>, Error> {
        self.held.address().await
    }

    /// The port of 127.0.0.1 behind which one of its ports lies; changes when it restarts or reconnects.
    pub async fn port(&self, container: u16) -> Result<u16, Error> {
        self.held.port(container).await
    }

    /// Says whether its first process runs.
    pub async fn is_running(&self) -> Result<bool, Error> {
        Ok(self.held.inspect().await?.state.and_then(|state| state.running).unwrap_or(false))
    }

    /// Runs a command in it; an exit code is an answer.
    pub async fn exec(&self, command: Command) -> Result<Output, Error> {
        exec::exec(&self.held.docker, &self.held.name, command).await
    }

    /// Runs a command in it that must end with 0.
    pub async fn exec_ok(&self, command: Command) -> Result<Output, Error> {
        exec::exec_ok(&self.held.docker, &self.held.name, command).await
    }

    /// Writes a file into it.
    pub async fn write(&self, path: &str, bytes: &[u8], mode: u32) -> Result<(), Error> {
        exec::write(&self.held.docker, &self.held.name, path, bytes, mode).await
    }

    /// Makes a directory in it; what is above must be there.
    pub async fn make_directory(&self, path: &str, mode: u32) -> Result<(), Error> {
        exec::make_directory(&self.held.docker, &self.held.name, path, mode).await
    }

    /// Reads a file of it.
    pub async fn read(&self, path: &str) -> Result<Vec<u8>, Error> {
        exec::read(&self.held.docker, &self.held.name, path).await
    }

    /// What it has printed.
    pub async fn logs(&self) -> Result<String, Error> {
        exec::logs(&self.held.docker, &self.held.name).await
    }

    /// Asks it to end, kills it after two seconds, and leaves it there: connections are refused.
    pub async fn stop(&self) -> Result<(), Error> {
        power::stop(&self.held.docker, &self.held.name).await
    }

    /// Starts it again after [`Sibling::stop`] or [`Sibling::kill`].
    pub async fn start(&self) -> Result<(), Error> {
        power::start(&self.held.docker, &self.held.name).await
    }

    /// Kills it at once, as a power cut would.
    pub async fn kill(&self) -> Result<(), Error> {
        power::kill(&self.held.docker, &self.held.name).await
    }

    /// Stops and starts it.
    pub async fn restart(&self) -> Result<(), Error> {
        power::restart(&self.held.docker, &self.held.name).await
    }

    /// Freezes its processes: connections stay open and hang.
    pub async fn pause(&self) -> Result<(), Error> {
        power::pause(&self.held.docker, &self.held.name).await
    }

    /// Lets its processes go on.
    pub async fn unpause(&self) -> Result<(), Error> {
        power::unpause(&self.held.docker, &self.held.name).await
    }

    /// Cuts it off the network: its name no longer resolves, and packets to its address get no answer.
    pub async fn disconnect(&self) -> Result<(), Error> {
        self.held.disconnect().await
    }

    /// Puts it back on the network under its names; the address may be another.
    pub async fn connect(&self) -> Result<(), Error> {
        self.held.connect().await
    }

    /// Waits until a TCP port of it listens, looking from inside its own network namespace.
    ///
    /// # Errors
    /// [`Error::Deadline`] with the end of its log.
    pub async fn wait_listening(&self, port: u16, within: Duration) -> Result<(), Error> {
        let what = format!("{} to listen on port {port}", self.alias);
        wait(&what, within, || async {
            let address = self.address().await?;
            let Some(address) = address else { return Ok(Look::NotYet("it has no address".to_owned())) };
            // From this machine the bridge is reachable where the engine is local; else the published port is.
            let target = if crate::engine::is_local() {
                format!("{address}:{port}")
            } else {
                format!("127.0.0.1:{}", self.port(port).await?)
            };
            let tried =
                tokio::time::timeout(Duration::from_secs(1), tokio::net::TcpStream::connect(&target)).await;
            Ok(match tried {
                Ok(Ok(_)) => Look::Reached(()),
                Ok(Err(error)) => Look::NotYet(format!("{target}: {error}; {}", self.last_words().await)),
                Err(_) => Look::NotYet(format!("{target} does not answer; {}", self.last_words().await)),
            })
        })
        .await
    }

    /// Removes it with its anonymous volumes.
    pub async fn delete(self) -> Result<(), Error> {
        self.held.delete().await
    }

    async fn last_words(&self) -> String {
        let log = self.logs().await.unwrap_or_default();
        let lines: Vec<_> = log.lines().filter(|line| !line.trim().is_empty()).collect();
        format!("its log ends: {}", lines[lines.len().saturating_sub(3)..].join(" | "))
    }
}
