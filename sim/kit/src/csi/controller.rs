//! The Controller service: volumes and snapshots made, copied, grown, listed, removed.
//!
//! Calls are idempotent by name. RBD copies within the call, as its clones are instant; CephFS copies in the
//! background, four at a time, and answers `Aborted` until a copy is done, as its manager does.
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fault::csi::operation;
use tonic::{Request, Response, Status};

use super::{
    Character,
    driver::{Copying, Driver, internal, now},
    inventory::{Record, Source, Thing},
    proto::{
        self, ControllerExpandVolumeRequest, ControllerExpandVolumeResponse,
        ControllerGetCapabilitiesRequest, ControllerGetCapabilitiesResponse, ControllerServiceCapability,
        CreateSnapshotRequest, CreateSnapshotResponse, CreateVolumeRequest, CreateVolumeResponse,
        DeleteSnapshotRequest, DeleteSnapshotResponse, DeleteVolumeRequest, DeleteVolumeResponse,
        ListSnapshotsRequest, ListSnapshotsResponse, ListVolumesRequest, ListVolumesResponse,
        ValidateVolumeCapabilitiesRequest, ValidateVolumeCapabilitiesResponse, VolumeCapability,
        VolumeContentSource,
        controller_server::Controller,
        controller_service_capability::{self, Rpc, rpc},
        list_snapshots_response, list_volumes_response,
        validate_volume_capabilities_response::Confirmed,
        volume_capability::{AccessMode, AccessType, access_mode::Mode},
        volume_content_source::{self, SnapshotSource, VolumeSource},
    },
};

/// The size of a volume when nobody asks for one.
const BYTES_DEFAULT: u64 = 1 << 30;
/// How long a CephFS call waits for its copy before it says that it is not done.
const COPY_SHOWN_AFTER: Duration = Duration::from_secs(2);

/// The service of one driver.
pub struct ControllerService(pub Arc<Driver>);

