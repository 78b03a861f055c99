//! Serves the drivers of one process, their registration, and the control socket.
//!
//! Sockets are kept alive by level: when one is gone from its folder (a restarted kubelet or a cleaned node
//! removes them), it is made anew, which is also how a kubelet that forgot the driver learns of it again.
use std::{
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use fault::{Register, Seam};
use futures::stream;
use tokio::{
    net::UnixListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tonic::{service::Routes, transport::Server};

use super::{
    DriverSpec,
    controller::ControllerService,
    driver::Driver,
    identity::IdentityService,
    kubelet::Registration,
    mounts::Mounts,
    node::NodeService,
    proto::{controller_server::ControllerServer, identity_server::IdentityServer, node_server::NodeServer},
};
use crate::control::{Reply, Request, server};

/// How often a socket is looked at.
const SOCKET_CHECK: Duration = Duration::from_secs(1);

/// How to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// The drivers.
    pub drivers: Vec<DriverSpec>,
    /// This node's name.
    pub node: String,
    /// Where volumes and snapshots are kept.
    pub root: PathBuf,
    /// The kubelet's folder.
    pub kubelet: PathBuf,
    /// The control socket.
    pub control: PathBuf,
    /// Seed of chances in faults.
    pub seed: u64,
    /// Bytes per second of a CephFS copy; 0 is as fast as the disk.
    pub clone_rate: u64,
}

impl Options {
    /// The socket of a driver.
    pub fn socket(&self, driver: &str) -> PathBuf {
        self.kubelet.join("plugins").join(driver).join("csi.sock")
    }
    /// The socket on which the kubelet asks about a driver.
    pub fn registration(&self, driver: &str) -> PathBuf {
        self.kubelet.join("plugins_registry").join(format!("{driver}-reg.sock"))
    }
}

/// Serves until the process is told to stop, or a part of it cannot go on.
///
/// # Errors
/// A folder or socket that cannot be made.
pub async fn run(options: Options) -> io::Result<()> {
    let register = Register::new(options.seed);
    // One line of JSON per event on standard output: what a bed reads as the log of firings.
    let faults = server::Faults::new(register.clone(), |line| println!("{line}"));
    let has_fuse = Path::new("/dev/fuse").exists();
    if !has_fuse {
        tracing::warn!("no /dev/fuse: volumes are plain directories, without capacity and write-back faults");
    }
    let mounts = Arc::new(Mounts::new(register.clone(), has_fuse));
    let mut drivers = Vec::new();
    let mut serving = JoinSet::new();
    for spec in &options.drivers {
        let opened = Driver::open(
            spec,
            &options.node,
            &options.root,
            Arc::clone(&mounts),
            register.clone(),
            options.clone_rate,
        );
        let driver = Arc::new(opened?);
        let (socket, registration) = (options.socket(&spec.name), options.registration(&spec.name));
        let (name, endpoint) = (spec.name.clone(), socket.clone());
        tracing::info!(driver = name, character = %spec.character, socket = %endpoint.display(), "serving");
        let served = Arc::clone(&driver);
        serving.spawn(kept(socket, move |listener| {
            let routes = Routes::new(IdentityServer::new(IdentityService(Arc::clone(&served))))
                .add_service(ControllerServer::new(ControllerService(Arc::clone(&served))))
                .add_service(NodeServer::new(NodeService(Arc::clone(&served))));
            let incoming = stream::unfold(listener, |listener| async move {
                let accepted = listener.accept().await.map(|(stream, _)| stream);
                Some((accepted, listener))
            });
            let server = Server::builder().add_routes(routes).serve_with_incoming(incoming);
            async move { server.await.map_err(io::Error::other) }
        }));
        let kubelet = Arc::new(Registration { name, endpoint });
        serving.spawn(kept(registration, move |listener| registered(listener, Arc::clone(&kubelet))));
        drivers.push(driver);
    }
    let drivers: Arc<[Arc<Driver>]> = drivers.into();
    let control = options.control.clone();
    serving.spawn(server::serve(control, move |request| {
        let (drivers, faults, mounts) = (Arc::clone(&drivers), faults.clone(), Arc::clone(&mounts));
        async move { answer(&request, &drivers, &faults, &mounts).await }
    }));
    let (mut terminated, mut interrupted) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        biased;
        _ = terminated.recv() => Ok(()),
        _ = interrupted.recv() => Ok(()),
        Some(ended) = serving.join_next() => ended.unwrap_or_else(|error| Err(io::Error::other(error))),
    }
}

async fn answer(
    request: &Request,
    drivers: &Arc<[Arc<Driver>]>,
    faults: &server::Faults,
    mounts: &Arc<Mounts>,
) -> Reply {
    if let Some(reply) = faults.answer(request) {
        return reply;
    }
    match request {
        Request::Restart => {
            for driver in drivers.iter() {
                driver.restart();
            }
            faults.register().restarted(Seam::Csi);
            Reply::Done(drivers.len() as u64)
        }
        Request::Evict(pattern) => {
            let (mounts, pattern) = (Arc::clone(mounts), pattern.clone());
            let evicted = tokio::task::spawn_blocking(move || mounts.evict(&pattern)).await;
            evicted.map_or_else(|error| Reply::Refused(error.to_string()), Reply::Done)
        }
        Request::Inventory => {
            let held: io::Result<_> =
                drivers.iter().map(|driver| Ok((driver.name.clone(), driver.held()?))).collect();
            held.map_or_else(
                |error| Reply::Refused(format!("cannot read the inventory: {error}")),
                Reply::Inventory,
            )
        }
        _ => Reply::Refused("a CSI driver does not know this request".to_owned()),
    }
}

/// Answers the kubelet until the listener breaks; a caller's nonsense ends only its own connection.
async fn registered(listener: UnixListener, kubelet: Arc<Registration>) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let kubelet = Arc::clone(&kubelet);
        tokio::spawn(async move {
            if let Err(error) = kubelet.answer(stream).await {
                tracing::warn!(driver = kubelet.name, %error, "a registration call broke off");
            }
        });
    }
}

/// Serves on a socket, and makes the socket anew whenever it is gone from its folder.
async fn kept<F: Future<Output = io::Result<()>>>(
    path: PathBuf,
    serve: impl Fn(UnixListener) -> F,
) -> io::Result<()> {
    loop {
        let listener = server::bind(&path)?;
        let inode = std::fs::metadata(&path)?.ino();
        let gone = async {
            let mut checks = tokio::time::interval(SOCKET_CHECK);
            loop {
                checks.tick().await;
                if std::fs::metadata(&path).map(|found| found.ino()).ok() != Some(inode) {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            () = gone => {
                tracing::warn!(socket = %path.display(), "the socket is gone from its folder: making it anew");
            }
            served = serve(listener) => served?,
        }
    }
}
