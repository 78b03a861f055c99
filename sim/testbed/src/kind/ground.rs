//! The ground of a kind bed: a cluster started for a run, with everything that scenarios need in and beside it.
//!
//! Images of our own programs, what stands beside the nodes ([`siblings`]), drivers with their classes, the subject
//! from its chart, and the mark. It promises that all of it is gone when the run is over, or was interrupted; what
//! a killed run left is swept by the next. Each step longer than two seconds is told. What cannot be prepared is an
//! error with its cure; nothing is pulled from anywhere.

mod images;
mod siblings;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use cluster::{
    KindCluster, NodeImage, Run, RunOptions, chain,
    image::{self, Part},
    progress::{Monitor, News, Progress},
};
use json::{Value, json};
use kit::manifests;

use super::{
    COORDINATES, Coordinates, MARK, MARKED,
    beside::NFS_CLASS,
    coordinates::{Driver, SubjectPlace},
};
use images::make_images;
use siblings::Siblings;

/// Image of the doubles: hand, CSI driver, NFS server.
const KIT_IMAGE: &str = "kind.local/firedrill-kit:local";
/// Image of the reference's controller.
const CONTROLLER_IMAGE: &str = "kind.local/firedrill-controller:local";
/// Image of the reference's mover.
const MOVER_IMAGE: &str = "kind.local/firedrill-mover:local";
/// Images of our own programs: name, program and package, user.
const PROGRAMS: [(&str, &str, &str); 3] = [
    (KIT_IMAGE, "kit", ""),
    (CONTROLLER_IMAGE, "controller", "65532:65532"),
    // Root unless its pod says otherwise, as in the original's image: else restored files would not get their owners.
    (MOVER_IMAGE, "mover", ""),
];
/// Image of the side programs of CSI; the recipe of nodes puts it there.
const SIDE_IMAGE: &str = "kind.local/csi:1";
/// Namespace and name of the installed chart.
const SUBJECT: &str = "firedrill";
/// How often a mover's pod is tried again: a failing run is told within a minute.
const BACKOFF_LIMIT: u32 = 1;
/// Port of the controller's metrics.
const METRICS: u16 = 8080;
/// Where nodes of the local image look for mount helpers that a test brings.
const MOUNT_HELPERS: &str = "/kind/bin";
/// How long a workload gets until it is ready.
const ROLL_OUT: Duration = Duration::from_secs(180);
/// After so long a step that still runs is told.
const QUIET: Duration = Duration::from_secs(2);

/// What to prepare.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Leave everything in place.
    pub keep: bool,
    /// The nodes' image; the locally built one if not said.
    pub node_image: Option<String>,
    /// A directory with the programs `kit`, `controller` and `mover`; without one they are built from the checkout.
    pub programs: Option<PathBuf>,
    /// The chart of the subject.
    pub chart: PathBuf,
}

/// Why no ground could be prepared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Docker, an image, a node, a container.
    #[error("{what}: {why}")]
    Cluster {
        /// What was being done.
        what: String,
        /// Why it did not go.
        why: String,
    },
    /// An image is missing or old.
    #[error(
        "the image {name} is missing or not from this version's recipe: build it with `firedrill images build`"
    )]
    Image {
        /// Its name.
        name: &'static str,
    },
    /// A program of ours is missing.
    #[error("the program {path} is missing: build it with `cargo build --package {package}`")]
    Program {
        /// Where it should be.
        path: String,
        /// The package that makes it.
        package: &'static str,
    },
    /// There are no programs and no sources.
    #[error(
        "there is no checkout to build kit, controller and mover from: name a directory with them by --programs"
    )]
    Checkout,
    /// The chart could not be rendered.
    #[error("the chart {chart} could not be rendered: {why}")]
    Chart {
        /// Its directory.
        chart: String,
        /// What helm said.
        why: String,
    },
    /// The operating system refused something.
    #[error("{what}")]
    System {
        /// What was being done.
        what: String,
        /// Why it did not go.
        #[source]
        source: std::io::Error,
    },
}

impl Options {
    /// What this program finds in the checkout that it was built from.
    pub fn here() -> Self {
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/firedrill");
        Self { chart, ..Self::default() }
    }
}

