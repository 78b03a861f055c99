//! The Docker Engine: reaching it, and saying early and clearly what it or its machine lacks.
//!
//! One client serves testcontainers and this room, so both follow the same environment (`DOCKER_HOST`, Docker's
//! context files). Checks look, they change nothing.

use futures::future::BoxFuture;
use std::{fs, path::Path, time::Duration};

pub use testcontainers::bollard::Docker;
use testcontainers::bollard::models::SystemInfoCgroupVersionEnum;

use crate::Error;

/// The oldest engine whose privileged containers get what the daemon itself has, and no more.
const ENGINE_MIN: u32 = 23;
/// What one node takes, idle, with storage side programs and a few movers.
pub(crate) const NODE_MEMORY_MIB: u64 = 1200;
/// What one node's volume takes while it runs.
pub(crate) const NODE_DISK_MIB: u64 = 3000;

/// What a check of the engine found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Version of the engine.
    pub version: String,
    /// 1 or 2.
    pub cgroup_version: u8,
    /// Processors of its machine.
    pub processors: u64,
    /// Memory of its machine, in MiB.
    pub memory_mib: u64,
    /// Where it keeps images and volumes.
    pub root: String,
}

/// Connects to the engine and sees that it answers.
pub fn connect() -> BoxFuture<'static, Result<Docker, Error>> {
    Box::pin(async move {
        let absent =
            |source: Box<dyn std::error::Error + Send + Sync>| Error::NoDocker { host: host(), source };
        let docker = testcontainers::core::client::docker_client_instance()
            .await
            .map_err(|error| absent(Box::new(error)))?
            .with_timeout(Duration::from_secs(900)); // loading a large image answers when it is done
        docker.ping().await.map_err(|error| absent(Box::new(error)))?;
        Ok(docker)
    })
}

/// Says where the engine is looked for.
fn host() -> String {
    std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned())
}

/// Says whether the engine's machine is this one, so that its processes, loop devices and memory can be looked at.
pub fn is_local() -> bool {
    host().starts_with("unix:")
}

/// Looks whether the engine could run nodes.
///
/// # Errors
/// A precondition, see [`Error::is_precondition`].
pub fn check(docker: &Docker) -> BoxFuture<'_, Result<Found, Error>> {
    Box::pin(async move {
        let info = docker.info().await.map_err(Error::docker("describe itself"))?;
        let version = info.server_version.unwrap_or_default();
        let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
        if major < ENGINE_MIN {
            return Err(Error::OldDocker { found: version, wanted: "23.0" });
        }
        if info.security_options.unwrap_or_default().iter().any(|option| option.contains("rootless")) {
            return Err(Error::Unprivileged { detail: "the engine is rootless".to_owned() });
        }
        let cgroup_version = match info.cgroup_version {
            Some(SystemInfoCgroupVersionEnum::_2) => 2,
            _ => 1,
        };
        if is_local() {
            check_cgroups(cgroup_version)?;
        }
        Ok(Found {
            version,
            cgroup_version,
            processors: info.ncpu.unwrap_or(0).unsigned_abs(),
            memory_mib: info.mem_total.unwrap_or(0).unsigned_abs() >> 20,
            root: info.docker_root_dir.unwrap_or_default(),
        })
    })
}

/// The controllers without which a kubelet does not start.
fn check_cgroups(version: u8) -> Result<(), Error> {
    let needed = ["cpu", "cpuset", "memory"];
    let (there, place) = if version == 2 {
        let path = "/sys/fs/cgroup/cgroup.controllers";
        let text = fs::read_to_string(path).unwrap_or_default();
        (text.split_whitespace().map(str::to_owned).collect::<Vec<_>>(), path)
    } else {
        let path = "/proc/cgroups";
        let text = fs::read_to_string(path).unwrap_or_default();
        // name, hierarchy, number of groups, enabled; a controller without a hierarchy of its own is not mounted
        let rows = text.lines().filter(|line| !line.starts_with('#')).map(str::split_whitespace);
        let rows = rows.map(Iterator::collect::<Vec<_>>);
        let mounted = rows.filter(|row| row.get(1).is_some_and(|hierarchy| *hierarchy != "0"));
        (mounted.map(|row| row[0].to_owned()).collect(), path)
    };
    let missing: Vec<_> = needed.iter().filter(|name| !there.iter().any(|have| have == *name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::Cgroup {
        detail: format!(
            "{place} lacks {missing:?} (cgroup v{version}): enable them on the kernel's command line"
        ),
    })
}

/// Looks whether this machine has the memory and the disk for so many more nodes.
pub fn check_room(found: &Found, nodes: u64) -> Result<(), Error> {
    if !is_local() {
        return Ok(());
    }
    let needed_mib = NODE_MEMORY_MIB * nodes;
    if let Some(free_mib) = memory_free_mib()
        && free_mib < needed_mib
    {
        return Err(Error::Memory { what: format!("{nodes} more nodes"), needed_mib, free_mib });
    }
    check_disk(Path::new(&found.root), NODE_DISK_MIB * nodes, &format!("{nodes} more nodes"))
}

/// Looks whether so much disk is free below a directory.
pub(crate) fn check_disk(path: &Path, needed_mib: u64, what: &str) -> Result<(), Error> {
    let Some(there) = path.ancestors().find(|path| path.exists()) else { return Ok(()) };
    let Ok(seen) = rustix::fs::statvfs(there) else { return Ok(()) };
    let free_mib = (seen.f_bavail * seen.f_frsize) >> 20;
    if free_mib >= needed_mib {
        return Ok(());
    }
    Err(Error::Disk { path: there.to_owned(), what: what.to_owned(), needed_mib, free_mib })
}

fn memory_free_mib() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib >> 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_too_small_is_named() {
        let error =
            check_disk(Path::new("/proc/self/nowhere"), u64::MAX, "a cluster of everything").unwrap_err();
        assert!(error.is_precondition());
        assert!(error.to_string().contains("a cluster of everything"), "{error}");
        check_disk(Path::new("/"), 0, "nothing").unwrap();
    }
}
