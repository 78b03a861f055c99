//! Container images without a registry: built here, listed, removed, and made of a few files.
//!
//! What the recipe builds lives in the engine and in the user's cache; what a caller makes of its own binaries
//! ([`from_scratch`]) is an archive that goes into the engine, into nodes, or both. The same files and options give
//! the same archive, byte for byte, and so the same image id.

mod archive;
mod binaries;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use futures::{StreamExt, future::BoxFuture};
use testcontainers::bollard::{
    Docker,
    errors::Error as DockerError,
    query_parameters::{ImportImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder},
};

pub(crate) use archive::architecture;
pub use archive::{Content, File, Scratch, from_scratch};
pub use binaries::{checkout, static_binaries};

use crate::{
    Error, exec,
    mark::{self},
    progress::Monitor,
    recipe,
};

/// A part of the recipe that can be built by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The node image `kind.local/node`, with Kubernetes, the storage side programs and the snapshot controller.
    Node,
    /// The S3 server `kind.local/minio`.
    Minio,
    /// The `helm` command, for machines that have none.
    Helm,
}

impl Part {
    /// What a cluster suite needs.
    pub const ALL: [Self; 3] = [Self::Node, Self::Minio, Self::Helm];

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Minio => "minio",
            Self::Helm => "helm",
        }
    }
}

/// An image of ours at the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Name and tag.
    pub name: String,
    /// The engine's id.
    pub id: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Digest of the recipe it was built from; empty for images made of files.
    pub recipe: String,
    /// Whether that is the recipe inside this program; true for images made of files.
    pub current: bool,
}

/// Builds what is missing or outdated of the parts, and leaves the rest alone.
///
/// Steps are cached one by one below [`crate::cache::root`], so that an interrupted build goes on where it was.
///
/// # Errors
/// A missing tool, too little disk, or a failed step with the name of its log.
pub fn build<'a>(
    docker: &'a Docker,
    parts: &'a [Part],
    monitor: &'a Monitor,
) -> BoxFuture<'a, Result<Vec<Listed>, Error>> {
    Box::pin(async move {
        recipe::build(docker, parts, monitor).await?;
        list(docker).await
    })
}

/// The images of ours at the engine, by name.
pub fn list(docker: &Docker) -> BoxFuture<'_, Result<Vec<Listed>, Error>> {
    Box::pin(async move {
        let filters = [("label", vec![mark::RECIPE])].into_iter().collect();
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        let images = docker.list_images(Some(options)).await.map_err(Error::docker("list images"))?;
        let mut listed = Vec::new();
        for image in images {
            let recipe = image.labels.get(mark::RECIPE).cloned().unwrap_or_default();
            for name in image.repo_tags {
                let current = recipe.is_empty() || recipe == recipe::digest_for(&name);
                let (id, bytes) = (image.id.clone(), image.size.unsigned_abs());
                listed.push(Listed { name, id, bytes, recipe: recipe.clone(), current });
            }
        }
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    })
}

/// Removes images of ours from the engine, and everything cached for building them when `cache_too`; gives the names.
pub fn remove(docker: &Docker, cache_too: bool) -> BoxFuture<'_, Result<Vec<String>, Error>> {
    Box::pin(async move {
        let mut removed = Vec::new();
        for image in list(docker).await? {
            let options = RemoveImageOptionsBuilder::new().force(true).build();
            match docker.remove_image(&image.name, Some(options), None).await {
                Ok(_) | Err(DockerError::DockerResponseServerError { status_code: 404, .. }) => {
                    removed.push(image.name);
                }
                Err(error) => return Err(Error::docker(format!("remove the image {}", image.name))(error)),
            }
        }
        if cache_too {
            recipe::forget().await?;
        }
        Ok(removed)
    })
}

/// Loads an archive (the format of `docker save`) into the engine.
pub fn load<'a>(docker: &'a Docker, archive: &'a Path) -> BoxFuture<'a, Result<(), Error>> {
    Box::pin(async move {
        let doing = || format!("load {}", archive.display());
        let file = tokio::fs::File::open(archive).await.map_err(Error::file("open", archive))?;
        let options = ImportImageOptionsBuilder::new().quiet(true).build();
        let body = testcontainers::bollard::body_try_stream(exec::pieces(file));
        let mut answers = docker.import_image(options, body, None);
        while let Some(answer) = answers.next().await {
            answer.map_err(Error::docker(doing()))?;
        }
        Ok(())
    })
}

/// Writes an image of the engine to an archive that [`load`] and nodes take.
pub async fn save(docker: &Docker, name: &str, archive: &Path) -> Result<(), Error> {
    let mut file = tokio::fs::File::create(archive).await.map_err(Error::file("make", archive))?;
    let mut stream = docker.export_image(name);
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(Error::docker(format!("save {name}")))?;
        tokio::io::AsyncWriteExt::write_all(&mut file, &piece)
            .await
            .map_err(Error::file("write", archive))?;
    }
    tokio::io::AsyncWriteExt::flush(&mut file).await.map_err(Error::file("write", archive))
}

/// Says whether an image is at the engine and comes from the recipe inside this program.
pub(crate) async fn is_current(docker: &Docker, name: &str) -> Result<bool, Error> {
    match docker.inspect_image(name).await {
        Ok(_) => Ok(require_current(docker, name).await.is_ok()),
        Err(DockerError::DockerResponseServerError { status_code: 404, .. }) => Ok(false),
        Err(error) => Err(Error::docker(format!("look for the image {name}"))(error)),
    }
}

/// Sees that a locally built image comes from the recipe inside this program.
pub(crate) async fn require_current(docker: &Docker, name: &str) -> Result<(), Error> {
    let seen =
        docker.inspect_image(name).await.map_err(Error::docker(format!("look at the image {name}")))?;
    let labels: BTreeMap<_, _> =
        seen.config.and_then(|config| config.labels).unwrap_or_default().into_iter().collect();
    let found = labels.get(mark::RECIPE).cloned().unwrap_or_else(|| "none".to_owned());
    let wanted = recipe::digest_for(name);
    if found == wanted {
        return Ok(());
    }
    Err(Error::ImageOutdated { name: name.to_owned(), found, wanted })
}

/// The `helm` command to use: the one on PATH, else the one the recipe has built; none where there is neither.
pub fn helm() -> Option<PathBuf> {
    recipe::helm()
}