/// Looks whether a ground could be prepared on this machine; changes nothing.
///
/// # Errors
/// What is missing, with its cure.
pub fn check(options: &Options) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::System { what: "no runtime could be started".to_owned(), source })?;
    let listed = runtime.block_on(async {
        let docker = cluster::engine::connect().await?;
        let found = cluster::engine::check(&docker).await?;
        cluster::engine::check_room(&found, 1)?;
        image::list(&docker).await
    });
    let listed = listed.map_err(failed("use Docker"))?;
    let mut wanted = vec![cluster::MINIO_IMAGE];
    if options.node_image.is_none() {
        wanted.push(cluster::NODE_IMAGE);
    }
    for name in wanted {
        if !listed.iter().any(|image| image.name == name && image.current) {
            return Err(Error::Image { name });
        }
    }
    match (&options.programs, image::checkout()) {
        (Some(directory), _) => {
            for (_, program, _) in PROGRAMS {
                present(&directory.join(program), program)?;
            }
            Ok(())
        }
        (None, Some(_)) => Ok(()),
        (None, None) => Err(Error::Checkout),
    }
}

/// A prepared cluster; [`Ground::finish`] removes it.
pub struct Ground {
    runtime: tokio::runtime::Runtime,
    run: Run,
    _held: Held,
    coordinates: Coordinates,
}

/// What lives as long as the ground.
#[expect(dead_code, reason = "handles remove what they stand for when they go")]
struct Held {
    cluster: KindCluster,
    siblings: Siblings,
}

impl Ground {
    /// Prepares everything.
    ///
    /// # Errors
    /// See [`Error`]; what was made so far is gone again, except in a run that keeps.
    pub fn prepare(options: &Options) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|source| Error::System { what: "no runtime could be started".to_owned(), source })?;
        let run = runtime.block_on(Run::start(RunOptions { keep: options.keep })).map_err(|error| {
            Error::Cluster { what: "no run could be started".to_owned(), why: chain(&error) }
        })?;
        if !run.swept().is_empty() {
            eprintln!("removed what dead runs had left: {} containers", run.swept().containers.len());
        }
        let interrupted = run.clone();
        runtime.spawn(async move {
            let code = Run::interrupted().await;
            eprintln!("interrupted: removing the cluster");
            let _ = interrupted.finish().await;
            std::process::exit(code);
        });
        let prepared = runtime.block_on(prepare(&run, options));
        match prepared {
            Ok((held, coordinates)) => Ok(Self { runtime, run, _held: held, coordinates }),
            Err(error) => {
                let _ = runtime.block_on(run.finish());
                Err(error)
            }
        }
    }

    /// Where it is and what stands there.
    pub fn coordinates(&self) -> &Coordinates {
        &self.coordinates
    }

    /// Removes everything; of a run that keeps, tells where it is.
    ///
    /// # Errors
    /// Something could not be removed.
    pub fn finish(self) -> Result<Option<String>, Error> {
        if self.run.keeps() {
            return Ok(Some(format!(
                "run {}; firedrill run --bed attached --kubeconfig {}",
                self.run.id(),
                self.coordinates.kubeconfig.display()
            )));
        }
        let gone = self.runtime.block_on(self.run.finish());
        gone.map(|_| None).map_err(|error| Error::Cluster {
            what: "not everything was removed".to_owned(),
            why: chain(&error),
        })
    }
}

