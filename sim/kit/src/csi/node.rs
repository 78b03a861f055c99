//! The Node service: volumes given to pods and taken away.
//!
//! RBD is staged once per node, by one node at a time, and published from there; the others are published
//! directly, so that each pod of a CephFS volume has a mount of its own with its own page cache. What is
//! published where stands in the record, since a volume in use cannot be deleted.
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use fault::csi::operation;
use tonic::{Request, Response, Status};

use super::{
    controller::supported,
    driver::{Driver, internal},
    inventory::{Record, Thing},
    mounts::{Place, is_mounted},
    proto::{
        NodeExpandVolumeRequest, NodeExpandVolumeResponse, NodeGetCapabilitiesRequest,
        NodeGetCapabilitiesResponse, NodeGetInfoRequest, NodeGetInfoResponse, NodeGetVolumeStatsRequest,
        NodeGetVolumeStatsResponse, NodePublishVolumeRequest, NodePublishVolumeResponse,
        NodeServiceCapability, NodeStageVolumeRequest, NodeStageVolumeResponse, NodeUnpublishVolumeRequest,
        NodeUnpublishVolumeResponse, NodeUnstageVolumeRequest, NodeUnstageVolumeResponse, VolumeUsage,
        node_server::Node,
        node_service_capability::{self, Rpc, rpc},
        volume_capability::{AccessMode, access_mode::Mode},
        volume_usage::Unit,
    },
};

/// The service of one driver.
pub struct NodeService(pub Arc<Driver>);

#[tonic::async_trait]
impl Node for NodeService {
    async fn node_get_info(
        &self,
        _: Request<NodeGetInfoRequest>,
    ) -> Result<Response<NodeGetInfoResponse>, Status> {
        Ok(Response::new(NodeGetInfoResponse { node_id: self.0.node.clone(), ..Default::default() }))
    }

