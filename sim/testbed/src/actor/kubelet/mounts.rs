//! What a container finds under its mount paths.
//!
//! Resolves a pod's volumes to the bed's: claims to volumes, NFS volumes to exports, Secrets and ConfigMaps
//! to files, empty directories to fresh trees. A volume that cannot be set up yet is an error with
//! kubelet's text and is tried again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use json::Value;

use super::environment::read_all;
use crate::{
    actor::{
        Cluster,
        cluster::{name, namespace, text},
    },
    storage::{Backing, Storage},
    volume::{Character, Volume},
};

/// What stands behind a mount path.
#[derive(Clone, Debug)]
pub enum Mounted {
    /// A claim, or an empty directory.
    Volume {
        /// The volume.
        volume: Volume,
        /// The claim; empty for an empty directory.
        claim: String,
        /// Directory within the volume.
        sub_path: String,
        /// Mounted for reading only.
        is_read_only: bool,
    },
    /// An NFS export.
    Nfs {
        /// Server name or address.
        server: String,
        /// Exported path.
        path: String,
        /// For a soft mount: after how long a request fails.
        soft: Option<Duration>,
        /// Mounted for reading only.
        is_read_only: bool,
    },
    /// A Secret or ConfigMap, as files.
    Files(Arc<BTreeMap<String, Vec<u8>>>),
}

/// The mounts of one container by path.
pub type Mounts = BTreeMap<String, Mounted>;

/// The volumes of a pod, by their name in it.
pub type Volumes = BTreeMap<String, Mounted>;

/// Sets up the volumes of a pod; the error is the text of a `FailedMount` event.
pub fn set_up(cluster: &Cluster, storage: &Storage, pod: &Value) -> Result<Volumes, String> {
    let mut volumes = Volumes::new();
    for volume in pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten() {
        let volume_name = text(volume, "/name");
        let failed = |why: String| format!("MountVolume.SetUp failed for volume \"{volume_name}\" : {why}");
        let mounted = if volume["persistentVolumeClaim"].is_object() || volume["ephemeral"].is_object() {
            let claim = match text(volume, "/persistentVolumeClaim/claimName") {
                "" => format!("{}-{volume_name}", name(pod)),
                claim => claim.to_owned(),
            };
            let is_read_only = volume.pointer("/persistentVolumeClaim/readOnly") == Some(&Value::Bool(true));
            let backing = storage.of_claim(cluster, namespace(pod), &claim);
            match backing.ok_or_else(|| failed(format!("persistentvolumeclaim \"{claim}\" is not bound")))? {
                Backing::Volume(volume) => {
                    Mounted::Volume { volume, claim, sub_path: String::new(), is_read_only }
                }
                Backing::Nfs { server, path, soft } => Mounted::Nfs { server, path, soft, is_read_only },
            }
        } else if volume["nfs"].is_object() {
            Mounted::Nfs {
                server: text(volume, "/nfs/server").to_owned(),
                path: text(volume, "/nfs/path").to_owned(),
                // A volume inside a pod cannot carry mount options: it is always hard.
                soft: None,
                is_read_only: volume.pointer("/nfs/readOnly") == Some(&Value::Bool(true)),
            }
        } else if volume["secret"].is_object() {
            Mounted::Files(
                files(cluster, namespace(pod), "secret", &volume["secret"], "secretName").map_err(failed)?,
            )
        } else if volume["configMap"].is_object() {
            Mounted::Files(
                files(cluster, namespace(pod), "configmap", &volume["configMap"], "name").map_err(failed)?,
            )
        } else if volume["projected"].is_object() {
            Mounted::Files(projected(cluster, pod, &volume["projected"]).map_err(failed)?)
        } else {
            // emptyDir, and hostPath as far as nobody looks at what the host holds.
            let scratch = Volume::new(
                format!("{}/{volume_name}", name(pod)),
                Character::HostPath,
                cluster.clock().as_function(),
            );
            let limit = text(volume, "/emptyDir/sizeLimit");
            if !limit.is_empty() {
                scratch.resize(Some(crate::quantity::bytes(limit)));
            }
            Mounted::Volume {
                volume: scratch,
                claim: String::new(),
                sub_path: String::new(),
                is_read_only: false,
            }
        };
        volumes.insert(volume_name.to_owned(), mounted);
    }
    Ok(volumes)
}