async fn prepare(run: &Run, options: &Options) -> Result<(Held, Coordinates), Error> {
    let programs = told("build our programs", programs(options)).await?;
    let archives = told("make images of the programs", async { make_images(run, &programs) }).await?;
    let helm = told("find helm", helm(run)).await?;
    let nodes = async {
        let image = match &options.node_image {
            Some(name) => NodeImage::Stock(name.clone()),
            None => NodeImage::Local,
        };
        // The port stays when the node is restarted, and so does the kubeconfig.
        let port = free_port()?;
        let made =
            KindCluster::builder(run, "bed").image(image).api_port(port).monitor(monitor()).create().await;
        let cluster = made.map_err(failed("make the cluster"))?;
        for archive in &archives {
            // One after the other: two imports at once take the same passing name in containerd.
            cluster.load_image(archive).await.map_err(failed("load our images into the nodes"))?;
        }
        Ok(cluster)
    };
    let (cluster, siblings) = tokio::try_join!(
        told("make the cluster", nodes),
        told("start what stands beside it", Siblings::start(run, &archives[0], &programs))
    )?;
    give_mount_helper(&cluster, &programs["kit"]).await?;
    mark(&cluster).await?;
    let drivers = told("install the CSI drivers", install_drivers(&cluster)).await?;
    let subject = told("install the subject", install_subject(&cluster, &helm, options)).await?;
    let coordinates = Coordinates {
        bed: "kind".to_owned(),
        kubeconfig: cluster.kubeconfig_path().to_owned(),
        context: None,
        nodes: cluster.nodes().iter().map(|node| node.name().to_owned()).collect(),
        hand_image: KIT_IMAGE.to_owned(),
        subject,
        drivers,
        ..siblings.coordinates().await?
    };
    let told = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": COORDINATES, "namespace": MARKED},
        "data": {COORDINATES: serde_json::to_string(&coordinates).expect("coordinates are plain data")},
    });
    apply(&cluster, &told).await?;
    Ok((Held { cluster, siblings }, coordinates))
}

/// A port of the loopback that nobody uses now.
fn free_port() -> Result<u16, Error> {
    let asked = std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    let address = asked
        .map_err(|source| Error::System { what: "no port of 127.0.0.1 could be had".to_owned(), source })?;
    Ok(address.port())
}

/// Puts the NFS mount helper where the nodes' `mount.nfs` looks for one; kernels without NFS need it.
async fn give_mount_helper(cluster: &KindCluster, kit: &Path) -> Result<(), Error> {
    let bytes = std::fs::read(kit)
        .map_err(|source| Error::System { what: format!("{} cannot be read", kit.display()), source })?;
    for node in cluster.nodes() {
        let given = node.write(&format!("{MOUNT_HELPERS}/kit"), &bytes, 0o755).await;
        given.map_err(failed("give the nodes a mount helper"))?;
        // A link, because the helper starts itself again under its own name and finds its subcommand by the link's.
        let link = ["ln", "-sf", "kit", &format!("{MOUNT_HELPERS}/mount.nfs")].map(str::to_owned);
        node.exec_ok(cluster::Command::new(link)).await.map_err(failed("give the nodes a mount helper"))?;
    }
    Ok(())
}

/// Marks the cluster as one for fire drills.
async fn mark(cluster: &KindCluster) -> Result<(), Error> {
    let marked = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": MARKED, "labels": {MARK: "allowed"}},
    });
    apply(cluster, &marked).await
}

/// Installs our CSI drivers with their classes, and waits until they run.
async fn install_drivers(cluster: &KindCluster) -> Result<Vec<Driver>, Error> {
    let options = manifests::Options::new(KIT_IMAGE, SIDE_IMAGE);
    cluster.apply(&manifests::csi(&options)).await.map_err(failed("apply the drivers"))?;
    let rolled = cluster.wait_rollout(manifests::NAMESPACE, "daemonset", manifests::APP, ROLL_OUT).await;
    rolled.map_err(failed("start the drivers"))?;
    // Claims of this class get their volume from the bed, as from an administrator who exports a directory for each.
    let by_hand = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": NFS_CLASS},
        "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "Immediate", "reclaimPolicy": "Retain",
    });
    apply(cluster, &by_hand).await?;
    let drivers = options.drivers.iter().map(|driver| Driver {
        name: driver.name.clone(),
        character: driver.character.to_string(),
        namespace: manifests::NAMESPACE.to_owned(),
        selector: format!("app={}", manifests::APP),
        container: manifests::CONTAINER.to_owned(),
    });
    Ok(drivers.collect())
}