#[tonic::async_trait]
impl Controller for ControllerService {
    async fn controller_get_capabilities(
        &self,
        _: Request<ControllerGetCapabilitiesRequest>,
    ) -> Result<Response<ControllerGetCapabilitiesResponse>, Status> {
        let capabilities = [
            rpc::Type::CreateDeleteVolume,
            rpc::Type::CreateDeleteSnapshot,
            rpc::Type::CloneVolume,
            rpc::Type::ExpandVolume,
            rpc::Type::ListVolumes,
            rpc::Type::ListSnapshots,
            rpc::Type::SingleNodeMultiWriter,
        ];
        let capabilities = capabilities.map(|r#type| ControllerServiceCapability {
            r#type: Some(controller_service_capability::Type::Rpc(Rpc { r#type: r#type.into() })),
        });
        Ok(Response::new(ControllerGetCapabilitiesResponse { capabilities: capabilities.to_vec() }))
    }

    async fn create_volume(
        &self,
        request: Request<CreateVolumeRequest>,
    ) -> Result<Response<CreateVolumeResponse>, Status> {
        let request = request.into_inner();
        named(&request.name)?;
        if request.volume_capabilities.is_empty() {
            return Err(Status::invalid_argument("volume capabilities are missing"));
        }
        supported(self.0.character, &request.volume_capabilities)?;
        let object = object(&request.parameters, "pvc");
        let name = request.name.clone();
        let class = object.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(&name).to_owned();
        self.0
            .call(operation::CREATE_VOLUME, Thing::Volume, &name, &class, move |driver, _| {
                create_volume(driver, request, object)
            })
            .await
    }

    async fn delete_volume(
        &self,
        request: Request<DeleteVolumeRequest>,
    ) -> Result<Response<DeleteVolumeResponse>, Status> {
        let handle = request.into_inner().volume_id;
        identified(&handle, "volume")?;
        let class = self.0.class(Thing::Volume, &handle);
        let id = handle.clone();
        self.0
            .call(operation::DELETE_VOLUME, Thing::Volume, &id, &class, move |driver, swallowed| {
                if swallowed.is_some() {
                    return Ok(DeleteVolumeResponse {});
                }
                if let Some(record) = driver.inventory.find(Thing::Volume, &handle).map_err(internal)?
                    && let Some(user) = record.staged.iter().chain(&record.published).next()
                {
                    let message = format!("{} {handle} is still being used by {user}", driver.character);
                    return Err(Status::failed_precondition(message));
                }
                driver.inventory.remove(Thing::Volume, &handle).map_err(internal)?;
                Ok(DeleteVolumeResponse {})
            })
            .await
    }

    async fn create_snapshot(
        &self,
        request: Request<CreateSnapshotRequest>,
    ) -> Result<Response<CreateSnapshotResponse>, Status> {
        let request = request.into_inner();
        named(&request.name)?;
        identified(&request.source_volume_id, "source volume")?;
        let object = object(&request.parameters, "volumesnapshot");
        let name = request.name.clone();
        let class = object.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(&name).to_owned();
        self.0
            .call(operation::CREATE_SNAPSHOT, Thing::Snapshot, &name, &class, move |driver, held_back| {
                let record = cut(driver, &request, object)?;
                driver.note_ready(&record.handle, held_back);
                let snapshot = Some(shown(driver, &record));
                Ok(CreateSnapshotResponse { snapshot })
            })
            .await
    }

    async fn delete_snapshot(
        &self,
        request: Request<DeleteSnapshotRequest>,
    ) -> Result<Response<DeleteSnapshotResponse>, Status> {
        let handle = request.into_inner().snapshot_id;
        identified(&handle, "snapshot")?;
        let class = self.0.class(Thing::Snapshot, &handle);
        let id = handle.clone();
        self.0
            .call(operation::DELETE_SNAPSHOT, Thing::Snapshot, &id, &class, move |driver, swallowed| {
                if swallowed.is_none() {
                    driver.inventory.remove(Thing::Snapshot, &handle).map_err(internal)?;
                }
                Ok(DeleteSnapshotResponse {})
            })
            .await
    }

    async fn controller_expand_volume(
        &self,
        request: Request<ControllerExpandVolumeRequest>,
    ) -> Result<Response<ControllerExpandVolumeResponse>, Status> {
        let request = request.into_inner();
        let handle = request.volume_id;
        identified(&handle, "volume")?;
        let range =
            request.capacity_range.ok_or_else(|| Status::invalid_argument("capacity range is missing"))?;
        let class = self.0.class(Thing::Volume, &handle);
        let id = handle.clone();
        self.0
            .call(operation::EXPAND_VOLUME, Thing::Volume, &id, &class, move |driver, _| {
                let mut record = driver.found(Thing::Volume, &handle)?;
                let wanted = u64::try_from(range.required_bytes).unwrap_or(0);
                if wanted > record.bytes {
                    record.bytes = wanted;
                    driver.inventory.save(Thing::Volume, &record).map_err(internal)?;
                    if driver.character != Character::Rbd {
                        driver.mounts.resize(&driver.name, &handle, record.bytes);
                    }
                }
                Ok(ControllerExpandVolumeResponse {
                    capacity_bytes: signed(record.bytes),
                    // The file system on a block device grows on its node.
                    node_expansion_required: driver.character == Character::Rbd,
                })
            })
            .await
    }

    async fn validate_volume_capabilities(
        &self,
        request: Request<ValidateVolumeCapabilitiesRequest>,
    ) -> Result<Response<ValidateVolumeCapabilitiesResponse>, Status> {
        let request = request.into_inner();
        identified(&request.volume_id, "volume")?;
        if request.volume_capabilities.is_empty() {
            return Err(Status::invalid_argument("volume capabilities are missing"));
        }
        self.0.found(Thing::Volume, &request.volume_id)?;
        if let Err(status) = supported(self.0.character, &request.volume_capabilities) {
            let message = status.message().to_owned();
            return Ok(Response::new(ValidateVolumeCapabilitiesResponse { confirmed: None, message }));
        }
        let confirmed = Confirmed {
            volume_context: request.volume_context,
            volume_capabilities: request.volume_capabilities,
            parameters: request.parameters,
            ..Default::default()
        };
        Ok(Response::new(ValidateVolumeCapabilitiesResponse {
            confirmed: Some(confirmed),
            message: String::new(),
        }))
    }

    async fn list_volumes(
        &self,
        request: Request<ListVolumesRequest>,
    ) -> Result<Response<ListVolumesResponse>, Status> {
        let request = request.into_inner();
        let records = self.0.inventory.all(Thing::Volume).map_err(internal)?;
        let (records, next_token) = page(records, &request.starting_token, request.max_entries)?;
        let entries = records.iter().map(|record| list_volumes_response::Entry {
            volume: Some(volume(record, &self.0)),
            ..Default::default()
        });
        Ok(Response::new(ListVolumesResponse { entries: entries.collect(), next_token }))
    }

    async fn list_snapshots(
        &self,
        request: Request<ListSnapshotsRequest>,
    ) -> Result<Response<ListSnapshotsResponse>, Status> {
        let request = request.into_inner();
        let mut records = self.0.inventory.all(Thing::Snapshot).map_err(internal)?;
        let (of, id) = (&request.source_volume_id, &request.snapshot_id);
        records.retain(|record| id.is_empty() || record.handle == *id);
        records.retain(|record| {
            of.is_empty() || record.source.as_ref().is_some_and(|source| source.handle == *of)
        });
        let (records, next_token) = page(records, &request.starting_token, request.max_entries)?;
        let entries = records
            .iter()
            .map(|record| list_snapshots_response::Entry { snapshot: Some(shown(&self.0, record)) });
        Ok(Response::new(ListSnapshotsResponse { entries: entries.collect(), next_token }))
    }
}

