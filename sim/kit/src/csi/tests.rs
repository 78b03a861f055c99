//! A table of checks over the real sockets: what CSI promises, and what the faults break of it.
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use fault::Fault;
use tokio::{net::UnixStream, task::JoinHandle};
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint, Uri},
};

use super::{
    inventory::{Inventory, Record, Thing},
    proto::{
        self, CapacityRange, CreateSnapshotRequest, CreateVolumeRequest, DeleteSnapshotRequest,
        DeleteVolumeRequest, NodePublishVolumeRequest, NodeStageVolumeRequest, NodeUnpublishVolumeRequest,
        NodeUnstageVolumeRequest, VolumeCapability, VolumeContentSource,
        controller_client::ControllerClient,
        identity_client::IdentityClient,
        node_client::NodeClient,
        registration::{InfoRequest, registration_client::RegistrationClient},
        volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume, access_mode::Mode},
        volume_content_source::{SnapshotSource, Type, VolumeSource},
    },
    serve::{Options, run},
};
use crate::{
    control::{self, Reply},
    directory::tests::{everything, is_root, planted, same, walked},
};

const RBD: &str = "rbd.firedrill.dev";
const CEPHFS: &str = "cephfs.firedrill.dev";
const MIB: i64 = 1 << 20;

/// A running process of drivers, on sockets in a folder of its own.
struct Served {
    folder: Option<tempfile::TempDir>,
    options: Options,
    task: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
        let Some(folder) = &self.folder else { return };
        // A failed test must not leave a mount behind.
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = table.lines().rev().filter_map(|line| line.split(' ').nth(4));
        for point in points.filter(|point| Path::new(point).starts_with(folder.path())) {
            let _ = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

impl Served {
    async fn new() -> Self {
        Self::with(tempfile::tempdir().unwrap(), 0).await
    }
    async fn with(folder: tempfile::TempDir, clone_rate: u64) -> Self {
        let options = Options {
            drivers: [
                "rbd.firedrill.dev=rbd",
                "cephfs.firedrill.dev=cephfs",
                "hostpath.firedrill.dev=hostpath",
            ]
            .map(|spec| spec.parse().unwrap())
            .to_vec(),
            node: "worker-1".to_owned(),
            root: folder.path().join("root"),
            kubelet: folder.path().join("kubelet"),
            control: folder.path().join("control.sock"),
            seed: 1,
            clone_rate,
        };
        let running = options.clone();
        let task = tokio::spawn(async move { run(running).await.unwrap() });
        let served = Self { folder: Some(folder), options, task };
        served.appears(&served.options.control.clone()).await;
        for driver in &served.options.drivers {
            served.appears(&served.options.socket(&driver.name)).await;
        }
        served
    }
    /// Waits until somebody listens on a socket.
    async fn appears(&self, socket: &Path) {
        for _ in 0..1000 {
            if UnixStream::connect(socket).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("nobody listens on {} within 10 s", socket.display());
    }
    /// The process dies and another one takes its place.
    async fn killed(mut self) -> Self {
        self.task.abort();
        let folder = self.folder.take().unwrap();
        Self::with(folder, self.options.clone_rate).await
    }
    async fn channel(&self, socket: PathBuf) -> Channel {
        let connect = tower::service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move {
                Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(UnixStream::connect(socket).await?))
            }
        });
        Endpoint::from_static("http://csi").connect_with_connector(connect).await.unwrap()
    }
    async fn controller(&self, driver: &str) -> ControllerClient<Channel> {
        ControllerClient::new(self.channel(self.options.socket(driver)).await)
    }
    async fn node(&self, driver: &str) -> NodeClient<Channel> {
        NodeClient::new(self.channel(self.options.socket(driver)).await)
    }
    async fn ask(&self, request: control::Request) -> Reply {
        let socket = self.options.control.clone();
        tokio::task::spawn_blocking(move || control::server::ask(&socket, &request).unwrap()).await.unwrap()
    }
    async fn arm(&self, fault: &str) -> u64 {
        let fault: Fault = serde_json::from_str(fault).unwrap();
        let Reply::Armed(id) = self.ask(control::Request::Arm(fault)).await else { panic!("not armed") };
        id
    }
    async fn lift(&self, id: u64) {
        assert_eq!(self.ask(control::Request::Lift(id)).await, Reply::Done(1));
    }
    async fn firings(&self, id: u64) -> u64 {
        let Reply::Faults(faults) = self.ask(control::Request::Faults).await else { panic!("no list") };
        faults.into_iter().find(|fault| fault.id == id).unwrap().firings
    }
    async fn held(&self, driver: &str) -> control::Inventory {
        let Reply::Inventory(mut drivers) = self.ask(control::Request::Inventory).await else {
            panic!("none")
        };
        drivers.remove(driver).unwrap()
    }
    fn data(&self, driver: &str, thing: Thing, handle: &str) -> PathBuf {
        let folder = if thing == Thing::Volume { "volumes" } else { "snapshots" };
        self.options.root.join(driver).join(folder).join(handle).join("data")
    }
}

