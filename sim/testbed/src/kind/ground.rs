//! The ground of a kind bed: a cluster started for a run, with everything that scenarios need in and beside it.
//!
//! Images of our own programs, a MinIO and an NFS server beside the nodes, drivers with their classes, the subject
//! from its chart, and the mark. It promises that all of it is gone when the run is over, or was interrupted; what
//! a killed run left is swept by the next. Each step longer than two seconds is told. What cannot be prepared is an
//! error with its cure; nothing is pulled from anywhere.

use std::{
    path::{Path, PathBuf},
    process::Command as Process,
    sync::Arc,
    time::Duration,
};

use cluster::{
    KindCluster, Minio, NodeImage, Run, RunOptions, Sibling, chain,
    image::{self, File, Scratch},
    progress::{Monitor, News, Progress},
};
use serde_json::{Value, json};

use super::{
    COORDINATES, Coordinates, MARK, MARKED,
    coordinates::{Driver, Nas, ObjectStore, SubjectPlace},
};

/// Image of the doubles: hand, CSI driver, NFS server.
const KIT_IMAGE: &str = "kind.local/firedrill-kit:local";
/// Image of the reference's controller.
const CONTROLLER_IMAGE: &str = "kind.local/firedrill-controller:local";
/// Image of the reference's mover.
const MOVER_IMAGE: &str = "kind.local/firedrill-mover:local";
/// Images of our own programs: name, program, package, user.
const PROGRAMS: [(&str, &str, &str, &str); 3] = [
    (KIT_IMAGE, "kit", "kit", ""),
    (CONTROLLER_IMAGE, "controller", "controller", "65532:65532"),
    (MOVER_IMAGE, "mover", "mover", "65532:65532"),
];
/// Where the chart is installed.
const SUBJECT: &str = "firedrill-system";
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
    /// The directory with the programs `kit`, `controller` and `mover`.
    pub programs: PathBuf,
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
    /// There is no helm.
    #[error(
        "there is no helm to install the subject's chart with: put one on PATH, or run `firedrill images build`"
    )]
    Helm,
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
    /// What this program finds around itself: programs beside it, the chart in its workspace.
    ///
    /// # Errors
    /// The program does not know where it is.
    pub fn here() -> Result<Self, Error> {
        let program = std::env::current_exe().map_err(|source| Error::System {
            what: "this program does not know where it is".to_owned(),
            source,
        })?;
        let programs = program.parent().unwrap_or(Path::new(".")).to_owned();
        // Tests of cargo lie one directory below the programs.
        let programs = if programs.ends_with("deps") {
            programs.parent().unwrap_or(&programs).to_owned()
        } else {
            programs
        };
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/firedrill");
        Ok(Self { programs, chart, ..Self::default() })
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
    for (_, program, package, _) in PROGRAMS {
        let path = options.programs.join(program);
        if !path.is_file() {
            return Err(Error::Program { path: path.display().to_string(), package });
        }
    }
    image::helm().map(drop).ok_or(Error::Helm)
}

/// A prepared cluster; [`Ground::finish`] removes it.
pub struct Ground {
    runtime: tokio::runtime::Runtime,
    run: Run,
    _held: Held,
    coordinates: Coordinates,
}