fn create_volume(
    driver: &Arc<Driver>,
    request: CreateVolumeRequest,
    object: String,
) -> Result<CreateVolumeResponse, Status> {
    let source = request.volume_content_source.and_then(|source| source.r#type);
    let source = match source {
        Some(volume_content_source::Type::Snapshot(source)) => {
            Some(Source { thing: Thing::Snapshot, handle: source.snapshot_id })
        }
        Some(volume_content_source::Type::Volume(source)) => {
            Some(Source { thing: Thing::Volume, handle: source.volume_id })
        }
        None => None,
    };
    let range = request.capacity_range.unwrap_or_default();
    let (least, most) =
        (u64::try_from(range.required_bytes).unwrap_or(0), u64::try_from(range.limit_bytes).unwrap_or(0));
    if most > 0 && least > most {
        return Err(Status::invalid_argument("the limit is below what is required"));
    }
    let handle = Thing::Volume.handle(&request.name);
    if let Some(record) = driver.inventory.find(Thing::Volume, &handle).map_err(internal)? {
        let fits = record.bytes >= least && (most == 0 || record.bytes <= most) && record.source == source;
        if !fits {
            return Err(Status::already_exists(format!(
                "{} exists, with another size or source",
                request.name
            )));
        }
        return Ok(CreateVolumeResponse { volume: Some(volume(&record, driver)) });
    }
    let mut bytes = if least == 0 { BYTES_DEFAULT } else { least };
    let from = source.as_ref().map(|source| driver.source(source)).transpose()?;
    if let Some((record, _)) = &from {
        if least > 0 && least < record.bytes {
            let message = format!("requested {least} bytes, but {} has {}", record.handle, record.bytes);
            return Err(Status::out_of_range(message));
        }
        bytes = bytes.max(record.bytes);
        if source.as_ref().is_some_and(|source| source.thing == Thing::Snapshot)
            && !driver.is_ready(&record.handle)
        {
            return Err(Status::aborted(format!("snapshot {} is not ready yet", record.handle)));
        }
    }
    if most > 0 && bytes > most {
        return Err(Status::out_of_range(format!("the source has {bytes} bytes, the limit is {most}")));
    }
    let fuse = match request.parameters.get("fuse").map(String::as_str) {
        None => driver.character.has_fuse() && driver.mounts.has_fuse(),
        Some("true") if !driver.mounts.has_fuse() => {
            return Err(Status::failed_precondition(
                "the class says fuse: \"true\", and this node has no /dev/fuse: run the driver privileged",
            ));
        }
        Some("true") => true,
        Some("false") => false,
        Some(other) => {
            return Err(Status::invalid_argument(format!("fuse is \"true\" or \"false\", not {other:?}")));
        }
    };
    let record = Record {
        handle,
        name: request.name,
        object,
        bytes,
        source,
        created: now(),
        fuse,
        staged: BTreeSet::new(),
        published: BTreeSet::new(),
    };
    if driver.character == Character::CephFs && from.is_some() {
        copied(driver, &record)?;
    } else {
        let path = from.as_ref().map(|(_, path)| path.as_path());
        made(driver, Thing::Volume, &record, path, &mut |_| Ok(())).map_err(internal)?;
    }
    Ok(CreateVolumeResponse { volume: Some(volume(&record, driver)) })
}

/// Makes a thing; what it is copied from does not change meanwhile, as far as it is behind FUSE.
fn made(
    driver: &Driver,
    thing: Thing,
    record: &Record,
    from: Option<&std::path::Path>,
    tick: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<()> {
    let still = match &record.source {
        Some(Source { thing: Thing::Volume, handle }) => Some(driver.mounts.hold_still(&driver.name, handle)),
        _ => None,
    };
    let guards = still.as_ref().map(super::mounts::Still::hold);
    let result = driver.inventory.make(thing, record, from, tick);
    drop(guards);
    result
}

/// A CephFS copy: started, waited for a while, reported as pending until it is done.
fn copied(driver: &Arc<Driver>, record: &Record) -> Result<(), Status> {
    let handle = record.handle.clone();
    match driver.copying(&handle) {
        None => start_copy(driver, record),
        Some(Copying::Running(_)) => {}
        Some(Copying::Failed(message)) => {
            driver.note_copying(&handle, None);
            return Err(Status::internal(format!("clone from snapshot failed: {message}")));
        }
    }
    let runtime = tokio::runtime::Handle::current();
    let shown = runtime.block_on(tokio::time::timeout(COPY_SHOWN_AFTER, async {
        while matches!(driver.copying(&handle), Some(Copying::Running(_))) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }));
    match (shown, driver.copying(&handle)) {
        (Err(_), _) => Err(Status::aborted("clone from snapshot is already in progress")),
        (Ok(()), Some(Copying::Failed(message))) => {
            driver.note_copying(&handle, None);
            Err(Status::internal(format!("clone from snapshot failed: {message}")))
        }
        (Ok(()), _) => Ok(()),
    }
}

fn start_copy(driver: &Arc<Driver>, record: &Record) {
    let stopped = Arc::new(AtomicBool::new(false));
    driver.note_copying(&record.handle, Some(Copying::Running(Arc::clone(&stopped))));
    let (driver, record) = (Arc::clone(driver), record.clone());
    tokio::spawn(async move {
        let Ok(slot) = Arc::clone(&driver.copies).acquire_owned().await else { return };
        let worker = Arc::clone(&driver);
        let (copy, halted) = (record.clone(), Arc::clone(&stopped));
        let result = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            let runtime = tokio::runtime::Handle::current();
            let source = copy.source.as_ref().ok_or_else(|| io::Error::other("a copy without a source"))?;
            let path = worker.inventory.data(source.thing, &source.handle);
            let mut tick = |bytes: u64| {
                if halted.load(Ordering::SeqCst) {
                    return Err(io::Error::other("the driver restarted"));
                }
                if worker.clone_rate > 0 {
                    let time = Duration::from_secs_f64(bytes as f64 / worker.clone_rate as f64);
                    runtime.block_on(tokio::time::sleep(time));
                }
                Ok(())
            };
            made(&worker, Thing::Volume, &copy, Some(&path), &mut tick)
        })
        .await;
        if stopped.load(Ordering::SeqCst) {
            return;
        }
        let failed = match result {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Copying::Failed(error.to_string())),
            Err(error) => Some(Copying::Failed(error.to_string())),
        };
        driver.note_copying(&record.handle, failed);
    });
}