/// The mounts of a container over the volumes of its pod.
pub fn of_container(volumes: &Volumes, container: &Value) -> Mounts {
    let mut mounts = Mounts::new();
    for mount in container["volumeMounts"].as_array().into_iter().flatten() {
        let Some(mounted) = volumes.get(text(mount, "/name")) else { continue };
        let mut mounted = mounted.clone();
        let read_only = mount["readOnly"] == true;
        match &mut mounted {
            Mounted::Volume { sub_path, is_read_only, .. } => {
                text(mount, "/subPath").clone_into(sub_path);
                *is_read_only |= read_only;
            }
            Mounted::Nfs { path, is_read_only, .. } => {
                let sub_path = text(mount, "/subPath").trim_matches('/');
                if !sub_path.is_empty() {
                    *path = format!("{}/{sub_path}", path.trim_end_matches('/'));
                }
                *is_read_only |= read_only;
            }
            Mounted::Files(_) => {}
        }
        mounts.insert(text(mount, "/mountPath").trim_end_matches('/').to_owned(), mounted);
    }
    mounts
}

/// The deepest mount that holds a path, and the path within it.
pub fn resolve<'a>(mounts: &'a Mounts, path: &'a str) -> Option<(&'a Mounted, &'a str)> {
    let path = path.trim_end_matches('/');
    let holds = |mount: &str| {
        path == mount || (path.starts_with(mount) && path.as_bytes().get(mount.len()) == Some(&b'/'))
    };
    let (mount, mounted) =
        mounts.iter().filter(|(mount, _)| holds(mount)).max_by_key(|(mount, _)| mount.len())?;
    Some((mounted, path[mount.len()..].trim_start_matches('/')))
}

fn files(
    cluster: &Cluster,
    space: &str,
    kind: &str,
    source: &Value,
    field: &str,
) -> Result<Arc<BTreeMap<String, Vec<u8>>>, String> {
    let object = source[field].as_str().unwrap_or_default();
    let is_optional = source["optional"] == true;
    let Some(data) = read_all(cluster, kind, space, object) else {
        return if is_optional { Ok(Arc::default()) } else { Err(format!("{kind} \"{object}\" not found")) };
    };
    let Some(items) = source["items"].as_array() else { return Ok(Arc::new(data)) };
    let mut picked = BTreeMap::new();
    for item in items {
        let key = text(item, "/key");
        match data.get(key) {
            Some(value) => {
                picked.insert(text(item, "/path").to_owned(), value.clone());
            }
            None if is_optional => {}
            None => return Err(format!("references non-existent {kind} key: {key}")),
        }
    }
    Ok(Arc::new(picked))
}

fn projected(
    cluster: &Cluster,
    pod: &Value,
    source: &Value,
) -> Result<Arc<BTreeMap<String, Vec<u8>>>, String> {
    let mut all = BTreeMap::new();
    for part in source["sources"].as_array().into_iter().flatten() {
        for (kind, field) in [("secret", "secret"), ("configmap", "configMap")] {
            if part[field].is_object() {
                all.extend(files(cluster, namespace(pod), kind, &part[field], "name")?.as_ref().clone());
            }
        }
    }
    Ok(Arc::new(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_holds_a_path() {
        let empty = Mounted::Files(Arc::default());
        let mounts: Mounts = ["/restore", "/restore/data", "/mnt/repository"]
            .map(|path| (path.to_owned(), empty.clone()))
            .into();
        for (path, expected) in [
            ("/restore/data", Some("")),
            ("/restore/data/a/b", Some("a/b")),
            ("/restore/database", Some("database")),
            ("/mnt/repository/", Some("")),
            ("/mnt", None),
            ("/repository", None),
        ] {
            assert_eq!(resolve(&mounts, path).map(|(_, rest)| rest), expected, "{path}");
        }
    }
}
