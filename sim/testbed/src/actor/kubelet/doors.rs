//! A mover's doors on the bed: its volumes, its stores, its clock.
//!
//! A location is resolved as the mover's file system would: `filesystem:///path` through the container's
//! mounts, with an error as on a read-only root where nothing is mounted; a bucket by endpoint and name.
//! Faults, cost and the record stand in front of every store.

use std::{io, sync::Arc};

use contract::Location;
use engine::{
    blob::directory::{DirectoryStore, Files},
    context::Entropy,
    store::{self, ErrorKind, SharedStore},
};
use fault::Register;

use super::{
    directory::MountedFiles,
    mounts::{self, Mounted, Mounts},
};
use crate::{
    bucket::{FaultyStore, Operation},
    cost::{Meter, Rate},
    nfs::NfsOptions,
    record::{Record, What},
    storage::{Storage, TLS_AUTHORITY, TLS_ENDPOINT},
    volume::{Credentials, Mount, MountOptions},
};

/// Opens stores for one container.
pub struct StoreDoor {
    /// The bed's storage.
    pub storage: Arc<Storage>,
    /// What the container has mounted.
    pub mounts: Mounts,
    /// Whom it acts as.
    pub credentials: Credentials,
    /// The Job's name: the actor of points.
    pub actor: String,
    /// The bed's faults.
    pub faults: Register,
    /// The run's debt of time.
    pub meter: Meter,
    /// Names for temporary files.
    pub entropy: Entropy,
    /// Where operations are recorded, if they are.
    pub record: Option<Record>,
}

impl StoreDoor {
    fn wrap(&self, store: SharedStore, name: &str, rate: Rate) -> SharedStore {
        let faulty =
            FaultyStore::new(store, name, &self.actor, self.faults.clone()).meter(self.meter.clone(), rate);
        match self.record.clone() {
            None => faulty.shared(),
            Some(record) => {
                faulty.witness(Arc::new(move |operation: &Operation| note(&record, operation))).shared()
            }
        }
    }

    /// What a client and a store that wants TLS make of each other, in the words of the real client.
    fn shake_hands(&self, disable_tls: bool, custom_ca: Option<&str>) -> Result<(), store::Error> {
        let refuse = |text: String| Err(store::Error::new(ErrorKind::Misconfigured, "open", "", text));
        if disable_tls {
            return refuse(
                "the store answered 400: Client sent an HTTP request to an HTTPS server.".to_owned(),
            );
        }
        let trusted = match custom_ca {
            None => Vec::new(),
            Some(path) => match read_file(&self.mounts, path) {
                Ok(trusted) => trusted,
                Err(error) => return refuse(format!("the custom CA {path} cannot be read: {error}")),
            },
        };
        if String::from_utf8_lossy(&trusted).contains(TLS_AUTHORITY.trim_end()) {
            return Ok(());
        }
        refuse(
            "no answer: invalid peer certificate: UnknownIssuer; name the certificate's issuer as custom CA, or set \
             KOPIA_S3_DISABLE_TLS for a plain endpoint"
                .to_owned(),
        )
    }

    /// The files below an absolute path, with a name for points.
    fn files(&self, path: &str) -> Result<(Arc<dyn Files>, String, Rate), store::Error> {
        let refuse = |kind, detail: &str| store::Error::new(kind, "open", path, detail);
        let Some((mounted, rest)) = mounts::resolve(&self.mounts, path) else {
            return Err(refuse(ErrorKind::Misconfigured, "nothing is mounted there: read-only file system"));
        };
        match mounted {
            Mounted::Volume { volume, claim, sub_path, is_read_only } => {
                let name = if claim.is_empty() { volume.name().to_owned() } else { claim.clone() };
                let options = MountOptions::new(&self.actor)
                    .credentials(self.credentials.clone())
                    .read_only(*is_read_only)
                    .register(self.faults.clone());
                let mount = Arc::new(volume.mount(options));
                let rate = Rate::of(volume.character());
                Ok((Arc::new(MountedFiles::new(mount, &format!("{sub_path}/{rest}"))), name, rate))
            }
            Mounted::Nfs { server, path: exported, soft, .. } => {
                let (export, within) = self.storage.find_export(server, exported).ok_or_else(|| {
                    let detail =
                        format!("mount.nfs: access denied by server while mounting {server}:{exported}");
                    refuse(ErrorKind::Misconfigured, &detail)
                })?;
                let mut options =
                    NfsOptions::hard(&self.actor).user(self.credentials.uid, self.credentials.gid);
                if let Some(timeout) = soft {
                    options = options.soft(*timeout);
                }
                let name = export.name().to_owned();
                let below = format!("{within}/{rest}");
                let mount = export.mount(options);
                let below = below.trim_matches('/');
                let files =
                    if below.is_empty() { mount.shared() } else { mount.subdirectory(below).shared() };
                Ok((files, name, Rate::NFS))
            }
            Mounted::Files(_) => Err(refuse(ErrorKind::Denied, "read-only file system")),
        }
    }
}

