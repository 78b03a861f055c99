//! Removes what runs left: containers with their volumes, networks, volumes, loop devices and directories.
//!
//! What a living run uses is never touched: only labels decide, see [`crate::mark`]. Safe to call at any time, also
//! by several processes at once; what another process removes meanwhile counts as gone.

use futures::future::BoxFuture;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use testcontainers::bollard::{
    Docker,
    errors::Error as DockerError,
    query_parameters::{
        ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
        RemoveContainerOptionsBuilder, RemoveVolumeOptionsBuilder,
    },
};

use crate::{
    Error, cache, engine,
    mark::{self, Life, Owner},
    wait::{Look, wait},
};

/// What is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which<'a> {
    /// Everything whose owner is gone, except what was to be kept.
    LeftBehind,
    /// Everything of one run, kept or not.
    Run(&'a str),
    /// Everything that was to be kept, of runs whose process has ended.
    Kept,
}

/// What went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Names of containers.
    pub containers: Vec<String>,
    /// Names of networks.
    pub networks: Vec<String>,
    /// Names of volumes, named ones only: anonymous ones go with their container.
    pub volumes: Vec<String>,
    /// Loop devices whose file lay in a volume that went.
    pub loops: Vec<String>,
    /// Directories with the files of a run.
    pub directories: Vec<PathBuf>,
}

impl Swept {
    /// Says whether there was nothing to remove.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Which<'_> {
    fn takes(self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::LeftBehind => mark::is_left_behind(labels),
            Self::Run(id) => labels.get(mark::RUN).is_some_and(|run| run == id),
            Self::Kept => labels.contains_key(mark::KEEP) && mark::is_orphan(labels),
        }
    }

    fn takes_directory(self, name: &str, owner: &str) -> bool {
        match self {
            Self::LeftBehind => is_gone(owner),
            Self::Run(id) => name == id,
            Self::Kept => owner.strip_prefix(mark::KEEP).is_some_and(|owner| is_gone(owner.trim())),
        }
    }
}

fn is_gone(owner: &str) -> bool {
    Owner::parse(owner).is_some_and(|owner| owner.life() == Life::Gone)
}

/// Removes what `which` names.
pub fn sweep<'a>(docker: &'a Docker, which: Which<'a>) -> BoxFuture<'a, Result<Swept, Error>> {
    Box::pin(async move {
        let mut swept = Swept::default();
        let filters = BTreeMap::from([("label", vec![mark::RUN])]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters.clone().into_iter().collect())
            .build();
        let all = docker.list_containers(Some(options)).await.map_err(Error::docker("list containers"))?;
        let mut going = Vec::new();
        for container in all {
            let labels: BTreeMap<_, _> = container.labels.unwrap_or_default().into_iter().collect();
            let Some(id) = container.id.filter(|_| which.takes(&labels)) else { continue };
            let name = container
                .names
                .unwrap_or_default()
                .first()
                .map_or(id.as_str(), |name| name.trim_start_matches('/'))
                .to_owned();
            let sources =
                container.mounts.unwrap_or_default().into_iter().filter_map(|mount| {
                    Some((PathBuf::from(mount.destination?), PathBuf::from(mount.source?)))
                });
            going.push((id, name, sources.collect::<Vec<_>>()));
        }
        // All die first, in parallel: a loop device is free once the processes that hold it are gone.
        let kills = going.iter().map(|(id, ..)| docker.kill_container(id, None));
        futures::future::join_all(kills).await;
        for (_, _, sources) in &going {
            swept.loops.extend(detach_loops(sources).await);
        }
        let removals = going.iter().map(|(id, name, _)| remove_container(docker, id, name));
        for removed in futures::future::join_all(removals).await {
            removed?;
        }
        swept.containers = going.into_iter().map(|(_, name, _)| name).collect();

        let options =
            ListNetworksOptionsBuilder::new().filters(&filters.clone().into_iter().collect()).build();
        let networks = docker.list_networks(Some(options)).await.map_err(Error::docker("list networks"))?;
        for network in networks {
            let labels: BTreeMap<_, _> = network.labels.unwrap_or_default().into_iter().collect();
            let Some(name) = network.name.filter(|_| which.takes(&labels)) else { continue };
            match docker.remove_network(&name).await {
                // The engine is still attaching what a dead run had asked for: the next sweep takes both.
                Err(DockerError::DockerResponseServerError { status_code: 403, .. }) => {}
                answer => {
                    gone(answer, &format!("remove the network {name}"))?;
                    swept.networks.push(name);
                }
            }
        }
        let options = ListVolumesOptionsBuilder::new().filters(&filters.into_iter().collect()).build();
        let volumes = docker.list_volumes(Some(options)).await.map_err(Error::docker("list volumes"))?;
        for volume in volumes.volumes.unwrap_or_default() {
            let labels: BTreeMap<_, _> = volume.labels.clone().into_iter().collect();
            if which.takes(&labels) {
                let options = RemoveVolumeOptionsBuilder::new().force(true).build();
                gone(
                    docker.remove_volume(&volume.name, Some(options)).await,
                    &format!("remove the volume {}", volume.name),
                )?;
                swept.volumes.push(volume.name);
            }
        }
        for entry in fs::read_dir(cache::root().join("runs")).into_iter().flatten().flatten() {
            let owner = fs::read_to_string(entry.path().join("owner")).unwrap_or_default();
            if which.takes_directory(&entry.file_name().to_string_lossy(), owner.trim()) {
                match fs::remove_dir_all(entry.path()) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {} // another sweep was faster
                    removed => {
                        removed.map_err(Error::file("remove", entry.path()))?;
                        swept.directories.push(entry.path());
                    }
                }
            }
        }
        Ok(swept)
    })
}

