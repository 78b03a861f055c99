//! Where bytes live outside the API: drivers' volumes, volumes made by hand, buckets, NFS exports.
//!
//! Resolves a claim to what stands behind it. It holds no policy and asks no fault: volumes, stores and
//! exports do that where they are used.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use fault::Register;

use crate::{
    actor::{
        Cluster,
        cluster::{name, text},
        driver::Drivers,
        resource,
    },
    bucket::Bucket,
    clock::Clock,
    nfs::Export,
    volume::{Character, Volume},
};

/// Host of the object store that answers over TLS only.
pub const TLS_ENDPOINT: &str = "tls.s3.firedrill.test";
/// The authority that vouches for it. There is no handshake on this bed: who was given this text trusts it, and
/// nobody else does.
pub const TLS_AUTHORITY: &str =
    "-----BEGIN CERTIFICATE-----\nZmlyZWRyaWxsIHRlc3QgYXV0aG9yaXR5\n-----END CERTIFICATE-----\n";

/// What stands behind a claim.
#[derive(Clone, Debug)]
pub enum Backing {
    /// A volume.
    Volume(Volume),
    /// An NFS export.
    Nfs {
        /// Server name or address.
        server: String,
        /// Exported path.
        path: String,
        /// For a soft mount: after how long a request fails.
        soft: Option<Duration>,
    },
}

/// All storage of a bed.
pub struct Storage {
    drivers: Arc<Drivers>,
    clock: Clock,
    faults: Register,
    fixed: Mutex<BTreeMap<String, Volume>>,
    buckets: Mutex<BTreeMap<String, Bucket>>,
    exports: Mutex<BTreeMap<String, Export>>,
}

impl Storage {
    /// Storage over these drivers, otherwise empty.
    pub fn new(drivers: Arc<Drivers>, clock: Clock, faults: Register) -> Self {
        Self {
            drivers,
            clock,
            faults,
            fixed: Mutex::default(),
            buckets: Mutex::default(),
            exports: Mutex::default(),
        }
    }

    /// The CSI drivers.
    pub fn drivers(&self) -> &Arc<Drivers> {
        &self.drivers
    }

    /// What stands behind a bound claim.
    pub fn of_claim(&self, cluster: &Cluster, namespace: &str, claim: &str) -> Option<Backing> {
        let claim = cluster.get(resource::CLAIM, namespace, claim)?;
        let volume = cluster.get(resource::VOLUME, "", text(&claim, "/spec/volumeName"))?;
        if volume["spec"]["nfs"].is_object() {
            let (server, path) =
                (text(&volume, "/spec/nfs/server").to_owned(), text(&volume, "/spec/nfs/path").to_owned());
            return Some(Backing::Nfs { server, path, soft: soft_timeout(&volume) });
        }
        if let Some(driver) = self.drivers.get(text(&volume, "/spec/csi/driver"))
            && let Some(held) = driver.volume(text(&volume, "/spec/csi/volumeHandle"))
        {
            return Some(Backing::Volume(held));
        }
        // A volume made by hand: a directory of a node, or a driver that this bed does not have.
        let mut fixed = lock(&self.fixed);
        let held = fixed
            .entry(name(&volume).to_owned())
            .or_insert_with(|| Volume::new(name(&volume), Character::HostPath, self.clock.as_function()));
        Some(Backing::Volume(held.clone()))
    }

    /// The data volume at an NFS path: files that an app keeps on NFS, beside what exports hold of repositories.
    pub fn nfs_volume(&self, server: &str, path: &str) -> Volume {
        let name = format!("{server}:{path}");
        lock(&self.fixed)
            .entry(name.clone())
            .or_insert_with(|| Volume::new(name, Character::Nfs, self.clock.as_function()))
            .clone()
    }

    /// The bucket of this name at an endpoint, if it was made.
    pub fn bucket(&self, endpoint: &str, name: &str) -> Option<Bucket> {
        lock(&self.buckets).get(&format!("{endpoint}/{name}")).cloned()
    }

    /// Makes a bucket, or returns the one that is there. Faults aim at its name.
    pub fn make_bucket(&self, endpoint: &str, name: &str) -> Bucket {
        lock(&self.buckets)
            .entry(format!("{endpoint}/{name}"))
            .or_insert_with(|| Bucket::new(name, self.clock.as_function(), self.faults.clone()))
            .clone()
    }

    /// All buckets by `endpoint/name`.
    pub fn buckets(&self) -> BTreeMap<String, Bucket> {
        lock(&self.buckets).clone()
    }

    /// The export at `server:path`, if it was made.
    pub fn export(&self, server: &str, path: &str) -> Option<Export> {
        lock(&self.exports).get(&format!("{server}:{path}")).cloned()
    }

    /// The export that holds a path on a server, and the path within it.
    pub fn find_export(&self, server: &str, path: &str) -> Option<(Export, String)> {
        let exports = lock(&self.exports);
        let mut prefix = path.trim_end_matches('/');
        loop {
            if let Some(export) = exports.get(&format!("{server}:{prefix}")) {
                return Some((
                    export.clone(),
                    path.trim_end_matches('/')[prefix.len()..].trim_matches('/').to_owned(),
                ));
            }
            prefix = &prefix[..prefix.rfind('/')?];
        }
    }

    /// Makes an export, or returns the one that is there. Faults aim at `name`.
    pub fn make_export(&self, server: &str, path: &str, name: &str) -> Export {
        let path = path.trim_end_matches('/');
        lock(&self.exports)
            .entry(format!("{server}:{path}"))
            .or_insert_with(|| Export::new(name, self.clock.as_function(), self.faults.clone()))
            .clone()
    }

    /// All exports by `server:path`.
    pub fn exports(&self) -> BTreeMap<String, Export> {
        lock(&self.exports).clone()
    }
}

/// The time after which a soft mount gives up: `timeo` (tenths of a second) for each try.
fn soft_timeout(volume: &json::Value) -> Option<Duration> {
    let options: Vec<&str> = volume
        .pointer("/spec/mountOptions")
        .and_then(json::Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(json::Value::as_str)
        .flat_map(|options| options.split(','))
        .collect();
    let number = |key: &str, default: u64| {
        options.iter().find_map(|option| option.strip_prefix(key)?.parse().ok()).unwrap_or(default)
    };
    let is_soft = options.iter().any(|option| *option == "soft" || *option == "softerr");
    is_soft.then(|| Duration::from_millis(100 * number("timeo=", 600) * (number("retrans=", 2) + 1)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of a storage lock panics")
}
