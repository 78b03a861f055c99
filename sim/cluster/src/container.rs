//! One container of ours, started through testcontainers: marked, on the run's network, published on loopback only.
//!
//! Nothing is ever pulled: an image that is not there is an error before anything is created. Ports go to 127.0.0.1.
//! The container goes when its handle does; a run that keeps leaves it.

use futures::future::BoxFuture;
use std::{borrow::Cow, collections::BTreeMap, path::PathBuf};

use testcontainers::{
    ContainerAsync, ContainerRequest, Image, ImageExt, TestcontainersError,
    bollard::{
        Docker,
        errors::Error as DockerError,
        models::{
            EndpointSettings, HostConfig, Mount, MountType, NetworkConnectRequest, NetworkDisconnectRequest,
            PortBinding, RestartPolicy, RestartPolicyNameEnum,
        },
    },
    core::{CgroupnsMode, WaitFor},
    runners::AsyncRunner,
};

use crate::{Error, Run, error::chain, mark, sweep};

/// A port of a container, published on 127.0.0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// TCP port inside the container.
    pub container: u16,
    /// Port of this machine; a free one where none is named.
    pub host: Option<u16>,
}

/// A file or directory of the engine's machine that a container sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostMount {
    /// Where it lies; made as a directory if it is missing.
    pub host: PathBuf,
    /// Where the container sees it.
    pub container: String,
    /// Whether the container may only read it.
    pub read_only: bool,
}

/// What a container is to be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spec {
    pub name: String,
    pub image: String,
    pub arguments: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub aliases: Vec<String>,
    pub ports: Vec<Port>,
    pub mounts: Vec<HostMount>,
    pub tmpfs: Vec<String>,
    pub volumes: Vec<String>,
    pub user: Option<String>,
    pub privileged: bool,
    /// A node: private cgroup namespace, unconfined, restarted once by the engine after a crash.
    pub node: bool,
}

/// The shape in which testcontainers wants it.
#[derive(Debug, Clone)]
struct Shape {
    name: String,
    tag: String,
}

impl Image for Shape {
    fn name(&self) -> &str {
        &self.name
    }

    fn tag(&self) -> &str {
        &self.tag
    }

    // Readiness is a level that the fixtures look at themselves; log lines are edges.
    fn ready_conditions(&self) -> Vec<WaitFor> {
        Vec::new()
    }

    fn env_vars(&self) -> impl IntoIterator<Item = (impl Into<Cow<'_, str>>, impl Into<Cow<'_, str>>)> {
        std::iter::empty::<(String, String)>()
    }
}

/// A container that goes with its handle.
pub(crate) struct Held {
    pub docker: Docker,
    pub name: String,
    network: String,
    aliases: Vec<String>,
    keep: bool,
    container: Option<ContainerAsync<Shape>>,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "container {}", self.name)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let outside = tokio::runtime::Handle::try_current().is_err();
        if let Some(container) = self.container.take().filter(|_| self.keep || outside) {
            std::mem::forget(container); // to be kept, or left to the end of the run: there is no runtime to ask the engine in
        }
    }
}