#[async_trait::async_trait]
impl mover::OpenStore for StoreDoor {
    async fn open(&self, location: &Location) -> Result<SharedStore, store::Error> {
        match location {
            Location::Filesystem { path } => {
                let (files, name, rate) = self.files(path)?;
                let store = DirectoryStore::open(files, self.entropy.clone()).await?;
                Ok(self.wrap(Arc::new(store), &name, rate))
            }
            Location::S3 { endpoint, bucket, prefix, access_key, disable_tls, custom_ca, .. } => {
                if endpoint == TLS_ENDPOINT {
                    self.shake_hands(*disable_tls, custom_ca.as_deref())?;
                }
                if access_key.is_empty() {
                    return Err(store::Error::new(ErrorKind::Denied, "open", bucket, "Access Denied."));
                }
                let found = self.storage.bucket(endpoint, bucket);
                let found = found.ok_or_else(|| {
                    store::Error::new(
                        ErrorKind::Misconfigured,
                        "open",
                        bucket,
                        format!("bucket {bucket:?} does not exist"),
                    )
                })?;
                let name = found.name().to_owned();
                Ok(self.wrap(found.view(prefix), &name, Rate::BUCKET))
            }
            Location::Unsupported { kind } => Err(store::Error::new(
                ErrorKind::Misconfigured,
                "open",
                kind,
                "this mover cannot open such a repository",
            )),
        }
    }

    async fn prepare(&self, location: &Location) -> Result<SharedStore, store::Error> {
        match location {
            Location::Filesystem { path } => {
                let (files, name, rate) = self.files(path)?;
                let store = DirectoryStore::create(files, self.entropy.clone()).await?;
                Ok(self.wrap(Arc::new(store), &name, rate))
            }
            other => self.open(other).await,
        }
    }
}

fn note(record: &Record, operation: &Operation) {
    record.push(
        &format!("store/{}/{}/{}", operation.actor, operation.operation, operation.store),
        What::Blob {
            store: operation.store.clone(),
            actor: operation.actor.clone(),
            operation: operation.operation.to_owned(),
            id: operation.id.clone(),
            bytes: operation.bytes,
            error: operation.error.clone(),
        },
    );
}

/// The volume mounted at a path, as the mover's data door; `None` if nothing or no volume is there.
pub fn data_door(
    storage: &Storage,
    mounts: &Mounts,
    path: &str,
    options: MountOptions,
) -> Option<Arc<Mount>> {
    match mounts.get(path.trim_end_matches('/'))? {
        Mounted::Nfs { server, path, is_read_only, .. } => {
            Some(Arc::new(storage.nfs_volume(server, path).mount(options.read_only(*is_read_only))))
        }
        Mounted::Volume { volume, is_read_only, .. } => {
            Some(Arc::new(volume.mount(options.read_only(*is_read_only))))
        }
        Mounted::Files(_) => None,
    }
}

/// Reads a file that a Secret or ConfigMap put into the container.
pub fn read_file(mounts: &Mounts, path: &str) -> io::Result<Vec<u8>> {
    let absent = || io::Error::from(io::ErrorKind::NotFound);
    match mounts::resolve(mounts, path).ok_or_else(absent)? {
        (Mounted::Files(files), rest) => files.get(rest).cloned().ok_or_else(absent),
        _ => Err(absent()),
    }
}