fn cut(driver: &Arc<Driver>, request: &CreateSnapshotRequest, object: String) -> Result<Record, Status> {
    let handle = Thing::Snapshot.handle(&request.name);
    let source = Source { thing: Thing::Volume, handle: request.source_volume_id.clone() };
    if let Some(record) = driver.inventory.find(Thing::Snapshot, &handle).map_err(internal)? {
        if record.source.as_ref() != Some(&source) {
            return Err(Status::already_exists(format!("{} exists, of another volume", request.name)));
        }
        return Ok(record);
    }
    let (volume, path) = driver.source(&source)?;
    let record = Record {
        handle,
        name: request.name.clone(),
        object,
        bytes: volume.bytes,
        source: Some(source),
        created: now(),
        fuse: volume.fuse,
        staged: BTreeSet::new(),
        published: BTreeSet::new(),
    };
    made(driver, Thing::Snapshot, &record, Some(&path), &mut |_| Ok(())).map_err(internal)?;
    Ok(record)
}

fn named(name: &str) -> Result<(), Status> {
    if name.is_empty() { Err(Status::invalid_argument("a name is missing")) } else { Ok(()) }
}

fn identified(handle: &str, thing: &str) -> Result<(), Status> {
    if handle.is_empty() { Err(Status::invalid_argument(format!("a {thing} id is missing"))) } else { Ok(()) }
}