/// Installs the subject from its chart, and waits until its controller works.
async fn install_subject(
    cluster: &KindCluster,
    helm: &Path,
    options: &Options,
) -> Result<SubjectPlace, Error> {
    let image = |name: &str| {
        let (repository, tag) = name.split_once(':').unwrap_or((name, ""));
        json!({"repository": repository, "tag": tag})
    };
    let mut controller = image(CONTROLLER_IMAGE);
    controller["pullPolicy"] = json!("Never");
    let values = json!({
        "image": controller,
        "mover": {"image": image(MOVER_IMAGE), "backoffLimit": BACKOFF_LIMIT},
        "metrics": {"port": METRICS},
        "logLevel": "info,controller=debug",
    });
    let values_file = cluster.kubeconfig_path().with_extension("values.json");
    std::fs::write(&values_file, values.to_string()).map_err(|source| Error::System {
        what: format!("{} cannot be written", values_file.display()),
        source,
    })?;
    let said = tokio::process::Command::new(helm)
        .args(["upgrade", "--install", SUBJECT])
        .arg(&options.chart)
        .args(["--namespace", SUBJECT, "--create-namespace", "--values"])
        .arg(&values_file)
        .arg("--kubeconfig")
        .arg(cluster.kubeconfig_path())
        .output()
        .await
        .map_err(|source| Error::System { what: format!("{} did not run", helm.display()), source })?;
    if !said.status.success() {
        let why = String::from_utf8_lossy(&said.stderr).trim().to_owned();
        return Err(Error::Chart { chart: options.chart.display().to_string(), why });
    }
    let rolled = cluster.wait_rollout(SUBJECT, "deployment", SUBJECT, ROLL_OUT).await;
    rolled.map_err(failed("start the subject's controller"))?;
    Ok(SubjectPlace {
        namespace: SUBJECT.to_owned(),
        deployment: SUBJECT.to_owned(),
        selector: "app.kubernetes.io/component=controller".to_owned(),
        metrics_port: METRICS,
    })
}

/// The helm to install with: one that is there, or one built from its Go module.
async fn helm(run: &Run) -> Result<PathBuf, Error> {
    if let Some(helm) = image::helm() {
        return Ok(helm);
    }
    image::build(run.docker(), &[Part::Helm], &monitor()).await.map_err(failed("build helm"))?;
    image::helm().ok_or_else(|| Error::Cluster {
        what: "helm was built".to_owned(),
        why: "and is not where it should be".to_owned(),
    })
}

/// The programs that images are made of.
async fn programs(options: &Options) -> Result<BTreeMap<String, PathBuf>, Error> {
    let packages = PROGRAMS.map(|(_, program, _)| program);
    let Some(directory) = &options.programs else {
        let checkout = image::checkout().ok_or(Error::Checkout)?;
        let built = image::static_binaries(&checkout, &packages, &monitor()).await;
        return built.map_err(failed("build the programs"));
    };
    let found = packages.into_iter().map(|program| {
        let path = directory.join(program);
        present(&path, program).map(|()| (program.to_owned(), path))
    });
    found.collect()
}

fn present(path: &Path, package: &'static str) -> Result<(), Error> {
    if path.is_file() {
        return Ok(());
    }
    Err(Error::Program { path: path.display().to_string(), package })
}

async fn apply(cluster: &KindCluster, object: &Value) -> Result<(), Error> {
    cluster.apply(&object.to_string()).await.map_err(failed("apply a manifest"))
}

fn failed(what: &str) -> impl Fn(cluster::Error) -> Error + use<> {
    let what = format!("failed to {what}");
    move |error| Error::Cluster { what: what.clone(), why: chain(&error) }
}

/// Does a step, and tells it if it takes longer than a moment.
#[expect(clippy::disallowed_methods, reason = "the person who waits lives by the real clock")]
async fn told<T>(what: &str, step: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let begins = std::time::Instant::now();
    let mut step = std::pin::pin!(step);
    let mut next = QUIET;
    loop {
        tokio::select! {
            biased;
            done = &mut step => {
                if begins.elapsed() > QUIET {
                    eprintln!("{what}: {:.1} s", begins.elapsed().as_secs_f64());
                }
                return done;
            }
            () = tokio::time::sleep(next.saturating_sub(begins.elapsed())) => {
                eprintln!("{what}: {} s …", begins.elapsed().as_secs());
                next += Duration::from_secs(10);
            }
        }
    }
}

/// Tells what of a cluster's making takes long.
fn monitor() -> Monitor {
    let tell: Arc<dyn Fn(&Progress) + Send + Sync> = Arc::new(|progress| eprintln!("  {progress}"));
    Monitor::new(move |progress| {
        if matches!(&progress.news, News::Done(time) if *time > QUIET) {
            tell(&progress);
        }
    })
}
