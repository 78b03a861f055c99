//! A store in a folder, in Kopia's sharded layout.
//!
//! Promises the seam's atomicity by temporary file, sync and rename (a second name for creation), as
//! Kopia does. Needs a [`Files`] that keeps POSIX promises. A folder whose `.shards` is missing is
//! refused rather than guessed at: guessing other levels finds nothing and looks like an empty
//! repository. It never removes temporary files of others, and never syncs directories.

pub mod files;
pub mod layout;
mod local;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

pub use files::{FileMetadata, Files};
pub use local::LocalFiles;

use self::layout::{SHARDS_FILE, SUFFIX, Shards};
use crate::{
    context::Entropy,
    store::{Error, ErrorKind, Metadata, Store},
};

/// A store in a folder.
#[derive(Debug)]
pub struct DirectoryStore {
    files: Arc<dyn Files>,
    shards: Shards,
    entropy: Entropy,
    /// Directories known to exist, so that a put does not look again.
    known: Mutex<BTreeSet<String>>,
}

/// Maps what a file system says to what a store says.
fn error(operation: &'static str, id: &str, error: &io::Error) -> Error {
    let kind = match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::STALE) => ErrorKind::Stale,
        // A size limit of the process is a quota too.
        Some(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT | rustix::io::Errno::FBIG) => {
            ErrorKind::NoSpace
        }
        Some(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM | rustix::io::Errno::ROFS) => {
            ErrorKind::Denied
        }
        Some(rustix::io::Errno::TIMEDOUT | rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {
            ErrorKind::Unavailable
        }
        _ => match error.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::AlreadyExists => ErrorKind::Exists,
            io::ErrorKind::UnexpectedEof => ErrorKind::Truncated,
            io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            io::ErrorKind::TimedOut => ErrorKind::Unavailable,
            _ => ErrorKind::Io,
        },
    };
    Error::new(kind, operation, id, error.to_string())
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

impl DirectoryStore {
    /// Opens the folder of an existing repository.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] when the folder does not exist, or when it holds something but no
    /// `.shards`; [`ErrorKind::NotFound`] (of `.shards`) when the folder is empty.
    pub async fn open(files: Arc<dyn Files>, entropy: Entropy) -> Result<Self, Error> {
        match files.read(SHARDS_FILE, None).await {
            Ok(bytes) => {
                let shards = serde_json::from_slice(&bytes).map_err(|error| {
                    Error::new(ErrorKind::Misconfigured, "get", SHARDS_FILE, error.to_string())
                })?;
                Ok(Self { files, shards, entropy, known: Mutex::default() })
            }
            Err(absent) if absent.kind() == io::ErrorKind::NotFound => {
                let listed = files.list_dir("").await.map_err(|failure| match failure.kind() {
                    io::ErrorKind::NotFound => Error::new(
                        ErrorKind::Misconfigured,
                        "list",
                        "",
                        "the repository folder does not exist",
                    ),
                    _ => error("list", "", &failure),
                })?;
                let is_empty = listed.iter().all(|entry| entry.name == "lost+found");
                let (kind, detail) = if is_empty {
                    (ErrorKind::NotFound, "the repository folder is empty".to_owned())
                } else {
                    (ErrorKind::Misconfigured, "the folder holds data but no .shards file".to_owned())
                };
                Err(Error::new(kind, "get", SHARDS_FILE, detail))
            }
            Err(failure) => Err(error("get", SHARDS_FILE, &failure)),
        }
    }
    /// Prepares an empty folder for a new repository, or opens one that was prepared before.
    ///
    /// # Errors
    /// As [`DirectoryStore::open`], but an empty folder gets its `.shards`.
    pub async fn create(files: Arc<dyn Files>, entropy: Entropy) -> Result<Self, Error> {
        match Self::open(files.clone(), entropy.clone()).await {
            Err(failure) if failure.kind == ErrorKind::NotFound && failure.id == SHARDS_FILE => {
                let shards = serde_json::to_vec(&Shards::default()).expect("plain data serialises");
                match files.create_new(SHARDS_FILE, shards.into()).await {
                    Ok(()) => {}
                    // Another creator was faster: its parameters count.
                    Err(failure) if failure.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(failure) => return Err(error("put", SHARDS_FILE, &failure)),
                }
                Self::open(files, entropy).await
            }
            other => other,
        }
    }

    async fn make_directory(&self, directory: &str) -> io::Result<()> {
        if directory.is_empty()
            || self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(directory)
        {
            return Ok(());
        }
        let ends = directory.match_indices('/').map(|(at, _)| at).chain([directory.len()]);
        for end in ends {
            match self.files.mkdir(&directory[..end]).await {
                Err(failure) if failure.kind() != io::ErrorKind::AlreadyExists => return Err(failure),
                _ => {}
            }
        }
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(directory.to_owned());
        Ok(())
    }