    async fn node_get_capabilities(
        &self,
        _: Request<NodeGetCapabilitiesRequest>,
    ) -> Result<Response<NodeGetCapabilitiesResponse>, Status> {
        let mut capabilities =
            vec![rpc::Type::GetVolumeStats, rpc::Type::ExpandVolume, rpc::Type::SingleNodeMultiWriter];
        if self.0.character.is_exclusive() {
            capabilities.push(rpc::Type::StageUnstageVolume);
        }
        let capabilities = capabilities.into_iter().map(|r#type| NodeServiceCapability {
            r#type: Some(node_service_capability::Type::Rpc(Rpc { r#type: r#type.into() })),
        });
        Ok(Response::new(NodeGetCapabilitiesResponse { capabilities: capabilities.collect() }))
    }

    async fn node_stage_volume(
        &self,
        request: Request<NodeStageVolumeRequest>,
    ) -> Result<Response<NodeStageVolumeResponse>, Status> {
        let request = request.into_inner();
        let handle = given(&request.volume_id, "volume id")?;
        let target = PathBuf::from(given(&request.staging_target_path, "staging target path")?);
        let capability = request
            .volume_capability
            .ok_or_else(|| Status::invalid_argument("a volume capability is missing"))?;
        supported(self.0.character, std::slice::from_ref(&capability))?;
        let class = self.0.class(Thing::Volume, &handle);
        let id = handle.clone();
        self.0
            .call(operation::NODE_STAGE, Thing::Volume, &id, &class, move |driver, _| {
                let mut record = driver.found(Thing::Volume, &handle)?;
                let mine = format!("{}:", driver.node);
                if let Some(other) = record.staged.iter().find(|place| !place.starts_with(&mine)) {
                    let message =
                        format!("{} image {handle} is still being used by node {other}", driver.character);
                    return Err(Status::failed_precondition(message));
                }
                // Written first: what is mounted must be on record.
                record.staged.insert(format!("{mine}{}", target.display()));
                driver.inventory.save(Thing::Volume, &record).map_err(internal)?;
                let actor = record.class().to_owned();
                shown_at(driver, &record, &target, &actor, false).map_err(internal)?;
                Ok(NodeStageVolumeResponse {})
            })
            .await
    }

    async fn node_unstage_volume(
        &self,
        request: Request<NodeUnstageVolumeRequest>,
    ) -> Result<Response<NodeUnstageVolumeResponse>, Status> {
        let request = request.into_inner();
        let handle = given(&request.volume_id, "volume id")?;
        let target = PathBuf::from(given(&request.staging_target_path, "staging target path")?);
        let class = self.0.class(Thing::Volume, &handle);
        let id = handle.clone();
        self.0
            .call(operation::NODE_UNSTAGE, Thing::Volume, &id, &class, move |driver, _| {
                driver.mounts.unmount(&target).map_err(internal)?;
                if let Some(mut record) = driver.inventory.find(Thing::Volume, &handle).map_err(internal)? {
                    record.staged.remove(&format!("{}:{}", driver.node, target.display()));
                    driver.inventory.save(Thing::Volume, &record).map_err(internal)?;
                }
                Ok(NodeUnstageVolumeResponse {})
            })
            .await
    }

    async fn node_publish_volume(
        &self,
        request: Request<NodePublishVolumeRequest>,
    ) -> Result<Response<NodePublishVolumeResponse>, Status> {
        let request = request.into_inner();
        let handle = given(&request.volume_id, "volume id")?;
        let target = given(&request.target_path, "target path")?;
        let capability = request
            .volume_capability
            .ok_or_else(|| Status::invalid_argument("a volume capability is missing"))?;
        supported(self.0.character, std::slice::from_ref(&capability))?;
        let mode = capability.access_mode.as_ref().map_or(Mode::Unknown, AccessMode::mode);
        let read_only =
            request.readonly || matches!(mode, Mode::SingleNodeReaderOnly | Mode::MultiNodeReaderOnly);
        let staging = request.staging_target_path;
        if self.0.character.is_exclusive() && staging.is_empty() {
            return Err(Status::failed_precondition(
                "the volume is not staged: a staging target path is missing",
            ));
        }
        let actor = actor(&request.volume_context);
        let class = self.0.class(Thing::Volume, &handle);
        let id = handle.clone();
        self.0
            .call(operation::NODE_PUBLISH, Thing::Volume, &id, &class, move |driver, _| {
                let mut record = driver.found(Thing::Volume, &handle)?;
                let place = format!("{}:{target}", driver.node);
                let elsewhere = record.published.iter().find(|other| **other != place);
                if let (Mode::SingleNodeSingleWriter, Some(other)) = (mode, elsewhere) {
                    let message = format!("volume {handle} is for one pod, and published at {other}");
                    return Err(Status::failed_precondition(message));
                }
                record.published.insert(place);
                driver.inventory.save(Thing::Volume, &record).map_err(internal)?;
                let target = Path::new(&target);
                let shown = if driver.character.is_exclusive() {
                    // A driver that died took its FUSE mounts along, and the kubelet does not stage again what
                    // it has staged: a bind of the bare folder would be an empty volume.
                    let staging = Path::new(&staging);
                    shown_at(driver, &record, staging, record.class(), false).and_then(|()| {
                        if made_target(target)? {
                            return Ok(());
                        }
                        driver.mounts.bind(staging, target, read_only)
                    })
                } else {
                    let actor = actor.as_deref().unwrap_or(record.class());
                    shown_at(driver, &record, target, actor, read_only)
                };
                shown.map_err(internal)?;
                Ok(NodePublishVolumeResponse {})
            })
            .await
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<NodeUnpublishVolumeRequest>,
    ) -> Result<Response<NodeUnpublishVolumeResponse>, Status> {
        let request = request.into_inner();
        let handle = given(&request.volume_id, "volume id")?;
        let target = given(&request.target_path, "target path")?;
        let class = self.0.class(Thing::Volume, &handle);
        let id = handle.clone();
        self.0
            .call(operation::NODE_UNPUBLISH, Thing::Volume, &id, &class, move |driver, _| {
                let path = Path::new(&target);
                driver.mounts.unmount(path).map_err(internal)?;
                match fs::remove_dir(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(internal(error)),
                    _ => {}
                }
                if let Some(mut record) = driver.inventory.find(Thing::Volume, &handle).map_err(internal)? {
                    record.published.remove(&format!("{}:{target}", driver.node));
                    driver.inventory.save(Thing::Volume, &record).map_err(internal)?;
                }
                Ok(NodeUnpublishVolumeResponse {})
            })
            .await
    }

    async fn node_expand_volume(
        &self,
        request: Request<NodeExpandVolumeRequest>,
    ) -> Result<Response<NodeExpandVolumeResponse>, Status> {
        let handle = given(&request.into_inner().volume_id, "volume id")?;
        let record = self.0.found(Thing::Volume, &handle)?;
        self.0.mounts.resize(&self.0.name, &handle, record.bytes);
        Ok(Response::new(NodeExpandVolumeResponse {
            capacity_bytes: i64::try_from(record.bytes).unwrap_or(i64::MAX),
        }))
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<NodeGetVolumeStatsRequest>,
    ) -> Result<Response<NodeGetVolumeStatsResponse>, Status> {
        let request = request.into_inner();
        let handle = given(&request.volume_id, "volume id")?;
        let path = PathBuf::from(given(&request.volume_path, "volume path")?);
        let record = self.0.found(Thing::Volume, &handle)?;
        let stats = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&path))
            .await
            .map_err(|error| Status::internal(error.to_string()))?
            .map_err(|error| Status::not_found(format!("the volume path cannot be looked at: {error}")))?;
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        // A plain directory shows the disk below it; its volume is as large as it was asked for.
        let total = if record.fuse { stats.f_blocks * stats.f_frsize } else { record.bytes };
        let free = stats.f_bavail * stats.f_frsize;
        let bytes = VolumeUsage {
            unit: Unit::Bytes.into(),
            total: signed(total),
            available: signed(free.min(total)),
            used: signed(total.saturating_sub(free)),
        };
        let inodes = VolumeUsage {
            unit: Unit::Inodes.into(),
            total: signed(stats.f_files),
            available: signed(stats.f_favail),
            used: signed(stats.f_files.saturating_sub(stats.f_ffree)),
        };
        Ok(Response::new(NodeGetVolumeStatsResponse { usage: vec![bytes, inodes], ..Default::default() }))
    }
}

