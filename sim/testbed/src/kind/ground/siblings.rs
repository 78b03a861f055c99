//! What stands beside the cluster: object stores, a proxy that makes bad weather, an NFS server, a second machine.
//!
//! Pods reach the plain store through the proxy only; the bed and the second machine go past it. The store with TLS
//! has a certificate of an authority made for the run, and no proxy. The second machine has our kit and mover, and
//! Kopia if one is on this machine's PATH: an optional witness, told where it speaks.

use std::{
    collections::BTreeMap,
    io::Read as _,
    path::{Path, PathBuf},
};

use cluster::{
    Minio, Run, Sibling,
    image::{self, Scratch},
};

use super::{
    super::{
        coordinates::{Coordinates, Machine, Nas, ObjectStore},
        elsewhere::{KIT, KOPIA, MOVER, WORK},
    },
    Error, KIT_IMAGE, ROLL_OUT, failed,
    images::with_libraries,
};

/// Image of the second machine.
const MACHINE_IMAGE: &str = "kind.local/firedrill-elsewhere:local";
/// Port of the object stores and of the proxy.
const S3_PORT: u16 = 9000;
/// What the NFS server serves, and what clients mount: one export, a directory of it for each repository.
const NAS_DIRECTORY: &str = "/srv/export";
const NAS_EXPORT: &str = "/export";
const NAS_PORT: u16 = 2049;

/// Everything beside the cluster, running.
pub(super) struct Siblings {
    store: Minio,
    proxy: Sibling,
    tls_store: Minio,
    nas: Sibling,
    machine: Sibling,
    has_kopia: bool,
}

impl Siblings {
    /// Starts all of it; `kit` is the archive of the doubles' image.
    pub(super) async fn start(
        run: &Run,
        kit: &Path,
        programs: &BTreeMap<String, PathBuf>,
    ) -> Result<Self, Error> {
        image::load(run.docker(), kit).await.map_err(failed("load the image of the doubles"))?;
        let plain = async {
            let store = Minio::builder(run, "minio").start().await.map_err(failed("start MinIO"))?;
            let proxy = start_proxy(run, &store).await?;
            Ok((store, proxy))
        };
        let secure = async {
            let started = Minio::builder(run, "minio-tls").tls().start().await;
            started.map_err(failed("start MinIO with TLS"))
        };
        let ((store, proxy), tls_store, nas, (machine, has_kopia)) =
            tokio::try_join!(plain, secure, start_nas(run), start_machine(run, programs))?;
        Ok(Self { store, proxy, tls_store, nas, machine, has_kopia })
    }

    /// Where it all is.
    pub(super) async fn coordinates(&self) -> Result<Coordinates, Error> {
        let proxied = ObjectStore {
            inside: format!("{}:{S3_PORT}", self.proxy.alias()),
            proxy: self.proxy.container().to_owned(),
            ..reached(&self.store).await?
        };
        Ok(Coordinates {
            store: Some(proxied),
            tls_store: Some(reached(&self.tls_store).await?),
            nas: Some(Nas {
                server: self.nas.address().await.map_err(failed("find the NFS server"))?.unwrap_or_default(),
                container: self.nas.container().to_owned(),
                directory: NAS_DIRECTORY.to_owned(),
                export: NAS_EXPORT.to_owned(),
            }),
            elsewhere: Some(Machine {
                container: self.machine.container().to_owned(),
                kopia: if self.has_kopia { KOPIA.to_owned() } else { String::new() },
            }),
            ..Coordinates::default()
        })
    }
}

/// An object store, reached without a proxy.
async fn reached(store: &Minio) -> Result<ObjectStore, Error> {
    let without_scheme = |endpoint: &str| endpoint.split("://").last().unwrap_or_default().to_owned();
    let outside = store.endpoint_here().await.map_err(failed("find MinIO's port"))?;
    Ok(ObjectStore {
        outside: without_scheme(&outside),
        inside: without_scheme(&store.endpoint()),
        straight: without_scheme(&store.endpoint()),
        access_key: store.access_key().to_owned(),
        secret_key: store.secret_key().to_owned(),
        container: store.sibling().container().to_owned(),
        proxy: String::new(),
        authority: store.authority_pem().unwrap_or_default().to_owned(),
    })
}

async fn start_proxy(run: &Run, store: &Minio) -> Result<Sibling, Error> {
    let proxy = Sibling::builder(run, "s3", KIT_IMAGE)
        .arguments(["s3-proxy", "--upstream", &store.endpoint(), "--listen", &format!("0.0.0.0:{S3_PORT}")])
        .tmpfs("/run/kit")
        .start()
        .await
        .map_err(failed("start the S3 proxy"))?;
    proxy.wait_listening(S3_PORT, ROLL_OUT).await.map_err(failed("start the S3 proxy"))?;
    Ok(proxy)
}

async fn start_nas(run: &Run) -> Result<Sibling, Error> {
    let nas = Sibling::builder(run, "nas", KIT_IMAGE)
        .arguments(["nfs-server", NAS_DIRECTORY, "--name", NAS_EXPORT])
        .volume(NAS_DIRECTORY)
        .volume("/var/lib/kit")
        .tmpfs("/run/kit")
        .privileged()
        .start()
        .await
        .map_err(failed("start the NFS server"))?;
    nas.wait_listening(NAS_PORT, ROLL_OUT).await.map_err(failed("start the NFS server"))?;
    Ok(nas)
}

/// Starts the second machine; tells whether it has Kopia.
async fn start_machine(run: &Run, programs: &BTreeMap<String, PathBuf>) -> Result<(Sibling, bool), Error> {
    let kopia = on_path("kopia");
    let mut files = with_libraries(KIT, &programs["kit"])?;
    files.extend(with_libraries(MOVER, &programs["mover"])?);
    if let Some(kopia) = &kopia {
        files.extend(with_libraries(KOPIA, kopia)?);
    }
    // Programs share libraries.
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files.dedup_by(|one, other| one.path == other.path);
    let scratch = Scratch {
        name: MACHINE_IMAGE.to_owned(),
        files,
        entrypoint: vec![KIT.to_owned()],
        ..Scratch::default()
    };
    let archive = run.directory().join("elsewhere.tar");
    image::from_scratch(&scratch, &archive).map_err(failed("make the image of the second machine"))?;
    image::load(run.docker(), &archive).await.map_err(failed("load the image of the second machine"))?;
    let machine = Sibling::builder(run, "elsewhere", MACHINE_IMAGE)
        .arguments(["hand", "wait"])
        .volume(WORK)
        .tmpfs("/tmp")
        .privileged()
        .start()
        .await
        .map_err(failed("start the second machine"))?;
    Ok((machine, kopia.is_some()))
}

/// A program of this machine, found as a shell would; a script is none, because its interpreter would be missing.
fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found =
        std::env::split_paths(&path).map(|directory| directory.join(program)).find(|one| one.is_file())?;
    let mut magic = [0; 4];
    std::fs::File::open(&found).and_then(|mut file| file.read_exact(&mut magic)).ok()?;
    (magic == *b"\x7fELF").then_some(found)
}