    /// Writes a temporary file beside the final place; returns both paths.
    async fn write_temporary(&self, id: &str, bytes: Bytes) -> io::Result<(String, String)> {
        let (directory, name) = self.shards.place(id);
        self.make_directory(&directory).await?;
        let path = join(&directory, &name);
        let temporary = format!("{path}.tmp.{}", hex::encode(self.entropy.bytes::<8>()));
        match self.files.create_new(&temporary, bytes.clone()).await {
            // The directory we knew is gone: make it again, once.
            Err(failure) if failure.kind() == io::ErrorKind::NotFound => {
                self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
                self.make_directory(&directory).await?;
                self.files.create_new(&temporary, bytes).await?;
            }
            Err(failure) => {
                // What was half written would only waste space; that it stays is no error.
                let _ = self.files.unlink(&temporary).await;
                return Err(failure);
            }
            Ok(()) => {}
        }
        Ok((temporary, path))
    }

    fn path(&self, id: &str) -> String {
        let (directory, name) = self.shards.place(id);
        join(&directory, &name)
    }
}

#[async_trait::async_trait]
impl Store for DirectoryStore {
    async fn get(&self, id: &str, range: Option<Range<u64>>) -> Result<Bytes, Error> {
        self.files.read(&self.path(id), range).await.map_err(|failure| error("get", id, &failure))
    }
    async fn put(&self, id: &str, bytes: Bytes) -> Result<(), Error> {
        let put = async {
            let (temporary, path) = self.write_temporary(id, bytes).await?;
            self.files.rename(&temporary, &path).await
        };
        put.await.map_err(|failure| match error("put", id, &failure) {
            // An absent directory cannot be the answer to a put; the root itself must be gone.
            failure if failure.kind == ErrorKind::NotFound => {
                Error { kind: ErrorKind::Misconfigured, ..failure }
            }
            failure => failure,
        })
    }
    async fn put_new(&self, id: &str, bytes: Bytes) -> Result<(), Error> {
        let put = async {
            let (temporary, path) = self.write_temporary(id, bytes).await?;
            let linked = self.files.link(&temporary, &path).await;
            // The second name is in place or refused; the first one is not needed any more.
            let _ = self.files.unlink(&temporary).await;
            linked
        };
        put.await.map_err(|failure| error("put", id, &failure))
    }
    async fn list(&self, prefix: &str) -> Result<Vec<Metadata>, Error> {
        let mut found = BTreeMap::new();
        // Directories to visit, and the part of a blob's name that each stands for.
        let mut queue = VecDeque::from([(String::new(), String::new())]);
        while let Some((directory, head)) = queue.pop_front() {
            let entries = match self.files.list_dir(&directory).await {
                Ok(entries) => entries,
                // Only a directory below the root may vanish under a listing.
                Err(failure) if failure.kind() == io::ErrorKind::NotFound && !directory.is_empty() => {
                    continue;
                }
                Err(failure) => {
                    let failure = error("list", prefix, &failure);
                    let kind = if failure.kind == ErrorKind::NotFound {
                        ErrorKind::Misconfigured
                    } else {
                        failure.kind
                    };
                    return Err(Error { kind, ..failure });
                }
            };
            for entry in entries {
                if entry.is_directory {
                    let head = format!("{head}{}", entry.name);
                    if head.starts_with(prefix) || prefix.starts_with(&head) {
                        queue.push_back((join(&directory, &entry.name), head));
                    }
                } else if let Some(tail) = entry.name.strip_suffix(SUFFIX) {
                    let id = format!("{head}{tail}");
                    if id.starts_with(prefix) {
                        found.insert(
                            id.clone(),
                            Metadata { id, length: entry.length, modified: entry.modified },
                        );
                    }
                }
            }
        }
        Ok(found.into_values().collect())
    }
    async fn stat(&self, id: &str) -> Result<Metadata, Error> {
        let entry = self.files.stat(&self.path(id)).await.map_err(|failure| error("stat", id, &failure))?;
        Ok(Metadata { id: id.to_owned(), length: entry.length, modified: entry.modified })
    }
    async fn delete(&self, id: &str) -> Result<(), Error> {
        match self.files.unlink(&self.path(id)).await {
            Err(failure) if failure.kind() != io::ErrorKind::NotFound => Err(error("delete", id, &failure)),
            _ => Ok(()),
        }
    }
}
