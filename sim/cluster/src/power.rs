//! The power switch of any container of ours, by name: for who has a container's name and not its handle.
//!
//! Stopped, paused and killed are different outages to whoever talks to what runs in it. Every call returns when the
//! engine says that it is done; none waits for what the container serves.

use std::collections::BTreeMap;

use testcontainers::bollard::{
    Docker,
    errors::Error as DockerError,
    query_parameters::{RestartContainerOptionsBuilder, StopContainerOptionsBuilder},
};

use crate::Error;

/// Seconds that processes get between being asked to end and being killed.
const GRACE: i32 = 2;

/// Asks it to end, kills it after two seconds, and leaves it there: connections are refused.
pub async fn stop(docker: &Docker, container: &str) -> Result<(), Error> {
    let options = StopContainerOptionsBuilder::new().t(GRACE).build();
    told("stop", container, docker.stop_container(container, Some(options)).await)
}

/// Starts it again after [`stop`] or [`kill`]. Published ports are other ones, and its address may be.
pub async fn start(docker: &Docker, container: &str) -> Result<(), Error> {
    told("start", container, docker.start_container(container, None).await)
}

/// Kills it at once, as a power cut would.
pub async fn kill(docker: &Docker, container: &str) -> Result<(), Error> {
    told("kill", container, docker.kill_container(container, None).await)
}

/// Stops and starts it.
pub async fn restart(docker: &Docker, container: &str) -> Result<(), Error> {
    let options = RestartContainerOptionsBuilder::new().t(GRACE).build();
    told("restart", container, docker.restart_container(container, Some(options)).await)
}

/// Freezes its processes: connections stay open and hang.
pub async fn pause(docker: &Docker, container: &str) -> Result<(), Error> {
    told("pause", container, docker.pause_container(container).await)
}

/// Lets its processes go on.
pub async fn unpause(docker: &Docker, container: &str) -> Result<(), Error> {
    told("unpause", container, docker.unpause_container(container).await)
}

/// Its addresses by network; empty while it is stopped or cut off.
pub async fn addresses(docker: &Docker, container: &str) -> Result<BTreeMap<String, String>, Error> {
    let seen = docker.inspect_container(container, None).await;
    let seen = seen.map_err(Error::docker(format!("describe the container {container}")))?;
    let networks = seen.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
    let addresses = networks.into_iter().filter_map(|(network, endpoint)| {
        let address = endpoint.ip_address.filter(|address| !address.is_empty())?;
        Some((network, address))
    });
    Ok(addresses.collect())
}

fn told(verb: &str, container: &str, answer: Result<(), DockerError>) -> Result<(), Error> {
    answer.map_err(Error::docker(format!("{verb} the container {container}")))
}