/// Refuses what this driver cannot give.
pub(super) fn supported(character: Character, capabilities: &[VolumeCapability]) -> Result<(), Status> {
    for capability in capabilities {
        if matches!(capability.access_type, Some(AccessType::Block(_))) {
            return Err(Status::invalid_argument("raw block volumes are not supported"));
        }
        let mode = capability.access_mode.as_ref().map_or(Mode::Unknown, AccessMode::mode);
        let is_shared = matches!(
            mode,
            Mode::MultiNodeMultiWriter | Mode::MultiNodeSingleWriter | Mode::MultiNodeReaderOnly
        );
        if character.is_exclusive() && is_shared {
            let message = format!(
                "multi node access modes are only supported on rbd `block` type volumes, not {mode:?}"
            );
            return Err(Status::invalid_argument(message));
        }
    }
    Ok(())
}

/// `namespace/name` of the object that the sidecars say this is for; empty if they say nothing.
fn object(parameters: &BTreeMap<String, String>, what: &str) -> String {
    let get = |key: &str| parameters.get(&format!("csi.storage.k8s.io/{what}/{key}"));
    match (get("namespace"), get("name")) {
        (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
        (None, Some(name)) => name.clone(),
        _ => String::new(),
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn volume(record: &Record, driver: &Driver) -> proto::Volume {
    let source = record.source.as_ref().map(|source| VolumeContentSource {
        r#type: Some(match source.thing {
            Thing::Snapshot => {
                volume_content_source::Type::Snapshot(SnapshotSource { snapshot_id: source.handle.clone() })
            }
            Thing::Volume => {
                volume_content_source::Type::Volume(VolumeSource { volume_id: source.handle.clone() })
            }
        }),
    });
    let context =
        [("character", driver.character.name()), ("fuse", if record.fuse { "true" } else { "false" })];
    proto::Volume {
        capacity_bytes: signed(record.bytes),
        volume_id: record.handle.clone(),
        volume_context: context.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        content_source: source,
        ..Default::default()
    }
}

fn shown(driver: &Driver, record: &Record) -> proto::Snapshot {
    proto::Snapshot {
        size_bytes: signed(record.bytes),
        snapshot_id: record.handle.clone(),
        source_volume_id: record.source.as_ref().map(|source| source.handle.clone()).unwrap_or_default(),
        creation_time: Some(prost_types::Timestamp {
            seconds: record.created.div_euclid(1_000_000_000),
            nanos: i32::try_from(record.created.rem_euclid(1_000_000_000)).unwrap_or(0),
        }),
        ready_to_use: driver.is_ready(&record.handle),
        ..Default::default()
    }
}

/// A page of a list, and the token of the next one.
fn page(records: Vec<Record>, token: &str, most: i32) -> Result<(Vec<Record>, String), Status> {
    let most = usize::try_from(most).map_err(|_| Status::invalid_argument("max_entries is negative"))?;
    let start: usize = match token {
        "" => 0,
        token => token.parse().map_err(|_| Status::aborted(format!("{token:?} is no starting token")))?,
    };
    if start > records.len() {
        return Err(Status::aborted(format!("the list has no entry {start}")));
    }
    let end = if most == 0 { records.len() } else { records.len().min(start + most) };
    let next = if end < records.len() { end.to_string() } else { String::new() };
    Ok((records[start..end].to_vec(), next))
}
