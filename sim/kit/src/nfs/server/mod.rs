//! `kit nfs-server`: a user-space NFS version 3 server for one directory, with faults.
//!
//! It serves real attributes, owners and permissions (each call acts as its caller), keeps handles good across
//! its own restarts, does a call that is sent twice once, and answers MOUNT and the port mapper on the same port.
//! The switches of [`crate::nfs_control`] and the faults of the room `fault` come in over a control socket;
//! stopping, pausing and cutting the network are the container engine's business. It has no locks (NLM), no ACLs
//! and no extended attributes: mount with `nolock`. Read [`export`] for the switches, [`dispatch`] for how a call
//! is answered, [`handle`] and [`folder`] for how it finds its file.
pub mod attributes;
pub mod change;
pub mod dispatch;
pub mod export;
pub mod folder;
pub mod handle;
pub mod identity;
pub mod list;
pub mod listener;
pub mod look;
pub mod replies;
pub mod session;

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context as _;
use fault::{Id, Register, Seam};

use self::{
    dispatch::Dispatcher,
    export::{Export, Place},
    listener::Listener,
};
use crate::nfs_control::{Armed, Ask, SOCKET, Status};

/// What the server is started with.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The directory to serve; made if it is missing
    #[arg(default_value = "/srv/export")]
    directory: PathBuf,
    /// What clients mount
    #[arg(long, default_value = "/export")]
    name: String,
    /// Where to listen, for NFS, MOUNT and the port mapper alike; may be given again
    #[arg(long, default_values = ["0.0.0.0:2049"])]
    listen: Vec<SocketAddr>,
    /// Where to listen as well if that is free: the port mapper's own port, which kernel clients ask
    #[arg(long, default_value = "0.0.0.0:111")]
    portmapper: Option<SocketAddr>,
    /// The control socket, for `kit nfs-ctl`
    #[arg(long, default_value = SOCKET)]
    control: PathBuf,
    /// Where switches are kept across restarts
    #[arg(long, default_value = "/var/lib/kit/nfs.json")]
    state: PathBuf,
    /// The file system's number; another one makes every old handle stale
    #[arg(long, default_value_t = 1)]
    fsid: u64,
}

/// Serves until the process is told to end.
pub fn main(args: Args) -> anyhow::Result<ExitCode> {
    crate::process::log_to_stderr();
    // Modes come from the clients, which applied their own masks.
    rustix::process::umask(rustix::fs::Mode::empty());
    let place =
        Place { fsid: args.fsid, state: Some(args.state.clone()), ..Place::new(args.name, args.directory) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let export = Export::open(place.clone())
            .with_context(|| format!("cannot export {}", place.right.display()))?;
        let server = Server::new(export)?;
        let mut listeners = Vec::new();
        for address in &args.listen {
            let listener =
                server.listen(*address).await.with_context(|| format!("cannot listen at {address}"))?;
            println!("serving {} as {} at {}", place.right.display(), place.name, listener.address());
            listeners.push(listener);
        }
        if let Some(address) = args.portmapper {
            match server.listen(address).await {
                Ok(listener) => listeners.push(listener),
                Err(error) => {
                    tracing::info!(%error, %address, "no port mapper here; clients must know the port");
                }
            }
        }
        crate::socket::serve(&args.control, {
            let server = server.clone();
            move |ask| server.control(ask)
        })
        .with_context(|| format!("cannot listen for control at {}", args.control.display()))?;
        crate::process::told_to_end().await?;
        drop(listeners);
        Ok(ExitCode::SUCCESS)
    })
}

/// A server; clones are the same one.
#[derive(Clone)]
pub struct Server {
    export: Arc<Export>,
    register: Register,
    dispatcher: Arc<Dispatcher>,
    connections: Arc<AtomicU64>,
    armed: Arc<Mutex<Vec<(Id, &'static str)>>>,
}

impl Server {
    /// A server of this export, listening nowhere yet.
    ///
    /// # Errors
    /// When the system has no randomness: each run must tell clients that it is another one.
    pub fn new(export: Export) -> anyhow::Result<Self> {
        let mut verifier = [0; 8];
        std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut verifier)
            .context("cannot read /dev/urandom")?;
        let (export, register) = (Arc::new(export), Register::new(u64::from_be_bytes(verifier)));
        let dispatcher = Arc::new(Dispatcher::new(export.clone(), register.clone(), verifier));
        Ok(Self { export, register, dispatcher, connections: Arc::default(), armed: Arc::default() })
    }
    /// Listens at one more address, until the listener is dropped.
    pub async fn listen(&self, address: SocketAddr) -> std::io::Result<Listener> {
        Listener::bind(address, self.dispatcher.clone(), self.connections.clone()).await
    }
    /// Carries out what was asked over the control socket.
    ///
    /// # Errors
    /// One sentence: a fault of another seam, a number never given, switches that cannot be kept.
    pub fn control(&self, ask: Ask) -> Result<Status, String> {
        match ask {
            Ask::Status => {}
            Ask::Turn(change) => {
                self.export
                    .turn(change)
                    .map_err(|error| format!("the switch acts but cannot be kept: {error}"))?;
            }
            Ask::Arm(fault) if fault.row().seam == Seam::Nfs => {
                let name = fault.name();
                let id = self.register.arm(fault);
                self.armed.lock().expect("no holder of the list's lock panics").push((id, name));
            }
            Ask::Arm(fault) => {
                return Err(format!(
                    "{} is a fault of the seam {}, not of nfs",
                    fault.name(),
                    fault.row().seam
                ));
            }
            Ask::Lift(id) => {
                let id = Id(id);
                if self.register.is_over(id) {
                    return Err(format!("{id} is not armed"));
                }
                self.register.lift(id);
            }
            Ask::Reset => {
                self.register.lift_all();
                self.export
                    .turn(crate::nfs_control::Change::Reset)
                    .map_err(|error| format!("the switches are back but cannot be kept: {error}"))?;
            }
        }
        Ok(self.status())
    }
    /// How it stands.
    pub fn status(&self) -> Status {
        let switches = self.export.switches();
        Status {
            export: self.export.name().to_owned(),
            fsid: self.export.fsid(&switches),
            used: self.export.used(),
            switches,
            connections: self.connections.load(Ordering::Relaxed),
            calls: self.dispatcher.calls(),
            faults: self.faults(),
        }
    }
    fn faults(&self) -> Vec<Armed> {
        let armed = self.armed.lock().expect("no holder of the list's lock panics");
        let told = |(id, name): &(Id, &'static str)| Armed {
            id: id.0,
            name: (*name).to_owned(),
            firings: self.register.firings(*id),
            is_over: self.register.is_over(*id),
        };
        armed.iter().map(told).collect()
    }
}