impl Held {
    /// Starts a container on the run's network.
    pub fn start(run: &Run, spec: Spec) -> BoxFuture<'_, Result<Self, Error>> {
        Box::pin(async move {
            let docker = run.docker().clone();
            require_image(&docker, &spec.image).await?;
            take_name(&docker, &spec.name).await?;
            let network = run.network().await?;
            let (name, aliases) = (spec.name.clone(), spec.aliases.clone());
            let request = request(run, spec, &network);
            // The engine goes on creating when its client goes away; so the request outlives whoever awaits it here, and
            // the end of the run waits for it.
            let (hand_over, taken) = tokio::sync::oneshot::channel();
            let busy = run.busy().await?;
            tokio::spawn(async move {
                let unwanted = hand_over.send(request.start().await).err();
                drop(unwanted); // nobody waits any more: its handle removes it
                drop(busy);
            });
            let started = taken.await.expect("the task sends before it ends");
            let container = match started {
                Ok(container) => container,
                Err(error) => {
                    // testcontainers forgets a container that it created and could not start
                    let _ = sweep::remove_with_loops(&docker, &name, &name).await;
                    return Err(why_not(name, error));
                }
            };
            let held = Self { docker, name, network, aliases, keep: run.keeps(), container: Some(container) };
            if !held.aliases.is_empty() {
                held.disconnect().await?;
                held.connect().await?;
            }
            Ok(held)
        })
    }

    /// The address on the run's network; none while it is cut off.
    pub async fn address(&self) -> Result<Option<String>, Error> {
        let seen = self.inspect().await?;
        let networks = seen.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let address = networks.get(&self.network).and_then(|endpoint| endpoint.ip_address.clone());
        Ok(address.filter(|address| !address.is_empty()))
    }

    /// The port of this machine behind which a port of the container lies. It changes with every restart.
    pub async fn port(&self, port: u16) -> Result<u16, Error> {
        let seen = self.inspect().await?;
        let ports = seen.network_settings.and_then(|settings| settings.ports).unwrap_or_default();
        let bound = ports.get(&format!("{port}/tcp")).cloned().flatten().unwrap_or_default();
        bound.first().and_then(|binding| binding.host_port.as_ref()?.parse().ok()).ok_or_else(|| {
            Error::Unknown {
                what: "published port",
                name: format!("{port}/tcp of {}", self.name),
                there: ports.keys().cloned().collect(),
            }
        })
    }

    pub async fn inspect(&self) -> Result<testcontainers::bollard::models::ContainerInspectResponse, Error> {
        let asked = self.docker.inspect_container(&self.name, None).await;
        asked.map_err(Error::docker(format!("describe the container {}", self.name)))
    }

    /// Takes it off the network: nobody reaches it, and it reaches nobody.
    pub async fn disconnect(&self) -> Result<(), Error> {
        let request = NetworkDisconnectRequest { container: self.name.clone(), force: Some(true) };
        self.docker
            .disconnect_network(&self.network, request)
            .await
            .map_err(Error::docker(format!("cut {} off its network", self.name)))
    }

    /// Puts it back on the network, under its names.
    pub async fn connect(&self) -> Result<(), Error> {
        let endpoint = EndpointSettings { aliases: Some(self.aliases.clone()), ..Default::default() };
        let request = NetworkConnectRequest { container: self.name.clone(), endpoint_config: Some(endpoint) };
        self.docker
            .connect_network(&self.network, request)
            .await
            .map_err(Error::docker(format!("put {} on its network", self.name)))
    }

    /// Kills and removes it with its anonymous volumes and loop devices.
    pub async fn delete(mut self) -> Result<(), Error> {
        if let Some(container) = self.container.take() {
            sweep::remove_with_loops(&self.docker, container.id(), &self.name).await?;
            std::mem::forget(container); // it is gone; the handle would ask for it again
        }
        Ok(())
    }
}

