//! Opening the place of a repository: a directory of this machine or an S3 bucket.
//!
//! The repository's Secret says where and with which keys; the only file read here is the custom CA.
use std::{sync::Arc, time::Duration};

use contract::Location;
use engine::{
    blob::{
        directory::{DirectoryStore, LocalFiles},
        s3,
    },
    context::Entropy,
    store::{Error, ErrorKind, SharedStore},
};
use mover::OpenStore;

/// The local file system, and buckets over the network.
pub struct RealStores {
    /// For the names of temporary files.
    pub entropy: Entropy,
}

/// A place that could be opened, before anything was asked of it.
enum Place {
    Directory(Arc<LocalFiles>),
    Bucket(SharedStore),
}

fn misconfigured(detail: impl Into<String>) -> Error {
    Error::new(ErrorKind::Misconfigured, "open", "", detail)
}

fn place(location: &Location) -> Result<Place, Error> {
    match location {
        Location::Filesystem { path } => Ok(Place::Directory(Arc::new(LocalFiles::new(path)))),
        Location::S3 { .. } => s3::open(&options(location)?).map(Place::Bucket),
        Location::Unsupported { kind } => {
            Err(misconfigured(format!("{kind} is not supported by this mover")))
        }
    }
}

/// What the client of a bucket needs.
fn options(location: &Location) -> Result<s3::Options, Error> {
    let Location::S3 {
        endpoint,
        bucket,
        prefix,
        region,
        disable_tls,
        access_key,
        secret_key,
        session_token,
        custom_ca,
        retry_seconds,
    } = location
    else {
        return Err(misconfigured("not a bucket"));
    };
    let read = |path: &String| {
        std::fs::read(path)
            .map_err(|error| misconfigured(format!("the custom CA {path} cannot be read: {error}")))
    };
    let patience = s3::Patience::default();
    Ok(s3::Options {
        endpoint: endpoint.clone(),
        bucket: bucket.clone(),
        prefix: prefix.clone(),
        region: region.clone(),
        disable_tls: *disable_tls,
        root_ca_pem: custom_ca.as_ref().map(read).transpose()?,
        access_key: access_key.clone(),
        secret_key: secret_key.expose().to_owned(),
        session_token: session_token.expose().to_owned(),
        patience: s3::Patience {
            request: retry_seconds.map_or(patience.request, Duration::from_secs),
            ..patience
        },
    })
}

#[async_trait::async_trait]
impl OpenStore for RealStores {
    async fn open(&self, location: &Location) -> Result<SharedStore, Error> {
        match place(location)? {
            Place::Directory(files) => Ok(Arc::new(DirectoryStore::open(files, self.entropy.clone()).await?)),
            Place::Bucket(store) => Ok(store),
        }
    }
    async fn prepare(&self, location: &Location) -> Result<SharedStore, Error> {
        match place(location)? {
            Place::Directory(files) => {
                Ok(Arc::new(DirectoryStore::create(files, self.entropy.clone()).await?))
            }
            // A bucket is never created, and needs nothing else.
            Place::Bucket(store) => Ok(store),
        }
    }
}
