//! Opening the place of a repository on this machine.
use std::sync::Arc;

use contract::Location;
use engine::{
    blob::directory::{DirectoryStore, LocalFiles},
    context::Entropy,
    store::{Error, ErrorKind, SharedStore},
};
use mover::OpenStore;

/// Directories of the local file system.
pub struct LocalStores {
    /// For the names of temporary files.
    pub entropy: Entropy,
}

fn directory(location: &Location) -> Result<Arc<LocalFiles>, Error> {
    match location {
        Location::Filesystem { path } => Ok(Arc::new(LocalFiles::new(path))),
        Location::S3 { .. } => Err(Error::new(
            ErrorKind::Misconfigured,
            "open",
            "",
            "S3 comes with the kind tier; this mover opens filesystem:// repositories only",
        )),
        Location::Unsupported { kind } => Err(Error::new(
            ErrorKind::Misconfigured,
            "open",
            "",
            format!("{kind} is not supported by this mover"),
        )),
    }
}

#[async_trait::async_trait]
impl OpenStore for LocalStores {
    async fn open(&self, location: &Location) -> Result<SharedStore, Error> {
        Ok(Arc::new(DirectoryStore::open(directory(location)?, self.entropy.clone()).await?))
    }
    async fn prepare(&self, location: &Location) -> Result<SharedStore, Error> {
        Ok(Arc::new(DirectoryStore::create(directory(location)?, self.entropy.clone()).await?))
    }
}