/// What lives as long as the ground.
struct Held {
    cluster: KindCluster,
    minio: Minio,
    nas: Option<Sibling>,
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
    let archives = told("make images of the programs", make_images(run, options)).await?;
    let minio = async {
        let started = Minio::builder(run, "minio").start().await;
        started.map_err(failed("start MinIO"))
    };
    let nodes = async {
        let image = match &options.node_image {
            Some(name) => NodeImage::Stock(name.clone()),
            None => NodeImage::Local,
        };
        let mut builder = KindCluster::builder(run, "bed").image(image).monitor(monitor());
        for archive in &archives {
            builder = builder.archive(archive);
        }
        builder.create().await.map_err(failed("make the cluster"))
    };
    let (minio, cluster) = tokio::try_join!(told("start MinIO", minio), told("make the cluster", nodes))?;
    let nas = None;
    mark(&cluster).await?;
    let drivers = told("install the CSI drivers", install_drivers(&cluster)).await?;
    let subject = told("install the subject", install_subject(&cluster, options)).await?;
    let outside = minio.endpoint_here().await.map_err(failed("find MinIO's port"))?;
    let without_scheme = |endpoint: &str| endpoint.split("://").last().unwrap_or_default().to_owned();
    let coordinates = Coordinates {
        bed: "kind".to_owned(),
        kubeconfig: cluster.kubeconfig_path().to_owned(),
        context: None,
        nodes: cluster.nodes().iter().map(|node| node.name().to_owned()).collect(),
        hand_image: KIT_IMAGE.to_owned(),
        subject,
        store: Some(ObjectStore {
            outside: without_scheme(&outside),
            inside: without_scheme(&minio.endpoint()),
            access_key: minio.access_key().to_owned(),
            secret_key: minio.secret_key().to_owned(),
            container: minio.sibling().container().to_owned(),
        }),
        nas: None::<Nas>,
        drivers,
    };
    let told = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": COORDINATES, "namespace": MARKED},
        "data": {COORDINATES: serde_json::to_string(&coordinates).expect("coordinates are plain data")},
    });
    apply(&cluster, &told).await?;
    Ok((Held { cluster, minio, nas }, coordinates))
}

/// Marks the cluster as one for fire drills.
async fn mark(cluster: &KindCluster) -> Result<(), Error> {
    let marked = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": MARKED, "labels": {MARK: "allowed"}},
    });
    apply(cluster, &marked).await
}

async fn install_drivers(_cluster: &KindCluster) -> Result<Vec<Driver>, Error> {
    Ok(Vec::new())
}

async fn install_subject(cluster: &KindCluster, options: &Options) -> Result<SubjectPlace, Error> {
    let helm = image::helm().ok_or(Error::Helm)?;
    let values = json!({
        "controller": {"image": {"name": CONTROLLER_IMAGE, "pullPolicy": "Never"}},
        "mover": {"image": {"name": MOVER_IMAGE, "pullPolicy": "Never"}},
    });
    let values_path = options.chart.join("kind-values.json");
    let _ = (helm, values, values_path);
    cluster
        .wait_rollout(SUBJECT, "deployment", "firedrill", ROLL_OUT)
        .await
        .map_err(failed("install the subject"))?;
    Ok(SubjectPlace {
        namespace: SUBJECT.to_owned(),
        deployment: "firedrill".to_owned(),
        selector: "app.kubernetes.io/name=firedrill".to_owned(),
        metrics_port: 8080,
    })
}

/// Makes archives of images from programs of this machine, with what a dynamic one needs to run.
async fn make_images(run: &Run, options: &Options) -> Result<Vec<PathBuf>, Error> {
    let mut archives = Vec::new();
    for (name, program, package, user) in PROGRAMS {
        let path = options.programs.join(program);
        if !path.is_file() {
            return Err(Error::Program { path: path.display().to_string(), package });
        }
        let inside = format!("/{program}");
        let mut files = vec![File::program(&inside, &path), File::directory("/tmp", 0o1777)];
        files.extend(
            libraries(&path)?
                .into_iter()
                .map(|library| File::program(&library.display().to_string(), &library)),
        );
        let scratch = Scratch {
            name: name.to_owned(),
            files,
            entrypoint: vec![inside],
            user: user.to_owned(),
            ..Scratch::default()
        };
        let archive = run.directory().join(format!("{program}.tar"));
        image::from_scratch(&scratch, &archive).map_err(failed(&format!("make the image {name}")))?;
        archives.push(archive);
    }
    Ok(archives)
}

/// The libraries that a program loads; none for a static one.
fn libraries(program: &Path) -> Result<Vec<PathBuf>, Error> {
    let said = Process::new("ldd")
        .arg(program)
        .output()
        .map_err(|source| Error::System { what: format!("ldd {} did not run", program.display()), source })?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let paths = text.lines().filter_map(|line| {
        // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, or `/lib64/ld-linux-x86-64.so.2 (0x…)`
        let path = line.split("=>").last()?.split_whitespace().next()?;
        path.starts_with('/').then(|| PathBuf::from(path))
    });
    Ok(paths.collect())
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