fn given(text: &str, what: &str) -> Result<String, Status> {
    if text.is_empty() {
        Err(Status::invalid_argument(format!("a {what} is missing")))
    } else {
        Ok(text.to_owned())
    }
}

/// Makes the folder of a target, and tells whether something is mounted there already.
fn made_target(target: &Path) -> io::Result<bool> {
    fs::create_dir_all(target)?;
    is_mounted(target)
}

/// Mounts a volume at a target, through FUSE or as a directory; mounted already is fine.
fn shown_at(driver: &Driver, record: &Record, target: &Path, actor: &str, read_only: bool) -> io::Result<()> {
    // A FUSE mount whose process has died answers ENOTCONN even to looking at it: it goes first.
    if fs::metadata(target).is_err_and(|error| error.raw_os_error() == Some(107)) {
        driver.mounts.unmount(target)?;
    }
    if made_target(target)? {
        return Ok(());
    }
    let data = driver.inventory.data(Thing::Volume, &record.handle);
    if record.fuse {
        let place = Place { target, actor, read_only };
        driver.mounts.mount((&driver.name, driver.character), record, &data, &place)
    } else {
        driver.mounts.bind(&data, target, read_only)
    }
}

/// Who acts through a mount: the pod's Job as far as the pod's name shows it, else the pod.
fn actor(context: &BTreeMap<String, String>) -> Option<String> {
    let pod = context.get("csi.storage.k8s.io/pod.name")?;
    // A Job's pod is called `<job>-<five letters or digits>`.
    let job = pod.rsplit_once('-').filter(|(_, suffix)| {
        suffix.len() == 5 && suffix.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    });
    Some(job.map_or(pod.as_str(), |(job, _)| job).to_owned())
}

#[cfg(test)]
pub(super) fn actor_of(pod: &str) -> Option<String> {
    actor(&BTreeMap::from([("csi.storage.k8s.io/pod.name".to_owned(), pod.to_owned())]))
}