fn request(run: &Run, spec: Spec, network: &str) -> ContainerRequest<Shape> {
    let (name, tag) = match spec.image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name.to_owned(), tag.to_owned()),
        _ => (spec.image.clone(), "latest".to_owned()),
    };
    let mut labels = run.labels();
    labels.extend(spec.labels);
    let hostname = if spec.name.len() <= 63 { spec.name.clone() } else { spec.name[..63].to_owned() };
    let mut request = Shape { name, tag }
        .with_container_name(spec.name)
        .with_hostname(hostname)
        .with_network(network)
        .with_labels(labels)
        .with_cmd(spec.arguments)
        .with_privileged(spec.privileged);
    for (name, value) in spec.environment {
        request = request.with_env_var(name, value);
    }
    if let Some(user) = spec.user {
        request = request.with_user(user);
    }
    for port in &spec.ports {
        let inside = testcontainers::core::ContainerPort::Tcp(port.container);
        request = request.with_mapped_port(port.host.unwrap_or(0), inside);
    }
    if spec.node {
        request = request
            .with_cgroupns_mode(CgroupnsMode::Private)
            .with_security_opt("seccomp=unconfined")
            .with_security_opt("apparmor=unconfined");
    }
    let (ports, mounts, tmpfs, volumes, node) =
        (spec.ports, spec.mounts, spec.tmpfs, spec.volumes, spec.node);
    request.with_host_config_modifier(move |config: &mut HostConfig| {
        config.publish_all_ports = Some(false);
        let bindings = ports.iter().map(|port| {
            let binding = PortBinding {
                host_ip: Some("127.0.0.1".to_owned()),
                host_port: Some(port.host.unwrap_or(0).to_string()),
            };
            (format!("{}/tcp", port.container), Some(vec![binding]))
        });
        config.port_bindings = Some(bindings.collect());
        config.init = Some(false);
        config.tmpfs = Some(tmpfs.iter().map(|path| (path.clone(), String::new())).collect());
        let binds = mounts.iter().map(|mount| {
            format!(
                "{}:{}{}",
                mount.host.display(),
                mount.container,
                if mount.read_only { ":ro" } else { "" }
            )
        });
        config.binds = Some(binds.collect());
        let anonymous = volumes.iter().map(|path| Mount {
            target: Some(path.clone()),
            typ: Some(MountType::VOLUME),
            ..Default::default()
        });
        config.mounts = Some(anonymous.collect());
        if node {
            config.restart_policy = Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::ON_FAILURE),
                maximum_retry_count: Some(1),
            });
        }
    })
}

/// Sees that an image is there, because nothing here pulls.
pub(crate) async fn require_image(docker: &Docker, name: &str) -> Result<(), Error> {
    match docker.inspect_image(name).await {
        Ok(_) => Ok(()),
        Err(DockerError::DockerResponseServerError { status_code: 404, .. }) => {
            let cure = if name.starts_with("kind.local/") {
                "build it with `firedrill images build`".to_owned()
            } else {
                format!("load it with `docker load`, or `docker pull {name}` where a registry can be reached")
            };
            Err(Error::ImageMissing { name: name.to_owned(), cure })
        }
        Err(error) => Err(Error::docker(format!("look for the image {name}"))(error)),
    }
}

/// Sees that no living run has a container of this name; what a dead one left under it goes.
async fn take_name(docker: &Docker, name: &str) -> Result<(), Error> {
    let Ok(seen) = docker.inspect_container(name, None).await else { return Ok(()) };
    let labels: BTreeMap<_, _> =
        seen.config.and_then(|config| config.labels).unwrap_or_default().into_iter().collect();
    if mark::is_left_behind(&labels) {
        return sweep::remove_with_loops(docker, name, name).await;
    }
    let owner = match (labels.get(mark::RUN), labels.contains_key(mark::KEEP)) {
        (Some(run), true) => format!("run {run}, which was to be kept"),
        (Some(run), false) => format!("run {run}"),
        (None, _) => "nobody this program knows".to_owned(),
    };
    Err(Error::NameTaken { name: name.to_owned(), owner })
}

/// Finds the sentence behind a failed start.
fn why_not(name: String, error: TestcontainersError) -> Error {
    let text = chain(&error);
    if text.contains("port is already allocated") || text.contains("address already in use") {
        // "... failed to bind host port for 127.0.0.1:8080:172.18.0.2:80/tcp ..." or "Bind for 127.0.0.1:8080 failed"
        let port = text
            .split("127.0.0.1:")
            .nth(1)
            .map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
        return Error::PortTaken { port: port.and_then(|port| port.parse().ok()).unwrap_or(0) };
    }
    if text.contains("unable to apply caps") || text.contains("privileged") && text.contains("denied") {
        return Error::Unprivileged { detail: text };
    }
    Error::Start { name, source: Box::new(error) }
}