/// Kills and removes one container with its anonymous volumes and its loop devices.
pub(crate) async fn remove_with_loops(docker: &Docker, id: &str, name: &str) -> Result<(), Error> {
    let seen = docker.inspect_container(id, None).await;
    let mounts = seen.ok().and_then(|seen| seen.mounts).unwrap_or_default();
    let sources: Vec<_> = mounts
        .into_iter()
        .filter_map(|mount| Some((PathBuf::from(mount.destination?), PathBuf::from(mount.source?))))
        .collect();
    let _ = docker.kill_container(id, None).await; // it may have ended by itself
    detach_loops(&sources).await;
    remove_container(docker, id, name).await
}

async fn remove_container(docker: &Docker, id: &str, name: &str) -> Result<(), Error> {
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    gone(docker.remove_container(id, Some(options)).await, &format!("remove the container {name}"))?;
    // Somebody else may be removing it; it is gone when the engine no longer knows it.
    wait(&format!("container {name} to be gone"), Duration::from_secs(60), || async {
        Ok(match docker.inspect_container(id, None).await {
            Err(DockerError::DockerResponseServerError { status_code: 404, .. }) => Look::Reached(()),
            Err(error) => Look::NotYet(error.to_string()),
            Ok(_) => Look::NotYet("it is still there".to_owned()),
        })
    })
    .await
}

/// An answer that says the thing is gone, or going, is as good as a removal.
fn gone<T>(answer: Result<T, DockerError>, doing: &str) -> Result<(), Error> {
    match answer {
        Ok(_) | Err(DockerError::DockerResponseServerError { status_code: 404 | 409, .. }) => Ok(()),
        Err(error) => Err(Error::docker(doing)(error)),
    }
}

/// Detaches the loop devices whose file lies in one of these mounts (place in the container, place on this machine).
async fn detach_loops(mounts: &[(PathBuf, PathBuf)]) -> Vec<String> {
    if !engine::is_local() {
        return Vec::new();
    }
    let listed = tokio::process::Command::new("losetup")
        .args(["--list", "--noheadings", "--raw", "--output", "NAME,BACK-INO,BACK-FILE"])
        .output()
        .await;
    let Ok(listed) = listed else { return Vec::new() }; // no losetup, so nothing of ours made a loop device
    let mut detached = BTreeSet::new();
    for line in String::from_utf8_lossy(&listed.stdout).lines() {
        let mut fields = line.split_whitespace();
        let (Some(device), Some(inode), Some(file)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let Ok(inode) = inode.parse::<u64>() else { continue };
        if !mounts.iter().any(|(inside, outside)| holds(inside, outside, Path::new(file), inode)) {
            continue;
        }
        let ended = tokio::process::Command::new("losetup").args(["--detach", device]).status().await;
        if ended.is_ok_and(|status| status.success()) {
            detached.insert(device.to_owned());
        }
    }
    detached.into_iter().collect()
}

/// Says whether a loop device's file, named as its maker saw it, is that inode of a mount.
fn holds(inside: &Path, outside: &Path, file: &Path, inode: u64) -> bool {
    // The kernel shows the path from the root of the maker's mount tree, or, once that is gone, from the mount's root.
    let below = [file.strip_prefix(inside).ok(), file.strip_prefix("/").ok()];
    below
        .into_iter()
        .flatten()
        .any(|below| fs::metadata(outside.join(below)).is_ok_and(|seen| seen.ino() == inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_devices_file_is_known_by_its_inode() {
        let volume = tempfile::tempdir().unwrap();
        fs::create_dir(volume.path().join("lib")).unwrap();
        let file = volume.path().join("lib/disk.img");
        fs::write(&file, "x").unwrap();
        let inode = fs::metadata(&file).unwrap().ino();
        let inside = Path::new("/var");
        assert!(holds(inside, volume.path(), Path::new("/var/lib/disk.img"), inode));
        assert!(holds(inside, volume.path(), Path::new("/lib/disk.img"), inode));
        assert!(!holds(inside, volume.path(), Path::new("/var/lib/disk.img"), inode + 1));
        assert!(!holds(inside, volume.path(), Path::new("/home/disk.img"), inode));
    }

    #[test]
    fn a_run_takes_its_own_only() {
        let labels = BTreeMap::from([(mark::RUN.to_owned(), "abc".to_owned())]);
        assert!(Which::Run("abc").takes(&labels));
        assert!(!Which::Run("abd").takes(&labels));
        assert!(!Which::LeftBehind.takes(&labels), "without an owner nothing can be judged");
        assert!(!Which::Kept.takes(&labels));
        let mut kept = labels;
        kept.insert(mark::KEEP.to_owned(), "true".to_owned());
        kept.insert(mark::OWNER.to_owned(), Owner::this_process().label());
        assert!(!Which::Kept.takes(&kept), "its process still lives");
        kept.insert(mark::OWNER.to_owned(), "1/1/1/an-earlier-boot".to_owned());
        assert!(Which::Kept.takes(&kept) && !Which::LeftBehind.takes(&kept));
    }
}