fn capability(mode: Mode) -> VolumeCapability {
    VolumeCapability {
        access_type: Some(AccessType::Mount(MountVolume::default())),
        access_mode: Some(AccessMode { mode: mode.into() }),
    }
}

fn volume(name: &str, bytes: i64, source: Option<Type>) -> CreateVolumeRequest {
    CreateVolumeRequest {
        name: name.to_owned(),
        capacity_range: Some(CapacityRange { required_bytes: bytes, limit_bytes: 0 }),
        volume_capabilities: vec![capability(Mode::SingleNodeWriter)],
        parameters: [("csi.storage.k8s.io/pvc/namespace", "default"), ("csi.storage.k8s.io/pvc/name", name)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        volume_content_source: source.map(|source| VolumeContentSource { r#type: Some(source) }),
        ..Default::default()
    }
}

fn snapshot(name: &str, of: &str) -> CreateSnapshotRequest {
    let parameters = [("csi.storage.k8s.io/volumesnapshot/name", name)];
    CreateSnapshotRequest {
        source_volume_id: of.to_owned(),
        name: format!("snapshot-{name}"),
        parameters: parameters.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..Default::default()
    }
}

fn from_snapshot(handle: &str) -> Option<Type> {
    Some(Type::Snapshot(SnapshotSource { snapshot_id: handle.to_owned() }))
}

fn delete_snapshot(handle: &str) -> DeleteSnapshotRequest {
    DeleteSnapshotRequest { snapshot_id: handle.to_owned(), ..Default::default() }
}

fn delete_volume(handle: &str) -> DeleteVolumeRequest {
    DeleteVolumeRequest { volume_id: handle.to_owned(), ..Default::default() }
}

async fn made(controller: &mut ControllerClient<Channel>, request: CreateVolumeRequest) -> String {
    controller.create_volume(request).await.unwrap().into_inner().volume.unwrap().volume_id
}

async fn cut(controller: &mut ControllerClient<Channel>, request: CreateSnapshotRequest) -> proto::Snapshot {
    controller.create_snapshot(request).await.unwrap().into_inner().snapshot.unwrap()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, text: &str) {
    let status = result.expect_err("the call should have been refused");
    assert!(status.code() == code && status.message().contains(text), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_who_it_is_to_sidecars_and_kubelet() {
    let served = Served::new().await;
    let mut identity = IdentityClient::new(served.channel(served.options.socket(RBD)).await);
    let info = identity.get_plugin_info(proto::GetPluginInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.name, RBD);
    assert_eq!(identity.probe(proto::ProbeRequest {}).await.unwrap().into_inner().ready, Some(true));
    let mut kubelet = RegistrationClient::new(served.channel(served.options.registration(RBD)).await);
    let info = kubelet.get_info(InfoRequest {}).await.unwrap().into_inner();
    assert_eq!((info.r#type.as_str(), info.name.as_str()), ("CSIPlugin", RBD));
    assert_eq!(info.endpoint, served.options.socket(RBD).display().to_string());
    // The kubelet's folder is cleaned: the sockets come back by themselves.
    let registration = served.options.registration(CEPHFS);
    fs::remove_dir_all(registration.parent().unwrap()).unwrap();
    served.appears(&registration).await;
    served.appears(&served.options.registration(RBD)).await;
}

/// The kubelet sends the socket's path as `:authority`, which HTTP/2 libraries refuse.
#[tokio::test(flavor = "multi_thread")]
async fn the_kubelet_is_answered_whatever_it_calls_us() {
    use prost::Message as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let served = Served::new().await;
    let mut stream = UnixStream::connect(served.options.registration(RBD)).await.unwrap();
    let mut call = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    call.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    // `:authority` (entry 1 of the static table, not indexed) with a path, in HEADERS of stream 1.
    call.extend([0, 0, 7, 1, 4, 0, 0, 0, 1, 0x01, 5]);
    call.extend(b"/a/b/");
    // An empty gRPC message, padded by two bytes, ends the stream.
    call.extend([0, 0, 8, 0, 0x9, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 9, 9]);
    stream.write_all(&call).await.unwrap();
    let (mut frames, mut info) = (Vec::new(), None);
    while frames.last() != Some(&(1, 5)) {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).await.unwrap();
        frames.push((head[3], head[4]));
        if head[3] == 0 {
            info = Some(proto::registration::PluginInfo::decode(&payload[5..]).unwrap());
        }
    }
    assert_eq!(frames, [(4, 0), (4, 1), (1, 4), (0, 0), (1, 5)]);
    assert_eq!(info.unwrap().name, RBD);
    stream.write_all(b"nonsense that is longer than a frame's head").await.unwrap();
    assert_eq!(stream.read(&mut [0; 9]).await.unwrap_or(0), 0, "nonsense ends the connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_are_made_once_by_name_and_removed_as_often_as_asked() {
    let served = Served::new().await;
    let mut controller = served.controller(RBD).await;
    let first = made(&mut controller, volume("data", 8 * MIB, None)).await;
    assert_eq!(made(&mut controller, volume("data", 8 * MIB, None)).await, first);
    refused(
        controller.create_volume(volume("data", 9 * MIB, None)).await,
        Code::AlreadyExists,
        "another size",
    );
    refused(controller.create_volume(volume("", MIB, None)).await, Code::InvalidArgument, "name");
    let bare = CreateVolumeRequest { volume_capabilities: Vec::new(), ..volume("bare", MIB, None) };
    refused(controller.create_volume(bare).await, Code::InvalidArgument, "capabilities");
    let mut block = volume("block", MIB, None);
    block.volume_capabilities[0].access_type = Some(AccessType::Block(BlockVolume {}));
    refused(controller.create_volume(block).await, Code::InvalidArgument, "block");
    let mut shared = volume("shared", MIB, None);
    shared.volume_capabilities = vec![capability(Mode::MultiNodeMultiWriter)];
    refused(controller.create_volume(shared.clone()).await, Code::InvalidArgument, "multi node");
    made(&mut served.controller(CEPHFS).await, shared).await;
    let from_nothing = volume("lost", MIB, from_snapshot("csi-snap-none"));
    refused(controller.create_volume(from_nothing).await, Code::NotFound, "csi-snap-none");
    for handle in [first.as_str(), &first, "never-was", "../../etc"] {
        controller.delete_volume(delete_volume(handle)).await.unwrap();
    }
    refused(controller.delete_volume(delete_volume("")).await, Code::InvalidArgument, "volume id");
    assert!(served.held(RBD).await.volumes.is_empty());
    assert_eq!(served.held(RBD).await.calls["CreateVolume/AlreadyExists"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_restores_and_clones_carry_everything_and_are_independent() {
    let served = Served::new().await;
    for driver in [RBD, CEPHFS] {
        let mut controller = served.controller(driver).await;
        let origin = made(&mut controller, volume("origin", 8 * MIB, None)).await;
        let path = served.data(driver, Thing::Volume, &origin);
        planted(&path, &everything()).unwrap();
        let cut_first = cut(&mut controller, snapshot("nightly", &origin)).await;
        assert!(cut_first.ready_to_use && cut_first.size_bytes == 8 * MIB);
        let again = cut(&mut controller, snapshot("nightly", &origin)).await;
        assert_eq!(again, cut_first);
        let other = made(&mut controller, volume("other", MIB, None)).await;
        refused(
            controller.create_snapshot(snapshot("nightly", &other)).await,
            Code::AlreadyExists,
            "another volume",
        );
        refused(controller.create_snapshot(snapshot("x", "nothing")).await, Code::NotFound, "nothing");
        fs::write(path.join("later"), b"not in the snapshot").unwrap();
        let id = cut_first.snapshot_id;
        refused(
            controller.create_volume(volume("small", MIB, from_snapshot(&id))).await,
            Code::OutOfRange,
            "requested",
        );
        let restored = made(&mut controller, volume("restored", 9 * MIB, from_snapshot(&id))).await;
        same(&walked(&served.data(driver, Thing::Volume, &restored)), &everything());
        let source = Some(Type::Volume(VolumeSource { volume_id: origin.clone() }));
        let clone = made(&mut controller, volume("clone", 8 * MIB, source)).await;
        assert_eq!(walked(&served.data(driver, Thing::Volume, &clone)).len(), everything().len() + 1);
        // The origin goes; what was made from it stays.
        controller.delete_volume(delete_volume(&origin)).await.unwrap();
        controller.delete_snapshot(delete_snapshot(&id)).await.unwrap();
        controller.delete_snapshot(delete_snapshot(&id)).await.unwrap();
        same(&walked(&served.data(driver, Thing::Volume, &restored)), &everything());
        assert_eq!(served.held(driver).await.snapshots.len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages_and_by_source() {
    let served = Served::new().await;
    let mut controller = served.controller(RBD).await;
    let mut handles = Vec::new();
    for name in ["a", "b", "c"] {
        let handle = made(&mut controller, volume(name, MIB, None)).await;
        handles.push((cut(&mut controller, snapshot(name, &handle)).await.snapshot_id, handle));
    }
    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let request = proto::ListVolumesRequest { max_entries: 2, starting_token: token };
        let page = controller.list_volumes(request).await.unwrap().into_inner();
        seen.extend(page.entries.into_iter().map(|entry| entry.volume.unwrap().volume_id));
        token = page.next_token;
        if token.is_empty() {
            break;
        }
    }
    let mut expected: Vec<_> = handles.iter().map(|(_, volume)| volume.clone()).collect();
    expected.sort();
    assert_eq!(seen, expected);
    let request =
        proto::ListSnapshotsRequest { source_volume_id: handles[1].1.clone(), ..Default::default() };
    let page = controller.list_snapshots(request).await.unwrap().into_inner();
    assert_eq!(page.entries[0].snapshot.as_ref().unwrap().snapshot_id, handles[1].0);
    assert_eq!(page.entries.len(), 1);
    let wrong = proto::ListVolumesRequest { starting_token: "x".to_owned(), ..Default::default() };
    refused(controller.list_volumes(wrong).await, Code::Aborted, "starting token");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_exists_survives_the_death_of_the_process() {
    let served = Served::new().await;
    let mut controller = served.controller(RBD).await;
    let handle = made(&mut controller, volume("kept", 4 * MIB, None)).await;
    let id = cut(&mut controller, snapshot("kept", &handle)).await.snapshot_id;
    let (from, making) =
        (served.data(RBD, Thing::Volume, &handle), served.options.root.join(RBD).join("making"));
    fs::write(from.join("f"), b"x").unwrap();
    // A copy that the dead process did not finish, and a folder that it had begun to remove.
    fs::create_dir_all(making.join("csi-vol-torn/data")).unwrap();
    fs::create_dir_all(served.options.root.join(RBD).join("volumes/csi-vol-half/data")).unwrap();
    let served = served.killed().await;
    let mut controller = served.controller(RBD).await;
    let held = served.held(RBD).await;
    assert_eq!(held.volumes.keys().collect::<Vec<_>>(), [&handle]);
    assert_eq!(held.volumes[&handle].object, "default/kept");
    assert!(held.snapshots.contains_key(&id) && fs::read_dir(making).unwrap().count() == 0);
    assert_eq!(made(&mut controller, volume("kept", 4 * MIB, None)).await, handle);
    let expand = proto::ControllerExpandVolumeRequest {
        volume_id: handle.clone(),
        capacity_range: Some(CapacityRange { required_bytes: 9 * MIB, limit_bytes: 0 }),
        ..Default::default()
    };
    let grown = controller.controller_expand_volume(expand).await.unwrap().into_inner();
    assert!(grown.capacity_bytes == 9 * MIB && grown.node_expansion_required);
    assert_eq!(served.killed().await.held(RBD).await.volumes[&handle].bytes, 9 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_lock_holds_until_the_driver_restarts() {
    let served = Served::new().await;
    let mut controller = served.controller(RBD).await;
    let handle = made(&mut controller, volume("app", MIB, None)).await;
    let id = cut(&mut controller, snapshot("app-src", &handle)).await.snapshot_id;
    let fault = served.arm(r#"{"fault":"csi-operation-lock","aim":{"class":"app-*"}}"#).await;
    let mut request = Request::new(delete_snapshot(&id));
    request.set_timeout(Duration::from_millis(300));
    let status = controller.delete_snapshot(request).await.unwrap_err();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    let text = format!("an operation with the given Snapshot ID {id} already exists");
    for _ in 0..2 {
        refused(controller.delete_snapshot(delete_snapshot(&id)).await, Code::Aborted, &text);
    }
    assert_eq!(served.held(RBD).await.in_flight, std::slice::from_ref(&id));
    // Healing the backend does not end the blocked call, other ids are free.
    served.lift(fault).await;
    refused(controller.delete_snapshot(delete_snapshot(&id)).await, Code::Aborted, &text);
    made(&mut controller, volume("another", MIB, None)).await;
    assert!(served.held(RBD).await.snapshots.contains_key(&id));
    assert_eq!(served.ask(control::Request::Restart).await, Reply::Done(3));
    controller.delete_snapshot(delete_snapshot(&id)).await.unwrap();
    assert!(!served.held(RBD).await.snapshots.contains_key(&id));
    assert_eq!(served.firings(fault).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_never_ready_is_ready_after_the_lift() {
    let served = Served::new().await;
    let mut controller = served.controller(CEPHFS).await;
    let handle = made(&mut controller, volume("app", MIB, None)).await;
    let fault = served.arm(r#"{"fault":"csi-snapshot-never-ready"}"#).await;
    let first = cut(&mut controller, snapshot("s", &handle)).await;
    assert!(!first.ready_to_use && !cut(&mut controller, snapshot("s", &handle)).await.ready_to_use);
    let request =
        proto::ListSnapshotsRequest { snapshot_id: first.snapshot_id.clone(), ..Default::default() };
    let listed = controller.list_snapshots(request).await.unwrap().into_inner();
    assert!(!listed.entries[0].snapshot.as_ref().unwrap().ready_to_use);
    let early = volume("early", MIB, from_snapshot(&first.snapshot_id));
    refused(controller.create_volume(early).await, Code::Aborted, "not ready");
    served.lift(fault).await;
    assert!(cut(&mut controller, snapshot("s", &handle)).await.ready_to_use);
}

#[tokio::test(flavor = "multi_thread")]
async fn rpcs_fail_hang_and_are_late_as_told() {
    let served = Served::new().await;
    let mut controller = served.controller(RBD).await;
    let handle = made(&mut controller, volume("app", MIB, None)).await;
    let id = cut(&mut controller, snapshot("s", &handle)).await.snapshot_id;
    let fault = served.arm(r#"{"fault":"csi-delete-snapshot-fails"}"#).await;
    refused(
        controller.delete_snapshot(delete_snapshot(&id)).await,
        Code::Internal,
        "Device or resource busy",
    );
    served.lift(fault).await;
    let fault = served
        .arm(r#"{"fault":"csi-rpc-fails","code":"FailedPrecondition","message":"has snapshots"}"#)
        .await;
    refused(
        controller.delete_volume(delete_volume(&handle)).await,
        Code::FailedPrecondition,
        "has snapshots",
    );
    assert!(served.held(RBD).await.volumes.contains_key(&handle));
    served.lift(fault).await;
    let fault =
        served.arm(r#"{"fault":"csi-rpc-slow","milliseconds":200,"operations":["CreateVolume"]}"#).await;
    let request = volume("late", MIB, None);
    let (late, quick) = tokio::join!(
        async { controller.clone().create_volume(request).await.map(|_| served.firings(fault)) },
        tokio::time::timeout(Duration::from_millis(50), std::future::pending::<()>()),
    );
    assert!(late.is_ok() && quick.is_err());
    served.lift(fault).await;
    let fault = served.arm(r#"{"fault":"csi-rpc-hangs"}"#).await;
    let hung = tokio::spawn({
        let mut controller = controller.clone();
        async move { controller.create_volume(volume("hung", MIB, None)).await }
    });
    while served.firings(fault).await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    refused(controller.create_volume(volume("hung", MIB, None)).await, Code::Aborted, "already exists");
    assert!(!hung.is_finished());
    served.lift(fault).await;
    hung.await.unwrap().unwrap();
    let nonsense = served.ask(control::Request::Lift(99)).await;
    assert!(matches!(nonsense, Reply::Refused(_)), "{nonsense:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cephfs_copy_is_pending_until_it_is_done_and_starts_again_after_a_restart() {
    let served = Served::with(tempfile::tempdir().unwrap(), 100_000).await;
    let mut controller = served.controller(CEPHFS).await;
    let origin = made(&mut controller, volume("origin", MIB, None)).await;
    fs::write(served.data(CEPHFS, Thing::Volume, &origin).join("f"), vec![7; 300_000]).unwrap();
    let id = cut(&mut controller, snapshot("s", &origin)).await.snapshot_id;
    let request = || volume("copy", MIB, from_snapshot(&id));
    refused(
        controller.create_volume(request()).await,
        Code::Aborted,
        "clone from snapshot is already in progress",
    );
    assert_eq!(served.held(CEPHFS).await.volumes.len(), 1);
    served.ask(control::Request::Restart).await;
    refused(controller.create_volume(request()).await, Code::Aborted, "already in progress");
    let copy = made(&mut controller, request()).await;
    assert_eq!(fs::read(served.data(CEPHFS, Thing::Volume, &copy).join("f")).unwrap(), vec![7; 300_000]);
}

fn publish(handle: &str, staging: &Path, target: &Path, pod: &str) -> NodePublishVolumeRequest {
    NodePublishVolumeRequest {
        volume_id: handle.to_owned(),
        staging_target_path: staging.display().to_string(),
        target_path: target.display().to_string(),
        volume_capability: Some(capability(Mode::SingleNodeWriter)),
        volume_context: [("csi.storage.k8s.io/pod.name".to_owned(), pod.to_owned())].into(),
        ..Default::default()
    }
}

fn unpublish(handle: &str, target: &Path) -> NodeUnpublishVolumeRequest {
    NodeUnpublishVolumeRequest { volume_id: handle.to_owned(), target_path: target.display().to_string() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_stages_publishes_and_lets_go() {
    if !is_root() || !Path::new("/dev/fuse").exists() {
        eprintln!("skipped: mounting needs root and /dev/fuse");
        return;
    }
    let served = Served::new().await;
    let (mut controller, mut node) = (served.controller(RBD).await, served.node(RBD).await);
    let handle = made(&mut controller, volume("app", MIB, None)).await;
    let kubelet = served.options.kubelet.clone();
    let (staging, target) = (kubelet.join("staging"), kubelet.join("pods/1/mount"));
    let stage = NodeStageVolumeRequest {
        volume_id: handle.clone(),
        staging_target_path: staging.display().to_string(),
        volume_capability: Some(capability(Mode::SingleNodeWriter)),
        ..Default::default()
    };
    for _ in 0..2 {
        node.node_stage_volume(stage.clone()).await.unwrap();
        node.node_publish_volume(publish(&handle, &staging, &target, "app-0")).await.unwrap();
    }
    let error = fs::write(target.join("much"), vec![1; 2 << 20]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(28), "{error}");
    refused(
        controller.delete_volume(delete_volume(&handle)).await,
        Code::FailedPrecondition,
        "still being used",
    );
    // The driver died and took its mount along; the kubelet publishes without staging again.
    fs::remove_file(target.join("much")).unwrap();
    fs::write(target.join("kept"), b"x").unwrap();
    node.node_unpublish_volume(unpublish(&handle, &target)).await.unwrap();
    rustix::mount::unmount(&staging, rustix::mount::UnmountFlags::empty()).unwrap();
    node.node_publish_volume(publish(&handle, &staging, &target, "app-0")).await.unwrap();
    assert_eq!(fs::read(target.join("kept")).unwrap(), b"x");
    let alone = NodePublishVolumeRequest {
        volume_capability: Some(capability(Mode::SingleNodeSingleWriter)),
        ..publish(&handle, &staging, &kubelet.join("pods/2/mount"), "app-1")
    };
    refused(node.node_publish_volume(alone).await, Code::FailedPrecondition, "one pod");
    let stats = proto::NodeGetVolumeStatsRequest {
        volume_id: handle.clone(),
        volume_path: target.display().to_string(),
        ..Default::default()
    };
    let usage = node.node_get_volume_stats(stats).await.unwrap().into_inner().usage;
    assert_eq!(usage[0].total, MIB);
    let fault = served.arm(r#"{"fault":"csi-volume-stays-attached","aim":{"class":"app"}}"#).await;
    refused(node.node_unpublish_volume(unpublish(&handle, &target)).await, Code::Internal, "unmap failed");
    assert!(super::mounts::is_mounted(&target).unwrap());
    served.lift(fault).await;
    let unstage = NodeUnstageVolumeRequest {
        volume_id: handle.clone(),
        staging_target_path: staging.display().to_string(),
    };
    for _ in 0..2 {
        node.node_unpublish_volume(unpublish(&handle, &target)).await.unwrap();
        node.node_unstage_volume(unstage.clone()).await.unwrap();
    }
    assert!(!target.exists() && !super::mounts::is_mounted(&staging).unwrap());
    controller.delete_volume(delete_volume(&handle)).await.unwrap();
}

#[test]
fn a_volume_is_used_no_longer_on_a_node_that_lost_its_mounts() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = Inventory::open(folder.path()).unwrap();
    let record = Record {
        handle: "vol-1".to_owned(),
        name: "pvc-1".to_owned(),
        object: "default/app".to_owned(),
        bytes: 1,
        source: None,
        created: 0,
        fuse: false,
        staged: ["here:/lost".to_owned(), "there:/lost".to_owned()].into(),
        published: ["here:/lost/pod".to_owned(), "here:/proc".to_owned()].into(),
    };
    inventory.make(Thing::Volume, &record, None, &mut |_| Ok(())).unwrap();
    let is_over = |target: &Path| super::mounts::is_mounted(target).map(|is_mounted| !is_mounted);
    inventory.forget_uses("here", is_over).unwrap();
    let kept = inventory.find(Thing::Volume, "vol-1").unwrap().unwrap();
    assert_eq!(kept.staged, ["there:/lost".to_owned()].into(), "another node speaks for itself");
    assert_eq!(kept.published, ["here:/proc".to_owned()].into(), "what is mounted is in use");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mover_on_cephfs_is_told_of_zeroing_by_syncfs_and_the_next_pod_reads_zeros() {
    if !is_root() || !Path::new("/dev/fuse").exists() {
        eprintln!("skipped: mounting needs root and /dev/fuse");
        return;
    }
    let served = Served::new().await;
    let (mut controller, mut node) = (served.controller(CEPHFS).await, served.node(CEPHFS).await);
    let handle = made(&mut controller, volume("app", 8 * MIB, None)).await;
    let fault =
        served.arm(r#"{"fault":"cephfs-write-back-zeroing","aim":{"actor":"volsync-dst-app"}}"#).await;
    let (mover, app) = (served.options.kubelet.join("mover"), served.options.kubelet.join("app"));
    let none = PathBuf::new();
    node.node_publish_volume(publish(&handle, &none, &mover, "volsync-dst-app-x7k2p")).await.unwrap();
    let whole = fs::File::open(&mover).unwrap();
    fs::write(mover.join("f"), vec![7; 10_000]).unwrap();
    assert_eq!(rustix::fs::syncfs(&whole), Err(rustix::io::Errno::INVAL));
    drop(whole);
    assert!(served.firings(fault).await >= 1);
    assert_eq!(fs::read(mover.join("f")).unwrap(), vec![7; 10_000]);
    assert_eq!(served.ask(control::Request::Evict("app".to_owned())).await, Reply::Done(1));
    assert_eq!(fs::read(mover.join("f")).unwrap(), vec![0; 10_000]);
    node.node_unpublish_volume(unpublish(&handle, &mover)).await.unwrap();
    node.node_publish_volume(publish(&handle, &none, &app, "app-0")).await.unwrap();
    assert_eq!(fs::read(app.join("f")).unwrap(), vec![0; 10_000]);
    // A pod that the fault does not aim at writes well.
    fs::write(app.join("g"), vec![8; 10_000]).unwrap();
    node.node_unpublish_volume(unpublish(&handle, &app)).await.unwrap();
    assert_eq!(fs::read(served.data(CEPHFS, Thing::Volume, &handle).join("g")).unwrap(), vec![8; 10_000]);
}

#[test]
fn actors_are_jobs_where_pods_are_of_jobs() {
    for (pod, actor) in [("volsync-src-app-x7k2p", "volsync-src-app"), ("app-0", "app-0"), ("db", "db")] {
        assert_eq!(super::node::actor_of(pod).as_deref(), Some(actor));
    }
}
